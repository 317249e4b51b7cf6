"""How training scales on the machine at hand: the same work for each of 1, 2, ... processes.

    python -m benchmarks.scaling [--config configs/pretrain/sie_3diebench.yaml --processes 1 2 4
                                  --batch 256 --size 128 --steps 20 --precision bf16]

Every process has its own GPU, or its share of the cores where there is none; its batch stays the
same (weak scaling), so with N processes a global batch is N times as large. ``efficiency`` is the
images a second of N processes over N times those of one. Pictures are random numbers in memory:
reading is measured by ``benchmarks.load``. Synchronised BatchNorm, gathered embeddings and the
reduction of gradients are as in training. ``benchmarks/results/scaling.json``, or
``scaling_gpu.json``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from benchmarks.common import write
from benchmarks.methods import adam, configs, make, views
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.distributed import synchronize_batchnorm
from ssl_equiv.methods import Method


class _Step(torch.nn.Module):
    """A method's loss as a forward pass, which is what DDP wraps."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: ViewBatch) -> torch.Tensor:
        seen = self.method.observe(batch)
        return self.method.total(self.method.terms(self.method.encode_views(seen.images), seen))


def _process(rank: int, world_size: int, options: Any, folder: str, answers: Any) -> None:
    gpu = torch.cuda.is_available()
    device = torch.device("cuda", rank) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // max(options.processes)))
    dist.init_process_group(
        "nccl" if gpu else "gloo",
        init_method=f"file://{folder}/store{world_size}",
        rank=rank,
        world_size=world_size,
    )
    torch.manual_seed(0)
    method = make(configs()[options.config], options.size, compile=False).to(device)
    if world_size > 1:
        for name, child in method.named_children():
            setattr(method, name, synchronize_batchnorm(child, device))
    step: torch.nn.Module = _Step(method)
    if world_size > 1:
        step = DistributedDataParallel(step, device_ids=[rank] if gpu else None)
    optimizer = adam(method)
    batch = views(method, options.batch, options.size, str(device))
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16")
    times = []
    for _ in range(3 + options.steps):
        dist.barrier()
        start = time.perf_counter()
        with autocast:
            loss = step(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    if rank == 0:
        answers.put((statistics.median(times[3:]), method.num_views))
    dist.destroy_process_group()


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="sie_3diebench", choices=sorted(configs()))
    gpus, cores = torch.cuda.device_count(), len(os.sched_getaffinity(0))
    parser.add_argument("--processes", type=int, nargs="+", help="by default 1, 2, 4, ...")
    parser.add_argument("--batch", type=int, default=256 if gpus else 16, help="per process")
    parser.add_argument("--size", type=int, default=128 if gpus else 64, help="pixels")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    options = parser.parse_args()
    most = gpus or cores
    options.processes = options.processes or [n for n in (1, 2, 4, 8, 16) if n <= most]
    if max(options.processes) > most:
        parser.error(f"--processes {max(options.processes)}: there are {most} GPUs or cores here")
    answers, results = mp.get_context("spawn").SimpleQueue(), []
    for number in sorted(options.processes):
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(_process, (number, options, folder, answers), nprocs=number)
        seconds, num_views = answers.get()
        images = number * options.batch * num_views / seconds
        first = results[0]["images_per_s"] / results[0]["processes"] if results else images / number
        row = {"processes": number, "step_s": seconds, "images_per_s": images}
        results.append({**row, "efficiency": images / number / first})
        print(f"{number} processes: {images:8.0f} images/s, {results[-1]['efficiency']:.0%}")
    name = "scaling_gpu" if gpus else "scaling"
    print(write(name, {"setting": vars(options), "runs": results}))


if __name__ == "__main__":
    main()
