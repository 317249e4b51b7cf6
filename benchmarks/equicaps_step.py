"""EquiCaps and CapsIE training steps over the bare backbone's step on the same two batches.

``python -m benchmarks.equicaps_step`` writes ``benchmarks/results/equicaps_step.json``. All sides
run the same ResNet-18 forward, backward and fused Adam; the methods add capsules and loss. They
take turns, so that a drift of the machine meets all. Peak memory is each side's alone, in a
process of its own: the growth of the process's largest size over a few steps.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import write
from ssl_equiv.backbones import BackboneConfig, create_backbone
from ssl_equiv.groups import SE3, SO3
from ssl_equiv.methods import CapsIE, EquiCaps, Method

SIDES = ("bare", "equicaps_3x3", "equicaps_4x4", "capsie")
BACKBONE = BackboneConfig("resnet18")


def bare_step(views: list[Tensor]) -> Callable[[], None]:
    backbone = create_backbone(BACKBONE).train()
    backbone.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(backbone.parameters(), lr=1e-3, weight_decay=1e-6, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss = torch.stack([backbone(view).square().mean() for view in views]).sum()
        loss.backward()
        optimizer.step()

    return step


def method_step(method: Method, action: Tensor, views: list[Tensor]) -> Callable[[], None]:
    assert isinstance(method, EquiCaps | CapsIE)
    method.train()
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3, weight_decay=1e-6, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        terms = method.terms_of_action([method.encode(view) for view in views], action)
        method.total(terms).backward()
        optimizer.step()

    return step


def make(side: str, batch: int, size: int) -> Callable[[], None]:
    torch.manual_seed(0)
    views = [
        torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last) for _ in range(2)
    ]
    rotation, rigid = SO3(), SE3()
    quaternion = rotation.sample((batch,))
    if side == "bare":
        return bare_step(views)
    if side == "capsie":
        return method_step(CapsIE(BACKBONE, image_size=size), quaternion, views)
    if side == "equicaps_3x3":
        method = EquiCaps(BACKBONE, image_size=size)
        return method_step(method, rotation.matrix(quaternion), views)
    method = EquiCaps(BACKBONE, image_size=size, pose="4x4")
    return method_step(method, rigid.matrix(rigid.sample((batch,))), views)


def peak_mib(side: str, batch: int, size: int, threads: int) -> float:
    torch.set_num_threads(threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = make(side, batch, size)
    for _ in range(3):
        step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("batch", 64), ("size", 128), ("threads", 2), ("rounds", 15)):
        parser.add_argument(f"--{name}", type=int, default=default)
    setting = parser.parse_args()
    batch, size, threads = setting.batch, setting.size, setting.threads
    # first, while this process is small: a child's largest size begins with its parent's
    context, memory = multiprocessing.get_context("spawn"), {}
    for side in SIDES:
        with context.Pool(1) as pool:
            memory[side] = pool.apply(peak_mib, (side, batch, size, threads))
    torch.set_num_threads(threads)
    steps = {side: make(side, batch, size) for side in SIDES}
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    for turn in range(2 + setting.rounds):
        for side, step in steps.items():
            start = time.perf_counter()
            step()
            if turn >= 2:
                times[side].append(time.perf_counter() - start)
    results: dict[str, Any] = {
        "setting": {**vars(setting), "backbone": BACKBONE.name, "precision": "float32"}
    }
    for side in SIDES:
        ratios = [a / b for a, b in zip(times[side], times["bare"], strict=True)]
        results[side] = {
            "ms": 1000 * statistics.median(times[side]),
            "median_ratio": statistics.median(ratios),
            "peak_mib": memory[side],
        }
    write("equicaps_step", {**results, "published_module_ratio": 1.78})


if __name__ == "__main__":
    main()
