"""A trained model with its codec: what users load to sample and score."""

import dataclasses
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
import torch
from torch import Tensor

# Not by name: importing them registers the classes that a checkpoint may name.
import seqgen.codecs
import seqgen.models
import seqgen.outputs  # noqa: F401
from seqgen import checkpoint, detect, generate
from seqgen.audio import Clip
from seqgen.checkpoint import CheckpointError
from seqgen.codec import Codec
from seqgen.codecs.sound import Sound
from seqgen.config import ConfigError, build, describe
from seqgen.detect import Calibration, Side
from seqgen.mel import LogMel, stack
from seqgen.model import Context, Model, Order, arranged
from seqgen.output import Sampling
from seqgen.score import Columns, Scores, Total, ensemble, follow

BATCH = 64
"""Sequences that are scored at once."""

Label = str | Mapping[str, str] | None
"""Which class to condition on: "F", or {"sex": "F"} where there are several labels; None where none is said."""


class Pipeline:
    """Model, codec, labels and provenance; the model is kept in evaluation mode.

    `labels` names the classes of every label, in order, such as {"sex": ["F", "M"]}; `provenance` is plain JSON that
    says how the model came about; `features` computes what the model is conditioned on besides labels from a clip;
    `calibration` holds the held-out scores that an input is ranked among.
    """

    def __init__(
        self,
        model: Model,
        codec: Codec,
        labels: Mapping[str, Sequence[str]] | None = None,
        provenance: Mapping[str, Any] | None = None,
        features: LogMel | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        check_fit(model, codec, features)
        self.model = model.eval()
        self.codec = codec
        self.labels = {name: list(classes) for name, classes in (labels or {}).items()}
        self.provenance = dict(provenance or {})
        self.features = features
        self.calibration = calibration

    @classmethod
    def from_pretrained(cls, path: str | Path, device: str | torch.device = "cpu") -> Self:
        """The pipeline in a run folder or a model folder, or the bundled one of that name.

        Raises CheckpointError: which file, and what is wrong; ValueError for a device that is not here.
        """
        device = _device(device)
        folder = checkpoint.find(path)
        tensors, config, calibrated = checkpoint.read(folder)
        where = str(folder / checkpoint.CONFIG)
        try:
            model = build(config.get("model"), Model, f"{where}: model")
            codec = build(config.get("codec"), Codec, f"{where}: codec")
            model.load_state_dict(tensors)
            described = config.get("features")
            features = None if described is None else build(described, LogMel, f"{where}: features")
            if not isinstance(provenance := config.get("provenance"), dict):
                raise ConfigError(f"{where}: provenance is {provenance!r}, expected an object")
            calibration = None if calibrated is None else Calibration.from_tensors(calibrated)
            labels = _labels(config.get("labels"), where)
            return cls(model.to(device), codec, labels, provenance, features, calibration)
        except ConfigError as error:
            raise CheckpointError(str(error)) from error
        except ValueError as error:
            raise CheckpointError(f"{where}: {error}") from error
        except RuntimeError as error:  # missing, unexpected or misshapen tensors
            lines = " ".join(str(error).split())
            raise CheckpointError(f"{folder / checkpoint.WEIGHTS} does not fit the model: {lines}") from None

    def save_pretrained(self, path: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Write the checkpoint folder, whole or not at all.

        Weights that are float32 are stored as `dtype`; reading makes them float32 again.
        """
        config = {
            "model": describe(self.model),
            "codec": describe(self.codec),
            "labels": self.labels,
            "features": None if self.features is None else describe(self.features),
            "provenance": self.provenance,
        }
        weights = self.model.state_dict().items()
        stored = {name: one.to(dtype) if one.dtype == torch.float32 else one for name, one in weights}
        calibration = None if self.calibration is None else self.calibration.as_tensors()
        checkpoint.write(Path(path), stored, config, calibration)

    def sample(
        self,
        n: int = 1,
        *,
        prompt: Any = None,
        length: int | None = None,
        label: Label | list[Label] = None,
        condition: Any = None,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int | None = None,
        watch: Callable[[int, int], None] | None = None,
    ) -> list[Any]:
        """n items, each the prompt and what follows: up to the end symbol, or at most `length` symbols.

        A prompt is the beginning of an item. Where all items have as many symbols, such as rows and images, it is an
        item of which a part is unknown, and the rest is drawn; any part, if the model takes the variables in any order.
        The default length is 500 symbols, one second, or, with a `condition` (a sound whose features the model is
        conditioned on), what that sound is longer than the prompt. The same seed gives the same items; None draws one.
        `watch` is called with the number of symbols that each item has got, and of those that it may get. Raises
        ValueError or TypeError for bad arguments.
        """
        sampling = Sampling(temperature, top_k, top_p, self.codec.unsampled)
        symbols, context, length = self._behind(n, prompt, length, label, condition)
        noise = generate.draw_noise(n, length, _seed(seed))
        drawn = generate.sample(self.model, noise, sampling, context, symbols.expand(n, -1), self.codec.end, watch)
        whole = torch.cat([symbols.expand(n, -1), drawn.cpu()], 1)
        if context is not None and context.order is not None:
            whole = context.order.restore(whole.to(drawn.device)).cpu()
        return [self.codec.decode(row) for row in whole]

    def stream(
        self,
        n: int | None = None,
        *,
        prompt: Any = None,
        length: int | None = None,
        label: Label | list[Label] = None,
        condition: Any = None,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> Iterator[Any]:
        """The pieces of one item, the prompt first, each as soon as it is drawn; joined they equal `sample`'s.

        With n, of items that all have as many symbols, such as images: n pieces at a time, one of each. Where a model
        draws the symbols in another order than an item's own, all pieces come once everything is drawn.
        """
        if n is not None and self.codec.length is None:
            raise ValueError(f"n is {n}, expected None: items of their own length are streamed one by one")
        count = 1 if n is None else n
        sampling = Sampling(temperature, top_k, top_p, self.codec.unsampled)
        symbols, context, length = self._behind(count, prompt, length, label, condition)
        prompts = symbols.expand(count, -1)
        noise = generate.draw_noise(count, length, _seed(seed))
        order = None if context is None or context.order is None or context.order.natural else context.order

        def drawn() -> Iterator[Tensor]:
            columns = itertools.chain(prompts.unbind(1), generate.stream(self.model, noise, sampling, context, prompts))
            if order is None:
                yield from columns
            else:
                whole = torch.stack([column.to(self.model.device) for column in columns], 1)
                yield from order.restore(whole).unbind(1)

        def item(place: int, columns: Iterator[Tensor]) -> Iterator[Any]:
            return self.codec.stream(column[place].item() for column in columns)

        items = list(map(item, range(count), itertools.tee(drawn(), count)))
        return items[0] if n is None else zip(*items, strict=True)

    def _behind(
        self, n: int, prompt: Any, length: int | None, label: Label | list[Label], condition: Any
    ) -> tuple[Tensor, Context | None, int]:
        """The prompt's symbols (S,), the context of n items, and how many symbols are to be drawn."""
        symbols, order = self._known(prompt)
        sound = None if condition is None else self._sound(condition)
        length = self._length(length, len(symbols), sound)
        for name, value, least in (("n", n, 1), ("length", length, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}, expected a whole number of {least} or more")
        if sound is not None and len(symbols) + length > len(sound.samples):
            raise ValueError(
                f"{len(symbols)} symbols of a prompt and {length} to be drawn are more than the {len(sound.samples)} "
                "of the sound to be conditioned on"
            )
        context = self.context(label, n, None if sound is None else [sound])
        return symbols, context if order is None else (context or Context())._replace(order=order), length

    def _length(self, length: int | None, known: int, sound: Clip | None) -> int:
        """How many symbols are to be drawn."""
        if self.codec.length is None:
            usual = self.codec.usual_length if sound is None else max(0, len(sound.samples) - known)
            return usual if length is None else length
        rest = self.codec.length - known
        if length not in (None, rest):
            raise ValueError(f"length is {length!r}, expected {rest}: every item has {self.codec.length} symbols")
        return rest

    def _known(self, prompt: Any) -> tuple[Tensor, Order | None]:
        """The symbols (S,) of a prompt, and an order that begins with their variables, if the model has any."""
        first = self.model.order_number(0)
        if prompt is None:
            return torch.zeros(0, dtype=self.model.output.dtype), first
        places, symbols = self.codec.partial(prompt)
        if first is None:
            if not torch.equal(places, torch.arange(len(places))):
                raise ValueError("the model goes on behind the beginning of an item, and the prompt is another part")
            return symbols, None
        order = first.led_by(places)
        return symbols[torch.argsort(order.ranks.cpu()[places])], order

    def _prompt(self, prompt: Any) -> Tensor:
        return torch.zeros(0, dtype=self.model.output.dtype) if prompt is None else self.codec.encode(prompt)

    @overload
    def score(
        self,
        item: list[Any],
        *,
        prefix: Any = None,
        label: Label | list[Label] = None,
        end: bool = True,
        p_value: Side | None = None,
    ) -> list[Scores]: ...
    @overload
    def score(
        self, item: Any, *, prefix: Any = None, label: Label = None, end: bool = True, p_value: Side | None = None
    ) -> Scores: ...
    def score(
        self,
        item: Any,
        *,
        prefix: Any = None,
        label: Label | list[Label] = None,
        end: bool = True,
        p_value: Side | None = None,
    ) -> Scores | list[Scores]:
        """log p(item | prefix, label), symbol by symbol; of a list of items, a list, with one label or as many.

        A model with features is conditioned on those of the item itself, behind the prefix. `end` False leaves the
        end symbol out, for an item that may go on. Items of a list are scored in batches, which changes nothing but the
        speed; the model's memory does not grow with an item's length. `p_value` "low" or "both" asks for the rank among
        held-out items. Raises ValueError when there is nothing to score, and what the codec raises.
        """
        if not isinstance(item, list):
            scores: list[Scores] = self.score([item], prefix=prefix, label=label, end=end, p_value=p_value)
            return scores[0]
        if p_value is not None and (prefix is not None or not end):
            raise ValueError("held-out items were scored whole; expected no prefix, and the end counted, for a p-value")
        before, labels = self._prompt(prefix), self._labels(label, len(item))
        if len(before) and self.codec.length is not None:
            raise ValueError("items that all have as many symbols are scored whole, expected no prefix")
        if (order := self.model.order_number(0)) is not None:
            order = order.led_by(torch.arange(len(before)))
        symbols, counts = self.codec.encode_all(item)
        encoded = zip(torch.split(symbols, counts), range(len(item)), strict=True)
        sequences = [self._sequence(one, place, before, end) for one, place in encoded]
        by_length = sorted(range(len(item)), key=lambda place: len(sequences[place]))  # like lengths pad little
        results: dict[int, Scores] = {}
        for group in (by_length[first : first + BATCH] for first in range(0, len(item), BATCH)):
            padded = torch.nn.utils.rnn.pad_sequence([sequences[place] for place in group], batch_first=True)
            sounds = [[prefix, item[place]] for place in group] if self.features is not None else None
            context = self._context(None if labels is None else labels[group], len(group), sounds)
            x, context = arranged(padded.to(self.model.device), context, order)
            columns = Columns.join(list(follow(self.model, [x], context)))
            if order is not None:
                columns = columns.select((slice(None), order.restore(torch.arange(x.shape[1], device=x.device)).cpu()))
            for row, place in enumerate(group):
                kept = slice(len(before), len(sequences[place]))
                results[place] = self._scores(columns.select((row, kept)), kept)
        said = label if isinstance(label, list) else [label] * len(item)
        if p_value is not None:
            for place, one in results.items():
                ranked = self.p_value(one.total, bool(said[place]), p_value)
                results[place] = dataclasses.replace(one, p_value=ranked)
        return [results[place] for place in range(len(item))]

    def p_value(self, total: Total, labelled: bool = False, side: Side = "low") -> float:
        """The rank of an item's log p per symbol among held-out ones of like length, scored given a label or not.

        Raises ValueError for a model without held-out scores.
        """
        if self.calibration is None:
            raise ValueError("the model has no held-out scores to rank among; seqgen calibrate RUN adds them")
        return self.calibration.p_value(-total.nats_per_symbol, total.symbols, labelled, side)

    def ratios(self, items: list[Any], background: "Pipeline", *, label: Label | list[Label] = None) -> list[float]:
        """log p(item) less that of a background model, which takes no labels, in nats per symbol of this one."""
        own, other = self.score(items, label=label), background.score(items)
        pairs = zip(own, other, strict=True)
        return [detect.likelihood_ratio(one.log_prob, two.log_prob, one.total.symbols) for one, two in pairs]

    def purify(self, items: list[Any], radius: int, *, label: Label = None, below: float | None = None) -> list[Any]:
        """The likeliest items of which no symbol is farther than `radius` levels away, found symbol by symbol.

        With `below` only items whose p-value is smaller are changed. Raises ValueError for items without levels.
        """
        if self.codec.length is None:
            raise ValueError(f"{type(self.codec).__name__} has no levels that are near each other")
        x = torch.stack([self.codec.encode(item) for item in items])
        chosen = list(range(len(items)))
        if below is not None:
            ranked = self.score(items, label=label, p_value="low")
            chosen = [place for place, one in enumerate(ranked) if one.p_value is not None and one.p_value < below]
        for first in range(0, len(chosen), BATCH):
            group = chosen[first : first + BATCH]
            x[group] = detect.purify(self.model, x[group], radius, self.context(label, len(group))).cpu()
        return [self.codec.decode(row) for row in x]

    def _sequence(self, symbols: Tensor, place: int, before: Tensor, end: bool) -> Tensor:
        symbols = self.codec.close(symbols) if end else symbols
        if not len(symbols):
            raise ValueError(f"item {place} is empty and no end symbol is counted: there is nothing to score")
        return torch.cat([before, symbols])

    def score_orders(self, items: Sequence[Any], orders: int, *, label: Label | list[Label] = None) -> list[Total]:
        """Totals of vectors under the mixture of the model's first factorisations, of which each has equal weight.

        Raises ValueError for more factorisations than the model was made for.
        """
        labels, totals = self._labels(label, len(items)), []
        for first in range(0, len(items), BATCH):
            group = slice(first, first + BATCH)
            x = torch.stack([self.codec.encode(item) for item in items[group]]).to(self.model.device)
            context = self._context(None if labels is None else labels[group], len(x), None)
            log_probs = ensemble(self.model, x, context, orders) + self._log_jacobian(slice(x.shape[1])).sum()
            units = self.codec.lengths(x[0].cpu()).sum().item()
            totals += [Total(-nats, x.shape[1], units, self.codec.unit) for nats in log_probs.tolist()]
        return totals

    def _log_jacobian(self, kept: slice) -> Tensor:
        whole = torch.as_tensor(self.codec.log_jacobian, dtype=torch.float64)
        return whole[kept] if whole.ndim else whole

    def _scores(self, columns: Columns, kept: slice = slice(None)) -> Scores:
        x, log_probs, ranks, entropies = columns
        log_probs = log_probs + self._log_jacobian(kept)
        total = Total(-float(log_probs.sum()), len(x), self.codec.lengths(x).sum().item(), self.codec.unit)
        return Scores(self.codec.names(x), log_probs, ranks, entropies, x[-1].item() == self.codec.end, total)

    def score_pieces(
        self, pieces: Iterable[Any], *, label: Label = None, condition: Any = None, end: bool = True
    ) -> Iterator[Scores]:
        """The score of one long item that comes in pieces, in constant memory: scores of consecutive parts.

        The totals of the parts add up to the item's. A model with features needs the whole sound as `condition`.
        """
        context = self.context(label, 1, None if condition is None else [condition])
        order = self.model.order_number(0)
        if self.codec.length is not None or not (order is None or order.natural):
            raise ValueError("an item with a number of symbols of its own, or in an order of its own, is scored whole")
        closing = [self.codec.close(torch.zeros(0, dtype=torch.int64))] if end and self.codec.end is not None else []
        symbols = (piece.unsqueeze(0) for source in (self.codec.pieces(pieces), closing) for piece in source)
        for part in follow(self.model, symbols, context):
            yield self._scores(part.select(0))

    def context(self, label: Label | list[Label], batch: int, sounds: Sequence[Any] | None = None) -> Context | None:
        """One label for a batch of sequences, or one for each, and the features of `sounds`, as many or one for all.

        Raises ValueError for a label or a class that the model lacks, and for sounds where it has no features.
        """
        return self._context(self._labels(label, batch), batch, sounds)

    def _context(self, labels: Tensor | None, batch: int, sounds: Sequence[Any] | None) -> Context | None:
        features = None if sounds is None else self._features(sounds).expand(batch, -1, -1)
        if self.features is not None and features is None:
            raise ValueError("the model is conditioned on the features of a sound, expected one")
        return None if labels is None and features is None else Context(labels, features)

    def _features(self, sounds: Sequence[Any]) -> Tensor:
        found = [self._sound(sound) for sound in sounds]
        assert self.features is not None  # or there were no sound
        return stack([self.features(sound.samples) for sound in found]).to(self.model.device)

    def _sound(self, item: Any) -> Clip:
        """A sound to be conditioned on, or a list of some, one behind the other, as the model would hear it."""
        if self.features is None or not isinstance(self.codec, Sound):
            raise ValueError("a sound to be conditioned on is given, but the model takes no features")
        parts = item if isinstance(item, list) else [item]
        samples = np.concatenate([self.codec.samples(part) for part in parts if part is not None])
        if not len(samples):
            raise ValueError("the sound to be conditioned on is empty")
        return Clip(samples, self.codec.rate)

    def _labels(self, label: Label | list[Label], batch: int) -> Tensor | None:
        if isinstance(label, list):
            if len(label) != batch:
                raise ValueError(f"got {len(label)} labels for {batch} items, expected one for each, or one for all")
            rows = [self._labels(one, 1) for one in label]
            silent = torch.zeros(1, len(self.labels), dtype=torch.int64, device=self.model.device)
            return torch.cat([silent if row is None else row for row in rows]) if any(label) else None
        if label is None or label == {}:
            return None
        if isinstance(label, str):
            if len(self.labels) != 1:
                raise ValueError(f"label is {label!r}; say it as name=class, the model's labels are {self._choices()}")
            label = {next(iter(self.labels)): label}
        for name, value in label.items():
            if value not in self.labels.get(name, ()):
                raise ValueError(f"no label {name}={value}; the model's labels are {self._choices()}")
        row = [classes.index(label[name]) + 1 if name in label else 0 for name, classes in self.labels.items()]
        return torch.tensor([row], device=self.model.device).expand(batch, -1)

    def _choices(self) -> str:
        return "; ".join(f"{name}: {', '.join(classes)}" for name, classes in self.labels.items()) or "none"


def load(path: str | Path, device: str | torch.device = "cpu") -> Pipeline:
    """The pipeline in a run or model folder, or a bundled one: `seqgen.load("names").score("Maria")`."""
    return Pipeline.from_pretrained(path, device)


def _seed(seed: int | None) -> int:
    seed = random.SystemRandom().getrandbits(31) if seed is None else seed
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ValueError(f"seed is {seed!r}, expected a whole number from 0 to 2^63 - 1")
    return seed


def check_fit(model: Model, codec: Codec, features: LogMel | None) -> None:
    """Raises ValueError when the model's output does not speak of the codec's symbols, or its features are others."""
    support = model.output(torch.zeros(model.output.size))
    classes = len(support.enumerate_support()) if support.has_enumerate_support else None
    if None not in (codec.length, model.dimensions) and codec.length != model.dimensions:
        raise ValueError(
            f"items have {codec.length} symbols and the model {model.dimensions} variables, expected as many: "
            f"--model.model.dimensions {codec.length}"
        )
    if codec.size != classes:
        raise ValueError(
            f"the codec has {codec.size or 'numbers for'} symbols and the model's output {classes or 'numbers'}, "
            "expected as many"
        )
    expected = (model.init_args.get("features", 0), model.init_args.get("hop", 1))
    given = (0, 1) if features is None else (features.mels, features.hop)
    if expected[0] != given[0] or (given[0] and expected[1] != given[1]):
        raise ValueError(
            f"the model takes {expected[0]} features for every {expected[1]} symbols, and {given[0]} for every "
            f"{given[1]} are given, expected the same"
        )


def _device(name: str | torch.device) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter from a torch without CUDA
        raise ValueError(f"device {str(name)!r} cannot be used here: {error}") from None
    if device.type == "mps":
        raise ValueError("device mps has no float64, in which seqgen scores and samples; use cpu")
    return device


def _labels(value: Any, where: str) -> dict[str, list[str]]:
    plain = isinstance(value, dict) and all(
        isinstance(classes, list) and all(isinstance(name, str) for name in classes) for classes in value.values()
    )
    if not plain:
        raise ConfigError(f"{where}: labels is {value!r}, expected an object of lists of names")
    return dict(value)
