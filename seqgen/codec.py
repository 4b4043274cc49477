"""What users hold (text, and later sound, pictures, rows) as the symbols that a model reads and writes."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor

from seqgen.config import Configurable, SeqgenError


class UnknownSymbol(SeqgenError):
    """Something that the codec has no symbol for; the message names it and its place.

    `position` is that place in an item of text, in characters, where there is one.
    """

    position: int | None = None


Unknown = Literal["error", "skip", "count"]
"""What becomes of an item with parts that have no symbol of their own.

`error` refuses it, `skip` leaves it out and counts it, `count` scores it with the codec's unknown symbol.
"""


class Codec(Configurable, ABC):
    """A translation between items and sequences of symbols. The law: `decode(encode(item)) == item`."""

    size: int | None
    """K, the number of symbols, all counted; None where symbols are numbers."""
    end: int | None = None
    """The symbol that ends a sequence; None when sequences have no end. `encode` does not append it, `close` does."""
    unsampled: tuple[int, ...] = ()
    """Symbols that a model may score but must never draw."""
    learns: bool = True
    """Whether `fit` learns statistics, and so must not see held-out items; an alphabet is none."""
    modality: str
    """The name of the kind of data that its items are, such as "text": see `seqgen.modality.Modality`."""
    unknown: int | None = None
    """The symbol that stands for all that has no symbol of its own; None where that is an error."""
    unit: str
    """What `lengths` counts, in the singular, such as "character"."""
    length: int | None = None
    """Symbols of every item; None where items differ."""
    shape: tuple[int, int, int] | None = None
    """Height, width and channels of items that are images."""
    log_jacobian: Tensor | float = 0.0
    """log |d symbol / d number|, added to a log-density of symbols (T,) to make it one of the numbers of an item."""
    usual_length: int = 500
    """Symbols that are sampled when nobody says how many."""

    @abstractmethod
    def encode(self, item: Any) -> Tensor:
        """Symbols (T,) of an item. Raises UnknownSymbol with the place of what has no symbol."""

    def encode_all(self, items: Sequence[Any]) -> tuple[Tensor, list[int]]:
        """Symbols of many items, one behind the other, and how many each has; codecs that can do it at once do.

        Raises UnknownSymbol with the item and the place in it.
        """
        encoded = []
        for item in items:
            try:
                encoded.append(self.encode(item))
            except UnknownSymbol as error:
                raise UnknownSymbol(f"{error}, in {item!r:.60}") from None
        return torch.cat([torch.zeros(0, dtype=torch.int64), *encoded]), [len(symbols) for symbols in encoded]

    def refusal(self, item: Any, unknown: Unknown | None = None) -> SeqgenError | None:
        """Why an item cannot be scored, as an error that is not raised; None for one that can be.

        Where the codec has an unknown symbol, `error` and `skip` refuse items that need it. Raises SeqgenError for
        `count` where there is none.
        """
        self.check_unknown(unknown)
        try:
            symbols = self.encode(item)
        except SeqgenError as error:
            return error
        if self.unknown is not None and unknown in ("error", "skip") and bool((symbols == self.unknown).any()):
            return UnknownSymbol(f"{int((symbols == self.unknown).sum())} symbols are unknown to the model")
        return None

    def check_unknown(self, unknown: Unknown | None) -> None:
        """Raises SeqgenError for `count` where there is no unknown symbol."""
        if unknown == "count" and self.unknown is None:
            raise SeqgenError("unknown is 'count', and the model has no unknown symbol; expected skip or error")

    def drop_unknown(self, item: Any) -> tuple[Any, int]:
        """An item without the parts that have no symbol of their own, and how many parts these were."""
        return item, 0

    def partial(self, item: Any) -> tuple[Tensor, Tensor]:
        """Places (S,) and symbols (S,) of an item that is known in part; by default its beginning."""
        symbols = self.encode(item)
        return torch.arange(len(symbols)), symbols

    @abstractmethod
    def decode(self, symbols: Tensor) -> Any:
        """The item that symbols (T,) stand for, up to the first end symbol."""

    @abstractmethod
    def stream(self, symbols: Iterable[Any]) -> Iterator[Any]:
        """Decoded pieces, each as soon as it is certain, up to the first end symbol; joined they equal `decode`."""

    @abstractmethod
    def pieces(self, items: Iterable[Any]) -> Iterator[Tensor]:
        """`encode` of the concatenation of items, piece by piece in constant memory."""

    @abstractmethod
    def lengths(self, symbols: Tensor) -> Tensor:
        """How many units each of symbols (T,) adds to an item, as users count it: characters, samples."""

    @abstractmethod
    def names(self, symbols: Tensor) -> list[str]:
        """A readable name for each of symbols (T,)."""

    @abstractmethod
    def fit(self, items: Iterable[Any]) -> Self:
        """A codec for a corpus, given all of it in pieces; a codec that is complete already returns itself."""

    @property
    def fitted(self) -> bool:
        """Whether the codec can encode, or must see a corpus first."""
        return self.size is not None

    def close(self, symbols: Tensor) -> Tensor:
        """Symbols (T,) with the end symbol behind them, if there is one."""
        if self.end is None:
            return symbols
        return torch.cat([symbols, symbols.new_tensor([self.end])])
