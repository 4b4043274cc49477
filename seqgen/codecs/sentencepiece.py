"""Text as subword pieces (Kudo & Richardson 2018, arXiv:1808.06226)."""

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

_SPACE = "\u2581"  # the mark that SentencePiece writes for a space
# A line with its end; one of 65,536 characters and more is cut, so that memory stays flat whatever the file.
_LINE = re.compile(r"[^\n]{0,65535}\n|[^\n]{65536}")


class SentencePiece(Codec):
    """Subword pieces with single bytes to fall back on, so that every text has symbols and comes back unchanged.

    The trained model is embedded in the checkpoint. Lines are segmented one by one and keep their line ends;
    a line that SentencePiece would alter (it has its own mark for spaces, for instance) is spelt in bytes. A text has
    many segmentations and only this one is scored, so a score bounds log p(text) from below. Only a lone surrogate has
    no symbol.

    Args:
        vocabulary: Pieces to train, the 256 bytes among them.
        algorithm: How they are chosen.
        end: Whether sequences end in a symbol of their own.
        model: The trained model in base64; None is trained by `fit`.
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
            raise SeqgenError("the embedded SentencePiece model has no byte pieces to fall back on")
        starts = [sum(byte & 0xC0 != 0x80 for byte in spelling) for spelling in self._bytes]
        self._lengths = torch.tensor(starts + [0] * end)
        unknown = self._processor.unk_id()
        self.unsampled = (unknown,)
        self.end = count if end else None
        self.size = count + end

    def encode(self, item: str) -> Tensor:
        """Symbols (T,) int64. Raises UnknownSymbol for a lone surrogate, which UTF-8 cannot hold."""
        return torch.cat([torch.zeros(0, dtype=torch.int64), *self.pieces([item])])

    def pieces(self, items: Iterable[str]) -> Iterator[Tensor]:
        """Symbols line by line, wherever the items are cut."""
        if self.size is None:
            raise SeqgenError("this SentencePiece codec is not trained yet: fit it to a text first")
        position = 0
        for line in _lines(items):
            yield torch.tensor(self._line(line, position), dtype=torch.int64)
            position += len(line)

    def _line(self, line: str, position: int) -> list[int]:
        if surrogate := re.search("[\ud800-\udfff]", line):
            place = position + surrogate.start()
            raise UnknownSymbol(f"the lone surrogate U+{ord(surrogate[0]):04X} at position {place} is not text")
        symbols: list[int] = self._processor.encode(line)
        if self._join(symbols) != line.encode():
            symbols = [self._byte[bytes([byte])] for byte in line.encode()]
        return symbols

    def _join(self, symbols: Iterable[int]) -> bytes:
        return b"".join(self._bytes[symbol] for symbol in symbols)

    def decode(self, symbols: Tensor) -> str:
        """The text, up to the first end symbol; bytes that are no UTF-8 become U+FFFD."""
        return "".join(self.stream(symbols.tolist()))

    def stream(self, symbols: Iterable[int]) -> Iterator[str]:
        """A piece at a time; a character spelt in bytes comes when its last byte does."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for symbol in symbols:
            if symbol == self.end:
                break
            if not 0 <= symbol < len(self._bytes):
                raise SeqgenError(f"symbol {symbol} stands for no piece; there are {self.size} symbols")
            if text := decoder.decode(self._bytes[symbol]):
                yield text
        if rest := decoder.decode(b"", final=True):
            yield rest

    def lengths(self, symbols: Tensor) -> Tensor:
        """Code points, so that scores compare with those of other codecs; one spelt in bytes counts at its first."""
        return self._lengths[symbols]

    def names(self, symbols: Tensor) -> list[str]:
        """The pieces; `<0x0A>` for a byte, `<end>` for the end."""
        return [
            "<end>" if symbol == self.end else self._processor.id_to_piece(symbol).replace(_SPACE, " ")
            for symbol in symbols.tolist()
        ]

    def fit(self, items: Iterable[str]) -> Self:
        """With a model trained on the first million lines of `items`, unless it has one."""
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
            raise SeqgenError("it is empty")
        return sentencepiece.SentencePieceProcessor(model_proto=base64.b64decode(model, validate=True))
    except (RuntimeError, ValueError) as error:
        raise SeqgenError(f"the embedded SentencePiece model cannot be read: {error}") from None


def _spelling(piece: str, is_byte: bool) -> bytes:
    return bytes([int(piece[3:5], 16)]) if is_byte else piece.replace(_SPACE, " ").encode()
