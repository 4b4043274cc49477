"""How well likelihood tells strange inputs from usual ones: what the recipes' detect.py have in common."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqgen.inference.detect import area_under_roc
from seqgen.pipeline import Pipeline

RARE = 0.05
"""The share of usual inputs that one is ready to take for strange."""


def scores(pipeline: Pipeline, items: list[Any], background: Pipeline | None = None) -> dict[str, Tensor]:
    """What is low for strange items, by name, each (N,) float64: p-values, and the likelihood ratio."""
    totals = pipeline.totals(items)
    found = {
        "p-value": [pipeline.p_value(total) for total in totals],
        "two-sided": [pipeline.p_value(total, side="both") for total in totals],
    }
    if background is not None:
        found["ratio"] = pipeline.ratios(items, background)
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in found.items()}


def header(usual: dict[str, Tensor]) -> list[str]:
    """What the cells of `figures` are called."""
    return [*(f"AUC, {name}" for name in usual), *(f"{name} < {RARE}" for name in usual if name != "ratio")]


def figures(found: dict[str, Tensor], usual: dict[str, Tensor]) -> list[str]:
    """Cells: areas under the ROC curve against usual items, and the shares of p-values that are small."""
    areas = [f"{area_under_roc(found[name], usual[name]):.3f}" for name in usual]
    return [*areas, *(f"{float((found[name] < RARE).double().mean()):.1%}" for name in usual if name != "ratio")]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the first one their names, as Markdown."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
