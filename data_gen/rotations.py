"""Distributions of rotations, in and out of the training distribution, and their densities.

A rotation is stored as extrinsic xyz Euler angles (a, b, c). Every rotation has two such triples:
R(a, b, c) = R(a ± π, π − b, c ± π). So a set that draws *each* angle outside [−π/2, π/2] holds the
same rotations as one that draws each inside; a truly new rotation has one or two angles outside.

| in a recipe | draws |
| --- | --- |
| three distributions | each angle by itself (3DIEBench: uniform in [−π/2, π/2]) |
| ``uniform`` | all rotations alike (Haar measure) |
| ``{outside: [range, range, range], angles: [1, 2]}`` | one or two angles out of their ranges |
| ``{far_from: [range, range, range], at_least: 0.5}`` | uniformly among the rotations that are at \
least so many radians from every rotation whose angles lie in the ranges |
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_gen.distributions import F64, Distribution, Latitude, Range, Uniform, is_number, parse
from data_gen.geodesic import far_from_box, other_triple
from ssl_equiv.errors import UserError

_PI = math.pi
_FORMS = (
    "three distributions, 'uniform', {outside: [range, range, range], angles: [1, 2]} or "
    "{far_from: [range, range, range], at_least: RADIANS}"
)
_EVERYWHERE: tuple[Distribution, ...] = (
    Uniform(((-_PI, _PI),)),
    Latitude((-_PI / 2, _PI / 2)),
    Uniform(((-_PI, _PI),)),
)


class RotationDistribution(ABC):
    """A distribution of rotations.

    Attributes:
        bounds: Least and greatest value of each Euler angle.
        columns: The angles' own distributions where they are independent, else ``None``.
    """

    columns: tuple[Distribution, ...] | None = None

    @property
    @abstractmethod
    def bounds(self) -> tuple[Range, ...]:
        """Least and greatest value of each Euler angle."""

    @abstractmethod
    def sample(self, u: F64, generator: np.random.Generator) -> F64:
        """Euler angles ``(n, 3)`` from uniform numbers ``(n, 3)``; ``generator`` gives more."""

    @abstractmethod
    def density(self, euler: F64) -> F64 | None:
        """Density ``(n,)`` of the rotations ``euler (n, 3)`` relative to the uniform one."""

    @abstractmethod
    def to_plain(self) -> Any:
        """What a recipe says of it."""


@dataclass(frozen=True)
class Angles(RotationDistribution):
    """Independent Euler angles."""

    columns: tuple[Distribution, ...]

    @property
    def bounds(self) -> tuple[Range, ...]:
        """Those of the angles."""
        return tuple(column.bounds for column in self.columns)

    def sample(self, u: F64, generator: np.random.Generator) -> F64:
        """The angles' quantiles."""
        angles = [column.quantile(u[:, i]) for i, column in enumerate(self.columns)]
        return np.stack(angles, axis=1)

    def density(self, euler: F64) -> F64 | None:
        """Over both Euler triples of each rotation."""
        total = np.zeros(len(euler))
        for triple in (euler, other_triple(euler)):
            joint = np.ones(len(euler))
            for i, column in enumerate(self.columns):
                found = column.density(triple[:, i, None] + _TURNS)
                if found is None:
                    return None
                joint *= found.sum(axis=1)
            total += joint
        # the uniform distribution has density |cos b| / 8π² in these angles
        return total * 8 * _PI**2 / np.maximum(np.abs(np.cos(euler[:, 1])), 1e-9)

    def to_plain(self) -> Any:
        """``uniform``, or a list of three."""
        if self.columns == _EVERYWHERE:
            return "uniform"
        return [column.to_plain() for column in self.columns]


_TURNS = 2 * _PI * np.arange(-2, 3)


@dataclass(frozen=True)
class Outside(RotationDistribution):
    """Some angles out of their ranges, the others inside: uniformly among the choices."""

    ranges: tuple[Range, Range, Range]
    angles: tuple[int, ...]

    @property
    def bounds(self) -> tuple[Range, ...]:
        """Anything."""
        return ((-_PI, _PI),) * 3

    def _members(self) -> list[Angles]:
        inside = [Uniform((limits,)) for limits in self.ranges]
        outside = [_complement(limits) for limits in self.ranges]
        members = []
        for number in self.angles:
            for out in combinations(range(3), number):
                columns = tuple(outside[i] if i in out else inside[i] for i in range(3))
                members.append(Angles(columns))
        return members

    def sample(self, u: F64, generator: np.random.Generator) -> F64:
        """A choice of angles for each rotation, then each angle."""
        members = self._members()
        drawn = np.stack([member.sample(u, generator) for member in members])
        return np.asarray(drawn[generator.integers(len(members), size=len(u)), np.arange(len(u))])

    def density(self, euler: F64) -> F64 | None:
        """The mean over the choices."""
        found = [member.density(euler) for member in self._members()]
        return np.asarray(np.mean([f for f in found if f is not None], axis=0))

    def to_plain(self) -> Any:
        """``{outside: ..., angles: ...}``."""
        return {"outside": [list(r) for r in self.ranges], "angles": list(self.angles)}


@dataclass(frozen=True)
class FarFrom(RotationDistribution):
    """Uniform on the rotations at a geodesic distance from all those in a box of Euler angles."""

    ranges: tuple[Range, Range, Range]
    at_least: float

    @property
    def bounds(self) -> tuple[Range, ...]:
        """Anything, in the triple with |b| <= π/2."""
        return ((-_PI, _PI), (-_PI / 2, _PI / 2), (-_PI, _PI))

    def sample(self, u: F64, generator: np.random.Generator) -> F64:
        """By rejection from the uniform distribution."""
        everywhere = Angles(_EVERYWHERE)
        rate = _acceptance(self)
        kept = everywhere.sample(u, generator)
        kept = kept[self._are_far(kept)]
        while len(kept) < len(u):
            number = math.ceil(1.2 * (len(u) - len(kept)) / rate) + 4
            more = everywhere.sample(generator.random((number, 3)), generator)
            kept = np.concatenate([kept, more[self._are_far(more)]])
        return kept[: len(u)]

    def _are_far(self, euler: F64) -> NDArray[np.bool_]:
        return far_from_box(euler, self.ranges, self.at_least)

    def density(self, euler: F64) -> F64 | None:
        """Constant where it is not zero."""
        return self._are_far(euler) / _acceptance(self)

    def to_plain(self) -> Any:
        """``{far_from: ..., at_least: ...}``."""
        return {"far_from": [list(r) for r in self.ranges], "at_least": self.at_least}


def parse_rotation(name: str, value: Any) -> RotationDistribution:
    """Read a distribution of rotations from plain data; ``name`` is told in errors.

    Raises:
        UserError: it has none of the forms, or no rotation is as far as asked.
    """
    if isinstance(value, RotationDistribution):
        return value
    if value == "uniform":
        return Angles(_EVERYWHERE)
    if isinstance(value, Mapping):
        return _parse_mapping(name, value)
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 3:
        raise UserError(f"recipe: {name} is {value!r}: give {_FORMS}")
    return Angles(tuple(parse(f"{name}[{i}]", item) for i, item in enumerate(value)))


def _parse_mapping(name: str, value: Mapping[str, Any]) -> RotationDistribution:
    keys = set(value)
    if keys == {"outside", "angles"}:
        ranges, angles = _box(f"{name}.outside", value["outside"]), value["angles"]
        angles = [angles] if isinstance(angles, int) else angles
        full = any(not _complement(limits).intervals for limits in ranges)
        numbers = isinstance(angles, Sequence) and all(angle in (1, 2, 3) for angle in angles)
        if numbers and angles and not full:
            return Outside(ranges, tuple(sorted(set(angles))))
    elif (
        keys == {"far_from", "at_least"} and is_number(value["at_least"]) and value["at_least"] > 0
    ):
        far = FarFrom(_box(f"{name}.far_from", value["far_from"]), float(value["at_least"]))
        if _acceptance(far) == 0:
            raise UserError(
                f"recipe: {name}: no rotation, or hardly one, is {far.at_least:g} radians from all "
                f"those in {value['far_from']!r}: lower at_least"
            )
        return far
    raise UserError(f"recipe: {name} is {dict(value)!r}: give {_FORMS}")


def _box(name: str, value: Any) -> tuple[Range, Range, Range]:
    if not isinstance(value, Sequence) or len(value) != 3:
        raise UserError(f"recipe: {name} is {value!r}: give three ranges [low, high]")
    columns = [parse(f"{name}[{i}]", item) for i, item in enumerate(value)]
    for column in columns:
        if not isinstance(column, Uniform) or not column.connected:
            raise UserError(f"recipe: {name} is {value!r}: give three ranges [low, high]")
        if not -_PI - 1e-6 <= column.bounds[0] < column.bounds[1] <= _PI + 1e-6:
            raise UserError(f"recipe: {name} is {value!r}: give ranges within -π and π")
    first, second, third = (column.bounds for column in columns)
    return first, second, third


def _complement(limits: Range) -> Uniform:
    """What of [−π, π] is outside."""
    low, high = limits
    return Uniform(tuple((a, b) for a, b in ((-_PI, low), (high, _PI)) if b - a > 1e-9))


@lru_cache(maxsize=32)
def _acceptance(far: FarFrom) -> float:
    """Share of all rotations that are so far, from a fixed set of draws."""
    euler = Angles(_EVERYWHERE).sample(np.random.default_rng(0).random((4000, 3)), _NO_GENERATOR)
    return float(np.mean(far_from_box(euler, far.ranges, far.at_least)))


_NO_GENERATOR = np.random.default_rng(0)  # independent angles need no further numbers
