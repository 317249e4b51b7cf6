"""Rotations of space."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ssl_equiv.groups.base import Group, Range, norm
from ssl_equiv.groups.conversions import (
    canonical_quat,
    euler_xyz_to_quat,
    quat_conjugate,
    quat_multiply,
    quat_rotate,
    quat_to_matrix,
)

# Smallest angle squared that is told from zero: keeps gradients finite at the identity, and
# sin(x)/x and atan2(x, 1)/x are exactly 1 there in float32 and float64.
_TINY = 1e-30


class SO3(Group):
    """SO(3) as canonical unit quaternions xyzw, ``(..., 4)``.

    ``sample`` without a range is uniform over all rotations (Haar); with one, the extrinsic xyz
    Euler angles are uniform in the box, radians, 3 numbers an end: not uniform over rotations.
    ``log`` and ``exp`` use rotation vectors, radians, length at most pi; at exactly pi the
    canonical sign picks one of the two. ``distance`` is the geodesic angle, radians, in [0, pi].
    """

    name = "SO3"
    dim = 4
    log_dim = 3
    point_dim = 3
    range_dim = 3
    default_range = (-math.pi, math.pi)
    identity_element = (0.0, 0.0, 0.0, 1.0)

    def _compose(self, g: Tensor, h: Tensor) -> Tensor:
        return canonical_quat(quat_multiply(g, h))

    def _inverse(self, g: Tensor) -> Tensor:
        return canonical_quat(quat_conjugate(g))

    def _matrix(self, g: Tensor) -> Tensor:
        return quat_to_matrix(g)

    def _act(self, g: Tensor, points: Tensor) -> Tensor:
        return quat_rotate(g.unsqueeze(-2), points)

    def _log(self, g: Tensor) -> Tensor:
        axis, w = torch.split(canonical_quat(g), [3, 1], dim=-1)
        sine = axis.square().sum(-1, keepdim=True).clamp_min(_TINY).sqrt()
        return 2 * torch.atan2(sine, w) / sine * axis

    def _exp(self, v: Tensor) -> Tensor:
        angle = v.square().sum(-1, keepdim=True).clamp_min(_TINY).sqrt()
        half = angle / 2
        return canonical_quat(torch.cat((half.sin() / angle * v, half.cos()), dim=-1))

    def _distance(self, g: Tensor, h: Tensor) -> Tensor:
        # On the 3-sphere, with -h standing for the same rotation: a chord and its complement
        # keep all digits from 0 to pi, where acos of the dot product loses half of them.
        minus, plus = norm(g - h), norm(g + h)
        return 4 * torch.atan2(torch.minimum(minus, plus), torch.maximum(minus, plus))

    def _from_range(self, drawn: Tensor) -> Tensor:
        return euler_xyz_to_quat(drawn)

    def _sample(
        self,
        shape: tuple[int, ...],
        low: Range | None,
        high: Range | None,
        generator: torch.Generator | None,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
    ) -> Tensor:
        if low is not None:
            return super()._sample(shape, low, high, generator, dtype, device)
        # A Gaussian has no preferred direction, so its direction is uniform on the 3-sphere.
        gauss = torch.randn((*shape, 4), generator=generator, dtype=dtype, device=device)
        return canonical_quat(normalize(gauss, dim=-1))
