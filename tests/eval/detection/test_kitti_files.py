"""Folders of KITTI files, against lines written by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.detection.__main__ import main
from eval.detection.kitti_files import read_kitti, result_text, write_result
from ssl_equiv.boxes import Boxes
from ssl_equiv.data.lidar.calibration import Calibration, rigid
from ssl_equiv.data.lidar.names import KITTI_CLASSES
from ssl_equiv.errors import UserError

LABELS = """Car 0.10 1 -1.57 600 150 700 200 1.5 1.6 3.9 2.0 1.7 20.0 -1.5707963
Pedestrian 0.00 0 0.2 300 150 330 230 1.8 0.6 0.8 -4.0 1.6 10.0 0.0
DontCare -1 -1 -10 500 150 560 180 -1 -1 -1 -1000 -1000 -1000 -10
"""
RESULTS = """Car -1 -1 -1.57 601 150 700 200 1.5 1.6 3.9 2.1 1.7 20.0 -1.5707963 0.9
Car -1 -1 -1.57 505 150 555 190 1.5 1.6 3.9 -9.0 1.7 30.0 -1.5707963 0.95
"""
FOUND = """2 frames; AP in percent: easy, moderate, hard
car_image_ap40              nan  100.00  100.00
car_image_ap11              nan  100.00  100.00
car_bev_ap40                nan   50.00   50.00
car_bev_ap11                nan   50.00   50.00
car_3d_ap40                 nan   50.00   50.00
"""


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    results, labels = tmp_path / "results", tmp_path / "label_2"
    for folder, text in ((results, RESULTS), (labels, LABELS)):
        folder.mkdir()
        (folder / "000007.txt").write_text(text)
        (folder / "000008.txt").write_text("")
    return results, labels


def test_a_line_is_a_box_of_the_table(folders: tuple[Path, Path]) -> None:
    """Ahead is z, left is -x, up is -y; ry -90° heads ahead, ry 0 to the right."""
    found = read_kitti(folders[1], ["000008", "000007"], results=False)
    expected = [[20, -2, -0.95, 3.9, 1.6, 1.5, 0], [10, 4, -0.7, 0.8, 0.6, 1.8, -math.pi / 2]]
    torch.testing.assert_close(found.boxes[:2], torch.tensor(expected).double(), atol=1e-6, rtol=0)
    assert found.frame.tolist() == [1, 1, 1]
    assert found.label.tolist() == [0, 3, -1]
    assert found.height.tolist() == [50, 80, 30]
    assert found.truncation[:2].tolist() == pytest.approx([0.1, 0])
    assert found.occlusion[:2].tolist() == [1, 0]
    scores = read_kitti(folders[0], ["000007"], results=True).score
    assert scores.tolist() == pytest.approx([0.9, 0.95])


def test_the_command_prints_what_the_rules_say(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The surer detection is wrong from above and in space; in the picture it lies in a region."""
    main([str(folder) for folder in folders])
    printed = capsys.readouterr().out
    assert printed.startswith(FOUND)
    names = folders[0].parent / "names.txt"
    names.write_text("000007\n")
    main([*(str(folder) for folder in folders), str(names)])
    assert capsys.readouterr().out.startswith(FOUND.replace("2 frames", "1 frames"))


def test_what_is_missing_is_told(folders: tuple[Path, Path], tmp_path: Path) -> None:
    results, labels = folders
    with pytest.raises(UserError, match="box 1 has no score"):
        read_kitti(labels, ["000007"], results=True)
    (results / "000009.txt").write_text("")
    with pytest.raises(UserError, match=r"000009\.txt"):
        main([str(results), str(labels)])
    with pytest.raises(UserError, match=r"no \.txt files"):
        main([str(tmp_path), str(labels)])
    with pytest.raises(UserError, match="usage"):
        main([str(results)])


@pytest.mark.parametrize("calibrated", [True, False])
def test_detections_come_back_from_their_file(calibrated: bool, tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    values = torch.rand(20, 7, generator=g) * torch.tensor([30.0, 20, 1, 3, 2, 2, 6])
    values += torch.tensor([5.0, -10, -1.5, 1, 1, 1, -3])
    labels, scores = torch.randint(0, 6, (20,), generator=g), torch.rand(20, generator=g)
    boxes = Boxes.make(values, labels, scores=scores)
    c, s = math.cos(0.02), math.sin(0.02)
    turned = np.array([[s, -c, 0, 0.1], [0, 0, -1, -0.08], [c, s, 0, -0.27]])
    projection = np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.2], [0, 0, 1, 0.003]])
    calibration = Calibration(projection, rigid(turned)) if calibrated else None
    write_result(tmp_path / "1.txt", result_text(boxes, KITTI_CLASSES, calibration, camera=None))
    found = read_kitti(tmp_path, ["1"], results=True)
    torch.testing.assert_close(found.score.float(), scores, atol=1e-6, rtol=0)
    assert found.label.tolist() == labels.tolist()
    if calibration is None:  # a camera at the sensor: its frame is the sensor's
        torch.testing.assert_close(found.boxes[:, :6].float(), values[:, :6], atol=2e-4, rtol=0)
        turn = found.boxes[:, 6].float() - values[:, 6]
        assert (torch.remainder(turn + 1, 2 * math.pi) - 1).abs().max() < 2e-4
        assert (found.height == 0).all()
        return
    # to the camera and back by the matrix, a point at a time
    for row, box in zip(found.boxes.numpy(), values.double().numpy(), strict=True):
        point = np.linalg.inv(rigid(turned)) @ [-row[1], -row[2], row[0], 1]
        assert point[:3] == pytest.approx(box[:3], abs=3e-4)
    assert (found.height > 0).sum() > 5


def test_no_detections_are_an_empty_file(tmp_path: Path) -> None:
    boxes = Boxes.make(torch.zeros(0, 7), torch.zeros(0), scores=torch.zeros(0))
    write_result(tmp_path / "1.txt", result_text(boxes, KITTI_CLASSES, None, None))
    assert (tmp_path / "1.txt").read_text() == ""
    assert len(read_kitti(tmp_path, ["1"], results=True)) == 0
