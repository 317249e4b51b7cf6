"""Rays against slow references that share no formula with the kernels."""

from __future__ import annotations

import numpy as np
import pytest

from data_gen.lidar.cast import GROUND, NOTHING, cast, cast_ground, hit
from data_gen.lidar.shapes import CAR, Piece, cylinder, ellipsoid, frustum

RNG = np.random.default_rng(0)


def inside(piece: Piece, points: np.ndarray) -> np.ndarray:
    """By the definition of each solid, not by its planes or its quadratic."""
    x, y, z = points.T
    p = piece.parameters
    if piece.kind == 0:
        (x0, y0, z0), (x1, y1, z1) = piece.low, piece.high
        half = (x1 - x0) / 2 * (1 - 0.5 * (z - z0) / (z1 - z0))  # narrows to a half, as below
        middle = (x0 + x1) / 2
        return (abs(x - middle) <= half) & (y >= y0) & (y <= y1) & (z >= z0) & (z <= z1)
    if piece.kind == 1:
        return (np.hypot(x - p[0], y - p[1]) <= p[2]) & (z >= p[3]) & (z <= p[4])
    return (((points - p[:3]) / p[3:6]) ** 2).sum(1) <= 1


PIECES = [
    frustum((-2, 2), (-1, 1), (0, 1.5), 0.5, CAR, (-1, 1), (-1, 1)),
    cylinder(0.3, -0.4, 0.6, (-0.5, 1.2), 0.5, CAR),
    ellipsoid((0.2, 0.1, 0.4), (1.1, 0.6, 0.8), 0.5, CAR),
]


@pytest.mark.parametrize("piece", PIECES, ids=["frustum", "cylinder", "ellipsoid"])
def test_a_ray_enters_where_marching_finds_the_solid(piece: Piece) -> None:
    steps = np.arange(0, 12, 2e-3)
    met = 0
    for _ in range(150):
        origin = RNG.normal(0, 3, 3)
        if inside(piece, origin[None])[0]:
            continue
        aim = RNG.uniform(piece.low - 0.3, piece.high + 0.3)
        direction = (aim - origin) / np.linalg.norm(aim - origin)
        within = inside(piece, origin + steps[:, None] * direction)
        t, cosine = hit(piece.kind, piece.parameters, *origin, *direction)
        if within.any():
            assert t == pytest.approx(steps[within.argmax()], abs=3e-3)
            assert 0 <= cosine <= 1 + 1e-9
            met += 1
        elif np.isfinite(t):  # marching may step over an edge
            grazing = origin + (t + np.linspace(0, 4e-3, 50))[:, None] * direction
            assert inside(piece, grazing).sum() <= 30
    assert met > 50


def test_the_cosine_of_incidence_is_that_of_the_surfaces_normal() -> None:
    box = frustum((-1, 1), (-1, 1), (-1, 1), 0.5, CAR)
    t, cosine = hit(box.kind, box.parameters, -5, 0, 0, 1, 0, 0)
    assert (t, cosine) == (4, 1)
    t, cosine = hit(box.kind, box.parameters, -5, -5, 0, 0.6, 0.8, 0)
    assert (t, cosine) == (pytest.approx(4 / 0.6), pytest.approx(0.6))
    ball = ellipsoid((0, 0, 0), (2, 2, 2), 0.5, CAR)
    t, cosine = hit(ball.kind, ball.parameters, -5, 1, 0, 1, 0, 0)
    assert t == pytest.approx(5 - 3**0.5)
    assert cosine == pytest.approx(3**0.5 / 2)


def test_windows_leave_out_no_ray() -> None:
    elevations, azimuths = np.radians(np.linspace(-60, 40, 24)), 90
    places, pieces = [], []
    for k in range(40):
        size = RNG.uniform(0.2, 4, 3)
        angle, distance = RNG.uniform(-np.pi, np.pi), RNG.uniform(0.1, 15)
        # around the seam behind, above, below, and around the sensor itself
        z = RNG.uniform(-4, 4) if k % 2 else -size[2] / 2
        place = distance * np.cos(angle), distance * np.sin(angle), z, RNG.uniform(-9, 9)
        places.append(place)
        pieces.append(frustum((-size[0], size[0]), (-size[1], size[1]), (0, size[2]), 0.5, CAR))
    poses = np.array(places)
    bounds = np.array([np.concatenate((p.low, p.high)) for p in pieces])
    first = np.arange(len(pieces) + 1, dtype=np.int32)
    kinds = np.zeros(len(pieces), np.int32)
    parameters = np.array([p.parameters for p in pieces])
    distance, owner, _, _, alone = cast(
        elevations, azimuths, poses, bounds, first, kinds, parameters, 50.0
    )
    expected = np.full((len(elevations), azimuths), np.inf)
    whose = np.full(expected.shape, NOTHING)
    counts = np.zeros(len(pieces), int)
    for i, elevation in enumerate(elevations):
        for j in range(azimuths):
            azimuth = -np.pi + (j + 0.5) * 2 * np.pi / azimuths
            flat = np.cos(elevation)
            ray = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])
            for m, (x, y, z, yaw) in enumerate(poses):
                c, s = np.cos(yaw), np.sin(yaw)
                back = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
                t, _ = hit(0, parameters[m], *(back @ -np.array([x, y, z])), *(back @ ray))
                counts[m] += t <= 50
                if t <= 50 and t < expected[i, j]:
                    expected[i, j], whose[i, j] = t, m
    np.testing.assert_allclose(distance, expected, rtol=1e-9)
    np.testing.assert_array_equal(owner, whose)
    np.testing.assert_array_equal(alone, counts)
    assert 0 < np.isfinite(expected).mean() < 1


def test_ground_points_lie_on_the_ground_and_are_the_first() -> None:
    waves = np.array([[0.2, 0.3, 0.1, 0.4], [0.15, -0.2, 0.25, 1.0]])
    ego, elevations = np.array([3.0, -2.0, 1.8, 0.7]), np.radians(np.linspace(-30, 1, 40))
    shape = (40, 60)
    distance, cosine = np.full(shape, np.inf), np.zeros(shape)
    owner = np.full(shape, NOTHING, np.int32)
    cast_ground(elevations, ego, waves, 70.0, distance, owner, cosine)

    def clearance(t: np.ndarray, i: int, j: int) -> np.ndarray:
        azimuth = ego[3] - np.pi + (j + 0.5) * 2 * np.pi / 60
        x = ego[0] + t * np.cos(elevations[i]) * np.cos(azimuth)
        y = ego[1] + t * np.cos(elevations[i]) * np.sin(azimuth)
        height = sum(a * np.sin(kx * x + ky * y + p) for a, kx, ky, p in waves)
        return ego[2] + t * np.sin(elevations[i]) - height

    assert (owner[elevations < np.radians(-3)] == GROUND).all()
    assert (owner[elevations >= 0] == NOTHING).all()
    for i, j in zip(*np.nonzero(owner == GROUND), strict=True):
        assert abs(clearance(distance[i, j], i, j)) < 1e-5
        assert (clearance(np.linspace(0, distance[i, j] - 1e-2, 400), i, j) > -1e-4).all()


def test_what_stands_nearer_hides_the_ground() -> None:
    elevations = np.radians(np.array([-20.0]))
    distance, cosine = np.full((1, 8), 2.0), np.zeros((1, 8))
    owner = np.zeros((1, 8), np.int32)
    flat = np.zeros((0, 4))
    cast_ground(elevations, np.array([0, 0, 1.7, 0]), flat, 80.0, distance, owner, cosine)
    assert (owner == 0).all()
    distance[:] = np.inf
    cast_ground(elevations, np.array([0, 0, 1.7, 0]), flat, 80.0, distance, owner, cosine)
    np.testing.assert_allclose(distance, 1.7 / np.sin(np.radians(20)), rtol=1e-9)
