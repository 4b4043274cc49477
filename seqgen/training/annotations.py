"""Annotations of constructors: the classes that they admit, the values, and how they read."""

import collections.abc
import inspect
import types
import typing
from collections.abc import Sequence
from typing import Any, NamedTuple

from jsonargparse import ArgumentError, ArgumentParser


class Key(NamedTuple):
    """What is known of a key: the annotation of its value, None for a switch, and whether it must be given."""

    kind: Any
    required: bool = False


def parameters(cls: type, filled_in: int = 0) -> dict[str, Key] | None:
    """The arguments of a class's constructor after the first `filled_in`; None if it takes *args or **kwargs."""
    known = list(inspect.signature(cls.__init__).parameters.values())[1 + filled_in :]  # type: ignore[misc]
    if any(one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in known):
        return None
    try:
        hints = typing.get_type_hints(cls.__init__)  # type: ignore[misc]
    except (NameError, AttributeError, TypeError):  # of names that are imported for type checkers only
        hints = {}
    return {one.name: Key(hints.get(one.name, Any), one.default is one.empty) for one in known}


def admitted(kind: Any) -> list[type]:
    """The classes of which an annotation admits an object, or a list of objects."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (type, typing.Literal):
        return []
    if origin is not None:  # a callable's last argument is what it returns
        inner = arguments[-1:] if origin is collections.abc.Callable else arguments
        return [cls for argument in inner for cls in admitted(argument)]
    return [kind] if inspect.isclass(kind) and kind.__module__ != "builtins" else []


def filled_in(kind: Any) -> int:
    """How many of a class's first arguments the annotation leaves to the caller."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is collections.abc.Callable:
        return len(arguments[0]) if isinstance(arguments[0], list) else 0
    return max(map(filled_in, arguments), default=0)


def concrete(classes: Sequence[type]) -> dict[str, type]:
    """The concrete classes that are imported, by name."""
    found: dict[str, type] = {}
    rest = list(classes)
    while rest:
        cls = rest.pop()
        rest += type.__subclasses__(cls)
        if not inspect.isabstract(cls) and not cls.__name__.startswith("_"):
            found[cls.__name__] = cls
    return dict(sorted(found.items()))


def accepts(kind: Any, value: Any) -> bool:
    """Whether the parser takes a value for an annotation, or cannot judge it."""
    parser = ArgumentParser(exit_on_error=False)
    try:
        parser.add_argument("--value", type=kind)
        parser.parse_object({"value": value})
    except ArgumentError:
        return False
    except (ValueError, TypeError):
        return True
    return True


def words(kind: Any) -> str:
    """An annotation in words, to follow "expected"."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is type(None):
        return "null"
    if origin in (typing.Union, types.UnionType):
        # typing keeps one order for equal unions, that of whichever was written first in the process.
        return " or ".join(sorted(set(map(words, arguments)), key=lambda word: (word == "null", word)))
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if classes := admitted(kind):
        return f"one of {', '.join(concrete(classes))}"
    if origin in (collections.abc.Sequence, collections.abc.Iterable):
        return f"list[{words(arguments[0])}]"
    return inspect.formatannotation(kind)
