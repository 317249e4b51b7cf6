"""Coordinates of group elements: what a regressor puts out, what R² counts, and how far it is off.

A quaternion or a vector is regressed as it is. An angle is regressed as a point of the circle and a
rotation, with the 6-D head, as two columns of its matrix: both without a seam, and both are turned
back into an angle and a quaternion before R² is taken.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from eval.metrics import rotation_degrees
from ssl_equiv.groups.conversions import (
    matrix_to_quat,
    matrix_to_rot6d,
    quat_to_matrix,
    rot6d_to_matrix,
)


class Coordinates(ABC):
    """How elements ``(..., n)`` are regressed and judged.

    Attributes:
        dims: Names of the dimensions that R² counts.
        width: Outputs of a regressor.
        unit: ``degrees``, or ``distance`` in the factor's own unit.
    """

    dims: tuple[str, ...]
    width: int
    unit: ClassVar[str] = "distance"

    def encode(self, element: Tensor) -> Tensor:
        """What is regressed, ``(..., width)``."""
        return element

    def count(self, element: Tensor) -> Tensor:
        """What R² counts of an element, ``(..., len(dims))``."""
        return element

    def decode(self, output: Tensor, element: Tensor) -> Tensor:
        """What R² counts of an output ``(..., width)`` where ``element`` is right."""
        return output

    @abstractmethod
    def error(self, output: Tensor, element: Tensor) -> Tensor:
        """How far an output is off, ``(...)``, in ``unit``."""


@dataclass(frozen=True)
class Quaternion(Coordinates):
    """A rotation as four numbers."""

    dims: tuple[str, ...] = ("x", "y", "z", "w")
    width: int = 4
    unit: ClassVar[str] = "degrees"

    def error(self, output: Tensor, element: Tensor) -> Tensor:
        """The geodesic distance, whatever the output's sign and length."""
        return rotation_degrees(output, element)


@dataclass(frozen=True)
class SixD(Coordinates):
    """A rotation as the first two columns of its matrix (Zhou et al. 2019, arXiv 1812.07035).

    An output is made a rotation by Gram-Schmidt; R² counts its quaternion with w >= 0.
    """

    dims: tuple[str, ...] = ("x", "y", "z", "w")
    width: int = 6
    unit: ClassVar[str] = "degrees"

    def encode(self, element: Tensor) -> Tensor:
        """The columns."""
        return matrix_to_rot6d(quat_to_matrix(element))

    def decode(self, output: Tensor, element: Tensor) -> Tensor:
        """The quaternion."""
        return matrix_to_quat(rot6d_to_matrix(output))

    def error(self, output: Tensor, element: Tensor) -> Tensor:
        """The geodesic distance."""
        return rotation_degrees(self.decode(output, element), element)


@dataclass(frozen=True)
class Arc(Coordinates):
    """An angle as a point of the unit circle.

    R² counts the arc from ``centre``, in the unit of the element, in (-turn/2, turn/2]; an output
    is taken at the turn where it is nearest to the right answer, so that there is no seam.

    Args:
        turn: Circumference in the unit of the element.
        centre: Where arcs count from; the identity for relative angles.
    """

    turn: float
    centre: float = 0.0
    dims: tuple[str, ...] = ("angle",)
    width: int = 2
    unit: ClassVar[str] = "degrees"

    def encode(self, element: Tensor) -> Tensor:
        """Cosine and sine."""
        radians = (element - self.centre) * (2 * math.pi / self.turn)
        return torch.cat([radians.cos(), radians.sin()], dim=-1)

    def count(self, element: Tensor) -> Tensor:
        """The arc from the centre."""
        return self._wrap(element - self.centre)

    def decode(self, output: Tensor, element: Tensor) -> Tensor:
        """The arc from the centre, next to the right one."""
        right = self.count(element)
        return right + self._wrap(self._angle(output) - right)

    def error(self, output: Tensor, element: Tensor) -> Tensor:
        """The shorter arc."""
        away = self._wrap(self._angle(output) - self.count(element))
        return away[..., 0].abs() * (360 / self.turn)

    def mean(self, elements: Tensor) -> float:
        """The mean direction of elements ``(..., 1)``, in their unit."""
        points = self.encode(elements.double()).flatten(0, -2).mean(dim=0)
        return self._angle(points).item() + self.centre

    def _angle(self, output: Tensor) -> Tensor:
        cosine, sine = torch.split(output, 1, dim=-1)
        return torch.atan2(sine, cosine) * (self.turn / (2 * math.pi))

    def _wrap(self, arc: Tensor) -> Tensor:
        return arc - self.turn * torch.ceil(arc / self.turn - 0.5)


@dataclass(frozen=True)
class Vector(Coordinates):
    """Plain numbers; errors are Euclidean."""

    dims: tuple[str, ...]

    @property
    def width(self) -> int:  # type: ignore[override]
        """One a number."""
        return len(self.dims)

    def error(self, output: Tensor, element: Tensor) -> Tensor:
        """The Euclidean distance."""
        distance: Tensor = torch.linalg.vector_norm(output - element, dim=-1)
        return distance


class Sign(Vector):
    """Signs of axes; errors count the axes that are wrong."""

    def error(self, output: Tensor, element: Tensor) -> Tensor:
        """How many signs are wrong."""
        return ((output > 0) != (element > 0)).float().sum(dim=-1)


@dataclass(frozen=True)
class Logarithm(Coordinates):
    """A positive factor by its natural logarithm."""

    dims: tuple[str, ...] = ("log",)
    width: int = 1

    def encode(self, element: Tensor) -> Tensor:
        """The logarithm."""
        return element.log()

    def count(self, element: Tensor) -> Tensor:
        """The logarithm."""
        return element.log()

    def error(self, output: Tensor, element: Tensor) -> Tensor:
        """The difference of logarithms: 0.1 is about a tenth too large or too small."""
        return (output - element.log())[..., 0].abs()
