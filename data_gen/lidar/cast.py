"""Where rays first meet convex solids and an uneven ground.

A thing is tried only with the rays of the window of azimuth and elevation that its bounds cover.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from data_gen.lidar.shapes import CYLINDER, PLANES

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

GROUND, NOTHING = -1, -2
"""Owners of rays that meet the ground, and that meet nothing."""


@njit(cache=True, nogil=True)
def cast(
    elevations: F64,
    azimuths: int,
    poses: F64,
    bounds: F64,
    first: I32,
    kinds: I32,
    parameters: F64,
    farthest: float,
) -> tuple[F64, I32, I32, F64, I32]:
    """Nearest hits of all rays among the things.

    Rays start at the origin; ray (i, j) has elevation ``elevations[i]`` and azimuth
    ``-pi + (j + 0.5) 2 pi / azimuths``.

    Args:
        elevations: ``(B,)``, radians, ascending.
        azimuths: A.
        poses: x, y, z, yaw of each thing in the sensor's frame, ``(M, 4)``.
        bounds: Lowest and highest corner of each in its own frame, ``(M, 6)``.
        first: Thing m has the pieces ``first[m]`` to ``first[m + 1]``, ``(M + 1,)``.
        kinds: Of each piece, ``(P,)``.
        parameters: Of each piece, ``(P, 24)``.
        farthest: Metres beyond which nothing is seen.

    Returns:
        Distance (infinite: nothing), thing, piece, cosine of incidence, each ``(B, A)``, and how
        many rays would meet each thing if it stood alone, ``(M,)``.
    """
    beams, things = len(elevations), len(poses)
    distance = np.full((beams, azimuths), np.inf)
    owner = np.full((beams, azimuths), NOTHING, np.int32)
    piece = np.zeros((beams, azimuths), np.int32)
    cosine = np.zeros((beams, azimuths))
    alone = np.zeros(things, np.int32)
    step = 2 * math.pi / azimuths
    for m in range(things):
        x, y, z, yaw = poses[m]
        c, s = math.cos(yaw), math.sin(yaw)
        # the sensor in the thing's frame
        ox, oy, oz = -(c * x + s * y), s * x - c * y, -z
        low, high, left, right = _window(bounds[m], x, y, z, c, s, ox, oy)
        i0, i1 = np.searchsorted(elevations, low), np.searchsorted(elevations, high, side="right")
        j0 = math.floor((left + math.pi) / step - 0.5)
        j1 = math.ceil((right + math.pi) / step - 0.5)
        for i in range(i0, i1):
            flat, dz = math.cos(elevations[i]), math.sin(elevations[i])
            for jj in range(j0, min(j1, j0 + azimuths - 1) + 1):
                j = jj % azimuths
                azimuth = -math.pi + (j + 0.5) * step - yaw
                dx, dy = flat * math.cos(azimuth), flat * math.sin(azimuth)
                best, which, incidence = np.inf, 0, 0.0
                for p in range(first[m], first[m + 1]):
                    t, incident = hit(kinds[p], parameters[p], ox, oy, oz, dx, dy, dz)
                    if t < best:
                        best, which, incidence = t, p, incident
                if best <= farthest:
                    alone[m] += 1
                    if best < distance[i, j]:
                        distance[i, j], owner[i, j] = best, m
                        piece[i, j], cosine[i, j] = which, incidence
    return distance, owner, piece, cosine, alone


@njit(cache=True, nogil=True)
def _window(
    bounds: F64, x: float, y: float, z: float, c: float, s: float, ox: float, oy: float
) -> tuple[float, float, float, float]:
    """Lowest and highest elevation, first and last azimuth that bounds cover, radians."""
    x0, y0, z0, x1, y1, z1 = bounds
    out_x, out_y = max(x0 - ox, 0.0, ox - x1), max(y0 - oy, 0.0, oy - y1)
    near = math.hypot(out_x, out_y)
    far = math.hypot(max(abs(x0 - ox), abs(x1 - ox)), max(abs(y0 - oy), abs(y1 - oy)))
    if near < 1e-6:
        return -math.pi / 2, math.pi / 2, -math.pi, math.pi
    bottom, top = z + z0, z + z1
    low = math.atan2(bottom, near if bottom < 0 else far)
    high = math.atan2(top, near if top > 0 else far)
    # azimuths of the corners, from that of the middle: a convex footprint covers less than pi
    mx, my = (x0 + x1) / 2, (y0 + y1) / 2
    middle = math.atan2(y + s * mx + c * my, x + c * mx - s * my)
    left = right = 0.0
    for px in (x0, x1):
        for py in (y0, y1):
            off = math.atan2(y + s * px + c * py, x + c * px - s * py) - middle
            off -= 2 * math.pi * math.floor((off + math.pi) / (2 * math.pi))
            left, right = min(left, off), max(right, off)
    margin = 1e-9
    return low - margin, high + margin, middle + left - margin, middle + right + margin


@njit(cache=True, nogil=True)
def hit(
    kind: int, q: F64, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float
) -> tuple[float, float]:
    """Distance at which a ray enters a piece, infinite if it does not, and the cosine of incidence.

    A ray that starts inside does not enter. ``d`` has unit length.
    """
    if kind == PLANES:
        enter, leave, cosine = -np.inf, np.inf, 0.0
        for k in range(0, 24, 4):
            along = q[k] * dx + q[k + 1] * dy + q[k + 2] * dz
            room = q[k + 3] - (q[k] * ox + q[k + 1] * oy + q[k + 2] * oz)
            if along == 0:
                if room < 0:
                    return np.inf, 0.0
            elif along < 0:
                if room / along > enter:
                    enter, cosine = room / along, -along
            else:
                leave = min(leave, room / along)
        return (enter, cosine) if 0 < enter <= leave else (np.inf, 0.0)
    if kind == CYLINDER:
        px, py, radius = ox - q[0], oy - q[1], q[2]
        a, b, c = dx * dx + dy * dy, px * dx + py * dy, px * px + py * py - radius * radius
        root = b * b - a * c
        if root < 0 or a == 0:
            return np.inf, 0.0
        root = math.sqrt(root)
        enter, leave = (-b - root) / a, (-b + root) / a
        cosine = -((px + enter * dx) * dx + (py + enter * dy) * dy) / radius
        if dz != 0:
            t0, t1 = (q[3] - oz) / dz, (q[4] - oz) / dz
            if max(min(t0, t1), -np.inf) > enter:
                enter, cosine = min(t0, t1), abs(dz)
            leave = min(leave, max(t0, t1))
        elif not q[3] <= oz <= q[4]:
            return np.inf, 0.0
        return (enter, cosine) if 0 < enter <= leave else (np.inf, 0.0)
    # an ellipsoid is a unit sphere in scaled coordinates
    px, py, pz = (ox - q[0]) / q[3], (oy - q[1]) / q[4], (oz - q[2]) / q[5]
    ex, ey, ez = dx / q[3], dy / q[4], dz / q[5]
    a, b = ex * ex + ey * ey + ez * ez, px * ex + py * ey + pz * ez
    root = b * b - a * (px * px + py * py + pz * pz - 1)
    if root < 0:
        return np.inf, 0.0
    enter = (-b - math.sqrt(root)) / a
    if enter <= 0:
        return np.inf, 0.0
    nx, ny, nz = (px + enter * ex) / q[3], (py + enter * ey) / q[4], (pz + enter * ez) / q[5]
    return enter, -(nx * dx + ny * dy + nz * dz) / math.sqrt(nx * nx + ny * ny + nz * nz)


@njit(cache=True, nogil=True)
def _height(waves: F64, x: float, y: float) -> float:
    z = 0.0
    for w in range(len(waves)):
        z += waves[w, 0] * math.sin(waves[w, 1] * x + waves[w, 2] * y + waves[w, 3])
    return z


@njit(cache=True, nogil=True)
def cast_ground(
    elevations: F64, ego: F64, waves: F64, farthest: float, distance: F64, owner: I32, cosine: F64
) -> None:
    """Let the rays of :func:`cast` meet the ground where that is nearer, in place.

    Args:
        elevations: ``(B,)``, radians.
        ego: x, y, z, yaw of the sensor in the world, ``(4,)``.
        waves: Of the ground, ``(W, 4)``.
        farthest: Metres beyond which nothing is seen.
        distance: ``(B, A)``, as are ``owner`` and ``cosine``.
    """
    beams, azimuths = distance.shape
    x, y, z, yaw = ego
    crest = 0.0
    for w in range(len(waves)):
        crest += abs(waves[w, 0])
    for i in range(beams):
        flat, dz = math.cos(elevations[i]), math.sin(elevations[i])
        if dz >= 0:
            continue
        begin, end = (z - crest) / -dz, (z + crest) / -dz
        if begin > farthest:
            continue
        pieces = math.ceil(end - begin) + 1
        for j in range(azimuths):
            azimuth = yaw - math.pi + (j + 0.5) * 2 * math.pi / azimuths
            dx, dy = flat * math.cos(azimuth), flat * math.sin(azimuth)
            limit = min(distance[i, j], farthest)
            t0 = begin
            if t0 > limit:
                continue
            f0 = z + t0 * dz - _height(waves, x + t0 * dx, y + t0 * dy)
            # steps shorter than any wave find the first crossing, secants its place
            for k in range(1, pieces + 1):
                t1 = begin + (end - begin) * k / pieces
                f1 = z + t1 * dz - _height(waves, x + t1 * dx, y + t1 * dy)
                if f1 <= 0:
                    for _ in range(12):
                        t = t0 + (t1 - t0) * min(max(f0 / (f0 - f1), 0.02), 0.98) if f0 > f1 else t0
                        f = z + t * dz - _height(waves, x + t * dx, y + t * dy)
                        if f > 0:
                            t0, f0 = t, f
                        else:
                            t1, f1 = t, f
                        if abs(f) < 1e-7:
                            break
                    t = t0 if abs(f0) < abs(f1) else t1
                    if t < limit:
                        distance[i, j], owner[i, j], cosine[i, j] = t, GROUND, -dz
                    break
                t0, f0 = t1, f1
                if t0 > limit:
                    break
