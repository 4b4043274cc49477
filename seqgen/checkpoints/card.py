"""The card of a model: what it is, what it learnt from, how, how well, and what it says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqgen.checkpoints.folder import MANIFEST, WEIGHTS, Contents, read
from seqgen.codec import Codec
from seqgen.config import build

FENCE = "~~~~"


def card(name: str, folder: Path) -> str:
    """Markdown about the model in a checkpoint folder; facts that its provenance lacks are left out.

    Raises CheckpointError for a damaged folder. The classes that it names must be imported.
    """
    contents = read(folder)
    provenance = contents.config.get("provenance") or {}
    sections = [f"# {name}", _list(_facts(folder, contents, provenance))]
    sections += list(_held_out(provenance.get("held_out") or {}))
    sections += list(_samples(provenance.get("samples") or []))
    return "\n\n".join(sections) + "\n"


def _facts(folder: Path, contents: Contents, provenance: dict[str, Any]) -> dict[str, str]:
    stored, labels = provenance.get("stored") or {}, contents.config.get("labels") or {}
    model, codec = contents.config["model"], contents.config["codec"]
    weights = json.loads((folder / MANIFEST).read_text())[WEIGHTS]
    size = build(codec, Codec).size
    facts = {
        "model": f"{model['class_path']}: {_arguments(model['init_args'])}",
        "parameters": _number(provenance.get("parameters")),
        "symbols": f"{codec['class_path']}, {size or 'numbers'}",
        "labels": "; ".join(f"{label}: {', '.join(classes)}" for label, classes in labels.items()),
        "data": str(provenance.get("data") or ""),
        "licence of the data": str(provenance.get("licence") or ""),
        "SHA-256 of the data": _code(provenance.get("data_sha256")),
        "trained by": _code(provenance.get("command")),
        "training": ", ".join(_training(provenance)),
        "weights": _weights(stored),
        "p-values": _calibrated(contents),
        "SHA-256 of the weights": _code(weights),
        "size": f"{(folder / WEIGHTS).stat().st_size / 1e6:.2f} MB",
    }
    return {fact: value for fact, value in facts.items() if value}


def _weights(stored: dict[str, Any]) -> str:
    """How weights are stored and, where there was data to measure it, what that costs."""
    if not stored or stored["bits"] is None:
        return str(stored.get("dtype", ""))
    return f"{stored['dtype']}, which costs {round(stored['bits'], 5) + 0:.5f} bits a symbol"


def _calibrated(contents: Contents) -> str:
    count = 0 if contents.calibration is None else len(contents.calibration["symbols"])
    return f"ranks among {count:,} held-out items" if count else ""


def _training(provenance: dict[str, Any]) -> Iterator[str]:
    for value, text in (
        (provenance.get("step"), "{:,} steps"),
        (provenance.get("seconds"), "{:,.0f} s"),
        (provenance.get("seed"), "seed {}"),
        (provenance.get("seqgen"), "seqgen {}"),
        (provenance.get("torch"), "torch {}"),
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
