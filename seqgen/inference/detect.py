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

NEAREST = 7
"""An input is ranked among the 7 sqrt(N) held-out items of nearest length: all of 49 or fewer, 222 of 1,000."""
TINY = 1e-300
"""Keeps a division of 0 by 0 at 0."""
SAME = 1e-6
"""Scores per symbol closer than this, for their size, are the same: batches round otherwise."""
MOST = 1000
"""Items of a calibration set of separate items; stretches of a long text have their own number."""


@dataclass(frozen=True)
class Calibration:
    """Calibration set for p-values: log p per symbol of held-out items in nats, and their lengths in symbols.

    `scores` (V, N) float64 holds V versions: without labels, and, where a model has any, given the item's own labels.
    `symbols` (N,) float64 are lengths, the end symbol counted where there is one. Raises SeqgenError for other shapes,
    for no items, and for NaN.

    Mean and spread of log p per symbol depend on length, so an input of length n is ranked among items of similar
    length: the 7 sqrt(N) nearest in log length. Tricube weights w_i (Cleveland 1979, loess) fall from 1 at the nearest
    to 0 at the first item that is farther than these; without such an item all weights are 1. Two weighted
    least-squares lines in log length, m of the scores and d of the absolute residuals, move each score s_i from its
    length n_i to n, and p is the weighted rank (Guan 2023, localized conformal prediction, arXiv:2106.08460):

        s'_i = m(n) + d(n) / d(n_i) (s_i - m(n_i)),    p = (1 + sum_i w_i [s'_i <= s]) / (1 + sum_i w_i)

    Scores of length n itself do not move. So where enough items have that length, as images do, p is the exact rank
    among them; elsewhere P(p <= a) is a to within the error of the two lines. By chance of the calibration set, P(p <=
    a) varies with a standard deviation of about sqrt(a (1 - a) / sum_i w_i), and p is at least 1 / (1 + sum_i w_i).

    An input shorter or longer than every held-out item is compared with the shortest or longest of them, and its p is
    not calibrated: log p per symbol usually rises with length, which makes p too small for shorter inputs, too large
    for longer ones. It is rough, too, at the shortest and longest of fewer than 100 items of very different lengths,
    whose lines run over all of them.
    """

    scores: Tensor
    symbols: Tensor

    def __post_init__(self) -> None:
        if self.scores.ndim != 2 or self.symbols.ndim != 1 or not 0 < len(self.symbols) == self.scores.shape[1]:
            shapes = f"{tuple(self.scores.shape)} scores and {tuple(self.symbols.shape)} lengths"
            raise SeqgenError(f"calibration has {shapes}, expected (versions, N) and (N,), one item or more")
        if bool(self.scores.isnan().any()) or not bool((self.symbols >= 1).all()):
            raise SeqgenError("calibration holds scores that are not numbers, or lengths below 1")

    def peers(self, symbols: float, labelled: bool = False) -> tuple[Tensor, Tensor]:
        """Scores s'_i (M,) of the items of similar length, moved to the length `symbols`, and their weights w_i (M,).

        Infinite scores do not move, and the lines are fitted without them.
        """
        length = min(max(symbols, self.symbols.min().item()), self.symbols.max().item())
        apart = (self.symbols / length).log()  # exactly 0 at the length itself
        weights = _tricube(apart.abs(), math.ceil(NEAREST * math.sqrt(len(apart))))
        apart, weights, scores = (
            one[weights > 0].double() for one in (apart, weights, self.scores[-1 if labelled else 0])
        )
        known = scores.isfinite()
        mean, slope = _line(apart[known], scores[known], weights[known])
        residuals = scores - mean - slope * apart
        sizes = residuals[known].abs()
        spread, change = _line(apart[known], sizes, weights[known])
        # A straight line may reach 0; a spread does not.
        least = max(0.25 * float(weights[known] @ sizes) / max(float(weights[known].sum()), TINY), TINY)
        moved = mean + residuals * (max(spread, least) / (spread + change * apart).clamp(min=least))
        return torch.where(apart == 0, scores, moved), weights

    def p_value(self, score: float, symbols: float, labelled: bool = False, side: Side = "low") -> float:
        """p-value of an input with `score` nats of log p per symbol and `symbols` symbols, as the class defines it."""
        held_out, weights = self.peers(symbols, labelled)
        return p_value(score, held_out, side, weights)

    def as_tensors(self) -> dict[str, Tensor]:
        """For a file."""
        return {"scores": self.scores, "symbols": self.symbols}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """From a file. Raises SeqgenError for what is none."""
        if set(tensors) != {"scores", "symbols"}:
            raise SeqgenError(f"calibration holds {sorted(tensors)}, expected scores and symbols")
        return cls(tensors["scores"].double(), tensors["symbols"].double())


def _tricube(distance: Tensor, count: int) -> Tensor:
    """Weights (N,): 1 at the nearest item, 0 from the first that is farther than the `count` nearest; else 1."""
    farther = distance[distance > distance.kthvalue(min(count, len(distance))).values]
    if not len(farther):
        return torch.ones_like(distance)
    weights: Tensor = (1 - (distance / farther.min()).clamp(max=1) ** 3) ** 3
    return weights / weights.max()


def _line(x: Tensor, y: Tensor, weights: Tensor) -> tuple[float, float]:
    """Value at x = 0 and slope of the weighted least-squares line; the slope is 0 where all x are the same."""
    total = max(float(weights.sum()), TINY)
    centre, mean = float(weights @ x) / total, float(weights @ y) / total
    variance = float(weights @ (x - centre) ** 2) / total
    slope = float(weights @ ((x - centre) * y)) / total / variance if variance > 1e-9 else 0.0
    return mean - slope * centre, slope


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


def p_value(score: float, held_out: Tensor, side: Side = "low", weights: Tensor | None = None) -> float:
    """The rank of a score among N held-out ones as a p-value (Song et al. 2018, PixelDefend, arXiv:1710.10766).

    `p = (1 + #{held out <= score}) / (N + 1)`, or with `weights` (N,) `(1 + sum of those weights) / (1 + sum of all)`.
    Without weights, and for an input from the distribution of the held-out items, p is uniform on 1/(N+1), 2/(N+1),
    ... 1 whatever the model: P(p <= a) <= a. Scores within rounding of each other are ties. Smooth images from other
    data sets can be likelier than the data; `both` finds them, too: twice the smaller of the p-values from below and
    from above, 1 at most.

    >>> p_value(-2.0, torch.tensor([-1.0, -1.5, -3.0]))
    0.5
    """
    if math.isnan(score):
        raise SeqgenError("the score is not a number")
    if side not in ("low", "both"):
        raise SeqgenError(f"side is {side!r}, expected low or both")
    if weights is None:
        weights = torch.ones(len(held_out), dtype=torch.float64)
    total, near = 1 + float(weights.sum()), SAME * max(1.0, abs(score)) if math.isfinite(score) else 0.0
    low = (1 + float(weights[held_out <= score + near].sum())) / total
    high = (1 + float(weights[held_out >= score - near].sum())) / total
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
