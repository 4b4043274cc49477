"""The command `seqgen info`."""

import argparse
import json
from typing import Any

from seqgen.cli.common import loaded, printable


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
            print(printable(f"  {key}: {_short(item)}"))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}... ({len(text)} characters)"
