from __future__ import annotations

import pytest

from slurm.resources import Resources, array_indices, duration, seconds
from ssl_equiv.errors import UserError


@pytest.mark.parametrize(  # the forms of sbatch's manual page
    ("text", "expected"),
    [
        ("30", 1800),
        ("24:00", 1440),
        ("24:00:00", 86400),
        ("2-0", 172800),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("1-12:30:15", 131415),
        ("UNLIMITED", float("inf")),
    ],
)
def test_time_limits(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["1h", "", "24:00:00:00", "-5", "1-", "0", "00:00", "1.5", "12 h"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="--time is"):
        seconds(text)


def test_durations() -> None:
    told = [duration(s) for s in (5, 89, 600, 3600, 12000, 90000, 172800, float("inf"))]
    assert told == ["5 s", "89 s", "10 min", "1 h", "3 h 20 min", "1 d 1 h", "2 d", "no limit"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", [3]),
        ("0-3", [0, 1, 2, 3]),
        ("1,4-6", [1, 4, 5, 6]),
        ("0-8:4", [0, 4, 8]),
        ("0-3%2", [0, 1, 2, 3]),
        ("2,0,2", [0, 2]),
    ],
)
def test_arrays(text: str, expected: list[int]) -> None:
    assert array_indices(text) == expected


@pytest.mark.parametrize(
    "text", ["a", "3-1", "", "1,", "0-3%", "0-3%0", "0-9:0", "-1", "0-999999999"]
)
def test_other_arrays_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="--array is"):
        array_indices(text)


def test_tasks_and_gpus_are_as_many() -> None:
    with pytest.raises(UserError, match="--tasks_per_node is 4 and --gpus_per_node 8"):
        Resources(1, 8, 4)
    assert Resources(2, 8, 8).tasks == 16
    assert Resources(2, 0, 3).tasks == 6
    with pytest.raises(UserError, match="--nodes is 0: give 1 or more"):
        Resources(0, 1, 1)
