"""Objects as plain JSON, in the two words of the training YAML: `class_path` and `init_args`."""

import inspect
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar, Self, TypeVar

T = TypeVar("T")
_REGISTRY: dict[str, type["Configurable"]] = {}


class SeqgenError(ValueError):
    """Something that the user can mend: the message says what was got and what was expected. Above all such errors."""


class WrongType(SeqgenError, TypeError):
    """A value of a type that cannot be used."""


class ConfigError(SeqgenError):
    """A description that `build` refuses; the message says where in it and why."""


class Configurable:
    """An object that remembers its constructor's arguments, so that it can be described and built again.

    The law: `describe(build(d)) == d` for every description `d`. Constructors take plain JSON values, other
    Configurables, or lists and dicts of those, and no `**kwargs`. Every concrete subclass is registered when its module
    is imported, and `build` constructs no other class: those of seqgen go by their class name, those of other packages
    by `module.ClassName`.
    """

    init_args: dict[str, Any]
    added: ClassVar[frozenset[str]] = frozenset()
    """Arguments that the class has gained; descriptions from before lack them and get their defaults."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        known = _REGISTRY.setdefault(class_path(cls), cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"two Configurable classes are called {class_path(cls)}: {known} and {cls}")
        _REGISTRY[class_path(cls)] = cls

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        # bind_partial: a missing argument is the constructor's to refuse, and copy and pickle pass none at all.
        bound = inspect.signature(cls.__init__).bind_partial(self, *args, **kwargs)
        bound.apply_defaults()
        values = dict(list(bound.arguments.items())[1:])
        object.__setattr__(self, "init_args", values)  # past nn.Module, which would register submodules here
        return self

    def __init__(self) -> None:
        """Without arguments; a class that takes some says which."""


def class_path(cls: type) -> str:
    """The name under which a class is registered: "RNN" for one of seqgen's, "package.module.ClassName" for others."""
    own = cls.__module__.partition(".")[0] == __name__.partition(".")[0]
    return cls.__name__ if own else f"{cls.__module__}.{cls.__name__}"


def registered(kind: type[T]) -> dict[str, type[T]]:
    """The concrete registered subclasses of a class, by the name that `build` knows them by."""
    known = sorted(_REGISTRY.items())
    return {name: cls for name, cls in known if issubclass(cls, kind) and not inspect.isabstract(cls)}


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that begins with `name`, or else the most similar one, whatever the case; None if none is."""
    lower = {one.lower(): one for one in known}
    begins = [one for one in lower if one.startswith(name.lower())]
    return next((lower[one] for one in begins + get_close_matches(name.lower(), lower, 1)), None)


def describe(value: Any) -> Any:
    """`value` as plain JSON: a Configurable as `{"class_path": ..., "init_args": {...}}`, every argument written.

    Raises TypeError for a value that JSON cannot hold.
    """
    if isinstance(value, Configurable):
        arguments = {name: describe(argument) for name, argument in value.init_args.items()}
        return {"class_path": class_path(type(value)), "init_args": arguments}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: describe(item) for key, item in value.items()}
    raise TypeError(f"cannot describe {value!r} of type {type(value).__name__}: expected plain JSON or a Configurable")


def build(description: Any, expected: type[T], where: str = "config") -> T:
    """The object that `description` describes; only registered classes are ever constructed.

    `where` names the place of the description in error messages. Raises ConfigError for a class outside the
    registry, an unknown or missing key, an argument that the constructor refuses, or an object that is not an
    `expected`.
    """
    try:
        built = _build(description, where)
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply") from None
    if not isinstance(built, expected):
        raise ConfigError(f"{where}: got {type(built).__name__}, expected {expected.__name__}")
    return built


def _build(value: Any, where: str) -> Any:
    if isinstance(value, list):
        return [_build(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if "class_path" not in value:
        return {key: _build(item, f"{where}.{key}") for key, item in value.items()}
    if set(value) != {"class_path", "init_args"}:
        raise ConfigError(f"{where}: got the keys {sorted(value)}, expected class_path and init_args")
    return _construct(_find(value["class_path"], where), value["init_args"], where)


def _find(name: Any, where: str) -> type[Configurable]:
    known = registered(Configurable)
    if isinstance(name, str) and name in known:
        return known[name]
    module = name.rpartition(".")[0] if isinstance(name, str) else ""
    if module and module not in sys.modules:  # else importing it would not help
        raise ConfigError(
            f"{where}: class_path {name!r} is not registered, and a checkpoint never imports modules by itself; if "
            f"you trust the module: `import {module}` in Python, `--import {module}` on the command line"
        )
    likely = [one for one in known if one.rpartition(".")[0] in ("", module)]
    raise ConfigError(f"{where}: class_path {name!r} is not registered; expected one of {', '.join(likely)}")


def _construct(cls: type[Configurable], arguments: Any, where: str) -> Configurable:
    if not isinstance(arguments, dict):
        raise ConfigError(f"{where}: init_args is {type(arguments).__name__}, expected an object")
    expected = list(inspect.signature(cls.__init__).parameters)[1:]
    if unknown := [key for key in arguments if key not in expected]:
        raise ConfigError(f"{where}: {cls.__name__} has no argument {unknown[0]!r}; it has {', '.join(expected)}")
    if missing := [key for key in expected if key not in arguments and key not in cls.added]:
        raise ConfigError(f"{where}: {cls.__name__} misses its argument {missing[0]!r}")
    built = {key: _build(item, f"{where}.{key}") for key, item in arguments.items()}
    try:
        return cls(**built)
    except (TypeError, ValueError, OverflowError, RuntimeError, AttributeError, MemoryError) as error:
        raise ConfigError(f"{where}: {cls.__name__} refuses its arguments: {error}") from error
