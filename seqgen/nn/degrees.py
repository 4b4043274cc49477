"""MADE masks: keep W[i, j] where m_i >= m_j."""

import functools
import weakref
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Kept(NamedTuple):
    """The mask of a parameter, and the two sides of the comparison that it is of."""

    owner: "weakref.ref[nn.Parameter]"
    a: Tensor
    b: Tensor
    mask: Tensor


_KEPT: dict[int, Kept] = {}
"""The last mask of each parameter, by its identity: to compute it takes five times as long as to apply it."""


def masked(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Weights (M, N), (M, P, N) or (M, P, N, Q), kept where a (M,) >= b (N,), else 0; (M, P, N Q) of the last kind.

    Differentiable in the weights. The mask of a parameter is computed anew only where a or b have changed. It is
    applied at every pass, since nothing tells whether weights are those of the last one: fused optimizers change them
    without a new version.
    """
    product = weight * (_kept(weight, a, b) if isinstance(weight, nn.Parameter) else _mask(weight, a, b))
    return product.flatten(2) if product.ndim == 4 else product


def _kept(weight: nn.Parameter, a: Tensor, b: Tensor) -> Tensor:
    kept = _KEPT.get(id(weight))
    if kept is None or kept.owner() is not weight or not _same(kept, weight, a, b):
        owner = weakref.ref(weight, functools.partial(_forget, id(weight)))
        kept = _KEPT[id(weight)] = Kept(owner, a.clone(), b.clone(), _mask(weight, a, b))
    return kept.mask


def _mask(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """1 or 0, in the shape of the weights but for axes of size 1. Not bool, whose products take six times as long."""
    with torch.inference_mode(False):  # since it is kept, maybe for a pass with gradients
        mask = (a.clone().unsqueeze(1) >= b.clone()).to(weight.dtype)
    return mask.view(len(a), *(1 for _ in weight.shape[1:2] if weight.ndim > 2), len(b), *(1 for _ in weight.shape[3:]))


def _same(kept: Kept, weight: Tensor, a: Tensor, b: Tensor) -> bool:
    alike = kept.mask.dtype == weight.dtype and kept.mask.device == weight.device
    return alike and torch.equal(kept.a, a) and torch.equal(kept.b, b)


def _forget(key: int, _: Any) -> None:
    """What has been kept of a parameter that is no more."""
    _KEPT.pop(key, None)
