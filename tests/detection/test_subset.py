from __future__ import annotations

import numpy as np
import pytest

from ssl_equiv.data.lidar.source import LidarSource
from ssl_equiv.data.lidar.sweep import Sweep
from ssl_equiv.detection import labelled_subset
from ssl_equiv.errors import UserError


class Streets(LidarSource):
    """20 sequences of 5 sweeps, of which the last 4 are for validation."""

    root, has_boxes = "streets", True  # type: ignore[assignment]

    def __init__(self) -> None:
        self.sequence = np.repeat(np.arange(20), 5)
        self.split = {"train": np.arange(80), "val": np.arange(80, 100)}

    def sweep(self, index: int, boxes: bool = True, flow: bool = True) -> Sweep:
        raise NotImplementedError


def test_whole_sequences_are_labelled_and_shares_are_nested() -> None:
    source, before = Streets(), np.zeros(0)
    for fraction, count in ((0.05, 4), (0.2, 16), (0.5, 40), (1.0, 80)):
        found = labelled_subset(source, fraction)
        assert len(found) == count
        assert (np.diff(found) > 0).all()
        assert np.isin(before, found).all()
        sequences, sweeps = np.unique(source.sequence[found], return_counts=True)
        assert len(sequences) == -(-count // 5)  # no more than needed
        partly = sequences[sweeps < 5]
        assert len(partly) == (count % 5 > 0)
        if len(partly):  # the start of it
            mine = found[source.sequence[found] == partly[0]]
            assert mine.tolist() == list(range(5 * partly[0], 5 * partly[0] + len(mine)))
        before = found


def test_the_seed_decides_and_one_sweep_is_the_least() -> None:
    source = Streets()
    assert (labelled_subset(source, 0.1, 3) == labelled_subset(source, 0.1, 3)).all()
    drawn = {tuple(labelled_subset(source, 0.1, seed)) for seed in range(20)}
    assert len(drawn) > 10
    assert len(labelled_subset(source, 1e-6)) == 1


def test_what_cannot_be_is_told() -> None:
    source = Streets()
    for fraction in (0.0, 1.5, -1):
        with pytest.raises(UserError, match="share"):
            labelled_subset(source, fraction)
    source.split = {"val": np.arange(100)}
    with pytest.raises(UserError, match="no sweeps in its split 'train'"):
        labelled_subset(source, 0.5)
    source.has_boxes = False
    with pytest.raises(UserError, match="no annotated boxes"):
        labelled_subset(source, 0.5)
