from __future__ import annotations

import math

import numpy as np
import pytest

from data_gen.procedural.primitives import (
    SIDE,
    Part,
    arc,
    box,
    circle,
    curve,
    cushion,
    cylinder,
    ellipsoid,
    extrude,
    hull,
    lathe,
    loft,
    rod,
    torus,
    tube,
    wing,
)


def volume(part: Part) -> float:
    a, b, c, d = part.points[part.quads.T]
    return (
        float(np.einsum("ij,ij->", a, np.cross(b, c)) + np.einsum("ij,ij->", a, np.cross(c, d))) / 6
    )


def open_edges(part: Part) -> int:
    """Edges without a partner of opposite direction, points at one place being one."""
    _, place = np.unique(np.round(part.points, 9), axis=0, return_inverse=True)
    quads = place.ravel()[part.quads]
    edges = np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1).reshape(-1, 2)
    edges = edges[edges[:, 0] != edges[:, 1]]
    count: dict[tuple[int, int], int] = {}
    for start, end in edges.tolist():
        count[start, end] = count.get((start, end), 0) + 1
        count[end, start] = count.get((end, start), 0) - 1
    return sum(abs(value) for value in count.values())


PARTS = {
    "box": (box(1, 2, 3), 6.0),
    "cushion": (cushion(1, 1, 1, 0.02), 1.0),
    "cylinder": (cylinder(1, 2, sides=96), 2 * math.pi),
    "cone": (cylinder(1, 3, 1e-6, sides=96), math.pi),
    "ellipsoid": (ellipsoid(1, 2, 3, 64, 33), 8 * math.pi),
    "torus": (torus(2, 0.5, 64, 48), math.pi**2),
    "rod": (rod((1, 0, 0), (1, 2, 0), 0.5, sides=96), math.pi / 2),
    "triangle": (extrude([(0, 0), (2, 0), (0, 1)], 3), 3.0),
    "pipe": (lathe([(1, 0), (2, 0), (2, 1), (1, 1)], 96, hollow=True), 3 * math.pi),
    "arc": (arc([(2, 0), (2, 1), (1, 1), (1, 0)], 10, 90, 40), 0.75 * math.pi),
    "hull": (hull([(0, 0, 2, 2), (4, 1, 2, 2)], 96), 4 * math.pi),
    "wing": (wing((0, 0, 0), (3, 1, 0), 1, 0.5, 0.1), None),
    "spring": (
        tube(np.stack([*circle(40, 0, 359).T, np.linspace(0, 2, 40)], axis=1), 0.2, 12),
        None,
    ),
    "loft": (loft([[(0, 0, z), (1, 0, z), (1, 1, z), (0, 1, z)] for z in (0, 1, 2)]), 2.0),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_are_closed_and_face_outwards(name: str) -> None:
    part, expected = PARTS[name]
    for each in (part, part.scaled(-1, 1, 1), part.placed((1, 2, 3), (20, 40, 60))):
        assert open_edges(each) == 0
        assert volume(each) == pytest.approx(expected or volume(part), rel=0.01)
        assert volume(each) > 0


def test_rings_given_inside_out_are_turned() -> None:
    ring = [(0, 0), (1, 0), (1, 1), (0, 1)]
    for rings in (ring, ring[::-1]):
        for heights in ((0, 1), (1, 0)):
            part = loft([[(*point, z) for point in rings] for z in heights])
            assert volume(part) == pytest.approx(1)


def test_around_names_the_quads_at_each_corner() -> None:
    part = ellipsoid(1, 1, 1, 8, 5)
    for quad, corners in enumerate(part.quads):
        for corner, point in enumerate(corners):
            for neighbour in part.around[quad, corner]:
                places = part.points[part.quads[neighbour]]
                assert np.linalg.norm(places - part.points[point], axis=1).min() < 1e-9


def test_a_curve_goes_through_its_points() -> None:
    points = np.array([(0, 0), (1, 2), (3, 1), (4, 4)], float)
    np.testing.assert_allclose(curve(points, 4), points, atol=1e-12)
    np.testing.assert_allclose(curve(points, 31)[::10], points, atol=1e-12)


def test_side_turns_an_outline_to_y_and_z() -> None:
    part = extrude([(0, 0), (2, 0), (0, 1)], 3).placed(turn=SIDE)
    np.testing.assert_allclose(part.points.min(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(part.points.max(axis=0), (3, 2, 1), atol=1e-12)
