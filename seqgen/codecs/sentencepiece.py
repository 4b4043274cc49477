"""Text as subword pieces (SentencePiece, Kudo & Richardson 2018, arXiv:1808.06226)."""

import base64
import codecs
import io
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Self

import torch
from torch import Tensor

from seqgen.codec import Codec, UnknownSymbol
from seqgen.codecs.chars import check_text
from seqgen.config import SeqgenError

_SPACE = "\u2581"  # SentencePiece's symbol for a space
# One line with its line end. Lines of 65,536 characters and more are cut, so that memory stays bounded.
_LINE = re.compile(r"[^\n]{0,65535}\n|[^\n]{65536}")


class SentencePiece(Codec):
    """Subword pieces with byte fallback: every text can be encoded and decodes to itself.

    Each line is segmented separately and keeps its line end. A line that SentencePiece would not restore exactly, such
    as one with its space symbol U+2581, is encoded as bytes instead. A lone surrogate raises UnknownSymbol: UTF-8
    cannot encode it.

    A text has many segmentations and only this one is scored, so a score is a lower bound on log p(text).

    Args:
        vocabulary: Number of pieces to train, including the 256 byte pieces.
        algorithm: Training algorithm: unigram language model or byte-pair encoding.
        end: Whether sequences end with an end-of-sequence symbol.
        model: The trained model in base64, stored in the checkpoint; None: `fit` trains it.
    """

    modality = "text"
    unit = "character"

    def __init__(
        self,
        vocabulary: int = 1000,
        algorithm: Literal["unigram", "bpe"] = "unigram",
        end: bool = False,
        model: str | None = None,
    ) -> None:
        if algorithm not in ("unigram", "bpe"):
            raise SeqgenError(f"algorithm is {algorithm!r}, expected 'unigram' or 'bpe'")
        self.size = None
        if model is None:
            return
        self._processor = _load(model)
        count = self._processor.get_piece_size()
        names = [self._processor.id_to_piece(symbol) for symbol in range(count)]
        self._bytes = [_spelling(name, self._processor.is_byte(symbol)) for symbol, name in enumerate(names)]
        self._byte = {self._bytes[symbol]: symbol for symbol in range(count) if self._processor.is_byte(symbol)}
        if len(self._byte) != 256:
            raise SeqgenError(f"the SentencePiece model has {len(self._byte)} byte pieces, expected all 256")
        starts = [sum(byte & 0xC0 != 0x80 for byte in spelling) for spelling in self._bytes]
        self._lengths = torch.tensor(starts + [0] * end)
        unknown = self._processor.unk_id()
        self.unsampled = (unknown,)
        self.end = count if end else None
        self.size = count + end

    def encode(self, item: str) -> Tensor:
        """Symbols (T,) int64. Raises UnknownSymbol for a lone surrogate, which UTF-8 cannot encode."""
        return torch.cat([torch.zeros(0, dtype=torch.int64), *self.pieces([item])])

    def pieces(self, items: Iterable[str]) -> Iterator[Tensor]:
        """Symbols line by line; lines may continue from one item to the next."""
        if self.size is None:
            raise SeqgenError("this SentencePiece codec is not trained yet: fit it to a text first")
        position = 0
        for line in _lines(items):
            yield torch.tensor(self._line(line, position), dtype=torch.int64)
            position += len(line)

    def _line(self, line: str, position: int) -> list[int]:
        if surrogate := re.search("[\ud800-\udfff]", line):
            place = position + surrogate.start()
            raise UnknownSymbol(
                f"got the lone surrogate U+{ord(surrogate[0]):04X} at position {place}, expected text valid in UTF-8"
            )
        symbols: list[int] = self._processor.encode(line)
        if self._join(symbols) != line.encode():
            symbols = [self._byte[bytes([byte])] for byte in line.encode()]
        return symbols

    def _join(self, symbols: Iterable[int]) -> bytes:
        return b"".join(self._bytes[symbol] for symbol in symbols)

    def decode(self, symbols: Tensor) -> str:
        """The text, up to the first end symbol; invalid UTF-8 decodes to U+FFFD."""
        return "".join(self.stream(symbols.tolist()))

    def stream(self, symbols: Iterable[int]) -> Iterator[str]:
        """One piece at a time; a character encoded as bytes is yielded with its last byte."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for symbol in symbols:
            if symbol == self.end:
                break
            if not 0 <= symbol < len(self._bytes):
                raise SeqgenError(f"got symbol {symbol}, which stands for no piece; there are {self.size} symbols")
            if text := decoder.decode(self._bytes[symbol]):
                yield text
        if rest := decoder.decode(b"", final=True):
            yield rest

    def lengths(self, symbols: Tensor) -> Tensor:
        """Code points per symbol, so that scores compare across codecs; the first byte of a character counts 1."""
        return self._lengths[symbols]

    def names(self, symbols: Tensor) -> list[str]:
        """The pieces; `<0x0A>` and the like for bytes, `<end>` for the end symbol."""
        return [
            "<end>" if symbol == self.end else self._processor.id_to_piece(symbol).replace(_SPACE, " ")
            for symbol in symbols.tolist()
        ]

    def fit(self, items: Iterable[str]) -> Self:
        """A codec with a model trained on the first million lines of `items`; itself if it has a model already."""
        if self.size is not None:
            return self
        import sentencepiece

        trained = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=(line for line in _lines(items) if "\0" not in line),
                model_writer=trained,
                vocab_size=self.init_args["vocabulary"],
                model_type=self.init_args["algorithm"],
                input_sentence_size=1_000_000,
                shuffle_input_sentence=False,
                normalization_rule_name="identity",
                remove_extra_whitespaces=False,
                add_dummy_prefix=False,
                byte_fallback=True,
                character_coverage=1.0,
                user_defined_symbols=["\n"],
                bos_id=-1,
                eos_id=-1,
                minloglevel=2,
            )
        except (RuntimeError, OSError) as error:
            raise SeqgenError(f"SentencePiece cannot train {self.init_args['vocabulary']} pieces: {error}") from None
        model = base64.b64encode(trained.getvalue()).decode()
        return type(self)(**{**self.init_args, "model": model})


def _lines(items: Iterable[str]) -> Iterator[str]:
    rest = ""
    for item in items:
        check_text(item)
        rest, done = rest + item, 0
        for line in _LINE.finditer(rest):
            yield line[0]
            done = line.end()
        rest = rest[done:]
    if rest:
        yield rest


def _load(model: str) -> Any:
    import sentencepiece

    try:
        if not model:
            raise SeqgenError("got an empty string")
        return sentencepiece.SentencePieceProcessor(model_proto=base64.b64decode(model, validate=True))
    except (RuntimeError, ValueError) as error:
        raise SeqgenError(f"the SentencePiece model cannot be read: {error}") from None


def _spelling(piece: str, is_byte: bool) -> bytes:
    return bytes([int(piece[3:5], 16)]) if is_byte else piece.replace(_SPACE, " ").encode()
