"""Text: one long text, or many short ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from seqgen.codec import Codec
from seqgen.media.files import lines, read_text, write_atomically
from seqgen.modality import Modality, Request, sample_command

if TYPE_CHECKING:
    from seqgen.pipeline import Pipeline

RULE = "\n" + "-" * 40 + "\n"
"""Between texts of several lines."""


class TextModality(Modality):
    """Strings. In a file, a model of short texts (whose codec has an end symbol) finds one a line, others one text."""

    name = "text"
    noun = "text"
    plural = "texts"
    suffixes = (".txt", ".md", "")
    streams = True
    key = "text"

    def collection(self, items: Any) -> list[Any] | None:
        """Also of a pandas Series and of a numpy array of str."""
        listed = items if isinstance(items, str) else getattr(items, "tolist", lambda: items)()
        return list(listed) if isinstance(listed, list | tuple) else None

    def items(self, codec: Codec, file: Path | BinaryIO, encoding: str | None = None) -> Iterator[tuple[str, Any]]:
        """Lines that are not empty, or the whole as one item in pieces."""
        pieces = read_text(file, encoding or "utf-8")
        if codec.end is None:
            yield "", pieces
            return
        for number, line in enumerate(lines(pieces), 1):
            if line:
                yield f"line {number}", line

    def pieces(self, codec: Codec, item: Any) -> Iterator[Any] | None:
        """Those of a file; a string is scored whole."""
        return None if isinstance(item, str) else item

    def write(self, codec: Codec, items: list[Any], path: Path) -> list[Path]:
        """One file in UTF-8: a text a line, or several lines each and a rule between them; one long text as it is."""
        end = "" if codec.end is None and len(items) == 1 else "\n"
        write_atomically(path, (self.show(codec, items) + end).encode("utf-8", "surrogatepass"))
        return [path]

    def show(self, codec: Codec, items: list[Any]) -> str:
        """A text a line, or several lines each and a rule between them."""
        return ("\n" if all("\n" not in text for text in items) else RULE).join(items)

    def remark(self, pipeline: "Pipeline", items: list[Any], request: Request) -> str | None:
        """Where an unprompted sample of a long text begins."""
        if pipeline.codec.end is not None or request.choices.get("prompt"):
            return None
        return "without a prompt the text begins in the middle of one, maybe of a word, as the training crops do"

    def example(
        self, pipeline: "Pipeline", name: str, label: dict[str, str], condition: Path | None = None
    ) -> dict[str, str]:
        """Twelve short texts, or 400 symbols of a long one."""
        command = sample_command(name, label)
        if pipeline.codec.end is not None:
            texts = pipeline.sample(12, label=label, seed=1)
            return {"command": f"{command} -n 12 --seed 1", "result": ", ".join(texts)}
        (text,) = pipeline.sample(length=400, label=label, temperature=0.7, seed=1)
        return {"command": f"{command} --length 400 --temperature 0.7 --seed 1", "result": text.strip("\n")}

    def beginning(self, pipeline: "Pipeline", prefix: Any = None) -> str | None:
        """What the first symbols of a long text are scored given."""
        if pipeline.codec.end is not None or prefix is not None:
            return None
        return "the first characters have no left context, as in the middle of a text; a prefix gives one"
