"""Metrics of predictions and features along orbits: functions, and torchmetrics twins that add up.

An *orbit* is what a group makes of one object: T points, one of which is the object as it was
found, the *reference*. All functions take leading *member* dimensions (parts of a representation)
before the objects N. Each class is the mean over objects of the function of its name, over any
batches and processes, of whatever sizes.

The idea of looking at a model along orbits, and of consensus where labels are missing, is NERO's
("Evaluating Machine Learning Models with NERO: Non-Equivariance Revealed on Orbits", arXiv
2305.19889).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics import Metric

from ssl_equiv.errors import UserError


def orbit_accuracy(predicted: Tensor, label: Tensor) -> Tensor:
    """Share of each orbit's points whose class is right.

    Args:
        predicted: Class numbers, ``(..., N, T)``.
        label: True classes, ``(N,)``.

    Returns:
        ``(..., N)`` float64 in [0, 1].
    """
    return _hits(predicted, label).double().mean(dim=-1)


def worst_case_accuracy(predicted: Tensor, label: Tensor) -> Tensor:
    """1 for an orbit whose points are all right, else 0; arguments as :func:`orbit_accuracy`."""
    return _hits(predicted, label).all(dim=-1).double()


def orbit_consistency(predicted: Tensor) -> Tensor:
    """Share of the pairs of distinct points of an orbit that get the same class.

    Args:
        predicted: Class numbers, ``(..., N, T)``.

    Returns:
        ``(..., N)`` float64 in [0, 1]; 1 for an orbit of one point.
    """
    points = predicted.shape[-1]
    if points == 1:
        return torch.ones(predicted.shape[:-1], dtype=torch.float64, device=predicted.device)
    counts = torch.zeros(
        (*predicted.shape[:-1], int(predicted.max()) + 1),
        dtype=torch.float64,
        device=predicted.device,
    )
    counts.scatter_add_(-1, predicted, torch.ones_like(predicted, dtype=torch.float64))
    return (counts * (counts - 1)).sum(dim=-1) / (points * (points - 1))


def consensus_class(probabilities: Tensor) -> Tensor:
    """The class that an orbit as a whole is given: the largest mean probability.

    Args:
        probabilities: Of each class at each point, ``(..., N, T, C)``.

    Returns:
        ``(..., N)`` int64.
    """
    return probabilities.mean(dim=-2).argmax(dim=-1)


def orbit_consensus(probabilities: Tensor) -> Tensor:
    """Share of each orbit's points whose class is the consensus; needs no labels.

    Arguments as :func:`consensus_class`; returns ``(..., N)`` float64 in [0, 1].
    """
    agree = probabilities.argmax(dim=-1) == consensus_class(probabilities).unsqueeze(-1)
    return agree.double().mean(dim=-1)


def cosine_distance(features: Tensor, reference: int) -> Tensor:
    """One minus the cosine of the angle to the reference's features, at each point.

    Args:
        features: ``(..., N, T, d)``.
        reference: Number of the reference point.

    Returns:
        ``(..., N, T)`` in [0, 2]; exactly 0 where features are equal.
    """
    unit = normalize(features, dim=-1)
    # of unit vectors half the squared chord is one minus the cosine, without cancellation at 0
    return (unit - _reference(unit, reference)).square().sum(dim=-1) / 2


def relative_distance(features: Tensor, reference: int) -> Tensor:
    """Euclidean distance to the reference's features over their norm, at each point.

    Arguments as :func:`cosine_distance`; returns ``(..., N, T)``, at least 0. Where the reference
    is the zero vector, 0 if the point is too, else 1.
    """
    centre = _reference(features, reference)
    apart, norm = (features - centre).norm(dim=-1), centre.norm(dim=-1)
    return torch.where(norm > 0, apart / norm.clamp_min(1e-30), (apart > 0).to(apart))


def mean_off_reference(values: Tensor, reference: int) -> Tensor:
    """Mean over an orbit's points but the reference, ``(..., N, T)`` to ``(..., N)`` float64.

    0 for an orbit of one point.
    """
    points = values.shape[-1]
    others = torch.arange(points, device=values.device) != reference % points
    return values.double()[..., others].sum(dim=-1) / max(1, points - 1)


class _OverObjects(Metric):
    """Mean over objects of a figure of each orbit.

    Args:
        members: Shape of the leading dimensions.
    """

    full_state_update = False
    is_differentiable = False
    total: Tensor
    count: Tensor

    def __init__(self, members: tuple[int, ...] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        zeros = torch.zeros(members, dtype=torch.float64)
        self.add_state("total", default=zeros, dist_reduce_fx="sum")
        self.add_state("count", default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def _add(self, figures: Tensor) -> None:
        self.total = self.total + figures.sum(dim=-1)
        self.count = self.count + figures.shape[-1]

    def compute(self) -> Tensor:
        """Mean of each member, ``(*members)`` float64."""
        return self.total / self.count


class OrbitAccuracy(_OverObjects):
    """Streaming mean of :func:`orbit_accuracy`."""

    higher_is_better = True

    def update(self, predicted: Tensor, label: Tensor) -> None:
        """Add classes ``(*members, N, T)`` for labels ``(N,)``."""
        self._add(orbit_accuracy(predicted, label))


class WorstCaseAccuracy(_OverObjects):
    """Streaming mean of :func:`worst_case_accuracy`."""

    higher_is_better = True

    def update(self, predicted: Tensor, label: Tensor) -> None:
        """Add classes ``(*members, N, T)`` for labels ``(N,)``."""
        self._add(worst_case_accuracy(predicted, label))


class OrbitConsistency(_OverObjects):
    """Streaming mean of :func:`orbit_consistency`."""

    higher_is_better = True

    def update(self, predicted: Tensor) -> None:
        """Add classes ``(*members, N, T)``."""
        self._add(orbit_consistency(predicted))


class OrbitConsensus(_OverObjects):
    """Streaming mean of :func:`orbit_consensus`."""

    higher_is_better = True

    def update(self, probabilities: Tensor) -> None:
        """Add probabilities ``(*members, N, T, C)``."""
        self._add(orbit_consensus(probabilities))


class CosineDistance(_OverObjects):
    """Streaming mean of :func:`cosine_distance` over all points but the reference."""

    higher_is_better = False

    def update(self, features: Tensor, reference: int) -> None:
        """Add features ``(*members, N, T, d)``."""
        self._add(mean_off_reference(cosine_distance(features, reference), reference))


class RelativeDistance(_OverObjects):
    """Streaming mean of :func:`relative_distance` over all points but the reference."""

    higher_is_better = False

    def update(self, features: Tensor, reference: int) -> None:
        """Add features ``(*members, N, T, d)``."""
        self._add(mean_off_reference(relative_distance(features, reference), reference))


def _hits(predicted: Tensor, label: Tensor) -> Tensor:
    if predicted.ndim < 2 or predicted.shape[-2:-1] != label.shape:
        raise UserError(
            f"classes {tuple(predicted.shape)} along orbits for labels {tuple(label.shape)}: give "
            "(..., objects, points) and one label an object"
        )
    return predicted == label.unsqueeze(-1)


def _reference(features: Tensor, reference: int) -> Tensor:
    if features.ndim < 3 or not -features.shape[-2] <= reference < features.shape[-2]:
        raise UserError(
            f"features {tuple(features.shape)} have no orbit point {reference}: give "
            "(..., objects, points, width)"
        )
    return features[..., reference, :].unsqueeze(-2)
