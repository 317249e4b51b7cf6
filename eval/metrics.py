"""Evaluation metrics: pure functions, and torchmetrics classes that add up over processes.

Predictions may carry leading *member* dimensions (probes trained together, see
:mod:`eval.stacked`): ``pred (..., N, d)`` against ``target (N, d)`` or ``(..., N, d)`` gives one
figure per member. The two conventions of R²:

* pooled: all entries of a target are one population around ONE scalar mean (SIE, arXiv 2302.10283,
  and EquiCaps, arXiv 2506.09895). A constant predictor already scores above 0, because the
  dimensions' means differ: compare with :func:`constant_baseline`.
* per dimension: R² of each dimension around its own mean, averaged (seq-JEPA, arXiv 2505.03176;
  scikit-learn's ``uniform_average``). A constant predictor scores 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from ssl_equiv.errors import UserError

# a target whose spread is below 1e-6 of its size is constant: what is left is rounding
_CONSTANT = 1e-12


def r2_pooled(pred: Tensor, target: Tensor) -> Tensor:
    """R² around one scalar mean over all samples and dimensions.

    Args:
        pred: ``(..., N, d)``.
        target: ``(N, d)`` or ``(..., N, d)``.

    Returns:
        ``(...)`` float64; at most 1. A constant target gives 1 if met exactly, else 0.
    """
    return _pooled(*_r2_sums(pred, target))


def r2_per_dim(pred: Tensor, target: Tensor) -> Tensor:
    """Mean over dimensions of each dimension's R²; arguments and result as :func:`r2_pooled`."""
    return _per_dim(*_r2_sums(pred, target))


def r2_each_dim(pred: Tensor, target: Tensor) -> Tensor:
    """Each dimension's R², ``(..., d)``; arguments as :func:`r2_pooled`."""
    return _each_dim(*_r2_sums(pred, target))


def rotation_degrees(pred: Tensor, target: Tensor) -> Tensor:
    """Geodesic distance of rotations in degrees, whatever the quaternions' signs and lengths.

    Args:
        pred: Quaternions of any length, ``(..., 4)``; a zero quaternion counts as 180 degrees off.
        target: Unit quaternions, broadcast against ``pred``.

    Returns:
        ``(...)`` in [0, 180], of the dtype of ``pred``.
    """
    q, p = _unit(pred), _unit(target.to(pred.dtype))
    apart, together = (q - p).norm(dim=-1), (q + p).norm(dim=-1)
    # the angle between unit vectors is 2 atan2(|q-p|, |q+p|), exact near 0 where acos is not;
    # a rotation turns by twice the angle of its quaternion
    angle = 4 * torch.atan2(torch.minimum(apart, together), torch.maximum(apart, together))
    return torch.rad2deg(angle)


def top_k_accuracy(logits: Tensor, label: Tensor, k: int) -> Tensor:
    """Share of samples whose label is among the ``k`` largest logits.

    Args:
        logits: ``(..., N, C)``.
        label: ``(N,)`` class numbers.
        k: Capped at C.

    Returns:
        ``(...)`` float64 in [0, 1].
    """
    hits = _top_k_hits(logits, label, k)
    return hits.double().mean(dim=-1)


def median(values: Tensor) -> Tensor:
    """Median over the last dimension, the mean of the middle two where their number is even."""
    ordered, n = values.sort(dim=-1).values, values.shape[-1]
    return (ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2


def regression_scores(
    pred: Tensor, target: Tensor, error: Tensor, names: Sequence[str], unit: str
) -> dict[str, Tensor]:
    """All figures of a regression.

    Args:
        pred: Predictions ``(..., N, d)``.
        target: ``(N, d)`` or ``(..., N, d)``.
        error: How far each prediction is off, ``(..., N)``, in ``unit``.
        names: Names of the d dimensions.
        unit: What the errors' figures are named after.

    Returns:
        ``r2_pooled``, ``r2_per_dim``, ``r2_NAME`` of each dimension where there are several,
        ``UNIT_mean`` and ``UNIT_median``; ``(...)`` each.
    """
    scores = {"r2_pooled": r2_pooled(pred, target), "r2_per_dim": r2_per_dim(pred, target)}
    if len(names) > 1:
        each = r2_each_dim(pred, target).unbind(-1)
        scores |= {f"r2_{name}": figure for name, figure in zip(names, each, strict=True)}
    return scores | {f"{unit}_mean": error.mean(dim=-1), f"{unit}_median": median(error)}


def constant_baseline(
    target: Tensor, train_target: Tensor | None = None, *, rotation: bool = False
) -> dict[str, float]:
    """What a predictor scores that always answers the mean of the training targets.

    Args:
        target: Targets that are judged, ``(N, d)``.
        train_target: Targets whose mean is answered, ``(M, d)``; by default ``target`` itself.
        rotation: The targets are quaternions: degrees too.

    Returns:
        ``r2_pooled``, ``r2_per_dim`` and, for rotations, ``degrees_mean``, ``degrees_median``.
    """
    answer = (target if train_target is None else train_target).double().mean(dim=0)
    pred, target = answer.expand(target.shape), target.double()
    scores = {"r2_pooled": r2_pooled(pred, target), "r2_per_dim": r2_per_dim(pred, target)}
    if rotation:
        degrees = rotation_degrees(pred, target)
        scores |= {"degrees_mean": degrees.mean(), "degrees_median": median(degrees)}
    return {name: value.item() for name, value in scores.items()}


class _R2(Metric):
    """Sums per dimension from which either R² follows; one pass, float64, no stored samples."""

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    finish: Callable[..., Tensor]
    residual: Tensor
    total: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self, dims: int, members: tuple[int, ...] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, shape in (
            ("residual", (*members, dims)),
            ("total", (*members, dims)),
            ("squares", (*members, dims)),
            ("count", ()),
        ):
            zeros = torch.zeros(shape, dtype=torch.float64)
            self.add_state(name, default=zeros, dist_reduce_fx="sum")

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Add predictions ``(*members, N, d)`` for targets ``(N, d)`` or of the same shape."""
        residual, total, squares, count = _r2_sums(pred, target)
        self.residual = self.residual + residual
        self.total = self.total + total
        self.squares = self.squares + squares
        self.count = self.count + count

    def compute(self) -> Tensor:
        """R² of each member, ``(*members)`` float64."""
        return self.finish(self.residual, self.total, self.squares, self.count)


class PooledR2(_R2):
    """Streaming :func:`r2_pooled`.

    Args:
        dims: Dimensions d of a target.
        members: Shape of the leading dimensions of the predictions.
    """

    @staticmethod
    def finish(residual: Tensor, total: Tensor, squares: Tensor, count: Tensor) -> Tensor:
        """Combine the sums."""
        return _pooled(residual, total, squares, count)


class PerDimR2(_R2):
    """Streaming :func:`r2_per_dim`; arguments as :class:`PooledR2`."""

    @staticmethod
    def finish(residual: Tensor, total: Tensor, squares: Tensor, count: Tensor) -> Tensor:
        """Combine the sums."""
        return _per_dim(residual, total, squares, count)


class EachDimR2(_R2):
    """Streaming :func:`r2_each_dim`: ``{"r2_x", "r2_y", ...}``, ``(*members)`` each.

    Args:
        names: Names of the dimensions.
        members: As :class:`PooledR2`'s.
    """

    def __init__(self, names: Sequence[str], members: tuple[int, ...] = (), **kwargs: Any) -> None:
        super().__init__(len(names), members, **kwargs)
        self.names = tuple(names)

    @staticmethod
    def finish(residual: Tensor, total: Tensor, squares: Tensor, count: Tensor) -> Tensor:
        """Combine the sums."""
        return _each_dim(residual, total, squares, count)

    def compute(self) -> dict[str, Tensor]:  # type: ignore[override]
        """R² of each dimension."""
        figures = super().compute().unbind(-1)
        return {f"r2_{name}": figure for name, figure in zip(self.names, figures, strict=True)}


class ErrorSummary(Metric):
    """Streaming mean and :func:`median` of errors: ``{"UNIT_mean", "UNIT_median"}``.

    The median needs every error: the state holds one float per sample and member.

    Args:
        unit: What figures are named after.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = False

    def __init__(self, unit: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unit = unit
        self.errors: list[Tensor] | Tensor
        self.add_state("errors", default=[], dist_reduce_fx="cat")

    def update(self, error: Tensor) -> None:
        """Add errors ``(*members, N)``."""
        assert isinstance(self.errors, list)
        self.errors.append(error.movedim(-1, 0))  # samples first: states join there

    def compute(self) -> dict[str, Tensor]:
        """Mean and median of each member, ``(*members)`` float64."""
        errors = dim_zero_cat(self.errors).movedim(0, -1)
        mean = errors.double().mean(dim=-1)
        return {f"{self.unit}_mean": mean, f"{self.unit}_median": median(errors).double()}


class RotationError(ErrorSummary):
    """Streaming :func:`rotation_degrees`: ``{"degrees_mean", "degrees_median"}``."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("degrees", **kwargs)

    def update(self, pred: Tensor, target: Tensor) -> None:  # type: ignore[override]
        """Add predictions ``(*members, N, 4)`` for targets ``(N, 4)`` or of the same shape."""
        super().update(rotation_degrees(pred, target))


class TopKAccuracy(Metric):
    """Streaming :func:`top_k_accuracy`.

    Args:
        k: How many guesses; capped at the number of classes.
        members: Shape of the leading dimensions of the logits.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True

    def __init__(self, k: int, members: tuple[int, ...] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.k = k
        self.hits: Tensor
        self.count: Tensor
        zeros = torch.zeros(members, dtype=torch.float64)
        self.add_state("hits", default=zeros, dist_reduce_fx="sum")
        self.add_state("count", default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, label: Tensor) -> None:
        """Add logits ``(*members, N, C)`` for labels ``(N,)``."""
        self.hits = self.hits + _top_k_hits(logits, label, self.k).double().sum(dim=-1)
        self.count = self.count + label.shape[0]

    def compute(self) -> Tensor:
        """Accuracy of each member, ``(*members)`` float64 in [0, 1]."""
        return self.hits / self.count


def _top_k_hits(logits: Tensor, label: Tensor, k: int) -> Tensor:
    top = logits.topk(min(k, logits.shape[-1]), dim=-1).indices
    hits: Tensor = (top == label[:, None]).any(dim=-1)
    return hits


def _unit(quat: Tensor) -> Tensor:
    return normalize(quat, dim=-1, eps=torch.finfo(quat.dtype).tiny)


def _r2_sums(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
    """Sums over the N samples, ``(..., d)`` float64, and N."""
    if pred.ndim < 2 or pred.shape[-2:] != target.shape[-2:]:
        raise UserError(
            f"R² of predictions {tuple(pred.shape)} and targets {tuple(target.shape)}: both need "
            "the same (samples, dimensions) last"
        )
    pred, target = pred.double(), target.double().expand(pred.shape)
    residual = (target - pred).square().sum(dim=-2)
    return residual, target.sum(dim=-2), target.square().sum(dim=-2), target.shape[-2]


def _pooled(residual: Tensor, total: Tensor, squares: Tensor, count: Tensor | int) -> Tensor:
    population = count * residual.shape[-1]
    residual, total, squares = (x.sum(dim=-1) for x in (residual, total, squares))
    return _one_minus_ratio(residual, squares, squares - total.square() / population)


def _per_dim(residual: Tensor, total: Tensor, squares: Tensor, count: Tensor | int) -> Tensor:
    return _each_dim(residual, total, squares, count).mean(dim=-1)


def _each_dim(residual: Tensor, total: Tensor, squares: Tensor, count: Tensor | int) -> Tensor:
    return _one_minus_ratio(residual, squares, squares - total.square() / count)


def _one_minus_ratio(residual: Tensor, squares: Tensor, spread: Tensor) -> Tensor:
    varies = spread > _CONSTANT * squares
    exact = (residual <= _CONSTANT * squares).double()
    return torch.where(varies, 1 - residual / torch.where(varies, spread, math.inf), exact)
