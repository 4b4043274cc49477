"""Weights of which a comparison of whole numbers leaves some."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Masked(torch.autograd.Function):
    """Weights (M, N) or (M, P, N) where a (M,) is b (N,) or more, else 0.

    The mask is never kept: numbers are written once into fresh memory, which takes longer than the arithmetic.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """The product with the mask."""
        ctx.save_for_backward(a, b)
        return _masked(weight, a, b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """What is masked gets no gradient."""
        return _masked(gradient, *ctx.saved_tensors), None, None


def _masked(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    # A product with bools takes six times as long, and bfloat16 does not tell 257 from 256.
    kind = torch.promote_types(weight.dtype, torch.float32)
    mask = torch.empty(len(a), len(b), dtype=kind, device=weight.device)
    torch.ge(a.to(kind).unsqueeze(1), b.to(kind), out=mask)
    if weight.dtype == kind and weight.numel() == mask.numel():
        return mask.mul_(weight.reshape(mask.shape)).view(weight.shape)
    return weight * mask.to(weight.dtype).view(len(a), *(1 for _ in weight.shape[1:-1]), len(b))


def masked(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`Masked` of a weight (M, N) or (M, P, N), a (M,) and b (N,)."""
    found: Tensor = Masked.apply(weight, a, b)  # type: ignore[no-untyped-call]
    return found
