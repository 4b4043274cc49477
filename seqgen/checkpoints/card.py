"""The card of a model: what it is, what it learnt from, how, how well, and what it says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqgen.checkpoints.folder import MANIFEST, WEIGHTS
from seqgen.config import describe
from seqgen.pipeline import Pipeline

FENCE = "~~~~"


def card(name: str, folder: Path, pipeline: Pipeline) -> str:
    """Markdown about the model in a checkpoint folder; what its provenance does not tell is left out."""
    sections = [f"# {name}", _list(_facts(folder, pipeline))]
    sections += list(_held_out(pipeline.provenance.get("held_out") or {}))
    sections += list(_samples(pipeline.provenance.get("samples") or []))
    return "\n\n".join(sections) + "\n"


def _facts(folder: Path, pipeline: Pipeline) -> dict[str, str]:
    told, stored = pipeline.provenance, pipeline.provenance.get("stored") or {}
    model, codec = describe(pipeline.model), describe(pipeline.codec)
    weights = json.loads((folder / MANIFEST).read_text())[WEIGHTS]
    calibration = pipeline.calibration
    facts = {
        "model": f"{model['class_path']}: {_arguments(model['init_args'])}",
        "parameters": _number(told.get("parameters")),
        "symbols": f"{codec['class_path']}, {pipeline.codec.size or 'numbers'}",
        "labels": "; ".join(f"{label}: {', '.join(classes)}" for label, classes in pipeline.labels.items()),
        "data": str(told.get("data") or ""),
        "licence of the data": str(told.get("licence") or ""),
        "SHA-256 of the data": _code(told.get("data_sha256")),
        "trained by": _code(told.get("command")),
        "training": ", ".join(_training(told)),
        "weights": f"{stored['dtype']}, which costs {round(stored['bits'], 5) + 0:.5f} bits a symbol" if stored else "",
        "p-values": "" if calibration is None else f"ranks among {len(calibration.symbols):,} held-out items",
        "SHA-256 of the weights": _code(weights),
        "size": f"{(folder / WEIGHTS).stat().st_size / 1e6:.2f} MB",
    }
    return {fact: value for fact, value in facts.items() if value}


def _training(told: dict[str, Any]) -> Iterator[str]:
    for value, text in (
        (told.get("step"), "{:,} steps"),
        (told.get("seconds"), "{:,.0f} s"),
        (told.get("seed"), "seed {}"),
        (told.get("seqgen"), "seqgen {}"),
        (told.get("torch"), "torch {}"),
    ):
        if value is not None:
            yield text.format(value)


def _held_out(totals: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What the model makes of data that it was not trained on."""
    if not totals:
        return
    rows = []
    for part, total in totals.items():
        unit = next((f"{value:.3f} {key.replace('_', ' ')}" for key, value in total.items() if _per_unit(key)), "")
        bits = f"{total['nats_per_symbol']:.4f} | {total['bits_per_symbol']:.4f}"
        rows.append(f"| {part} | {total['symbols']:,.0f} | {bits} | {unit} |")
    yield "## On data that it was not trained on"
    yield "\n".join(["| part | symbols | nats a symbol | bits a symbol | |", "| --- | --- | --- | --- | --- |", *rows])


def _per_unit(key: str) -> bool:
    return key.startswith("bits_per_") and key != "bits_per_symbol"


def _samples(samples: list[dict[str, Any]]) -> Iterator[str]:
    if samples:
        yield "## Samples, as they came"
    for sample in samples:
        yield f"`{sample['command']}`"
        yield f"{FENCE}text\n{sample['result']}\n{FENCE}"


def _arguments(arguments: dict[str, Any]) -> str:
    plain = {key: value for key, value in arguments.items() if value is not None and not isinstance(value, dict | list)}
    return ", ".join(f"{key} {value}" for key, value in plain.items())


def _number(value: Any) -> str:
    return "" if value is None else f"{value:,}"


def _code(value: Any) -> str:
    return f"`{value}`" if value else ""


def _list(facts: dict[str, str]) -> str:
    return "\n".join(f"- **{fact}**: {value}" for fact, value in facts.items())
