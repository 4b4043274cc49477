"""A fifth kind of data, in the package tests/outside/dna, does what the four do, and seqgen does not know of it."""

import ast
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import served
import torch
from genes import OUTSIDE, RECIPE, STOPS, THIRD, TRAINER, environment, genes, write
from gradio_client import Client
from gradio_client.exceptions import AppError
from laws import MODEL_LAWS, saved_is_loaded
from tiny import interrupt, rows, same, weights

import seqgen
from seqgen.cli.main import main
from seqgen.codec import Codec
from seqgen.config import SeqgenError, build, describe
from seqgen.modality import Modality
from seqgen.model import Model
from seqgen.outputs import Categorical, Gaussians
from seqgen.pipeline import Pipeline
from seqgen_app.limits import Limits

sys.path.insert(0, str(OUTSIDE))
from dna import DNA, DNAModality, Fasta, PeriodicMarkov, Record
from dna.fasta import parse

GENES = genes(240, 0)
FIT = ["--trainer.accelerator=cpu", "--trainer.max_steps=100", "--trainer.val_check_interval=50"]


@pytest.fixture(scope="module", autouse=True)
def small(cache: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SEQGEN_DEBUG", raising=False)
        yield


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "genes.fasta", GENES)


def fit(file: Path, run: Path) -> list[str]:
    """The arguments of `seqgen fit`."""
    return ["--config", str(TRAINER), "--config", str(RECIPE), "--data.path", str(file), "--run", str(run), *FIT]


@pytest.fixture(scope="module")
def run(file: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the real command. The package is on PYTHONPATH; YAML names its classes, so --import is not needed."""
    folder = tmp_path_factory.mktemp("runs") / "dna"
    command = [sys.executable, "-m", "seqgen.cli", "fit", *fit(file, folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(cache), timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert re.search(r"dna: best [\d.]+ nats, [\d.]+ bits a symbol", done.stderr.splitlines()[-1])
    return folder


@pytest.fixture(scope="module")
def pipeline(run: Path) -> Pipeline:
    return seqgen.load(run)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Any:
    """What a command prints, and what it says on standard error; `status` is the exit status that is expected."""

    def call(*arguments: Any, status: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert main([*map(str, arguments), "--import", "dna"]) == status
        out, err = capsys.readouterr()
        return out, err

    return call


def records(text: str) -> list[Record]:
    return [record for _, record in parse([text], "the output")]


# -- training


def test_training_learns_the_reading_frame(pipeline: Pipeline) -> None:
    """Samples begin with a start codon and end in a stop codon, a whole number of codons later."""
    drawn = [record.sequence for record in pipeline.sample(200, seed=1)]
    genes = [s for s in drawn if s.startswith("ATG") and s.endswith(STOPS) and len(s) % 3 == 0]
    assert len(genes) > 150  # the first and the last codon alone are right by chance in 3 of 4,096
    shifted = [Record(sequence[1:] + sequence[0]) for _, sequence in GENES[:50]]
    for one, other in zip(
        pipeline.totals([sequence for _, sequence in GENES[:50]]), pipeline.totals(shifted), strict=True
    ):
        assert one.nats < other.nats


def test_a_label_conditions(pipeline: Pipeline) -> None:
    assert pipeline.labels == {"organism": sorted(THIRD)}
    for organism, expected in THIRD.items():
        third = "".join(record.sequence[5:-3:3] for record in pipeline.sample(100, label=organism, seed=2))
        share = (third.count("C") + third.count("G")) / len(third)
        assert share == pytest.approx((expected[1] + expected[2]) / sum(expected), abs=0.1)


def test_the_run_folder(run: Path, pipeline: Pipeline) -> None:
    steps = [int(row["step"]) for row in rows(run)]
    assert steps == [50, 100]
    for step in steps:
        preview = records((run / "samples" / f"step-{step:07d}.fasta").read_text())
        assert len(preview) == 10
    assert pipeline.provenance["recipe"] == "dna.yaml"
    assert pipeline.provenance["val_nats"] == pytest.approx(min(float(row["val_nats"]) for row in rows(run)), abs=1e-5)
    assert pipeline.calibration is not None


def test_an_interrupted_run_resumes_bit_by_bit(
    run: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    with monkeypatch.context() as patch:
        interrupt(patch, 60)
        assert main(["fit", *fit(file, other)]) == 130
    assert "stopped at step 60" in capsys.readouterr().err
    assert main(["fit", "--run", str(other), "--resume"]) == 0
    assert same(weights(other), weights(run))
    assert rows(other) == rows(run)
    write(file.with_name("changed.fasta"), GENES[1:])
    arguments = ["--data.path", str(file.with_name("changed.fasta")), "--trainer.max_steps=110"]
    assert main(["fit", "--run", str(other), "--resume", *arguments]) == 1
    assert "cannot resume: the data changed" in capsys.readouterr().err


# -- loading


def test_without_the_import_one_line_says_what_to_do(run: Path, cache: Path) -> None:
    """One process: refused by the command and in Python, then both as the message says."""
    program = f"""
import seqgen
from seqgen.cli.main import main
run = {str(run)!r}
print(main(["sample", run]))
try:
    seqgen.load(run)
except seqgen.SeqgenError as error:
    print(error)
    module = str(error).partition("`import ")[2].partition("`")[0]
    assert f"`--import {{module}}`" in str(error)
print(main(["sample", run, "--seed", "1", "--import", module]))
print(seqgen.load(run).sample(seed=1)[0].sequence)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment(cache),
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    status, message, *drawn, again, sequence = done.stdout.splitlines()
    assert (status, again) == ("1", "0")
    assert "class_path 'dna.model.PeriodicMarkov' is not registered" in message
    assert "`import dna.model` in Python, `--import dna.model` on the command line" in message
    assert done.stderr == f"seqgen: {message}\n"
    assert [record.sequence for record in records("\n".join(drawn))] == [sequence]


def test_a_module_that_is_not_there(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(run), "--import", "rna"]) == 1
    assert capsys.readouterr().err.startswith("seqgen: --import rna: No module named 'rna'")


@pytest.mark.parametrize(
    ("made", "kind", "arguments"),
    [
        (lambda: DNA(unknown=False), Codec, {"unknown": False}),
        (DNAModality, Modality, {}),
        (lambda: PeriodicMarkov(Categorical(6), [2], order=2), Model, {"labels": [2], "order": 2, "period": 3}),
    ],
    ids=["codec", "modality", "model"],
)
def test_describe_names_the_module_and_build_finds_it(made: Any, kind: type, arguments: dict[str, Any]) -> None:
    description = describe(made())
    assert description["class_path"] == f"{type(made()).__module__}.{type(made()).__name__}"
    assert description["class_path"].startswith("dna.")
    assert arguments.items() <= description["init_args"].items()
    built = build(json.loads(json.dumps(description)), kind)
    assert type(built) is type(made())
    assert describe(built) == description


# -- sampling


def test_sample_prints_fasta(run: Path, pipeline: Pipeline, command: Any) -> None:
    out, err = command("sample", run, "-n", 3, "--seed", 5)
    assert err == ""
    assert records(out) == pipeline.sample(3, seed=5)
    assert [record.header for record in records(out)] == ["sequence-1", "sequence-2", "sequence-3"]
    assert max(map(len, out.splitlines())) <= 60
    out, _ = command("sample", run, "--seed", 6, "--label", "organism=Escherichia coli", "--temperature", 0.5)
    assert records(out) == pipeline.sample(label="Escherichia coli", seed=6, temperature=0.5)
    out, _ = command("sample", run, "--seed", 6, "--prompt", "atggcc", "--length", 9)
    assert records(out) == pipeline.sample(prompt="ATGGCC", seed=6, length=9)
    assert records(out)[0].sequence.startswith("ATGGCC")


def test_sample_writes_a_file_and_json(run: Path, pipeline: Pipeline, command: Any, tmp_path: Path) -> None:
    drawn = pipeline.sample(4, seed=7)
    for suffix in (".fasta", ".FA", ".fna"):
        path = tmp_path / f"drawn{suffix}"
        assert command("sample", run, "-n", 4, "--seed", 7, "--out", path)[0] == f"{path}\n"
        assert [item for _, item in pipeline.modality.items(pipeline.codec, path)] == drawn
    document = json.loads(command("sample", run, "-n", 4, "--seed", 7, "--json")[0])
    assert document["samples"] == [record.sequence for record in drawn]
    assert (document["seed"], document["label"]) == (7, None)
    command("sample", run, "-n", 4, "--seed", 7, "--json", "--out", tmp_path / "drawn.json")
    assert json.loads((tmp_path / "drawn.json").read_text()) == document


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "clip.wav"], "its suffix is '.wav', expected .fasta, .fa, .fna for DNA sequences"),
        (["--out", "none/x.fasta"], "there is no folder 'none'"),
        (["--seconds", "1"], "--seconds does not go with models of DNA"),
        (["--stream"], "--stream does not go with models of DNA"),
        (["--prompt", "ATX"], "base 'X' at position 2 has no symbol, expected A, C, G, T or one of NRYSWKMBDHV"),
        (["--prompt", ">a\nAC\n>b\nGT"], "got 2 records, expected one"),
        (["--label", "organism=Homo sapiens"], "no label organism=Homo sapiens"),
    ],
)
def test_what_sample_refuses(run: Path, command: Any, arguments: list[str], message: str) -> None:
    out, err = command("sample", run, *arguments, status=1)
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_ambiguous_bases_are_never_drawn(tmp_path: Path) -> None:
    """A model that has learnt nothing gives every symbol the same probability, N among them."""
    assert "N" not in "".join(
        record.sequence for record in Pipeline(PeriodicMarkov(Categorical(6)), DNA()).sample(50, seed=1)
    )


# -- scoring


def test_score_of_items(run: Path, pipeline: Pipeline, command: Any) -> None:
    items = ["ATGGCCTAA", "atgnnntaa"]
    expected = pipeline.score(items)
    lines = command("score", run, *items)[0].splitlines()
    assert [line.rsplit(maxsplit=1)[1] for line in lines[:2]] == items
    for line, one in zip(lines, expected, strict=False):
        assert float(line.split()[0]) == pytest.approx(one.total.nats, abs=1e-3)
        assert f"{one.total.bits_per_unit:.4f} bits/base" in line
    assert lines[2].endswith("total of 18 bases; the end symbol counted")
    document = json.loads(command("score", run, *items, "--json")[0])
    assert [item["sequence"] for item in document["items"]] == items
    assert [symbol["symbol"] for symbol in document["items"][1]["per_symbol"]] == [*"ATGNNNTAA", "<end>"]
    assert document["total"]["bases"] == 18
    assert document["total"]["nats"] == pytest.approx(sum(one.total.nats for one in expected))
    (item,) = json.loads(command("score", run, "GCC", "--prefix", "atg", "--no-end", "--json")[0])["items"]
    assert item["nats"] == pytest.approx(pipeline.score("GCC", prefix="ATG", end=False).total.nats)
    assert item["end_counted"] is False


def test_score_ranks(run: Path, pipeline: Pipeline, command: Any) -> None:
    """A gene is usual, the same gene with its frame shifted is not."""
    genes = [sequence for _, sequence in GENES]
    gene = genes[sorted(range(len(genes)), key=pipeline.p_value(genes).__getitem__)[len(genes) // 2]]
    (usual, strange) = json.loads(command("score", run, gene, gene[1:] + "A", "--p-value", "--json")[0])["items"]
    assert usual["p_value"] == pytest.approx(pipeline.p_value(gene))
    assert strange["p_value"] < 0.1 < usual["p_value"]
    (item,) = json.loads(command("score", run, gene, "--background", run / "model", "--json")[0])["items"]
    assert item["ratio"] == pytest.approx(0, abs=1e-9)


def test_score_of_a_file_names_its_records(
    run: Path, pipeline: Pipeline, command: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = command("score", run, "--file", file)[0].splitlines()
    assert [line.partition("  gene ")[2] for line in lines[:-1]] == [header[5:] for header, _ in GENES]
    total = sum(one.nats for one in pipeline.totals([sequence for _, sequence in GENES]))
    assert float(lines[-1].split()[0]) == pytest.approx(total, abs=1e-2)
    document = json.loads(command("score", run, "--file", file, "--json")[0])
    assert [item["sequence"] for item in document["items"]] == [header for header, _ in GENES]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    assert json.loads(command("score", run, "--file", "-", "--json")[0]) == document


def test_score_goes_on_behind_what_has_no_symbol(run: Path, command: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "mixed.fasta", [("good", "ATGTAA"), ("bad", "ATGXTAA"), ("unsure", "ATGNTAA")])
    out, err = command("score", run, "--file", path, status=1)
    assert [line.rsplit(maxsplit=1)[1] for line in out.splitlines()[:2]] == ["good", "unsure"]
    assert f"{path}, line 3: base 'X' at position 3 has no symbol" in err
    document = json.loads(command("score", run, "--file", path, "--json", "--unknown", "skip")[0])
    assert [item["sequence"] for item in document["items"]] == ["good"]
    assert [reason.partition(": ")[0] for reason in document["not_scored"]] == [f"{path}, line 3", f"{path}, line 5"]
    assert command("score", run, "ATN", "--unknown", "error", status=1)[0] == ""
    path.write_text("ATG\n>late\nATG\n")
    assert "line 1: got 'ATG', expected a header" in command("score", run, "--file", path, status=1)[1]


# -- held-out data


def test_evaluate(run: Path, pipeline: Pipeline, command: Any) -> None:
    totals = json.loads(command("evaluate", run, "--json")[0])
    assert set(totals) == {"val", "calibration", "test", "held out"}
    assert totals["val"]["nats_per_symbol"] == pytest.approx(pipeline.provenance["val_nats"], rel=1e-5)
    for key in ("nats", "symbols", "bases"):
        parts = sum(totals[part][key] for part in ("val", "calibration", "test"))
        assert totals["held out"][key] == pytest.approx(parts)
    lines = command("evaluate", run)[0].splitlines()
    assert [line.split("  ")[-1].split(",")[0] for line in lines] == ["val", "calibration", "test", "held out"]


def test_evaluate_of_another_file(run: Path, pipeline: Pipeline, command: Any, tmp_path: Path) -> None:
    other = genes(30, 1)
    path = write(tmp_path / "other.fasta", [*other, ("bad", "ATGXXX"), ("unsure", "ATGNNNTAA")])
    for where in (run, run / "model"):
        out, err = command("evaluate", where, "--data.path", path, status=1)
        assert f"{path}, line 61: base 'X' at position 3 has no symbol" in err
        assert out == ""
    # A run folder says how labels are read: the model is told the organism. A model folder is not asked.
    labels = [{"organism": header.partition("=")[2].removesuffix("]")} for header, _ in other]
    sequences = [sequence for _, sequence in other]
    for where, given in ((run, labels), (run / "model", None)):
        out, err = command("evaluate", where, "--data.path", path, "--unknown", "skip", "--json")
        document = json.loads(out)
        assert [reason.partition(":")[0] for reason in document.pop("skipped")] == ["line 61", "line 63"]
        expected = sum(one.nats for one in pipeline.totals(sequences, label=given))
        assert document["file"]["nats"] == pytest.approx(expected)
        assert "skipped: line 61" in command("evaluate", where, "--data.path", path, "--unknown", "skip")[1]


def test_calibrate(run: Path, pipeline: Pipeline, command: Any) -> None:
    assert pipeline.calibration is not None
    printed = json.loads(command("calibrate", run, "--json")[0])
    assert printed["items"] == len(pipeline.calibration.symbols)
    again = seqgen.load(run).calibration
    assert again is not None
    torch.testing.assert_close(again.scores, pipeline.calibration.scores)
    assert "held-out items" in command("calibrate", run)[0]


def test_info(run: Path, command: Any) -> None:
    out, _ = command("info", run)
    assert "model: dna.model.PeriodicMarkov" in out
    assert "codec: dna.codec.DNA" in out
    document = json.loads(command("info", run, "--json")[0])
    assert document["labels"] == {"organism": sorted(THIRD)}
    assert document["provenance"]["data"] == "genes.fasta"


# -- the app


@pytest.fixture(scope="module")
def app(run: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[served.App]:
    """The app, which offers the run beside the bundled models."""
    log = tmp_path_factory.mktemp("app") / "log.txt"
    with served.app(log, [run], ["--import", "dna"], **environment(cache)) as running:
        yield running
    assert "Traceback" not in running.printed()


@pytest.fixture(scope="module")
def client(app: served.App) -> Client:
    return Client(app.url, verbose=False)


def test_the_app_has_endpoints(client: Client, pipeline: Pipeline) -> None:
    asked = {"n": 3, "prompt": "ATGGCC", "label": "organism=Escherichia coli", "temperature": 0.8, "seed": 4}
    answer = client.predict("dna", **asked, api_name="/sample_dna")
    length = min(pipeline.codec.usual_length, Limits().length)
    drawn = pipeline.sample(**asked | {"label": "Escherichia coli", "length": length})
    assert answer["items"] == [record.sequence for record in drawn]
    assert records(answer["text"]) == drawn
    assert (answer["seed"], answer["done"]) == (4, True)
    (written,) = answer["files"]
    assert [item for _, item in pipeline.modality.items(pipeline.codec, Path(written))] == drawn
    header, gene = GENES[5]
    organism = Record(gene, header).labels["organism"]
    for item in (gene, f">{header}\n{gene}\n"):
        answer = client.predict("dna", item, organism, api_name="/score_dna")
        assert answer["nats"] == pytest.approx(pipeline.score(gene, label=organism).total.nats)
        assert answer["p_value"] == pytest.approx(pipeline.p_value(gene, label=organism))
        assert "".join(symbol["name"] for symbol in answer["per_symbol"]) == f"{gene}<end>"


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("sample_dna", {"model": "names"}, "There is no model of DNA 'names'; there are: dna."),
        ("sample_text", {"model": "dna"}, "There is no model of text 'dna'"),
        ("sample_dna", {"model": "dna", "prompt": "ATX"}, "base 'X' at position 2 has no symbol"),
        ("score_dna", {"model": "dna", "item": ">a\nAC\n>b\nGT"}, "got 2 records, expected one"),
        ("score_dna", {"model": "dna", "item": "ATX"}, "base 'X' at position 2 has no symbol"),
        ("score_dna", {"model": "dna", "item": " "}, "There is nothing to score: enter a sequence."),
    ],
)
def test_what_the_endpoints_refuse(client: Client, name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(AppError, match=re.escape(message)):
        client.predict(**values, api_name=f"/{name}")


def test_the_app_has_a_tab(app: served.App) -> None:
    """In a browser; skipped where there is none."""
    with served.browser() as chromium:
        page = chromium.new_page()
        page.set_default_timeout(60_000)
        page.goto(app.url)
        page.get_by_role("tab", name="Dna", exact=True).first.click()
        page.get_by_role("button", name="Sample", exact=True).locator("visible=true").click()
        page.locator("#dna-items", has_text=">sequence-10").wait_for()
        drawn = records(page.locator("#dna-items pre").inner_text())
        assert len(drawn) == 10
        page.get_by_role("tab", name="Score", exact=True).click()
        page.get_by_role("tab", name="Dna", exact=True).last.click()
        page.locator("#dna-scored textarea").fill(drawn[0].sequence)
        page.locator("#score-dna").click()
        page.locator("#dna-numbers", has_text="bits/base").wait_for()
        assert page.locator("#dna-symbols tr").count() >= len(drawn[0].sequence)


# -- the parts by themselves


def markov(labels: list[int], **arguments: int) -> PeriodicMarkov:
    torch.manual_seed(1)
    model = PeriodicMarkov(Categorical(3), labels, **{"order": 2, **arguments}).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


MODELS = {"plain": ([], {}), "labels": ([2, 3], {}), "order-1": ([], {"order": 1}), "period-1": ([2], {"period": 1})}
# By gradients of embedded symbols; a table looks its rows up, and tests/laws.py excuses NGram for the same reason.
LAWS = [law for law in MODEL_LAWS if law.__name__ != "jacobian_is_triangular"]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_model_obeys_the_laws(law: Any, name: str) -> None:
    labels, arguments = MODELS[name]
    law(markov(labels, **arguments))


def test_the_model_saved_is_loaded(tmp_path: Path) -> None:
    saved_is_loaded(markov([2, 3]), tmp_path / "model")


def test_what_the_model_refuses() -> None:
    for arguments, message in (
        ({"order": 0}, "order is 0, expected a whole number of 1 or more"),
        ({"period": True}, "period is True, expected"),
        ({"order": 20}, "need a table of more than 16,777,216 numbers"),
    ):
        with pytest.raises(SeqgenError, match=message):
            PeriodicMarkov(Categorical(6), **arguments)
    with pytest.raises(SeqgenError, match="Gaussians has numbers, expected an output of classes"):
        PeriodicMarkov(Gaussians())


def test_what_the_codec_refuses() -> None:
    for item, message in (
        ("ACGZ", "base 'Z' at position 3 has no symbol"),
        ("ACĀ", "base 'Ā' at position 2"),
        (["A"], "expected a Record or a sequence"),
    ):
        with pytest.raises(SeqgenError, match=message):
            DNA().encode(item)
    with pytest.raises(SeqgenError, match=r"base 'N' at position 1 has no symbol, expected A, C, G, T$"):
        DNA(unknown=False).encode("AN")
    for symbols in ([6], [-1]):
        with pytest.raises(SeqgenError, match="stands for no base"):
            DNA().decode(torch.tensor(symbols))


def test_what_the_data_refuse(tmp_path: Path) -> None:
    empty = tmp_path / "empty.fasta"
    empty.write_text("\n")
    bare = write(tmp_path / "bare.fasta", [("a", "ATG"), ("b", "ATX")])
    for arguments, message in (
        ({"path": str(empty)}, "holds no records"),
        ({"path": str(bare)}, "base 'X' at position 2 has no symbol"),
        ({"path": str(bare), "labels": ["organism"]}, "no item has a 'organism'"),
        ({"path": str(tmp_path / "none")}, "expected a FASTA file"),
    ):
        with pytest.raises(SeqgenError, match=message):
            Fasta(**arguments).setup()
    with pytest.raises(SeqgenError, match="batch_size is 0, expected 1 or more"):
        Fasta(batch_size=0)


def test_equal_sequences_are_in_one_part(tmp_path: Path) -> None:
    twice = [(f"copy {number} of {header}", sequence) for header, sequence in GENES[:60] for number in (1, 2)]
    data = Fasta(str(write(tmp_path / "twice.fasta", twice)), val=0.3, test=0.2)
    data.setup()
    sequences = [{twice[place][1] for place in places} for places in data.parts.values()]
    assert sum(map(len, sequences)) == len(set.union(*sequences)) == len({sequence for _, sequence in GENES[:60]})
    assert data.training_symbols == sum(batch.mask.sum().item() for batch in data.train_dataloader())


# -- nobody knows of it


def test_neither_seqgen_nor_the_app_names_the_fifth_kind() -> None:
    names = re.compile(r"\b(dna|fasta|codons?|genes?|nucleotides?|PeriodicMarkov|DNAModality)\b", re.IGNORECASE)
    root = Path(__file__).parent.parent
    files = [path for folder in ("seqgen", "app") for path in (root / folder).rglob("*.py")]
    assert len(files) > 80
    assert [str(path) for path in files if names.search(path.read_text())] == []


def test_the_package_uses_public_names_of_seqgen_alone() -> None:
    for path in (OUTSIDE / "dna").glob("*.py"):
        imported = [
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("seqgen")
            for alias in node.names
        ]
        assert [name for name in imported if name.startswith("_")] == []
