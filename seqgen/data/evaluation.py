"""Held-out scores of a run, on the data module that trained it."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml

from seqgen import sounds
from seqgen.checkpoints.folder import CheckpointError, find
from seqgen.codecs.sound import Sound
from seqgen.config import SeqgenError
from seqgen.data.corpus import lines, locate, read
from seqgen.inference.conditioning import Label
from seqgen.inference.detect import Calibration
from seqgen.inference.score import Scores, Total, ensemble
from seqgen.model import Batch, Carry, arranged
from seqgen.pipeline import Pipeline, load

if TYPE_CHECKING:
    from seqgen.data.module import DataModule


def evaluate(
    run: str | Path, path: str | None = None, device: str = "cpu", encoding: str | None = None, orders: int = 1
) -> dict[str, Total]:
    """Totals of the validation part, the test part and both, as the run's config.yaml splits and weights its data.

    With `path` all of that file is held out, under the name "file": read as the run reads its own data, or, where
    `run` is a model folder, each line an item if the model knows an end, else one long text, or one sound. `encoding`
    is that of a file of text, None for the run's own; vectors are scored under the mixture of the model's first
    `orders` factorisations. Raises CheckpointError when there is no config.yaml, DataError
    for data, SeqgenError for an encoding of sound.
    """
    pipeline = load(run, device)
    return _evaluate(pipeline, Path(run), path, encoding, orders)


def held_out(pipeline: Pipeline, run: Path) -> dict[str, Total]:
    """Totals of a run's held-out data under a pipeline that need not be the run's own, such as one of rounded weights.

    Raises what `evaluate` raises.
    """
    return _evaluate(pipeline, run)


def _evaluate(
    pipeline: Pipeline, run: Path, path: str | None = None, encoding: str | None = None, orders: int = 1
) -> dict[str, Total]:
    if encoding is not None and (isinstance(pipeline.codec, Sound) or pipeline.codec.length is not None):
        raise SeqgenError(f"an encoding is that of texts; the model is one of {type(pipeline.codec).__name__}")
    if orders < 1:
        raise SeqgenError(f"orders is {orders}, expected 1 or more")
    if path is not None and not (run / "config.yaml").is_file():
        return {"file": sum((scores.total for scores in _scores(pipeline, path, encoding or "utf-8")), Total())}
    data = opened(pipeline, run, path, encoding)
    if path is not None:
        return {"file": _total(pipeline, iter(data.everything()), orders)}
    loaders = {"val": data.val_dataloader(), "test": data.test_dataloader()}
    totals = {part: _total(pipeline, iter(loader), orders) for part, loader in loaders.items() if len(loader)}
    return {**totals, "held out": sum(totals.values(), Total())}


def calibrate(run: str | Path, device: str = "cpu") -> Calibration:
    """Score the validation part of a run and keep that with its model, so that inputs can be ranked among it.

    Raises CheckpointError when there is no config.yaml, or the data is another.
    """
    pipeline = load(run, device)
    pipeline.calibration = opened(pipeline, run).calibration(pipeline.model)
    pipeline.save_pretrained(find(run))
    return pipeline.calibration


def opened(pipeline: Pipeline, run: str | Path, path: str | None = None, encoding: str | None = None) -> "DataModule":
    """The data of a run, as it was split in training; or another file, read alike. Raises what `evaluate` raises."""
    from seqgen.training.fit import data_module  # and with it Lightning, which takes seconds

    told = description(Path(run))
    if encoding is not None:
        told["init_args"]["encoding"] = encoding
    data = data_module(told)
    data.codec = pipeline.codec
    if path is not None:
        data.hold_out(path, pipeline.codec, pipeline.labels)
    data.prepare_data()
    data.setup("test")
    if path is None and data.sha256 != pipeline.provenance.get("data_sha256"):
        raise CheckpointError(f"the data of {run} changed since it was trained: which part was held out is not known")
    return data


def _scores(pipeline: Pipeline, path: str, encoding: str) -> Iterator[Scores]:
    if isinstance(pipeline.codec, Sound):
        return sounds.parts(pipeline, path)
    return (scores for _, scores in file_scores(pipeline, path, encoding))


def description(run: Path) -> dict[str, Any]:
    """The data module of a run, as its config.yaml says, which is the user's own program, as in training."""
    config = run / "config.yaml"
    if not config.is_file():
        raise CheckpointError(f"{config} is not there; expected a run folder, or --data.path FILE")
    told: dict[str, Any] = yaml.safe_load(config.read_text())["data"]
    return told


def file_scores(
    pipeline: Pipeline, path: str | Path, encoding: str = "utf-8", label: Label = None, end: bool = True
) -> Iterator[tuple[str | None, Scores]]:
    """Scores of a file of any size, in constant memory.

    Where sequences have an end, each line that is not empty with its score; else the consecutive parts, named None,
    of the file as one long text.
    """
    if pipeline.codec.length is not None:
        raise SeqgenError(f"{path} is no text, expected items without --file, or seqgen evaluate RUN --data.path FILE")
    pieces = read(locate(str(path))[0], encoding)
    if pipeline.codec.end is None:
        yield from ((None, part) for part in pipeline.score_pieces(pieces, label=label, end=end))
        return
    items = (line for line in lines(pieces) if line)
    while group := list(islice(items, 1024)):
        yield from zip(group, pipeline.score(group, label=label, end=end), strict=True)


@torch.inference_mode()
def _total(pipeline: Pipeline, batches: Iterator[Batch], orders: int = 1) -> Total:
    model, total = pipeline.model, Total(unit=pipeline.codec.unit)
    carry: Carry | None = None
    for batch in batches:
        x, mask, context, weight, window = batch.to(model.device)
        weights = (mask if weight is None else mask * weight.unsqueeze(1)).double()
        if orders > 1:
            nats = -float((ensemble(model, x, context, orders) * weights[:, 0]).sum())
        else:
            y, context = arranged(x, context, model.order_number(0))
            rows, carry = model.advance(y, carry if window else None, context)
            nats = -float((model.output(rows.double()).log_prob(y) * weights).sum())
        log_jacobian = torch.as_tensor(pipeline.codec.log_jacobian, dtype=torch.float64, device=x.device)
        nats -= float((log_jacobian * weights).sum())
        lengths = pipeline.codec.lengths(x.cpu()).to(x.device)
        units = float((lengths * weights).sum())
        total += Total(nats, float(weights.sum()), units, pipeline.codec.unit)
    return total
