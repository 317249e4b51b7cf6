"""A SIE training step over the bare backbone's step on the same two batches.

``python -m benchmarks.sie_step`` writes ``benchmarks/results/sie_step.json``. Both sides run the
same ResNet-18 forward, backward and fused Adam; SIE adds projectors, predictor and loss. The two
take turns, so that a drift of the machine meets both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.common import write
from ssl_equiv.backbones import BackboneConfig, create_backbone
from ssl_equiv.groups import SO3
from ssl_equiv.methods import SIE

BATCH, SIZE, THREADS, ROUNDS, WARMUP = 64, 64, 2, 30, 5
PROJECTOR = (2048, 2048, 2048)


def bare_step(views: list[Tensor]) -> Callable[[], None]:
    backbone = create_backbone(BackboneConfig("resnet18")).train()
    backbone.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(backbone.parameters(), lr=1e-3, weight_decay=1e-6, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss = torch.stack([backbone(view).square().mean() for view in views]).sum()
        loss.backward()
        optimizer.step()

    return step


def sie_step(views: list[Tensor], action: Tensor) -> Callable[[], None]:
    method = SIE(BackboneConfig("resnet18"), projector_widths=PROJECTOR).train()
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3, weight_decay=1e-6, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        terms = method.terms_of_action([method.encode(view) for view in views], action)
        method.total(terms).backward()
        optimizer.step()

    return step


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    views = [
        torch.randn(BATCH, 3, SIZE, SIZE).to(memory_format=torch.channels_last) for _ in range(2)
    ]
    group = SO3()
    action = group.relative(group.sample((BATCH,)), group.sample((BATCH,)))
    steps = {"bare": bare_step(views), "sie": sie_step(views, action)}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(WARMUP + ROUNDS):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn >= WARMUP:
                times[name].append(time.perf_counter() - start)
    ratios = [s / b for s, b in zip(times["sie"], times["bare"], strict=True)]
    write(
        "sie_step",
        {
            "setting": {
                "backbone": "resnet18",
                "image_size": SIZE,
                "batch": BATCH,
                "projector": PROJECTOR,
                "precision": "float32",
                "threads": THREADS,
                "rounds": ROUNDS,
            },
            "bare_ms": 1000 * statistics.median(times["bare"]),
            "sie_ms": 1000 * statistics.median(times["sie"]),
            "ratio_of_medians": statistics.median(times["sie"]) / statistics.median(times["bare"]),
            "median_ratio": statistics.median(ratios),
            "published_module_ratio": 3.1,
        },
    )


if __name__ == "__main__":
    main()
