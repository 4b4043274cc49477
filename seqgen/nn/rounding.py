"""Weights of reduced precision. A model of rounded weights is another model, which can be sampled, scored and saved."""

import copy
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

from seqgen.config import SeqgenError
from seqgen.model import Model

M = TypeVar("M", bound=Model)
KINDS = ("bfloat16", "float16", "int8")
SCALE = ".scale"
LEVELS = 127
"""The greatest int8 magnitude that is used, so that zero is in the middle."""


def rounded(model: M, kind: str) -> M:
    """A copy of a model whose weights are rounded to `kind`, as float32 numbers.

    bfloat16 and float16 round every number. int8 rounds weights, not biases: symmetrically, with a scale for every
    output channel, so that its weight of greatest magnitude becomes 127 or -127.
    """
    if kind not in KINDS:
        raise SeqgenError(f"got weights of {kind!r}, expected one of {', '.join(KINDS)}")
    if wrong := {one.dtype for one in model.parameters()} - {torch.float32}:
        raise SeqgenError(f"the weights are {str(wrong.pop())[6:]}, expected float32, of which {kind} is a rounding")
    stored = stored_weights(model, kind)
    if kind == "int8" and not any(name.endswith(SCALE) for name in stored):
        raise SeqgenError(f"{type(model).__name__} has no weights for int8, expected those of another model or kind")
    model = copy.deepcopy(model)
    model.load_state_dict(read_weights(stored))
    return model


def int8_parts(model: Model, name: str, tensor: Tensor) -> tuple[Tensor, Tensor] | None:
    """Whole numbers int8 and their scales, of which the input axis has size 1; None for what no product takes."""
    linear = name.rpartition(".")[-1].startswith("weight") and tensor.ndim == 2  # of torch's layers
    axes = model.input_axes.get(name, -1 if linear else None)
    if axes is None:
        return None
    scale = tensor.abs().amax(axes, keepdim=True) / LEVELS
    return (tensor / torch.where(scale == 0, 1, scale)).round().to(torch.int8), scale


def joined(whole: Tensor, scale: Tensor) -> Tensor:
    """Weights from whole numbers and scales."""
    return whole.to(scale.dtype) * scale


def stored_weights(model: Model, kind: str) -> dict[str, Tensor]:
    """The state of a model as a checkpoint holds it: float32 rounded to `kind`; int8 has `NAME.scale` beside it."""
    if kind not in ("float32", *KINDS):
        raise SeqgenError(f"got weights of {kind!r}, expected float32 or one of {', '.join(KINDS)}")
    stored: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        parts = int8_parts(model, name, tensor) if kind == "int8" and tensor.dtype == torch.float32 else None
        if parts is not None:
            stored[name], stored[f"{name}{SCALE}"] = parts
        elif kind != "int8" and tensor.dtype == torch.float32:
            stored[name] = tensor.to(getattr(torch, kind))
        else:
            stored[name] = tensor
    return stored


def read_weights(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `stored_weights`; numbers of 16 bits stay as they are."""
    scales = {name.removesuffix(SCALE): one for name, one in stored.items() if name.endswith(SCALE)}
    scales = {name: one for name, one in scales.items() if name in stored and stored[name].dtype == torch.int8}
    weights = {name: one for name, one in stored.items() if name.removesuffix(SCALE) not in scales or name in scales}
    return {name: joined(one, scales[name]) if name in scales else one for name, one in weights.items()}
