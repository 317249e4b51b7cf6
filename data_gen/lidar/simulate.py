"""Sweeps of a scene, one after another, with everything that is known of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data_gen.lidar.cast import GROUND, NOTHING, cast, cast_ground
from data_gen.lidar.recipe import LidarRecipe
from data_gen.lidar.shapes import ROAD, SIDEWALK, TERRAIN, Shape
from data_gen.lidar.world import KERB, PAVEMENT, World, make_world

_HIDDEN = (0.15, 0.5)  # shares of an object's rays that others take: KITTI's levels 0, 1, 2
_DARK, _TEXTURE = 0.25, 0.05  # brightness of the ground; spread of the returns' intensity


@dataclass(frozen=True)
class Annotation:
    """A box of one sweep.

    Args:
        class_name: KITTI's class.
        box: Centre x, y, z, length, width, height, yaw in the sensor's frame, ``(7,)`` float64.
        instance: The object's number in its sequence.
        num_points: Its returns.
        hidden: Share of the rays that would meet it alone and are taken by what stands before it.
    """

    class_name: str
    box: np.ndarray
    instance: int
    num_points: int
    hidden: float

    @property
    def occlusion(self) -> int:
        """KITTI's level: 0 visible, 1 partly, 2 largely occluded."""
        return sum(self.hidden > limit for limit in _HIDDEN)


@dataclass(frozen=True)
class SimulatedSweep:
    """One turn of the sensor, in its frame.

    Args:
        points: x, y, z, intensity, ``(N, 4)`` float32.
        semantic: SemanticKITTI's classes, ``(N,)`` int64.
        instance: Object of each point, 0 none, ``(N,)`` int64.
        pose: Sensor to world, ``(4, 4)`` float64.
        annotations: Objects with enough returns.
        flow: To the next sweep, ``(N, 3)`` float32.
    """

    points: np.ndarray
    semantic: np.ndarray
    instance: np.ndarray
    pose: np.ndarray
    annotations: tuple[Annotation, ...]
    flow: np.ndarray


class _Pieces:
    """All pieces of a world in the arrays that the kernels take."""

    def __init__(self, shapes: list[Shape]) -> None:
        pieces = [piece for shape in shapes for piece in shape.pieces]
        counts = [len(shape.pieces) for shape in shapes]
        self.first = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
        self.kinds = np.array([piece.kind for piece in pieces], np.int32)
        parameters = [piece.parameters for piece in pieces]
        self.parameters = np.array(parameters, np.float64).reshape(-1, 24)
        self.brightness = np.array([piece.brightness for piece in pieces])
        labels = [piece.label for piece in pieces]
        self.labels = np.array(labels, np.int64).reshape(-1, 2)  # still, moving
        bounds = [np.concatenate(shape.bounds) for shape in shapes]
        self.bounds = np.array(bounds, np.float64).reshape(-1, 6)


class Simulation:
    """A sequence: a world, and the sweeps of a sensor that drives through it.

    Args:
        recipe: Sensor and streets.
        seed: Seed of the data set.
        sequence: Number of the sequence in it.
        sweeps: How many there are.
    """

    def __init__(self, recipe: LidarRecipe, seed: int, sequence: int, sweeps: int) -> None:
        self.recipe, self.seed, self.sequence, self.sweeps = recipe, seed, sequence, sweeps
        self.world = make_world(recipe, seed, sequence, recipe.period * (sweeps - 1))
        self._pieces = _Pieces([thing.shape for thing in self.world.things])
        low, high = np.radians(recipe.elevation)
        self.elevations = np.linspace(low, high, recipe.beams)

    def sweep(self, number: int) -> SimulatedSweep:
        """The sweep of that number: a pure function of it and of what made the sequence."""
        recipe, world = self.recipe, self.world
        # a stream for each sweep: it does not depend on which others are made
        rng = np.random.default_rng([self.seed, self.sequence, number, 1])
        time = number * recipe.period
        ego, after = world.ego_pose(time), world.ego_pose(time + recipe.period)
        now, then = world.poses(time), world.poses(time + recipe.period)
        local = np.linalg.inv(ego) @ now
        places = np.column_stack((local[:, :3, 3], np.arctan2(local[:, 1, 0], local[:, 0, 0])))
        distance, owner, piece, cosine, alone = self._cast(ego, places)
        seen = np.bincount(owner[owner >= 0], minlength=len(world.things))

        # numbers are drawn for every ray, so that one more return changes no other
        noise = rng.normal(0, recipe.range_noise, distance.shape)
        texture = rng.normal(0, _TEXTURE, distance.shape)
        lost = rng.random(distance.shape) < recipe.dropout
        which = (owner != NOTHING) & ~lost & (distance >= recipe.ranges[0])
        xyz = ((distance + noise)[which])[:, None] * self.directions[which]
        thing, part = owner[which], piece[which]
        ground, things = thing == GROUND, thing >= 0
        semantic, bright = np.zeros(len(xyz), np.int64), np.full(len(xyz), _DARK)
        semantic[ground] = _ground_classes(world, ego, xyz[ground])
        if len(world.things):
            moving = np.array([t.moving for t in world.things], np.int64)
            semantic[things] = self._pieces.labels[part[things], moving[thing[things]]]
            bright[things] = self._pieces.brightness[part[things]]
        intensity = np.clip(bright * (0.4 + 0.6 * cosine[which]) + texture[which], 0, 1)
        points = np.column_stack((xyz, intensity)).astype(np.float32)
        named = np.array([bool(t.shape.class_name) for t in world.things] + [False])
        returns = np.bincount(thing[things], minlength=len(world.things))
        return SimulatedSweep(
            points,
            semantic,
            np.where(named[thing], thing + 1, 0).astype(np.int64),
            ego,
            _annotations(recipe, world, places, returns, seen, alone),
            _flow(points, thing, ego, after, now, then),
        )

    @cached_property
    def directions(self) -> np.ndarray:
        """Of each ray, unit vectors ``(beams, azimuths, 3)``."""
        shots = self.recipe.azimuths
        azimuth = -np.pi + (np.arange(shots) + 0.5) * (2 * np.pi / shots)
        flat = np.cos(self.elevations)[:, None]
        x, y = flat * np.cos(azimuth), flat * np.sin(azimuth)
        return np.stack(np.broadcast_arrays(x, y, np.sin(self.elevations)[:, None]), axis=-1)

    def _cast(self, ego: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, ...]:
        """Distance, owner, piece and cosine of each ray, and the rays each thing could have."""
        pieces, farthest = self._pieces, self.recipe.ranges[1]
        distance, owner, piece, cosine, alone = cast(
            self.elevations,
            self.recipe.azimuths,
            places,
            pieces.bounds,
            pieces.first,
            pieces.kinds,
            pieces.parameters,
            farthest,
        )
        sensor = np.array([*ego[:3, 3], np.arctan2(ego[1, 0], ego[0, 0])])
        waves = self.world.ground.waves
        cast_ground(self.elevations, sensor, waves, farthest, distance, owner, cosine)
        return distance, owner, piece, cosine, alone


def simulate(
    recipe: LidarRecipe, seed: int, sequence: int, sweeps: int
) -> Iterator[SimulatedSweep]:
    """The sweeps of a :class:`Simulation` in order."""
    simulation = Simulation(recipe, seed, sequence, sweeps)
    return map(simulation.sweep, range(sweeps))


def _ground_classes(world: World, ego: np.ndarray, xyz: np.ndarray) -> np.ndarray:
    across = world.across(xyz[:, :2] @ ego[:2, :2].T + ego[:2, 3])
    return np.select([across < KERB, across < PAVEMENT], [ROAD, SIDEWALK], TERRAIN)


def _flow(
    points: np.ndarray,
    thing: np.ndarray,
    ego: np.ndarray,
    after: np.ndarray,
    now: np.ndarray,
    then: np.ndarray,
) -> np.ndarray:
    """``T_ego(t+1)^-1 T_obj(t+1) T_obj(t)^-1 T_ego(t) p - p``; the ground does not move."""
    carried = np.concatenate((then @ np.linalg.inv(now), np.eye(4)[None]))
    rigid = np.linalg.inv(after) @ carried @ ego  # the last one is the ground's, number -1
    which = rigid[np.where(thing < 0, len(now), thing)]
    p = points[:, :3].astype(np.float64)
    moved = np.einsum("nij,nj->ni", which[:, :3, :3], p) + which[:, :3, 3]
    flow: np.ndarray = (moved - p).astype(np.float32)
    return flow


def _annotations(
    recipe: LidarRecipe,
    world: World,
    places: np.ndarray,
    returns: np.ndarray,
    seen: np.ndarray,
    alone: np.ndarray,
) -> tuple[Annotation, ...]:
    found = []
    for thing, place, points, met, possible in zip(
        world.things, places, returns, seen, alone, strict=True
    ):
        if not thing.shape.class_name or points < max(recipe.min_points, 1):
            continue
        low, high = thing.shape.bounds
        x, y, z, yaw = place
        box = np.array([x, y, z + (low[2] + high[2]) / 2, *(high - low), yaw])
        hidden = 1 - met / possible
        found.append(
            Annotation(thing.shape.class_name, box, thing.instance, int(points), float(hidden))
        )
    return tuple(found)
