"""Sound files: what is read, what is refused, what is written; resampling in one go and in blocks."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from seqgen.media import audio
from seqgen.media.audio import AudioError, Clip

ROUNDING = 1 / 65536  # half a step of 16 bits
NOISE = np.random.default_rng(0).bytes(3000)


def tone(rate: int, seconds: float = 0.25, pitch: float = 440, amplitude: float = 0.5) -> np.ndarray:
    """A sine that fades in and out, so that its ends do not ring when it is resampled."""
    time = np.arange(round(rate * seconds)) / rate
    return (amplitude * np.sin(2 * np.pi * pitch * time) * np.sin(np.pi * time / seconds)).astype(np.float32)


def saved(path: Path, samples: np.ndarray, rate: int, subtype: str | None = None, kind: str | None = None) -> Path:
    soundfile.write(path, samples, rate, subtype, format=kind)
    return path


@pytest.mark.parametrize(
    ("suffix", "kind", "subtype", "error"),
    [
        (".wav", "WAV", "PCM_U8", 1 / 128),
        (".wav", "WAV", "PCM_16", 1 / 32768),
        (".wav", "WAV", "PCM_24", 1 / 2**23),
        (".wav", "WAV", "PCM_32", 1e-7),
        (".wav", "WAV", "FLOAT", 0),
        (".wav", "WAV", "DOUBLE", 0),
        (".flac", "FLAC", "PCM_16", 1 / 32768),
        (".flac", "FLAC", "PCM_24", 1 / 2**23),
        (".aiff", "AIFF", "PCM_16", 1 / 32768),
        (".ogg", "OGG", "VORBIS", 0.05),
        (".opus", "OGG", "OPUS", 0.05),
        (".mp3", "MP3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_read_every_format(tmp_path: Path, suffix: str, kind: str, subtype: str, error: float) -> None:
    """Mono and float32, at the file's own rate, whatever the suffix says."""
    samples = tone(24000)
    path = saved(tmp_path / f"clip{suffix}", samples, 24000, subtype, kind)
    clip = audio.read(path)
    assert clip.samples.dtype == np.float32
    assert (clip.rate, clip.samples.shape, clip.seconds) == (24000, samples.shape, 0.25)
    assert np.abs(clip.samples - samples).max() <= error
    renamed = path.rename(tmp_path / "noname.raw")
    assert np.array_equal(audio.read(str(renamed)).samples, clip.samples)


@pytest.mark.parametrize("rate", [7, 8000, 11025, 16001, 44100, 192000])
def test_read_any_rate(tmp_path: Path, rate: int) -> None:
    clip = audio.read(saved(tmp_path / "clip.wav", np.zeros(30), rate))
    assert (clip.rate, len(clip.samples)) == (rate, 30)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(8000), tone(8000, pitch=660)
    stereo = audio.read(saved(tmp_path / "2.wav", np.stack([left, right], 1), 8000, "FLOAT"))
    assert np.allclose(stereo.samples, (left + right) / 2, atol=1e-7)
    same = audio.read(saved(tmp_path / "6.wav", np.stack([left] * 6, 1), 8000, "FLOAT"))
    assert np.array_equal(same.samples, left)


def test_loud_floats_are_kept(tmp_path: Path) -> None:
    loud = np.array([[3e38, 3e38], [-7, -7]], np.float32)
    assert np.array_equal(audio.read(saved(tmp_path / "a.wav", loud, 8000, "FLOAT")).samples, loud[:, 0])


# -- refused


def refused(path: Path, *said: str) -> None:
    """By `read` and by `blocks`, with the same words, the file's name among them."""
    with pytest.raises(AudioError) as read:
        audio.read(path)
    with pytest.raises(AudioError) as blocks:
        list(audio.blocks(path, 16000))
    assert str(read.value) == str(blocks.value)
    for words in (str(path), "expected", *said):
        assert words in str(read.value)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.wav", "No such file")
    refused(tmp_path, "directory")


@pytest.mark.parametrize("content", [b"", b"RIFF", b"hello, this is a text\n" * 40, bytes(3000), NOISE])
def test_what_is_no_sound_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "corrupt.wav"
    path.write_bytes(content)
    refused(path, "cannot be decoded")


@pytest.mark.parametrize("kind", ["WAV", "OGG"])
def test_no_samples_are_refused(tmp_path: Path, kind: str) -> None:
    refused(saved(tmp_path / "empty", np.zeros(0), 16000, kind=kind), "no samples")


def test_a_file_cut_off_behind_its_header_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "cut.wav", tone(16000), 16000)
    path.write_bytes(path.read_bytes()[:44])
    refused(path, "no samples")


def test_a_file_cut_off_in_the_middle(tmp_path: Path) -> None:
    """The rest of a WAV file is heard; that of a FLAC file cannot be decoded."""
    wav, flac = (saved(tmp_path / f"cut.{kind}", tone(16000), 16000) for kind in ("wav", "flac"))
    for path in (wav, flac):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    rest = audio.read(wav).samples
    assert len(rest) == (len(wav.read_bytes()) - 44) // 2
    assert np.abs(rest - tone(16000)[: len(rest)]).max() < 2 * ROUNDING
    refused(flac, "cannot be decoded")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 2])
def test_numbers_that_are_no_sound_are_refused(tmp_path: Path, value: float, channels: int) -> None:
    samples = np.zeros((70_000, channels), np.float32)
    samples[69_000, -1] = value
    refused(saved(tmp_path / "nan.wav", samples, 8000, "FLOAT"), "sample 69000 is", str(value))


def test_doubles_beyond_float32_are_refused(tmp_path: Path) -> None:
    refused(saved(tmp_path / "huge.wav", np.array([0, 1e300]), 8000, "DOUBLE"), "sample 1 is inf")


# -- resampling


@pytest.mark.parametrize(("rate", "to"), [(8000, 16000), (44100, 16000), (16000, 22050), (48000, 8000), (16001, 16000)])
def test_resample(rate: int, to: int) -> None:
    """A tone stays that tone; the length is the nearest to N to / rate."""
    samples = audio.resample(tone(rate), rate, to)
    assert samples.dtype == np.float32
    expected = tone(to)
    assert abs(len(samples) - len(expected)) <= 1  # a quarter of a second is no whole number of samples
    common = min(len(samples), len(expected))
    assert np.abs(samples[:common] - expected[:common]).max() < 1e-3
    for count in (0, 1, 2, 3, 10, 777, 5000):
        length = len(audio.resample(np.zeros(count, np.float32), rate, to))
        assert abs(length - count * to / rate) <= 0.5 + 1e-9


def test_equal_rates_change_nothing() -> None:
    assert np.array_equal(audio.resample(tone(16000), 16000, 16000), tone(16000))


def test_resample_what_numpy_views() -> None:
    reverse = tone(8000).astype(np.float64)[::-2]
    assert np.array_equal(audio.resample(reverse, 8000, 16000), audio.resample(reverse.copy(), 8000, 16000))


@pytest.mark.parametrize(("rate", "to"), [(0, 16000), (16000, 0), (-1, -1)])
def test_resample_refuses_rates(rate: int, to: int) -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        audio.resample(np.zeros(3, np.float32), rate, to)


@pytest.mark.parametrize("size", [1, 63, 4096, 1 << 16])
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
def test_blocks_are_read_resampled(tmp_path: Path, size: int, rate: int) -> None:
    """In pieces of any size the same samples as in one go, in fact to the bit."""
    samples = np.random.default_rng(0).uniform(-1, 1, (500 if size == 1 else 30_000, 2))
    path = saved(tmp_path / "clip.flac", samples, rate)
    pieces = list(audio.blocks(path, 16000, size))
    assert {piece.dtype for piece in pieces} == {np.dtype(np.float32)}
    assert max(map(len, pieces)) <= 2 * size + 2000
    joined = np.concatenate(pieces)
    assert joined.shape == audio.resample(*audio.read(path), 16000).shape
    assert np.abs(joined - audio.resample(*audio.read(path), 16000)).max() <= 1e-6


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """What is alive at once in NumPy is some blocks and not the file, which holds 50 of them."""
    import tracemalloc

    path = saved(tmp_path / "long.wav", np.zeros(50 * 8192, np.float32), 44100)
    list(audio.blocks(path, 16000, 8192))  # imports and tables
    tracemalloc.start()
    assert sum(map(len, audio.blocks(path, 16000, 8192))) == round(50 * 8192 * 16000 / 44100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 8192 * 4


def test_blocks_close_the_file_when_they_are_left(tmp_path: Path) -> None:
    """A file left open would be a ResourceWarning, which pytest makes an error."""
    blocks = audio.blocks(saved(tmp_path / "clip.wav", tone(16000), 16000), 16000, 100)
    assert len(next(blocks)) == 100
    del blocks


# -- writing


@pytest.mark.parametrize("suffix", [".wav", ".WAV", ".flac"])
def test_written_and_read_again(tmp_path: Path, suffix: str) -> None:
    """Every one of the 65,536 values comes back as it was, and what lies between, rounded."""
    values = np.arange(-32768, 32768) / 32768
    path = tmp_path / f"clip{suffix}"
    audio.write(path, Clip(values.astype(np.float32), 22050))
    assert audio.read(path).rate == 22050
    assert np.array_equal(audio.read(path).samples, values)
    assert soundfile.info(path).subtype == "PCM_16"
    audio.write(str(path), Clip(tone(8000), 8000))
    assert np.abs(audio.read(path).samples - tone(8000)).max() <= ROUNDING
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o777 == 0o644


def test_full_scale_does_not_wrap_and_ties_go_to_even(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    loud = np.array([1, -1, 1.5, -1.5, 1e30, -1e30, 0.5 / 32768, 1.5 / 32768, -0.5 / 32768, -1.5 / 32768])
    audio.write(path, Clip(loud, 8000))
    written = soundfile.read(path, dtype="int16")[0]
    assert written.tolist() == [32767, -32768] * 3 + [0, 2, 0, -2]
    assert np.array_equal(written, audio.pcm(loud))


@pytest.mark.parametrize("seconds", [0.001, 0.25, 60])
def test_vorbis_is_written(tmp_path: Path, seconds: float) -> None:
    audio.write(tmp_path / "clip.ogg", Clip(tone(16000, seconds), 16000))
    clip = audio.read(tmp_path / "clip.ogg")
    assert (clip.rate, len(clip.samples)) == (16000, round(16000 * seconds))
    assert np.abs(clip.samples - tone(16000, seconds)).max() < 0.1


def test_a_clip_without_samples_is_for_wav_alone(tmp_path: Path) -> None:
    silent = Clip(np.zeros(0, np.float32), 16000)
    audio.write(tmp_path / "empty.wav", silent)
    assert soundfile.info(tmp_path / "empty.wav").frames == 0
    for suffix in (".flac", ".ogg"):
        with pytest.raises(AudioError, match=f"empty{suffix}.*no samples"):
            audio.write(tmp_path / f"empty{suffix}", silent)


@pytest.mark.parametrize("name", ["clip.mp3", "clip", "clip.wav.txt", ".wav"])
def test_unknown_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(AudioError, match=r"expected one of \.wav, \.flac, \.ogg"):
        audio.write(tmp_path / name, Clip(tone(8000), 8000))
    with pytest.raises(AudioError, match="cannot be written"):
        audio.check_suffix(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_earlier_file_outlives_what_is_refused(tmp_path: Path, value: float) -> None:
    path = tmp_path / "clip.wav"
    audio.write(path, Clip(tone(8000), 8000))
    before = path.read_bytes()
    with pytest.raises(AudioError, match=rf"clip\.wav.* sample 2 is {value}"):
        audio.write(path, Clip(np.array([0, 0, value]), 8000))
    with pytest.raises(AudioError, match=r"shape \(3, 2\), expected \(N,\)"):
        audio.write(path, Clip(np.zeros((3, 2)), 8000))
    for rate in (0, -5):
        with pytest.raises(AudioError, match="cannot be written"):
            audio.write(path, Clip(tone(8000), rate))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_writer_that_dies_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.flac"
    audio.write(path, Clip(tone(8000), 8000))
    before = path.read_bytes()

    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(soundfile.SoundFile, "write", die)
    with pytest.raises(KeyboardInterrupt):
        audio.write(path, Clip(np.zeros(5), 8000))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"none/clip.*No such file"):
        audio.write(tmp_path / "none" / "clip.wav", Clip(tone(8000), 8000))


# -- torchaudio

USE = """
import sys
finders, hooks = list(sys.meta_path), list(sys.path_hooks)
{before}
import seqgen
assert not {{"soundfile", "soxr", "torchaudio"}} & set(sys.modules), "imported too early"
import seqgen.media.audio
found = seqgen.media.audio.torchaudio()
import torchaudio
assert found is torchaudio is seqgen.media.audio.torchaudio()
assert (finders, hooks) == (list(sys.meta_path), list(sys.path_hooks))
assert sys.modules["torchaudio._extension.utils"]._load_lib.__module__ == "torchaudio._extension.utils"
import torch
codes = found.functional.mu_law_encoding(torch.tensor([-1.0, 0.0, 1.0]), 256)
assert codes.tolist() == [0, 128, 255]
assert found.transforms.Resample(8000, 16000)(torch.zeros(1, 800)).shape == (1, 1600)
assert found.transforms.MelSpectrogram(16000, n_mels=40)(torch.zeros(1, 4000)).shape[1] == 40
assert found.datasets.LJSPEECH
"""
FAILED = """
try:
    import torchaudio
except (OSError, RuntimeError):
    sys.modules.pop("torchaudio", None)
"""


@pytest.mark.parametrize("before", ["", FAILED], ids=["clean", "import failed before"])
def test_torchaudio_without_its_extension(before: str) -> None:
    """In an interpreter of its own, where every warning is an error; neither hooks nor patches stay behind."""
    code = USE.format(before=before)
    if before:
        code = "\n".join(line for line in code.splitlines() if "too early" not in line)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
