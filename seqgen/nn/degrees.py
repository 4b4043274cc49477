"""MADE masks: keep W[i, j] where m_i >= m_j."""

import functools
import weakref
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Kept(NamedTuple):
    """The mask of a parameter for the two sides of a comparison, and the masked weights of one of its versions."""

    owner: "weakref.ref[nn.Parameter]"
    a: Tensor
    b: Tensor
    mask: Tensor
    version: int
    masked: Tensor | None


_KEPT: dict[int, Kept] = {}
"""The last mask of each parameter, by its identity: to compute it takes longer than to apply it."""


def masked(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Weights (M, N), (M, P, N) or (M, P, N, Q), kept where a (M,) >= b (N,), else 0; (M, P, N Q) of the last kind.

    Differentiable in the weights. The mask of a parameter is computed anew only where a or b have changed, and without
    gradients it is applied anew only where the weights have, too.
    """
    if not isinstance(weight, nn.Parameter) or weight.is_inference():
        return _apply(weight, _mask(weight, a, b))
    kept = _KEPT.get(id(weight))
    if kept is None or kept.owner() is not weight or not _same(kept, weight, a, b):
        owner = weakref.ref(weight, functools.partial(_forget, id(weight)))
        kept = Kept(owner, a.clone(), b.clone(), _mask(weight, a, b), -1, None)
    found = kept.masked
    if torch.is_grad_enabled():
        found = _apply(weight, kept.mask)
    elif found is None or kept.version != weight._version:
        found = _apply(weight.detach(), kept.mask)
        kept = kept._replace(version=weight._version, masked=found)
    _KEPT[id(weight)] = kept
    return found


def _mask(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """1 or 0, in the shape of the weights but for axes of size 1. Not bool, whose products take six times as long."""
    with torch.inference_mode(False):  # since it is kept, maybe for a pass with gradients
        mask = (a.clone().unsqueeze(1) >= b.clone()).to(weight.dtype)
    return mask.view(len(a), *(1 for _ in weight.shape[1:2] if weight.ndim > 2), len(b), *(1 for _ in weight.shape[3:]))


def _apply(weight: Tensor, mask: Tensor) -> Tensor:
    product = weight * mask
    return product.flatten(2) if product.ndim == 4 else product


def _same(kept: Kept, weight: Tensor, a: Tensor, b: Tensor) -> bool:
    alike = kept.mask.dtype == weight.dtype and kept.mask.device == weight.device
    return alike and torch.equal(kept.a, a) and torch.equal(kept.b, b)


def _forget(key: int, _: Any) -> None:
    """What has been kept of a parameter that is no more."""
    _KEPT.pop(key, None)
