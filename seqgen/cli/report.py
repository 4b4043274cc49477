"""The commands that report on a model: `seqgen evaluate`, `calibrate` and `info`."""

import argparse
import json
from typing import Any

from seqgen.cli.common import brief, loaded


def evaluate(options: argparse.Namespace) -> None:
    """Print nats and bits of held-out data, or of another file."""
    from seqgen.data.evaluation import evaluate

    totals = evaluate(options.run, options.path, options.device, options.encoding, options.orders)
    if options.json:
        print(json.dumps({part: total.as_dict() for part, total in totals.items()}, indent=2))
        return
    for part, total in totals.items():
        whole = "" if total.unit in ("character", "second") else f", {total.nats_per_unit:.3f} nats/{total.unit}"
        print(f"{brief(total)}  {part}, {total.symbols:.0f} symbols{whole}")


def calibrate(options: argparse.Namespace) -> None:
    """Keep the scores of held-out items with a run's model, and print where they lie."""
    from seqgen.data.evaluation import calibrate

    calibration = calibrate(options.run, options.device)
    scores = calibration.scores[-1]
    low, middle, high = (float(scores.quantile(place)) for place in (0.05, 0.5, 0.95))
    numbers = {"items": len(scores), "nats_per_symbol": {"5 %": -high, "50 %": -middle, "95 %": -low}}
    if options.json:
        print(json.dumps(numbers))
        return
    print(f"{len(scores)} held-out items; nats/symbol {-high:.4f} at 5 %, {-middle:.4f} at 50 %, {-low:.4f} at 95 %")


def info(options: argparse.Namespace) -> None:
    """Print what a model is made of and where it comes from."""
    from seqgen.config import describe

    pipeline = loaded(options)
    facts = {
        "model": describe(pipeline.model),
        "codec": describe(pipeline.codec),
        "labels": pipeline.labels,
        **({} if pipeline.features is None else {"features": describe(pipeline.features)}),
        "provenance": pipeline.provenance,
    }
    if options.json:
        print(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        print(f"{name}: {value.get('class_path', '')}".rstrip())
        for key, item in (value.get("init_args", value)).items():
            print(f"  {key}: {_short(item)}")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}... ({len(text)} characters)"
