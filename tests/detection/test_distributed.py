"""Two gloo processes with the gradients of one."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from ssl_equiv.boxes import Boxes
from ssl_equiv.distributed import is_distributed, synchronize_batchnorm
from ssl_equiv.points import PointBatch
from tests.detection import tiny


def gradients(mine: slice) -> dict[str, Tensor]:
    """Of the loss of some of 6 sweeps, the second of which shows nothing to be found."""
    model = tiny.detector().double()
    if is_distributed():
        model.encoder = synchronize_batchnorm(model.encoder, torch.device("cpu"))  # type: ignore[assignment]
        model.head = synchronize_batchnorm(model.head, torch.device("cpu"))  # type: ignore[assignment]
    points, boxes = tiny.sweeps(6, seed=3)
    boxes[1] = Boxes.empty()
    clouds = [points.cloud(number).double() for number in range(6)]
    double = [found.with_values(found.values.double()) for found in boxes]
    terms = model.losses(PointBatch.collate(clouds[mine]), double[mine])
    (terms["heat"] + 0.5 * terms["box"]).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def run(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    found = gradients(slice(0, 2) if rank == 0 else slice(2, 6))  # 2 objects, and 8
    for gradient in found.values():
        dist.all_reduce(gradient)
        gradient /= 2
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.ddp
def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(run, (port, str(tmp_path)), nprocs=2)
    expected = gradients(slice(0, 6))
    assert len(expected) > 10
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found.keys() == expected.keys()
        for name, want in expected.items():
            bound = 1e-8 * want.abs().max().item() + 1e-10
            assert (found[name] - want).abs().max().item() <= bound, name
