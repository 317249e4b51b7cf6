"""Views that are no independent draws: grids of a recipe's columns, and smooth paths."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from data_gen.distributions import Distribution
from ssl_equiv.errors import UserError

Columns = Mapping[str, Distribution | None]

_TURN = {"floor_hue": 1.0, "light_hue": 1.0, "light_phi": 2 * math.pi}


def checked_grid(grid: Any, columns: Columns, num_views: int) -> dict[str, int]:
    """The columns of a grid and their numbers of values.

    Raises:
        UserError: a column has no range of its own, or the grid has not ``num_views`` points.
    """
    if not isinstance(grid, Mapping) or not grid:
        raise UserError(f"recipe: grid is {grid!r}: give columns, as {{rotation_z: 36}}")
    for column, number in grid.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise UserError(f"recipe: grid.{column} is {number!r}: give a whole number >= 1")
        _check_column("grid", column, columns)
    if num_views != math.prod(grid.values()):
        raise UserError(
            f"recipe: num_views is {num_views}, but the grid has {math.prod(grid.values())} "
            "points: leave num_views out"
        )
    return dict(grid)


def checked_trajectory(trajectory: Any, columns: Columns) -> dict[str, Any]:
    """The number of keyframes of a path and, where not all do, the columns that move.

    Raises:
        UserError: an entry is unknown or out of place, or a column has no range of its own.
    """
    path = dict(trajectory) if isinstance(trajectory, Mapping) else {}
    keyframes, moving = path.get("keyframes"), path.get("columns")
    if (
        not path.keys() <= {"keyframes", "columns"}
        or isinstance(keyframes, bool)
        or not isinstance(keyframes, int)
        or keyframes < 2
        or not (moving is None or _names(moving))
    ):
        raise UserError(
            f"recipe: trajectory is {trajectory!r}: give {{keyframes: K}} with K >= 2, and the "
            "list of columns that move where not all do"
        )
    for column in moving or columns:
        _check_column("trajectory", column, columns)
    return {"keyframes": keyframes, **({} if moving is None else {"columns": list(moving)})}


def grid_values(column: str, columns: Columns, number: int) -> list[float]:
    """The evenly spaced values of a column of a grid: both ends of its range, or, on a full
    circle, one end.
    """
    distribution = columns[column]
    assert distribution is not None  # as checked
    low, high = distribution.bounds
    turn = 2 * math.pi if column.startswith("rotation") else _TURN.get(column, math.inf)
    if number == 1:
        return [(low + high) / 2]
    circle = high - low >= turn - 1e-6
    step = (high - low) / (number if circle else number - 1)
    return [low + step * i for i in range(number)]


def _check_column(what: str, column: str, columns: Columns) -> None:
    """A grid and a path need a column that has a connected distribution of its own."""
    if column not in columns:
        near = difflib.get_close_matches(str(column), columns, n=1, cutoff=0.0)
        raise UserError(f"recipe: {what}: no column {column!r}: did you mean {near[0]!r}?")
    distribution = columns[column]
    if distribution is None or not distribution.connected:
        raise UserError(
            f"recipe: {what}: {column} has no single range to move in: give its factor one"
        )


def _names(value: Any) -> bool:
    """Whether ``value`` is a list of strings, not empty."""
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return is_list and bool(value) and all(isinstance(item, str) for item in value)
