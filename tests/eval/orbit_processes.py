"""What two processes do in ``test_orbit_metrics.py``: imported by each, so it imports little."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eval.orbit_metrics import (
    CosineDistance,
    OrbitAccuracy,
    OrbitConsensus,
    OrbitConsistency,
    RelativeDistance,
    WorstCaseAccuracy,
)


def made_up(objects: int = 23, points: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Features ``(2, N, T, 6)``, probabilities ``(2, N, T, 4)`` and labels ``(N,)``."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, objects, points, 6, generator=generator)
    logits = 2 * torch.randn(2, objects, 1, 4, generator=generator)
    logits = logits + torch.randn(2, objects, points, 4, generator=generator)
    return features, logits.softmax(dim=-1), logits.mean(dim=(0, 2)).argmax(dim=-1)


def measure(mine: slice) -> dict[str, Tensor]:
    """Each metric of the objects ``mine``, over both processes where there are two."""
    features, probabilities, label = made_up()
    features, probabilities, label = features[:, mine], probabilities[:, mine], label[mine]
    predicted = probabilities.argmax(dim=-1)
    given: dict[Any, tuple[Any, ...]] = {
        OrbitAccuracy: (predicted, label),
        WorstCaseAccuracy: (predicted, label),
        OrbitConsistency: (predicted,),
        OrbitConsensus: (probabilities,),
        CosineDistance: (features, 2),
        RelativeDistance: (features, 2),
    }
    found = {}
    for kind, arguments in given.items():
        metric = kind((2,))
        metric.update(*arguments)
        found[kind.__name__] = metric.compute()
    return found


def run(rank: int, port: int, folder: str) -> None:
    """One of two processes, with 7 or 16 of the 23 objects."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    torch.save(measure(slice(0, 7) if rank == 0 else slice(7, 23)), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
