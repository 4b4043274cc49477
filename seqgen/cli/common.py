"""What several commands share: options, loading, and text that the terminal can show."""

import argparse
import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from seqgen.config import SeqgenError

if TYPE_CHECKING:
    from seqgen.pipeline import Pipeline


def loaded(options: argparse.Namespace) -> "Pipeline":
    """The model that RUN names."""
    from seqgen.pipeline import load

    return load(options.run, options.device)


@contextlib.contextmanager
def preloading() -> Iterator[None]:
    """Load numba's tables of functions, which takes 0.8 s, in a thread beside what is done meanwhile."""
    thread = threading.Thread(target=_preload, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _preload() -> None:
    from numba.core.registry import cpu_target

    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()


def labels(values: list[str]) -> dict[str, str] | str | None:
    """The value of --label, given once or several times."""
    if len(values) == 1 and "=" not in values[0]:
        return values[0]
    if bare := [label for label in values if "=" not in label]:
        raise SeqgenError(f"--label is {bare[0]!r}; among several labels expected name=class")
    return dict(label.split("=", 1) for label in values) or None


def printable(text: str) -> str:
    """Text that standard output can encode; a lone surrogate is shown as its number."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def warn(text: str) -> None:
    """A line on standard error."""
    print(text, file=sys.stderr)
