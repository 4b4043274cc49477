"""MADE masks: keep W[i, j] where m_i >= m_j."""

from typing import Any

import torch
from torch import Tensor
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


def masked(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Weights (M, N) or (M, P, N), kept where a (M,) >= b (N,), else 0. Differentiable in the weights."""
    found: Tensor = Masked.apply(weight, a, b)  # type: ignore[no-untyped-call]
    return found
