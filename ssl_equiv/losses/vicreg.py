"""Variance, invariance and covariance (VICReg, Bardes et al. 2022, arXiv 2105.04906).

Every function works in float32 whatever the autocast state: a covariance in bfloat16 loses the
small off-diagonal entries that it is there to remove.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_equiv.errors import UserError
from ssl_equiv.precision import in_float32


@in_float32
def invariance(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared difference of two views' embeddings, both ``(N, D)`` (Eq. 5 over D)."""
    return F.mse_loss(x, y)


@in_float32
def variance(x: Tensor, eps: float = 1e-4) -> Tensor:
    """Hinge on the per-dimension standard deviation (Eq. 1).

    Args:
        x: Embeddings of the global batch, ``(N, D)``, N >= 2.
        eps: Added to the variance before the square root.

    Returns:
        Scalar; 0 when every dimension has standard deviation >= 1.

    Raises:
        UserError: a single row.
    """
    if len(x) < 2:
        raise UserError("a batch of one object has no variance: set data.batch_size to 2 or more")
    return F.relu(1 - torch.sqrt(x.var(dim=0) + eps)).mean()


@in_float32
def covariance(x: Tensor) -> Tensor:
    """Squared off-diagonal covariances, summed and divided by D (Eqs. 3 and 4).

    With fewer rows than columns the sum is taken over the N x N Gram matrix, whose squared
    Frobenius norm is that of the D x D scatter matrix: the same value for N/D of the work.

    Args:
        x: Embeddings of the global batch, ``(N, D)``, N >= 2.

    Returns:
        Scalar.
    """
    num, dim = x.shape
    x = x - x.mean(dim=0)
    if num < dim:
        total = (x @ x.T).square().sum()
        diagonal = x.square().sum(dim=0).square().sum()
        off_diagonal = total - diagonal
    else:
        scatter = x.T @ x
        off_diagonal = scatter.square().sum() - scatter.diagonal().square().sum()
    return off_diagonal / (dim * (num - 1) ** 2)
