"""How DNA is read, written and shown."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from dna.fasta import Record, format_records, parse
from seqgen.codec import Codec
from seqgen.media.files import read_text, write_atomically
from seqgen.modality import Modality

if TYPE_CHECKING:
    from seqgen.inference.score import Total


class DNAModality(Modality):
    """Records; in FASTA files, and on terminals in the same format."""

    name = "dna"
    noun = "DNA"
    plural = "DNA sequences"
    suffixes = (".fasta", ".fa", ".fna")
    key = "sequence"

    def read(self, codec: Codec, source: Any) -> Record:
        """A Record, a bare sequence, or FASTA of one record."""
        return Record.of(source)

    def items(self, codec: Codec, file: Path | BinaryIO, encoding: str | None = None) -> Iterator[tuple[str, Any]]:
        """The records of a FASTA file, each at the line of its header."""
        source = str(file) if isinstance(file, Path) else "standard input"
        for line, record in parse(read_text(file, encoding or "utf-8"), source):
            yield f"line {line}", record

    def write(self, codec: Codec, items: list[Any], path: Path) -> list[Path]:
        """One FASTA file."""
        write_atomically(path, (self.show(codec, items) + "\n").encode())
        return [path]

    def show(self, codec: Codec, items: list[Any]) -> str:
        """FASTA."""
        return format_records(items)

    def plain(self, codec: Codec, item: Any) -> Any:
        """The sequence as a string."""
        return item.sequence

    def title(self, item: Any) -> str | None:
        """The header."""
        return item.header or None

    def size(self, total: "Total") -> str:
        """Bases."""
        return f"{total.units:.0f} bases"
