"""Losses on capsules: activations as distributions, poses as matrices (EquiCaps, arXiv 2506.09895).

N capsules; activations ``(B, N)`` are non-negative and sum to 1. Everything is in float32
whatever the autocast state.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ssl_equiv.precision import in_float32


@in_float32
def activation_cross_entropy(x: Tensor, y: Tensor) -> Tensor:
    """``mean_b Σ_j −y_j log x_j`` of two views' activations; both carry gradient."""
    return -(y * _log(x)).sum(dim=-1).mean()


@in_float32
def mean_entropy_gap(x: Tensor) -> Tensor:
    """What the entropy of the mean activation lacks to its maximum, ``log N − H(mean_b x)``.

    Args:
        x: Activations of the global batch, ``(B, N)``.

    Returns:
        Scalar; 0 when all capsules are used equally often.
    """
    mean = x.mean(dim=0)
    return math.log(x.shape[-1]) + (mean * _log(mean)).sum()


@in_float32
def normalized(pose: Tensor) -> Tensor:
    """Pose matrices ``(..., k, k)`` divided by their Frobenius norm."""
    square = pose.square().sum(dim=(-2, -1), keepdim=True)
    return pose * square.clamp_min(torch.finfo(pose.dtype).tiny).rsqrt()


@in_float32
def moved(pose: Tensor, action: Tensor) -> Tensor:
    """Poses ``(B, N, k, k)`` times each image's action ``(B, k, k)`` from the right."""
    return pose @ action[:, None]


def _log(x: Tensor) -> Tensor:
    return x.clamp_min(torch.finfo(x.dtype).tiny).log()  # a share may underflow to 0
