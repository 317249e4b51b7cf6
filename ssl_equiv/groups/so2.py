"""Rotations of the plane, and what any circle has in common."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from ssl_equiv.groups.base import Group
from ssl_equiv.groups.conversions import wrap_angle


class Circle(Group):
    """A circle of circumference ``turn``; elements are one representative each, ``(..., 1)``.

    It acts on the plane by rotation. ``log`` is the signed arc in (-turn/2, turn/2] and
    ``distance`` the shorter arc, in the unit of the element. ``sample`` is uniform in the range,
    then wrapped; without one, uniform on the circle.
    """

    dim = 1
    log_dim = 1
    point_dim = 2
    range_dim = 1
    identity_element = (0.0,)
    turn: float

    @abstractmethod
    def _wrap(self, g: Tensor) -> Tensor: ...

    def _compose(self, g: Tensor, h: Tensor) -> Tensor:
        return self._wrap(g + h)

    def _inverse(self, g: Tensor) -> Tensor:
        return self._wrap(-g)

    def _matrix(self, g: Tensor) -> Tensor:
        sine, cosine = self._sin_cos(g)
        rows = torch.cat((cosine, -sine), dim=-1), torch.cat((sine, cosine), dim=-1)
        return torch.stack(rows, dim=-2)

    def _act(self, g: Tensor, points: Tensor) -> Tensor:
        sine, cosine = self._sin_cos(g)
        x, y = points.unbind(-1)
        return torch.stack((cosine * x - sine * y, sine * x + cosine * y), dim=-1)

    def _exp(self, v: Tensor) -> Tensor:
        return self._wrap(v)

    def _from_range(self, drawn: Tensor) -> Tensor:
        return self._wrap(drawn)

    def _sin_cos(self, g: Tensor) -> tuple[Tensor, Tensor]:
        radians = g * (2 * math.pi / self.turn)
        return radians.sin(), radians.cos()


class SO2(Circle):
    """SO(2) as the angle in (-pi, pi], radians, counter-clockwise."""

    name = "SO2"
    turn = 2 * math.pi
    default_range = (-math.pi, math.pi)

    def _wrap(self, g: Tensor) -> Tensor:
        return wrap_angle(g)

    def _log(self, g: Tensor) -> Tensor:
        return wrap_angle(g)
