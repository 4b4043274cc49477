"""The command `seqgen fit`."""

import sys


def fit(arguments: list[str]) -> int:
    """Train a model; the exit status."""
    from seqgen.cli.main import import_modules

    kept, modules = _imports(arguments)
    import_modules(modules)
    from seqgen.training.fit import main
    from seqgen.training.mistakes import UsageError

    try:
        return main(kept)
    except UsageError as error:
        print(f"seqgen fit: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _imports(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The arguments without --import, and the modules that it names."""
    kept, modules, rest = [], [], iter(arguments)
    for argument in rest:
        if argument == "--import":
            modules.append(next(rest, ""))
        elif argument.startswith("--import="):
            modules.append(argument.removeprefix("--import="))
        else:
            kept.append(argument)
    return kept, modules
