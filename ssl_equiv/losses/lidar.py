"""Losses on points and cells of sweeps; each gives one value a sample, to be averaged by callers.

Samples are not equally many on every process: :func:`ssl_equiv.distributed.global_mean` makes the
mean over all of them. Everything is in float32 at least, whatever the autocast state.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_equiv.precision import in_float32

_EXPONENT = 80.0  # exp(-80) is a normal float32


@in_float32
def point_info_nce(x: Tensor, y: Tensor, known: Tensor, temperature: float = 0.07) -> Tensor:
    """InfoNCE of matched points (PointContrast, arXiv 2007.10985, Eq. 3), both ways.

    Each point shall be nearest to its partner among all points of the other view of the same sweep.

    Args:
        x: Embeddings of P points of each sweep, ``(B, P, D)``.
        y: Those of the same points in the other view.
        known: Which of them exist, ``(B, P)`` bool; the others are neither asked nor answers.
        temperature: Divides the cosines.

    Returns:
        Mean of both directions for each point, ``(B, P)``; 0 for those that do not exist. It is 0
        at best, log P where all points are alike.
    """
    x, y = F.normalize(x, dim=2), F.normalize(y, dim=2)
    if 2 / temperature < _EXPONENT:
        sums: Tensor = _LogSums.apply(x / temperature, y, known, 1 / temperature)
    else:  # exponentials of one scale would vanish
        cosines = x @ y.mT / temperature
        nobody = torch.finfo(cosines.dtype).min  # a finite number keeps gradients free of NaN
        there = cosines.masked_fill(~known[:, None, :], nobody).logsumexp(dim=2)
        back = cosines.masked_fill(~known[:, :, None], nobody).logsumexp(dim=1)
        sums = (there + back) / 2
    match = (x * y).sum(dim=2) / temperature
    return torch.where(known, sums - match, 0.0)


class _LogSums(torch.autograd.Function):
    """Mean of the logarithms of the sums of exponentials of rows and of columns of ``x yᵀ``.

    The P x P exponentials are made once; all else, the gradient too, is products of them with thin
    matrices. Plain autograd goes over matrices of that size some twenty times.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, known: Tensor, largest: float) -> Tensor:
        shift = x.new_tensor(-largest)
        e_BPP = torch.baddbmm(shift.expand(1, 1, 1), x, y.mT).exp_()
        there = known.to(x)[:, :, None]
        tiny = torch.finfo(x.dtype).tiny  # in a sweep without points
        rows = (e_BPP @ there).squeeze(2).clamp_min(tiny)
        columns = (e_BPP.mT @ there).squeeze(2).clamp_min(tiny)
        ctx.save_for_backward(x, y, known, e_BPP, rows, columns)
        return (rows.log() + columns.log()) / 2 + largest

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, y, known, e_BPP, rows, columns = ctx.saved_tensors
        there = known.to(x)[:, :, None]
        half = upstream[0][:, :, None] * there / 2
        a, b = half / rows[:, :, None], half / columns[:, :, None]
        width = x.shape[2]
        # of the logits: e_ij (a_i m_j + m_i b_j), with m for those that exist
        one, two = (e_BPP @ torch.cat([there * y, b * y], dim=2)).split([width, width], dim=2)
        of_x = a * one + there * two
        one, two = (e_BPP.mT @ torch.cat([a * x, there * x], dim=2)).split([width, width], dim=2)
        return of_x, there * one + b * two, None, None


@in_float32
def normalized_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared error of l2-normalised features, mean over channels (E-SSL3D's flow loss).

    Args:
        prediction: ``(N, D)``.
        target: The same shape, without gradient.

    Returns:
        ``(N,)`` in [0, 4 / D].
    """
    return (F.normalize(prediction, dim=1) - F.normalize(target, dim=1)).square().mean(dim=1)


@in_float32
def chamfer(prediction: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Chamfer distance of small sets of points (BEV-MAE, arXiv 2212.05758, Eq. 2).

    Args:
        prediction: ``(N, K, 3)``.
        target: ``(N, L, 3)``.
        known: Which of the targets exist, ``(N, L)`` bool, one at least.

    Returns:
        ``(N,)``: mean squared distance of predictions to the nearest target plus that of targets
        to the nearest prediction.
    """
    squares = (prediction[:, :, None] - target[:, None]).square().sum(dim=-1)
    far = torch.finfo(squares.dtype).max
    there = squares.masked_fill(~known[:, None, :], far).amin(dim=2).mean(dim=1)
    back = (squares.amin(dim=1) * known).sum(dim=1) / known.sum(dim=1)
    return there + back
