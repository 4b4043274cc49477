"""Which combinations of models, outputs, contexts and options a list of examples leaves untested.

What a model needs of an output, or of a context, is an interface; so the examples cover pairs, not the cross product.
"""

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from examples import conditioning

from seqgen.config import SeqgenError
from seqgen.model import Model
from seqgen.output import Output

CONDITIONING = {"labels": "labels", "features": "features", "orders": "order"}
"""The constructor options that let a model take a part of a context, and that part."""

COUNTS = {
    "labels": ("none", "one", "several"),
    "orders": ("none", "one", "several"),  # none: any order
    "masks": ("none", "one", "several"),
    "channels": ("one", "several"),
}
"""Options that hold a number, or a list, and of which these are different cases."""


def uncovered_pairs(models: Iterable[Model], classes: Iterable[type], outputs: Iterable[Output]) -> Iterator[str]:
    """The pairs out of (model class, output class, conditioning) that no example has, of these model classes.

    A conditioning is a set of parts of a context: labels, features, order. Expected are: each model class with each
    class of `outputs`, unless all examples of the model class refuse such an output; each model class with every set of
    the parts that its constructor has an option for; each class of `outputs` with every such set of any model class.
    """
    models, outputs = list(models), list(outputs)
    covered = {
        pair for model in models for pair in itertools.combinations((type(model), type(model.output), _given(model)), 2)
    }
    taken = {cls: list(_subsets(cls)) for cls in classes}
    kinds = dict.fromkeys(map(type, outputs))
    expected: list[tuple[type, Any]] = [(cls, parts) for cls, subsets in taken.items() for parts in subsets]
    expected += itertools.product(kinds, dict.fromkeys(itertools.chain(*taken.values())))
    expected += (pair for pair in itertools.product(taken, kinds) if _possible(*pair, models, outputs))
    for first, second in expected:
        if (first, second) not in covered:
            yield f"{first.__name__} with {second if isinstance(second, str) else second.__name__}"


def _given(model: Model) -> str:
    return " and ".join(sorted(conditioning(model))) or "no context"


def _subsets(cls: type) -> Iterator[str]:
    """Every set of the parts of a context that a model class has an option for, as `_given` writes it."""
    parts = sorted(part for option, part in CONDITIONING.items() if option in inspect.signature(cls).parameters)
    for count in range(len(parts) + 1):
        yield from (" and ".join(some) or "no context" for some in itertools.combinations(parts, count))


def _possible(cls: type, kind: type, models: list[Model], outputs: list[Output]) -> bool:
    """Whether one of the examples of a model class could be built with an output of this kind."""
    for model, output in itertools.product(models, outputs):
        if type(model) is cls and type(output) is kind:
            try:
                type(model)(**{**model.init_args, "output": output})
            except SeqgenError:
                continue
            return True
    return False


def uncovered_options(models: Iterable[Model], cls: type) -> Iterator[str]:
    """The cases of the options of a model class's constructor that no example has.

    Expected are the cases in COUNTS, both values of a bool, all of a Literal, None and another value of what may be
    None, and of any other option a value that is not the default.
    """
    hints = get_type_hints(cls.__init__)
    for name, option in inspect.signature(cls).parameters.items():
        values = [model.init_args[name] for model in models if type(model) is cls]
        for case, holds in _cases(option, hints[name]).items():
            if not any(map(holds, values)):
                yield f"{cls.__name__}: {name} {case}"


def _cases(option: inspect.Parameter, hint: Any) -> dict[str, Callable[[Any], bool]]:
    """What tells whether a value of an option is of a case, by the case's name."""
    if option.name in COUNTS:
        return {case: lambda value, case=case: _count(value) == case for case in COUNTS[option.name]}
    if hint is bool or get_origin(hint) is Literal:
        choices = (False, True) if hint is bool else get_args(hint)
        return {f"{choice}": lambda value, choice=choice: value == choice for choice in choices}
    if NoneType in get_args(hint):
        return {"None": lambda value: value is None, "not None": lambda value: value is not None}
    return {"not the default": lambda value: value != option.default}


def _count(value: Any) -> str:
    number = value if isinstance(value, int) else len(value)
    return ("none", "one", "several")[min(2, number)]
