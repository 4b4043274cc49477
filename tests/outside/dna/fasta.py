"""FASTA: a header line that begins with `>`, then the sequence, for each record."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from textwrap import wrap

from seqgen.config import SeqgenError, WrongType
from seqgen.media.files import DataError, lines

WIDTH = 60
"""Bases in a line."""
MODIFIER = re.compile(r"\[(\w+)=([^\]]*)\]")
"""A label in a header, as GenBank writes it: `[organism=Escherichia coli]`."""


@dataclass(frozen=True)
class Record:
    """A sequence in upper case and the text of its header; records of equal sequences are equal.

    >>> Record("atg", "lacZ [organism=Escherichia coli]").labels
    {'organism': 'Escherichia coli'}
    """

    sequence: str
    header: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.sequence, str) or not isinstance(self.header, str):
            raise WrongType(
                f"got {self.sequence!r:.40} and {self.header!r:.40}, expected a sequence and a header (str)"
            )
        object.__setattr__(self, "sequence", self.sequence.upper())

    @property
    def labels(self) -> dict[str, str]:
        """The modifiers in the header."""
        return dict(MODIFIER.findall(self.header))

    @classmethod
    def of(cls, item: object) -> "Record":
        """A record as it is; a string, in which white space means nothing, as FASTA of one record or a bare sequence.

        Raises SeqgenError for FASTA of several records, WrongType for anything but a string.
        """
        if isinstance(item, cls):
            return item
        if not isinstance(item, str):
            raise WrongType(f"got {item!r:.40} of type {type(item).__name__}, expected a Record or a sequence (str)")
        if not item.lstrip().startswith(">"):
            return cls("".join(item.split()))
        records = [record for _, record in parse([item], "the text")]
        if len(records) != 1:
            raise SeqgenError(f"got {len(records)} records, expected one")
        return records[0]


def parse(pieces: Iterable[str], source: str) -> Iterator[tuple[int, Record]]:
    """The records of FASTA text that comes in pieces, each with the number of its header's line.

    Raises DataError, which names the source and the line, for a sequence without a header.

    >>> [(line, record.sequence) for line, record in parse([">a", "\\nAC\\nGT\\n>b\\nTT"], "x.fasta")]
    [(1, 'ACGT'), (4, 'TT')]
    """
    header: str | None = None
    start = 0
    parts: list[str] = []
    for number, line in enumerate(lines(iter(pieces)), 1):
        if line.startswith(">"):
            if header is not None:
                yield start, Record("".join(parts), header)
            header, start, parts = line[1:].strip(), number, []
        elif line.strip() and header is None:
            raise DataError(f"{source}, line {number}: got {line!r:.40}, expected a header such as '>gene 1'")
        else:
            parts += line.split()
    if header is not None:
        yield start, Record("".join(parts), header)


def format_records(records: Iterable[Record]) -> str:
    """FASTA text; a record without a header is called by its number, `>sequence-1`."""
    rows = []
    for number, record in enumerate(records, 1):
        rows += [f">{record.header or f'sequence-{number}'}", *wrap(record.sequence, WIDTH)]
    return "\n".join(rows)
