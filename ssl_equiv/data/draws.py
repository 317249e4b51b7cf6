"""Who is drawn when: object order and views as pure functions of (seed, epoch, object).

Nothing here has state, so a draw does not depend on the number of workers or processes, and a
resumed run draws what the uninterrupted one would have drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ssl_equiv.errors import UserError

_GOLDEN = 0x9E3779B97F4A7C15
_ORDER, _VIEWS, _AUGMENT = 1, 2, 3  # separate streams


class Draw(NamedTuple):
    """One object of one epoch; its views follow from it."""

    epoch: int
    item: int


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele et al. 2014), elementwise on uint64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed


def _keys(*words: int | np.ndarray) -> np.ndarray:
    """Uniform uint64 keys, one per broadcast combination of the words."""
    key = np.zeros(1, np.uint64)
    for word in words:
        word = np.asarray(word, dtype=np.int64).astype(np.uint64)
        key = _mix(key + np.uint64(_GOLDEN) + word)
    return key


def epoch_order(seed: int, epoch: int, num_objects: int) -> np.ndarray:
    """The order in which an epoch visits its objects: a permutation ``(num_objects,)``."""
    return np.argsort(_keys(seed, _ORDER, epoch, np.arange(num_objects)), kind="stable")


def choose_views(
    seed: int, draws: Sequence[Draw], total: int, num_views: int, consecutive: bool = False
) -> np.ndarray:
    """Views drawn without replacement: ``(len(draws), num_views)`` integers in [0, total).

    With ``consecutive`` each row is a run of views that follow one another, its start drawn.

    Raises:
        UserError: more views asked for than an object has.
    """
    if num_views > total:
        raise UserError(
            f"{num_views} views asked for, but each object has {total}: lower data.num_views"
        )
    epoch, index = np.array(draws, dtype=np.int64).T
    if consecutive:
        starts = _keys(seed, _VIEWS, epoch, index) % np.uint64(total - num_views + 1)
        return starts.astype(np.int64)[:, None] + np.arange(num_views)
    keys = _keys(seed, _VIEWS, epoch[:, None], index[:, None], np.arange(total)[None])
    return np.argsort(keys, axis=1, kind="stable")[:, :num_views]


def uniforms(seed: int, draws: Sequence[Draw], num_views: int, count: int) -> np.ndarray:
    """Numbers in [0, 1) for every view: ``(len(draws), num_views, count)`` float64."""
    epoch, index = np.array(draws, dtype=np.int64).T
    view, place = np.arange(num_views)[:, None], np.arange(count)
    keys = _keys(seed, _AUGMENT, epoch[:, None, None], index[:, None, None], view, place)
    numbers: np.ndarray = (keys >> np.uint64(11)) * 2.0**-53
    return numbers


class TrainSampler:
    """Batches of one process: a slice of every global batch of a shuffled epoch.

    Global batch ``s`` is objects ``s·B·W .. (s+1)·B·W`` of the epoch's order and process ``r``
    takes its ``r``-th slice of B, so W processes with batch B see together what one process with
    batch W·B sees. The incomplete last global batch is left out.

    Args:
        objects: Indices to draw from, ``(N,)``.
        batch_size: Objects per process, B.
        seed: Seed of the order.
        rank: This process, 0 <= rank < world_size.
        world_size: Number of processes, W.

    Raises:
        UserError: fewer than 2 objects in a batch, or fewer objects than one global batch.
    """

    def __init__(
        self, objects: np.ndarray, batch_size: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.objects, self.batch_size, self.seed = objects, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = self.first_batch = 0
        if batch_size < 2 or len(self) == 0:
            raise UserError(
                f"{len(objects)} training objects for {world_size} processes: statistics over a "
                "batch need 2 at least for each process"
            )

    def __len__(self) -> int:
        return len(self.objects) // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch = self.epoch
        order = self.objects[epoch_order(self.seed, epoch, len(self.objects))]
        for batch in range(self.first_batch, len(self)):
            first = (batch * self.world_size + self.rank) * self.batch_size
            yield [Draw(epoch, int(i)) for i in order[first : first + self.batch_size]]


class OrderedSampler:
    """Every object once, in order, dealt to the processes in turn; no padding."""

    def __init__(
        self, objects: np.ndarray, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.objects, self.batch_size = objects[rank::world_size], batch_size

    def __len__(self) -> int:
        return -(-len(self.objects) // self.batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        for first in range(0, len(self.objects), self.batch_size):
            yield [Draw(0, int(i)) for i in self.objects[first : first + self.batch_size]]
