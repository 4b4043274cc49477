"""Label accuracy of a model of spoken digits: a classifier trained on real clips recognises the sampled ones.

python -m seqgen_recipes.speech.recognise runs/digits
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import seqgen
from seqgen.checkpoints.folder import CheckpointError
from seqgen.cli.main import plainly
from seqgen.config import SeqgenError
from seqgen.data.audio import Audio
from seqgen.data.runs import open_data
from seqgen.media import audio
from seqgen.media.audio import Clip
from seqgen.media.mel import LogMel
from seqgen.pipeline import Pipeline
from seqgen_recipes.speech.mfcc import KernelMachine

LABEL = "digit"
MELS = 40
DEPTH = 7.0  # dynamic range in nats (61 dB): bands this far below the loudest one count as silence
EPOCHS, BATCH, RATE = 15, 32, 3e-3  # epochs, batch size and learning rate of the classifier
MARGIN = 0.15  # maximum silence added at each end by data augmentation, in seconds
SHORT, SOFT = 0.15, -40  # seconds and dB RMS below which a sampled clip is counted as too short or too soft


# -- the run's data


def open_clips(run: str | Path, pipeline: Pipeline, path: str | None = None) -> Audio:
    """The audio data of a run, with the split of its config.yaml; `path` replaces the path given there.

    Raises CheckpointError without a config.yaml, for data that is not audio, and if the data has changed.
    """
    data = open_data(pipeline, Path(run), path)
    if not isinstance(data, Audio):
        raise CheckpointError(f"{run}: the data is {type(data).__name__}, expected Audio")
    return data


def samples(data: Audio, clip: int) -> np.ndarray:
    """The samples (N,) of one clip."""
    return np.array(data.windows.clip(clip))


def labelled_clips(data: Audio, part: str) -> tuple[list[np.ndarray], np.ndarray]:
    """The clips of a part that have a digit label, and their classes (N,). Raises SeqgenError if there are none."""
    column = data.label_columns.index(LABEL)
    digits = {int(clip): data.entries[clip].labels[column] for clip in data.parts[part]}
    if not any(digits.values()):
        raise SeqgenError(f"the data has no {part} clips with the label {LABEL!r}, expected some")
    classes = [data.labels[LABEL].index(digit) for digit in digits.values() if digit]
    return [samples(data, clip) for clip, digit in digits.items() if digit], np.array(classes)


# -- the classifier


class Recogniser(nn.Module):
    """A classifier of clips: convolutions over log-mel frames, a maximum over time, and a linear layer.

    A frame is 10 ms. Bands are relative to the loudest one of the clip, so that the classifier ignores loudness.

    Args:
        rate: Sample rate, Hz.
        classes: K, the number of classes.
    """

    def __init__(self, rate: int, classes: int) -> None:
        super().__init__()
        hop = max(1, rate // 100)
        self.frames = LogMel(rate, mels=MELS, hop=hop, window=4 * hop)
        self.layers = nn.Sequential(*_convolution(MELS, 64), *_convolution(64, 96), *_convolution(96, 128))
        self.readout = nn.Sequential(nn.Dropout(0.3), nn.Linear(128, classes))

    def features(self, clip: np.ndarray) -> Tensor:
        """Frames (F, C) in [0, 1] of samples (N,), 0 for silence; an empty clip is one frame of silence."""
        if not len(clip):
            return torch.zeros(1, MELS)
        bands = self.frames(clip)
        return ((bands - bands.max()) / DEPTH + 1).clamp(min=0) * (bands.max() > bands.min())

    def forward(self, frames: Tensor) -> Tensor:
        """Logits (B, K) of frames (B, F, C)."""
        logits: Tensor = self.readout(self.layers(frames.mT).amax(2))
        return logits

    @torch.inference_mode()
    def classify(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """The most probable class (N,) of each clip, independent of the other clips."""
        self.eval()
        return np.array([int(self(self.features(clip)[None]).argmax()) for clip in clips])


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    convolution = nn.Conv1d(inputs, outputs, 5, padding=2, bias=False)
    return [convolution, nn.BatchNorm1d(outputs), nn.ReLU(), nn.MaxPool1d(2, ceil_mode=True)]


def train(
    clips: Sequence[np.ndarray], classes: np.ndarray, rate: int, count: int, seed: int, epochs: int = EPOCHS
) -> Recogniser:
    """A recogniser of `count` classes trained on clips with classes (N,); reproducible by seed."""
    random = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        recogniser = Recogniser(rate, count)
        steps = epochs * -(-len(clips) // BATCH)
        optimizer = torch.optim.AdamW(recogniser.parameters(), RATE, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        for _ in range(epochs):
            for chosen in _batches(len(clips), random):
                frames = [recogniser.features(augmented(clips[place], rate, random)) for place in chosen]
                logits = recogniser(nn.utils.rnn.pad_sequence(frames, batch_first=True))
                cross_entropy(logits, torch.from_numpy(classes[chosen]), label_smoothing=0.05).backward()
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
    return recogniser.eval()


def _batches(count: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    yield from np.array_split(random.permutation(count), -(-count // BATCH))


def augmented(clip: np.ndarray, rate: int, random: np.random.Generator) -> np.ndarray:
    """A randomly changed clip, for data augmentation.

    It is up to 10% faster or slower and up to 12 dB softer, with up to MARGIN seconds of silence added at each end.
    Half of the clips get white noise 10 to 50 dB below the signal.
    """
    speed = random.uniform(0.9, 1.1)
    clip = audio.resample(clip, round(1000 * speed), 1000)
    clip = np.pad(clip, tuple(random.integers(0, round(MARGIN * rate), 2, endpoint=True)))
    clip = clip * 10 ** (random.uniform(-12, 0) / 20)
    if random.random() < 0.5:
        level = float(np.sqrt(np.mean(clip**2))) * 10 ** (random.uniform(-50, -10) / 20)
        clip = clip + level * random.standard_normal(len(clip))
    return clip.astype(np.float32)


# -- sampled clips


def balanced_labels(labels: dict[str, list[str]], count: int) -> list[dict[str, str]]:
    """Labels for `count` clips: each digit equally often, the classes of the other labels in turn.

    Raises SeqgenError for a model without the label "digit", and for a count that is not a multiple of its classes.
    """
    digits = labels.get(LABEL, [])
    if not digits:
        raise SeqgenError(f"the model's labels are {', '.join(labels) or 'none'}, expected {LABEL!r} among them")
    if count < 1 or count % len(digits):
        raise SeqgenError(f"got {count} clips, expected a multiple of {len(digits)}, the classes of {LABEL!r}")
    rounds = [number // len(digits) for number in range(count)]
    others = {name: classes for name, classes in labels.items() if name != LABEL}
    return [
        {LABEL: digits[number % len(digits)], **{name: names[turn % len(names)] for name, names in others.items()}}
        for number, turn in enumerate(rounds)
    ]


def save(folder: Path, clips: Sequence[Clip], labels: Sequence[dict[str, str]], predicted: Sequence[str]) -> None:
    """Write each clip as WAV, with its labels and its predicted digit in the file name."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (clip, own, digit) in enumerate(zip(clips, labels, predicted, strict=True)):
        audio.write(folder / f"{number:03d}_{'_'.join(own.values())}_predicted_{digit}.wav", clip)


# -- evaluation


def confusion_matrix(classes: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """How often class i (row) is predicted as class j (column): (K, K) int64."""
    table = np.zeros((count, count), np.int64)
    np.add.at(table, (classes, predicted), 1)
    return table


def as_text(table: np.ndarray, names: Sequence[str]) -> str:
    """A confusion matrix as lines of text: a row for each true class, a column for each predicted class."""
    width = max(map(len, [*names, str(table.max())])) + 2
    cells = [[str(count) if count else "." for count in row] for row in table]
    rows = [["", *names], *([name, *row] for name, row in zip(names, cells, strict=True))]
    return "\n".join("".join(cell.rjust(width) for cell in row) for row in rows)


def by_class(right: np.ndarray, requested: Sequence[dict[str, str]]) -> Iterator[str]:
    """A line for each other label: how many clips of each of its classes are recognised, of `right` (N,) bool."""
    for name in requested[0].keys() - {LABEL}:
        classes = np.array([own[name] for own in requested])
        shares = (f"{one} {right[classes == one].mean():.0%}" for one in dict.fromkeys(classes.tolist()))
        yield f"by {name}: {', '.join(shares)}"


def faults(clips: Sequence[np.ndarray], rate: int) -> str:
    """How many clips are too short, and how many too soft."""
    short = sum(len(clip) < SHORT * rate for clip in clips)
    power = 10 ** (SOFT / 10)
    soft = sum(not len(clip) or float(np.mean(np.square(clip, dtype=np.float64))) < power for clip in clips)
    return f"{short} shorter than {SHORT} s, {soft} below {SOFT} dB RMS"


def main() -> None:
    """Print the classifier's accuracy on real clips, on real clips encoded and decoded, and on sampled clips."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a run folder")
    parser.add_argument("--clips", type=int, default=100, help="number of clips to sample (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=1.0, help="of sampling (default: %(default)s)")
    parser.add_argument("--second", action="store_true", help="classify by a second, independent classifier as well")
    parser.add_argument("--path", default=None, help="path of the run's corpus, if it has moved")
    parser.add_argument("--out", type=Path, default=None, help="a folder for the sampled clips")
    options = parser.parse_args()
    pipeline = seqgen.load(options.run)
    requested = balanced_labels(pipeline.labels, options.clips)
    names, codec = pipeline.labels[LABEL], pipeline.codec
    data = open_clips(options.run, pipeline, options.path)
    clips, classes = labelled_clips(data, "train")
    began = time.monotonic()
    recogniser = train(clips, classes, data.rate, len(names), options.seed)
    print(f"classifier trained on {len(clips)} real clips in {time.monotonic() - began:.0f} s")
    second = KernelMachine(clips, classes, data.rate, len(names)) if options.second else None

    real, truth = labelled_clips(data, "test")
    coded = [codec.decode(codec.encode(clip)).samples for clip in real]
    for name, signals in (("real test clips", real), ("the same encoded and decoded", coded)):
        print(f"{name}: {_accuracy(recogniser.classify(signals) == truth)}, {_duration(signals, data.rate)}")
        if second is not None:
            print(f"{name}, second classifier: {_accuracy(second.classify(signals) == truth)}")

    began = time.monotonic()
    # Without an end symbol, all clips get the average length of real ones.
    length = int((np.max if codec.end is not None else np.mean)([len(clip) for clip in clips]))
    sampled = pipeline.sample(
        options.clips,
        length=data.codec.count(length),
        label=list(requested),
        temperature=options.temperature,
        seed=options.seed,
    )
    signals, truth = [clip.samples for clip in sampled], np.array([names.index(own[LABEL]) for own in requested])
    predicted, cut = recogniser.classify(signals), sum(len(signal) >= length for signal in signals)
    print(
        f"sampled clips: {_accuracy(predicted == truth)}, {_duration(signals, data.rate)}, {cut} cut off at "
        f"{length / data.rate:.2f} s, temperature {options.temperature:g}, {time.monotonic() - began:.0f} s"
    )
    print(f"of the sampled clips {faults(signals, data.rate)}")
    print("\n".join(by_class(predicted == truth, requested)))
    if second is not None:
        print(f"sampled clips, second classifier: {_accuracy(second.classify(signals) == truth)}")
    table = as_text(confusion_matrix(truth, predicted, len(names)), names)
    print(f"confusion matrix, requested digit (row) and predicted digit (column):\n{table}")
    if options.out is not None:
        save(options.out, sampled, requested, [names[digit] for digit in predicted])


def _accuracy(right: np.ndarray) -> str:
    return f"{right.mean():.1%} of {len(right)} are recognised"


def _duration(clips: Sequence[np.ndarray], rate: int) -> str:
    return f"{np.mean([len(clip) for clip in clips]) / rate:.2f} s each"


if __name__ == "__main__":
    sys.exit(plainly(main))
