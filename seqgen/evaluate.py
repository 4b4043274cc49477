"""Held-out scores of a run, on the data module that trained it."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import yaml

from seqgen.checkpoint import CheckpointError
from seqgen.data.corpus import lines, locate, read
from seqgen.model import Batch, Carry, Context
from seqgen.pipeline import Label, Pipeline, load
from seqgen.score import Scores, Total

if TYPE_CHECKING:
    from seqgen.data.module import DataModule


def evaluate(run: str | Path, path: str | None = None, device: str = "cpu") -> dict[str, Total]:
    """Totals of the validation part, the test part and both, as the run's config.yaml splits and weights its data.

    With `path` the whole file is held out, under the name "file": each line an item where the model knows an end,
    else one long text. Raises CheckpointError when the run folder has no config.yaml, DataError for data.
    """
    pipeline = load(run, device)
    if path is not None:
        return {"file": sum((scores.total for _, scores in file_scores(pipeline, path)), Total())}
    data = _data(Path(run))
    data.codec = pipeline.codec
    data.prepare_data()
    data.setup("test")
    if data.sha256 != pipeline.provenance.get("data_sha256"):
        raise CheckpointError(f"the data of {run} changed since it was trained: which part was held out is not known")
    loaders = {"val": data.val_dataloader(), "test": data.test_dataloader()}
    totals = {part: _total(pipeline, iter(loader)) for part, loader in loaders.items() if len(loader)}
    return {**totals, "held out": sum(totals.values(), Total())}


def _data(run: Path) -> "DataModule":
    """The data module of a run. Its config.yaml is the user's own program, as in training."""
    from seqgen.fit import data_module

    config = run / "config.yaml"
    if not config.is_file():
        raise CheckpointError(f"{config} is not there; expected a run folder, or --data.path FILE")
    return data_module(yaml.safe_load(config.read_text())["data"])


def file_scores(
    pipeline: Pipeline, path: str | Path, encoding: str = "utf-8", label: Label = None, end: bool = True
) -> Iterator[tuple[str | None, Scores]]:
    """Scores of a file of any size, in constant memory.

    Where sequences have an end, each line that is not empty with its score; else the consecutive parts, named None,
    of the file as one long text.
    """
    pieces = read(locate(str(path))[0], encoding)
    if pipeline.codec.end is None:
        yield from ((None, part) for part in pipeline.score_pieces(pieces, label=label, end=end))
        return
    items = (line for line in lines(pieces) if line)
    while group := list(islice(items, 1024)):
        yield from zip(group, pipeline.score(group, label=label, end=end), strict=True)


@torch.inference_mode()
def _total(pipeline: Pipeline, batches: Iterator[Batch]) -> Total:
    model, total = pipeline.model, Total()
    carry: Carry | None = None
    for batch in batches:
        x, mask = batch.x.to(model.device), batch.mask.to(model.device)
        labels = None if batch.context is None else batch.context.labels
        context = None if labels is None else Context(labels.to(model.device))
        rows, carry = model.advance(x, carry if batch.window else None, context)
        log_prob = model.output(rows.double()).log_prob(x)
        weight = torch.ones(len(x)) if batch.weight is None else batch.weight
        weights = (mask * weight.to(mask.device).unsqueeze(1)).double()
        lengths = pipeline.codec.lengths(x.cpu()).to(mask.device)
        total += Total(-float((log_prob * weights).sum()), float(weights.sum()), float((lengths * weights).sum()))
    return total
