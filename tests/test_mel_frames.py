"""Log-mel frames as symbols, and as data of a model of frames."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from examples import FRAME_CODECS

from seqgen.codecs import MelFrames
from seqgen.config import SeqgenError
from seqgen.data.audio import Audio
from seqgen.media.mel import LogMel
from seqgen.modality import modality_of

RATE = 8000
FRAMES = LogMel(RATE, mels=20, hop=80, window=320)
every_codec = pytest.mark.parametrize("name", FRAME_CODECS)


def codec_of(name: str) -> MelFrames:
    codec = FRAME_CODECS[name]()
    assert isinstance(codec, MelFrames)
    return codec


def voice(rate: int, seconds: float) -> np.ndarray:
    """Harmonics of 120 Hz that rise and fall, over a little noise."""
    t = np.arange(round(seconds * rate)) / rate
    tones = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 20)) * np.sin(np.pi * t / seconds)
    return (0.2 * tones + 0.003 * np.random.default_rng(0).normal(size=len(t))).astype(np.float32)


@every_codec
def test_a_level_is_the_nearest(name: str) -> None:
    codec = codec_of(name)
    bands = torch.linspace(codec.low - 3, codec.high + 3, 10 * codec.frame).view(-1, codec.frame)
    found = codec.logarithms(codec.quantize(bands))
    half = (codec.high - codec.low) / (codec.levels - 1) / 2
    assert (found - bands.clamp(codec.low, codec.high)).abs().max() <= half + 1e-5
    every = torch.arange(codec.levels).repeat(codec.frame)
    assert torch.equal(codec.quantize(codec.logarithms(every)), every)


@every_codec
@pytest.mark.parametrize("count", [0, 1, 79, 80, 81, 5000])
def test_a_clip_is_padded_to_whole_frames(name: str, count: int) -> None:
    codec, samples = codec_of(name), voice(RATE, 1)[:count]
    symbols = codec.encode(samples)
    frames = math.ceil(count / codec.hop)
    assert len(symbols) == codec.count(count) == frames * codec.frame
    assert float(codec.lengths(codec.close(symbols)).sum()) == pytest.approx(frames * codec.hop / codec.rate)
    clip = codec.decode(codec.close(symbols))
    assert (clip.rate, clip.samples.dtype, clip.samples.shape) == (codec.rate, np.float32, (frames * codec.hop,))


@every_codec
def test_decoded_frames_are_close(name: str) -> None:
    """To what the symbols say, as the docstring has it."""
    codec = codec_of(name)
    symbols = codec.encode(voice(codec.rate, 0.7))
    decoded = codec.logarithms(codec.encode(codec.decode(symbols)))
    assert 20 / math.log(10) * float((decoded - codec.logarithms(symbols)).square().mean().sqrt()) < 4


def test_what_is_decoded_ends_with_the_end_symbol() -> None:
    """Within a frame, too, the rest of which is silent."""
    codec = MelFrames(FRAMES, levels=32, end=True)
    symbols = codec.encode(voice(RATE, 0.1))
    expected = codec.decode(torch.cat([symbols[: 7 * 20 + 3], torch.zeros(17, dtype=torch.int64)])).samples
    cut = torch.cat([symbols[: 7 * 20 + 3], torch.tensor([codec.end]), symbols[:50]])
    assert np.array_equal(codec.decode(cut).samples, expected)
    state = torch.get_rng_state()
    source = iter(cut.tolist())
    (piece,) = codec.stream(source)
    assert np.array_equal(piece.samples, expected)
    assert len(list(source)) == 50  # nothing is read beyond the end
    assert list(codec.stream([codec.end, 0])) == []
    assert torch.equal(torch.get_rng_state(), state)


@every_codec
@pytest.mark.parametrize("cuts", [[], [1], [100, 101, 700], list(range(50, 5000, 333))])
def test_pieces_and_spans_do_not_depend_on_the_cuts(name: str, cuts: list[int]) -> None:
    codec, samples = codec_of(name), voice(RATE, 1)[:5001]
    symbols = codec.encode(samples)
    blocks = [samples[a:b] for a, b in itertools.pairwise([0, *cuts, len(samples)])]
    assert torch.equal(torch.cat(list(codec.pieces(blocks))), symbols)
    places = [0, *cuts, len(symbols) + 5]
    assert torch.equal(torch.cat([codec.span(samples, a, b) for a, b in itertools.pairwise(places)]), symbols)


@pytest.mark.parametrize(
    "arguments", [{"levels": 1}, {"levels": 2.5}, {"low": 4.0}, {"high": math.inf}, {"frames": LogMel(prediction=4)}]
)
def test_arguments_that_make_no_codec(arguments: dict[str, object]) -> None:
    with pytest.raises(SeqgenError, match="expected"):
        MelFrames(**{"frames": FRAMES, **arguments})  # type: ignore[arg-type]


def test_a_symbol_that_is_none() -> None:
    with pytest.raises(SeqgenError, match=r"symbol 32 at position 2, expected 0 \.\. 31"):
        MelFrames(FRAMES, levels=32).decode(torch.tensor([0, 1, 32]))


def test_a_duration_is_whole_frames() -> None:
    codec = MelFrames(FRAMES)
    assert codec.symbol_rate == 2000
    assert codec.usual_length == 2000
    assert modality_of(codec).symbols(codec, 0.0101) == 40


@pytest.fixture
def data(tmp_path: Path) -> Audio:
    """Clips of several lengths, as frames of 20 bands."""
    for number in range(12):
        soundfile.write(tmp_path / f"{number % 2}_{number}.wav", voice(RATE, 0.1 + 0.013 * number), RATE)
    codec = MelFrames(FRAMES, levels=32, end=True)
    data = Audio(
        str(tmp_path), codec=codec, labels=["kind"], pattern="(?P<kind>.)_", batch_size=4, length=0.08, val=3, test=1
    )
    data.setup()
    data.connect(None, 0)
    return data


def test_clips_as_batches(data: Audio) -> None:
    """A clip of every length is its symbols and the end; windows of a whole clip continue one another."""
    clips = [data.codec.close(data.codec.encode(np.array(data.windows.clip(clip)))) for clip in range(12)]
    assert data.sizes.tolist() == [len(clip) for clip in clips]
    (batch,) = data.held_out("val")
    found = [row[kept].tolist() for row, kept in zip(batch.x, batch.mask, strict=True)]
    assert sorted(found) == sorted(clips[clip].tolist() for clip in data.parts["val"])


def test_crops_begin_with_a_frame(data: Audio) -> None:
    """And every symbol has a loss once, the end symbols among them."""
    batches = list(data.train_dataloader())
    assert sum(int(batch.mask.sum()) for batch in batches) == data.sizes[data.parts["train"]].sum()
    for row, start, _, _ in np.concatenate(data._layout(data.parts["train"], 0)):
        assert start % 20 == 0
        assert row in data.parts["train"]
