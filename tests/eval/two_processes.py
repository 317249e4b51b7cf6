"""What two processes do in ``test_two_processes.py``: imported by each, so it imports little."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eval.features import extract
from eval.metrics import PerDimR2, PooledR2, RotationError, TopKAccuracy
from eval.probe import ProbeRecipe, fit
from eval.probes import ActionRegressor
from ssl_equiv.data.module import ViewDataModule
from tests.eval.fakes import equivariant, rotations
from tests.eval.networks import Network

GLOO = {"devices": 2, "strategy": "ddp", "accelerator": "cpu"}


def run(rank: int, port: int, folder: str, dataset: str) -> None:
    """One of two processes, started as torchrun would."""
    torch.set_num_threads(1)
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
    }
    model, data = Network(), data_module(dataset)
    features = extract_train(model, data, f"{folder}/cache", GLOO)  # starts the process group
    encoded = model.encoded
    extract_train(model, data, f"{folder}/cache", GLOO)
    probe = make_probe()
    values = fit(probe, GLOO)
    torch.save(
        {
            "features": features,
            "encoded": (encoded, model.encoded - encoded),
            "values": dict(values),
            "weights": [p.detach() for p in probe.net.parameters()],
            "metrics": measure(slice(0, 7) if rank == 0 else slice(7, 23)),
        },
        f"{folder}/{rank}.pt",
    )
    torch.distributed.destroy_process_group()


def data_module(dataset: str) -> ViewDataModule:
    return ViewDataModule(dataset, batch_size=8, num_workers=0, skip_bad_images=True)


def extract_train(
    model: Network, data: ViewDataModule, folder: str | Path, options: dict[str, Any]
) -> Tensor:
    found = extract(
        model,
        data,
        folder,
        split="train",
        batch_size=2,
        trainer_options=options,
        progress=False,
    )
    return torch.cat([found.index[:, None].float(), found.features.flatten(1)], dim=1)


def make_probe() -> ActionRegressor:
    # 23 objects x 5 epochs in batches of 16: slices differ in size, the last batch has 3
    sets = equivariant(23, 12, "train"), equivariant(7, 12, "val")
    return ActionRegressor(*sets, ["all"], [0, 1], ProbeRecipe(5, 16, hidden=(12,)))


def measure(mine: slice) -> dict[str, Any]:
    target = rotations(1, 23)[0].double()
    noise = torch.randn(2, 23, 4, generator=torch.Generator().manual_seed(0)).double()
    pred, label = target + noise / 2, torch.arange(23) % 4
    metrics = {
        "pooled": PooledR2(4, (2,)),
        "per_dim": PerDimR2(4, (2,)),
        "degrees": RotationError(),
        "top2": TopKAccuracy(2, (2,)),
    }
    for name, metric in metrics.items():
        metric.update(pred[:, mine], label[mine] if name == "top2" else target[mine])
    return {name: metric.compute() for name, metric in metrics.items()}
