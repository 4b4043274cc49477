"""What differs between kinds of data: how items are read, written, shown, previewed and reported."""

import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, NamedTuple, TextIO

import numpy as np

from seqgen.codec import Codec
from seqgen.config import Configurable, SeqgenError, registered

if TYPE_CHECKING:
    from seqgen.inference.conditioning import Label
    from seqgen.inference.score import Scores, Total
    from seqgen.pipeline import Pipeline

SHOWN = 10
"""Items of a preview."""


class Request(NamedTuple):
    """What samples are drawn with, besides the arguments of `Pipeline.sample` in `choices`, and what becomes of them.

    `condition` is the item whose features condition the model; `out` is the file to write, `png` a figure of it, and
    `probabilities` asks for the conditional means beside images.
    """

    label: "Label" = None
    condition: Any = None
    choices: Mapping[str, Any] = {}
    out: Path | None = None
    png: Path | None = None
    probabilities: bool = False


class Preview(NamedTuple):
    """One sample of a run: the file that was written, and what TensorBoard shows of it.

    `samples` (N,) at `rate` Hz is a sound, `picture` uint8 (H, W, C) an image or a figure.
    """

    path: Path
    text: str | None = None
    samples: np.ndarray | None = None
    rate: int = 0
    picture: np.ndarray | None = None


class Modality(Configurable, ABC):
    """A kind of data. A codec names its modality; whoever reads, writes or prints items asks the modality.

    The law: an item that was written is read back by `items` as it was, or within the codec's stated bound.
    """

    name: ClassVar[str]
    """What codecs call it, in the singular: "text"."""
    noun: ClassVar[str]
    """What models of it are models of: "a model of {noun}"."""
    plural: ClassVar[str]
    """What its items are called: "texts"."""
    suffixes: ClassVar[tuple[str, ...]]
    """Of the files that `write` writes."""
    options: ClassVar[frozenset[str]] = frozenset()
    """The special options of sampling that it honours: seconds, context, png, probabilities, stream."""
    streams: ClassVar[bool] = False
    """Whether the pieces of a single sample are printed as they are drawn."""
    printable: ClassVar[bool] = True
    """Whether terminals and JSON can hold the items; else they need a file."""
    key: ClassVar[str] = "item"
    """What an item is called in JSON."""

    # -- reading

    def read(self, codec: Codec, source: Any) -> Any:
        """The item that a user names, on the command line or in a text box. Raises SeqgenError for what is none."""
        return source

    def collection(self, items: Any) -> list[Any] | None:
        """The items of a collection, such as a list; None for what is a single item, such as a NamedTuple."""
        return list(items) if isinstance(items, list) or type(items) is tuple else None

    def items(self, codec: Codec, file: Path | BinaryIO, encoding: str | None = None) -> Iterator[tuple[str, Any]]:
        """The items of a file, or of standard input, and where each of them is: "line 3". By default one item.

        `encoding` is that of text. Raises DataError for what cannot be read.
        """
        if not isinstance(file, Path):
            raise SeqgenError(f"standard input has no {self.plural}; expected a file")
        if encoding is not None:
            raise SeqgenError(f"got the encoding {encoding!r}, which only text has; the model is one of {self.noun}")
        yield "", self.read(codec, str(file))

    def pieces(self, codec: Codec, item: Any) -> Iterator[Any] | None:
        """A long item in pieces, so that it is scored in constant memory; None for one that is scored whole."""
        return None

    def signal(self, codec: Codec, item: Any) -> np.ndarray:
        """Samples (N,) of an item or of a list of consecutive ones, from which conditioning features are computed."""
        raise SeqgenError(f"got something to be conditioned on, and a model of {self.noun} takes no features")

    def symbols(self, codec: Codec, seconds: float) -> int:
        """The number of symbols of a duration."""
        raise SeqgenError(f"got a duration of {seconds} s; {self.plural} have none")

    # -- writing

    def check(self, request: Request, json: bool = False) -> None:
        """Raises SeqgenError for a request whose files cannot be written; before anything is sampled."""
        if request.out is not None:
            self.check_out(request.out, json)

    def check_out(self, path: Path, json: bool = False) -> None:
        """Raises SeqgenError unless items can be written as a file of this name, or as JSON."""
        suffixes = (*self.suffixes, ".json") if json and self.printable else self.suffixes
        if path.suffix.lower() not in suffixes:
            expected = ", ".join(suffix or "none" for suffix in suffixes)
            raise SeqgenError(
                f"{str(path)!r} cannot be written: its suffix is {path.suffix!r}, expected {expected} for {self.plural}"
            )
        check_folder(path)

    @abstractmethod
    def write(self, codec: Codec, items: list[Any], path: Path) -> list[Path]:
        """Write items to a file, or numbered files, each whole or not at all; the paths."""

    @abstractmethod
    def show(self, codec: Codec, items: list[Any]) -> str:
        """What a terminal prints."""

    def plain(self, codec: Codec, item: Any) -> Any:
        """An item as plain JSON."""
        return item

    def save(self, pipeline: "Pipeline", items: list[Any], request: Request) -> list[Path]:
        """Write the samples of a request; the paths."""
        assert request.out is not None  # whoever calls has checked
        return self.write(pipeline.codec, items, request.out)

    def stream(self, codec: Codec, pieces: Iterable[Any], out: TextIO) -> None:
        """Write the pieces of one sample to standard output as they are drawn."""
        encoding = out.encoding or "utf-8"
        for piece in pieces:
            text = self.show(codec, [piece])
            out.write(text.encode(encoding, "backslashreplace").decode(encoding))
            out.flush()
        out.write("\n")

    def remark(self, pipeline: "Pipeline", items: list[Any], request: Request) -> str | None:
        """What a user should know about samples: that they are very short, say."""
        return None

    def speed(self, codec: Codec, items: int, symbols: int, seconds: float) -> str | None:
        """How fast `items` samples of `symbols` each were drawn in `seconds`; None where nobody asks."""
        return None

    def preview(
        self,
        pipeline: "Pipeline",
        path: Path,
        seed: int,
        count: int = SHOWN,
        length: int | None = None,
        examples: Iterable[tuple[Any, dict[str, str]]] = (),
    ) -> Iterator[Preview]:
        """Write samples as `path` with a suffix. `examples` are held-out items to be conditioned on, and their labels.

        `length` is the most symbols of an item that has no end of its own.
        """
        items = pipeline.sample(count, seed=seed, length=self.preview_length(pipeline.codec, length))
        (written,) = self.write(pipeline.codec, items, path.with_suffix(self.suffixes[0]))
        yield Preview(written, self.show(pipeline.codec, items))

    def preview_length(self, codec: Codec, length: int | None) -> int | None:
        """`length` for items that differ in length, None where all have as many symbols."""
        return length if codec.length is None else None

    def example(
        self, pipeline: "Pipeline", name: str, label: dict[str, str], condition: Path | None = None
    ) -> dict[str, str]:
        """A command that samples the model of that name and its result, for the model card.

        `condition` is a file that a model with features is conditioned on.
        """
        items = pipeline.sample(3, label=label, seed=1)
        return {"command": f"{sample_command(name, label)} -n 3 --seed 1", "result": self.show(pipeline.codec, items)}

    # -- scores

    def title(self, item: Any) -> str | None:
        """What an item of a file is called beside its score: a string by itself; None: by the name of the file."""
        return item if isinstance(item, str) else None

    def line(self, total: "Total") -> str:
        """The numbers of a score in one line."""
        perplexity = f" perplexity {total.perplexity:8.3f}" if total.discrete else ""
        return (
            f"{total.nats:12.3f} nats {total.nats_per_symbol:7.4f} nats/symbol {total.bits_per_symbol:7.4f} bits/symbol"
            f" {total.bits_per_unit:7.4f} bits/{total.unit}{perplexity}"
        )

    def record(self, name: str, parts: Iterable["Scores"], ranks: Any, per_symbol: bool = True) -> Iterator[str]:
        """The JSON object of one scored item, in pieces of text; `ranks(total)` gives its p-value and the like."""
        totals, symbols, extra = [], [], {}
        for part in parts:
            totals.append(part.total)
            if per_symbol:
                symbols += part.symbols()
                extra = {"end_counted": part.end_counted, "per_symbol": symbols}
        total = sum_totals(totals)
        yield json.dumps({self.key: name, **ranks(total), **total.as_dict(), **extra})

    def size(self, total: "Total") -> str:
        """How much was scored."""
        return f"{total.symbols:.0f} symbols"

    def beginning(self, pipeline: "Pipeline", prefix: Any = None) -> str | None:
        """How the first symbols are scored, whose left context is shorter than the receptive field; None: as usual."""
        return None


def modality_of(codec: Codec) -> Modality:
    """The modality that a codec names. Raises SeqgenError where it is not registered."""
    for cls in registered(Modality).values():
        if cls.name == codec.modality:
            return cls()
    raise SeqgenError(
        f"{type(codec).__name__} is a codec of the modality {codec.modality!r}, which is not registered; import the "
        "module that defines it"
    )


def sum_totals(totals: Iterable["Total"]) -> "Total":
    """The sum of one total or more."""
    first, *rest = totals
    for total in rest:
        first = first + total
    return first


def sample_command(name: str, label: Mapping[str, str]) -> str:
    """`seqgen sample NAME --label ...`."""
    return " ".join(["seqgen sample", name, *(f"--label {key}={value}" for key, value in label.items())])


def numbered(path: Path, count: int) -> list[Path]:
    """`path` for one file, else path-1, path-2, ..."""
    return [path] if count == 1 else [path.with_stem(f"{path.stem}-{number + 1}") for number in range(count)]


def check_folder(path: Path) -> None:
    """Raises SeqgenError where the folder of a file to be written is not there."""
    if not os.path.isdir(path.parent):
        raise SeqgenError(f"{str(path)!r} cannot be written: there is no folder {str(path.parent)!r}")


def finite(values: Iterable[float]) -> list[float | None]:
    """Numbers as JSON holds them: None for infinities and NaN."""
    return [value if math.isfinite(value) else None for value in values]
