"""Poses: rotations with translations of space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from ssl_equiv.groups.base import Range, norm
from ssl_equiv.groups.conversions import canonical_quat, cross, quat_conjugate, quat_rotate
from ssl_equiv.groups.semidirect import Semidirect
from ssl_equiv.groups.so3 import SO3

Frame = Literal["object", "base"]

_TINY = 1e-30  # see so3.py


class SE3(Semidirect):
    """SE(3): an element is a canonical quaternion xyzw, then the translation t of its 4x4 matrix.

    A scene places an object by two factors, a rotation R and a translation T. They make a pose in
    either order: in the ``object`` frame M = T R maps x to R x + T, so t = T; in the ``base``
    frame M = R T maps x to R (x + T), so t = R T. The law of the group is the same in both; the
    frame says how ``pose``, ``factors`` and ``sample`` read a translation.

    ``sample`` draws R as SO3 does and T uniform in its box, ranges by the names ``"rotation"`` and
    ``"translation"``. ``log`` and ``exp`` are those of se(3): ``(..., 6)``, rotation vector
    (radians), then velocity u with t = V u. ``distance`` is sqrt(angle² + |t_g - t_h|²), one
    radian counting as one unit of length; ``rotation_distance`` and ``translation_distance`` give
    its two halves. It is left-invariant.
    """

    linear_name = "rotation"

    def __init__(self, frame: Frame = "object") -> None:
        if frame not in get_args(Frame):
            raise ValueError(f"SE3: frame is 'object' or 'base', got {frame!r}")
        super().__init__(SO3())
        self.name = f"SE3({frame})"
        self.frame = frame

    def pose(self, quat: Tensor, translation: Tensor) -> Tensor:
        """The element ``(..., 7)`` of a scene's R ``(..., 4)`` and T ``(..., 3)``."""
        quat = canonical_quat(quat)
        if self.frame == "base":
            translation = quat_rotate(quat, translation)
        return self.element(quat, translation)

    def factors(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of ``pose``: R ``(..., 4)`` and T ``(..., 3)``."""
        quat, translation = self.parts(g)
        if self.frame == "base":
            translation = quat_rotate(quat_conjugate(quat), translation)
        return quat, translation

    def rotation_distance(self, g: Tensor, h: Tensor) -> Tensor:
        """The geodesic angle between the rotations, radians."""
        return self.linear.distance(self.parts(g)[0], self.parts(h)[0])

    def translation_distance(self, g: Tensor, h: Tensor) -> Tensor:
        """The Euclidean distance between the images of the origin."""
        return norm(self.parts(g)[1] - self.parts(h)[1])

    def _distance(self, g: Tensor, h: Tensor) -> Tensor:
        both = (self.rotation_distance(g, h), self.translation_distance(g, h))
        return norm(torch.stack(both, dim=-1))

    def _log(self, g: Tensor) -> Tensor:
        quat, t = self.parts(g)
        omega = self.linear.log(quat)
        once = cross(omega, t)
        square = omega.square().sum(-1, keepdim=True)
        velocity = t - once / 2 + _inverse_v_second(square) * cross(omega, once)
        return torch.cat((omega, velocity), dim=-1)

    def _exp(self, v: Tensor) -> Tensor:
        omega, velocity = torch.split(v, 3, dim=-1)
        once = cross(omega, velocity)
        square = omega.square().sum(-1, keepdim=True)
        t = velocity + _v_first(square) * once + _v_second(square) * cross(omega, once)
        return torch.cat((self.linear.exp(omega), t), dim=-1)

    def _sample(
        self,
        shape: tuple[int, ...],
        low: Range | None,
        high: Range | None,
        generator: torch.Generator | None,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
    ) -> Tensor:
        return self.pose(*self.parts(super()._sample(shape, low, high, generator, dtype, device)))


# V = I + a W + b W², V⁻¹ = I - W/2 + c W², W = [omega]x (Barfoot, State Estimation for Robotics,
# 2017, section 7.1.3): a, b, c as functions of the squared angle.


def _v_first(square: Tensor) -> Tensor:
    """a = (1 - cos x) / x², written without its cancellation."""
    half = square.clamp_min(_TINY).sqrt() / 2
    return (half.sin() / half).square() / 2


def _v_second(square: Tensor) -> Tensor:
    """b = (x - sin x) / x³."""
    taylor = (1 / 6, -1 / 120, 1 / 5040, -1 / 362880, 1 / 39916800)
    return _of_angle(square, taylor, lambda x: (x - x.sin()) / x**3)


def _inverse_v_second(square: Tensor) -> Tensor:
    """c = (1 - x/2 cot x/2) / x²."""
    taylor = (1 / 12, 1 / 720, 1 / 30240, 1 / 1209600, 1 / 47900160)
    return _of_angle(square, taylor, lambda x: (1 - x / 2 * (x / 2).cos() / (x / 2).sin()) / x**2)


def _of_angle(
    square: Tensor, taylor: tuple[float, ...], closed: Callable[[Tensor], Tensor]
) -> Tensor:
    """An even function of x from x²: its Taylor series below x = 0.1, where ``closed`` cancels.

    Each branch sees only arguments that are safe for it, so that no NaN enters a gradient.
    """
    small = square < 0.01
    near = torch.where(small, square, 0.0)
    series = torch.full_like(square, taylor[-1])
    for coefficient in reversed(taylor[:-1]):
        series = series * near + coefficient
    return torch.where(small, series, closed(torch.where(small, 1.0, square).sqrt()))
