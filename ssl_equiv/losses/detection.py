"""Losses of centre-based detection (CenterNet, arXiv 1904.07850; CenterPoint, arXiv 2006.11275).

Both are sums over the objects of a batch, divided by a number that the caller gives: the objects of
the global batch a process.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def centre_focal(
    logits: Tensor, target: Tensor, count: Tensor | float, alpha: float = 2.0, beta: float = 4.0
) -> Tensor:
    """Focal loss of heat maps that is lenient near centres (CenterNet, Eq. 1).

    ``-(1 - p)^alpha log p`` where the target y is 1, else ``-(1 - y)^beta p^alpha log(1 - p)``.

    Args:
        logits: Of p, ``(B, K, H, W)``.
        target: y in [0, 1], of the same shape.
        count: What the sum is divided by.
        alpha: How much less answers count that are right.
        beta: How much less wrong answers count near a centre.

    Returns:
        Scalar; 0 where every answer is right and sure.
    """
    logits = _precise(logits)
    p = logits.sigmoid()
    found = (1 - p).pow(alpha) * F.logsigmoid(logits)
    missed = (1 - target).pow(beta) * p.pow(alpha) * F.logsigmoid(-logits)
    return -torch.where(target == 1, found, missed).sum() / count


def box_l1(predicted: Tensor, target: Tensor, count: Tensor | float) -> Tensor:
    """Absolute error of regressed boxes, summed over boxes and columns, ``(M, D)`` each.

    Returns:
        Scalar; 0 without boxes.
    """
    return (_precise(predicted) - target).abs().sum() / count


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
