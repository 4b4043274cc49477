"""Read, resample and write audio files, with soundfile and soxr."""

import importlib
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from seqgen.config import SeqgenError
from seqgen.media.files import atomic

FORMATS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}
"""Suffixes that `write` supports, each with libsndfile's names of the file format and the sample format."""


class AudioError(SeqgenError):
    """Audio that cannot be used; the message says which file, what was found and what was expected."""


class Clip(NamedTuple):
    """One mono recording in memory."""

    samples: np.ndarray
    """(N,) float32, mono, full scale at -1 and 1."""
    rate: int
    """Sample rate, Hz."""

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / self.rate


def read(path: str | os.PathLike[str]) -> Clip:
    """A whole file at its own sample rate, mixed down to mono by averaging the channels.

    Reads WAV, FLAC, Ogg Vorbis, Opus, MP3 and every other format of libsndfile, recognised by content, not by suffix.
    A truncated WAV or MP3 file gives the samples that it still has. Raises AudioError for a file that is missing, is
    not audio or has no samples, and for NaN and infinities, with the position of the first.
    """
    with _open(path) as file:
        return Clip(np.concatenate(list(_blocks(file, path, 1 << 16))), file.samplerate)


def blocks(path: str | os.PathLike[str], rate: int, size: int = 1 << 16) -> Iterator[np.ndarray]:
    """The samples of a file resampled to `rate` (Hz), in blocks (N_i,) float32, each read from `size` frames.

    Memory use does not grow with the file. Concatenated, the blocks equal `resample(*read(path), rate)`. Raises what
    `read` raises, once it reaches the block with the error.
    """
    with _open(path) as file:
        yield from _resampled(_blocks(file, path, size), file.samplerate, rate)


def resample(samples: np.ndarray, rate: int, to: int) -> np.ndarray:
    """Samples (N,) at `rate` Hz resampled to `to` Hz: float32, N * to / rate of them, rounded.

    With equal rates the samples are unchanged. The result may overshoot full scale. Raises SeqgenError for a rate
    below 1.
    """
    return np.concatenate([np.zeros(0, np.float32), *_resampled([samples], rate, to)])


def write(path: str | os.PathLike[str], clip: Clip) -> None:
    """Write a clip as 16-bit WAV, 16-bit FLAC or Ogg Vorbis, by suffix; atomically: the whole file, or none.

    Raises AudioError for another suffix, samples that are not (N,), NaN and infinities, and what the format does not
    support: only WAV files can have no samples.
    """
    path = Path(path)
    check_suffix(path)
    samples = np.asarray(clip.samples)
    if samples.ndim != 1:
        raise AudioError(f"{str(path)!r} cannot be written: its samples have shape {samples.shape}, expected (N,)")
    if not len(samples) and path.suffix.lower() != ".wav":
        raise AudioError(f"{str(path)!r} cannot be written: got no samples, expected at least one, or a .wav file")
    check_finite(samples, f"{str(path)!r} cannot be written: sample")
    try:
        _write(path, pcm(samples), clip.rate)
    except OSError as error:
        raise AudioError(f"{str(path)!r} cannot be written: {error.strerror}") from None


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Raises AudioError unless `write` supports the suffix of this path."""
    if (suffix := Path(path).suffix).lower() not in FORMATS:
        expected = ", ".join(FORMATS)
        raise AudioError(f"{str(path)!r} cannot be written: its suffix is {suffix!r}, expected one of {expected}")


def pcm(samples: np.ndarray) -> np.ndarray:
    """Finite samples (N,) as 16-bit PCM, int16 (N,): 32768 x rounded (ties to even) and clipped to -32768 .. 32767.

    So 1.0 becomes 32767 and does not wrap, and samples read from a 16-bit file convert back exactly.
    """
    return np.rint(samples.astype(np.float64) * 32768).clip(-32768, 32767).astype(np.int16)


def torchaudio() -> ModuleType:
    """The module torchaudio, without its compiled extension if that cannot be loaded.

    torchaudio's only wheel is built for CUDA, and with a CPU build of torch `import torchaudio` raises OSError. The
    parts written in plain PyTorch (mu-law, resampling, mel spectrograms, datasets) do not need the extension, and
    torchaudio skips it when its library file is not found. This function makes the import behave that way. Afterwards
    `import torchaudio` works everywhere in the process. Raises ImportError if torchaudio is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("torchaudio")
        except (OSError, RuntimeError):  # the extension depends on missing libraries or on another CUDA version
            # The failed import leaves torchaudio._extension.utils in sys.modules, so it can be patched for the retry.
            loader = vars(sys.modules["torchaudio._extension.utils"])
            load, loader["_load_lib"] = loader["_load_lib"], lambda library: False
            try:
                return importlib.import_module("torchaudio")
            finally:
                loader["_load_lib"] = load


def check_finite(samples: np.ndarray, what: str, position: int = 0) -> None:
    """Raises AudioError with the position of the first NaN or infinity in samples (N,) or (N, channels).

    Args:
        samples: One block of samples.
        what: Start of the error message, such as "sample".
        position: Position of the block's first sample in the whole recording, counted from 0.
    """
    if not (finite := np.isfinite(samples)).all():
        place = np.unravel_index(finite.argmin(), samples.shape)
        raise AudioError(f"{what} {position + place[0]} is {samples[place]}, expected finite numbers")


@contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A file opened by soundfile; errors of the system and of libsndfile become AudioErrors with the file's name."""
    import soundfile

    try:
        # Opened by file descriptor, so that libsndfile recognises the format by content and ignores the suffix.
        with open(path, "rb") as file, soundfile.SoundFile(file.fileno(), closefd=False) as sound:
            yield sound
    except OSError as error:
        raise AudioError(f"{str(path)!r} cannot be read: {error.strerror}; expected an audio file") from None
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{str(path)!r} cannot be decoded: {_reason(error)}; expected an audio file") from None


def _reason(error: Any) -> str:
    return str(error.error_string).removeprefix("Error : ").rstrip(".")


def _blocks(file: Any, path: str | os.PathLike[str], size: int) -> Iterator[np.ndarray]:
    """Blocks of at most `size` samples (N_i,) float32, the mean over the channels."""
    position = 0
    while len(frames := file.read(size, dtype="float32", always_2d=True)):  # (N_i, channels)
        check_finite(frames, f"{str(path)!r} cannot be used: sample", position)
        position += len(frames)
        yield frames.mean(1, dtype=np.float64).astype(np.float32)
    if not position:
        raise AudioError(f"{str(path)!r} holds no samples, expected at least one")


def _resampled(pieces: Iterable[np.ndarray], rate: int, to: int) -> Iterator[np.ndarray]:
    import soxr

    if min(rate, to) < 1:
        raise SeqgenError(f"got sample rates {rate} and {to} Hz, expected at least 1")
    if rate == to:
        yield from (np.asarray(piece, np.float32) for piece in pieces)
        return
    stream = soxr.ResampleStream(rate, to, 1, dtype="float32", quality="HQ")
    for piece in pieces:
        yield stream.resample_chunk(np.ascontiguousarray(piece, np.float32))
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _write(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write int16 samples into a file beside `path`, synced, then renamed."""
    import soundfile

    kind, subtype = FORMATS[path.suffix.lower()]
    with atomic(path) as file:
        try:
            with soundfile.SoundFile(file.name, "w", rate, 1, subtype, format=kind) as sound:
                for start in range(0, len(samples), 1 << 16):  # libsndfile encodes Vorbis on the stack
                    sound.write(samples[start : start + (1 << 16)])
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{str(path)!r} cannot be written: {_reason(error)}") from None
