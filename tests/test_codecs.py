"""The laws of every registered codec, and those of text; those of sound are in test_sound_codecs.py."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from examples import CODECS, FRAME_CODECS, SOUND_CODECS, TEXT, TEXT_CODECS, VECTOR_CODECS, alphabet, sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from seqgen.codec import Codec, UnknownSymbol
from seqgen.codecs import Chars, SentencePiece
from seqgen.config import ConfigError, build, describe
from seqgen.output import Sampling
from seqgen.outputs import Categorical

every_codec = pytest.mark.parametrize("name", CODECS)
every_text_codec = pytest.mark.parametrize("name", TEXT_CODECS)
NASTY = ["", "\0", "a\0b\0", "\r\n", "\n\n\r", "e\u0301\u0302", "\u2581", "a\u2581 b", "<unk>", "<0x41>", "<s></s>"]
NASTY += ["  two  spaces ", "\t", "\ufeff", "\ufffd", "\U0001f600\U0001f64f", "\u200d", "\U0010ffff", "O Romeo\r\n" * 3]
SURROGATES = ["\udbff\udc00", "\udc00\udbff", "a\ud800", "\udfff\n"]


def strings(codec: Codec, count: int) -> Iterator[str]:
    """Random texts that the codec has symbols for, many of them of few and of odd characters."""
    generator, letters = np.random.default_rng(0), np.array(alphabet(), dtype=object)
    if isinstance(codec, SentencePiece):
        letters = np.array([letter for letter in letters if not 0xD800 <= ord(letter) < 0xE000], dtype=object)
    odd = np.array(list("\0\n\r \u0301\u2581aeo,\U0001f600"), dtype=object)
    for length, mix in zip(generator.integers(0, 15, count), generator.random(count), strict=True):
        choice = generator.random(length) < mix
        yield "".join(np.where(choice, generator.choice(odd, length), generator.choice(letters, length)))


def item_of(name: str) -> Any:
    """Something that the codec can encode: a text, a quarter of a second of noise, a picture, a row."""
    if name in VECTOR_CODECS:
        shape = {"Table": (3,), "Pixels": (4, 5, 3), "Pixels-2": (4, 5)}[name]
        return np.random.default_rng(0).uniform(0, 1, shape)
    return np.random.default_rng(0).uniform(-1, 1, 4000) if name in {**SOUND_CODECS, **FRAME_CODECS} else TEXT[:80]


def holds(codec: Codec, text: str) -> None:
    """All that is said of one text."""
    symbols = codec.encode(text)
    assert symbols.dtype == torch.int64
    assert codec.decode(symbols) == text
    assert codec.decode(codec.close(symbols)) == text
    assert "".join(codec.stream(codec.close(symbols).tolist())) == text
    assert int(codec.lengths(codec.close(symbols)).sum()) == len(text)
    assert not set(symbols.tolist()) & {codec.end, *codec.unsampled}
    assert len(codec.names(symbols)) == len(symbols)


@every_text_codec
def test_decode_undoes_encode_on_ten_thousand_strings(name: str) -> None:
    codec = CODECS[name]()
    for text in strings(codec, 1_000 if codec.end else 10_000):
        assert codec.decode(codec.encode(text)) == text, repr(text)


@every_text_codec
def test_every_law_on_the_odd_ones(name: str) -> None:
    codec = CODECS[name]()
    for text in [*NASTY, *(SURROGATES if isinstance(codec, Chars) else [])]:
        holds(codec, text)


@every_text_codec
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_every_law_on_drawn_texts(name: str, data: st.DataObject) -> None:
    """Lone surrogates (where text may hold them), NUL, combining marks, emoji among them."""
    codec = CODECS[name]()
    letters = st.sampled_from(alphabet()) if isinstance(codec, Chars) else st.characters(exclude_categories=["Cs"])
    holds(codec, data.draw(st.text(letters, max_size=40)))


@every_text_codec
def test_pieces_do_not_depend_on_the_cuts(name: str) -> None:
    """Joined they equal `encode`; so a long text can be read in constant memory."""
    codec, generator = CODECS[name](), np.random.default_rng(1)
    text = TEXT + "\U0001f600 x\r\n\r\n" + "a" * 300
    for count in (0, 1, 5, 100, len(text) - 1):
        cuts = [0, *sorted(generator.choice(len(text), count).tolist()), len(text)]
        items = [text[a:b] for a, b in itertools.pairwise(cuts)]
        joined = torch.cat([torch.zeros(0, dtype=torch.int64), *codec.pieces(items)])
        assert codec.decode(joined) == text
        assert torch.equal(joined, codec.encode(text))
    assert list(itertools.chain(*codec.pieces([]))) == []


@pytest.mark.parametrize("cut", [1, 65_536, 67_000])
def test_a_line_longer_than_memory_is_cut_alike(cut: int) -> None:
    codec, text = sentencepiece(False, "bpe"), "O Romeo! " * 7_500 + "\n" + "f" * 2_000
    items = [text[:cut], text[cut : cut + 7], text[cut + 7 :]]
    joined = torch.cat(list(codec.pieces(items)))
    assert torch.equal(joined, codec.encode(text))
    assert codec.decode(joined) == text


@every_text_codec
def test_stream_is_prompt_and_stops_at_the_end(name: str) -> None:
    """A character comes with its last symbol, and nothing is read beyond the end symbol."""
    codec = CODECS[name]()
    symbols = codec.encode("Romeo é").tolist()
    read: list[int] = []

    def source() -> Iterator[int]:
        for symbol in [*symbols, *([] if codec.end is None else [codec.end, -5])]:
            read.append(symbol)
            yield symbol

    streamed = ""
    for piece in codec.stream(source()):
        streamed += piece
        assert streamed == "Romeo é"[: int(codec.lengths(torch.tensor(read)).sum())]
    assert streamed == "Romeo é"
    assert -5 not in read


@pytest.mark.parametrize(
    "name", [name for name in CODECS if name not in ("Waveform", "Table")]
)  # whose symbols are numbers
@pytest.mark.parametrize("symbol", [-1, 10**6])
def test_numbers_that_are_no_symbols_raise(name: str, symbol: int) -> None:
    with pytest.raises(ValueError, match=str(symbol)):
        CODECS[name]().decode(torch.tensor([symbol]))


@every_codec
def test_describe_then_build_is_the_identity(name: str) -> None:
    """Through JSON text, as in a checkpoint."""
    codec = CODECS[name]()
    text = json.dumps(describe(codec), allow_nan=False)
    built = build(json.loads(text), Codec)
    assert describe(built) == describe(codec)
    assert (built.size, built.end, built.unsampled) == (codec.size, codec.end, codec.unsampled)
    assert built.fitted
    item = item_of(name)
    assert torch.equal(built.encode(item), codec.encode(item))
    assert built.fit([item]) is built


@every_codec
def test_what_holds_of_symbols_whatever_the_item(name: str) -> None:
    """One end at most, as many names and lengths as symbols; many items are those items one behind the other."""
    codec, item = CODECS[name](), item_of(name)
    symbols = codec.encode(item)
    closed = codec.close(symbols)
    assert len(closed) == len(symbols) + (codec.end is not None)
    assert len(codec.names(closed)) == len(codec.lengths(closed)) == len(closed)
    assert torch.equal(codec.lengths(closed).sum(), codec.lengths(symbols).sum())
    assert torch.equal(torch.cat(list(codec.pieces([item]))), symbols)
    assert codec.size is None or 0 <= int(closed.min()) <= int(closed.max()) < codec.size
    empty = [] if name in VECTOR_CODECS else [item[:0]]
    joined, counts = codec.encode_all([item, *empty, item])
    assert torch.equal(joined, torch.cat([symbols, symbols]))
    assert joined.dtype == symbols.dtype
    assert counts == [len(symbols), *(0 for _ in empty), len(symbols)]


def test_an_alphabet_of_both_surrogates_survives_json() -> None:
    """As one JSON string, U+DBFF and U+DC00 side by side would fuse into U+10FC00."""
    codec = Chars("\udc00\udbff\U0010fc00a")
    built = build(json.loads(json.dumps(describe(codec))), Codec)
    assert built.size == codec.size == 4
    for text in ("\udbff\udc00", "\U0010fc00", "a\udc00"):
        assert built.decode(built.encode(text)) == text
        assert built.encode(text).tolist() == codec.encode(text).tolist()


@pytest.mark.parametrize(
    ("text", "place", "named"), [("axb", 1, "U\\+0078"), ("ab\U0001f600", 2, "1F600"), ("\ud800", 0, "D800")]
)
def test_unknown_characters_are_named_with_their_place(text: str, place: int, named: str) -> None:
    codec = Chars("ab")
    with pytest.raises(UnknownSymbol, match=f"{named}.* at position {place} "):
        codec.encode(text)
    with pytest.raises(UnknownSymbol, match=f"{named}.* at position {place + 5} "):
        list(codec.pieces(["ab", "", "bab", text]))


@pytest.mark.parametrize("text", ["a\ud800b", "line\nother \udfff", "\udbff"])
def test_a_lone_surrogate_is_no_text_for_sentencepiece(text: str) -> None:
    place = next(place for place, letter in enumerate(text) if "\ud800" <= letter <= "\udfff")
    codec = sentencepiece(False, "bpe")
    with pytest.raises(UnknownSymbol, match=f"U\\+{ord(text[place]):04X} at position {place}, expected text"):
        codec.encode(text)
    with pytest.raises(UnknownSymbol, match=f"at position {place + 70000}, expected text"):
        list(codec.pieces(["x" * 70_000, text]))


def test_the_unknown_symbol_is_scored_but_never_drawn() -> None:
    codec = Chars("ab", end=True, unknown=True)
    assert codec.encode("azb\n").tolist() == [0, codec.unknown, 1, codec.unknown]
    assert codec.decode(codec.encode("azb")) == "a\ufffdb"
    assert codec.names(codec.close(codec.encode("az"))) == ["a", "<unknown>", "<end>"]
    assert int(codec.lengths(codec.encode("azb")).sum()) == 3
    logits = torch.zeros(codec.size).index_fill(0, torch.tensor(codec.unknown), 50.0)
    noise = torch.linspace(0, 0.999, 99, dtype=torch.float64)
    output, sampling = Categorical(codec.size), Sampling(exclude=codec.unsampled)
    assert codec.unknown not in output.draw(logits.expand(99, -1), noise, sampling)
    assert output(logits).log_prob(torch.tensor(codec.unknown)) > -1


def test_names_of_sentencepiece() -> None:
    codec = sentencepiece(True, "bpe")
    names = codec.names(codec.close(codec.encode("a Romeo\x07")))
    assert "".join(names[:-2]) == "a Romeo"
    assert names[-2:] == ["<0x07>", "<end>"]


@pytest.mark.parametrize("make", [Chars, SentencePiece])
def test_a_codec_is_fitted_before_it_encodes(make: Callable[[], Codec]) -> None:
    assert not make().fitted
    with pytest.raises(ValueError, match="fit it to a text first"):
        list(make().pieces(["a"]))
    with pytest.raises(ValueError, match="fit it to a text first"):
        make().encode("a")


def test_fit_learns_all_characters_and_keeps_the_options() -> None:
    codec = Chars(end=True).fit(["ba", "", "c\r\n"])
    assert codec.alphabet == ["\n", "\r", "a", "b", "c"]
    assert (codec.end, codec.size) == (5, 6)
    assert Chars("").encode("").tolist() == []


@pytest.mark.parametrize("alphabet", [["ab"], [""], [1], ["a", None]])
def test_chars_refuses(alphabet: list[str]) -> None:
    with pytest.raises(ValueError, match="expected single characters"):
        Chars(alphabet)


@pytest.mark.parametrize("model", ["", "no base64!", "aGVsbG8=", 3, [1]])
def test_sentencepiece_refuses_what_is_no_model(model: object) -> None:
    description = describe(sentencepiece(False, "bpe"))
    with pytest.raises(ConfigError, match="SentencePiece refuses"):
        build({**description, "init_args": {**description["init_args"], "model": model}}, Codec)


def test_sentencepiece_refuses_options() -> None:
    with pytest.raises(ValueError, match="expected 'unigram' or 'bpe'"):
        SentencePiece(algorithm="word")
    with pytest.raises(ValueError, match="cannot train 5 pieces"):
        SentencePiece(vocabulary=5).fit(["hello"])
