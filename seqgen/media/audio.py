"""Sound files as samples and samples as sound files: soundfile decodes and encodes them, soxr resamples."""

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
"""The suffixes that `write` knows, with libsndfile's names for the file's format and its samples."""


class AudioError(SeqgenError):
    """A sound that cannot be used; the message says which file, what was found and what was expected."""


class Clip(NamedTuple):
    """One sound in memory."""

    samples: np.ndarray
    """(N,) float32, one channel, nominally in [-1, 1]."""
    rate: int
    """Samples a second, Hz."""

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / self.rate


def read(path: str | os.PathLike[str]) -> Clip:
    """A whole file at its own rate, its channels averaged.

    Reads WAV, FLAC, Ogg Vorbis, Opus, MP3 and all else that libsndfile does, whatever the suffix. Of a WAV or MP3 file
    that was cut off there are the samples that are left. Raises AudioError for a file that is missing, is no sound
    file, holds no samples, or holds NaN or infinities, with the place of the first.
    """
    with _open(path) as file:
        return Clip(np.concatenate(list(_blocks(file, path, 1 << 16))), file.samplerate)


def blocks(path: str | os.PathLike[str], rate: int, size: int = 1 << 16) -> Iterator[np.ndarray]:
    """The samples of a file at `rate` (Hz), piece by piece (N_i,) float32, `size` frames of the file at a time.

    Memory does not grow with the file. Joined, the pieces are `resample(*read(path), rate)`. Raises what `read` raises,
    at the block where it shows.
    """
    with _open(path) as file:
        yield from _resampled(_blocks(file, path, size), file.samplerate, rate)


def resample(samples: np.ndarray, rate: int, to: int) -> np.ndarray:
    """Samples (N,) at `rate` Hz as float32 samples at `to` Hz: N * to / rate of them, to the nearest whole number.

    Equal rates change nothing. Near full scale the result may overshoot it. Raises SeqgenError for a rate below 1.
    """
    return np.concatenate([np.zeros(0, np.float32), *_resampled([samples], rate, to)])


def write(path: str | os.PathLike[str], clip: Clip) -> None:
    """Write a clip as 16-bit WAV or FLAC, or as Ogg Vorbis, by the suffix; the file is there whole or not at all.

    Raises AudioError for another suffix, samples that are not (N,), NaN and infinities, and what the format cannot
    hold: no samples at all are for WAV alone.
    """
    path = Path(path)
    check_suffix(path)
    samples = np.asarray(clip.samples)
    if samples.ndim != 1:
        raise AudioError(f"{str(path)!r} cannot be written: its samples have shape {samples.shape}, expected (N,)")
    if not len(samples) and path.suffix.lower() != ".wav":
        raise AudioError(f"{str(path)!r} cannot be written: it has no samples, expected at least one, or a .wav")
    check_finite(samples, f"{str(path)!r} cannot be written: sample")
    try:
        _write(path, pcm(samples), clip.rate)
    except OSError as error:
        raise AudioError(f"{str(path)!r} cannot be written: {error.strerror}") from None


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Raises AudioError unless `write` can write a file of this name."""
    if (suffix := Path(path).suffix).lower() not in FORMATS:
        expected = ", ".join(FORMATS)
        raise AudioError(f"{str(path)!r} cannot be written: its suffix is {suffix!r}, expected one of {expected}")


def pcm(samples: np.ndarray) -> np.ndarray:
    """Finite samples (N,) as int16 (N,): the integer nearest to 32768 x, ties to even, clipped to -32768 .. 32767.

    So 1.0 is the largest and does not wrap, and what was read from 16 bits comes back as it was.
    """
    return np.rint(samples.astype(np.float64) * 32768).clip(-32768, 32767).astype(np.int16)


def torchaudio() -> ModuleType:
    """The module torchaudio, also where its compiled extension cannot be loaded.

    Its only wheel is built for CUDA; beside a torch for the CPU `import torchaudio` raises OSError. What is plain
    PyTorch (mu-law, resampling, mel spectrograms, datasets) needs no extension, and torchaudio has a mode for it, used
    where no library is found. It is set for the import alone; from then on a plain `import torchaudio` works, too.
    Raises ImportError where torchaudio is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("torchaudio")
        except (OSError, RuntimeError):  # the library needs what is not there, or another CUDA
            # The failed import leaves the module that loads the library behind: the next attempt takes it from there.
            loader = vars(sys.modules["torchaudio._extension.utils"])
            load, loader["_load_lib"] = loader["_load_lib"], lambda library: False
            try:
                return importlib.import_module("torchaudio")
            finally:
                loader["_load_lib"] = load


def check_finite(samples: np.ndarray, what: str, position: int = 0) -> None:
    """Raises AudioError for the first NaN or infinity in samples (N,) or (N, channels), whose place counts from 0.

    `position` is the place of the first of these samples, where they are one block of a sound.
    """
    if not (finite := np.isfinite(samples)).all():
        place = np.unravel_index(finite.argmin(), samples.shape)
        raise AudioError(f"{what} {position + place[0]} is {samples[place]}, expected finite numbers")


@contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A file opened by soundfile; what goes wrong while it is open becomes an AudioError that names it."""
    import soundfile

    try:
        # By its descriptor: what a file holds is told by its content and not by its suffix.
        with open(path, "rb") as file, soundfile.SoundFile(file.fileno(), closefd=False) as sound:
            yield sound
    except OSError as error:
        raise AudioError(f"{str(path)!r} cannot be read: {error.strerror}; expected a sound file") from None
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{str(path)!r} cannot be decoded: {_reason(error)}; expected a sound file") from None


def _reason(error: Any) -> str:
    return str(error.error_string).removeprefix("Error : ").rstrip(".")


def _blocks(file: Any, path: str | os.PathLike[str], size: int) -> Iterator[np.ndarray]:
    """The mean of the channels (N_i,) float32, `size` frames at a time."""
    position = 0
    while len(frames := file.read(size, dtype="float32", always_2d=True)):  # (N_i, channels)
        check_finite(frames, f"{str(path)!r} holds what is no sound: sample", position)
        position += len(frames)
        yield frames.mean(1, dtype=np.float64).astype(np.float32)
    if not position:
        raise AudioError(f"{str(path)!r} holds no samples, expected at least one")


def _resampled(pieces: Iterable[np.ndarray], rate: int, to: int) -> Iterator[np.ndarray]:
    import soxr

    if min(rate, to) < 1:
        raise SeqgenError(f"got the rates {rate} and {to} Hz, expected at least 1")
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
