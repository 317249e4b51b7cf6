"""LiDAR sweeps: simulating, reading, making training batches, estimating flow.

``python -m benchmarks.lidar_data`` writes ``benchmarks/results/lidar_data.json``: sweeps a second
of ``ssl-equiv simulate`` with two processes, files included, and processor milliseconds a sweep of
each step, which other programs on the machine hardly change.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import write
from data_gen.lidar.generate import generate
from data_gen.lidar.job import Job
from data_gen.lidar.recipe import LidarRecipe
from data_gen.lidar.simulate import simulate
from ssl_equiv.data.lidar.flow import estimate_flow
from ssl_equiv.data.lidar.module import LidarDataModule
from ssl_equiv.data.lidar.open import open_lidar


def milliseconds(work: Callable[[], int]) -> float:
    """Processor milliseconds a sweep of work that returns how many it did; its first run is not
    counted, in which kernels are compiled.
    """
    work()
    start = time.process_time()
    done = work()
    return 1e3 * (time.process_time() - start) / done


def measure(sequences: int, sweeps: int, beams: int, azimuths: int) -> dict[str, Any]:
    """Everything that is written."""
    recipe = LidarRecipe(beams=beams, azimuths=azimuths)
    job = Job(recipe, sequences, sweeps)
    next(simulate(recipe, 0, 0, 1))  # compiles
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        generate(job, Path(folder) / "two", num_workers=2, progress=False)
        rate = sequences * sweeps / (time.perf_counter() - start)
        root = str(Path(folder) / "two")
        source = open_lidar(root)
        modules = {
            name: LidarDataModule(
                root, batch_size=4, num_workers=0, flow="truth" if with_flow else "off"
            )
            for name, with_flow in (("batches", False), ("batches_with_flow", True))
        }

        def batches(module: LidarDataModule) -> int:
            return sum(len(batch) for batch in module.train_dataloader())

        def estimates() -> int:
            pairs = [i for i in range(len(source)) if source.successor(i) is not None][:8]
            for i in pairs:
                a, b = source.sweep(i, boxes=False), source.sweep(i + 1, boxes=False)
                estimate_flow(a.points.numpy(), b.points.numpy(), a.pose, b.pose)
            return len(pairs)

        cpu = {
            "simulate": milliseconds(
                lambda: sum(1 for s in range(sequences) for _ in simulate(recipe, 0, s, sweeps))
            ),
            "read": milliseconds(lambda: sum(1 for i in range(len(source)) if source.sweep(i))),
            **{name: milliseconds(partial(batches, m)) for name, m in modules.items()},
            "estimate_flow": milliseconds(estimates),
        }
    return {
        "beams": beams,
        "azimuths": azimuths,
        "sweeps": sequences * sweeps,
        "simulated_sweeps_per_second_2_processes": rate,
        "cpu_ms_per_sweep": cpu,
    }


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny, and print: writes nothing")
    quick = parser.parse_args(args).quick
    torch.set_num_threads(1)
    results = measure(4, 3, 8, 90) if quick else measure(40, 10, 32, 720)
    if quick:
        print(results)
    else:
        write("lidar_data", results)


if __name__ == "__main__":
    main()
