"""Offering a sampler: the layout of a model's present weights, once it has agreed with the plain loop."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from seqgen.engine import Request, Unsupported
from seqgen.engines.checksum import checksum
from seqgen.engines.running import Layout, Running
from seqgen.model import Model, Order

KEPT = 4
"""Layouts of a model that are kept, one for each order of its variables."""
CHECKED = 4
"""Rows and symbols that a new layout draws beside the plain loop."""
NEAR = 1e-5
"""How near to the boundary between two symbols noise may lie to fall either way."""
_LAYOUTS: WeakKeyDictionary[Model, tuple[Any, dict[bytes, Layout | None]]] = WeakKeyDictionary()


def start(model: Model, request: Request, build: Callable[[], Layout], order: Order | None = None) -> Running:
    """A sampler of a model, whose layout (in an order of the variables) is built where the weights have changed.

    Raises Unsupported for weights that no layout has, and for a layout that does not agree with the plain loop.
    """
    stamp = fingerprint(model)
    key = b"" if order is None else order.permutation.numpy().tobytes() + order.connectivity.to_bytes(8, "little")
    known, layouts = _LAYOUTS.get(model, (None, {}))
    if stamp != known:
        layouts = {}
    if key not in layouts:
        layout = build()
        checked = layout if _agrees(layout, model, request) else None
        layouts = {**dict(list(layouts.items())[1 - KEPT :]), key: checked}
        _LAYOUTS[model] = stamp, layouts
    if (found := layouts[key]) is None:
        raise Unsupported(f"that for {type(model).__name__} does not agree with the plain loop on this machine")
    return Running(found, request)


def fingerprint(model: Model) -> list[tuple[int, int, bytes]]:
    """The place and a hash of the bits of every tensor. Raises Unsupported unless they are float32 on the CPU.

    All bits are read, at the speed of memory, since fused optimizers change weights without a new version.
    """
    found = []
    for module in model.modules():
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is None:
                continue
            if tensor.device.type != "cpu" or tensor.dtype not in (torch.float32, torch.int64):
                kind = f"{str(tensor.dtype)[6:]} on {tensor.device}"
                raise Unsupported(f"the weights are {kind}, expected float32 on cpu")
            bits = tensor.detach().contiguous().numpy().reshape(-1).view(np.uint32)
            even = len(bits) // 2 * 2
            words = bits[:even].view(np.uint64)
            words = words if words.flags.aligned else words.copy()
            found.append((tensor.data_ptr(), int(checksum(words)), bits[even:].tobytes()))
    return found


def _agrees(layout: Layout, model: Model, request: Request) -> bool:
    """Whether the first symbols of the first rows are those of the plain loop, or as near as rounding allows."""
    sampling, context, parameters, state, _, length, _ = request
    noise = torch.rand(
        len(parameters), min(length, CHECKED), dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    drawn = Running(layout, request._replace(end=None)).draw(noise)
    if drawn.shape != noise.shape:
        return False
    for column, (x, values) in enumerate(zip(drawn.unbind(1), noise.unbind(1), strict=True)):
        low, expected, high = (
            model.output.draw(parameters, (values + nudge).clamp(0, 1 - 2**-53), sampling).double()
            for nudge in (-NEAR, 0, NEAR)
        )
        slack = 1e-4 * (1 + expected.abs()) if model.output.classes is None else torch.zeros_like(expected)
        far = (x < low - slack) | (x > high + slack)
        if bool(far[:CHECKED].any()):
            return False
        if column + 1 == noise.shape[1] or not torch.allclose(x.double(), expected, rtol=1e-4, atol=1e-4):
            return True  # from here on the histories differ
        rows, state = model.step(x.unsqueeze(1), state, context)
        parameters = rows.squeeze(1)
    return True
