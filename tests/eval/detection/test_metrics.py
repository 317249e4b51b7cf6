from __future__ import annotations

import math
import socket
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from eval.detection import BoxTable, CentreDistanceAP, KittiAP, centre_distance_ap, kitti_ap
from eval.detection.table import pairs_within_frames, slots_within_frames
from tests.eval.detection import processes
from tests.eval.detection.scenes import CLASSES


def test_frames_arrive_in_any_order_and_count_once() -> None:
    predictions, truth = processes.tables()
    expected = [f(predictions, truth, CLASSES) for f in (kitti_ap, centre_distance_ap)]
    frames = torch.randperm(23, generator=torch.Generator().manual_seed(0))
    for shares in ([frames], [frames[:5], frames[5:]], [frames[:5], frames[3:], frames[:2]]):
        for found, want in zip(processes.judge(shares), expected, strict=True):
            assert found == pytest.approx(want, nan_ok=True)


def test_nothing_at_all_and_frames_without_boxes() -> None:
    for kind in (KittiAP, CentreDistanceAP):
        metric = kind(CLASSES)
        with pytest.warns(UserWarning, match="before the ``update``"):
            assert all(math.isnan(value) for value in metric.compute().values())
        metric.update(BoxTable.cat([]), BoxTable.cat([]), torch.tensor([3]))
        assert all(math.isnan(value) for value in metric.compute().values())
        metric.reset()
        assert metric.frames == []


@pytest.mark.ddp
def test_two_processes_find_what_one_does(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(processes.run, (port, str(tmp_path)), nprocs=2)
    expected = processes.judge([torch.arange(23)])
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name in ("uneven", "lone"):
            for mine, want in zip(found[name], expected, strict=True):
                assert mine == pytest.approx(want, nan_ok=True)


def test_a_table_survives_packing_and_rejects_what_does_not_fit() -> None:
    predictions, _ = processes.tables()
    back = BoxTable.unpack(predictions.pack())
    for mine, want in zip(back.columns, predictions.columns, strict=True):
        torch.testing.assert_close(mine, want, equal_nan=True)
    with pytest.raises(ValueError, match="label is"):
        BoxTable(*predictions.columns[:2], predictions.label[:3], *predictions.columns[3:])


def test_pairs_of_frames() -> None:
    first, second = torch.tensor([0, 0, 2, 5]), torch.tensor([0, 2, 2, 3])
    rows, columns = pairs_within_frames(first, second)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [
        *((0, 0), (1, 0), (2, 1), (2, 2))
    ]
    assert slots_within_frames(torch.tensor([0, 0, 2, 2, 2, 5])).tolist() == [0, 1, 0, 1, 2, 0]
    assert [len(x) for x in pairs_within_frames(first, second[:0])] == [0, 0]
