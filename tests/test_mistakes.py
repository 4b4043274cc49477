"""Wrong usage: exit status 2 and one line that says what was got, what was expected and what is nearest."""

import functools
import inspect
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small import RECIPES

from seqgen.cli.main import main
from seqgen.codec import Codec
from seqgen.config import nearest, registered
from seqgen.data.lines import Lines
from seqgen.data.module import DataModule
from seqgen.model import Model
from seqgen.models import RNN
from seqgen.output import Output
from seqgen.training import fit
from seqgen.training.annotations import concrete
from seqgen.training.mistakes import UsageError, explain
from seqgen.training.module import Training

DATA, MODELS, CODECS = "one of <DataModule>", "one of <Model>", "one of <Codec> or null"
OUTPUTS = "<Output> or null"
GRU = "--config names/gru.yaml"
RIGHT = "--data Lines --model.model RNN"

FOREIGN = """
from seqgen.data.lines import Lines

class MyLines(Lines):
    def __init__(self, extra: int = 1, path: str | None = None) -> None:
        super().__init__(path)

class Loose(Lines):
    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
"""


@pytest.fixture(scope="module", autouse=True)
def one_parser() -> Iterator[None]:
    """Made once, for it takes most of the time of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "_parser", functools.cache(fit._parser))
        yield


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a module `foreign` of the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("SEQGEN_DEBUG", raising=False)
    Path("foreign.py").write_text(FOREIGN)
    return tmp_path


def listed(text: str) -> str:
    """<Model> as a list of all its concrete classes, those that other tests define among them."""
    for cls in (DataModule, Model, Codec, Output):
        text = text.replace(f"<{cls.__name__}>", ", ".join(concrete([cls])))
    return text


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of `seqgen fit ARGUMENTS`, without its beginning."""
    assert main(["fit", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("seqgen fit: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err.removeprefix("seqgen fit: ").rstrip("\n")


def passes(arguments: list[str]) -> None:
    """The parser takes these arguments, and the walk, which it would ask if it did not, finds nothing in them."""
    _, config = fit._parsed(arguments)
    assert config["data"] is not None
    explain(fit._recipes(arguments), fit.FLAGS, fit.GROUPS)


# -- flags


FLAGS = [
    # keys
    (f"{RIGHT} --modle.lr 5", "--modle.lr is unknown; did you mean --model.lr?"),
    (f"{RIGHT} --model.lrr=5", "--model.lrr is unknown; did you mean --model.lr?"),
    (f"{RIGHT} --model.model.hiden 5", "--model.model.hiden is unknown; did you mean --model.model.hidden?"),
    (
        f"{RIGHT} --model.model.init_args.hiden 5",
        "--model.model.init_args.hiden is unknown; did you mean --model.model.init_args.hidden?",
    ),
    (f"{RIGHT} --data.pth x", "--data.pth is unknown; did you mean --data.path?"),
    (f"{RIGHT} --trainer.max-steps 5", "--trainer.max-steps is unknown; did you mean --trainer.max_steps?"),
    (f"{RIGHT} --trainer.max_step 5", "--trainer.max_step is unknown; did you mean --trainer.max_steps?"),
    (f"{RIGHT} --max_steps 5", "--max_steps is unknown; did you mean --trainer.max_steps?"),
    (f"{RIGHT} --hidden 5", "--hidden is unknown; did you mean --model.model.hidden?"),
    (f"{RIGHT} --seed 5", "--seed is unknown; did you mean --seed_everything?"),
    (f"{RIGHT} --resum", "--resum is unknown; did you mean --resume?"),
    (f"{RIGHT} --model.model.output Bernoulli", "--model.model.output is unknown; did you mean --model.output?"),
    (
        f"{GRU} --data.codec.class_path Chars --data.codec.alphabett x",
        "--data.codec.alphabett is unknown; did you mean --data.codec.alphabet?",
    ),
    (
        f"{GRU} --data.corpus.yeear 5",
        "--data.corpus.yeear is unknown, expected one of sex, first_year, last_year, minimum",
    ),
    (
        f"{GRU} --trainer.callbacks+=EarlyStopping --trainer.callbacks.monitr x",
        "--trainer.callbacks.monitr is unknown; did you mean --trainer.callbacks.monitor?",
    ),
    (
        "--config speech/digits.yaml --data.features.rat 3",  # features is a LogMel or null
        "--data.features.rat is unknown; did you mean --data.features.rate?",
    ),
    # classes
    ("--data Clips", f"--data is 'Clips', expected {DATA}; did you mean Lines?"),
    ("--data lines --model.model RNN", f"--data is 'lines', expected {DATA}; did you mean Lines?"),
    ("--data.class_path Linse", f"--data.class_path is 'Linse', expected {DATA}; did you mean Lines?"),
    ("--model.model GPT --data Lines", f"--model.model is 'GPT', expected {MODELS}"),
    ("--model.model rnn --data Lines", f"--model.model is 'rnn', expected {MODELS}; did you mean RNN?"),
    ("--model GPT --data Lines", f"--model is 'GPT', expected keys such as --model.model: {MODELS}"),
    (f"{RIGHT} --data.codec Char", f"--data.codec is 'Char', expected {CODECS}; did you mean Chars?"),
    ("--data.help Clips", f"--data.help is 'Clips', expected {DATA}; did you mean Lines?"),
    ("--model.model.help GPT", f"--model.model.help is 'GPT', expected {MODELS}"),
    (
        f"{RIGHT} --model.output Categorial",
        f"--model.output is 'Categorial', expected one of {OUTPUTS}; did you mean Categorical?",
    ),
    # classes of other packages
    (
        "--model.model RNN --data no.such.Thing",
        "--data is 'no.such.Thing', which cannot be imported: No module named 'no'",
    ),
    (
        "--model.model RNN --data foreign.Mine",
        "--data is 'foreign.Mine', which cannot be imported: module 'foreign' has no attribute 'Mine'",
    ),
    (
        "--model.model RNN --data json.JSONDecoder",
        f"--data is 'json.JSONDecoder', expected {DATA}",
    ),
    (
        "--model.model RNN --data ..Lines",
        "--data is '..Lines', which cannot be imported: the 'package' argument is required to perform a relative "
        "import for '.'",
    ),
    (
        "--model.model RNN --data foreign.MyLines --data.extr 5",
        "--data.extr is unknown; did you mean --data.extra?",
    ),
    ("--model.model RNN --data foreign.MyLines --data.extra x", "--data.extra is 'x', expected int"),
    # values
    (f"{RIGHT} --model.lr abc", "--model.lr is 'abc', expected float"),
    (f"{RIGHT} --model.lr=abc", "--model.lr is 'abc', expected float"),
    (f"{RIGHT} --model.ema abc", "--model.ema is 'abc', expected float or null"),
    (f"{RIGHT} --model.betas 1", "--model.betas is '1', expected tuple[float, float]"),
    (f"{RIGHT} --model.model.hidden 1.5", "--model.model.hidden is '1.5', expected int"),
    (f"{RIGHT} --model.model.cell lstn", "--model.model.cell is 'lstn', expected one of tanh, gru, lstm"),
    (f"{RIGHT} --model.model.tied maybe", "--model.model.tied is 'maybe', expected bool"),
    (f"{RIGHT} --data.labels sex", "--data.labels is 'sex', expected list[str] or null"),
    (f"{RIGHT} --trainer.max_steps many", "--trainer.max_steps is 'many', expected int"),
    (f"{RIGHT} --trainer.limit_val_batches x", "--trainer.limit_val_batches is 'x', expected float or int or null"),
    (f"{RIGHT} --seed_everything x", "--seed_everything is 'x', expected int"),
    (f"{GRU} --data.corpus.sex X", "--data.corpus.sex is 'X', expected one of F, M, both"),
    # what is missing
    ("", f"--data is missing, expected {DATA}"),
    ("--data Lines", f"--model.model is missing, expected {MODELS}"),
    ("--model.model NADE --data Table", "--model.model.dimensions is missing, expected int"),
    (f"{GRU} --trainer.callbacks EarlyStopping", "--trainer.callbacks.monitor is missing, expected str"),
    ("--data.path x", f"--data.path needs --data before it: {DATA}"),
    ("--data.path x --data Lines --model.model RNN", f"--data.path needs --data before it: {DATA}"),
    (f"{RIGHT} --model.lr", "--model.lr has no value, expected float"),
    (f"{RIGHT} --model.lr --data.path x", "--model.lr has no value, expected float"),
    (f"{RIGHT} --data.path", "--data.path has no value, expected str or null"),
    ("--config", "--config has no value, expected str"),
    (f"{RIGHT} names.txt", "'names.txt' does not belong to a flag, expected --key value"),
    (f"{RIGHT} --resume true", "'true' does not belong to a flag, expected --key value"),
]


@pytest.mark.parametrize(("arguments", "expected"), FLAGS, ids=[arguments for arguments, _ in FLAGS])
def test_a_wrong_flag_is_one_line(capsys: pytest.CaptureFixture[str], arguments: str, expected: str) -> None:
    assert refused(arguments.split(), capsys) == listed(expected)


def test_the_list_of_classes_in_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "seqgen.cli", "fit", "--data", "Clips"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    line = "--data is 'Clips', expected one of Audio, Images, Lines, Table, Text; did you mean Lines?"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"seqgen fit: {line}\n")


def test_the_list_of_callbacks_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(f"{GRU} --trainer.callbacks+=EarlyStoping".split(), capsys)
    assert re.fullmatch(
        r"--trainer\.callbacks\+ is 'EarlyStoping', expected one of \w+(, \w+)* or null; did you mean EarlyStopping\?",
        line,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--trainer.default_root_dir x", "unrecognized arguments: --trainer.default_root_dir x"),
        ("--resume=1", "ignored explicit argument"),
        ("--model.lr.x 5", "model.lr"),
    ],
)
def test_what_only_the_parser_knows_is_a_short_line(
    capsys: pytest.CaptureFixture[str], arguments: str, said: str
) -> None:
    line = refused([*RIGHT.split(), *arguments.split()], capsys)
    assert said in line
    assert len(line) <= fit.WIDTH


# -- files


LINES = {"data": {"class_path": "Lines"}}
GRU_MODEL = {"model": {"model": {"class_path": "RNN"}}}

FILES: list[tuple[Any, str]] = [
    ({**LINES, "modle": {"lr": 1}}, "my.yaml: modle is unknown; did you mean model?"),
    ({**LINES, "model": {"lrr": 1}}, "my.yaml: model.lrr is unknown; did you mean model.lr?"),
    (
        {**LINES, "model": {"model": {"class_path": "RNN", "init_args": {"hiden": 5}}}},
        "my.yaml: model.model.init_args.hiden is unknown; did you mean model.model.init_args.hidden?",
    ),
    (
        {**LINES, "model": {"model": {"class_path": "RNN", "hidden": 5}}},
        "my.yaml: model.model.hidden is unknown, expected arguments in model.model.init_args",
    ),
    (
        {**LINES, "model": {"model": {"class_path": "GPT"}}},
        f"my.yaml: model.model.class_path is 'GPT', expected {MODELS}",
    ),
    (
        {**LINES, "model": "RNN"},
        f"my.yaml: model is 'RNN', expected keys such as model.model: {MODELS}",
    ),
    ({"data": "Clips"}, f"my.yaml: data is 'Clips', expected {DATA}; did you mean Lines?"),
    ({"data": {"class_path": "Clips"}}, f"my.yaml: data.class_path is 'Clips', expected {DATA}; did you mean Lines?"),
    ({"data": {"class_path": 5}}, f"my.yaml: data.class_path is 5, expected {DATA}"),
    (
        {"data": {"class_path": ["Lines"]}},
        f"my.yaml: data.class_path is ['Lines'], expected {DATA}; did you mean Lines?",
    ),
    (
        {**GRU_MODEL, "data": {"class_path": "Lines", "init_args": ["path"]}},
        "my.yaml: data.init_args is ['path'], expected a mapping",
    ),
    ({"data": {"path": "x"}}, f"my.yaml: data.path needs data.class_path before it: {DATA}"),
    (
        {**GRU_MODEL, "data": {"class_path": "Lines", "init_args": {"codec": {"class_path": "Char"}}}},
        f"my.yaml: data.init_args.codec.class_path is 'Char', expected {CODECS}; did you mean Chars?",
    ),
    (
        {**GRU_MODEL, "data": {"class_path": "Lines", "init_args": {"encoding": 5}}},
        "my.yaml: data.init_args.encoding is 5, expected str",
    ),
    (
        {**GRU_MODEL, "data": {"class_path": "no.such.Thing"}},
        "my.yaml: data.class_path is 'no.such.Thing', which cannot be imported: No module named 'no'",
    ),
    (
        {**LINES, **GRU_MODEL, "trainer": {"callbacks": [{"class_path": "EarlyStopping", "init_args": {"monitr": 1}}]}},
        "my.yaml: trainer.callbacks[0].init_args.monitr is unknown; did you mean "
        "trainer.callbacks[0].init_args.monitor?",
    ),
    (GRU_MODEL, f"--data is missing, expected {DATA}"),
    (LINES, f"--model.model is missing, expected {MODELS}"),
    (["a"], "my.yaml holds no mapping, expected keys such as model and data"),
    ("text", "my.yaml holds no mapping, expected keys such as model and data"),
    (None, "my.yaml holds no mapping, expected keys such as model and data"),
]


@pytest.mark.parametrize(("content", "expected"), FILES, ids=[expected for _, expected in FILES])
def test_a_wrong_file_is_one_line(capsys: pytest.CaptureFixture[str], content: Any, expected: str) -> None:
    Path("my.yaml").write_text(json.dumps(content))
    assert refused(["--config", "my.yaml"], capsys) == listed(expected)


def test_a_class_from_a_file_of_its_own_is_not_missing(capsys: pytest.CaptureFixture[str]) -> None:
    Path("data.yaml").write_text("class_path: Lines\n")
    assert refused(["--data", "data.yaml"], capsys) == listed(f"--model.model is missing, expected {MODELS}")


def test_the_file_with_the_mistake_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("one.yaml").write_text("data: Lines\nmodel: {model: {class_path: RNN}}\n")
    Path("two.yaml").write_text("model: {model: {init_args: {hiden: 5}}}\n")
    line = refused(["--config=one.yaml", "--config", "two.yaml", "--model.lr", "abc"], capsys)
    assert line == "two.yaml: model.model.init_args.hiden is unknown; did you mean model.model.init_args.hidden?"


@pytest.mark.parametrize(
    ("content", "why"), [(b"run: [a\ndata: Lines\n", "line 2"), (b"run: \xe9\n", "can't decode byte 0xe9")]
)
def test_a_file_that_is_not_yaml(capsys: pytest.CaptureFixture[str], content: bytes, why: str) -> None:
    Path("my.yaml").write_bytes(content)
    line = refused(["--config", "my.yaml"], capsys)
    assert line.startswith("my.yaml is not YAML: ")
    assert why in line
    assert len(line) < 200


# -- what is right passes


def written() -> list[str]:
    """The arguments of every `seqgen fit` of every README that names a configuration."""
    texts = [path.read_text() for path in [RECIPES.parent / "README.md", *RECIPES.rglob("README.md")]]
    lines = [line.strip() for text in texts for line in text.replace("\\\n", " ").splitlines()]
    found = [line.partition(" #")[0] for line in lines if line.startswith("seqgen fit") and "--config" in line]
    return [" ".join(line.split()[2:]) for line in found]


def recipes() -> list[str]:
    """The arguments that start every recipe."""
    return [f"--config trainer.yaml --config {path.relative_to(RECIPES)}" for path in RECIPES.glob("*/*.yaml")]


def test_there_are_commands() -> None:
    """An empty list would test nothing."""
    assert len(written()) > 20
    assert len(recipes()) > 20


@pytest.mark.parametrize("arguments", sorted({*written(), *recipes()}))
def test_every_recipe_and_every_command_of_a_readme_passes(arguments: str) -> None:
    passes(shlex.split(arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        "--data.path x",
        "--data.init_args.path x",
        "--data.path=x=y",
        "--data.val=-1",
        "--data Text --data.length 7",
        "--data.class_path Text",
        "--data seqgen.data.text.Text",
        "--model.model.hidden 5",
        "--model.model WaveNet --model.model.layers 3",
        "--model.output Gaussians --model.output.mixtures 3",
        "--data.codec Chars --data.codec.end true",
        "--data.codec.class_path Chars --data.codec.init_args.alphabet [a,b]",
        "--data.codec null",
        "--data.labels null",
        "--data.labels [a,b]",
        "--data.labels+ x",
        "--data.labels+=x",
        "--data.corpus null",
        "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor x",
        "--trainer.logger false",
        "--trainer.logger CSVLogger --trainer.logger.save_dir x",
        "--trainer.precision bf16-mixed",
        "--trainer.max_time 00:01:00:00",
        "--trainer.accelerator cpu --trainer.devices 1 --trainer.strategy auto",
        "--trainer file.yaml",
        "--data.codec codec.yaml",
        "--config more.yaml",
        "--data foreign.MyLines --data.extra 5",
        "--data foreign.Loose --data.path x --data.batch_size 5",
        "--resume --overwrite --seed_everything 5 --run x --recipe y",
    ],
)
def test_every_spelling_passes(arguments: str) -> None:
    Path("file.yaml").write_text("max_steps: 5\n")
    Path("codec.yaml").write_text("class_path: Chars\ninit_args: {end: true}\n")
    more = {"model.lr": 1, "data": {"batch_size": 5}, "trainer": {"callbacks+": [{"class_path": "RichProgressBar"}]}}
    Path("more.yaml").write_text(json.dumps({**more, "resume": True, "run": "x"}))
    passes([*GRU.split(), *arguments.split()])


def test_keyword_arguments_are_not_judged() -> None:
    arguments = [*GRU.split(), "--data", "foreign.Loose", "--data.colour", "red"]
    explain(fit._recipes(arguments), fit.FLAGS, fit.GROUPS)
    with pytest.raises(UsageError, match=r"^--model\.lr is 'x', expected float$"):
        explain([*fit._recipes(arguments), "--model.lr", "x"], fit.FLAGS, fit.GROUPS)


# -- the tables


def test_the_flags_are_those_of_the_parser() -> None:
    names = set(vars(fit._parser().get_defaults()))
    assert names | {"config", "help", "print_config"} == {*fit.FLAGS, *fit.GROUPS}


def test_the_list_of_models_is_that_of_the_registry() -> None:
    own = [name for name in registered(Model) if "." not in name]
    assert set(own) <= set(concrete([Model]))
    assert [name for name, cls in concrete([Model]).items() if cls.__module__.startswith("seqgen.")] == own


def test_nearest() -> None:
    known = ["temperature", "stream", "RNN"]
    assert nearest("temp", known) == nearest("temprature", known) == "temperature"
    assert nearest("rnn", known) == "RNN"
    assert nearest("xyz", known) is None


# -- help


@pytest.mark.parametrize(
    ("arguments", "cls"),
    [(["--help"], Training), (["--data.help", "Lines"], Lines), (["--model.model.help=RNN"], RNN)],
)
def test_help_is_the_docstring(capsys: pytest.CaptureFixture[str], arguments: list[str], cls: type) -> None:
    with pytest.raises(SystemExit) as left:
        main(["fit", *arguments])
    assert left.value.code == 0
    out, err = capsys.readouterr()
    shown = " ".join(out.split()).replace("- ", "-")  # lines break at hyphens
    documented = (inspect.getdoc(cls) or "").replace("- ", "-")
    assert err == ""
    assert documented.partition("\n")[0].rstrip(".") in shown
    entries = documented.partition("Args:\n")[2].split("\n\n")[0]
    described = [entry.partition(":")[2] for entry in re.split(r"\n(?= {4}\w)", entries)]
    skipped = {"seed"} if cls is Training else set()
    names = set(inspect.signature(cls).parameters) - skipped - ({"output", "labels"} if cls is RNN else set())
    assert sum(" ".join(text.split()) in shown for text in described) >= len(names) > 5
    assert all(f".{name}" in shown for name in names)


# -- the other commands


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("sample names --temprature 1", "seqgen sample: error: unrecognized arguments: --temprature 1; did you mean "),
        ("sample names --temprature=1", "seqgen sample: error: unrecognized arguments: --temprature=1; did you mean "),
        ("sample names --temp 1", "seqgen sample: error: unrecognized arguments: --temp 1; did you mean "),
    ],
)
def test_an_unknown_option_is_told_the_nearest(capsys: pytest.CaptureFixture[str], command: str, expected: str) -> None:
    assert wrong(command, capsys) == f"{expected}--temperature?"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("score names --lable=F", "score: error: unrecognized arguments: --lable=F; did you mean --label?"),
        (
            "evaluate names --data.pth x",
            "evaluate: error: unrecognized arguments: --data.pth x; did you mean --data.path?",
        ),
        ("app --prot 3", "app: error: unrecognized arguments: --prot; did you mean --port?"),
        ("sample names --colour", "sample: error: unrecognized arguments: --colour"),
        ("info names more", "info: error: unrecognized arguments: more"),
    ],
)
def test_an_unknown_option_of_any_command(capsys: pytest.CaptureFixture[str], command: str, expected: str) -> None:
    assert wrong(command, capsys) == f"seqgen {expected}"


def wrong(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The last line of standard error; before it stands the usage of that command, and nothing else."""
    with pytest.raises(SystemExit) as left:
        main(command.split())
    assert left.value.code == 2
    out, err = capsys.readouterr()
    *usage, line = err.splitlines()
    assert out == ""
    assert usage[0].startswith(f"usage: seqgen {command.split()[0]}")
    assert all(more.startswith(" ") for more in usage[1:])
    return line
