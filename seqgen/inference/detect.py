"""Likelihood as a detector: how usual an input is among held-out ones, and the most usual input near by."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor

from seqgen.config import SeqgenError
from seqgen.inference.score import evaluating, jacobian, score_batch
from seqgen.model import Batch, Carry, Context, Model, arranged

Side = Literal["low", "both"]
"""Which inputs are strange: those of low likelihood, or those of unusual likelihood, be it low or high."""

ALIKE = 1.25
"""Items whose lengths differ by less than this factor are of like length."""
FEW = 200
"""Held-out items that an input is ranked among at least, were they of other lengths, as far as there are so many."""
SAME = 1e-6
"""Scores per symbol closer than this, for their size, are the same: batches round otherwise."""
MOST = 1000
"""Items of a calibration, or of each length where a long text is cut into some."""


@dataclass(frozen=True)
class Calibration:
    """Held-out items that an input is ranked among: of each log p per symbol in nats, and its number of symbols.

    `scores` (V, N) float64 holds V versions: without labels, and, where a model has any, given the item's own labels.
    `symbols` (N,) float64 are lengths, the end symbol counted where there is one. Raises SeqgenError for other shapes,
    for no items, and for what are no numbers.

    Log p of a sequence falls with its length, so it is taken per symbol; and it varies the less, the longer the
    sequence is, so an input is ranked among items of like length: within a factor of 1.25, or the 200 nearest where
    there are fewer. For items that all have as many symbols this is the rank of log p itself.
    """

    scores: Tensor
    symbols: Tensor

    def __post_init__(self) -> None:
        if self.scores.ndim != 2 or self.symbols.ndim != 1 or not 0 < len(self.symbols) == self.scores.shape[1]:
            shapes = f"{tuple(self.scores.shape)} scores and {tuple(self.symbols.shape)} lengths"
            raise SeqgenError(f"calibration has {shapes}, expected (versions, N) and (N,), one item or more")
        if bool(self.scores.isnan().any()) or not bool((self.symbols >= 1).all()):
            raise SeqgenError("calibration holds scores that are not numbers, or lengths below 1")

    def peers(self, symbols: float, labelled: bool = False) -> Tensor:
        """The scores (M,) of items of like length."""
        apart = (self.symbols.log() - math.log(symbols)).abs()
        nearest = apart.kthvalue(min(FEW, len(apart))).values.item()
        return self.scores[-1 if labelled else 0][apart <= max(nearest, math.log(ALIKE))]

    def p_value(self, score: float, symbols: float, labelled: bool = False, side: Side = "low") -> float:
        """`p_value` of log p per symbol of an input among items of like length."""
        return p_value(score, self.peers(symbols, labelled), side)

    def as_tensors(self) -> dict[str, Tensor]:
        """For a file."""
        return {"scores": self.scores, "symbols": self.symbols}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """From a file. Raises SeqgenError for what is none."""
        if set(tensors) != {"scores", "symbols"}:
            raise SeqgenError(f"calibration holds {sorted(tensors)}, expected scores and symbols")
        return cls(tensors["scores"].double(), tensors["symbols"].double())


def calibrate(
    model: Model, batches: Iterable[Batch], log_jacobian: Tensor | float = 0.0, stride: int = 1
) -> Calibration:
    """Scores of held-out items, each by itself from its first symbol on, as an input is scored.

    Every row of a batch is an item, or, in windows that continue one another, a part of one; of the others each
    `stride`-th is taken. `log_jacobian`, a number or one for each symbol, is that of the codec.
    """
    totals: list[Tensor] = []  # (V, B)
    counts: list[Tensor] = []  # (B,)
    carries: list[Carry | None] = [None, None]
    for batch in _every(batches, stride):
        found = []
        for version, context in enumerate(_versions(batch.context)):
            scored = score_batch(model, batch._replace(context=context), carries[version])
            carries[version] = scored.carry
            found.append((scored.totals + jacobian(log_jacobian, scored.batch.mask)).cpu())
        if batch.window:
            totals[-1], counts[-1] = totals[-1] + torch.stack(found), counts[-1] + batch.mask.sum(1)
        else:
            totals.append(torch.stack(found))
            counts.append(batch.mask.sum(1))
    if not totals:
        raise SeqgenError("there are no held-out items to calibrate on")
    symbols = torch.cat(counts).double()
    return Calibration((torch.cat(totals, 1) / symbols)[:, symbols > 0], symbols[symbols > 0])


def _versions(context: Context | None) -> list[Context | None]:
    """The context without its labels, and with them."""
    if context is None or context.labels is None:
        return [context]
    return [context._replace(labels=torch.zeros_like(context.labels)), context]


def _every(batches: Iterable[Batch], stride: int) -> Iterator[Batch]:
    """Every `stride`-th row, whatever the batches; windows that continue one another stay whole."""
    behind = 0
    for batch in batches:
        if batch.window is not None or stride == 1:
            yield batch
            continue
        kept = torch.arange(-behind % stride, len(batch.x), stride)
        behind += len(batch.x)
        if len(kept):
            yield batch.rows(kept)


def p_value(score: float, held_out: Tensor, side: Side = "low") -> float:
    """The rank of a score among N held-out ones as a p-value (Song et al. 2018, PixelDefend, arXiv:1710.10766).

    `p = (1 + #{held out <= score}) / (N + 1)`. Of an input from where the held-out ones come, p is uniform on
    1/(N+1), 2/(N+1), ... 1, whatever the model: p <= a with probability a at most; scores that differ by no more than
    rounding are equal. Smooth foreign images are likelier
    than the data; `both` finds them, too: twice the smaller of the p-values from below and from above, 1 at most.

    >>> p_value(-2.0, torch.tensor([-1.0, -1.5, -3.0]))
    0.5
    """
    if math.isnan(score):
        raise SeqgenError("the score is not a number")
    if side not in ("low", "both"):
        raise SeqgenError(f"side is {side!r}, expected low or both")
    total, near = len(held_out) + 1, SAME * max(1.0, abs(score)) if math.isfinite(score) else 0.0
    low = (1 + int((held_out <= score + near).sum())) / total
    high = (1 + int((held_out >= score - near).sum())) / total
    return low if side == "low" else min(1.0, 2 * min(low, high))


def likelihood_ratio(log_prob: float, background: float, units: float = 1.0) -> float:
    """`(log p(x) - log p_b(x)) / units` in nats (Ren et al. 2019, arXiv:1906.02845).

    A background model p_b that was trained on perturbed data knows how smooth or how short an input is, and not what
    it shows; of the ratio is left what is peculiar to the data. Low ratios are strange.
    """
    if not units > 0:
        raise SeqgenError(f"units is {units}, expected more than 0")
    return (log_prob - background) / units


def area_under_roc(strange: Tensor, usual: Tensor) -> float:
    """The area under the ROC curve of a score that is low for strange inputs.

    That is the probability that a strange input scores lower than a usual one, ties counted half: 1 where the score
    tells them apart, 0.5 where it does not. Raises SeqgenError for none of either and for what are no numbers.

    >>> area_under_roc(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 3.0]))
    0.875
    """
    if not len(strange) or not len(usual) or bool(strange.isnan().any() | usual.isnan().any()):
        raise SeqgenError("expected scores of strange and of usual inputs, all of them numbers")
    ranks = usual.sort().values
    below, upto = (len(usual) - torch.searchsorted(ranks, strange, right=side).double() for side in (True, False))
    return float((below + upto).mean()) / 2 / len(usual)


@torch.inference_mode()
def purify(model: Model, x: Tensor, radius: int, context: Context | None = None) -> Tensor:
    """The likeliest symbols (B, T) near x (B, T), one after the other (Song et al. 2018, PixelDefend, algorithm 1).

    In the model's order, each symbol becomes the likeliest of those within `radius` levels, given what is purified
    already: `argmax p(k | x'_<t)` over `|k - x_t| <= radius`; ties go to the level that is nearest, then to the lower.
    So no symbol moves by more than `radius`, and none leaves the levels. Symbols may be of any whole type; the result
    is int64. Raises SeqgenError for outputs without levels, for symbols beyond them, and for a radius below 0.
    """
    levels = _levels(model)
    if isinstance(radius, bool) or not isinstance(radius, int) or radius < 0:
        raise SeqgenError(f"radius is {radius!r}, expected a whole number of levels, 0 or more")
    if x.dtype.is_floating_point or (x.numel() and not 0 <= int(x.min()) <= int(x.max()) < levels):
        raise SeqgenError(f"expected whole symbols from 0 to {levels - 1}")
    # To int64 before any sum: 250 + 10 is 4 in uint8.
    order = model.order_number(0)
    x, context = arranged(x.to(model.device, torch.int64), context, order)
    if not x.shape[1]:
        return x
    moves = sorted(range(-radius, radius + 1), key=abs)
    near = torch.tensor(moves, device=x.device).view(-1, 1, 1) + x  # (M, B, T)
    chosen: list[Tensor] = []
    with evaluating(model):
        parameters, state = model.start(len(x), context)
        for candidates in near.unbind(2):
            if chosen:
                rows, state = model.step(chosen[-1].unsqueeze(1), state, context)
                parameters = rows[:, 0]
            chosen.append(_likeliest(model, parameters, candidates, levels))
    found = torch.stack(chosen, 1)
    return found if order is None else order.restore(found)


def _likeliest(model: Model, parameters: Tensor, candidates: Tensor, levels: int) -> Tensor:
    """The first of the likeliest candidates (M, B) that are levels: (B,)."""
    inside = candidates.clamp(0, levels - 1)
    log_probs = model.output(parameters.double()).log_prob(inside).masked_fill(inside != candidates, -torch.inf)
    if bool(log_probs.isnan().any()):
        raise SeqgenError("a log-probability is not a number: the model has diverged, or its weights are damaged")
    return inside.gather(0, log_probs.argmax(0, keepdim=True))[0]


def _levels(model: Model) -> int:
    if model.output.classes is None:
        raise SeqgenError(f"{type(model.output).__name__} has numbers, expected an output of levels to purify")
    return model.output.classes
