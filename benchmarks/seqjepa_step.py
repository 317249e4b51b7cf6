"""A seq-JEPA training step over the bare backbone's step on the same views.

``python -m benchmarks.seqjepa_step`` writes ``benchmarks/results/seqjepa_step.json``. Four sides
take turns, so that a drift of the machine meets all:

* ``bare``: the backbone's forward, backward and fused AdamW on the M observed views;
* ``bare_target``: the same, and a forward pass without gradient over the view to predict, which
  any method with a target needs;
* ``bare_all``: the backbone's forward and backward on all M + 1 views;
* ``seqjepa``: the method, with action embedding, aggregator, predictor, loss and moving average.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.common import write
from ssl_equiv.backbones import BackboneConfig, create_backbone
from ssl_equiv.groups import SO3
from ssl_equiv.methods import SeqJEPA

OBSERVATIONS = 3
BACKBONE = BackboneConfig("resnet18")


def optimizer_of(module: torch.nn.Module) -> torch.optim.Optimizer:
    learnt = [p for p in module.parameters() if p.requires_grad]
    return torch.optim.AdamW(learnt, lr=4e-4, weight_decay=1e-3, fused=True)


def bare_step(images: Tensor, learnt: int, target: bool) -> Callable[[], None]:
    backbone = create_backbone(BACKBONE).train()
    backbone.to(memory_format=torch.channels_last)
    optimizer = optimizer_of(backbone)

    def call(views: Tensor) -> Tensor:
        flat = views.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        features: Tensor = backbone(flat)
        return features

    def step() -> None:
        optimizer.zero_grad()
        if target:
            with torch.no_grad():
                call(images[:, -1:])
        call(images[:, :learnt]).square().mean().backward()
        optimizer.step()

    return step


def seqjepa_step(images: Tensor, actions: Tensor) -> Callable[[], None]:
    method = SeqJEPA(BACKBONE, observations=OBSERVATIONS).train()
    optimizer = optimizer_of(method)
    done = 0

    def step() -> None:
        nonlocal done
        optimizer.zero_grad()
        views = [view.features for view in method.encode_views(images)]
        target = method.encode_target(images[:, -1])
        terms = method.terms_of_sequence(torch.stack(views, dim=1), actions, target)
        method.total(terms).backward()
        optimizer.step()
        assert method.target is not None
        method.target.update(method.backbone, done, 10_000)
        done += 1

    return step


def main(batch: int, size: int, rounds: int, warmup: int, threads: int) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    images = torch.randn(batch, OBSERVATIONS + 1, 3, size, size)
    poses = SO3().sample((batch, OBSERVATIONS + 1))
    steps = {
        "bare": bare_step(images, OBSERVATIONS, target=False),
        "bare_target": bare_step(images, OBSERVATIONS, target=True),
        "bare_all": bare_step(images, OBSERVATIONS + 1, target=False),
        "seqjepa": seqjepa_step(images, SO3().relative(poses[:, :-1], poses[:, 1:])),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(warmup + rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn >= warmup:
                times[name].append(time.perf_counter() - start)
    ratios = {
        f"median_ratio_to_{name}": statistics.median(
            ours / theirs for ours, theirs in zip(times["seqjepa"], times[name], strict=True)
        )
        for name in steps
        if name != "seqjepa"
    }
    write(
        "seqjepa_step",
        {
            "setting": {
                "backbone": BACKBONE.name,
                "image_size": size,
                "batch": batch,
                "observations": OBSERVATIONS,
                "precision": "float32",
                "threads": threads,
                "rounds": rounds,
            },
            **{f"{name}_ms": 1000 * statistics.median(found) for name, found in times.items()},
            **ratios,
        },
    )
    print({name: round(ratio, 3) for name, ratio in ratios.items()})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    main(**vars(parser.parse_args()))
