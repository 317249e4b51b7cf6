"""What tells that features collapse: how far they spread, and in how many directions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def spread(features: Tensor) -> Tensor:
    """How far features spread: 1 where no direction is preferred, 0 where all are one.

    Args:
        features: ``(N, D)``.

    Returns:
        Scalar, the mean standard deviation of the normalised features' columns times √D (SimSiam,
        arXiv 2011.10566, Sec. 4.1).
    """
    return scaled_deviation(normalize(features.float(), dim=1).std(dim=0))


def scaled_deviation(std: Tensor) -> Tensor:
    """:func:`spread` from the standard deviations ``(D,)`` of the normalised features' columns."""
    found: Tensor = std.mean() * std.shape[0] ** 0.5
    return found


def effective_rank(features: Tensor) -> Tensor:
    """Effective rank of the centred features (Roy and Vetterli 2007, Eq. 1-3).

    Args:
        features: ``(N, D)``; they are centred first.

    Returns:
        Scalar between 1 and min(N - 1, D); 1 where all features are one.
    """
    return entropy_rank(torch.linalg.svdvals(features.float() - features.float().mean(dim=0)))


def entropy_rank(singular_values: Tensor, eps: float = 0.0) -> Tensor:
    """The exponential of the entropy of singular values that are scaled to sum to 1.

    With ``eps`` of 1e-7 and features as they are it is RankMe (arXiv 2210.02885, Eq. 1-2), of
    centred features without it the effective rank of Roy and Vetterli (2007).

    Args:
        singular_values: ``(K,)``, at least 0.
        eps: Added to each share.

    Returns:
        Scalar between 1 and K; 1 where all are zero.
    """
    tiny = torch.finfo(singular_values.dtype).tiny
    share = singular_values / singular_values.sum().clamp_min(tiny) + eps
    rank: Tensor = torch.special.entr(share).sum().exp()
    return rank
