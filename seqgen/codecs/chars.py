"""Text as Unicode code points."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from seqgen.codec import Codec, UnknownSymbol
from seqgen.config import SeqgenError, WrongType


class Chars(Codec):
    """One symbol for each Unicode code point of an alphabet, without normalisation: `decode(encode(text)) == text`.

    Symbols 0 .. A-1 are the alphabet in code point order. The end-of-sequence symbol (with `end`) comes next, then one
    symbol for all characters outside the alphabet (with `unknown`), which is scored but never sampled and decodes to
    U+FFFD.

    Args:
        alphabet: The characters; None: `fit` collects them from the corpus.
        end: Whether sequences end with an end-of-sequence symbol.
        unknown: Whether characters outside the alphabet have a symbol; if not, they raise UnknownSymbol.

    >>> codec = Chars("helo", end=True)
    >>> codec.encode("hello").tolist(), codec.end
    ([1, 0, 2, 2, 3], 4)
    >>> codec.decode(codec.encode("hole"))
    'hole'
    """

    learns = False
    modality = "text"
    unit = "character"

    def __init__(self, alphabet: Sequence[str] | None = None, end: bool = False, unknown: bool = False) -> None:
        self.size = None
        if alphabet is None:
            return
        if any(not isinstance(character, str) or len(character) != 1 for character in alphabet):
            raise SeqgenError(f"alphabet is {alphabet!r}, expected single characters")
        self.alphabet = sorted(set(alphabet))
        # Described as a list: in one JSON string, two adjacent lone surrogates would be read back as one character.
        self.init_args["alphabet"] = self.alphabet
        self._points = _points("".join(self.alphabet))
        count = len(self.alphabet)
        self.end = count if end else None
        self.unknown = count + end if unknown else None
        self.unsampled = (count + end,) if unknown else ()
        self.size = count + end + unknown

    def encode(self, item: str) -> Tensor:
        """Symbols (T,) int64, one per code point. Raises UnknownSymbol with the character and its position."""
        return torch.from_numpy(self._encode(item, 0))

    def _encode(self, text: str, position: int) -> np.ndarray:
        check_text(text)
        if self.size is None:
            raise SeqgenError("this Chars codec has no alphabet yet: fit it to a text first")
        points = _points(text)
        if not len(self._points):
            symbols, known = np.zeros(len(points), np.int64), np.zeros(len(points), bool)
        else:
            symbols = np.searchsorted(self._points, points).clip(max=len(self._points) - 1)
            known = self._points[symbols] == points
        if known.all():
            return symbols
        if self.unknown is None:
            place = int(known.argmin())
            error = UnknownSymbol(
                f"character {text[place]!r} (U+{points[place]:04X}) at position {position + place} "
                f"is not in the alphabet of {len(self.alphabet)} characters"
            )
            error.position = position + place
            raise error
        return np.where(known, symbols, self.unknown)

    def encode_all(self, items: Sequence[str]) -> tuple[Tensor, list[int]]:
        """All items encoded at once. Raises UnknownSymbol with the position within the item."""
        for item in items:
            check_text(item)
        try:
            return self.encode("".join(items)), [len(item) for item in items]
        except UnknownSymbol:  # its position counts from the start of the joined text
            return super().encode_all(items)

    def drop_unknown(self, item: str) -> tuple[str, int]:
        """A text without the characters outside the alphabet, and the number of characters removed."""
        check_text(item)
        inside = np.isin(_points(item), self._points)
        kept = "".join(character for character, one in zip(item, inside.tolist(), strict=True) if one)
        return kept, int((~inside).sum())

    def decode(self, symbols: Tensor) -> str:
        """The text, up to the first end symbol. Raises SeqgenError for a symbol outside the vocabulary."""
        return "".join(self.stream(symbols.tolist()))

    def stream(self, symbols: Iterable[int]) -> Iterator[str]:
        """One character at a time."""
        for symbol in symbols:
            if symbol == self.end:
                return
            yield self._name(symbol, "\ufffd")

    def pieces(self, items: Iterable[str]) -> Iterator[Tensor]:
        """Symbols piece by piece; positions in errors count from the start of the first piece."""
        position = 0
        for text in items:
            yield torch.from_numpy(self._encode(text, position))
            position += len(text)

    def lengths(self, symbols: Tensor) -> Tensor:
        """1 code point for each symbol, 0 for the end symbol."""
        return (symbols != (-1 if self.end is None else self.end)).long()

    def names(self, symbols: Tensor) -> list[str]:
        """The characters; `<end>` and `<unknown>` for the two special symbols."""
        return ["<end>" if symbol == self.end else self._name(symbol, "<unknown>") for symbol in symbols.tolist()]

    def _name(self, symbol: int, unknown: str) -> str:
        if self.size is None or not 0 <= symbol < self.size or symbol == self.end:
            raise SeqgenError(f"got symbol {symbol}, which stands for no character; there are {self.size} symbols")
        return unknown if symbol == self.unknown else self.alphabet[symbol]

    def fit(self, items: Iterable[str]) -> Self:
        """A codec whose alphabet is all characters of `items`; this codec itself if it has an alphabet already."""
        if self.size is not None:
            return self
        alphabet: set[str] = set()
        for item in items:
            alphabet.update(item)
        return type(self)(**{**self.init_args, "alphabet": sorted(alphabet)})


def check_text(item: object) -> None:
    """Raises WrongType unless the item is a str."""
    if not isinstance(item, str):
        raise WrongType(f"got {item!r:.60} of type {type(item).__name__}, expected text (str)")


def _points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
