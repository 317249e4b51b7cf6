"""Conversions between the ways to write a rotation.

``quat``: unit quaternion xyzw, ``(..., 4)``; canonical where w > 0, or w = 0 and the first
non-zero of x, y, z is positive. ``euler_xyz``: three angles about the *fixed* axes x, then y,
then z (extrinsic; scipy's ``"xyz"``), radians, ``(..., 3)``. ``matrix``: ``(..., 3, 3)``, acting
on column vectors. ``rot6d``: the first two columns of the matrix, ``(..., 6)`` (Zhou et al. 2018,
arXiv 1812.07035). Everything broadcasts over leading dimensions, keeps dtype and device, and has
finite gradients everywhere; a wrong shape raises ValueError.

Products are written out elementwise: a matmul would fall to bfloat16 under autocast and to TF32
where the user allows it, and group elements must not lose digits there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ssl_equiv.groups.checks import check_last

# Below this squared sine the outer Euler axes coincide and only their sum or difference is
# defined (scipy's threshold: the middle angle within 1e-7 of +-pi/2).
_GIMBAL_LOCK = 5e-15
_TINY = 1e-30  # under a square root: finite gradient at zero, exact in float32


def wrap_angle(angle: Tensor) -> Tensor:
    """The same angle in (-pi, pi], with derivative 1."""
    turn = 2 * math.pi
    angle = angle - turn * torch.ceil(angle / turn - 0.5)
    # Rounding above can land just outside; these two subtractions are exact at the ends.
    angle = torch.where(angle > math.pi, angle - turn, angle)
    return torch.where(angle <= -math.pi, angle + turn, angle)


def canonical_quat(quat: Tensor) -> Tensor:
    """The one of ``quat`` and ``-quat`` that is canonical; -0.0 counts as zero."""
    check_last(quat, (4,), "quat")
    x, y, z, w = quat.detach().unbind(-1)
    yz = torch.where(y != 0, y, z)
    leading = torch.where(w != 0, w, torch.where(x != 0, x, yz))
    return quat * torch.copysign(torch.ones_like(leading), leading).unsqueeze(-1)


def quat_multiply(p: Tensor, q: Tensor) -> Tensor:
    """Hamilton product: first rotate by ``q``, then by ``p``. The sign is not canonicalised."""
    check_last(p, (4,), "quat")
    check_last(q, (4,), "quat")
    px, py, pz, pw = p.unbind(-1)
    qx, qy, qz, qw = q.unbind(-1)
    x = pw * qx + px * qw + py * qz - pz * qy
    y = pw * qy - px * qz + py * qw + pz * qx
    z = pw * qz + px * qy - py * qx + pz * qw
    w = pw * qw - px * qx - py * qy - pz * qz
    return torch.stack((x, y, z, w), dim=-1)


def quat_conjugate(quat: Tensor) -> Tensor:
    """``(-x, -y, -z, w)``, the inverse of a unit quaternion; the sign of w stays."""
    check_last(quat, (4,), "quat")
    return torch.cat((-quat[..., :3], quat[..., 3:]), dim=-1)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Cross product of ``(..., 3)`` vectors; unlike ``torch.cross``, broadcasts over any rank."""
    ax, ay, az = a.unbind(-1)
    bx, by, bz = b.unbind(-1)
    return torch.stack((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx), dim=-1)


def quat_rotate(quat: Tensor, vector: Tensor) -> Tensor:
    """``vector`` ``(..., 3)`` rotated by ``quat``; leading dimensions broadcast."""
    check_last(quat, (4,), "quat")
    check_last(vector, (3,), "vector")
    axis, w = quat[..., :3], quat[..., 3:]
    twice = 2 * cross(axis, vector)
    return vector + w * twice + cross(axis, twice)


def quat_to_matrix(quat: Tensor) -> Tensor:
    """Rotation matrix of a unit quaternion of either sign."""
    check_last(quat, (4,), "quat")
    x, y, z, w = quat.unbind(-1)
    x2, y2, z2 = 2 * x, 2 * y, 2 * z
    xx, yy, zz = x * x2, y * y2, z * z2
    xy, xz, yz = x * y2, x * z2, y * z2
    wx, wy, wz = w * x2, w * y2, w * z2
    rows = (1 - yy - zz, xy - wz, xz + wy, xy + wz, 1 - xx - zz, yz - wx, xz - wy, yz + wx)
    return torch.stack((*rows, 1 - xx - yy), dim=-1).reshape(*x.shape, 3, 3)


def matrix_to_quat(matrix: Tensor) -> Tensor:
    """Canonical quaternion of a rotation matrix.

    The sixteen products 4 q_i q_j are linear in the matrix; the row with the largest diagonal,
    normalised, is the quaternion. Its norm is at least 2, so value and gradient are well
    conditioned at every angle.
    """
    check_last(matrix, (3, 3), "matrix")
    (xx, a, b), (c, yy, d), (e, f, zz) = (row.unbind(-1) for row in matrix.unbind(-2))
    xy, xz, yz = a + c, b + e, d + f
    wx, wy, wz = f - d, b - e, c - a
    squares = (1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz, 1 + xx + yy + zz)
    rows = (squares[0], xy, xz, wx), (xy, squares[1], yz, wy), (xz, yz, squares[2], wz)
    products = torch.stack([torch.stack(row, -1) for row in (*rows, (wx, wy, wz, squares[3]))], -2)
    largest = torch.stack(squares, -1).argmax(-1)[..., None, None]
    row = products.gather(-2, largest.expand(*largest.shape[:-1], 4)).squeeze(-2)
    return canonical_quat(normalize(row, dim=-1))


def euler_xyz_to_quat(euler_xyz: Tensor) -> Tensor:
    """Canonical quaternion of extrinsic xyz angles: R = Rz Ry Rx."""
    check_last(euler_xyz, (3,), "euler_xyz")
    half = euler_xyz / 2
    sx, sy, sz = half.sin().unbind(-1)
    cx, cy, cz = half.cos().unbind(-1)
    x = sx * cy * cz - cx * sy * sz
    y = cx * sy * cz + sx * cy * sz
    z = cx * cy * sz - sx * sy * cz
    w = cx * cy * cz + sx * sy * sz
    return canonical_quat(torch.stack((x, y, z, w), dim=-1))


def quat_to_euler_xyz(quat: Tensor) -> Tensor:
    """Extrinsic xyz angles, the first and third in (-pi, pi], the second in [-pi/2, pi/2].

    In gimbal lock (second angle +-pi/2) the third angle is zero, as in scipy. Bernardes and
    Viollet 2022 (doi 10.1371/journal.pone.0276302): accurate up to the lock.
    """
    check_last(quat, (4,), "quat")
    x, y, z, w = quat.unbind(-1)
    a, b, c, d = w - y, x + z, y + w, z - x
    ab, cd = a * a + b * b, c * c + d * d
    up, down = ab < _GIMBAL_LOCK, cd < _GIMBAL_LOCK
    locked = up | down
    # atan2(0, 0) has no gradient: in a lock the undefined half angle becomes a constant zero.
    half_sum = torch.atan2(b.masked_fill(up, 0.0), a.masked_fill(up, 1.0))
    half_difference = torch.atan2(d.masked_fill(down, 0.0), c.masked_fill(down, 1.0))
    first = half_sum - half_difference
    second = 2 * torch.atan2(cd.clamp_min(_TINY).sqrt(), ab.clamp_min(_TINY).sqrt()) - math.pi / 2
    third = (half_sum + half_difference).masked_fill(locked, 0.0)
    first = wrap_angle(torch.where(locked, 2 * first, first))
    return torch.stack((first, second, wrap_angle(third)), dim=-1)


def matrix_to_rot6d(matrix: Tensor) -> Tensor:
    """The first column, then the second (Zhou et al. 2018, Eq. 15)."""
    check_last(matrix, (3, 3), "matrix")
    return matrix[..., :2].mT.flatten(-2)


def rot6d_to_matrix(rot6d: Tensor) -> Tensor:
    """Gram-Schmidt on two vectors of any length (Zhou et al. 2018, Eq. 16)."""
    check_last(rot6d, (6,), "rot6d")
    first = normalize(rot6d[..., :3], dim=-1)
    second = rot6d[..., 3:]
    second = normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack((first, second, cross(first, second)), dim=-1)
