"""Descriptions: what `build` makes of them, and all that it refuses."""

import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from seqgen import config
from seqgen.codec import Codec
from seqgen.codecs import Chars
from seqgen.config import ConfigError, Configurable, build, describe, registered
from seqgen.model import Model
from seqgen.models import RNN, NGram
from seqgen.output import Output
from seqgen.outputs import Bernoulli, Categorical

CATEGORICAL = {"class_path": "Categorical", "init_args": {"classes": 3}}
NGRAM = {"class_path": "NGram", "init_args": {"output": CATEGORICAL, "labels": [2], "order": 2}}


class Nest(Configurable):
    """Takes whatever it is given."""

    def __init__(self, inner: Any = None, *, other: Any = 0) -> None:
        self.inner = inner


@pytest.mark.parametrize(
    "made",
    [
        Bernoulli(),
        Categorical(3),
        Chars("ab", end=True),
        Chars(),
        NGram(Categorical(3), [2], order=2),
        RNN(Categorical(3), hidden=3),
        Nest(),
        Nest([Nest(Categorical(2)), {"a": (1, 2.5, None, True, "x")}], other=Bernoulli()),
    ],
    ids=lambda made: type(made).__name__,
)
def test_describe_build_describe(made: Configurable) -> None:
    """Through JSON and back the description stays what it is; every argument is written."""
    description = describe(made)
    built = build(json.loads(json.dumps(description, allow_nan=False)), type(made))
    assert type(built) is type(made)
    assert describe(built) == description
    assert describe(build(describe(built), type(made))) == description


def test_a_class_without_a_constructor_takes_nothing() -> None:
    assert describe(Bernoulli()) == {"class_path": "Bernoulli", "init_args": {}}
    with pytest.raises(TypeError):
        Bernoulli(3)
    with pytest.raises(ConfigError, match="no argument 'args'"):
        build({"class_path": "Bernoulli", "init_args": {"args": []}}, Output)


def test_defaults_are_written_out() -> None:
    """So that a default that changes in a later version does not change a checkpoint."""
    assert describe(Nest(3))["init_args"] == {"inner": 3, "other": 0}
    assert len(describe(RNN(Categorical(3)))["init_args"]) == 10


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": object()}, b"x", torch.zeros(1), {3}, [complex(1)]])
def test_describe_refuses_what_json_cannot_hold(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot describe"):
        describe(Nest(value))


def changed(**init_args: Any) -> dict[str, Any]:
    return {"class_path": "NGram", "init_args": {**NGRAM["init_args"], **init_args}}


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (None, "config: got NoneType, expected Model"),
        ([], "got list, expected Model"),
        ("NGram", "got str, expected Model"),
        (3, "got int, expected Model"),
        ({}, "got dict, expected Model"),
        (CATEGORICAL, "got Categorical, expected Model"),
        ({"class_path": "NGram"}, r"keys \['class_path'\], expected class_path and init_args"),
        ({**NGRAM, "extra": 1}, "expected class_path and init_args"),
        *(
            ({**NGRAM, "class_path": name}, f"class_path {name!r} is not registered; expected one of .*RNN")
            for name in (
                "os.system",
                "builtins.eval",
                "seqgen.models.NGram",
                "ngram",
                "",
                "Model",
                "Configurable",
                3,
                None,
            )
        ),
        (
            {**NGRAM, "class_path": "my_package.models.GPT"},
            "class_path 'my_package.models.GPT' is not registered, and a checkpoint never imports modules by itself; .*"
            "`import my_package.models` in Python, `--import my_package.models` on the command line",
        ),
        ({**NGRAM, "class_path": f"{__name__}.GPT"}, rf"expected one of .*RNN.*, {__name__}\.Nest"),
        ({**NGRAM, "class_path": ["NGram"]}, "is not registered"),
        ({**NGRAM, "class_path": NGRAM}, "is not registered"),
        ({**NGRAM, "init_args": []}, "init_args is list, expected an object"),
        ({**NGRAM, "init_args": None}, "init_args is NoneType, expected an object"),
        (changed(smoothing=1), "NGram has no argument 'smoothing'; it has output, labels, order"),
        (changed(self=1), "NGram has no argument 'self'"),
        ({**NGRAM, "init_args": {}}, "NGram misses its argument 'output'"),
        ({**NGRAM, "init_args": {"output": CATEGORICAL, "labels": []}}, "misses its argument 'order'"),
        (changed(order=0), "config: NGram refuses its arguments: order is 0"),
        (changed(order="2"), "refuses its arguments: order is '2'"),
        (changed(order=10**30), "refuses its arguments"),
        (changed(labels=3), "refuses its arguments"),
        (changed(labels=["a"]), "refuses its arguments"),
        (changed(output=None), "refuses its arguments"),
        (changed(output=describe(Chars("ab"))), "refuses its arguments"),
        (changed(output={**CATEGORICAL, "init_args": {"classes": -1}}), r"config.output: Categorical refuses"),
        (changed(output={**CATEGORICAL, "class_path": "os"}), r"config.output: class_path 'os' is not"),
        (changed(labels=[{"class_path": "x", "init_args": {}}]), r"config.labels\[0\]: class_path 'x'"),
        (changed(labels={"a": {"class_path": "x", "init_args": {}}}), r"config.labels.a: class_path 'x'"),
    ],
)
def test_build_refuses(description: Any, message: str) -> None:
    """With the place in the description and the reason, and never another exception."""
    before = copy.deepcopy(description)
    with pytest.raises(ConfigError, match=message):
        build(description, Model)
    assert description == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"hidden": 10**30},
        {"hidden": -1},
        {"hidden": "8"},
        {"hidden": None},
        {"layers": 1.5},
        {"layers": []},
        {"layers": 10**18},
        {"cell": ["lstm"]},
        {"cell": None},
        {"dropout": -0.1},
        {"dropout": "a"},
        {"forget_bias": None},
        {"embedding": "4"},
        {"labels": 3},
        {"labels": [-2]},
        {"labels": [10**18]},
        {"output": [CATEGORICAL]},
        {"output": 4},
    ],
    ids=str,
)
def test_arguments_of_wrong_kinds_give_a_config_error(arguments: Mapping[str, Any]) -> None:
    description = describe(RNN(Categorical(3), hidden=3))
    with pytest.raises(ConfigError, match="RNN refuses its arguments"):
        build({**description, "init_args": {**description["init_args"], **arguments}}, Model)


def test_a_description_that_is_nested_too_deeply_is_refused() -> None:
    deep: Any = 0
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ConfigError, match="nested too deeply"):
        build({"class_path": f"{__name__}.Nest", "init_args": {"inner": deep, "other": 0}}, Nest)


def test_where_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^there: got Chars, expected Model$"):
        build(describe(Chars("a")), Model, "there")
    assert isinstance(build(describe(Chars("a")), Codec), Chars)


def test_abstract_classes_are_not_offered() -> None:
    with pytest.raises(ConfigError) as error:
        build({"class_path": "x", "init_args": {}}, Model)
    assert "Model" not in str(error.value).split("expected one of")[1].split(", ")


def test_two_classes_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_REGISTRY", dict(config._REGISTRY))
    known = registered(Output)["Categorical"]
    with pytest.raises(TypeError, match="two Configurable classes are called Categorical"):
        type("Categorical", (Configurable,), {"__module__": "seqgen.elsewhere"})
    assert registered(Output)["Categorical"] is known
    other = type("Categorical", (Configurable,), {"__module__": "elsewhere"})
    assert registered(Configurable)["elsewhere.Categorical"] is other
    with pytest.raises(TypeError, match=r"two Configurable classes are called elsewhere\.Categorical"):
        type("Categorical", (Configurable,), {"__module__": "elsewhere", "__qualname__": "Inner.Categorical"})


def test_a_class_of_another_package_goes_by_its_module() -> None:
    assert describe(Nest())["class_path"] == f"{__name__}.Nest"
    with pytest.raises(ConfigError, match="class_path 'Nest' is not registered"):
        build({"class_path": "Nest", "init_args": {"inner": None, "other": 0}}, Nest)


def test_a_missing_argument_is_the_constructors_to_refuse() -> None:
    with pytest.raises(TypeError, match="classes"):
        Categorical()
    with pytest.raises(TypeError, match="colour"):
        Categorical(3, colour=1)


def test_copies_remember_their_arguments() -> None:
    model = RNN(Categorical(3), hidden=3, layers=2)
    assert describe(copy.deepcopy(model)) == describe(model)
    assert describe(copy.copy(Chars("ab"))) == describe(Chars("ab"))
