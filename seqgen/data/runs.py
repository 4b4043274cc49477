"""The data of a run folder, without anything that trains."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonargparse
import yaml
from jsonargparse import Namespace

from seqgen.checkpoints.folder import CheckpointError
from seqgen.codec import Unknown
from seqgen.config import SeqgenError
from seqgen.data.module import DataModule
from seqgen.pipeline import Pipeline


def description(run: Path) -> dict[str, Any]:
    """The data module that a run's config.yaml describes; like in training, the file is the user's own program.

    Raises CheckpointError where there is none.
    """
    config = run / "config.yaml"
    if not config.is_file():
        raise CheckpointError(
            f"{config} is not there; expected a run folder, or a file of data to score with the model"
        )
    found: dict[str, Any] = yaml.safe_load(config.read_text())["data"]
    return found


def construct(value: Any) -> Any:
    """The object that a parsed configuration describes by `class_path` and `init_args`; other values as they are.

    Constructors raise what they raise: the parser would wrap their errors in pages about types.
    """
    if isinstance(value, Namespace | Mapping):
        items = dict(value.__dict__ if isinstance(value, Namespace) else value)
        if "class_path" not in items:
            return {name: construct(item) for name, item in items.items()}
        module, _, name = items["class_path"].rpartition(".")
        arguments = construct(items.get("init_args") or {})
        return getattr(importlib.import_module(module), name)(**arguments)
    if isinstance(value, list):
        return [construct(item) for item in value]
    return value


def data_module(described: dict[str, Any]) -> DataModule:
    """The data module of that description."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(DataModule, "data")
    data: DataModule = construct(parser.parse_object({"data": described})["data"])
    return data


def open_data(pipeline: Pipeline, run: Path, path: str | None = None) -> DataModule:
    """The data of a run, split as in training; `path` is their place on this machine if it is another.

    Raises CheckpointError where the data are not those that the run was trained on.
    """
    described = description(run)
    if path is not None:
        described["init_args"]["path"] = path
    data = data_module(described)
    data.codec = pipeline.codec
    data.setup()
    if data.sha256 != pipeline.provenance.get("data_sha256"):
        raise CheckpointError(f"the data of {run} changed since it was trained: which part was held out is not known")
    return data


def open_other(
    pipeline: Pipeline, run: Path, path: str, encoding: str | None = None, unknown: Unknown | None = None
) -> DataModule:
    """Another file, all of it held out, read as the run reads its own data. Raises what reading raises."""
    described = description(run)
    if encoding is not None:
        described["init_args"]["encoding"] = encoding
    try:
        data = data_module(described)
    except jsonargparse.ArgumentError as error:  # of an encoding for data that have none
        raise SeqgenError(f"{described['class_path']} takes no encoding: {error}") from None
    data.hold_out(path, pipeline.codec, pipeline.labels, unknown).setup()
    return data
