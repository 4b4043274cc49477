"""The commands `seqgen evaluate` and `seqgen calibrate`."""

import argparse
import json

from seqgen.cli.common import printable, warn

EXAMPLES = 3
"""Skipped items that are named."""


def evaluate(options: argparse.Namespace) -> None:
    """Print nats and bits of held-out data, or of another file."""
    from seqgen.data.evaluation import evaluate

    found = evaluate(options.run, options.path, options.device, options.encoding, options.orders, options.unknown)
    if options.json:
        parts = {part: total.as_dict() for part, total in found.totals.items()}
        print(json.dumps({**parts, **({"skipped": found.skipped} if found.skipped else {})}, indent=2))
        return
    for part, total in found.totals.items():
        print(f"{found.modality.line(total)}  {part}, {total.symbols:.0f} symbols")
    report_skipped(found.skipped)


def report_skipped(skipped: list[str]) -> None:
    """Name what was left out, on standard error."""
    for one in skipped[:EXAMPLES]:
        warn(printable(f"skipped: {one}"))
    if len(skipped) > EXAMPLES:
        warn(f"skipped: {len(skipped) - EXAMPLES} more")


def calibrate(options: argparse.Namespace) -> None:
    """Keep the scores of held-out items with a run's model, and print their distribution."""
    from seqgen.data.evaluation import calibrate

    calibration = calibrate(options.run, options.device)
    scores = calibration.scores[-1]
    low, middle, high = (float(scores.quantile(place)) for place in (0.05, 0.5, 0.95))
    numbers = {"items": len(scores), "nats_per_symbol": {"5 %": -high, "50 %": -middle, "95 %": -low}}
    if options.json:
        print(json.dumps(numbers))
        return
    print(f"{len(scores)} held-out items; nats/symbol {-high:.4f} at 5 %, {-middle:.4f} at 50 %, {-low:.4f} at 95 %")
