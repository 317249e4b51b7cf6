"""What the simulator says of its sweeps is true of its points."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from data_gen.lidar import shapes
from data_gen.lidar.recipe import LidarRecipe
from data_gen.lidar.simulate import SimulatedSweep, Simulation, simulate
from data_gen.lidar.world import Ground, Motion, Thing, World
from ssl_equiv.errors import UserError

RECIPE = LidarRecipe(beams=24, azimuths=360)
EXACT = replace(RECIPE, range_noise=0.0, dropout=0.0)


@pytest.fixture(scope="module")
def sweeps() -> list[SimulatedSweep]:
    return list(simulate(EXACT, 3, 1, 4))


def to_box(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    c, s = np.cos(box[6]), np.sin(box[6])
    x, y, z = (points[:, :3].astype(np.float64) - box[:3]).T
    return np.column_stack((c * x + s * y, c * y - s * x, z))


def from_box(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    c, s = np.cos(box[6]), np.sin(box[6])
    x, y, z = points.T
    return np.column_stack((c * x - s * y, s * x + c * y, z)) + box[:3]


def test_an_objects_points_lie_in_its_box_and_reach_its_sides(sweeps: list[SimulatedSweep]) -> None:
    near = 0
    for sweep in sweeps:
        for annotation in sweep.annotations:
            mine = sweep.points[sweep.instance == annotation.instance]
            assert len(mine) == annotation.num_points
            local = np.abs(to_box(mine, annotation.box)) / (annotation.box[3:6] / 2)
            assert local.max() < 1 + 1e-5
            if len(mine) > 300:
                near += 1
                assert local[:, :2].max() > 0.98
    assert near > 0


def test_flow_carries_objects_from_box_to_box(sweeps: list[SimulatedSweep]) -> None:
    moving = 0
    for sweep, after in itertools.pairwise(sweeps):
        then = {a.instance: a.box for a in after.annotations}
        for annotation in sweep.annotations:
            if annotation.instance not in then:
                continue
            mine = sweep.instance == annotation.instance
            # boxes are measured otherwise than flow: in each sweep's frame
            local = to_box(sweep.points[mine], annotation.box)
            expected = from_box(local, then[annotation.instance])
            found = sweep.points[mine, :3] + sweep.flow[mine]
            np.testing.assert_allclose(found, expected, atol=2e-5)
            moving += 1
    assert moving > 20


def test_flow_is_the_formula_of_rigid_motion() -> None:
    simulation = Simulation(EXACT, 3, 1, 4)
    world, sweep = simulation.world, simulation.sweep(1)
    ego, after = world.ego_pose(0.1), world.ego_pose(0.2)
    for thing in world.things:
        mine = sweep.instance == thing.instance
        if not mine.any():
            continue
        carry = np.linalg.inv(after) @ world.pose(thing, 0.2)
        carry = carry @ np.linalg.inv(world.pose(thing, 0.1)) @ ego
        p = np.column_stack((sweep.points[mine, :3].astype(np.float64), np.ones(mine.sum())))
        np.testing.assert_allclose(sweep.flow[mine], (p @ carry.T - p)[:, :3], atol=1e-5)
    still = np.isin(sweep.semantic, (40, 48, 50, 70, 71, 72, 80))
    p = np.column_stack((sweep.points[still, :3].astype(np.float64), np.ones(still.sum())))
    own = (p @ (np.linalg.inv(after) @ ego).T - p)[:, :3]
    np.testing.assert_allclose(sweep.flow[still], own, atol=1e-5)
    assert np.linalg.norm(sweep.flow[~still] - 0, axis=1).max() > 0.2


def test_a_constant_turn_goes_round_a_circle() -> None:
    motion = Motion(np.array([1.0, 2.0, 0.3]), speed=5.0, turn=0.5)
    radius, centre = 10.0, np.array([1 - 10 * np.sin(0.3), 2 + 10 * np.cos(0.3)])
    for time in (0.0, 0.4, 3.0, -2.0):
        x, y, yaw = motion.at(time)
        assert np.hypot(*(np.array([x, y]) - centre)) == pytest.approx(radius)
        assert yaw == pytest.approx(0.3 + 0.5 * time)
        ahead = motion.at(time + 1e-6)[:2] - motion.at(time)[:2]
        np.testing.assert_allclose(ahead / 5e-6, [np.cos(yaw), np.sin(yaw)], atol=1e-5)
    straight = Motion(np.array([0.0, 0.0, 0.0]), speed=3.0)
    np.testing.assert_allclose(straight.at(2.0), [6, 0, 0])


def scene(*things: tuple[shapes.Shape, float, float]) -> World:
    made = [
        Thing(shape, Motion(np.array([x, y, 0.0])), k + 1) for k, (shape, x, y) in enumerate(things)
    ]
    ground = Ground(np.zeros((0, 4)))
    return World(tuple(made), Motion(np.zeros(3)), ground, 0.0, 1.73)


def block(name: str, x: float, y: float, z: float) -> shapes.Shape:
    piece = shapes.frustum((-x, x), (-y, y), (0, z), 0.5, shapes.CAR)
    return shapes.Shape(name, (piece,))


def of(world: World) -> SimulatedSweep:
    recipe = replace(EXACT, azimuths=1440, beams=64)
    simulation = Simulation(recipe, 0, 0, 1)
    simulation.world = world
    simulation._pieces = type(simulation._pieces)([thing.shape for thing in world.things])
    return simulation.sweep(0)


def test_what_stands_behind_is_hidden() -> None:
    car = block("Car", 2, 0.8, 1.5)
    alone = of(scene((car, 20, 0))).annotations[0]
    assert (alone.hidden, alone.occlusion) == (0, 0)

    # a wall before the left half of the car, seen from the origin
    wall = block("", 0.1, 0.5, 3)
    half, *_ = (a for a in of(scene((car, 20, 0), (wall, 10, 0.5))).annotations)
    assert half.hidden == pytest.approx(0.5, abs=0.04)
    assert half.num_points == pytest.approx(alone.num_points / 2, rel=0.08)
    assert half.occlusion in (1, 2)

    most = of(scene((car, 20, 0), (block("", 0.1, 0.6, 3), 10, 0.3))).annotations[0]
    assert most.occlusion == 2

    sight = of(scene((car, 20, 0), (block("", 0.1, 3, 3), 10, 0)))
    assert not sight.annotations  # no returns, no annotation
    assert (np.linalg.norm(sight.points[:, :3], axis=1) > 5).any()


def test_nothing_is_seen_through() -> None:
    world = scene((block("Car", 2, 1, 1.5), 12, 3), (block("Van", 2, 1, 2.2), 20, 5))
    sweep = of(world)
    # from the sensor to each point of the van, no midpoint lies in the car
    car = np.array([12, 3, 0.75 - 1.73, 4, 2, 1.5, 0])
    van = sweep.points[sweep.instance == 2, :3]
    assert len(van) > 30
    for share in np.linspace(0.2, 0.95, 40):
        local = np.abs(to_box(share * van, car))
        assert not (local < car[3:6] / 2 - 0.02).all(axis=1).any()


def test_a_sequence_repeats_and_its_sweeps_do_not_depend_on_each_other() -> None:
    first, again = list(simulate(RECIPE, 5, 2, 3)), list(simulate(RECIPE, 5, 2, 3))
    alone = Simulation(RECIPE, 5, 2, 3).sweep(2)
    for a, b in ((first[2], again[2]), (first[2], alone)):
        np.testing.assert_array_equal(a.points, b.points)
        np.testing.assert_array_equal(a.flow, b.flow)
    other = next(simulate(RECIPE, 5, 3, 3))
    assert len(other.points) != len(first[0].points)


def test_noise_and_dropout_are_as_told() -> None:
    recipe = replace(RECIPE, dropout=0.3, range_noise=0.05)
    noisy = Simulation(recipe, 1, 0, 1).sweep(0)
    whole = Simulation(replace(recipe, dropout=0.0, range_noise=0.0), 1, 0, 1).sweep(0)
    assert len(noisy.points) / len(whole.points) == pytest.approx(0.7, abs=0.02)
    rays = whole.points[:, :3] / np.linalg.norm(whole.points[:, :3], axis=1, keepdims=True)
    of_ray = {
        tuple(ray): r
        for ray, r in zip(
            np.round(rays, 4).tolist(), np.linalg.norm(whole.points[:, :3], axis=1), strict=True
        )
    }
    ranges = np.linalg.norm(noisy.points[:, :3], axis=1)
    keys = np.round(noisy.points[:, :3] / ranges[:, None], 4).tolist()
    errors = [r - of_ray[tuple(k)] for r, k in zip(ranges, keys, strict=True) if tuple(k) in of_ray]
    assert len(errors) > 2000
    assert np.std(errors) == pytest.approx(0.05, rel=0.1)


def test_a_recipe_out_of_range_or_misspelt_is_told() -> None:
    with pytest.raises(UserError, match=r"unknown entry recipe\.beam: did you mean 'beams'"):
        LidarRecipe.from_dict({"beam": 3})
    with pytest.raises(UserError, match="dropout is 1"):
        LidarRecipe(dropout=1)
    with pytest.raises(UserError, match="low, high"):
        LidarRecipe(ego_speed=(3, 1))
    assert LidarRecipe.from_dict(LidarRecipe(beams=5).to_dict()) == LidarRecipe(beams=5)
