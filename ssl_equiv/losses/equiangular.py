"""Cross-entropy over cosines with fixed vectors (EBV, arXiv 2303.11637), for any number of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from ssl_equiv.errors import UserError
from ssl_equiv.precision import at_least_float32

_BLOCK = 65536  # classes whose logits are held at a time


def equiangular_loss(
    features: Tensor,
    label: Tensor,
    basis: Tensor,
    temperature: float = 0.07,
    smoothing: float = 0.1,
    margin: float = 0.0,
    block: int = _BLOCK,
) -> Tensor:
    """Mean cross-entropy of cosines over tau, with label smoothing; a scalar.

    Args:
        features: ``(B, d)``.
        label: ``(B,)`` int64 in [0, K).
        basis: ``(K, d)`` unit vectors, which get no gradient.
        temperature: tau.
        smoothing: Share of the target that is spread over all classes.
        margin: Subtracted from the true class' cosine (CosFace, arXiv 1801.09414).
        block: Classes whose logits are held at a time; with more of them, the backward pass
            computes the logits again.

    Raises:
        UserError: a label is not in [0, K).
    """
    if label.numel() and not 0 <= int(label.min()) <= int(label.max()) < len(basis):
        raise UserError(
            f"labels from {int(label.min())} to {int(label.max())}, but the basis has "
            f"{len(basis)} vectors: make one with a vector a class"
        )
    unit = normalize(at_least_float32(features), dim=1)  # norms overflow in float16
    basis = basis.to(unit.dtype)
    if len(basis) <= block:
        cosines = unit @ basis.T
        if margin:
            less = torch.full_like(label[:, None], -margin, dtype=cosines.dtype)
            cosines = cosines.scatter_add(1, label[:, None], less)
        return cross_entropy(cosines / temperature, label, label_smoothing=smoothing)
    true = ((unit * basis[label]).sum(dim=1) - margin) / temperature
    everyone = (unit @ basis.mean(dim=0) - margin / len(basis)) / temperature
    total: Tensor = _LogSumExp.apply(unit, label, basis, temperature, margin, block)
    return (total - (1 - smoothing) * true - smoothing * everyone).mean()


class _LogSumExp(torch.autograd.Function):
    """Log of the sum of exponentials of all logits, a block of classes at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        unit: Tensor,
        label: Tensor,
        basis: Tensor,
        temperature: float,
        margin: float,
        block: int,
    ) -> Tensor:
        parts = [
            torch.logsumexp(logits, dim=1)
            for _, logits in _blocks(unit, label, basis, temperature, margin, block)
        ]
        total = torch.logsumexp(torch.stack(parts), dim=0)
        ctx.save_for_backward(unit, label, basis, total)
        ctx.settings = temperature, margin, block
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        unit, label, basis, total = ctx.saved_tensors
        temperature, margin, block = ctx.settings
        gradient = torch.zeros_like(unit)
        for first, logits in _blocks(unit, label, basis, temperature, margin, block):
            share = (logits - total[:, None]).exp()
            gradient += share @ basis[first : first + block]
        return gradient * (upstream[0] / temperature)[:, None], None, None, None, None, None


def _blocks(
    unit: Tensor, label: Tensor, basis: Tensor, temperature: float, margin: float, block: int
) -> Any:
    for first in range(0, len(basis), block):
        cosines = unit @ basis[first : first + block].T
        if margin:
            inside = (label >= first) & (label < first + block)
            rows = inside.nonzero().squeeze(1)
            cosines[rows, label[rows] - first] -= margin
        yield first, cosines / temperature
