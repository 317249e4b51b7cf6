"""What turns, mirrors and scales space and leaves its vertical upright."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ssl_equiv.groups.base import Group, Range, norm
from ssl_equiv.groups.conversions import wrap_angle
from ssl_equiv.groups.flip import Flip
from ssl_equiv.groups.product import Product
from ssl_equiv.groups.so2 import SO2
from ssl_equiv.groups.vector import Scale


class Upright(Group):
    """Similarities of R^3 about the origin that keep z up: yaw, mirror and scale, ``(..., 3)``.

    An element is ``s R(yaw) M``: M first, which mirrors y where the sign is -1, then the yaw in
    (-pi, pi] about z, radians, then the positive factor s. So ``(a, m, s)(b, n, r)`` is
    ``(a + m b, m n, s r)``. A flip of x is a flip of y and half a turn: flips of both axes are
    yaws, and each motion has one element. Discrete in the mirror: no ``log``, no ``exp``.

    ``sample`` draws ``flip`` (x and y), ``yaw`` and ``scale`` from ranges by these names and joins
    them by :meth:`element`. ``distance`` takes a radian, a factor of e and a mirroring for 1 each.
    """

    name = "Upright"
    dim = 3
    log_dim = 0
    point_dim = 3
    identity_element = (0.0, 1.0, 1.0)
    factors = Product({"flip": Flip(2), "yaw": SO2(), "scale": Scale(3)})
    """What is drawn; the parts of an element before they are joined."""

    def element(self, flip: Tensor, yaw: Tensor, scale: Tensor) -> Tensor:
        """First the signs of x and y ``(..., 2)``, then yaw, then scale, ``(..., 1)`` each."""
        flip_x, flip_y = flip[..., :1], flip[..., 1:]
        half_turn = math.pi * (flip_x < 0).to(yaw)
        parts = torch.broadcast_tensors(  # type: ignore[no-untyped-call]
            wrap_angle(yaw + half_turn), flip_x * flip_y, scale
        )
        return torch.cat(parts, dim=-1)

    def _compose(self, g: Tensor, h: Tensor) -> Tensor:
        (a, m, s), (b, n, r) = g.unbind(-1), h.unbind(-1)
        return torch.stack(
            torch.broadcast_tensors(wrap_angle(a + m * b), m * n, s * r),  # type: ignore[no-untyped-call]
            dim=-1,
        )

    def _inverse(self, g: Tensor) -> Tensor:
        yaw, mirror, scale = g.unbind(-1)
        return torch.stack((wrap_angle(-mirror * yaw), mirror, scale.reciprocal()), dim=-1)

    def _matrix(self, g: Tensor) -> Tensor:
        yaw, mirror, scale = g.unbind(-1)
        cosine, sine, zero = scale * yaw.cos(), scale * yaw.sin(), torch.zeros_like(yaw)
        rows = (
            torch.stack((cosine, -sine * mirror, zero), dim=-1),
            torch.stack((sine, cosine * mirror, zero), dim=-1),
            torch.stack((zero, zero, scale), dim=-1),
        )
        return torch.stack(rows, dim=-2)

    def _act(self, g: Tensor, points: Tensor) -> Tensor:
        yaw, mirror, scale = g.unsqueeze(-2).unbind(-1)
        x, y, z = points.unbind(-1)
        y, cosine, sine = mirror * y, yaw.cos(), yaw.sin()
        turned = torch.stack((cosine * x - sine * y, sine * x + cosine * y, z.expand_as(y)), dim=-1)
        return scale.unsqueeze(-1) * turned

    def _distance(self, g: Tensor, h: Tensor) -> Tensor:
        yaw, mirror, scale = self.relative(g, h).unbind(-1)
        return norm(torch.stack((yaw, (1 - mirror) / 2, scale.log()), dim=-1))

    def _sample(
        self,
        shape: tuple[int, ...],
        low: Range | None,
        high: Range | None,
        generator: torch.Generator | None,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
    ) -> Tensor:
        drawn = self.factors._sample(shape, low, high, generator, dtype, device)
        return self.element(**self.factors.split(drawn))
