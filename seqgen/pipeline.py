"""A trained model with its codec: what users load to sample and score."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, overload

import torch
from torch import Tensor
from torch.distributions import Distribution

# Not by name: importing them registers the classes that a checkpoint may name.
import seqgen.codecs
import seqgen.modalities
import seqgen.models
import seqgen.outputs  # noqa: F401
from seqgen.checkpoints import folder
from seqgen.checkpoints.folder import CheckpointError, Contents
from seqgen.checkpoints.training_texts import TrainingTexts
from seqgen.codec import Codec
from seqgen.config import ConfigError, SeqgenError, build, describe
from seqgen.engine import Choice
from seqgen.inference import detect
from seqgen.inference.conditioning import Conditioning, Label, check_fit
from seqgen.inference.detect import Calibration, Side
from seqgen.inference.sampler import ItemSampler
from seqgen.inference.score import Scores, Total
from seqgen.inference.scorer import BATCH, Scorer
from seqgen.media.mel import LogMel
from seqgen.modality import modality_of
from seqgen.model import Model, Order
from seqgen.nn.rounding import read_weights, rounded, stored_weights
from seqgen.output import PLAIN, Sampling


class Pipeline:
    """A model, its codec, and what belongs to them.

    Args:
        model: It stays in the mode it is in: sampling and scoring evaluate it without dropout either way.
        codec: Its vocabulary size is that of the model's output.
        labels: The classes of every label, in order, such as {"sex": ["F", "M"]}.
        provenance: How the model came about, as plain JSON.
        features: Computes what the model is conditioned on besides labels from a clip.
        calibration: Held-out scores that inputs are ranked among.
        training_texts: Hashes of the texts that the model was trained on.

    Raises SeqgenError for parts that do not fit together.
    """

    def __init__(
        self,
        model: Model,
        codec: Codec,
        labels: Mapping[str, Sequence[str]] | None = None,
        provenance: Mapping[str, Any] | None = None,
        features: LogMel | None = None,
        calibration: Calibration | None = None,
        training_texts: TrainingTexts | None = None,
    ) -> None:
        check_fit(model, codec, features)
        self.model, self.codec, self.modality = model, codec, modality_of(codec)
        self.conditioning = Conditioning({name: list(known) for name, known in (labels or {}).items()}, features)
        self.provenance = dict(provenance or {})
        self.calibration = calibration
        self.training_texts = training_texts
        self._sampler = ItemSampler(model, codec, self.modality, self.conditioning)
        self._scorer = Scorer(model, codec, self.modality, self.conditioning)

    @property
    def labels(self) -> dict[str, list[str]]:
        """The classes of every label."""
        return self.conditioning.labels

    @property
    def features(self) -> LogMel | None:
        """What computes the conditioning features of a clip; None for models without."""
        return self.conditioning.features

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.device

    def to(self, device: str | torch.device) -> Self:
        """Move the model, in place as `nn.Module.to` does. Raises SeqgenError for a device that is not here."""
        self.model.to(check_device(device))
        return self

    # -- on disk

    @classmethod
    def from_pretrained(cls, path: str | Path, device: str | torch.device = "cpu") -> Self:
        """The pipeline in a run folder or a model folder, or the bundled one of that name.

        Raises CheckpointError: which file, and what is wrong; SeqgenError for a device that is not here.
        """
        device = check_device(device)
        place, contents = folder.load(path)
        where = str(place / folder.CONFIG)
        try:
            return cls(*_parts(contents, where, device))
        except ConfigError as error:
            raise CheckpointError(str(error)) from error
        except ValueError as error:
            raise CheckpointError(f"{where}: {error}") from error
        except RuntimeError as error:  # missing, unexpected or misshapen tensors
            lines = " ".join(str(error).split())
            raise CheckpointError(f"{place / folder.WEIGHTS} does not fit the model: {lines}") from None

    def save_pretrained(self, path: str | Path, kind: str = "float32") -> None:
        """Write the checkpoint folder, whole or not at all.

        Weights that are float32 are rounded to `kind` (see `rounded`) and stored so; reading makes them float32 again.
        """
        config = {
            "model": describe(self.model),
            "codec": describe(self.codec),
            "labels": self.labels,
            "features": None if self.features is None else describe(self.features),
            "provenance": self.provenance,
        }
        stored = stored_weights(self.model, kind)
        calibration = None if self.calibration is None else self.calibration.as_tensors()
        texts = None if self.training_texts is None else bytes(self.training_texts)
        folder.write(Path(path), Contents(stored, config, calibration, texts))

    # -- sampling

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
        engine: Choice = "auto",
        watch: Callable[[int, int], None] | None = None,
        report: Callable[[str], None] | None = None,
    ) -> list[Any]:
        """n items, each the prompt and its continuation: up to the end symbol, or at most `length` symbols.

        A prompt is the beginning of an item. Where all items have the same number of symbols, such as rows and images,
        it is an item of which a part is unknown, and the rest is sampled: any part, if the model was made for any
        order of the variables. The default length is 500 symbols, one second, or, with a `condition` (a sound whose
        features condition the model), the part of that sound behind the prompt. The same seed gives the same items;
        None draws a seed. `watch` is called with the number of symbols drawn so far, and of those to be drawn at most.
        `engine` says whether symbols are drawn by a compiled loop, which changes nothing but the speed: "auto" where
        there is one, "plain" never, "compiled" or an error; `report` is told which it was, and why.
        Raises SeqgenError for bad arguments.
        """
        sampling = Sampling(temperature, top_k, top_p, self.codec.unsampled)
        beginning = self._sampler.beginning(n, prompt, length, label, condition)
        return self._sampler.sample(beginning, sampling, seed, engine, watch, report)

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
        engine: Choice = "auto",
        report: Callable[[str], None] | None = None,
    ) -> Iterator[Any]:
        """The pieces of one item, the prompt first, each as soon as it is drawn; joined they equal `sample`'s.

        With n, for items that all have the same number of symbols, such as images: n pieces at a time, one of each.
        Where a model draws the symbols in another order than an item's own, all pieces come once everything is drawn.
        """
        if n is not None and self.codec.length is None:
            raise SeqgenError(f"n is {n}, expected None: items that differ in length are streamed one by one")
        sampling = Sampling(temperature, top_k, top_p, self.codec.unsampled)
        beginning = self._sampler.beginning(1 if n is None else n, prompt, length, label, condition)
        items = self._sampler.stream(beginning, sampling, seed, engine, report)
        return items[0] if n is None else zip(*items, strict=True)

    def next_probs(
        self, prefix: Any = None, *, label: Label = None, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
    ) -> dict[str, float]:
        """The probability of every symbol that may follow a prefix, by its readable name, the likeliest first.

        Raises SeqgenError for a model of numbers, which have densities and no probabilities.
        """
        if self.codec.size is None:
            raise SeqgenError(f"{type(self.codec).__name__} has numbers, whose densities `score` gives")
        return self._sampler.next_probs(prefix, label, Sampling(temperature, top_k, top_p))

    def conditionals(
        self, x: Tensor, label: Label = None, prompt: Any = None, sampling: Sampling = PLAIN
    ) -> tuple[Distribution, Callable[[Tensor], Tensor]]:
        """The distribution (1, T) of every symbol of x (T,) given those before it, and what undoes its order.

        The symbols are in the order in which samples with this prompt are drawn; the function puts (1, T) back.
        """
        return self._sampler.conditionals(x, label, prompt, sampling)

    def known(self, prompt: Any) -> tuple[Tensor, Order | None]:
        """The symbols (S,) of a prompt, and the order in which the others follow, None for models without orders."""
        return self._sampler.known(prompt)

    # -- scoring

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
        """log p(item | prefix, label), symbol by symbol; for a collection of items a list, with one label or as many.

        A collection is a list or, depending on the modality, a pandas Series, an array of str, a DataFrame. Its items
        are scored in batches, which changes nothing but the speed; memory for parameters is bounded whatever the
        length. A model with features is conditioned on those of the item itself, behind the prefix. `end` False leaves
        the end symbol out, for an item that may go on. `p_value` "low" or "both" adds the rank among held-out items.
        Raises SeqgenError when there is nothing to score, and what the codec raises.
        """
        items = self.modality.collection(item)
        if items is None:
            scores = self.score([item], prefix=prefix, label=label, end=end, p_value=p_value)
            return scores[0]
        if p_value is not None and (prefix is not None or not end):
            raise SeqgenError("a p-value is that of a whole item: expected no prefix and the end counted")
        found = self._scorer.score(items, prefix=prefix, label=label, end=end)
        if p_value is None:
            return found
        ranks = self._ranks([one.total for one in found], label, p_value)
        return [dataclasses.replace(one, p_value=rank) for one, rank in zip(found, ranks, strict=True)]

    def totals(self, items: Any, *, label: Label | list[Label] = None, orders: int = 1) -> list[Total]:
        """log p(item | label) of every item in total, which is faster than symbol by symbol.

        Vectors are scored under the mixture of the model's first `orders` factorisations, each with equal weight.
        Raises SeqgenError for more factorisations than the model was made for.
        """
        collection = self.modality.collection(items)
        return self._scorer.totals([items] if collection is None else collection, label=label, orders=orders)

    def score_pieces(
        self, pieces: Iterable[Any], *, label: Label = None, condition: Any = None, end: bool = True
    ) -> Iterator[Scores]:
        """The score of one long item that comes in pieces, in constant memory: scores of consecutive parts.

        The totals of the parts add up to the item's. A model with features needs the whole sound as `condition`.
        """
        return self._scorer.pieces(pieces, label=label, condition=condition, end=end)

    def p_value(self, item: Any, *, label: Label | list[Label] = None, side: Side = "low") -> Any:
        """The rank of an item's log p among held-out ones of similar length; of a collection, a list.

        An item that was scored already may be given by its Total. Raises SeqgenError for a model without held-out
        scores, and for some of several labels: held-out items were scored with all or none.
        """
        if isinstance(item, Total):
            return self._ranks([item], label, side)[0]
        items = self.modality.collection(item)
        found = self._ranks(self.totals(item, label=label), label, side)
        return found[0] if items is None else found

    def _ranks(self, totals: list[Total], label: Label | list[Label], side: Side) -> list[float]:
        if self.calibration is None:
            raise SeqgenError("the model has no held-out scores to rank among; calibrate its run first")
        labels = label if isinstance(label, list) else [label] * len(totals)
        return [
            self.calibration.p_value(-one.nats_per_symbol, one.symbols, self.conditioning.labelled(said), side)
            for one, said in zip(totals, labels, strict=True)
        ]

    def ratios(self, items: Any, background: "Pipeline", *, label: Label | list[Label] = None) -> list[float]:
        """log p(item) less that of a background model, which takes no labels, in nats per symbol of this one.

        Raises SeqgenError for a background model whose items have other symbols.
        """
        self.check_background(background)
        pairs = zip(self.totals(items, label=label), background.totals(items), strict=True)
        return [detect.likelihood_ratio(-one.nats, -two.nats, one.symbols) for one, two in pairs]

    def check_background(self, background: "Pipeline") -> None:
        """Raises SeqgenError for a background model of another kind of codec, or of items of another size."""
        own, other = ((type(one.codec), one.codec.length, one.codec.size) for one in (self, background))
        if own[0] is not other[0] or (self.codec.length is not None and own != other):
            names = [
                f"{kind.__name__} of {length} symbols in {size or 'numbers'}" for kind, length, size in (own, other)
            ]
            raise SeqgenError(f"the background model is one of {names[1]}, expected {names[0]}, as the model itself")

    def purify(self, items: list[Any], radius: int, *, label: Label = None, below: float | None = None) -> list[Any]:
        """The likeliest items whose symbols differ by at most `radius` levels, found symbol by symbol (PixelDefend).

        With `below` only items whose p-value is smaller are changed. Raises SeqgenError for items without levels.
        """
        if self.codec.length is None:
            raise SeqgenError(f"{type(self.codec).__name__} has no levels, between which distances mean something")
        if not items:
            return []
        x = torch.stack([self.codec.encode(item) for item in items])
        chosen = list(range(len(items)))
        if below is not None:
            chosen = [place for place, p in enumerate(self.p_value(items, label=label)) if p < below]
        for first in range(0, len(chosen), BATCH):
            group = chosen[first : first + BATCH]
            context = self._sampler.placed(self.conditioning.context(label, len(group)))
            x[group] = detect.purify(self.model, x[group], radius, context).cpu()
        return [self.codec.decode(row) for row in x]

    def rounded(self, kind: str) -> "Pipeline":
        """A pipeline whose weights are those of this one rounded to "bfloat16", "float16" or "int8".

        It has no calibration, and can be sampled (bfloat16 and int8 faster where reading weights is what takes the
        time), scored and saved. int8 is symmetric, with a scale for each output channel; biases are not rounded.
        """
        return Pipeline(
            rounded(self.model, kind),
            self.codec,
            self.labels,
            self.provenance,
            self.features,
            training_texts=self.training_texts,
        )


def load(path: str | Path, device: str | torch.device = "cpu") -> Pipeline:
    """The pipeline in a run or model folder, or a bundled one: `seqgen.load("names").score("Maria")`."""
    return Pipeline.from_pretrained(path, device)


def check_device(name: str | torch.device) -> torch.device:
    """The device of that name. Raises SeqgenError for one that cannot be used here."""
    try:
        device = torch.device(name)
        torch.zeros(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter from a torch without CUDA
        raise SeqgenError(f"device {str(name)!r} cannot be used here: {str(error).partition(chr(10))[0]}") from None
    if device.type == "mps":
        raise SeqgenError("device mps has no float64, in which seqgen scores and samples; use cpu")
    return device


def _parts(contents: Contents, where: str, device: torch.device) -> tuple[Any, ...]:
    """The arguments of a Pipeline, as a checkpoint holds them. Raises ConfigError, ValueError, RuntimeError."""
    config = contents.config
    with torch.random.fork_rng([]):  # a fresh model draws weights, which are overwritten
        model = build(config.get("model"), Model, f"{where}: model")
    codec = build(config.get("codec"), Codec, f"{where}: codec")
    model.load_state_dict(read_weights(contents.tensors))
    described = config.get("features")
    features = None if described is None else build(described, LogMel, f"{where}: features")
    if not isinstance(provenance := config.get("provenance"), dict):
        raise ConfigError(f"{where}: provenance is {provenance!r}, expected an object")
    calibration = None if contents.calibration is None else Calibration.from_tensors(contents.calibration)
    texts = None if contents.training_texts is None else TrainingTexts.from_bytes(contents.training_texts)
    labels = _labels(config.get("labels"), where)
    return model.to(device).eval(), codec, labels, provenance, features, calibration, texts


def _labels(value: Any, where: str) -> dict[str, list[str]]:
    plain = isinstance(value, dict) and all(
        isinstance(classes, list) and all(isinstance(name, str) for name in classes) for classes in value.values()
    )
    if not plain:
        raise ConfigError(f"{where}: labels is {value!r}, expected an object of lists of names")
    return dict(value)
