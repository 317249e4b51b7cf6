"""Average precision by distance of centres by hand, and against plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from eval.detection import BoxTable, centre_distance_ap
from tests.eval.detection.reference import slow_centre
from tests.eval.detection.scenes import CLASSES, scenes


def things(
    places: list[tuple[int, float]], score: list[float] | None = None, yaw: float = 0.0
) -> BoxTable:
    boxes = torch.tensor([[x, 0.0, 0.0, 4.0, 2.0, 1.5, yaw] for _, x in places]).view(-1, 7)
    frame = torch.tensor([frame for frame, _ in places])
    given = None if score is None else torch.tensor(score)
    return BoxTable.make(frame, boxes, torch.zeros(len(places)), given)


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_what_plain_loops_find(seed: int) -> None:
    predictions, truth = scenes(seed, frames=30)
    found = centre_distance_ap(predictions, truth, CLASSES)
    for label, name in enumerate(CLASSES):
        key = f"{name.lower()}_centre"
        for limit in (0.5, 1.0, 2.0, 4.0):
            area, errors = slow_centre(predictions, truth, label, limit)
            assert found[f"{key}_ap_{limit:g}m"] == pytest.approx(area, abs=1e-9)
            if limit == 2.0:
                assert [found[f"{key}_{e}"] for e in ("ate", "ase", "aoe")] == pytest.approx(errors)
        assert found[f"{key}_ap_4m"] > 0


def test_all_found_and_nothing_found() -> None:
    truth = things([(f, 10.0 * n) for f in range(3) for n in range(4)])
    found = centre_distance_ap(truth, truth, ["Car"])
    assert found["car_centre_ap"] == found["mean_centre_ap"] == pytest.approx(1.0)
    assert [found[f"car_centre_{e}"] for e in ("ate", "ase", "aoe")] == [0.0, 0.0, 0.0]
    missed = centre_distance_ap(things([]), truth, ["Car"])
    assert missed["car_centre_ap"] == 0.0
    assert [missed[f"car_centre_{e}"] for e in ("ate", "ase", "aoe")] == [1.0, 1.0, 1.0]
    for predictions in (things([]), truth):  # no object: no figure
        empty = centre_distance_ap(predictions, things([]), ["Car", "Van"])
        assert len(empty) == 24
        assert all(math.isnan(value) for value in empty.values())


def test_half_of_the_objects_found() -> None:
    """2 objects, one found: precision 1 up to recall .5, so 40 of the 90 recalls count 1."""
    found = centre_distance_ap(things([(0, 0.0)]), things([(0, 0.0), (0, 20.0)]), ["Car"])
    assert found["car_centre_ap_1m"] == pytest.approx(40 / 90)


def test_the_distance_decides_and_the_errors_are_of_two_metres() -> None:
    """1.5 m off and turned by 2π - .3: found at 2 and 4 m, not at .5 and 1 m."""
    found = centre_distance_ap(
        things([(0, 1.5)], yaw=2 * math.pi - 0.3), things([(0, 0.0)]), ["Car"]
    )
    assert [found[f"car_centre_ap_{d}m"] for d in ("0.5", "1", "2", "4")] == [0, 0, 1, 1]
    assert found["car_centre_ap"] == 0.5
    assert found["car_centre_ate"] == pytest.approx(1.5)
    assert found["car_centre_aoe"] == pytest.approx(0.3)
    wide = things([(0, 0.0)])
    wide.boxes[:, 4] = 4.0  # 4 x 4 for 4 x 2: IoU 1/2 when aligned
    found = centre_distance_ap(wide, things([(0, 0.0)], yaw=1.0), ["Car"])
    assert found["car_centre_ase"] == pytest.approx(0.5)


def test_the_surest_takes_the_nearest_object_first() -> None:
    """At 2 m the detection at 1 takes the object and leaves none for the nearer one at -.4.

    Precision is 1 up to the last recall, where it ends at 1/2: (1/2 - .1) / .9 counts there.
    """
    truth, found = things([(0, 0.0)]), things([(0, 1.0), (0, -0.4)], [0.9, 0.8])
    result = centre_distance_ap(found, truth, ["Car"])
    assert result["car_centre_ap_2m"] == pytest.approx((89 + 0.4 / 0.9) / 90)
    assert result["car_centre_ate"] == pytest.approx(1.0)
    # within .5 m only the second is right: from recall 0 to 1 precision rises from 0 to 1/2, and
    # exceeds .1 by k / 200 - .1 at recalls k/100 from .21 on: 16.2 in all
    assert result["car_centre_ap_0.5m"] == pytest.approx(16.2 / 90 / 0.9)


def test_objects_without_points_and_other_frames_do_not_count() -> None:
    truth = things([(0, 0.0), (0, 20.0)])
    truth.num_points[1] = 0
    assert centre_distance_ap(things([(0, 0.0)]), truth, ["Car"])["car_centre_ap"] == 1.0
    elsewhere = centre_distance_ap(things([(1, 0.0)]), truth, ["Car"])
    assert elsewhere["car_centre_ap"] == 0.0
