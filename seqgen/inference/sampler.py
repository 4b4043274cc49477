"""Samples of items: the symbols drawn behind a prompt, decoded whole or while they are drawn."""

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.utils import _pytree as pytree

from seqgen.codec import Codec
from seqgen.config import SeqgenError
from seqgen.engine import Choice
from seqgen.inference import generate
from seqgen.inference.conditioning import Conditioning, Label
from seqgen.inference.score import evaluating
from seqgen.modality import Modality
from seqgen.model import Context, Model, Order, arranged
from seqgen.output import Sampling


class Beginning(NamedTuple):
    """What B items begin with: the symbols (B, S) of the prompt, the context, and how many symbols are to be drawn."""

    symbols: Tensor
    context: Context | None
    length: int

    @property
    def order(self) -> Order | None:
        """The order in which symbols are drawn, if it is another than the item's own."""
        order = None if self.context is None else self.context.order
        return None if order is None or order.natural else order


class ItemSampler:
    """Draws items with a model, its codec and its conditioning."""

    def __init__(self, model: Model, codec: Codec, modality: Modality, conditioning: Conditioning) -> None:
        self.model, self.codec, self.modality, self.conditioning = model, codec, modality, conditioning

    def beginning(
        self, n: int, prompt: Any, length: int | None, label: Label | list[Label], condition: Any
    ) -> Beginning:
        """Of n items. Raises SeqgenError for arguments that do not go together."""
        symbols, order = self.known(prompt)
        signal = None if condition is None else self.modality.signal(self.codec, condition)
        length = self._length(length, len(symbols), None if signal is None else len(signal))
        for name, value, least in (("n", n, 1), ("length", length, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SeqgenError(f"{name} is {value!r}, expected a whole number of {least} or more")
        if signal is not None and len(symbols) + length > len(signal):
            raise SeqgenError(
                f"got a prompt of {len(symbols)} symbols and {length} to be drawn, expected at most the {len(signal)} "
                "of the sound to be conditioned on"
            )
        context = self.conditioning.context(label, n, None if signal is None else [signal])
        context = context if order is None else (context or Context())._replace(order=order)
        return Beginning(symbols.expand(n, -1), self.placed(context), length)

    def sample(
        self,
        beginning: Beginning,
        sampling: Sampling,
        seed: int | None,
        engine: Choice,
        watch: Callable[[int, int], None] | None,
        report: Callable[[str], None] | None,
    ) -> list[Any]:
        """The items, each up to the end symbol or of the given number of symbols."""
        prompts, context, length = beginning
        noise = generate.Noise(len(prompts), length, checked_seed(seed))
        end = self.codec.end
        with evaluating(self.model):
            drawn = generate.sample(self.model, noise, sampling, context, prompts, end, watch, engine, report)
        whole = torch.cat([prompts, drawn.cpu()], 1)
        if beginning.order is not None:
            whole = beginning.order.restore(whole.to(drawn.device)).cpu()
        return [self.codec.decode(row) for row in whole]

    def stream(
        self,
        beginning: Beginning,
        sampling: Sampling,
        seed: int | None,
        engine: Choice,
        report: Callable[[str], None] | None,
    ) -> list[Iterator[Any]]:
        """The pieces of every item, in step; all of them at the end where the order is not the item's own."""
        prompts, context, length = beginning
        noise = generate.Noise(len(prompts), length, checked_seed(seed))

        def drawn() -> Iterator[Tensor]:
            with evaluating(self.model):
                chunks = generate.chunks(self.model, noise, sampling, context, prompts, None, engine, report)
                columns = itertools.chain(prompts.unbind(1), generate.columns(chunks))
                if beginning.order is None:
                    yield from columns
                else:
                    whole = torch.stack([column.to(self.model.device) for column in columns], 1)
                    yield from beginning.order.restore(whole).unbind(1)

        def item(place: int, columns: Iterator[Tensor]) -> Iterator[Any]:
            return self.codec.stream(column[place].item() for column in columns)

        return list(map(item, range(len(prompts)), itertools.tee(drawn(), len(prompts))))

    def next_probs(self, prefix: Any, label: Label, sampling: Sampling) -> dict[str, float]:
        """The probability of every symbol that may follow a prefix, by its readable name, the likeliest first."""
        prompts, context, _ = self.beginning(1, prefix, None, label, None)
        with torch.inference_mode(), evaluating(self.model):
            parameters, state = self.model.start(1, context)
            if prompts.shape[1]:
                rows, _ = self.model.step(prompts.to(self.model.device), state, context)
                parameters = rows[:, -1]
            distribution = self.model.output(parameters.double(), sampling)
            support = distribution.enumerate_support(expand=False)
            probs = distribution.log_prob(support).exp().flatten().cpu()
        names = self.codec.names(support.flatten().cpu())
        return dict(sorted(zip(names, probs.tolist(), strict=True), key=lambda pair: -pair[1]))

    def conditionals(
        self, x: Tensor, label: Label, prompt: Any, sampling: Sampling
    ) -> tuple[Distribution, Callable[[Tensor], Tensor]]:
        """The distribution (1, T) of every symbol of x (T,) given those before it, and what undoes its order."""
        _, order = self.known(prompt)
        context = self.placed(self.conditioning.context(label, 1))
        y, context = arranged(x.to(self.model.device).unsqueeze(0), context, order)
        with torch.inference_mode(), evaluating(self.model):
            distribution = self.model.output(self.model(y, context).double(), sampling)
        return distribution, (lambda rows: rows) if order is None else order.restore

    def known(self, prompt: Any) -> tuple[Tensor, Order | None]:
        """The symbols (S,) of a prompt, and the order in which the others follow, None for models without orders."""
        if prompt is None:
            return torch.zeros(0, dtype=self.model.output.dtype), self.model.order_number(0)
        places, symbols = self.codec.partial(prompt)
        order = self.model.order_starting_with(places)
        if order is None:
            if not torch.equal(places, torch.arange(len(places))):
                raise SeqgenError("the model continues the beginning of an item, and the prompt is another part of one")
            return symbols, None
        return symbols[torch.argsort(order.ranks.cpu()[places])], order

    def placed(self, context: Context | None) -> Context | None:
        """The context on the model's device."""
        device = self.model.device
        moved: Context | None = pytree.tree_map_only(Tensor, lambda tensor: tensor.to(device), context)
        return moved

    def _length(self, length: int | None, known: int, conditioned: int | None) -> int:
        """How many symbols are to be drawn."""
        if self.codec.length is None:
            usual = self.codec.usual_length if conditioned is None else max(0, conditioned - known)
            return usual if length is None else length
        rest = self.codec.length - known
        if length not in (None, rest):
            raise SeqgenError(f"length is {length!r}, expected {rest}: every item has {self.codec.length} symbols")
        return rest


def checked_seed(seed: int | None) -> int:
    """The seed, or a random one for None. Raises SeqgenError unless it is from 0 to 2^63 - 1."""
    seed = random.SystemRandom().getrandbits(31) if seed is None else seed
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise SeqgenError(f"seed is {seed!r}, expected a whole number from 0 to 2^63 - 1")
    return seed
