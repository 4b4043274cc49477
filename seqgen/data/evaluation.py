"""Held-out scores of a run."""

from pathlib import Path
from typing import Any, NamedTuple

from seqgen.checkpoints.card import card
from seqgen.checkpoints.folder import WEIGHTS, find
from seqgen.codec import Unknown, UnknownSymbol
from seqgen.config import SeqgenError
from seqgen.data.loader import Loader
from seqgen.data.runs import open_data, open_other
from seqgen.inference.detect import Calibration
from seqgen.inference.items import score_items
from seqgen.inference.score import Total, score
from seqgen.media.files import write_atomically
from seqgen.modality import Modality, sum_totals
from seqgen.pipeline import Pipeline, load


class Evaluation(NamedTuple):
    """Totals by part, what was skipped and why, and the modality, which knows how totals are printed."""

    totals: dict[str, Total]
    skipped: list[str]
    modality: Modality


def evaluate(
    run: str | Path,
    path: str | None = None,
    device: str = "cpu",
    encoding: str | None = None,
    orders: int = 1,
    unknown: Unknown | None = None,
) -> Evaluation:
    """Totals of the validation, calibration and test parts and of all three, as the run splits and weights its data.

    With `path` all of that file is scored, under the name "file": read as the run reads its own data, or, where `run`
    is a model folder, as the modality reads a file. `encoding` is that of a file of text, None for the run's own;
    `unknown` says what becomes of what has no symbol. Vectors are scored under the mixture of the model's first
    `orders` factorisations. Raises CheckpointError when there is no config.yaml, DataError for data.
    """
    pipeline, run = load(run, device), Path(run)
    if orders < 1:
        raise SeqgenError(f"orders is {orders}, expected 1 or more")
    if path is None:
        if encoding is not None or unknown is not None:
            raise SeqgenError("encoding and unknown are those of another file; expected a path")
        return Evaluation(held_out(pipeline, run, orders), [], pipeline.modality)
    if not (run / "config.yaml").is_file():
        return _file(pipeline, Path(path), encoding, orders, unknown)
    data = open_other(pipeline, run, path, encoding, unknown)
    return Evaluation({"file": total(pipeline, data.everything(), orders)}, data.skipped, pipeline.modality)


def held_out(pipeline: Pipeline, run: Path, orders: int = 1) -> dict[str, Total]:
    """Totals of a run's held-out parts under a pipeline that need not be the run's own, such as one of rounded weights.

    Raises what `evaluate` raises.
    """
    data = open_data(pipeline, run)
    loaders = {part: data.held_out(part) for part in ("val", "calibration", "test")}
    totals = {part: total(pipeline, loader, orders) for part, loader in loaders.items() if len(loader)}
    if not totals:
        raise SeqgenError(f"{run} holds no data out of training: there is nothing to evaluate")
    return {**totals, "held out": sum_totals(totals.values())}


def total(pipeline: Pipeline, batches: Loader, orders: int = 1) -> Total:
    """The score of all batches."""
    scored = score(pipeline.model, batches, orders=orders)
    return sum_totals(one.total(pipeline.codec) for one in scored)


def calibrate(run: str | Path, device: str = "cpu") -> Calibration:
    """Score the calibration part of a run and keep the scores with its model, so that inputs can be ranked among them.

    Raises CheckpointError when there is no config.yaml, or the data changed; SeqgenError for an empty part.
    """
    pipeline = load(run, device)
    calibration = open_data(pipeline, Path(run)).calibration(pipeline.model)
    if calibration is None:
        raise SeqgenError(f"{run} has no items to calibrate on: a larger share val has")
    pipeline.calibration = calibration
    pipeline.save_pretrained(find(run))
    return calibration


def round_weights(run: str | Path, out: Path, kind: str, device: str = "cpu") -> dict[str, Any]:
    """Write the model of a run with rounded weights as a model folder, calibrated anew; facts about it.

    `bits` is what the rounding costs on the run's held-out data; where there are none, as for a model folder or where
    they have moved, it is None, `unmeasured` says why, and the model has no calibration. Raises SeqgenError for a place
    that is taken.
    """
    if out.exists() or not out.absolute().parent.is_dir():
        raise SeqgenError(f"got {str(out)!r} as the folder to write, expected a new one in a folder that is there")
    pipeline = load(run, device)
    rounded, bits, unmeasured = pipeline.rounded(kind), None, None
    rounded.provenance.pop("held_out", None)  # which is that of the other weights
    try:
        before, after = (held_out(one, Path(run)) for one in (pipeline, rounded))
    except (SeqgenError, OSError) as error:  # whatever a user's data may raise
        unmeasured = str(error)
    else:
        bits = after["held out"].bits_per_symbol - before["held out"].bits_per_symbol
        rounded.calibration = open_data(rounded, Path(run)).calibration(rounded.model)
        rounded.provenance["held_out"] = {part: total.as_dict() for part, total in after.items()}
    rounded.provenance |= {"stored": {"dtype": kind, "bits": bits}, "samples": []}
    rounded.save_pretrained(out, kind)
    write_atomically(out / "card.md", card(out.name, out).encode())
    return {"dtype": kind, "bits": bits, "unmeasured": unmeasured, "bytes": (out / WEIGHTS).stat().st_size}


def _file(pipeline: Pipeline, path: Path, encoding: str | None, orders: int, unknown: Unknown | None) -> Evaluation:
    """A file without a run to say how it is read."""
    if orders > 1:
        raise SeqgenError(
            f"orders is {orders}; only a run folder, which says how a file is read, scores it under several"
        )
    skipped: list[str] = []
    found: list[Total] = []
    for outcome in score_items(
        pipeline, pipeline.modality.items(pipeline.codec, path, encoding), unknown=unknown, dropped=skipped
    ):
        if outcome.wrong is None:
            found += [part.total for part in outcome.parts]
        elif unknown == "skip":
            skipped.append(f"{outcome.where}: {outcome.wrong}")
        else:
            raise UnknownSymbol(f"{path}, {outcome.where}: {outcome.wrong}") from outcome.wrong
    if not found:
        raise SeqgenError(f"{path} holds nothing to score")
    return Evaluation({"file": sum_totals(found)}, skipped, pipeline.modality)
