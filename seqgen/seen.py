"""The texts that a model was trained on, to tell what it made up from what it knew."""

from pathlib import Path
from typing import Any

from seqgen.checkpoint import CheckpointError, find
from seqgen.evaluate import description
from seqgen.pipeline import Pipeline

TEXTS = "training.txt"
"""Beside a bundled model: the texts, one a line."""


def seen(path: str | Path, pipeline: Pipeline) -> frozenset[str] | None:
    """The training part of a model of short texts; None where it is not known, and for models of anything else."""
    if (kept := find(path) / TEXTS).is_file():
        return frozenset(kept.read_text(encoding="utf-8").split("\n"))
    try:
        told = description(Path(path))
    except CheckpointError:  # no run folder
        return None
    return _training_part(told, pipeline) if told["class_path"].rpartition(".")[2] == "Lines" else None


def _training_part(told: dict[str, Any], pipeline: Pipeline) -> frozenset[str] | None:
    from seqgen.data.corpus import DataError
    from seqgen.data.lines import Lines
    from seqgen.fit import data_module  # and with it Lightning, which takes seconds

    data = data_module(told)
    data.codec = pipeline.codec
    try:
        data.prepare_data()
        data.setup("test")
    except DataError:  # the file is gone
        return None
    if not isinstance(data, Lines) or data.sha256 != pipeline.provenance.get("data_sha256"):
        return None
    return frozenset(data.texts("train"))
