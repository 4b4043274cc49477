"""Whatever is wrong with a checkpoint gives one CheckpointError that says which file and why."""

import contextlib
import hashlib
import json
import math
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from examples import rnn

import seqgen
from seqgen import Pipeline
from seqgen.checkpoints.folder import CONFIG, MANIFEST, TRAINING_TEXTS, WEIGHTS, CheckpointError
from seqgen.codecs import Chars
from seqgen.inference.generate import sample
from seqgen.output import Sampling
from seqgen.outputs import Categorical

FILES = [WEIGHTS, CONFIG, MANIFEST]
EARLIER = Path(__file__).parent / "fixtures" / "earlier"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that nobody changes."""
    folder = tmp_path_factory.mktemp("made") / "model"
    pipeline("made").save_pretrained(folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(made, tmp_path / "model")
    return tmp_path / "model"


def pipeline(name: str) -> Pipeline:
    return Pipeline(rnn(Categorical(3), cell="gru", labels=[2]), Chars("abc"), {"sex": ["F", "M"]}, {"name": name})


def seal(folder: Path) -> None:
    """Make the manifest anew, as an attacker would."""
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (WEIGHTS, CONFIG)}
    (folder / MANIFEST).write_text(json.dumps(hashes))


def refused(folder: Path, *messages: str) -> None:
    with pytest.raises(CheckpointError) as error:
        seqgen.load(folder)
    assert type(error.value) is CheckpointError
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)
    for message in messages:
        assert message in str(error.value)


def test_a_sound_checkpoint_loads_and_holds_three_files(made: Path) -> None:
    assert sorted(path.name for path in made.iterdir()) == sorted(FILES)
    assert seqgen.load(made).provenance == {"name": "made"}
    assert seqgen.load(str(made)).labels == {"sex": ["F", "M"]}


def test_a_run_folder_names_its_model(folder: Path) -> None:
    assert seqgen.load(folder.parent).provenance == {"name": "made"}


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_noticed(folder: Path, name: str) -> None:
    """One in every region of the file: at 60 places from the first byte to the last."""
    content = (folder / name).read_bytes()
    for place in {round(step * (len(content) - 1) / 59) for step in range(60)}:
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        (folder / name).write_bytes(damaged)
        if name == MANIFEST and _same_json(damaged, content):  # white space
            continue
        refused(folder, str(folder))


def _same_json(one: bytes, other: bytes) -> bool:
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_noticed(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    for length in {0, 1, 7, 8, 9, 63, *range(0, len(content.rstrip()), max(1, len(content) // 25))}:
        (folder / name).write_bytes(content[:length])
        refused(folder, name)
    if name != MANIFEST:
        (folder / name).write_bytes(content + b"\0")
        refused(folder, name, "SHA-256")


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_noticed_with_a_manifest_made_anew(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    for length in {0, 1, 7, 8, 9, 63, *range(0, len(content.rstrip()), max(1, len(content) // 25))}:
        (folder / name).write_bytes(content[:length])
        if name != MANIFEST:
            seal(folder)
        refused(folder, name)


def test_a_changed_header_with_a_manifest_made_anew_gives_no_other_exception(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    header = int.from_bytes(content[:8], "little") + 8
    noticed = 0
    for place in range(0, header, 3):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 7
        (folder / WEIGHTS).write_bytes(damaged)
        seal(folder)
        with contextlib.suppress(CheckpointError):
            seqgen.load(folder)
            noticed -= 1
        noticed += 1
    assert noticed > header // 5  # the others fell on white space or on a size that still fits


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("make", [Path.unlink, lambda path: (path.unlink(), path.mkdir())], ids=["missing", "a folder"])
def test_a_file_that_is_none(folder: Path, name: str, make: Callable[[Path], object]) -> None:
    make(folder / name)
    refused(folder, name)


@pytest.mark.parametrize("where", ["/", "nowhere", "", "x" * 5000, "a\0b", "\udcff"])
def test_a_place_without_a_checkpoint(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"no model at .*expected a run folder or its model/ folder"):
        seqgen.load(where)


def test_a_file_is_no_checkpoint(folder: Path) -> None:
    refused(folder / WEIGHTS, "is no folder")


DELETE = object()


def change(value: dict[str, Any], path: str, new: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        value = value[parent]
    if new is DELETE:
        del value[last]
    else:
        value[last] = new


@pytest.mark.parametrize(
    ("path", "new", "message"),
    [
        ("format", 2, "has format 2, this version reads 1"),
        ("format", "1", "has format '1'"),
        ("format", DELETE, "has format None"),
        ("model", DELETE, "model: got NoneType, expected Model"),
        ("model", 3, "model: got int"),
        ("codec", DELETE, "codec: got NoneType, expected Codec"),
        ("codec", {"class_path": "Categorical", "init_args": {"classes": 3}}, "got Categorical, expected Codec"),
        ("labels", DELETE, "labels is None"),
        ("labels", ["F"], "labels is ['F']"),
        ("labels", {"sex": "FM"}, "labels is {'sex': 'FM'}"),
        ("labels", {"sex": [1, 2]}, "labels is"),
        ("provenance", "x", "provenance"),
        ("provenance", [1], "provenance"),
        ("model.class_path", "os.system", "class_path 'os.system' is not registered"),
        ("model.class_path", "subprocess.Popen", "is not registered"),
        ("model.init_args.cell", "transformer", "RNN refuses its arguments: cell is 'transformer'"),
        ("model.init_args.hidden", 6, "does not fit the model"),
        ("model.init_args.cell", "lstm", "does not fit the model"),
        ("model.init_args.layers", 2, "Missing key"),
        ("model.init_args.embedding", 3, "Missing key"),
        ("model.init_args.labels", [], "Unexpected key"),
        ("model.init_args.labels", [3], "size mismatch"),
        ("model.init_args.output.init_args.classes", 4, "size mismatch"),
        ("model.init_args.output", None, "RNN refuses its arguments"),
        ("model.init_args.colour", 1, "RNN has no argument 'colour'"),
        ("model.init_args.hidden", DELETE, "RNN misses its argument 'hidden'"),
        ("codec.init_args.alphabet", ["ab"], "Chars refuses its arguments: alphabet is"),
        ("codec.init_args.alphabet", 5, "Chars refuses its arguments"),
        ("model.init_args.dropout", math.nan, "NaN is no JSON"),
        ("provenance.nats", math.inf, "Infinity is no JSON"),
    ],
)
def test_a_changed_config_with_a_manifest_made_anew(folder: Path, path: str, new: Any, message: str) -> None:
    config = json.loads((folder / CONFIG).read_text())
    change(config, path, new)
    (folder / CONFIG).write_text(json.dumps(config))
    seal(folder)
    refused(folder, message)


@pytest.mark.parametrize(
    "content",
    [b"[]", b"null", b"3", b"", b"{", b"\xff\xfe", b"{'a': 1}", b"[" * 100_000, b'{"format": 1e999}', b"9" * 5000],
    ids=range(10),
)
@pytest.mark.parametrize("name", [CONFIG, MANIFEST])
def test_no_json_object(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    if name == CONFIG:
        seal(folder)
    refused(folder, name)


@pytest.mark.parametrize(
    "hashes", [{}, {WEIGHTS: ""}, {WEIGHTS: [], CONFIG: {}}, {WEIGHTS: "", CONFIG: "", "../x": ""}]
)
def test_a_manifest_that_says_something_else(folder: Path, hashes: dict[str, Any]) -> None:
    (folder / MANIFEST).write_text(json.dumps(hashes))
    refused(folder)


class Bomb:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("dump", [pickle.dump, torch.save], ids=["pickle", "torch.save"])
def test_a_pickle_is_never_opened_whatever_its_name(folder: Path, dump: Callable[..., None]) -> None:
    with open(folder / WEIGHTS, "wb") as file:
        dump(Bomb(folder / "exploded"), file)
    seal(folder)
    refused(folder, WEIGHTS, "is no safetensors file")
    assert not (folder / "exploded").exists()


def tensors(folder: Path, **changes: Any) -> None:
    found = safetensors.torch.load_file(folder / WEIGHTS)
    found = {name: tensor for name, tensor in {**found, **changes}.items() if tensor is not None}
    safetensors.torch.save_file(found, folder / WEIGHTS)
    seal(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initial": None}, "Missing key"),
        ({"extra": torch.zeros(1)}, "Unexpected key"),
        ({"initial": torch.zeros(1, 1, 1, 6)}, "size mismatch"),
        ({"initial": torch.zeros(0)}, "size mismatch"),
    ],
)
def test_tensors_that_do_not_fit(folder: Path, changes: dict[str, Any], message: str) -> None:
    tensors(folder, **changes)
    refused(folder, WEIGHTS, "does not fit the model", message)


# -- a checkpoint that an earlier version wrote


@pytest.fixture
def earlier() -> tuple[Pipeline, dict[str, Any]]:
    """A small model of names from before the manifest listed training.hashes, and what that version printed of it."""
    return seqgen.load(EARLIER), json.loads(EARLIER.with_suffix(".json").read_text())


def test_an_earlier_checkpoint_scores_and_samples_as_it_did(earlier: tuple[Pipeline, dict[str, Any]]) -> None:
    made, recorded = earlier
    noise = torch.rand(3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(7))  # of that version
    assert made.labels == {"sex": ["F", "M"]}
    for key, scores in recorded["log_prob"].items():
        label = None if key == "none" else key
        for name, log_prob in scores.items():
            assert made.score(name, label=label).log_prob == pytest.approx(log_prob, abs=1e-5)
        drawn = sample(made.model, noise, Sampling(exclude=made.codec.unsampled), made.conditioning.context(label, 3))
        assert [made.codec.decode(row) for row in drawn] == recorded["samples"][key]
    log_probs = torch.tensor(recorded["log_probs"], dtype=torch.float64)
    torch.testing.assert_close(made.score("Mari").log_probs.double(), log_probs, rtol=0, atol=1e-5)
    assert len({scores["Mari"] for scores in recorded["log_prob"].values()}) == 3  # labels matter


def test_an_earlier_checkpoint_ranks_among_its_calibration_set(earlier: tuple[Pipeline, dict[str, Any]]) -> None:
    made, recorded = earlier
    assert made.calibration is not None
    assert made.calibration.scores.shape == (2, recorded["calibration"])
    usual, strange = (made.score(name, label="F", p_value="low").p_value for name in ("Mari", "kbtd"))
    assert usual is not None
    assert strange is not None
    assert 0 < strange < usual <= 1


def test_hashes_of_training_texts_that_no_manifest_lists_are_not_read(
    earlier: tuple[Pipeline, dict[str, Any]], tmp_path: Path
) -> None:
    """Their bytes cannot be checked. Saved again, the checkpoint has today's format."""
    made, recorded = earlier
    assert (EARLIER / TRAINING_TEXTS).is_file()
    assert TRAINING_TEXTS not in json.loads((EARLIER / MANIFEST).read_text())
    assert made.training_texts is None
    made.save_pretrained(tmp_path / "model")
    again = seqgen.load(tmp_path)
    assert again.score("Mari").log_prob == pytest.approx(recorded["log_prob"]["none"]["Mari"], abs=1e-5)
    assert again.provenance == made.provenance
