"""Evaluation of likelihood-based anomaly detection, shared by the detect.py of several recipes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqgen.inference.detect import area_under_roc
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


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of rows of cells; the first row is the header."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
