"""Distributions of one number of a latent vector, told in a recipe as plain data.

| in a recipe | draws |
| --- | --- |
| ``0.3`` | always this |
| ``[low, high]`` | uniformly in between |
| ``[[low, high], [low, high]]`` | uniformly in the union |
| ``{choice: [0.1, 0.5]}`` | one of these, equally often |
| ``{normal: [mean, deviation], within: [low, high]}`` | a Gaussian, cut to ``within`` |
| ``{latitude: [low, high]}`` | density proportional to the cosine: a latitude on the sphere |
| ``{polar: [low, high]}`` | density proportional to the sine: an angle from the pole |

All are quantile functions of one uniform number, so that a draw, a grid and a smooth path through
the same distribution are one thing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import truncnorm

from ssl_equiv.errors import UserError

F64 = NDArray[np.float64]
Range = tuple[float, float]

_LARGEST = 1e6
_FORMS = (
    "a number, [low, high], [[low, high], ...], {choice: [...]}, {normal: [mean, deviation], "
    "within: [low, high]}, {latitude: [low, high]} or {polar: [low, high]}"
)


class Distribution(ABC):
    """A distribution of one number.

    Attributes:
        bounds: Least and greatest value.
        connected: Whether every value in between can be drawn: paths and grids need that.
    """

    bounds: Range
    connected = True

    @abstractmethod
    def quantile(self, u: F64) -> F64:
        """The values below which the shares ``u`` in [0, 1] of all draws lie, ``(...)``."""

    @abstractmethod
    def density(self, x: F64) -> F64 | None:
        """Probability density at ``x (...)``; ``None`` where single values have weight."""

    @abstractmethod
    def to_plain(self) -> Any:
        """What a recipe says of it."""


@dataclass(frozen=True)
class Uniform(Distribution):
    """Uniform on one interval or on a union of disjoint ones."""

    intervals: tuple[Range, ...]

    @property
    def bounds(self) -> Range:  # type: ignore[override]
        """First and last end."""
        return self.intervals[0][0], self.intervals[-1][1]

    @property
    def connected(self) -> bool:  # type: ignore[override]
        """Whether it is one interval."""
        return len(self.intervals) == 1

    def quantile(self, u: F64) -> F64:
        """Linear on each interval."""
        low, high = np.array(self.intervals).T
        if len(self.intervals) == 1:
            values: F64 = low + (high - low) * u
            return values
        ends = np.concatenate([[0.0], np.cumsum(high - low)])
        along = u * ends[-1]
        which = np.clip(np.searchsorted(ends, along, side="right") - 1, 0, len(low) - 1)
        return np.asarray(low[which] + (along - ends[which]))

    def density(self, x: F64) -> F64 | None:
        """One over the total length, or ``None`` for a constant."""
        total = sum(high - low for low, high in self.intervals)
        if total == 0:
            return None
        inside = np.zeros(np.shape(x), np.bool_)
        for low, high in self.intervals:
            inside |= (x >= low) & (x <= high)
        return inside / total

    def to_plain(self) -> Any:
        """A number, a range, or a list of ranges."""
        (low, high), *more = self.intervals
        if more:
            return [list(interval) for interval in self.intervals]
        return [low, high]


@dataclass(frozen=True)
class Choice(Distribution):
    """One of some values, equally often."""

    values: tuple[float, ...]
    connected = False

    @property
    def bounds(self) -> Range:  # type: ignore[override]
        """Least and greatest value."""
        return min(self.values), max(self.values)

    def quantile(self, u: F64) -> F64:
        """The values in their order."""
        which = np.minimum((u * len(self.values)).astype(int), len(self.values) - 1)
        return np.asarray(np.array(self.values)[which])

    def density(self, x: F64) -> F64 | None:
        """There is none."""
        return None

    def to_plain(self) -> Any:
        """``{choice: [...]}``."""
        return {"choice": list(self.values)}


@dataclass(frozen=True)
class Normal(Distribution):
    """A Gaussian cut to an interval."""

    mean: float
    deviation: float
    bounds: Range

    def _cut(self) -> Any:
        low, high = ((bound - self.mean) / self.deviation for bound in self.bounds)
        return truncnorm(low, high, self.mean, self.deviation)

    def quantile(self, u: F64) -> F64:
        """By scipy."""
        return np.asarray(np.clip(self._cut().ppf(u), *self.bounds))

    def density(self, x: F64) -> F64 | None:
        """By scipy."""
        return np.asarray(self._cut().pdf(x))

    def to_plain(self) -> Any:
        """``{normal: [mean, deviation], within: [low, high]}``."""
        return {"normal": [self.mean, self.deviation], "within": list(self.bounds)}


@dataclass(frozen=True)
class Latitude(Distribution):
    """Density proportional to cos x: with a uniform longitude, uniform on the sphere."""

    bounds: Range

    def quantile(self, u: F64) -> F64:
        """Uniform in the sine."""
        low, high = map(math.sin, self.bounds)
        return np.clip(np.arcsin(np.clip(low + (high - low) * u, -1, 1)), *self.bounds)

    def density(self, x: F64) -> F64 | None:
        """The cosine, normalised, or ``None`` for a constant."""
        low, high = self.bounds
        if low == high:
            return None
        inside = (x >= low) & (x <= high)
        return np.asarray(np.where(inside, np.cos(x), 0.0) / (math.sin(high) - math.sin(low)))

    def to_plain(self) -> Any:
        """``{latitude: [low, high]}``."""
        return {"latitude": list(self.bounds)}


@dataclass(frozen=True)
class Polar(Distribution):
    """Density proportional to sin x: with a uniform azimuth, uniform on the sphere."""

    bounds: Range

    def quantile(self, u: F64) -> F64:
        """Uniform in the cosine."""
        low, high = map(math.cos, self.bounds)
        return np.clip(np.arccos(np.clip(low + (high - low) * u, -1, 1)), *self.bounds)

    def density(self, x: F64) -> F64 | None:
        """The sine, normalised, or ``None`` for a constant."""
        low, high = self.bounds
        if low == high:
            return None
        inside = (x >= low) & (x <= high)
        return np.where(inside, np.sin(x), 0.0) / (math.cos(low) - math.cos(high))

    def to_plain(self) -> Any:
        """``{polar: [low, high]}``."""
        return {"polar": list(self.bounds)}


def is_number(value: object) -> bool:
    """Whether ``value`` is a number (and no bool) of a size that arithmetic can take."""
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and -_LARGEST <= value <= _LARGEST  # false for NaN
    )


def parse(name: str, value: Any) -> Distribution:
    """Read a distribution from plain data; ``name`` is told in errors.

    Raises:
        UserError: it has none of the forms, or a range is empty or out of place.
    """
    if isinstance(value, Distribution):
        return value
    if is_number(value):
        return Uniform(((float(value), float(value)),))
    if isinstance(value, Mapping):
        return _parse_mapping(name, value)
    if _is_list(value) and value and all(map(_is_list, value)):
        intervals = tuple(sorted(_range(name, interval) for interval in value))
        for (_, end), (start, _) in pairwise(intervals):
            if start < end:
                raise UserError(f"recipe: {name}: the ranges {value!r} overlap: join them")
        if len(intervals) > 1 and any(low == high for low, high in intervals):
            raise UserError(f"recipe: {name}: a range of {value!r} is a point: widen it")
        return Uniform(intervals)
    return Uniform((_range(name, value),))


def _parse_mapping(name: str, value: Mapping[str, Any]) -> Distribution:
    keys = set(value)
    if keys == {"choice"} and _is_list(value["choice"]):
        values = value["choice"]
        if values and all(map(is_number, values)):
            return Choice(tuple(map(float, values)))
    elif "normal" in keys <= {"normal", "within"} and _is_pair(value["normal"]):
        mean, deviation = map(float, value["normal"])
        if "within" not in keys:
            within = (mean - 4 * deviation, mean + 4 * deviation)
        else:
            within = _range(f"{name}.within", value["within"])
        if deviation > 0 and within[0] < within[1]:
            return Normal(mean, deviation, within)
    elif keys == {"latitude"}:
        low, high = _range(f"{name}.latitude", value["latitude"])
        if -math.pi / 2 - 1e-6 <= low and high <= math.pi / 2 + 1e-6:
            return Latitude((max(low, -math.pi / 2), min(high, math.pi / 2)))
    elif keys == {"polar"}:
        low, high = _range(f"{name}.polar", value["polar"])
        if low >= 0 and high <= math.pi + 1e-6:
            return Polar((low, min(high, math.pi)))
    raise UserError(f"recipe: {name} is {dict(value)!r}: give {_FORMS}")


def _range(name: str, value: Any) -> Range:
    if not _is_pair(value) or value[0] > value[1]:
        raise UserError(
            f"recipe: {name} is {value!r}: give [low, high], numbers with low <= high, or another "
            f"form: {_FORMS}"
        )
    return float(value[0]), float(value[1])


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_pair(value: Any) -> bool:
    return _is_list(value) and len(value) == 2 and all(map(is_number, value))
