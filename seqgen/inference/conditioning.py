"""What a model is conditioned on besides its own past: labels, and features of sounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from seqgen.codec import Codec
from seqgen.config import SeqgenError, WrongType
from seqgen.media.mel import LogMel, stack
from seqgen.model import Context, Model

Label = str | Mapping[str, str] | None
"""The class to condition on: "F", or {"sex": "F"} where there are several labels; None for unconditional."""


@dataclass(frozen=True)
class Conditioning:
    """The classes of every label, in order, such as {"sex": ["F", "M"]}, and what computes features from samples."""

    labels: dict[str, list[str]] = field(default_factory=dict)
    features: LogMel | None = None

    def context(
        self, label: Label | Sequence[Label], batch: int, signals: Sequence[np.ndarray] | None = None
    ) -> Context | None:
        """The context of a batch: one label for all rows or one for each, and the features of signals (N,).

        There are as many signals as rows, or one for all. Raises SeqgenError for a label or a class that the model
        lacks, and for signals where it has no features, or none where it has.
        """
        return self.context_of(self.classes(label, batch), batch, signals)

    def context_of(self, labels: Tensor | None, batch: int, signals: Sequence[np.ndarray] | None) -> Context | None:
        """`context` of labels (B, L) that are numbers already."""
        if (self.features is None) != (signals is None):
            expected = "none: the model takes no features" if self.features is None else "one: the model needs features"
            raise SeqgenError(f"got {'no' if signals is None else 'a'} sound to be conditioned on, expected {expected}")
        features = None
        if self.features is not None and signals is not None:
            features = stack([self.features(signal) for signal in signals]).expand(batch, -1, -1)
        return None if labels is None and features is None else Context(labels, features)

    def classes(self, label: Label | Sequence[Label], batch: int) -> Tensor | None:
        """1 + the class of every label (B, L), 0 where it is not given; None for no label at all."""
        if isinstance(label, Sequence) and not isinstance(label, str):
            if len(label) != batch:
                raise SeqgenError(f"got {len(label)} labels for {batch} items, expected one for each, or one for all")
            rows = [self._row(one) for one in label]
            return torch.tensor(rows).reshape(batch, -1) if any(label) else None
        if label is None or label == {}:
            return None
        return torch.tensor([self._row(label)]).expand(batch, -1)

    def _row(self, label: Label) -> list[int]:
        if label is None:
            label = {}
        if isinstance(label, str):
            if len(self.labels) != 1:
                raise SeqgenError(f"label is {label!r}; say it as name=class, the model's labels are {self._choices()}")
            label = {next(iter(self.labels)): label}
        if not isinstance(label, Mapping):
            raise WrongType(f"label is {label!r} of type {type(label).__name__}, expected a class, or classes by name")
        for name, value in label.items():
            if value not in self.labels.get(name, ()):
                raise SeqgenError(f"no label {name}={value}; the model's labels are {self._choices()}")
        return [classes.index(label[name]) + 1 if name in label else 0 for name, classes in self.labels.items()]

    def labelled(self, label: Label) -> bool:
        """Whether all labels are given, or none. Raises SeqgenError for some: no held-out item was scored so."""
        row = self._row(label)
        if any(row) and not all(row):
            raise SeqgenError(f"label is {label!r}; expected all of {', '.join(self.labels)} or none, for a p-value")
        return any(row)

    def _choices(self) -> str:
        return "; ".join(f"{name}: {', '.join(classes)}" for name, classes in self.labels.items()) or "none"


def check_fit(model: Model, codec: Codec, features: LogMel | None) -> None:
    """Raises SeqgenError where model and codec differ in vocabulary size, item size, or conditioning features."""
    if None not in (codec.shape, model.shape) and codec.shape != model.shape:
        raise SeqgenError(
            f"items are of height, width and channels {codec.shape} and the model's of {model.shape}, expected the same"
        )
    if None not in (codec.length, model.dimensions) and codec.length != model.dimensions:
        raise SeqgenError(
            f"items have {codec.length} symbols and the model {model.dimensions} variables, expected the same: "
            f"dimensions={codec.length}"
        )
    if codec.size != model.output.classes:
        raise SeqgenError(
            f"the codec's vocabulary has {codec.size or 'numbers instead of'} symbols and the model's output "
            f"{model.output.classes or 'numbers'}, expected the same"
        )
    expected = (model.feature_size, model.feature_hop, model.prediction)
    given = (0, 1, 0) if features is None else (features.size, features.hop, features.prediction)
    if expected[0] != given[0] or (given[0] and expected[1:] != given[1:]):
        wanted, got = _features(*expected), _features(*given)
        raise SeqgenError(f"the model takes {wanted}, got {got}, expected the same")


def _features(size: int, hop: int, prediction: int) -> str:
    predictor = f", and a predictor of order {prediction}," if prediction else ""
    return f"{size - (prediction + 1 if prediction else 0)} features{predictor} for every {hop} symbols"
