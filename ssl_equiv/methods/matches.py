"""The same points in two views of a sweep, drawn one a cell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_equiv.points import PointBatch
from ssl_equiv.transforms.saccades import keyed_uniform

STEP = 1_000_003  # keeps the points of one sweep apart from those of another


@dataclass(frozen=True)
class Matches:
    """P matched points of each of B sweeps.

    Args:
        first: Rows of the first view's points, ``(B, P)``; 0 where there is no match.
        second: Rows of the same points in the second view.
        known: Where there is a match, ``(B, P)`` bool.
    """

    first: Tensor
    second: Tensor
    known: Tensor


def match_points(
    first: PointBatch,
    second: PointBatch,
    cells: tuple[Tensor, Tensor],
    index: Tensor,
    count: int,
    seed: int,
) -> Matches:
    """Draw points that lie in the grid in both views, at most one of each cell of the first.

    Points of one cell have nearly one feature: as each other's negatives they would ask for what
    cannot be. The draw depends on each sweep's index and the seed alone.

    Args:
        first: One view, with the points' numbers in the untransformed sweep.
        second: Another view of the same sweeps.
        cells: The cell of each point in either view, -1 outside, ``(N,)`` and ``(N',)``.
        index: Number of each sweep in its data set, ``(B,)``.
        count: Points to draw of each sweep, P.
        seed: Seed of the draw, the same on every process.
    """
    assert first.source_index is not None
    assert second.source_index is not None
    span = 1 + int(torch.cat([first.source_index, second.source_index]).amax().clamp_min(0))
    theirs = (cells[1] >= 0).nonzero()[:, 0]
    key, order = (second.batch_index * span + second.source_index)[theirs].sort()
    mine = (cells[0] >= 0).nonzero()[:, 0]
    wanted = (first.batch_index * span + first.source_index)[mine]
    at = torch.searchsorted(key, wanted).clamp_max(max(len(key) - 1, 0))
    found = key[at] == wanted if len(key) else torch.zeros_like(wanted, dtype=torch.bool)
    mine, partner = mine[found], theirs[order[at[found]]] if len(key) else theirs

    sweep = first.batch_index[mine]
    identity = index[sweep] * STEP + first.source_index[mine]
    chance = keyed_uniform(identity, 1, seed)[:, 0].argsort(stable=True)
    of_cells, _ = first_of_groups(cells[0][mine][chance], 1)
    chosen = chance[of_cells.sort().values]  # in the order of chance again
    some, rank = first_of_groups(sweep[chosen], count)
    chosen = chosen[some]
    place = (sweep[chosen], rank)
    empty = torch.zeros((first.size, count), dtype=torch.long, device=chosen.device)
    return Matches(
        empty.index_put(place, mine[chosen]),
        empty.index_put(place, partner[chosen]),
        empty.bool().index_put(place, torch.ones_like(rank, dtype=torch.bool)),
    )


def first_of_groups(group: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first ``count`` members of every group.

    Args:
        group: The group of each member, ``(N,)`` integers.
        count: Members to keep.

    Returns:
        Places of those that are kept, group by group, ``(n,)``; the rank of each in its group,
        from 0.
    """
    ordered, place = group.sort(stable=True)
    _, number = torch.unique_consecutive(ordered, return_counts=True)
    start = (number.cumsum(0) - number).repeat_interleave(number)
    rank = torch.arange(len(group), device=group.device) - start
    return place[rank < count], rank[rank < count]
