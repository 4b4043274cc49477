"""Detection of out-of-distribution images and adversarial examples by a model of greyscale digits.

python -m seqgen_recipes.digits.detect runs/digits-grey --background runs/digits-background

Prints the AUC of p-values and likelihood ratios for Fashion-MNIST and for adversarial examples against held-out digits.
Also prints the accuracy of a classifier, trained here, on adversarial examples before and after purification
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

EPOCHS, BATCH, RATE = 8, 64, 2e-3  # epochs, batch size and learning rate of the classifier
RADII = (0.1, 0.3)  # maximum change of a pixel by an attack; black is 0 and white is 1
STEPS = 20  # steps of projected gradient ascent

# -- the classifier


class Classifier(nn.Module):
    """A convolutional network with two convolutions and two linear layers.

    Args:
        side: Height and width of the images.
        classes: K, the number of classes.
    """

    def __init__(self, side: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Dropout(0.2), nn.Linear(32 * (side // 4) ** 2, 64), nn.ReLU(), nn.Linear(64, classes)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of images (B, H, W) in [0, 1]."""
        logits: Tensor = self.layers(x.unsqueeze(1))
        return logits

    @torch.inference_mode()
    def accuracy(self, x: Tensor, classes: Tensor) -> float:
        """The fraction of images (N, H, W) whose class (N,) is predicted."""
        predicted = torch.cat([self(images).argmax(1) for images in torch.split(x, 500)])
        return float((predicted == classes).double().mean())


def train(x: Tensor, classes: Tensor, count: int, seed: int, epochs: int = EPOCHS) -> Classifier:
    """A classifier of `count` classes trained on images (N, H, W) with classes (N,); reproducible by seed.

    Training images are shifted by up to two pixels, for data augmentation.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = Classifier(x.shape[1], count)
        optimizer = torch.optim.AdamW(classifier.parameters(), RATE, weight_decay=0.01)
        steps = epochs * -(-len(x) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        for _ in range(epochs):
            for places in torch.split(torch.randperm(len(x)), BATCH):
                down, right = torch.randint(-2, 3, (2,)).tolist()
                shifted = x[places].roll((down, right), (1, 2))  # digits have margins of four pixels
                F.cross_entropy(classifier(shifted), classes[places]).backward()
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
    return classifier.eval()


# -- attacks


def fgsm(classifier: Classifier, x: Tensor, classes: Tensor, radius: float) -> Tensor:
    """Fast gradient sign method (Goodfellow et al. 2015, arXiv:1412.6572) on images (N, H, W)."""
    return (x + radius * _loss_gradient(classifier, x, classes).sign()).clamp(0, 1)


def pgd(classifier: Classifier, x: Tensor, classes: Tensor, radius: float, seed: int, steps: int = STEPS) -> Tensor:
    """Projected gradient ascent from a random start within the radius (Madry et al. 2018, arXiv:1706.06083)."""
    random = torch.Generator().manual_seed(seed)
    found = (x + radius * (2 * torch.rand(x.shape, generator=random) - 1)).clamp(0, 1)
    for _ in range(steps):
        found = found + 2.5 * radius / steps * _loss_gradient(classifier, found, classes).sign()
        found = torch.minimum(torch.maximum(found, x - radius), x + radius).clamp(0, 1)
    return found


def _loss_gradient(classifier: Classifier, x: Tensor, classes: Tensor) -> Tensor:
    """The gradient (N, H, W) of the cross-entropy with respect to the images."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(classifier(x), classes, reduction="sum"), x)
    return gradient


# -- evaluation


class Detector:
    """A model of greyscale digits with an optional background model; images are (N, H, W) in [0, 1]."""

    def __init__(self, pipeline: Pipeline, background: Pipeline | None = None) -> None:
        if not isinstance(pipeline.codec, Pixels) or pipeline.codec.channels != 1 or pipeline.codec.levels < 3:
            raise SeqgenError(
                f"got a model of {type(pipeline.codec).__name__} with {pipeline.codec.size} symbols, "
                "expected greyscale images with three levels or more"
            )
        self.pipeline, self.background, self.pixels = pipeline, background, pipeline.codec

    def tensor(self, values: np.ndarray) -> Tensor:
        """Images (N, H, W) in [0, 1], rounded to the model's levels, of values 0 to 255 (N, ...)."""
        levels = torch.from_numpy(self.pixels.quantize(values)).float()
        return levels.view(-1, self.pixels.height, self.pixels.width) / (self.pixels.levels - 1)

    def items(self, x: Tensor) -> list[np.ndarray]:
        """Images as items of the pipeline, rounded to the nearest level."""
        levels = (x * (self.pixels.levels - 1)).round().long()
        return [self.pixels.decode(image.flatten()) for image in levels]

    def scores(self, x: Tensor) -> dict[str, Tensor]:
        """Scores (N,) by name, low for anomalies; see `detection.scores`."""
        return detection.scores(self.pipeline, self.items(x), self.background)

    def purified(self, x: Tensor, radius: float) -> Tensor:
        """Images purified within `radius`, rounded down to whole levels."""
        levels = round(self.whole_levels(radius) * (self.pixels.levels - 1))
        return self.tensor(np.stack(self.pipeline.purify(self.items(x), levels)))

    def whole_levels(self, radius: float) -> float:
        """A radius rounded down to whole levels, so that rounding an attacked image does not exceed the radius."""
        return int(radius * (self.pixels.levels - 1) + 1e-6) / (self.pixels.levels - 1)


def half_size(x: Tensor) -> Tensor:
    """Images (N, H, W) scaled to half the size, on black: smoother than the training data, and unlike it."""
    small = F.avg_pool2d(x, 2)
    height, width = ((whole - part) // 2 for whole, part in zip(x.shape[1:], small.shape[1:], strict=True))
    return F.pad(small, (width, x.shape[2] - small.shape[2] - width, height, x.shape[1] - small.shape[1] - height))


def report(detector: Detector, classifier: Classifier, x: Tensor, classes: Tensor, foreign: Tensor, seed: int) -> str:
    """A table for digits (N, H, W) with classes (N,), their attacked and scaled versions, and foreign images."""
    usual = detector.scores(x)
    table = [["pictures", *detection.header(usual), "recognised", "purified"]]

    def row(name: str, images: Tensor, radii: Sequence[float] = ()) -> None:
        """Append a row. Images are first rounded to levels, so that classifier and model see the same."""
        images = detector.tensor(np.stack(detector.items(images)))
        original = [images] if radii else []
        purified = [detector.purified(images, radius) for radius in radii]
        accuracies = [
            ", ".join(f"{classifier.accuracy(one, classes):.1%}" for one in them) for them in (original, purified)
        ]
        table.append([name, *detection.figures(detector.scores(images), usual), *accuracies])

    row("digits", x, RADII)
    row("digits of half the size", half_size(x))
    row("foreign", foreign)
    for radius in RADII:
        row(f"FGSM, {radius}", fgsm(classifier, x, classes, detector.whole_levels(radius)), [radius])
        row(f"PGD, {radius}", pgd(classifier, x, classes, detector.whole_levels(radius), seed), [radius])
    return detection.table(table)


# -- the data


def class_indices(classes: Sequence[str], names: Sequence[str]) -> Tensor:
    """Indices (N,) of classes in `names`. Raises SeqgenError for an image without a class, or with another one."""
    if wrong := sorted(set(classes) - set(names)) or (not classes and [""]):
        raise SeqgenError(f"a digit is labelled {wrong[0]!r}, expected a label out of {', '.join(names) or 'any'}")
    return torch.tensor([names.index(name) for name in classes])


def random_subset(found: Pictures, count: int, seed: int) -> Pictures:
    """At most `count` images chosen at random, from the test part if there is one."""
    places = [place for place, part in enumerate(found.parts) if part == "test"] or range(len(found.parts))
    chosen = np.random.default_rng(seed).permutation(np.array(places))[:count]
    return Pictures(found.values[chosen], *([kind[place] for place in chosen] for kind in found[1:]))


def part(data: Images, name: str) -> Pictures:
    """The images of a part of a run's data."""
    places = data.parts[name].tolist()
    return Pictures(data.values[places], [data.classes[place] for place in places], [name] * len(places))


def main() -> None:
    """Print a table with a row for each kind of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the run folder of a model of greyscale digits")
    parser.add_argument("--background", default=None, help="run folder of a background model, for likelihood ratios")
    parser.add_argument("--digits", type=Path, default=None, help="labelled test digits (default: those of the run)")
    parser.add_argument("--foreign", type=Path, default=None, help="other images (default: Fashion-MNIST, downloaded)")
    parser.add_argument("--count", type=int, default=500, help="maximum images of each kind (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="training the classifier (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (default: %(default)s)")
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
    digits = random_subset(digits, options.count, options.seed)
    foreign = random_subset(pictures(options.foreign or FashionMNIST().prepare(), shape), options.count, options.seed)

    classes = class_indices(known.classes, names)
    classifier = train(detector.tensor(known.values), classes, len(names), options.seed, options.epochs)
    x, classes = detector.tensor(digits.values), class_indices(digits.classes, names)
    print(f"{len(digits.values)} digits, {len(foreign.values)} foreign images, {pipeline.codec.size} levels\n")
    print(report(detector, classifier, x, classes, detector.tensor(foreign.values), options.seed))


if __name__ == "__main__":
    sys.exit(plainly(main))
