"""Training checkpoints without pickle."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor

from seqgen.checkpoints.folder import CheckpointError
from seqgen.media.files import write_atomically


class SafeCheckpointIO(CheckpointIO):
    """Lightning's checkpoints as safetensors with the rest as JSON in the header: nothing on disk is ever unpickled."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write the file, whole or not at all. Raises TypeError for state that is neither tensors nor plain values."""
        tensors: dict[str, Tensor] = {}
        header = json.dumps(_pack(checkpoint, tensors))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(path), safetensors.torch.save(tensors, {"tree": header}))

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read the file. Raises CheckpointError when it is damaged or of another kind."""
        try:
            with safetensors.safe_open(path, "pt") as file:
                header = (file.metadata() or {}).get("tree", "null")
                # Copies, since torch aligns its own memory: products of unaligned operands may round differently.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
            tree = _unpack(json.loads(header), tensors)
        except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise CheckpointError(f"{path} is no training checkpoint: {error}") from None
        if not isinstance(tree, dict):
            raise CheckpointError(f"{path} is no training checkpoint: it holds no state")
        return tree

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file if it is there."""
        Path(path).unlink(missing_ok=True)


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A tree of dicts, lists, tuples, plain values and tensors as JSON; the tensors go into `tensors`."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[_pack(key, tensors), _pack(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_pack(item, tensors) for item in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"cannot save {value!r} of type {type(value).__name__} in a training checkpoint")


def _unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, inside),) = value.items()
    if kind == "tensor":
        return tensors[inside]
    if kind == "dict":
        return {_unpack(key, tensors): _unpack(item, tensors) for key, item in inside}
    items = [_unpack(item, tensors) for item in inside]
    return items if kind == "list" else tuple(items)
