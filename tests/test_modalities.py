"""The laws of modalities, for every registered one: what is written is read back, and what does not fit is refused.

The last part looks for questions of kind in the source: who else than a modality asks which one it is?
"""

import ast
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from genes import OUTSIDE
from torch import Tensor

from seqgen.cli.main import main
from seqgen.cli.sample import SPECIAL
from seqgen.codec import Codec
from seqgen.codecs import Chars, MuLaw, Pixels, Table, Waveform
from seqgen.config import SeqgenError, registered
from seqgen.media.audio import Clip
from seqgen.media.files import DataError
from seqgen.modality import Modality, Request, modality_of
from seqgen.model import Model
from seqgen.models import RNN
from seqgen.outputs import Categorical, Gaussians
from seqgen.pipeline import Pipeline

sys.path.insert(0, str(OUTSIDE))
from dna import DNA, Record

ROOT = Path(__file__).parent.parent


class Case(NamedTuple):
    """A codec, items that are written to one file and read again, and the suffixes of files that keep them.

    `bound` is the largest difference of a number of the items, relative for numbers beyond 1.
    """

    codec: Codec
    items: list[Any]
    suffixes: tuple[str, ...]
    bound: float = 0.0


TONE = (0.9 * np.sin(np.arange(4000) / 7)).astype(np.float32)
GREY = np.arange(20, dtype=np.uint8).reshape(4, 5) * 13
COLOUR = np.arange(60, dtype=np.uint8).reshape(4, 5, 3) * 4
ROWS = [{"a": 0.1, "b": -2e-7, "c, d": 1e9}, {"a": -1.0, "b": 123456.7, "c, d": 0.0}]
TEXT = "Ein Satz, ein zweiter.\n\nÜber 3 Zeilen 😀\n"
CASES = {
    "text-short": Case(Chars("ab é😀-", end=True), ["a b", " é-", "😀", "-"], (".txt", ".md", "")),
    "text-long": Case(Chars(TEXT), [TEXT], (".txt", ".md", "")),
    "text-long-without-line-ends": Case(Chars("abc"), ["abcabc"], (".txt",)),
    "text-long-unknown": Case(Chars(TEXT, unknown=True), [TEXT], (".txt",)),
    # 16 bits: half a step of rounding, and full scale, 1, is the largest integer, one step below.
    "sound-mu-law": Case(MuLaw(8000, end=True), [Clip(TONE, 8000)], (".wav", ".flac"), 2**-16),
    "sound-full-scale": Case(Waveform(8000), [Clip(np.float32([-1, 0, 1, 0.5]), 8000)], (".wav",), 2**-15),
    "image-grey": Case(Pixels(4, 5), [GREY], (".png", ".PNG")),
    "image-levels": Case(Pixels(4, 5, levels=2), [GREY // 128 * 255], (".png",)),
    "image-colour": Case(Pixels(4, 5, 3), [COLOUR], (".png",)),
    "table": Case(Table(["a", "b", "c, d"], [0.0, 0.0, 1e3], [1.0, 1e-7, 1e8]), ROWS, (".csv",), 1e-6),
    "dna": Case(DNA(), [Record("ACGT" * 40, "a gene"), Record("", "empty"), Record("NAN")], (".fasta", ".fa", ".FNA")),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small model, not trained, of each case."""
    folder = tmp_path_factory.mktemp("runs")
    for name, case in CASES.items():
        torch.manual_seed(1)
        output = Gaussians() if case.codec.size is None else Categorical(case.codec.size)
        Pipeline(RNN(output, hidden=3), case.codec).save_pretrained(folder / name / "model")
    return {name: folder / name for name in CASES}


def test_every_registered_modality_has_a_case() -> None:
    found = registered(Modality)
    assert {cls.name for cls in found.values()} == {case.codec.modality for case in CASES.values()}
    assert {"TextModality", "SoundModality", "ImageModality", "TableModality", "dna.modality.DNAModality"} <= set(found)


def test_every_codec_names_a_registered_modality() -> None:
    names = {cls.name for cls in registered(Modality).values()}
    for name, cls in registered(Codec).items():
        if cls.__module__.partition(".")[0] in ("seqgen", "dna"):
            assert cls.modality in names, name


def test_a_modality_says_what_it_is() -> None:
    found = registered(Modality).values()
    for field in ("name", "noun", "plural"):
        values = [getattr(cls, field) for cls in found]
        assert all(isinstance(value, str) and value for value in values)
    assert len({cls.name for cls in found}) == len(found)
    for cls in found:
        assert cls.options <= set(SPECIAL)
        assert all(suffix == suffix.lower() and (suffix.startswith(".") or not suffix) for suffix in cls.suffixes)


def test_an_unregistered_modality_is_refused() -> None:
    class Lost(Chars):
        modality = "smell"

    with pytest.raises(SeqgenError, match="Lost is a codec of the modality 'smell', which is not registered; import"):
        modality_of(Lost("ab"))


# -- what is written is read back


def numbers(codec: Codec, item: Any) -> np.ndarray:
    """What an item holds: the samples of a sound; else symbols, which of a row are standardized numbers."""
    return codec.samples(item) if isinstance(codec, MuLaw | Waveform) else encoded(codec, item).numpy()


def encoded(codec: Codec, item: Any) -> Tensor:
    """Symbols of an item, also of one that is read in pieces."""
    pieces = modality_of(codec).pieces(codec, item)
    return codec.encode(item) if pieces is None else torch.cat(list(codec.pieces(pieces)))


@pytest.mark.parametrize("name", CASES)
def test_items_that_were_written_are_read_back(name: str, tmp_path: Path) -> None:
    codec, items, suffixes, bound = CASES[name]
    modality = modality_of(codec)
    for suffix in suffixes:
        path = tmp_path / f"items{suffix}"
        modality.check_out(path)
        paths = modality.write(codec, items, path)
        read = [item for one in paths for _, item in modality.items(codec, one)]
        assert len(read) == len(items)
        for before, after in zip(items, read, strict=True):
            expected, found = numbers(codec, before), numbers(codec, after)
            assert found.shape == expected.shape
            assert (np.abs(found - expected) <= bound * np.maximum(1, np.abs(expected))).all()
        assert sorted(tmp_path.iterdir()) == sorted(paths)  # and nothing else was left behind
        for one in paths:
            one.unlink()


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("sound")])
def test_samples_that_were_written_have_the_same_symbols(name: str, runs: dict[str, Path], tmp_path: Path) -> None:
    """What a model samples and then reads from a file. The 16 bits of a sound may move a sample to another class."""
    pipeline = Pipeline.from_pretrained(runs[name])
    codec, modality = pipeline.codec, pipeline.modality
    drawn = pipeline.sample(8, length=None if codec.length else 30, seed=3)
    drawn = drawn[:1] if modality.name == "image" or codec.end is None else [item for item in drawn if item != ""]
    (path,) = modality.write(codec, drawn, tmp_path / f"drawn{modality.suffixes[0]}")
    read = [encoded(codec, item) for _, item in modality.items(codec, path)]
    for before, after in zip(drawn, read, strict=True):
        torch.testing.assert_close(after, codec.encode(before), rtol=1e-5, atol=1e-6)


def test_headers_of_records_come_back(tmp_path: Path) -> None:
    """Which the law does not see: records of equal sequences are equal."""
    case = CASES["dna"]
    modality = modality_of(case.codec)
    (path,) = modality.write(case.codec, case.items, tmp_path / "records.fasta")
    read = [item for _, item in modality.items(case.codec, path)]
    assert [record.header for record in read] == ["a gene", "empty", "sequence-3"]
    assert read == case.items


@pytest.mark.parametrize("name", CASES)
def test_a_file_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    codec, path = CASES[name].codec, tmp_path / f"none{CASES[name].suffixes[0]}"
    with pytest.raises(SeqgenError, match=str(path)):
        [encoded(codec, item) for _, item in modality_of(codec).items(codec, path)]


@pytest.mark.parametrize("name", CASES)
def test_what_is_given_in_a_text_box_is_an_item(name: str, tmp_path: Path) -> None:
    """`read` takes the string that `score` prints beside an item, be it the item itself or the name of its file."""
    codec, items, suffixes, bound = CASES[name]
    modality = modality_of(codec)
    (path,) = modality.write(codec, items[:1], tmp_path / f"item{suffixes[0]}")
    shown = modality.show(codec, items[:1]) if modality.printable else None
    source = {"table": shown and shown.splitlines()[-1], "dna": shown, "text": items[0]}.get(codec.modality, str(path))
    expected, found = numbers(codec, items[0]), numbers(codec, modality.read(codec, source))
    assert (np.abs(found - expected) <= bound * np.maximum(1, np.abs(expected))).all()


# -- what is printed


@pytest.mark.parametrize("name", CASES)
def test_items_are_printed_or_that_is_refused(name: str) -> None:
    codec, items, *_ = CASES[name]
    modality = modality_of(codec)
    if modality.printable:
        assert isinstance(shown := modality.show(codec, items), str)
        assert shown.strip()
        assert json.loads(json.dumps(plain := [modality.plain(codec, item) for item in items])) == plain
    else:
        for call in (lambda: modality.show(codec, items), lambda: modality.plain(codec, items[0])):
            with pytest.raises(SeqgenError, match="not printed, expected a file"):
                call()


def test_sound_is_the_only_kind_that_is_not_printed() -> None:
    assert [cls.name for cls in registered(Modality).values() if not cls.printable] == ["sound"]


# -- what does not fit is refused


@pytest.mark.parametrize("name", CASES)
def test_a_suffix_that_does_not_fit_is_refused(name: str, tmp_path: Path) -> None:
    codec = CASES[name].codec
    modality = modality_of(codec)
    every = {suffix for cls in registered(Modality).values() for suffix in cls.suffixes} | {".json", ".xyz"}
    for suffix in every:
        for as_json in (False, True):
            path = tmp_path / f"out{suffix.upper()}"
            if suffix in modality.suffixes or (suffix == ".json" and as_json and modality.printable):
                modality.check_out(path, as_json)
                continue
            with pytest.raises(SeqgenError) as refused:
                modality.check_out(path, as_json)
            assert str(path) in str(refused.value)
            assert f"its suffix is {suffix.upper()!r}, expected" in str(refused.value)
            assert all((one or "none") in str(refused.value) for one in modality.suffixes)
            assert str(refused.value).endswith(f"for {modality.plural}")
    with pytest.raises(SeqgenError, match=r"there is no folder"):
        modality.check_out(tmp_path / "none" / f"out{modality.suffixes[0]}")


WRONG = {"text": ".wav", "sound": ".txt", "image": ".csv", "table": ".png", "dna": ".txt"}


@pytest.mark.parametrize("name", CASES)
def test_sample_refuses_an_output_that_does_not_fit(
    name: str,
    runs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything is sampled, and without a file."""
    monkeypatch.setattr("seqgen.inference.generate.sample", None)
    modality = modality_of(CASES[name].codec)
    path = tmp_path / f"foo{WRONG[modality.name]}"
    assert main(["sample", str(runs[name]), "--out", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"seqgen: '{path}' cannot be written: its suffix is {path.suffix!r}, expected ")
    assert err.endswith(f" for {modality.plural}\n")
    assert not list(tmp_path.iterdir())


VALUES = {"seconds": ["1"], "condition": ["a.wav"], "png": ["a.png"], "probabilities": [], "stream": []}


def test_every_special_option_is_tried_and_some_modality_has_it() -> None:
    assert set(VALUES) == set(SPECIAL)
    assert set.union(*(set(cls.options) for cls in registered(Modality).values())) == set(SPECIAL)


@pytest.mark.parametrize(
    ("name", "option"),
    [(name, option) for name in CASES for option in VALUES if option not in modality_of(CASES[name].codec).options],
)
def test_an_option_of_another_modality_is_refused(
    name: str, option: str, runs: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    modality = modality_of(CASES[name].codec)
    monkeypatch.setattr("seqgen.inference.generate.sample", None)
    assert main(["sample", str(runs[name]), f"--{option}", *VALUES[option]]) == 1
    assert capsys.readouterr() == ("", f"seqgen: --{option} does not go with models of {modality.noun}\n")


@pytest.mark.parametrize("name", CASES)
def test_a_duration_and_features_are_those_of_sound(name: str) -> None:
    codec, (item, *_), *_ = CASES[name]
    modality = modality_of(codec)
    if "seconds" in modality.options:
        assert modality.symbols(codec, 0.5) == 4000
        assert modality.signal(codec, item).shape == item.samples.shape
        return
    with pytest.raises(SeqgenError, match=f"got a duration of 0.5 s; {modality.plural} have none"):
        modality.symbols(codec, 0.5)
    with pytest.raises(SeqgenError, match=f"a model of {modality.noun} takes no features"):
        modality.signal(codec, item)


@pytest.mark.parametrize("name", CASES)
def test_standard_input_and_an_encoding_are_those_of_text(name: str, tmp_path: Path) -> None:
    """A modality whose files are text reads both; the others say that they do not."""
    codec, items, suffixes, _ = CASES[name]
    modality = modality_of(codec)
    (path,) = modality.write(codec, items[:1], tmp_path / f"item{suffixes[0]}")
    if modality.name in ("sound", "image"):
        with path.open("rb") as file, pytest.raises(SeqgenError, match="standard input has no"):
            list(modality.items(codec, file))
        with pytest.raises(SeqgenError, match="got the encoding 'utf-16', which only text has"):
            list(modality.items(codec, path, "utf-16"))
        return
    with path.open("rb") as file:
        (read,) = [encoded(codec, item) for _, item in modality.items(codec, file)]
        assert not file.closed
    torch.testing.assert_close(read, codec.encode(items[0]), rtol=1e-5, atol=1e-6)
    path.write_bytes(path.read_text().encode("utf-16"))
    (read,) = [encoded(codec, item) for _, item in modality.items(codec, path, "utf-16")]
    torch.testing.assert_close(read, codec.encode(items[0]), rtol=1e-5, atol=1e-6)
    with pytest.raises(DataError, match="is not utf-8"):
        [encoded(codec, item) for _, item in modality.items(codec, path)]


# -- scores


@pytest.mark.parametrize("name", CASES)
def test_scores_are_told_in_lines_and_in_json(name: str, runs: dict[str, Path]) -> None:
    pipeline, item = Pipeline.from_pretrained(runs[name]), CASES[name].items[0]
    modality, scores = pipeline.modality, pipeline.score(item)
    total = scores.total
    line = modality.line(total)
    assert "\n" not in line
    assert float(line.split()[0]) == pytest.approx(total.nats, abs=0.06)
    assert ("perplexity" in line) == total.discrete
    document = json.loads("".join(modality.record("a name", iter([scores]), lambda total: {"p_value": 0.5})))
    assert document[modality.key] == "a name"
    numbers = document.get("total", document)
    assert numbers["p_value"] == 0.5
    assert numbers["nats"] == pytest.approx(total.nats)
    assert isinstance(modality.size(total), str)


@pytest.mark.parametrize("name", CASES)
def test_the_preview_of_a_run_writes_what_it_names(name: str, runs: dict[str, Path], tmp_path: Path) -> None:
    pipeline = Pipeline.from_pretrained(runs[name])
    previews = list(pipeline.modality.preview(pipeline, tmp_path / "step-1", seed=1, count=2, length=20))
    assert previews
    for preview in previews:
        assert preview.path.is_file()
        assert preview.path.suffix in pipeline.modality.suffixes
        assert any(part is not None for part in (preview.text, preview.samples, preview.picture))
    assert list(tmp_path.iterdir())


@pytest.mark.parametrize("name", CASES)
def test_the_card_has_an_example_whose_command_is_understood(name: str, runs: dict[str, Path]) -> None:
    """The options of the command are those of `seqgen sample`, and of this modality."""
    from seqgen.cli.main import _parser

    pipeline = Pipeline.from_pretrained(runs[name])
    example = pipeline.modality.example(pipeline, "mine", {})
    assert set(example) == {"command", "result"}
    program, *arguments = example["command"].split()
    assert program == "seqgen"
    options = _parser().parse_args(arguments)
    assert options.run == "mine"
    if options.out is not None:
        pipeline.modality.check(Request(out=options.out))


# -- nobody else asks which kind it is

KINDS = {path.stem for path in (ROOT / "seqgen" / "modalities").glob("*.py") if path.stem != "__init__"} | {"dna"}
ALLOWED = {
    # What a modality is made of.
    "seqgen/modalities/*.py",
    "seqgen/codecs/*.py",
    # A data module reads one kind of data, and refuses a codec of another.
    "seqgen/data/audio.py",
    "seqgen/data/images.py",
    "seqgen/data/table.py",
    # "text" is a column of clips.csv, the transcript, and "table" the name of a buffer.
    "seqgen/data/corpora.py",
    "seqgen/nn/order.py",
    # The tabs of the app, one for each modality.
    "app/tabs/*.py",
}


def is_a_codec_or_modality(name: str) -> bool:
    import seqgen.codec
    import seqgen.codecs.sound
    import seqgen.codecs.vectors
    import seqgen.modalities

    modules = (seqgen.codec, seqgen.codecs, seqgen.codecs.sound, seqgen.codecs.vectors, seqgen.modalities)
    found = next((getattr(module, name) for module in modules if hasattr(module, name)), None)
    return inspect.isclass(found) and issubclass(found, Codec | Modality)


def asks_an_instance(node: ast.AST) -> bool:
    """`isinstance` or `issubclass` of a codec or a modality, or with the class of one."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return False
    if node.func.id not in ("isinstance", "issubclass"):
        return False
    what = ast.unparse(node.args[0])
    names = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
    names |= {part.attr for part in ast.walk(node.args[1]) if isinstance(part, ast.Attribute)}
    return "codec" in what or "modality" in what or any(map(is_a_codec_or_modality, names))


def compares(node: ast.AST, *attributes: str) -> bool:
    """A comparison of one of these attributes with something, or a `match` on it."""
    compared = isinstance(node, ast.Compare) and not isinstance(node.ops[0], ast.Is | ast.IsNot)
    sides = [node.left, *node.comparators] if compared else [node.subject] if isinstance(node, ast.Match) else []
    return any(isinstance(side, ast.Attribute) and side.attr in attributes for side in sides)


def asks_the_unit(node: ast.AST) -> bool:
    """`codec.unit == "second"`."""
    return compares(node, "unit", "modality", "noun", "plural", "key")


def asks_the_modality(node: ast.AST) -> bool:
    """`modality.name == "text"`."""
    sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
    return any(ast.unparse(side).endswith("modality.name") for side in sides)


def asks_the_length(node: ast.AST) -> bool:
    """`codec.length is None`, `codec.shape is None`.

    The pipeline, scoring and `Modality` itself ask whether the number of symbols is fixed, in order to draw or to score
    that many; nobody who serves users does.
    """
    if not (isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Is | ast.IsNot)):
        return False
    return ast.unparse(node.left).endswith(("codec.length", "codec.shape", "codec.rate"))


def has_attributes(node: ast.AST) -> bool:
    """`hasattr(codec, "rate")`, `getattr(codec, "rate", None)`."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("hasattr", "getattr")):
        return False
    return "codec" in ast.unparse(node.args[0]) or "modality" in ast.unparse(node.args[0])


def names_a_kind(node: ast.AST) -> bool:
    """A string that is the name of a modality."""
    return isinstance(node, ast.Constant) and node.value in KINDS


PATTERNS: dict[Callable[[ast.AST], bool], tuple[str, ...]] = {
    asks_an_instance: ("seqgen", "app"),
    asks_the_unit: ("seqgen", "app"),
    asks_the_modality: ("seqgen", "app"),
    asks_the_length: ("seqgen/cli", "seqgen/training", "seqgen/checkpoints", "seqgen/media"),
    has_attributes: ("seqgen", "app"),
    names_a_kind: ("seqgen",),
}
"""What is looked for, and where."""
EXCEPTIONS = {
    "modality_of": "finds the modality that a codec names",
    "Catalog.of": "the models of one modality, whichever it is",
}
"""Functions that compare names of modalities without naming one."""


def questions(pattern: Callable[[ast.AST], bool], folder: str) -> Iterator[str]:
    """The places of a pattern below a folder, as file:line and the code."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT)
        if any(name.match(allowed) for allowed in ALLOWED):
            continue
        for scope, node in walk(ast.parse(path.read_text())):
            if pattern(node) and scope not in EXCEPTIONS:
                yield f"{name}:{getattr(node, 'lineno', 0)}: {ast.unparse(node)}"


def walk(node: ast.AST, scope: str = "") -> Iterator[tuple[str, ast.AST]]:
    """All nodes, each with the function or the method that it is in."""
    yield scope, node
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        scope = f"{scope}.{node.name}".strip(".")
    for child in ast.iter_child_nodes(node):
        yield from walk(child, scope)


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [(pattern, folder) for pattern, folders in PATTERNS.items() for folder in folders],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_nobody_asks_which_kind_it_is(pattern: Callable[[ast.AST], bool], folder: str) -> None:
    assert list(questions(pattern, folder)) == []


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        (asks_an_instance, "isinstance(codec, Thing)"),
        (asks_an_instance, "isinstance(self.codec, seqgen.codecs.Pixels | None)"),
        (asks_an_instance, "issubclass(kind, (Sound, int))"),
        (asks_an_instance, "isinstance(what, TextModality)"),
        (asks_the_unit, "'second' == codec.unit"),
        (asks_the_unit, "pipeline.codec.modality in ('text', 'sound')"),
        (asks_the_unit, "match codec.unit:\n    case _: pass"),
        (asks_the_modality, "pipeline.modality.name != 'text'"),
        (asks_the_length, "a if self.codec.length is None else b"),
        (asks_the_length, "pipeline.codec.shape is not None"),
        (has_attributes, "getattr(codec, 'rate', 0)"),
        (names_a_kind, "{'sound': 1}[kind]"),
    ],
)
def test_a_question_of_kind_is_found(pattern: Callable[[ast.AST], bool], code: str) -> None:
    assert any(map(pattern, ast.walk(ast.parse(code))))


def test_a_model_is_of_any_kind() -> None:
    """No model's constructor takes a codec or a modality, so that one class serves every kind."""
    for cls in registered(Model).values():
        assert not {"codec", "modality"} & set(inspect.signature(cls.__init__).parameters)
