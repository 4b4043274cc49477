"""Why the arguments of `seqgen fit` are refused: the first mistake among them, in one line.

The parser decides what is accepted. When it refuses, `explain` walks what the user gave, in order, against the
signatures of the configured classes, and raises the first mistake that it finds. What it cannot judge, such as the keys
of a class with `**kwargs`, it passes over.
"""

import importlib
import inspect
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from seqgen.config import SeqgenError, nearest
from seqgen.training.annotations import Key, accepts, admitted, concrete, filled_in, parameters, words

BESIDE = ("class_path", "init_args", "dict_kwargs")
"""The keys of a mapping that names a class."""


class UsageError(SeqgenError):
    """Arguments or a configuration that cannot be understood."""


def explain(arguments: list[str], flags: Mapping[str, Any], groups: Mapping[str, type]) -> None:
    """Raise UsageError for the first mistake in the arguments, and in the files that they name by --config.

    Args:
        arguments: The command line after the name of the command.
        flags: The annotation of every flag outside the groups; None is a switch, which takes no value.
        groups: Classes whose constructors' arguments are flags, `--group.argument`.
    """
    walk = _Walk(flags, groups)
    rest = list(arguments)
    while rest:
        flag, equals, text = rest.pop(0).partition("=")
        if not flag.startswith("--"):
            raise UsageError(f"{flag!r} does not belong to a flag, expected --key value")
        if flags.get(flag[2:], flag) is None:
            continue
        if not equals and rest and not rest[0].startswith("--"):
            equals, text = "=", rest.pop(0)
        walk.flag(flag, text if equals else None)
    walk.check_complete()


class _Walk:
    """A walk over flags and files, which remembers the keys of every class that was given.

    `place` is a dotted path without class_path and init_args, such as "model.model.hidden", and "" is the top. `where`
    is the same place as the user wrote it: "--model.model.hidden", or "my.yaml: model.model.init_args.hidden".
    """

    def __init__(self, flags: Mapping[str, Any], groups: Mapping[str, type]) -> None:
        self.groups = groups
        top = {name: Key(kind, bool(admitted(kind))) for name, kind in flags.items()}
        self.known: dict[str, dict[str, Key] | None] = {"": {**top, **dict.fromkeys(groups, Key(dict))}}
        self.known |= {name: parameters(cls) for name, cls in groups.items()}  # None where they cannot be judged
        self.given: set[str] = set()

    def flag(self, flag: str, text: str | None) -> None:
        """A flag and its value, None where it has none."""
        if (found := self.find("--", "", flag[2:])) is None:
            return
        place, kind, last = found
        if text is None:
            raise UsageError(f"{flag} has no value, expected {words(kind)}")
        self.given.add(place)
        configures = place in self.groups or admitted(kind)
        if place == "config":
            self.mapping(f"{text}: ", "", _read(text))
        elif last == "help":
            _class(text, kind, flag)
        elif configures and Path(text).is_file():  # a file for this place alone
            self.known[place] = None
        elif configures or not flag.endswith("+"):
            self.value(flag, place, kind, _loaded(text) if configures else text)

    def find(self, where: str, place: str, path: str) -> tuple[str, Any, str] | None:
        """Follow a dotted path from a place: the place there, its annotation, the last name; None if unknown."""
        kind = None
        names = path.removesuffix("+").split(".")
        for number, name in enumerate(names):
            where = _joined(where, name)
            if kind is not None and name in ("class_path", "help"):
                break
            if kind is None or name != "init_args":
                if (kind := self.kind(where, place, name, names[number + 1 :])) is None:
                    return None
                place = _joined(place, name)
        return place, kind, names[-1]

    def value(self, where: str, place: str, kind: Any, value: Any) -> None:
        """A value where the annotation is `kind`. Raises UsageError for one that does not fit."""
        self.given.add(place)
        if place in self.groups:
            self.group(where, place, value)
        elif not admitted(kind) or value is None:
            if not accepts(kind, value):
                raise UsageError(f"{where} is {_shown(value)}, expected {words(kind)}")
            self.known.pop(place, None)
        elif isinstance(value, list):
            for number, item in enumerate(value):
                self.value(f"{where}[{number}]", place, kind, item)
        elif isinstance(value, dict):
            if "class_path" in value:
                self.choose(f"{where}.class_path", place, kind, value["class_path"])
                if beside := [key for key in value if key not in BESIDE]:
                    raise UsageError(f"{where}.{beside[0]} is unknown, expected arguments in {_key(where)}.init_args")
            if "class_path" in value or "init_args" in value:
                where, value = f"{where}.init_args", value.get("init_args") or {}
            self.mapping(where, place, value)
        else:
            self.choose(where, place, kind, value)

    def group(self, where: str, place: str, value: Any) -> None:
        """A value for all the arguments of a group."""
        known = self.known[place]
        if isinstance(value, dict):
            self.mapping(where, place, value)
        elif known:
            first = place if place in known else next(iter(known))
            example = f"{_key(where)}.{first}: {words(known[first].kind)}"
            raise UsageError(f"{where} is {_shown(value)}, expected keys such as {example}")

    def choose(self, where: str, place: str, kind: Any, value: Any) -> None:
        """The name of a class, or what else the annotation admits. Raises UsageError."""
        try:
            cls = _class(value, kind, where)
        except UsageError:
            if not accepts(kind, value):
                raise
            cls = None
        self.known[place] = None if cls is None else parameters(cls, filled_in(kind))

    def mapping(self, where: str, place: str, values: Any) -> None:
        """Values by the names of keys."""
        if not isinstance(values, dict):
            raise UsageError(f"{where} is {_shown(values)}, expected a mapping")
        for path, value in values.items():
            if (found := self.find(where, place, str(path))) is not None:
                inner, kind, _ = found
                self.given.add(inner)
                if admitted(kind) or not str(path).endswith("+"):
                    self.value(_joined(where, str(path)), inner, kind, value)

    def kind(self, where: str, place: str, name: str, rest: Sequence[str] = ()) -> Any:
        """The annotation of a key of the class at a place; None where it cannot be judged. Raises UsageError."""
        if place not in self.known:
            self.known[place] = self.implied(where, place)
        known = self.known[place]
        if known is None or name == "dict_kwargs":
            return None
        if name in known:
            return known[name].kind
        elsewhere = [_joined(other, name) for other, keys in self.known.items() if name in (keys or {})]
        if near := nearest(name, known):
            hint = f"; did you mean {'.'.join([_key(where).removesuffix(name) + near, *rest])}?"
        elif elsewhere:
            hint = f"; did you mean {'--' * where.startswith('--')}{elsewhere[0]}?"
        else:
            hint = f", expected one of {', '.join(known)}"
        raise UsageError(f"{'.'.join([where, *rest])} is unknown{hint}")

    def implied(self, where: str, place: str) -> dict[str, Key] | None:
        """The keys at a place where no class was given: of the annotation itself, where that is one concrete class."""
        outer, _, name = place.rpartition(".")
        kind = (self.known[outer] or {})[name].kind
        classes = admitted(kind)
        if classes and all(map(inspect.isabstract, classes)):
            first = f"--{place}" if where.startswith("--") else f"{place}.class_path"
            raise UsageError(f"{where} needs {first} before it: {words(kind)}")
        return parameters(classes[0]) if len(classes) == 1 else None

    def check_complete(self) -> None:
        """Raises UsageError for a required key that was not given."""
        for place, known in self.known.items():
            for name, key in (known or {}).items():
                if key.required and (missing := _joined(place, name)) not in self.given:
                    raise UsageError(f"--{missing} is missing, expected {words(key.kind)}")


def _joined(path: str, name: str) -> str:
    return f"{path}{name}" if path in ("", "--") or path.endswith(": ") else f"{path}.{name}"


def _key(where: str) -> str:
    """A place without the name of its file."""
    return where.rpartition(": ")[2]


def _class(name: Any, kind: Any, where: str) -> type | None:
    """The class of a name or of a dotted path, None for a function that may return one. Raises UsageError."""
    classes = admitted(kind)
    choices = concrete(classes)
    if isinstance(name, str) and name in choices:
        return choices[name]
    if isinstance(name, str) and "." in name:
        module, _, attribute = name.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise UsageError(f"{where} is {name!r}, which cannot be imported: {error}") from None
        if inspect.isclass(found) and issubclass(found, tuple(classes)):
            return found
        if not inspect.isclass(found) and filled_in(kind):
            return None
    near = nearest(str(name), choices)
    raise UsageError(f"{where} is {_shown(name)}, expected {words(kind)}" + f"; did you mean {near}?" * bool(near))


def _shown(value: Any) -> str:
    return "null" if value is None else repr(value)


def _loaded(text: str) -> Any:
    """The mapping, list or null that a flag's text is, or else the text."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if value is None or isinstance(value, dict | list) else text


def _read(path: str) -> dict[Any, Any]:
    """The mapping in a file of YAML. Raises UsageError."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {textwrap.shorten(str(error), 150)}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds no mapping, expected keys such as model and data")
    return content
