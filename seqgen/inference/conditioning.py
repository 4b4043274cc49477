"""A model with its codec, and what it is conditioned on: labels, and features of sounds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqgen.codec import Codec
from seqgen.codecs.sound import Sound
from seqgen.config import SeqgenError, WrongType
from seqgen.media.audio import Clip
from seqgen.media.mel import LogMel, stack
from seqgen.model import Context, Model

Label = str | Mapping[str, str] | None
"""Which class to condition on: "F", or {"sex": "F"} where there are several labels; None where none is said."""


class Conditioned:
    """Model, codec, labels and features; the model is kept in evaluation mode.

    `labels` names the classes of every label, in order, such as {"sex": ["F", "M"]}; `features` computes what the model
    is conditioned on besides labels from a clip. Raises SeqgenError for parts that do not fit together.
    """

    def __init__(
        self,
        model: Model,
        codec: Codec,
        labels: Mapping[str, Sequence[str]] | None = None,
        features: LogMel | None = None,
    ) -> None:
        check_fit(model, codec, features)
        self.model = model.eval()
        self.codec = codec
        self.labels = {name: list(classes) for name, classes in (labels or {}).items()}
        self.features = features

    def context(self, label: Label | list[Label], batch: int, sounds: Sequence[Any] | None = None) -> Context | None:
        """One label for a batch of sequences, or one for each, and the features of `sounds`, as many or one for all.

        Raises SeqgenError for a label or a class that the model lacks, and for sounds where it has no features.
        """
        return self.context_of(self.numbered(label, batch), batch, sounds)

    def context_of(self, labels: Tensor | None, batch: int, sounds: Sequence[Any] | None) -> Context | None:
        """`context` of labels (B, L) that are numbered already."""
        features = None if sounds is None else self._features(sounds).expand(batch, -1, -1)
        if self.features is not None and features is None:
            raise SeqgenError("the model is conditioned on the features of a sound, expected one")
        return None if labels is None and features is None else Context(labels, features)

    def _features(self, sounds: Sequence[Any]) -> Tensor:
        found = [self.sound(sound) for sound in sounds]
        assert self.features is not None  # or there were no sound
        return stack([self.features(sound.samples) for sound in found]).to(self.model.device)

    def sound(self, item: Any) -> Clip:
        """A sound to be conditioned on, or a list of some, one behind the other, as the model would hear it."""
        if self.features is None or not isinstance(self.codec, Sound):
            raise SeqgenError("a sound to be conditioned on is given, but the model takes no features")
        parts = item if isinstance(item, list) else [item]
        samples = np.concatenate([self.codec.samples(part) for part in parts if part is not None])
        if not len(samples):
            raise SeqgenError("the sound to be conditioned on is empty")
        return Clip(samples, self.codec.rate)

    def numbered(self, label: Label | list[Label], batch: int) -> Tensor | None:
        """The numbers (B, L) of classes, 0 where none is said; None where none is said at all."""
        if isinstance(label, list):
            if len(label) != batch:
                raise SeqgenError(f"got {len(label)} labels for {batch} items, expected one for each, or one for all")
            rows = [self.numbered(one, 1) for one in label]
            silent = torch.zeros(1, len(self.labels), dtype=torch.int64, device=self.model.device)
            return torch.cat([silent if row is None else row for row in rows]) if any(label) else None
        if label is None or label == {}:
            return None
        if isinstance(label, str):
            if len(self.labels) != 1:
                raise SeqgenError(f"label is {label!r}; say it as name=class, the model's labels are {self._choices()}")
            label = {next(iter(self.labels)): label}
        if not isinstance(label, Mapping):
            raise WrongType(f"label is {label!r} of type {type(label).__name__}, expected a class, or classes by name")
        for name, value in label.items():
            if value not in self.labels.get(name, ()):
                raise SeqgenError(f"no label {name}={value}; the model's labels are {self._choices()}")
        row = [classes.index(label[name]) + 1 if name in label else 0 for name, classes in self.labels.items()]
        return torch.tensor([row], device=self.model.device).expand(batch, -1)

    def _choices(self) -> str:
        return "; ".join(f"{name}: {', '.join(classes)}" for name, classes in self.labels.items()) or "none"


def check_fit(model: Model, codec: Codec, features: LogMel | None) -> None:
    """Raises SeqgenError when the model's output does not speak of the codec's symbols, or its features are others."""
    if None not in (codec.shape, model.shape) and codec.shape != model.shape:
        height, width, channels = codec.shape or (0, 0, 0)
        raise SeqgenError(
            f"items are of height, width and channels {codec.shape} and the model's of {model.shape}, "
            f"expected --model.model.height {height} --model.model.width {width} --model.model.channels {channels}"
        )
    if None not in (codec.length, model.dimensions) and codec.length != model.dimensions:
        raise SeqgenError(
            f"items have {codec.length} symbols and the model {model.dimensions} variables, expected as many: "
            f"--model.model.dimensions {codec.length}"
        )
    if codec.size != model.output.classes:
        raise SeqgenError(
            f"the codec has {codec.size or 'numbers for'} symbols and the model's output "
            f"{model.output.classes or 'numbers'}, expected as many"
        )
    expected = (model.feature_size, model.feature_hop)
    given = (0, 1) if features is None else (features.mels, features.hop)
    if expected[0] != given[0] or (given[0] and expected[1] != given[1]):
        raise SeqgenError(
            f"the model takes {expected[0]} features for every {expected[1]} symbols, and {given[0]} for every "
            f"{given[1]} are given, expected the same"
        )
