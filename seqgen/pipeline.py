"""A trained model with its codec: what users load to sample and score."""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

# Not by name: importing them registers the classes that a checkpoint may name.
import seqgen.codecs
import seqgen.models
import seqgen.outputs  # noqa: F401
from seqgen.checkpoints import folder as checkpoint
from seqgen.checkpoints.folder import CheckpointError
from seqgen.codec import Codec
from seqgen.config import ConfigError, SeqgenError, build, describe
from seqgen.inference import generate
from seqgen.inference.conditioning import Label
from seqgen.inference.detect import Calibration
from seqgen.inference.scorer import Scorer
from seqgen.media.audio import Clip
from seqgen.media.mel import LogMel
from seqgen.model import Context, Model, Order
from seqgen.output import Sampling


class Pipeline(Scorer):
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
        super().__init__(model, codec, labels, features)
        self.provenance = dict(provenance or {})
        self.calibration = calibration

    @classmethod
    def from_pretrained(cls, path: str | Path, device: str | torch.device = "cpu") -> Self:
        """The pipeline in a run folder or a model folder, or the bundled one of that name.

        Raises CheckpointError: which file, and what is wrong; SeqgenError for a device that is not here.
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
        SeqgenError for bad arguments.
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
            raise SeqgenError(f"n is {n}, expected None: items of their own length are streamed one by one")
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
        symbols, order = self.known(prompt)
        sound = None if condition is None else self.sound(condition)
        length = self._length(length, len(symbols), sound)
        for name, value, least in (("n", n, 1), ("length", length, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SeqgenError(f"{name} is {value!r}, expected a whole number of {least} or more")
        if sound is not None and len(symbols) + length > len(sound.samples):
            raise SeqgenError(
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
            raise SeqgenError(f"length is {length!r}, expected {rest}: every item has {self.codec.length} symbols")
        return rest

    def known(self, prompt: Any) -> tuple[Tensor, Order | None]:
        """The symbols (S,) of a prompt, and the order in which the others follow, None for models without orders."""
        if prompt is None:
            return torch.zeros(0, dtype=self.model.output.dtype), self.model.order_number(0)
        places, symbols = self.codec.partial(prompt)
        order = self.model.order_starting_with(places)
        if order is None:
            if not torch.equal(places, torch.arange(len(places))):
                raise SeqgenError("the model goes on behind the beginning of an item, and the prompt is another part")
            return symbols, None
        return symbols[torch.argsort(order.ranks.cpu()[places])], order


def load(path: str | Path, device: str | torch.device = "cpu") -> Pipeline:
    """The pipeline in a run or model folder, or a bundled one: `seqgen.load("names").score("Maria")`."""
    return Pipeline.from_pretrained(path, device)


def _seed(seed: int | None) -> int:
    seed = random.SystemRandom().getrandbits(31) if seed is None else seed
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise SeqgenError(f"seed is {seed!r}, expected a whole number from 0 to 2^63 - 1")
    return seed


def _device(name: str | torch.device) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter from a torch without CUDA
        raise SeqgenError(f"device {str(name)!r} cannot be used here: {str(error).partition(chr(10))[0]}") from None
    if device.type == "mps":
        raise SeqgenError("device mps has no float64, in which seqgen scores and samples; use cpu")
    return device


def _labels(value: Any, where: str) -> dict[str, list[str]]:
    plain = isinstance(value, dict) and all(
        isinstance(classes, list) and all(isinstance(name, str) for name in classes) for classes in value.values()
    )
    if not plain:
        raise ConfigError(f"{where}: labels is {value!r}, expected an object of lists of names")
    return dict(value)
