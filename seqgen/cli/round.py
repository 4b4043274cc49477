"""The command `seqgen round`."""

import argparse
import json

from seqgen.cli.common import warn


def round_weights(options: argparse.Namespace) -> None:
    """Write a model of rounded weights, and print what the rounding costs on held-out data."""
    from seqgen.data.evaluation import round_weights

    rounded = round_weights(options.run, options.out, options.to, options.device)
    if options.json:
        print(json.dumps({"folder": str(options.out), **rounded}))
        return
    bits = rounded["bits"]
    cost = "" if bits is None else f", {bits:+.5f} bits a symbol on held-out data"
    print(f"{options.out}: {rounded['dtype']}, {rounded['bytes']:,} bytes of weights{cost}")
    if bits is None:
        warn(f"note: its cost in bits is not measured: {rounded['unmeasured']}")
