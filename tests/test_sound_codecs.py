"""The laws of the codecs of sound."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from examples import SOUND_CODECS
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_audio import saved, tone

from seqgen.codecs import MuLaw, Waveform
from seqgen.codecs.sound import Sound
from seqgen.media import audio
from seqgen.media.audio import AudioError, Clip

every_codec = pytest.mark.parametrize("name", SOUND_CODECS)
every_class_codec = pytest.mark.parametrize("name", [name for name in SOUND_CODECS if name != "Waveform"])
loudness = st.floats(-4, 4, width=32, allow_subnormal=True)
sounds = arrays(np.float32, st.integers(0, 50), elements=loudness)


def codec_of(name: str) -> Sound:
    codec = SOUND_CODECS[name]()
    assert isinstance(codec, Sound)
    return codec


def bound(codec: Sound, samples: np.ndarray) -> np.ndarray:
    """How far a sample within full scale may lie from what it decodes to."""
    rounding = 1e-7 + 1e-7 * np.abs(samples)
    if isinstance(codec, MuLaw):  # float32 also blurs where a class ends, by less than a hundredth of its width
        width = (1 + codec.mu) ** (1 / codec.mu) - 1
        return (1 / codec.mu + np.abs(samples)) * width * (1.01 if codec.mu > 4095 else 1.0001) + rounding
    return rounding if codec.size is None else 1 / (codec.size - 1) + rounding


def holds(codec: Sound, samples: np.ndarray) -> None:
    """All that is said of one sound."""
    symbols = codec.encode(samples)
    assert symbols.dtype == (torch.float32 if codec.size is None else torch.int64)
    clip = codec.decode(codec.close(symbols))
    assert isinstance(clip, Clip)
    assert (clip.rate, clip.samples.dtype, clip.samples.shape) == (codec.rate, np.float32, samples.shape)
    expected = samples if codec.size is None else samples.clip(-1, 1)
    assert (np.abs(clip.samples - expected) <= bound(codec, expected)).all()
    assert torch.equal(codec.encode(clip), symbols)
    streamed = [piece.samples for piece in codec.stream(codec.close(symbols).tolist())]
    assert np.array_equal(np.concatenate([np.zeros(0), *streamed]), clip.samples)
    assert codec.lengths(codec.close(symbols)).sum() == pytest.approx(clip.seconds, rel=1e-12)
    assert len(codec.names(symbols)) == len(symbols)


@every_codec
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(samples=sounds)
def test_every_law_on_drawn_sounds(name: str, samples: np.ndarray) -> None:
    holds(codec_of(name), samples)


@every_codec
@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0),
        np.zeros(1),
        np.ones(1),
        np.zeros(999),
        np.ones(999),
        -np.ones(999),
        np.array([-0.0, 1e-45, -1e-45, 1e-9, -1e-9]),
        np.array([1 + 1e-7, -1 - 1e-7, 1.3, -1.3]),
        np.linspace(-1, 1, 200_001),
    ],
)
def test_every_law_on_the_odd_ones(name: str, samples: np.ndarray) -> None:
    """Nothing at all, one sample, silence, full scale, the smallest numbers, overshoot, and a fine grid."""
    holds(codec_of(name), samples.astype(np.float32))


# -- mu-law


def test_golden_values_of_mulaw() -> None:
    samples = np.array([-32768, -1000, 0, 1000, 32767]) / 32768
    assert MuLaw().encode(samples).tolist() == [0, 78, 128, 177, 255]
    assert MuLaw().encode(np.array([1.0, 7, -7])).tolist() == [255, 255, 0]
    assert MuLaw(bits=2).encode(np.array([-1, -0.1, 0.1, 1])).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("bits", range(2, 17))
def test_mulaw_is_that_of_torchaudio(bits: int) -> None:
    """To the bit, on a grid, on everything 16 bits can say, and in pieces of any size."""
    functional, codec = audio.torchaudio().functional, MuLaw(bits=bits)
    for samples in (np.linspace(-1, 1, 200_001), np.arange(-32768, 32768) / 32768):
        x = torch.from_numpy(samples.astype(np.float32))
        symbols = codec.encode(x)
        assert torch.equal(symbols, functional.mu_law_encoding(x, 2**bits))
        assert torch.equal(
            torch.cat(list(codec.pieces(x.numpy()[a : a + 999] for a in range(0, len(x), 999)))), symbols
        )
        decoded = torch.from_numpy(codec.decode(symbols).samples)
        torch.testing.assert_close(decoded, functional.mu_law_decoding(symbols, 2**bits), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("bits", [2, 3, 8, 10, 16])
@pytest.mark.parametrize("make", [MuLaw, Waveform])
def test_encode_undoes_decode_on_every_symbol(make: type[Sound], bits: int) -> None:
    codec = make(bits=bits)  # type: ignore[call-arg]
    symbols = torch.arange(2**bits)
    samples = codec.decode(symbols).samples
    assert (np.diff(samples) > 0).all()
    assert (samples[0], samples[-1]) == (-1, 1)
    assert np.array_equal(samples, -samples[::-1])
    assert torch.equal(codec.encode(samples), symbols)


def test_bounds_of_mulaw_in_the_docstring() -> None:
    assert bound(MuLaw(), np.array([1.0, 0.0])) == pytest.approx([1 / 45, 1 / 11_600], rel=0.02)
    assert MuLaw().decode(MuLaw().encode(np.zeros(1))).samples[0] == pytest.approx(1 / 11_600, rel=1e-3)


# -- linear


def test_levels_of_waveform() -> None:
    assert Waveform(bits=2).decode(torch.arange(4)).samples == pytest.approx([-1, -1 / 3, 1 / 3, 1])
    assert Waveform(bits=16).encode(np.array([-1, 0, 1, 3.0])).tolist() == [0, 32768, 65535, 65535]
    assert Waveform().size is None
    assert Waveform().encode(np.array([3.5], np.float32)).tolist() == [3.5]


def test_numbers_are_neither_shared_nor_rounded() -> None:
    codec, samples = Waveform(), tone(16000)
    symbols = codec.encode(samples)
    clip = codec.decode(symbols)
    assert np.array_equal(clip.samples, samples)
    clip.samples[:] = 0
    assert np.array_equal(symbols.numpy(), samples)
    symbols.zero_()
    assert np.array_equal(samples, tone(16000))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_not_decoded(value: float) -> None:
    with pytest.raises(ValueError, match=f"symbol 2 is {value}, expected finite"):
        Waveform().decode(torch.tensor([0, 0, value]))


def test_minus_one_is_a_number_and_no_end() -> None:
    assert Waveform().lengths(torch.tensor([-1.0, 1.0])).tolist() == [1 / 16000] * 2


# -- items


@every_codec
def test_a_path_a_clip_and_an_array_are_one_sound(name: str, tmp_path: Path) -> None:
    codec = codec_of(name)
    path = saved(tmp_path / "clip.wav", tone(codec.rate), codec.rate, "FLOAT")
    expected = codec.encode(tone(codec.rate))
    items: list[Any] = [path, str(path), Clip(tone(codec.rate), codec.rate), torch.from_numpy(tone(codec.rate))]
    items += [tone(codec.rate).astype(np.float64), torch.from_numpy(tone(codec.rate)).double().requires_grad_()]
    items += [np.stack([tone(codec.rate)] * 3, 1), np.flip(tone(codec.rate)[::-1])]
    fixed = tone(codec.rate)
    fixed.flags.writeable = False
    for item in [*items, fixed]:
        assert torch.equal(codec.encode(item), expected)
        assert torch.equal(torch.cat(list(codec.pieces([item]))), expected)
        assert np.array_equal(codec.samples(item), tone(codec.rate))


@every_codec
def test_other_rates_are_resampled_and_channels_averaged(name: str, tmp_path: Path) -> None:
    codec = codec_of(name)
    stereo = np.stack([tone(44100), np.zeros_like(tone(44100))], 1)
    path = saved(tmp_path / "clip.flac", stereo, 44100)
    symbols = codec.encode(path)
    assert abs(len(symbols) - len(stereo) * codec.rate / 44100) <= 0.5
    assert torch.equal(symbols, codec.encode(audio.read(path)))
    assert torch.equal(symbols, torch.cat(list(codec.pieces([path]))))
    expected = tone(codec.rate)[: len(symbols)] / 2
    decoded = codec.decode(symbols).samples[: len(expected)]
    assert (np.abs(decoded - expected) <= bound(codec, expected) * 1.1 + 1e-3).all()
    assert torch.equal(codec.encode(Clip(stereo, 44100)), codec.encode(Clip(stereo.mean(1), 44100)))


@every_codec
def test_overshoot_is_clipped_and_not_wrapped(name: str) -> None:
    """A square wave at full scale rings when it is resampled."""
    codec, square = codec_of(name), np.repeat(np.tile([1.0, -1.0], 20), 500)
    assert np.abs(audio.resample(square, 44100, codec.rate)).max() > 1.05
    decoded = codec.decode(codec.encode(Clip(square, 44100))).samples
    assert codec.size is None or np.abs(decoded).max() == 1
    assert np.median(np.abs(decoded)) == pytest.approx(1, abs=0.05)


@every_codec
@pytest.mark.parametrize("item", [None, 3, b"RIFF", [0.0, 1.0], (0.5,), object(), {"samples": [0]}])
def test_what_is_no_sound_is_refused(name: str, item: object) -> None:
    expected = f"of type {type(item).__name__}, expected audio: a path, a Clip or an array of samples"
    for act in (codec_of(name).encode, lambda item: list(codec_of(name).pieces([item]))):
        with pytest.raises(TypeError, match=expected):
            act(item)


@every_codec
@pytest.mark.parametrize(
    ("item", "said"),
    [
        (np.zeros(3, np.int16), "int16, expected floats"),
        (torch.zeros(3, dtype=torch.int64), "int64, expected floats"),
        (np.array([True]), "bool, expected floats"),
        (np.array([1j]), "complex128, expected floats"),
        (np.array(0.5), r"shape \(\), expected \(N,\)"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.zeros((2, 16000)), r"shape \(2, 16000\), expected \(N,\) or \(N, channels\)"),
        (np.zeros((5, 0)), r"shape \(5, 0\)"),
        (Clip(np.zeros(3, np.int16), 8000), "int16, expected floats"),
    ],
)
def test_arrays_that_are_no_sound_are_refused(name: str, item: object, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        codec_of(name).encode(item)


@every_codec
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_numbers_that_are_no_samples_are_refused_with_their_place(name: str, value: float) -> None:
    codec = codec_of(name)
    samples = np.zeros(30)
    samples[17] = value
    for item in (samples, torch.from_numpy(samples), np.stack([np.zeros(30), samples], 1), Clip(samples, 8000)):
        with pytest.raises(AudioError, match=f"sample 17 is {np.float32(value) if abs(value) != 1e300 else 'inf'}"):
            codec.encode(item)


@every_codec
def test_files_that_are_no_sound_are_refused(name: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty.wav"
    soundfile.write(empty, np.zeros(0), 16000)
    for path, said in ((empty, "no samples"), (tmp_path / "none.wav", "No such file")):
        for act in (codec_of(name).encode, lambda item: list(codec_of(name).pieces([item]))):
            with pytest.raises(AudioError, match=f"{path.name}.*{said}"):
                act(path)


# -- symbols


@every_codec
def test_pieces_do_not_depend_on_the_cuts(name: str) -> None:
    codec, samples = codec_of(name), np.random.default_rng(0).uniform(-1.2, 1.2, 5000)
    for cuts in ([0, 5000], [0, 1, 2, 2, 4999, 5000], [*range(0, 5000, 7), 5000]):
        items = [samples[a:b] for a, b in itertools.pairwise(cuts)]
        assert torch.equal(torch.cat(list(codec.pieces(items))), codec.encode(samples))
    assert list(codec.pieces([])) == []


@every_codec
def test_stream_is_prompt_and_stops_at_the_end(name: str) -> None:
    """A clip comes after 20 ms of symbols at the latest, and nothing is read beyond the end symbol."""
    codec = codec_of(name)
    symbols, read = codec.encode(tone(codec.rate)).tolist(), [0]

    def source() -> Iterator[Any]:
        for symbol in [*symbols, *([] if codec.end is None else [codec.end, -5])]:
            read[0] += 1
            yield symbol

    streamed = 0
    for clip in codec.stream(source()):
        assert 0 < clip.seconds <= 0.02
        streamed += len(clip.samples)
        assert read[0] - streamed in (0, 1)
    assert streamed == len(symbols)
    assert read[0] == len(symbols) + (codec.end is not None)


def test_stream_at_a_very_low_rate() -> None:
    assert [len(clip.samples) for clip in MuLaw(10).stream([1, 2, 3])] == [1, 1, 1]


def test_the_end_symbol() -> None:
    codec = MuLaw(8000, bits=4, end=True)
    assert (codec.size, codec.end, codec.unsampled) == (17, 16, ())
    assert codec.close(torch.tensor([3])).tolist() == [3, 16]
    assert torch.equal(codec.encode(codec.decode(torch.tensor([3, 4, 16, 5, 99]))), torch.tensor([3, 4]))
    assert codec.decode(torch.tensor([16])).samples.shape == (0,)
    assert codec.lengths(torch.tensor([3, 16, 4])).tolist() == [1 / 8000, 0, 1 / 8000]
    assert codec.lengths(torch.tensor([3])).dtype == torch.float64
    assert codec.names(torch.tensor([3, 16])) == ["3", "<end>"]
    assert (MuLaw().size, MuLaw().end) == (256, None)
    assert Waveform().names(torch.tensor([0.5, -1.0])) == ["0.5", "-1"]


@every_class_codec
@pytest.mark.parametrize("symbol", [-1, 65_537])
def test_symbols_that_there_are_not_are_refused(name: str, symbol: int) -> None:
    codec = codec_of(name)
    with pytest.raises(ValueError, match=f"symbol {symbol} at position 2, expected 0 .. "):
        codec.decode(torch.tensor([0, 1, symbol, -7]))
    with pytest.raises(ValueError, match=f"symbol {symbol} "):
        list(codec.stream([0, symbol]))
    with pytest.raises(ValueError, match="float32, expected whole numbers"):
        codec.decode(torch.tensor([0.5]))


@pytest.mark.parametrize("rate", [0, -1, 16000.0, True, "16000", None])
@pytest.mark.parametrize("make", [MuLaw, Waveform])
def test_rates_are_whole_numbers(make: type, rate: object) -> None:
    with pytest.raises(ValueError, match=r"rate is .*, expected a whole number"):
        make(rate)


@pytest.mark.parametrize("bits", [0, 1, 17, 8.0, True, "8"])
@pytest.mark.parametrize("make", [MuLaw, Waveform])
def test_bits_are_2_to_16(make: type, bits: object) -> None:
    with pytest.raises(ValueError, match=r"bits is .*, expected a whole number from 2 to 16"):
        make(bits=bits)


@every_codec
def test_there_is_nothing_to_learn(name: str) -> None:
    codec = codec_of(name)
    assert (codec.learns, codec.fitted, codec.unit, codec.usual_length) == (False, True, "second", codec.rate)
    assert codec.fit([]) is codec
