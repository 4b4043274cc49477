"""The models that come with the package, and how they are made."""

import itertools
import json
import math
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from tiny import TRAINER, WORDS, settings, train

import seqgen
from seqgen.checkpoints import folder as checkpoint
from seqgen.checkpoints.card import card
from seqgen.checkpoints.folder import BUNDLED, CheckpointError, bundled
from seqgen.codecs.sound import Sound
from seqgen.data.runs import open_data
from seqgen.training import bundling as bundle
from seqgen.training.bundling import COST, TRAINED, rounded, training_command
from seqgen.training.run_folder import RunFolder

RECIPE = Path(__file__).parent.parent / "recipes" / "names" / "gru.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short training on names with labels."""
    folder = tmp_path_factory.mktemp("runs")
    config = settings(folder, "table")
    config["data"]["init_args"].pop("weight", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder.__init__, "__defaults__", ("", 2, 10))
        assert train(folder / "table", config, "--trainer.max_steps=6") == 0
    return folder / "table"


# -- those that are here


def test_all_are_here_and_small() -> None:
    assert set(bundled()) == set(TRAINED)
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file()) < 12_000_000


@pytest.mark.parametrize("name", TRAINED)
def test_a_bundled_model(name: str) -> None:
    """By its name it loads in float32, stored in 16 bits at a cost that was measured; its card is the code's."""
    pipeline, folder = seqgen.load(name), bundled()[name]
    tensors = checkpoint.read(folder).tensors
    told = pipeline.provenance["stored"]
    stored = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    assert stored == {getattr(torch, told["dtype"])}
    assert {parameter.dtype for parameter in pipeline.model.parameters()} == {torch.float32}
    assert told["bits"] < COST
    assert told["dtype"] in ("float16", "bfloat16")
    text = (folder / "card.md").read_text(encoding="utf-8")
    assert text == card(name, folder)
    weights = json.loads((folder / checkpoint.MANIFEST).read_text())[checkpoint.WEIGHTS]
    for fact in (pipeline.provenance["licence"], pipeline.provenance["command"], weights, "parameters", "held out"):
        assert fact in text
    assert shlex.split(pipeline.provenance["command"])[:2] == ["seqgen", "fit"]
    assert pipeline.calibration is not None
    assert 4 < len(pipeline.calibration.symbols) < 20_000  # half of the validation clips, which are 10 to 60
    held_out = pipeline.provenance["held_out"]["held out"]
    assert 0 < held_out["bits_per_symbol"] < math.log2(pipeline.codec.size or math.inf)


@pytest.mark.parametrize("name", TRAINED)
def test_the_samples_on_a_card_are_the_models(name: str) -> None:
    pipeline = seqgen.load(name)
    count = 1 if isinstance(pipeline.codec, Sound) else None  # which take seconds each
    conditions = checkpoint.examples(bundled()[name])
    made = list(itertools.islice(bundle.samples(name, pipeline, conditions), count))
    assert made == pipeline.provenance["samples"][:count]


def test_a_path_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert checkpoint.find("names") == BUNDLED / "names"
    Path("names").mkdir()
    assert checkpoint.find("names") == BUNDLED / "names"
    seqgen.load(run).save_pretrained("names/model")
    assert checkpoint.find("names") == Path("names/model")
    for name in ("../names", "names/", "nam", "*"):
        if not Path(name, "model").exists():
            with pytest.raises(CheckpointError, match="or one of digits, digits-speech, names, shakespeare, voice"):
                checkpoint.find(name)


# -- how they are made


def test_bundling_a_run(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "training_command", lambda *names: "seqgen fit")
    line = bundle.bundle(run, "mine", "names/gru.yaml", tmp_path)
    assert line.startswith("mine: ")
    made = seqgen.load(tmp_path / "mine")
    before = seqgen.load(run).score("abc").log_prob
    assert made.score("abc").log_prob == pytest.approx(before, abs=0.05)
    assert made.provenance["stored"]["bits"] < COST
    assert made.calibration is not None
    assert len(made.calibration.scores) == 2
    assert made.score(WORDS[0], p_value="low").p_value > 0
    assert "`seqgen sample mine --label sex=F -n 12 --seed 1`" in (tmp_path / "mine" / "card.md").read_text()
    known = made.training_texts
    assert known == seqgen.load(run).training_texts
    assert known is not None
    assert len(known) == sum(word in known for word in WORDS) == len(WORDS) - 20
    assert "no word of these" not in known


def test_weights_that_sixteen_bits_would_hurt_stay_as_they_are(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = seqgen.load(run)
    kept = rounded(pipeline, run)
    assert kept.dtype in bundle.SHORT
    assert kept.bits == pytest.approx(
        kept.totals["held out"].bits_per_symbol - bundle.held_out(pipeline, run)["held out"].bits_per_symbol
    )
    monkeypatch.setattr(bundle, "COST", -1.0)
    assert rounded(pipeline, run).dtype == "float32"
    assert rounded(pipeline, run).pipeline is pipeline


def test_the_training_texts_are_known_without_the_data(run: Path, tmp_path: Path) -> None:
    """Training writes their hashes: neither the corpus nor a data module is needed to tell what is new."""
    shutil.copytree(run / "model", tmp_path / "model")
    known = seqgen.load(tmp_path).training_texts
    assert known is not None
    data = open_data(seqgen.load(run), run)
    texts = {part: list(data.texts(part)) for part in data.parts}
    assert all(text in known for text in texts["train"])
    assert not any(text in known for part in ("val", "calibration", "test") for text in texts[part])
    assert len(known) == len(set(texts["train"]))


def test_the_command_tells_how_a_run_differs_from_its_recipe(tmp_path: Path) -> None:
    from seqgen.training.fit import resolved

    base = ["--config", str(TRAINER), "--config", str(RECIPE)]
    flags = [
        "--trainer.max_steps=7",
        "--model.model.init_args.hidden=32",
        "--data.init_args.seed=3",
        "--model.ema=null",
    ]
    (tmp_path / "config.yaml").write_text(resolved([*base, *flags, "--run", "elsewhere"]))
    told = shlex.split(training_command(tmp_path, "names/gru.yaml"))
    assert told[:6] == ["seqgen", "fit", "--config", "trainer.yaml", "--config", "names/gru.yaml"]
    assert resolved(told[2:]) == resolved([*base, *flags])
    with pytest.raises(ValueError, match="the run is none of this recipe"):
        training_command(tmp_path, "shakespeare/quick.yaml")
    with pytest.raises(CheckpointError, match=r"config.yaml is not there"):
        training_command(tmp_path / "gone", "names/gru.yaml")
