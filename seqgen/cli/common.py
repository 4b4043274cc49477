"""What several commands are asked, and how they answer."""

import argparse
import sys
from typing import TYPE_CHECKING

from seqgen.config import SeqgenError

if TYPE_CHECKING:
    from seqgen.inference.score import Total
    from seqgen.pipeline import Pipeline


def loaded(options: argparse.Namespace) -> "Pipeline":
    """The model that is named."""
    from seqgen.pipeline import load

    return load(options.run, options.device)


def labels(said: list[str]) -> dict[str, str] | str | None:
    """What --label says, once or several times."""
    if len(said) == 1 and "=" not in said[0]:
        return said[0]
    if bare := [label for label in said if "=" not in label]:
        raise SeqgenError(f"--label is {bare[0]!r}; among several labels expected name=class")
    return dict(label.split("=", 1) for label in said) or None


def printable(text: str) -> str:
    """Text that standard output can encode; a lone surrogate is shown as its number."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def brief(total: "Total") -> str:
    """A line of a score's numbers."""
    return (
        f"{total.nats:12.3f} nats {total.nats_per_symbol:7.4f} nats/symbol {total.bits_per_symbol:7.4f} bits/symbol "
        f"{total.bits_per_unit:7.4f} bits/{total.unit} perplexity {total.perplexity:8.3f}"
    )
