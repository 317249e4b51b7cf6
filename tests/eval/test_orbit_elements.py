"""Orbits told from elements, against scipy's rotations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from eval.cache import FeatureSet
from eval.orbit_elements import geometry_of, varying_factor
from eval.orbit_plots import binned
from ssl_equiv.errors import UserError
from ssl_equiv.groups.conversions import euler_xyz_to_quat
from tests.eval.fakes import feature_set


def views_at(euler: np.ndarray, **more: Tensor) -> FeatureSet:
    """Objects at extrinsic xyz Euler angles ``(N, T, 3)``, degrees."""
    quats = euler_xyz_to_quat(torch.from_numpy(np.radians(euler)).float())
    actions = {"rotation": quats, **more}
    return feature_set(torch.zeros(*euler.shape[:2], 2), actions=actions)


def turned(tilts: list[tuple[float, float]]) -> np.ndarray:
    """12 turns about z, from -180 degrees on, of objects with tilts of their own."""
    angles = np.arange(-180.0, 180, 30)
    return np.array([[(x, y, z) for z in angles] for x, y in tilts])


def test_turns_about_an_axis_are_a_line() -> None:
    geometry = geometry_of(views_at(turned([(0, 0), (0, 0)])), "rotation")
    assert geometry.reference == 6
    assert geometry.x is not None
    np.testing.assert_allclose(geometry.x[1:], np.arange(-150, 180, 30), atol=1e-3)
    assert abs(geometry.x[0]) == pytest.approx(180)
    assert geometry.directions is None
    assert geometry.points[7] == "rotation +30°"


def test_objects_may_stand_each_in_its_own_way() -> None:
    # about the world's axis, and about the objects' own: both are orbits
    tilts = [(20.0, 10.0), (-30.0, 5.0), (0.0, 0.0)]
    world = turned(tilts)
    own = Rotation.from_euler("xyz", [(x, y, 0) for x, y in tilts], degrees=True)
    turns = Rotation.from_euler("z", np.arange(-180, 180, 30)[:, None], degrees=True)
    about_own = np.array([[(o * t).as_euler("xyz", degrees=True) for t in turns] for o in own])
    for euler in (world, about_own):
        geometry = geometry_of(views_at(euler), "rotation", reference=6)
        assert geometry.x is not None
        np.testing.assert_allclose(geometry.x[1:], np.arange(-150, 180, 30), atol=1e-2)


def test_tilts_all_over_are_on_the_sphere() -> None:
    grid = np.array(list(itertools.product((-60, -30, 0, 30, 60), np.arange(-180, 180, 45), (0,))))
    views = views_at(np.broadcast_to(grid, (3, *grid.shape)))
    geometry = geometry_of(views, "rotation")
    rotations = Rotation.from_euler("xyz", grid, degrees=True)
    assert (grid[geometry.reference] == 0).all()
    assert geometry.directions is not None
    np.testing.assert_allclose(geometry.directions, rotations.apply([0, 0, 1]), atol=1e-5)
    np.testing.assert_allclose(geometry.x, np.degrees(rotations.magnitude()), atol=1e-3)


def test_paths_go_by_the_distance_from_their_first_view() -> None:
    euler = np.random.default_rng(0).uniform(-90, 90, (4, 10, 3))
    geometry = geometry_of(views_at(euler), "rotation")
    assert geometry.reference == 0
    assert geometry.directions is None
    for i in range(4):
        rotations = Rotation.from_euler("xyz", euler[i], degrees=True)
        expected = np.degrees((rotations[0].inv() * rotations).magnitude())
        np.testing.assert_allclose(geometry.x[i], expected, atol=1e-3)  # type: ignore[index]


def test_displacements_along_an_axis_are_signed() -> None:
    rotation = np.zeros((2, 5, 3))
    steps = torch.linspace(-0.4, 0.4, 5)[:, None] * torch.tensor([0.0, 1.0, 0.0])
    views = views_at(rotation, translation=steps.expand(2, 5, 3))
    assert varying_factor(views, None, "DIR") == "translation"
    geometry = geometry_of(views, "translation")
    assert geometry.reference == 2
    np.testing.assert_allclose(geometry.x, np.linspace(-0.4, 0.4, 5), atol=1e-6)


def test_what_is_no_orbit_is_told() -> None:
    drawn = np.random.default_rng(0).uniform(-90, 90, (3, 4, 3))
    places = torch.rand(3, 4, 3)
    both, still = views_at(drawn, translation=places), views_at(np.zeros((3, 4, 3)))
    with pytest.raises(UserError, match="but rotation, translation does"):
        varying_factor(both, None, "DIR")
    with pytest.raises(UserError, match=r"rotation should vary .* but rotation, translation does"):
        varying_factor(both, "rotation", "DIR")
    with pytest.raises(UserError, match="nothing does"):
        varying_factor(still, None, "DIR")
    with pytest.raises(UserError, match="no factor 'rotaton'"):
        varying_factor(still, "rotaton", "DIR")
    with pytest.raises(UserError, match="tells no factors"):
        varying_factor(feature_set(torch.zeros(3, 4, 2), actions={}), None, "DIR")
    with pytest.raises(UserError, match="reference is 12"):
        geometry_of(views_at(turned([(0, 0)])), "rotation", reference=12)


def test_many_places_are_put_into_bins() -> None:
    generator = np.random.default_rng(0)
    x = generator.uniform(0, 180, (50, 40))
    places, mean, std, count = binned(x, 2 * x + generator.normal(0, 3, x.shape))
    assert count.sum() == x.size
    np.testing.assert_allclose(mean, 2 * places, atol=3)
    assert (std < 10).all()
    few, mean, std, count = binned(np.array([1.0, 0.0, 1.0]), np.array([[1, 2, 3], [5, 6, 7.0]]))
    assert few.tolist() == [0, 1]
    assert mean.tolist() == [4, 4]
    assert count.tolist() == [2, 4]
    assert std[0] == pytest.approx(math.sqrt(8))
