"""A street with everything that stands and moves on it, at any time.

The road is an arc that the sensor follows; things are placed in its own coordinates, s along it
and d to its left. Whatever moves has a constant turn rate and velocity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data_gen.lidar import shapes
from data_gen.lidar.recipe import LidarRecipe
from data_gen.lidar.shapes import Shape

_LANE = 3.5
KERB = 6.9  # half the width of the road, parked cars included
PAVEMENT = 10.5  # and of the pavements beside it
_TRIES = 8  # places that are tried for a thing before it is left out


@dataclass(frozen=True)
class Motion:
    """Constant turn rate and velocity.

    Args:
        start: x, y, yaw at time 0 in the world, metres and radians, ``(3,)``.
        speed: Metres a second along the heading.
        turn: Radians a second.
    """

    start: np.ndarray
    speed: float = 0.0
    turn: float = 0.0

    def at(self, time: float) -> np.ndarray:
        """x, y, yaw, ``(3,)`` float64."""
        x, y, yaw = self.start
        half = self.turn * time / 2
        # the chord of the arc: its length goes to speed * time where the turn vanishes
        chord = self.speed * time * np.sinc(half / np.pi)
        heading = yaw + half
        return np.array([x + chord * np.cos(heading), y + chord * np.sin(heading), yaw + 2 * half])


@dataclass(frozen=True)
class Ground:
    """A plane with waves: ``z(x, y) = Σ a sin(kx x + ky y + phase)``.

    Args:
        waves: ``(W, 4)``: a, kx, ky, phase.
    """

    waves: np.ndarray

    def height(self, x: float | np.ndarray, y: float | np.ndarray) -> np.ndarray:
        """Metres."""
        a, kx, ky, phase = self.waves.T
        x, y = np.asarray(x)[..., None], np.asarray(y)[..., None]
        height: np.ndarray = (a * np.sin(kx * x + ky * y + phase)).sum(-1)
        return height


@dataclass(frozen=True)
class Thing:
    """A shape that moves, or not; its ``instance`` is its number in the scene, from 1."""

    shape: Shape
    motion: Motion
    instance: int

    @property
    def moving(self) -> bool:
        """Whether it moves."""
        return self.motion.speed != 0


@dataclass(frozen=True)
class World:
    """One scene.

    Args:
        things: Whatever rays can meet besides the ground.
        ego: The motion of the sensor.
        ground: The ground.
        curvature: Of the road, 1/metres; the road passes the origin along x.
        sensor_height: Metres above the ground.
    """

    things: tuple[Thing, ...]
    ego: Motion
    ground: Ground
    curvature: float
    sensor_height: float

    def ego_pose(self, time: float) -> np.ndarray:
        """Sensor to world, ``(4, 4)``; the sensor stays upright."""
        return self._pose(self.ego, time, self.sensor_height)

    def pose(self, thing: Thing, time: float) -> np.ndarray:
        """Frame of a thing to world, ``(4, 4)``; it stays upright and on the ground."""
        return self._pose(thing.motion, time, 0.0)

    def poses(self, time: float) -> np.ndarray:
        """Of all things, ``(M, 4, 4)``."""
        return np.array([self.pose(thing, time) for thing in self.things]).reshape(-1, 4, 4)

    def _pose(self, motion: Motion, time: float, above: float) -> np.ndarray:
        x, y, yaw = motion.at(time)
        return upright(x, y, above + float(self.ground.height(x, y)), yaw)

    def across(self, points: np.ndarray) -> np.ndarray:
        """How far points ``(N, 2+)`` of the world lie from the road's middle, metres."""
        x, y, k = points[:, 0], points[:, 1], self.curvature
        # signed distance to the circle through the origin, without a division by k
        away: np.ndarray = 2 * y - k * (x * x + y * y)
        found: np.ndarray = np.abs(away) / (1 + np.sqrt(np.maximum(1 - k * away, 0)))
        return found


def upright(x: float, y: float, z: float, yaw: float) -> np.ndarray:
    """A pose ``(4, 4)`` with its z axis up."""
    pose = np.eye(4)
    cosine, sine = np.cos(yaw), np.sin(yaw)
    pose[:2, :2] = (cosine, -sine), (sine, cosine)
    pose[:3, 3] = x, y, z
    return pose


def make_world(recipe: LidarRecipe, seed: int, sequence: int, duration: float) -> World:
    """The scene of a sequence: a pure function of its arguments.

    Args:
        recipe: What streets are like.
        seed: Seed of the data set.
        sequence: Number of the sequence in it.
        duration: Seconds in which nothing may run into another.
    """
    rng = np.random.default_rng([seed, sequence])
    curvature = rng.uniform(*recipe.curvature)
    speed = rng.uniform(*recipe.ego_speed)
    lane = -_LANE / 2  # on the right
    ego = _along(curvature, -speed * duration / 2, lane, speed, 1)
    waves = rng.uniform((0.2, 0, 0), (1, 2 * np.pi, 2 * np.pi), (4, 3))
    lengths = rng.uniform(15, 50, 4)
    size = 2 * np.pi / lengths
    waves = np.stack(
        (
            recipe.roughness * waves[:, 0] / waves[:, 0].sum(),
            size * np.cos(waves[:, 1]),
            size * np.sin(waves[:, 1]),
            waves[:, 2],
        ),
        axis=1,
    )
    crowd = _Crowd(rng, duration, ego)
    reach = recipe.extent

    def count(interval: tuple[float, float]) -> int:
        return int(rng.integers(int(interval[0]), int(interval[1]) + 1))

    def place(number: int, make: Callable[[np.random.Generator], Shape], where: _Where) -> None:
        for _ in range(number):
            crowd.add(make(rng), lambda: where(rng, curvature, reach))

    place(count(recipe.buildings), shapes.building, _facing)
    vans = count(recipe.vans)
    place(count(recipe.cars), shapes.car, _driving)
    place((vans + 1) // 2, shapes.van, _driving)
    place(count(recipe.cyclists), shapes.cyclist, _riding)
    place(count(recipe.parked), shapes.car, _parked)
    place(vans // 2, shapes.van, _parked)
    place(count(recipe.poles), shapes.pole, _planted)
    place(count(recipe.trees), shapes.tree, _planted)
    place(count(recipe.pedestrians), shapes.pedestrian, _walking)
    return World(tuple(crowd.things), ego, Ground(waves), curvature, recipe.sensor_height)


_Where = Callable[[np.random.Generator, float, float], Motion]


def _along(k: float, s: float, d: float, speed: float, way: int, turned: float = 0.0) -> Motion:
    """Motion along the road (``way`` 1) or against it (-1), beginning at (s, d)."""
    angle = k * s
    half = angle / 2
    chord = s * np.sinc(half / np.pi)
    x, y = chord * np.cos(half) - d * np.sin(angle), chord * np.sin(half) + d * np.cos(angle)
    yaw = angle + turned + (np.pi if way < 0 else 0)
    # the parallel of an arc at d has the radius 1/k - d
    turn = way * speed * k / (1 - k * d)
    return Motion(np.array([x, y, yaw]), speed, turn)


def _side(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.5 else -1


def _driving(rng: np.random.Generator, k: float, reach: float) -> Motion:
    way, speed = _side(rng), rng.uniform(2, 14)
    if rng.random() < 0.15:
        speed = 0.0  # at a red light
    return _along(k, rng.uniform(-reach, reach), -way * _LANE / 2, speed, way)


def _riding(rng: np.random.Generator, k: float, reach: float) -> Motion:
    way, speed = _side(rng), rng.uniform(2, 7)
    d = -way * rng.uniform(3.9, 4.5)
    return _along(k, rng.uniform(-0.6 * reach, 0.6 * reach), d, speed, way)


def _parked(rng: np.random.Generator, k: float, reach: float) -> Motion:
    side = _side(rng)
    way = -side if rng.random() < 0.8 else side
    d, turned = side * rng.uniform(5.6, 6.1), rng.normal(0, 0.04)
    return _along(k, rng.uniform(-reach, reach), d, 0.0, way, turned)


def _walking(rng: np.random.Generator, k: float, reach: float) -> Motion:
    s, d = rng.uniform(-0.6 * reach, 0.6 * reach), _side(rng) * rng.uniform(7.3, 10.2)
    kind = rng.random()
    speed = 0.0 if kind < 0.25 else rng.uniform(0.7, 1.8)
    # most keep to the pavement; some cross the road, some stand as they like
    turned = rng.normal(0, 0.15) if 0.25 <= kind < 0.85 else rng.uniform(-np.pi, np.pi)
    motion = _along(k, s, d, speed, _side(rng), turned)
    return Motion(motion.start, speed, rng.normal(0, 0.1) if speed else 0.0)


def _facing(rng: np.random.Generator, k: float, reach: float) -> Motion:
    d = _side(rng) * rng.uniform(16, 24)
    return _along(k, rng.uniform(-reach, reach), d, 0.0, 1, rng.normal(0, 0.05))


def _planted(rng: np.random.Generator, k: float, reach: float) -> Motion:
    d = _side(rng) * (rng.uniform(7.1, 7.6) if rng.random() < 0.6 else rng.uniform(10.6, 14))
    return _along(k, rng.uniform(-reach, reach), d, 0.0, 1, rng.uniform(-np.pi, np.pi))


class _Crowd:
    """Things that keep apart for as long as the scene lasts."""

    def __init__(self, rng: np.random.Generator, duration: float, ego: Motion) -> None:
        self.rng, self.things = rng, list[Thing]()
        self.times = np.linspace(0, duration, max(2, int(np.ceil(duration / 0.1)) + 1))
        self.paths: list[tuple[np.ndarray, float, np.ndarray]] = []
        self._remember(ego, np.array([5.0, 2.0]))

    def add(self, shape: Shape, draw: Callable[[], Motion]) -> None:
        low, high = shape.bounds
        size = (high - low)[:2]
        for _ in range(_TRIES):
            motion = draw()
            if self._free(motion, size):
                self._remember(motion, size)
                self.things.append(Thing(shape, motion, len(self.things) + 1))
                return

    def _path(self, motion: Motion) -> np.ndarray:
        times = self.times if motion.speed else self.times[:1]
        return np.stack([motion.at(time) for time in times])

    def _remember(self, motion: Motion, size: np.ndarray) -> None:
        self.paths.append((self._path(motion), float(np.hypot(*size)) / 2, size))

    def _free(self, motion: Motion, size: np.ndarray) -> bool:
        path, radius = self._path(motion), float(np.hypot(*size)) / 2
        for other, other_radius, other_size in self.paths:
            near = np.hypot(*(path - other)[:, :2].T) < radius + other_radius + 0.3
            if near.any():
                a, b = np.broadcast_arrays(path, other)
                if any(_overlap(a[i], size, b[i], other_size) for i in np.flatnonzero(near)):
                    return False
        return True


def _overlap(a: np.ndarray, a_size: np.ndarray, b: np.ndarray, b_size: np.ndarray) -> bool:
    """Whether rectangles (x, y, yaw; length, width) come nearer than 0.3 m (separating axes)."""
    delta = b[:2] - a[:2]
    axes_a, axes_b = _axes(a[2]), _axes(b[2])
    for axis in (*axes_a, *axes_b):
        reach = np.abs(axes_a @ axis) @ a_size / 2 + np.abs(axes_b @ axis) @ b_size / 2
        if abs(delta @ axis) > reach + 0.3:
            return False
    return True


def _axes(yaw: float) -> np.ndarray:
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([(cosine, sine), (-sine, cosine)])
