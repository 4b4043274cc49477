"""How well does a vocoder bring clips back from their mel spectra? Held-out clips, beside Griffin-Lim and the codec.

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
import torch

import seqgen
from seqgen.cli.main import plainly
from seqgen.config import SeqgenError
from seqgen.data.audio import Audio
from seqgen.inference import generate
from seqgen.media import audio
from seqgen.media.audio import Clip
from seqgen.media.mel import LogMel
from seqgen.output import Sampling
from seqgen.pipeline import Pipeline
from seqgen_recipes.speech.recognise import open_clips, samples

ITERATIONS = 60  # of Griffin-Lim
ABOUT = """The mel distance is the root mean square of differences of log-mel bands, over bands and frames, in dB.
Griffin-Lim works towards just these bands, and soft ones count as much as loud ones, so that the codec's noise shows:
there the codec alone is no bound for the model, as it is in PESQ (at most 4.64, or 4.55 at 8 kHz) and STOI (1)."""


# -- the measures


class Figures(NamedTuple):
    """How near a clip comes to the original; NaN where the package is missing or cannot tell."""

    distance: float
    """Log-mel spectral distance, dB RMS."""
    pesq: float
    """Perceptual evaluation of speech quality (ITU-T P.862), as MOS-LQO."""
    stoi: float
    """Short-time objective intelligibility (Taal et al. 2011)."""


def measured(original: Clip, other: Clip, frames: LogMel) -> Figures:
    """All figures of a clip that is as long as the original, and at its rate."""
    return Figures(distance(original.samples, other.samples, frames), pesq(original, other), stoi(original, other))


def distance(original: np.ndarray, other: np.ndarray, frames: LogMel) -> float:
    """The root mean square of 20 log10 (M / M'), dB, M and M' the mel bands of samples (N,) in all frames."""
    nats = frames(original).double() - frames(other).double()
    return 20 / math.log(10) * float(nats.square().mean().sqrt())


def pesq(original: Clip, other: Clip) -> float:
    """Of wide-band speech at 16 kHz, to which higher rates are resampled; below, of narrow-band speech at 8 kHz."""
    if not installed("pesq"):
        return math.nan
    from pesq import PesqError, pesq

    rate, mode = (16000, "wb") if original.rate >= 16000 else (8000, "nb")
    sounds = [audio.resample(*clip, rate) for clip in (original, other)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # of a division by the peak of silence
        try:
            return float(pesq(rate, *sounds, mode))
        except (PesqError, RuntimeWarning):  # no speech, or less than a quarter of a second
            return math.nan


def stoi(original: Clip, other: Clip) -> float:
    """Of clips with 0.4 s of speech or more; of others the package warns."""
    if not installed("pystoi"):
        return math.nan
    from pystoi import stoi

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(stoi(original.samples, other.samples, original.rate))
        except RuntimeWarning:
            return math.nan


@functools.cache
def installed(package: str) -> bool:
    """Whether an optional package is there."""
    return importlib.util.find_spec(package) is not None


# -- the contestants


def griffin_lim(original: np.ndarray, frames: LogMel) -> np.ndarray:
    """Samples (N,) with about the same mel bands as the original's (Griffin and Lim 1984), by torchaudio.

    Magnitudes are the smallest that give the bands; phases begin at random, from a fixed seed.
    """
    transforms = audio.torchaudio().transforms
    mel = frames(original).exp().T[None]  # (1, C, F)
    # A frame more at either end: torchaudio's first frame is centred on the first sample, ours half a hop behind it.
    mel = torch.nn.functional.pad(mel, (1, 1), mode="replicate")
    bands = {"sample_rate": frames.rate, "f_min": frames.low, "f_max": frames.high, "norm": "slaney"}
    widened = transforms.InverseMelScale(
        frames.window // 2 + 1, frames.mels, mel_scale="slaney", driver="gelsd", **bands
    )
    phases = transforms.GriffinLim(frames.window, ITERATIONS, hop_length=frames.hop, power=1.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = phases(widened(mel)[0])
    made: np.ndarray = found[frames.hop // 2 :][: len(original)].numpy()
    return made


def resynthesized(
    pipeline: Pipeline, clips: Sequence[Clip], labels: Sequence[dict[str, str]], temperature: float, seed: int
) -> list[Clip]:
    """The model's clips, each from the features of one of `clips` and as long, all drawn at once."""
    count, length = len(clips), max(len(clip.samples) for clip in clips)
    signals = [pipeline.modality.signal(pipeline.codec, clip) for clip in clips]
    context = pipeline.conditioning.context(list(labels) if pipeline.labels else None, count, signals)
    noise = generate.draw_noise(count, length, seed)
    sampling = Sampling(temperature, exclude=pipeline.codec.unsampled)
    rows = generate.sample(pipeline.model, noise, sampling, context).cpu()
    return [pipeline.codec.decode(row[: len(clip.samples)]) for row, clip in zip(rows, clips, strict=True)]


# -- the program


def held_out(data: Audio, count: int, seconds: float) -> tuple[list[Clip], list[dict[str, str]]]:
    """The first clips of the test part, then of the validation part, at most `seconds` of each, and their labels.

    Raises SeqgenError when there are fewer than `count`.
    """
    clips = [*data.parts["test"], *data.parts["val"]]
    length = round(seconds * data.rate)
    if not 0 < count <= len(clips) or length < 1:
        raise SeqgenError(
            f"got {count} clips of {seconds:g} s, expected 1 to {len(clips)} held-out clips, and some time"
        )
    sounds = [Clip(samples(data, clip)[:length], data.rate) for clip in clips[:count]]
    return sounds, [said(data, clip) for clip in clips[:count]]


def said(data: Audio, clip: int) -> dict[str, str]:
    """The labels of a clip."""
    pairs = zip(data.label_columns, data.entries[clip].labels, strict=True)
    return {name: value for name, value in pairs if value}


def main() -> None:
    """Print the figures of every clip and their means, of the model, of Griffin-Lim and of the codec."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=ABOUT)
    parser.add_argument("run", help="the run folder of a model that is conditioned on mel spectra")
    parser.add_argument("--clips", type=int, default=5, help="how many (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each clip (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=1.0, help="(default: %(default)s)")
    parser.add_argument("--path", default=None, help="the run's corpus, where it lies elsewhere now")
    parser.add_argument("--out", type=Path, default=None, help="a folder for all clips")
    options = parser.parse_args()
    pipeline = seqgen.load(options.run)
    if (frames := pipeline.features) is None:
        raise SeqgenError(f"{options.run} is not conditioned on mel spectra, expected a vocoder")
    originals, labels = held_out(open_clips(options.run, pipeline, options.path), options.clips, options.seconds)
    began = time.monotonic()
    made = {"model": resynthesized(pipeline, originals, labels, options.temperature, options.seed)}
    seconds = time.monotonic() - began
    made["Griffin-Lim"] = [Clip(griffin_lim(clip.samples, frames), clip.rate) for clip in originals]
    made["codec"] = [pipeline.codec.decode(pipeline.codec.encode(clip)) for clip in originals]
    for name, clips in made.items():
        print(table(name, [measured(*pair, frames) for pair in zip(originals, clips, strict=True)]))
    long = sum(clip.seconds for clip in originals)
    print(
        f"{long:.1f} s of sound in {seconds:.0f} s, {len(originals)} clips at once, temperature {options.temperature:g}"
    )
    print(ABOUT)
    for package in ("pesq", "pystoi"):
        if not installed(package):
            print(f"{package} is not installed, so there are no figures of it: pip install {package}")
    if options.out is not None:
        save(options.out, {"original": originals, **made})


def table(name: str, figures: Sequence[Figures]) -> str:
    """A row for each clip, and one of the means over the clips that have the figure."""
    rows = [(str(number + 1), row) for number, row in enumerate(figures)]
    columns = [[value for value in column if not math.isnan(value)] for column in zip(*figures, strict=True)]
    rows.append(("mean", Figures(*(float(np.mean(column)) if column else math.nan for column in columns))))
    return "\n".join(f"{name:<12} {place:>4}: {drawn(row)}" for place, row in rows)


def drawn(row: Figures) -> str:
    """One line."""
    return f"mel distance {row.distance:6.2f} dB   PESQ {row.pesq:5.2f}   STOI {row.stoi:6.3f}"


def save(folder: Path, made: dict[str, list[Clip]]) -> None:
    """Write every clip as WAV: 1_original.wav, 1_model.wav, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, clips in made.items():
        for number, clip in enumerate(clips):
            audio.write(folder / f"{number + 1}_{name}.wav", clip)


if __name__ == "__main__":
    sys.exit(plainly(main))
