"""Evaluation of likelihood-based anomaly detection, shared by the detect.py of several recipes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqgen.inference.detect import Calibration, area_under_roc, p_value
from seqgen.pipeline import Pipeline

ALPHA = 0.05
"""Significance level: p-values below it count as detections."""


def scores(pipeline: Pipeline, items: list[Any], background: Pipeline | None = None) -> dict[str, Tensor]:
    """Scores of N items that are low for anomalies, each (N,) float64: p-values, and likelihood ratios."""
    totals = pipeline.totals(items)
    found = {
        "p-value": [pipeline.p_value(total) for total in totals],
        "two-sided": [pipeline.p_value(total, side="both") for total in totals],
    }
    if background is not None:
        found["ratio"] = pipeline.ratios(items, background)
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in found.items()}


def header(usual: dict[str, Tensor]) -> list[str]:
    """Column names of the cells of `figures`."""
    return [*(f"AUC, {name}" for name in usual), *(f"{name} < {ALPHA}" for name in usual if name != "ratio")]


def figures(found: dict[str, Tensor], usual: dict[str, Tensor]) -> list[str]:
    """Table cells: AUC of each score against the scores of in-distribution items, and fractions of p-values < ALPHA."""
    areas = [f"{area_under_roc(found[name], usual[name]):.3f}" for name in usual]
    return [*areas, *(f"{float((found[name] < ALPHA).double().mean()):.1%}" for name in usual if name != "ratio")]


def by_length(calibration: Calibration, items: Calibration, repeats: int = 40, least: int = 10) -> list[list[str]]:
    """Rows of cells: for each length that `least` items have, and for all items, the share of small p-values.

    `items` are scored as the calibration set is, with as many versions, and chose neither the weights nor that set. The
    share is given for the calibration set, with twice the standard deviation that a share of independent items has
    around 5 % by the chance of both sets; and as the mean over calibration sets that are drawn, `repeats` times and of
    the same size, from both sets together, the rest being tested.
    """
    versions, size = len(calibration.scores), len(calibration.symbols)
    both = Calibration(
        torch.cat([calibration.scores, items.scores], 1), torch.cat([calibration.symbols, items.symbols])
    )
    random = torch.Generator().manual_seed(1)
    small, tested = torch.zeros(both.scores.shape), torch.zeros(len(both.symbols))
    for _ in range(repeats):
        order = torch.randperm(len(both.symbols), generator=random)
        rest = order[size:]
        small[:, rest] += rare(_part(both, order[:size]), _part(both, rest)).float()
        tested[rest] += 1
    found = rare(calibration, items).float()
    heads = (["p-value", "mean", "p-value given labels", "mean"])[: 2 * versions]
    rows = [["symbols", "items", "expected", *heads]]
    lengths, counts = items.symbols.unique(return_counts=True)
    for length in [*lengths[counts >= least].tolist(), None]:
        chosen, pooled = (
            torch.ones_like(one, dtype=torch.bool) if length is None else one == length
            for one in (items.symbols, both.symbols)
        )
        weight = size if length is None else float(calibration.peers(length)[1].sum())
        count = int(chosen.sum())
        spread = 2 * (ALPHA * (1 - ALPHA) * (1 / count + 1 / weight)) ** 0.5
        shares = (
            f"{float(share):.1%}"
            for version in range(versions)
            for share in (found[version, chosen].mean(), small[version, pooled].sum() / tested[pooled].sum())
        )
        rows.append(
            ["all" if length is None else f"{length:.0f}", f"{count:,}", f"{ALPHA:.0%} ± {spread:.1%}", *shares]
        )
    return rows


def rare(calibration: Calibration, items: Calibration) -> Tensor:
    """Which items have p-values of at most 0.05 in each version: (V, N) bool."""
    found = torch.zeros(items.scores.shape, dtype=torch.bool)
    for version in range(len(found)):
        for length in items.symbols.unique().tolist():
            held_out, weights = calibration.peers(length, version > 0)
            for place in (items.symbols == length).nonzero()[:, 0].tolist():
                found[version, place] = p_value(items.scores[version, place].item(), held_out, weights=weights) <= ALPHA
    return found


def _part(calibration: Calibration, places: Tensor) -> Calibration:
    return Calibration(calibration.scores[:, places], calibration.symbols[places])


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of rows of cells; the first row is the header."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
