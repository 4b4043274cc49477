"""Resynthesis quality of a vocoder on held-out clips, compared with Griffin-Lim and with the codec alone.

python -m seqgen_recipes.speech.vocoder runs/vocoder
"""

import argparse
import functools
import importlib.util
import math
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import seqgen
from seqgen.cli.main import plainly
from seqgen.config import SeqgenError
from seqgen.data.audio import Audio
from seqgen.inference import generate
from seqgen.media import audio
from seqgen.media.audio import Clip
from seqgen.media.griffin_lim import griffin_lim
from seqgen.media.mel import LogMel
from seqgen.output import Sampling
from seqgen.pipeline import Pipeline
from seqgen_recipes.speech.recognise import open_clips, samples

ABOUT = """The mel distance is the RMS difference of log-mel bands over bands and frames, in dB. Griffin-Lim optimises
these bands directly. Soft bands count as much as loud ones, so the codec's quantisation noise adds to the distance, and
the codec alone is not a bound for the model. It is in PESQ (maximum 4.64, or 4.55 at 8 kHz) and STOI (maximum 1). The
words are those that an English recogniser, pocketsphinx, hears otherwise than in the original: other, missing or added
ones."""


# -- metrics


class Figures(NamedTuple):
    """Similarity of a clip to the original; NaN if the package is not installed or gives no result."""

    distance: float
    """Log-mel spectral distance, dB RMS."""
    pesq: float
    """Perceptual evaluation of speech quality (ITU-T P.862), as MOS-LQO."""
    stoi: float
    """Short-time objective intelligibility (Taal et al. 2011)."""
    wrong: float = math.nan
    """Words that a recogniser hears otherwise than in the original."""
    words: float = math.nan
    """Words that it hears in the original."""


def measure(original: Clip, other: Clip, frames: LogMel) -> Figures:
    """All metrics of a clip of the same length and sample rate as the original."""
    before, after = heard(original), heard(other)
    return Figures(
        distance(original.samples, other.samples, frames),
        pesq(original, other),
        stoi(original, other),
        math.nan if before is None or after is None else edits(before, after),
        math.nan if before is None else len(before),
    )


def distance(original: np.ndarray, other: np.ndarray, frames: LogMel) -> float:
    """Root mean square of 20 log10 (M / M') in dB, over all bands and frames; M, M' are mel bands of samples (N,)."""
    nats = frames.logarithms(original).double() - frames.logarithms(other).double()
    return 20 / math.log(10) * float(nats.square().mean().sqrt())


def pesq(original: Clip, other: Clip) -> float:
    """PESQ: wide-band at 16 kHz, resampled from higher rates; narrow-band at 8 kHz for rates below 16 kHz."""
    if not installed("pesq"):
        return math.nan
    from pesq import PesqError, pesq

    rate, mode = (16000, "wb") if original.rate >= 16000 else (8000, "nb")
    sounds = [audio.resample(*clip, rate) for clip in (original, other)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # from dividing silence by its peak
        try:
            return float(pesq(rate, *sounds, mode))
        except (PesqError, RuntimeWarning):  # no speech, or shorter than a quarter of a second
            return math.nan


def stoi(original: Clip, other: Clip) -> float:
    """STOI; NaN for clips with less than 0.4 s of speech, for which the package gives a warning."""
    if not installed("pystoi"):
        return math.nan
    from pystoi import stoi

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(stoi(original.samples, other.samples, original.rate))
        except RuntimeWarning:
            return math.nan


def heard(clip: Clip) -> tuple[str, ...] | None:
    """The words that pocketsphinx hears in an English clip; None if it is not installed."""
    if not installed("pocketsphinx"):
        return None
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=16000, loglevel="FATAL")
    decoder.start_utt()
    samples = audio.resample(*clip, 16000)
    decoder.process_raw((samples.clip(-1, 1) * 32767).astype(np.int16).tobytes(), full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return tuple(found.hypstr.split()) if found else ()


def edits(before: Sequence[str], after: Sequence[str]) -> int:
    """The smallest number of words to be substituted, left out or added (Levenshtein)."""
    row = list(range(len(after) + 1))
    for place, word in enumerate(before):
        diagonal, row[0] = row[0], place + 1
        for column, other in enumerate(after):
            changed = diagonal + (word != other)
            diagonal, row[column + 1] = row[column + 1], min(changed, row[column] + 1, row[column + 1] + 1)
    return row[-1]


@functools.cache
def installed(package: str) -> bool:
    """Whether an optional package is installed."""
    return importlib.util.find_spec(package) is not None


# -- resynthesis


def from_bands(original: np.ndarray, frames: LogMel) -> np.ndarray:
    """Samples (N,) reconstructed from the original's mel bands by Griffin-Lim."""
    return griffin_lim(frames.logarithms(original), frames)[: len(original)]


def resynthesize(
    pipeline: Pipeline, clips: Sequence[Clip], labels: Sequence[dict[str, str]], temperature: float, seed: int
) -> list[Clip]:
    """Clips sampled in one batch, each conditioned on the features of one of `clips` and cut to its length."""
    count, length = len(clips), max(len(clip.samples) for clip in clips)
    signals = [pipeline.modality.signal(pipeline.codec, clip) for clip in clips]
    context = pipeline.conditioning.context(list(labels) if pipeline.labels else None, count, signals)
    noise = generate.draw_noise(count, length, seed)
    sampling = Sampling(temperature, exclude=pipeline.codec.unsampled)
    rows = generate.sample(pipeline.model, noise, sampling, context).cpu()
    return [pipeline.codec.decode(row[: len(clip.samples)]) for row, clip in zip(rows, clips, strict=True)]


# -- evaluation


def held_out(data: Audio, count: int, seconds: float) -> tuple[list[Clip], list[dict[str, str]]]:
    """The first `count` clips of the test, calibration and validation parts, cut to `seconds`, and their labels.

    Raises SeqgenError if there are fewer, or if `seconds` is shorter than a sample.
    """
    clips = np.concatenate([data.parts[part] for part in ("test", "calibration", "val")])
    length = round(seconds * data.rate)
    if not 0 < count <= len(clips) or length < 1:
        raise SeqgenError(
            f"got {count} clips of {seconds:g} s, expected 1 to {len(clips)} held-out clips of one sample or more"
        )
    cut = [Clip(samples(data, clip)[:length], data.rate) for clip in clips[:count]]
    return cut, [data.labels_of(clip) for clip in clips[:count]]


def main() -> None:
    """Print the metrics of every clip and their means, for the model, Griffin-Lim and the codec."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=ABOUT)
    parser.add_argument("run", help="the run folder of a model conditioned on mel spectrograms")
    parser.add_argument("--clips", type=int, default=5, help="number of clips (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="maximum length of a clip (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=1.0, help="of sampling (default: %(default)s)")
    parser.add_argument("--path", default=None, help="path of the run's corpus, if it has moved")
    parser.add_argument("--out", type=Path, default=None, help="a folder for all clips")
    options = parser.parse_args()
    pipeline = seqgen.load(options.run)
    if (frames := pipeline.features) is None:
        raise SeqgenError(f"{options.run} has no features, expected a vocoder")
    originals, labels = held_out(open_clips(options.run, pipeline, options.path), options.clips, options.seconds)
    began = time.monotonic()
    results = {"model": resynthesize(pipeline, originals, labels, options.temperature, options.seed)}
    seconds = time.monotonic() - began
    results["Griffin-Lim"] = [Clip(from_bands(clip.samples, frames), clip.rate) for clip in originals]
    results["codec"] = [pipeline.codec.decode(pipeline.codec.encode(clip)) for clip in originals]
    for name, clips in results.items():
        print(table(name, [measure(*pair, frames) for pair in zip(originals, clips, strict=True)]))
    total = sum(clip.seconds for clip in originals)
    print(
        f"{total:.1f} s of audio sampled in {seconds:.0f} s, {len(originals)} clips in one batch, "
        f"temperature {options.temperature:g}"
    )
    print(ABOUT)
    for package in ("pesq", "pystoi", "pocketsphinx"):
        if not installed(package):
            print(f"no values of {package}, which is not installed: pip install {package}")
    if options.out is not None:
        save(options.out, {"original": originals, **results})


def table(name: str, figures: Sequence[Figures]) -> str:
    """A line for each clip, and one for the means without NaN."""
    rows = [(str(number + 1), row) for number, row in enumerate(figures)]
    columns = [[value for value in column if not math.isnan(value)] for column in zip(*figures, strict=True)]
    rows.append(("mean", Figures(*(float(np.mean(column)) if column else math.nan for column in columns))))
    return "\n".join(f"{name:<12} {place:>4}: {as_text(row)}" for place, row in rows)


def as_text(row: Figures) -> str:
    """The metrics of one clip as text."""
    words = "" if math.isnan(row.wrong) else f"   words {row.wrong:4.3g} of {row.words:.3g}"
    return f"mel distance {row.distance:6.2f} dB   PESQ {row.pesq:5.2f}   STOI {row.stoi:6.3f}{words}"


def save(folder: Path, clips_by_method: dict[str, list[Clip]]) -> None:
    """Write every clip as WAV: 1_original.wav, 1_model.wav, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, clips in clips_by_method.items():
        for number, clip in enumerate(clips):
            audio.write(folder / f"{number + 1}_{name}.wav", clip)


if __name__ == "__main__":
    sys.exit(plainly(main))
