"""What each of two processes does in ``test_metrics.py``."""

from __future__ import annotations

import os

import torch

from eval.detection import BoxTable, CentreDistanceAP, KittiAP
from tests.eval.detection.scenes import CLASSES, scenes


def tables() -> tuple[BoxTable, BoxTable]:
    return scenes(5, frames=23)


def of_frames(table: BoxTable, frames: torch.Tensor) -> BoxTable:
    return table[torch.isin(table.frame, frames)]


def judge(shares: list[torch.Tensor]) -> list[dict[str, float]]:
    """Both metrics over frames that arrive in shares."""
    found = []
    for metric in (KittiAP(CLASSES), CentreDistanceAP(CLASSES)):
        predictions, truth = tables()
        for frames in shares:
            metric.update(of_frames(predictions, frames), of_frames(truth, frames), frames)
        found.append(metric.compute())
    return found


def run(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    frames = torch.arange(23)
    # 9 frames and 16, of which two are those of the other process; then everything on one
    uneven = judge([frames[:4], frames[4:9]] if rank == 0 else [frames[7:21], frames[21:]])
    lone = judge([frames] if rank == 0 else [])
    torch.save({"uneven": uneven, "lone": lone}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
