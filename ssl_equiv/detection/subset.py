"""Which annotations may be used when only a share of them is."""

from __future__ import annotations

import numpy as np

from ssl_equiv.data.lidar.source import LidarSource
from ssl_equiv.errors import UserError


def labelled_subset(source: LidarSource, fraction: float, seed: int = 0) -> np.ndarray:
    """Sweeps of the split ``train`` whose annotations may be used, whole sequences first.

    Sequences are taken in an order that only the seed decides, each from its start, until the share
    is full: sweeps of one sequence show the same objects, so that a share of sweeps from everywhere
    would show nearly all of them. A smaller share is part of every larger one.

    Args:
        source: The data set.
        fraction: Share of the sweeps in (0, 1]; one at least.
        seed: Decides the order of the sequences.

    Returns:
        Numbers of the sweeps, ascending.

    Raises:
        UserError: the fraction is out of range, or there are no annotated sweeps to train on.
    """
    if not 0 < fraction <= 1:
        raise UserError(f"a share of {fraction} of the labels: give one in (0, 1], such as 0.05")
    if not source.has_boxes:
        raise UserError(f"{source.root} has no annotated boxes: detection cannot be learnt from it")
    members = source.split.get("train", np.zeros(0, np.int64))
    if not len(members):
        raise UserError(
            f"{source.root} has no sweeps in its split 'train': add ImageSets/train.txt"
        )
    sequences = np.unique(source.sequence[members])
    rank = np.random.default_rng([seed, len(sequences)]).permutation(len(sequences))
    order = np.lexsort((members, rank[np.searchsorted(sequences, source.sequence[members])]))
    return np.sort(members[order[: max(1, round(fraction * len(members)))]])
