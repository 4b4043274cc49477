"""Are pictures strange that no digit is, or digits that were changed to fool a classifier?

python -m seqgen_recipes.digits.detect runs/digits-grey --background runs/digits-background

Prints areas under the ROC curve against held-out digits for Fashion-MNIST and for adversarial digits, by p-value and by
likelihood ratio, and how well a classifier, trained here, does on adversarial digits before and after purification
(PixelDefend, Song et al. 2018, arXiv:1710.10766).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import seqgen
from seqgen.cli.main import plainly
from seqgen.codecs import Pixels
from seqgen.config import SeqgenError
from seqgen.data.images import Images
from seqgen.data.pictures import Pictures, pictures
from seqgen.data.runs import open_data
from seqgen.pipeline import Pipeline
from seqgen_recipes import detection
from seqgen_recipes.digits.prepare import FashionMNIST

EPOCHS, BATCH, RATE = 8, 64, 2e-3
RADII = (0.1, 0.3)  # how far a pixel may be moved, black being 0 and white 1
STEPS = 20  # of projected gradient descent

# -- the classifier


class Classifier(nn.Module):
    """Which digit a picture shows: two convolutions and two products.

    Args:
        side: Height and width.
        classes: K.
    """

    def __init__(self, side: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Dropout(0.2), nn.Linear(32 * (side // 4) ** 2, 64), nn.ReLU(), nn.Linear(64, classes)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of pictures (B, H, W) in [0, 1]."""
        logits: Tensor = self.layers(x.unsqueeze(1))
        return logits

    @torch.inference_mode()
    def accuracy(self, x: Tensor, classes: Tensor) -> float:
        """The share of pictures (N, H, W) whose class (N,) is the most probable one."""
        found = torch.cat([self(some).argmax(1) for some in torch.split(x, 500)])
        return float((found == classes).double().mean())


def taught(x: Tensor, classes: Tensor, count: int, seed: int, epochs: int = EPOCHS) -> Classifier:
    """A classifier trained on pictures (N, H, W), moved by up to two pixels, of known classes (N,); seeded."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = Classifier(x.shape[1], count)
        optimizer = torch.optim.AdamW(classifier.parameters(), RATE, weight_decay=0.01)
        steps = epochs * -(-len(x) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        for _ in range(epochs):
            for places in torch.split(torch.randperm(len(x)), BATCH):
                down, right = torch.randint(-2, 3, (2,)).tolist()
                moved = x[places].roll((down, right), (1, 2))  # digits have margins of four pixels
                F.cross_entropy(classifier(moved), classes[places]).backward()
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
    return classifier.eval()


# -- adversaries


def fgsm(classifier: Classifier, x: Tensor, classes: Tensor, radius: float) -> Tensor:
    """One step along the sign of the gradient (Goodfellow et al. 2015, arXiv:1412.6572), of pictures (N, H, W)."""
    return (x + radius * _uphill(classifier, x, classes).sign()).clamp(0, 1)


def pgd(classifier: Classifier, x: Tensor, classes: Tensor, radius: float, seed: int, steps: int = STEPS) -> Tensor:
    """Projected gradient ascent from anywhere near by (Madry et al. 2018, arXiv:1706.06083)."""
    random = torch.Generator().manual_seed(seed)
    found = (x + radius * (2 * torch.rand(x.shape, generator=random) - 1)).clamp(0, 1)
    for _ in range(steps):
        found = found + 2.5 * radius / steps * _uphill(classifier, found, classes).sign()
        found = torch.minimum(torch.maximum(found, x - radius), x + radius).clamp(0, 1)
    return found


def _uphill(classifier: Classifier, x: Tensor, classes: Tensor) -> Tensor:
    """The gradient of the loss with respect to the pictures."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(classifier(x), classes, reduction="sum"), x)
    return gradient


# -- the figures


class Detector:
    """A model of grey digits, and maybe one of their background; pictures are (N, H, W) in [0, 1], in its levels."""

    def __init__(self, pipeline: Pipeline, background: Pipeline | None = None) -> None:
        if not isinstance(pipeline.codec, Pixels) or pipeline.codec.channels != 1 or pipeline.codec.levels < 3:
            raise SeqgenError("expected a model of grey pictures with three levels or more")
        self.pipeline, self.background, self.pixels = pipeline, background, pipeline.codec

    def tensor(self, values: np.ndarray) -> Tensor:
        """Pictures of values 0 to 255 (N, ...)."""
        levels = torch.from_numpy(self.pixels.quantize(values)).float()
        return levels.view(-1, self.pixels.height, self.pixels.width) / (self.pixels.levels - 1)

    def items(self, x: Tensor) -> list[np.ndarray]:
        """Pictures as the pipeline takes them; what lies between two levels goes to the nearest."""
        levels = (x * (self.pixels.levels - 1)).round().long()
        return [self.pixels.decode(picture.flatten()) for picture in levels]

    def scores(self, x: Tensor) -> dict[str, Tensor]:
        """What is low for strange pictures."""
        return detection.scores(self.pipeline, self.items(x), self.background)

    def purified(self, x: Tensor, radius: float) -> Tensor:
        """The likeliest pictures near by; the radius is as many whole levels as there are in it."""
        levels = round(self.whole(radius) * (self.pixels.levels - 1))
        return self.tensor(np.stack(self.pipeline.purify(self.items(x), levels)))

    def whole(self, radius: float) -> float:
        """As much of a radius as is whole levels: what comes of an attack is rounded, and is not to leave its ball."""
        return int(radius * (self.pixels.levels - 1) + 1e-6) / (self.pixels.levels - 1)


def shrunk(x: Tensor) -> Tensor:
    """Pictures (N, H, W) of half the size on black ground: as smooth as can be, and not what the model has seen."""
    small = F.avg_pool2d(x, 2)
    height, width = ((whole - part) // 2 for whole, part in zip(x.shape[1:], small.shape[1:], strict=True))
    return F.pad(small, (width, x.shape[2] - small.shape[2] - width, height, x.shape[1] - small.shape[1] - height))


def report(detector: Detector, classifier: Classifier, x: Tensor, classes: Tensor, foreign: Tensor, seed: int) -> str:
    """A table of digits (N, H, W) of known classes, of changed ones and of foreign pictures."""
    usual = detector.scores(x)
    table = [["pictures", *detection.header(usual), "recognised", "purified"]]

    def row(name: str, some: Tensor, radii: Sequence[float] = ()) -> None:
        """What is between levels is rounded first, as the classifier is to see what the model sees."""
        some = detector.tensor(np.stack(detector.items(some)))
        seen = [some] if radii else []
        cured = [detector.purified(some, radius) for radius in radii]
        right = [", ".join(f"{classifier.accuracy(one, classes):.1%}" for one in them) for them in (seen, cured)]
        table.append([name, *detection.figures(detector.scores(some), usual), *right])

    row("digits", x, RADII)
    row("digits of half the size", shrunk(x))
    row("foreign", foreign)
    for radius in RADII:
        row(f"FGSM, {radius}", fgsm(classifier, x, classes, detector.whole(radius)), [radius])
        row(f"PGD, {radius}", pgd(classifier, x, classes, detector.whole(radius), seed), [radius])
    return detection.table(table)


# -- the data


def numbers(classes: Sequence[str], names: Sequence[str]) -> Tensor:
    """Numbers (N,) of classes. Raises SeqgenError for a picture without a class that has a name."""
    if wrong := sorted(set(classes) - set(names)) or (not classes and [""]):
        raise SeqgenError(f"a digit is {wrong[0]!r}, expected a label, {', '.join(names) or 'of some kind'}")
    return torch.tensor([names.index(name) for name in classes])


def some(found: Pictures, count: int, seed: int) -> Pictures:
    """At most `count` of the pictures, drawn; those to test on, where the pictures say which these are."""
    places = [place for place, part in enumerate(found.parts) if part == "test"] or range(len(found.parts))
    chosen = np.random.default_rng(seed).permutation(np.array(places))[:count]
    return Pictures(found.values[chosen], *([kind[place] for place in chosen] for kind in found[1:]))


def part(data: Images, name: str) -> Pictures:
    """The pictures of a part of a run's data."""
    places = data.parts[name].tolist()
    return Pictures(data.values[places], [data.classes[place] for place in places], [name] * len(places))


def main() -> None:
    """Print a table, a row for each kind of pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the run folder of a model of grey digits")
    parser.add_argument("--background", default=None, help="that of its background model, for likelihood ratios")
    parser.add_argument("--digits", type=Path, default=None, help="digits with labels to test on, if not the run's own")
    parser.add_argument("--foreign", type=Path, default=None, help="others (default: Fashion-MNIST, downloaded)")
    parser.add_argument("--count", type=int, default=500, help="pictures of each kind (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the classifier (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    options = parser.parse_args()
    pipeline = seqgen.load(options.run)
    detector = Detector(pipeline, None if options.background is None else seqgen.load(options.background))
    data = open_data(pipeline, Path(options.run))
    if not isinstance(data, Images):
        raise SeqgenError(f"the data of {options.run} is {type(data).__name__}, expected Images")
    shape = [detector.pixels.height, detector.pixels.width, 1]
    known = part(data, "train")
    names = sorted(set(known.classes) - {""})
    digits = part(data, "test") if options.digits is None else pictures(options.digits, shape)
    digits = some(digits, options.count, options.seed)
    foreign = some(pictures(options.foreign or FashionMNIST().prepare(), shape), options.count, options.seed)

    classes = numbers(known.classes, names)
    classifier = taught(detector.tensor(known.values), classes, len(names), options.seed, options.epochs)
    x, classes = detector.tensor(digits.values), numbers(digits.classes, names)
    print(f"{len(digits.values)} digits, {len(foreign.values)} foreign pictures, {pipeline.codec.size} levels\n")
    print(report(detector, classifier, x, classes, detector.tensor(foreign.values), options.seed))


if __name__ == "__main__":
    sys.exit(plainly(main))
