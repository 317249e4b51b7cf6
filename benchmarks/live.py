"""Views rendered on the fly against views read from shards, and beside a training step.

``python -m benchmarks.live`` writes ``benchmarks/results/live.json``: at 64 and 128 pixels, views a
second and core in batches of two views, each source in turns in this process and on one thread;
and what share of a CPU training step (SIE, ResNet-18) one core of rendering its batch takes. A
share of 2 means that two cores render as fast as the step's cores learn. All times are processor
seconds, which other programs hardly change. Every object is met once, as in an epoch of a large
data set: its mesh is made and its tree built for two views.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import write
from data_gen.generate import generate
from data_gen.live import LiveSource
from data_gen.procedural import CLASSES
from data_gen.recipe import Recipe
from data_gen.sources import ProceduralSource
from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.groups import SO3
from ssl_equiv.methods import SIE

VIEWS = 4


def sources(root: Path, objects: int, size: int, batch: int) -> dict[str, ViewDataModule]:
    """Read, and rendered as stored and without JPEG."""
    recipe = {"num_views": VIEWS, "image_size": size}
    generate(
        ProceduralSource(objects, CLASSES),
        Recipe.from_dict(recipe),
        root,
        val_fraction=0.0,
        progress=False,
    )
    modules = {"shards": ViewDataModule(str(root), batch_size=batch, num_workers=0)}
    for name, jpeg in (("live", True), ("live_pixels", False)):
        source = LiveSource(
            num_objects=objects, recipe=recipe, val_fraction=0.0, jpeg=jpeg, cache_mib=0
        )
        modules[name] = ViewDataModule(source=source, batch_size=batch, num_workers=0)
    return modules


def seconds_per_view(modules: dict[str, ViewDataModule], rounds: int) -> dict[str, float]:
    """Median processor seconds, the sources in turns; their first epoch is left out."""
    loaders = {name: module.train_dataloader() for name, module in modules.items()}
    seconds: dict[str, list[float]] = {name: [] for name in loaders}
    for turn in range(1 + rounds):
        for name, loader in loaders.items():
            start, views = time.process_time(), 0
            for batch in loader:
                views += batch.images.shape[0] * batch.images.shape[1]
            if turn:
                seconds[name].append((time.process_time() - start) / views)
    return {name: statistics.median(values) for name, values in seconds.items()}


def training_step(size: int, batch: int) -> Callable[[], None]:
    method = SIE(BackboneConfig("resnet18")).train()
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3, fused=True)
    group = SO3()
    action = group.relative(group.sample((batch,)), group.sample((batch,)))
    views = [
        torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last) for _ in range(2)
    ]

    def step() -> None:
        optimizer.zero_grad()
        terms = method.terms_of_action([method.encode(view) for view in views], action)
        method.total(terms).backward()
        optimizer.step()

    return step


def step_seconds(size: int, batch: int, rounds: int) -> float:
    """Median processor seconds of a step, over its threads."""
    step, seconds = training_step(size, batch), []
    for turn in range(2 + rounds):
        start = time.process_time()
        step()
        if turn >= 2:
            seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def measure(
    sizes: Sequence[int], objects: int, batch: int, step_batch: int, rounds: int
) -> dict[str, Any]:
    """Everything that is written."""
    results: dict[str, Any] = {
        "setting": {
            "objects": objects,
            "batch": batch,
            "views_per_object": 2,
            "backbone": "resnet18",
            "step_batch": step_batch,
            "rounds": rounds,
        }
    }
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            cost = seconds_per_view(sources(Path(folder), objects, size, batch), rounds)
        step = step_seconds(size, step_batch, rounds)
        results[f"{size}px"] = {
            "views_per_second_and_core": {name: 1 / value for name, value in cost.items()},
            "live_over_shards": cost["live"] / cost["shards"],
            "step_core_seconds": step,
            "share_of_step": {name: 2 * step_batch * c / step for name, c in cost.items()},
        }
    return results


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny, and print: writes nothing")
    quick = parser.parse_args(args).quick
    torch.manual_seed(0)
    torch.set_num_threads(1)
    if quick:
        print(measure([16], objects=8, batch=4, step_batch=2, rounds=1))
    else:
        write("live", measure([64, 128], objects=256, batch=64, step_batch=64, rounds=3))


if __name__ == "__main__":
    main()
