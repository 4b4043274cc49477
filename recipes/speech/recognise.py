"""Does a model say the digit that it was asked for? A classifier of real clips listens to clips of the model.

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

LABEL = "digit"
MELS = 40
DEPTH = 7.0  # nats below a clip's loudest band, 61 dB: what is softer counts as silence
EPOCHS, BATCH, RATE = 15, 32, 3e-3  # RATE is that of learning
MARGIN = 0.15  # seconds of silence at each end, at most


# -- the run's data


def open_clips(run: str | Path, pipeline: Pipeline, path: str | None = None) -> Audio:
    """The data that a run was trained on, split as its config.yaml says; `path` is their place on this machine.

    Raises CheckpointError where there is no config.yaml, where it names no sound files, and where the data changed.
    """
    data = open_data(pipeline, Path(run), path)
    if not isinstance(data, Audio):
        raise CheckpointError(f"{run}: the data is {type(data).__name__}, expected Audio")
    return data


def samples(data: Audio, clip: int) -> np.ndarray:
    """The samples (N,) of one clip."""
    return np.array(data.windows.clip(clip))


def labelled(data: Audio, part: str) -> tuple[list[np.ndarray], np.ndarray]:
    """The clips of a part that say which digit they are, and its class (N,). Raises SeqgenError for none."""
    column = data.label_columns.index(LABEL)
    digits = {int(clip): data.entries[clip].labels[column] for clip in data.parts[part]}
    if not any(digits.values()):
        raise SeqgenError(f"the data has no {part} clips that say their {LABEL!r}, expected some")
    classes = [data.labels[LABEL].index(digit) for digit in digits.values() if digit]
    return [samples(data, clip) for clip, digit in digits.items() if digit], np.array(classes)


# -- the classifier


class Recogniser(nn.Module):
    """Which class a clip is of: convolutions over log-mel frames, the largest of each channel over time, a product.

    A frame is 10 ms. Loudness plays no part: bands are seen relative to the loudest of the clip.

    Args:
        rate: Samples a second, Hz.
        classes: K.
    """

    def __init__(self, rate: int, classes: int) -> None:
        super().__init__()
        hop = max(1, rate // 100)
        self.frames = LogMel(rate, mels=MELS, hop=hop, window=4 * hop)
        self.layers = nn.Sequential(*_convolution(MELS, 64), *_convolution(64, 96), *_convolution(96, 128))
        self.readout = nn.Sequential(nn.Dropout(0.3), nn.Linear(128, classes))

    def hear(self, clip: np.ndarray) -> Tensor:
        """Frames (F, C) in [0, 1] of samples (N,), 0 for silence; a clip without samples is one frame of silence."""
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
        """The most probable class (N,) of each clip, whatever the others are."""
        self.eval()
        return np.array([int(self(self.hear(clip)[None]).argmax()) for clip in clips])


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    convolution = nn.Conv1d(inputs, outputs, 5, padding=2, bias=False)
    return [convolution, nn.BatchNorm1d(outputs), nn.ReLU(), nn.MaxPool1d(2, ceil_mode=True)]


def taught(
    clips: Sequence[np.ndarray], classes: np.ndarray, rate: int, count: int, seed: int, epochs: int = EPOCHS
) -> Recogniser:
    """A recogniser of `count` classes, trained on clips of known classes (N,); the same for the same seed."""
    chance = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        recogniser = Recogniser(rate, count)
        steps = epochs * -(-len(clips) // BATCH)
        optimizer = torch.optim.AdamW(recogniser.parameters(), RATE, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        for _ in range(epochs):
            for chosen in _batches(len(clips), chance):
                heard = [recogniser.hear(varied(clips[place], rate, chance)) for place in chosen]
                logits = recogniser(nn.utils.rnn.pad_sequence(heard, batch_first=True))
                cross_entropy(logits, torch.from_numpy(classes[chosen]), label_smoothing=0.05).backward()
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
    return recogniser.eval()


def _batches(count: int, chance: np.random.Generator) -> Iterator[np.ndarray]:
    yield from np.array_split(chance.permutation(count), -(-count // BATCH))


def varied(clip: np.ndarray, rate: int, chance: np.random.Generator) -> np.ndarray:
    """A clip as it might have been: up to a tenth faster or slower, later, softer, and with noise 10 to 50 dB below.

    The noise is white; half of the clips have none.
    """
    speed = chance.uniform(0.9, 1.1)
    clip = audio.resample(clip, round(1000 * speed), 1000)
    clip = np.pad(clip, tuple(chance.integers(0, round(MARGIN * rate), 2, endpoint=True)))
    clip = clip * 10 ** (chance.uniform(-12, 0) / 20)
    if chance.random() < 0.5:
        level = float(np.sqrt(np.mean(clip**2))) * 10 ** (chance.uniform(-50, -10) / 20)
        clip = clip + level * chance.standard_normal(len(clip))
    return clip.astype(np.float32)


# -- the model's clips


def requests(labels: dict[str, list[str]], count: int) -> list[dict[str, str]]:
    """`count` labels: each digit equally often, and with each of them the classes of the other labels in turn.

    Raises SeqgenError for a model without the label, and for a count that is not a multiple of its classes.
    """
    digits = labels.get(LABEL, [])
    if not digits:
        raise SeqgenError(f"the model's labels are {', '.join(labels) or 'none'}, expected {LABEL!r} among them")
    if count < 1 or count % len(digits):
        raise SeqgenError(f"got {count} clips, expected a multiple of {len(digits)}, the classes of {LABEL!r}")
    rounds = [number // len(digits) for number in range(count)]
    others = {name: classes for name, classes in labels.items() if name != LABEL}
    return [
        {LABEL: digits[number % len(digits)], **{name: them[turn % len(them)] for name, them in others.items()}}
        for number, turn in enumerate(rounds)
    ]


def save(folder: Path, clips: Sequence[Clip], asked: Sequence[dict[str, str]], heard: Sequence[str]) -> None:
    """Write each clip as WAV; the name says what was asked for and what was heard."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (clip, labels, digit) in enumerate(zip(clips, asked, heard, strict=True)):
        audio.write(folder / f"{number:03d}_{'_'.join(labels.values())}_heard_{digit}.wav", clip)


# -- the figures


def confusions(classes: np.ndarray, heard: np.ndarray, count: int) -> np.ndarray:
    """How often class i was heard as class j: (K, K)."""
    table = np.zeros((count, count), np.int64)
    np.add.at(table, (classes, heard), 1)
    return table


def drawn(table: np.ndarray, names: Sequence[str]) -> str:
    """Confusions as text: a row for what was said, a column for what was heard."""
    width = max(map(len, [*names, str(table.max())])) + 2
    cells = [[str(count) if count else "." for count in row] for row in table]
    rows = [["", *names], *([name, *row] for name, row in zip(names, cells, strict=True))]
    return "\n".join("".join(cell.rjust(width) for cell in row) for row in rows)


def main() -> None:
    """Print the accuracy on real clips, on real clips through the codec, and on clips of the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a run folder")
    parser.add_argument("--clips", type=int, default=100, help="how many to sample (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=1.0, help="(default: %(default)s)")
    parser.add_argument("--path", default=None, help="the run's corpus, where it lies elsewhere now")
    parser.add_argument("--out", type=Path, default=None, help="a folder for the sampled clips")
    options = parser.parse_args()
    pipeline = seqgen.load(options.run)
    asked = requests(pipeline.labels, options.clips)
    names, codec = pipeline.labels[LABEL], pipeline.codec
    data = open_clips(options.run, pipeline, options.path)
    clips, classes = labelled(data, "train")
    began = time.monotonic()
    recogniser = taught(clips, classes, data.rate, len(names), options.seed)
    print(f"{len(clips)} real clips to learn from, {time.monotonic() - began:.0f} s")

    real, truth = labelled(data, "test")
    coded = [codec.decode(codec.encode(clip)).samples for clip in real]
    for what, them in (("real test clips", real), ("the same through the codec", coded)):
        print(f"{what}: {_accuracy(recogniser.classify(them) == truth)}, {_duration(them, data.rate)}")

    began = time.monotonic()
    # Without an end in the codec all clips are as long as a real one is on average.
    length = int((np.max if codec.end is not None else np.mean)([len(clip) for clip in clips]))
    sampled = pipeline.sample(
        options.clips, length=length, label=list(asked), temperature=options.temperature, seed=options.seed
    )
    sounds, truth = [clip.samples for clip in sampled], np.array([names.index(labels[LABEL]) for labels in asked])
    heard, cut = recogniser.classify(sounds), sum(len(sound) == length for sound in sounds)
    print(
        f"sampled clips: {_accuracy(heard == truth)}, {_duration(sounds, data.rate)}, {cut} cut off at "
        f"{length / data.rate:.2f} s, temperature {options.temperature:g}, {time.monotonic() - began:.0f} s"
    )
    print(f"asked for (row) and heard (column):\n{drawn(confusions(truth, heard, len(names)), names)}")
    if options.out is not None:
        save(options.out, sampled, asked, [names[digit] for digit in heard])


def _accuracy(right: np.ndarray) -> str:
    return f"{right.mean():.1%} of {len(right)} are recognised"


def _duration(clips: Sequence[np.ndarray], rate: int) -> str:
    return f"{np.mean([len(clip) for clip in clips]) / rate:.2f} s each"


if __name__ == "__main__":
    sys.exit(plainly(main))
