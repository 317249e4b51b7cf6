"""KITTI's average precision by hand, and against plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from eval.detection import BoxTable, kitti_ap
from eval.detection.kitti import average_precision, score_thresholds
from tests.eval.detection.reference import slow_kitti
from tests.eval.detection.scenes import CLASSES, scenes

CAR = torch.tensor([0.0, 0.0, 0.0, 4.0, 2.0, 1.5, 0.0], dtype=torch.float64)


def cars(
    places: list[tuple[int, float]], score: list[float] | None = None, **more: Tensor
) -> BoxTable:
    """Cars at x in frames."""
    boxes = CAR.repeat(len(places), 1)
    boxes[:, 0] = torch.tensor([x for _, x in places])
    frame = torch.tensor([frame for frame, _ in places])
    given = None if score is None else torch.tensor(score)
    return BoxTable.make(frame, boxes, torch.zeros(len(places)), given, **more)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", ["image", "bev", "3d"])
def test_it_is_what_plain_loops_find(seed: int, kind: str) -> None:
    predictions, truth = scenes(seed, frames=90)
    found = kitti_ap(predictions, truth, CLASSES, kinds=[kind])  # type: ignore[list-item]
    compared = 0
    for name in ("Car", "Pedestrian", "Cyclist"):
        for level in ("easy", "moderate", "hard"):
            try:
                precision = slow_kitti(predictions, truth, CLASSES, name, kind, level)
            except AssertionError:  # too few objects for the walk
                continue
            best = [max(precision[k:]) for k in range(41)]
            key = f"{name.lower()}_{kind}"
            assert found[f"{key}_ap40_{level}"] == pytest.approx(sum(best[1:]) / 40, abs=1e-9)
            assert found[f"{key}_ap11_{level}"] == pytest.approx(sum(best[::4]) / 11, abs=1e-9)
            compared += 1
            assert sum(best) > 4
    assert compared >= 5


def test_the_order_of_rows_and_other_frames_do_not_matter() -> None:
    predictions, truth = scenes(3, frames=20)
    rows = torch.randperm(len(predictions), generator=torch.Generator().manual_seed(0))
    moved = predictions[rows]
    expected = kitti_ap(predictions, truth, CLASSES)
    assert kitti_ap(moved, truth, CLASSES) == pytest.approx(expected, nan_ok=True)
    far = BoxTable.cat([predictions, cars([(99, 0.0)], [0.0])])
    assert kitti_ap(far, truth, CLASSES) == pytest.approx(expected, nan_ok=True)  # surest last


def test_all_found_is_one_and_nothing_found_is_nought() -> None:
    truth = cars([(f, 10.0 * n) for f in range(3) for n in range(3)])
    assert set(kitti_ap(truth, truth, ["Car"]).values()) == {1.0}
    none = cars([])
    assert set(kitti_ap(none, truth, ["Car"]).values()) == {0.0}
    for found in (kitti_ap(truth, none, ["Car"]), kitti_ap(none, none, ["Car"])):
        assert found
        assert all(math.isnan(value) for value in found.values())


def test_one_object_too_little_and_one_wrong_detection() -> None:
    """4 objects; right at .9, .7, .5; wrong at .8.

    Precision is 1 after the first right one, 2/3 after the second and 3/4 after the third, so
    interpolated it is 1, 3/4, 3/4. Recall k/40 of 4 objects is told by detection ceil(k/10 - 1.5):
    the first for k <= 15, the second for 16 <= k <= 25, the third for 26 <= k <= 35; the next
    recall, 36/40, comes after the last detection's and is told by it once (it is told already, so
    it stays untold).
    """
    truth = cars([(0, 0.0), (0, 10.0), (1, 0.0), (1, 10.0)])
    found = cars([(0, 0.0), (0, 50.0), (0, 10.0), (1, 0.0)], [0.9, 0.8, 0.7, 0.5])
    result = kitti_ap(found, truth, ["Car"])
    expected40 = (15 * 1 + 20 * 0.75) / 40
    expected11 = (4 * 1 + 5 * 0.75) / 11  # recalls 0, 4, 8, 12 | 16, 20, 24, 28, 32
    for kind in ("bev", "3d"):
        for level in ("easy", "moderate", "hard"):
            assert result[f"car_{kind}_ap40_{level}"] == pytest.approx(expected40)
            assert result[f"car_{kind}_ap11_{level}"] == pytest.approx(expected11)
    assert result["mean_3d_ap40_hard"] == pytest.approx(expected40)


def test_overlap_from_above_is_enough_for_bev_alone() -> None:
    """0.4 m too high of 1.5: IoU 1 from above, 1.1/1.9 = 0.58 in 3D."""
    truth = cars([(0, 0.0)])
    high = cars([(0, 0.0)])
    high.boxes[:, 2] += 0.4
    result = kitti_ap(high, truth, ["Car"])
    assert result["car_bev_ap40_easy"] == 1.0
    assert result["car_3d_ap40_easy"] == 0.0


@pytest.mark.parametrize(("shift", "found"), [(0.70, 1.0), (0.71, 0.0)])
def test_the_least_overlap_is_that_of_the_class(shift: float, found: float) -> None:
    """4 x 2 m moved by s along its length has IoU (4 - s) / (4 + s): .7 at s = 0.70588."""
    result = kitti_ap(cars([(0, shift)]), cars([(0, 0.0)]), ["Car"])
    assert result["car_3d_ap40_easy"] == found


def test_difficulty_is_height_occlusion_and_truncation() -> None:
    heights = torch.tensor([40.0, 39.9, 25.0, 24.9, 40.0, 40.0, 40.0, 40.0, 40.0])
    occlusion = torch.tensor([0, 0, 0, 0, 1, 2, 3, 0, 0])
    truncation = torch.tensor([0.15, 0, 0, 0, 0, 0, 0, 0.3, 0.5])
    places = [(n, 0.0) for n in range(9)]
    truth = cars(places, height=heights, occlusion=occlusion, truncation=truncation)
    # each object alone: it counts if finding nothing gives 0, and does not if that gives NaN
    expected = {"easy": {0}, "moderate": {0, 1, 2, 4, 7}, "hard": {0, 1, 2, 4, 5, 7, 8}}
    for level, numbers in expected.items():
        for n in range(9):
            one = truth[truth.frame == n]
            value = kitti_ap(cars([]), one, ["Car"])[f"car_3d_ap40_{level}"]
            assert math.isnan(value) != (n in numbers), (level, n)


def test_what_is_neither_right_nor_wrong() -> None:
    """A Van, a Car that is too hard, a detection too small in the image, and a doubled one."""
    truth = cars([(0, 0.0), (1, 0.0), (2, 0.0)], occlusion=torch.tensor([0, 0, 3]))
    truth.label[1] = 1
    perfect = cars([(0, 0.0)], [0.5])
    classes = ["Car", "Van"]
    assert kitti_ap(perfect, truth, classes)["car_3d_ap40_hard"] == 1.0
    for more in ((1, 0.0), (2, 0.0)):  # the van and the hidden car found as well, and surer
        found = BoxTable.cat([perfect, cars([more], [0.9])])
        assert kitti_ap(found, truth, classes)["car_3d_ap40_hard"] == 1.0
    small = BoxTable.cat([perfect, cars([(3, 0.0)], [0.9], height=torch.tensor([24.0]))])
    result = kitti_ap(small, truth, classes)
    assert result["car_3d_ap40_hard"] == 1.0
    # found where nothing is, or a van found twice: one right of two
    wrong = BoxTable.cat([perfect, cars([(3, 0.0)], [0.9])])
    assert kitti_ap(wrong, truth, classes)["car_3d_ap40_hard"] == 0.5
    twice = BoxTable.cat([perfect, cars([(1, 0.0), (1, 0.1)], [0.9, 0.9])])
    assert kitti_ap(twice, truth, classes)["car_3d_ap40_hard"] == 0.5
    # of a class that is no neighbour
    truth.label[1] = 2
    other = BoxTable.cat([perfect, cars([(1, 0.0)], [0.9])])
    assert kitti_ap(other, truth, [*classes, "Truck"])["car_3d_ap40_hard"] == 0.5


def test_of_two_detections_of_an_object_one_is_wrong() -> None:
    """2 objects; the first found at .9 and again at .8, the second at .5.

    Each recall takes the surest detection, so precision is 1 at .9 and 2/3 at .5. Recall k/40 is
    told by detection ceil(k/20 - 1.5): the first for k <= 30, the second from there on.
    """
    truth = cars([(0, 0.0), (0, 10.0)])
    found = cars([(0, 0.0), (0, 0.1), (0, 10.0)], [0.8, 0.9, 0.5])
    result = kitti_ap(found, truth, ["Car"])
    assert result["car_3d_ap40_easy"] == pytest.approx((30 * 1 + 10 * 2 / 3) / 40)


def test_a_region_without_annotations_excuses_in_the_image_alone() -> None:
    image = torch.tensor([[0.0, 0, 100, 50], [200.0, 0, 400, 100]])
    truth = cars([(0, 0.0), (0, 30.0)], image_box=image)
    truth.label[1] = -1
    boxes = torch.tensor([[0.0, 0, 100, 50], [250.0, 10, 350, 60]])
    found = cars([(0, 0.0), (0, 30.0)], [0.5, 0.9], image_box=boxes)
    result = kitti_ap(found, truth, ["Car"], kinds=["image", "bev", "3d"])
    assert result["car_image_ap40_easy"] == 1.0
    assert result["car_bev_ap40_easy"] == result["car_3d_ap40_easy"] == 0.5
    # .6 of the detection lies in the region: not more than .7
    found.image_box[1] = torch.tensor([160.0, 0, 260, 50])
    assert kitti_ap(found, truth, ["Car"], kinds=["image"])["car_image_ap40_easy"] == 0.5


def test_scores_of_forty_recalls() -> None:
    """80 objects, 60 found: recall k/40 is nearest that of detection 2k - 1, up to 59."""
    scores = torch.arange(60, 0, -1) / 60
    found = score_thresholds(scores[torch.randperm(60)], 80)
    # ceil(2k - 1.5) = 2k - 1 for k = 1 .. 30, and 0 for k = 0; 59 is the last: none is left over
    places = [0, *range(1, 60, 2)]
    torch.testing.assert_close(found, scores[places])
    assert len(score_thresholds(torch.zeros(0), 80)) == 0


def test_average_of_a_curve() -> None:
    precision = torch.linspace(1, 0, 41, dtype=torch.float64)
    found = average_precision(precision)
    assert found["ap40"] == pytest.approx(sum(1 - k / 40 for k in range(1, 41)) / 40)
    assert found["ap11"] == pytest.approx(0.5)
    dip = torch.tensor([1.0] + [0.0] * 39 + [0.5], dtype=torch.float64)  # interpolated upwards
    assert average_precision(dip) == pytest.approx({"ap40": 0.5, "ap11": (1 + 10 * 0.5) / 11})
