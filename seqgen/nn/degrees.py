"""MADE masks: keep W[i, j] where m_i >= m_j."""

import functools
import weakref
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Masked(torch.autograd.Function):
    """`weight * mask` for weight (M, N) or (M, P, N), with mask[i, j] = (a_i >= b_j) for a (M,) and b (N,).

    The mask is not saved but recomputed in the backward pass, and multiplied in place where shapes allow: writing to
    fresh memory takes longer than the arithmetic.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Masked weights."""
        ctx.save_for_backward(a, b)
        return _masked(weight, a, b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """The gradient, masked likewise."""
        return _masked(gradient, *ctx.saved_tensors), None, None


def _masked(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    # In float: a product with bool takes six times as long. At least float32: 257 is 256 in bfloat16.
    kind = torch.promote_types(weight.dtype, torch.float32)
    mask = torch.empty(len(a), len(b), dtype=kind, device=weight.device)
    torch.ge(a.to(kind).unsqueeze(1), b.to(kind), out=mask)
    if weight.dtype == kind and weight.numel() == mask.numel():
        return mask.mul_(weight.reshape(mask.shape)).view(weight.shape)
    return weight * mask.to(weight.dtype).view(len(a), *(1 for _ in weight.shape[1:-1]), len(b))


class Kept(NamedTuple):
    """Masked weights, and what they were made of: a version of a parameter, and the two sides of the comparison."""

    owner: "weakref.ref[nn.Parameter]"
    version: int
    a: Tensor
    b: Tensor
    found: Tensor


_KEPT: dict[int, Kept] = {}
"""The last masked weights of a parameter, by its identity, for passes without gradients."""


def _forget(key: int, _: Any) -> None:
    """What has been kept of a parameter that is no more."""
    _KEPT.pop(key, None)


def masked(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Weights (M, N), (M, P, N) or (M, P, N, Q), kept where a (M,) >= b (N,), else 0. Differentiable in the weights.

    Without gradients they are computed anew only where the weights, a or b have changed.
    """
    flat = weight.flatten(2) if weight.ndim == 4 else weight
    b = b.repeat_interleave(weight.shape[3]) if weight.ndim == 4 else b
    if torch.is_grad_enabled() or not isinstance(weight, nn.Parameter) or weight.is_inference():
        found: Tensor = Masked.apply(flat, a, b)  # type: ignore[no-untyped-call]
        return found
    kept, same = _KEPT.get(id(weight)), False
    if kept is not None and kept.owner() is weight and kept.version == weight._version:
        same = torch.equal(kept.a, a) and torch.equal(kept.b, b)
    if kept is None or not same:
        kept = _KEPT[id(weight)] = Kept(
            weakref.ref(weight, functools.partial(_forget, id(weight))),
            weight._version,
            a.clone(),
            b.clone(),
            _masked(flat.detach(), a, b),
        )
    return kept.found
