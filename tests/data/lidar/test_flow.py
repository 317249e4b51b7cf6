"""Flow of the sensor's motion, and estimates against the simulator's truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from data_gen.lidar.live import SimulatedSource
from ssl_equiv.data.lidar.flow import ego_flow, estimate_flow, register


def pose(x: float, y: float, yaw: float) -> np.ndarray:
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, 0.3], [0, 0, 0, 1]])


def test_the_flow_of_a_still_world_is_that_of_the_sensor() -> None:
    # the sensor goes 2 m ahead: everything comes 2 m nearer
    flow = ego_flow(np.array([[10.0, 3, 1, 0.5]]), pose(5, 1, 0), pose(7, 1, 0))
    np.testing.assert_allclose(flow, [[-2, 0, 0]], atol=1e-6)
    # and turns to the left: what is ahead goes to the right
    flow = ego_flow(np.array([[10.0, 0, 0]]), pose(0, 0, 0), pose(0, 0, 0.1))
    np.testing.assert_allclose(flow, [[10 * math.cos(0.1) - 10, -10 * math.sin(0.1), 0]], atol=1e-6)
    # a point of the world is where both sweeps say it is
    first, second = pose(1, 2, 0.3), pose(2, 2.5, 0.45)
    p = np.random.default_rng(0).normal(0, 20, (50, 3))
    moved = p + ego_flow(p, first, second)
    world = p @ first[:3, :3].T + first[:3, 3]
    np.testing.assert_allclose(moved @ second[:3, :3].T + second[:3, 3], world, atol=1e-5)


@pytest.fixture(scope="module")
def pairs() -> list[tuple[np.ndarray, ...]]:
    source = SimulatedSource(4, 2, {"beams": 32, "azimuths": 540}, seed=1)
    found = []
    for index in range(0, 8, 2):
        a, b = source.sweep(index), source.sweep(index + 1)
        assert a.flow is not None
        assert a.pose is not None
        assert b.pose is not None
        found.append((a.points.numpy(), b.points.numpy(), a.pose, b.pose, a.flow.numpy()))
    return found


def errors(pairs: list[tuple[np.ndarray, ...]], poses: bool) -> tuple[float, float, float]:
    """Mean end-point error of what stands, of what moves, and of the latter taken to stand."""
    still, moving, none = [], [], []
    for p, q, first, second, truth in pairs:
        found = estimate_flow(p, q, *((first, second) if poses else ()))
        own = ego_flow(p, first, second)
        moves = np.linalg.norm(truth - own, axis=1) > 0.05
        error = np.linalg.norm(found - truth, axis=1)
        still.append(error[~moves])
        moving.append(error[moves])
        none.append(np.linalg.norm(own - truth, axis=1)[moves])
    return tuple(float(np.concatenate(part).mean()) for part in (still, moving, none))  # type: ignore[return-value]


def test_the_estimate_finds_most_of_what_moves(pairs: list[tuple[np.ndarray, ...]]) -> None:
    still, moving, none = errors(pairs, poses=True)
    assert still < 0.03
    assert none > 0.3
    assert moving < 0.45 * none


def test_the_sensors_motion_is_found_without_poses(pairs: list[tuple[np.ndarray, ...]]) -> None:
    missed, gone = [], []
    for p, q, first, second, _ in pairs:
        found = register(p[:, :3].astype(np.float64), q[:, :3].astype(np.float64))
        expected = np.linalg.inv(second) @ first
        missed.append(np.linalg.norm((found - expected)[:2, 3]))
        gone.append(np.linalg.norm(expected[:2, 3]))
        np.testing.assert_allclose(found[:2, :2], expected[:2, :2], atol=0.01)
    assert max(gone) > 1
    assert max(missed) < 0.04
    still, moving, none = errors(pairs, poses=False)
    assert still < 0.04
    assert moving < 0.45 * none


def test_empty_and_tiny_sweeps_have_flow_too() -> None:
    none, one = np.zeros((0, 4), np.float32), np.ones((1, 4), np.float32)
    assert estimate_flow(none, one).shape == (0, 3)
    np.testing.assert_array_equal(estimate_flow(one, none), np.zeros((1, 3)))
    np.testing.assert_array_equal(estimate_flow(one, one), np.zeros((1, 3)))
