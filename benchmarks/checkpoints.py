"""What saving costs a run: the question after each step, and a checkpoint.

    python -m benchmarks.checkpoints [--rounds 5]

* ``agreement``: two gloo processes take steps of 50 ms that end, as DDP's do, in a reduction; with
  the question whether to save or end after each, and without, in turns. ``share`` is what the
  question adds.
* ``checkpoint``: ``configs/pretrain/sie_3diebench.yaml`` (ResNet-18, Adam): how long a save blocks
  training, how long the file takes beside it, and the longest step meanwhile over the usual one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.common import write
from benchmarks.methods import configs, make
from ssl_equiv.agreement import Agreement, Wish
from ssl_equiv.checkpoint_io import BackgroundCheckpointIO

STEP, STEPS = 0.050, 100


def _process(rank: int, folder: str, rounds: int, answers: Any) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    agreement, gradients = Agreement(), torch.zeros(1_000_000)
    agreement.open()

    def steps(asks: bool) -> float:
        dist.barrier()
        start = time.perf_counter()
        for _ in range(STEPS):
            time.sleep(STEP)  # a step that leaves the processor alone, as one on a GPU does
            dist.all_reduce(gradients)
            if asks:
                agreement.ask(Wish.NOTHING)
        return (time.perf_counter() - start) / STEPS

    steps(True)
    found: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for asks in (True, False):
            found[asks].append(steps(asks))
    if rank == 0:
        answers.put(found)
    dist.destroy_process_group()


def agreement(rounds: int) -> dict[str, float]:
    """Seconds of a step with the question and without."""
    answers = mp.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_process, (folder, rounds, answers), nprocs=2)
        found = answers.get()
    asked, bare = statistics.median(found[True]), statistics.median(found[False])
    return {"step_ms": 1000 * asked, "bare_step_ms": 1000 * bare, "share": asked / bare - 1}


def checkpoint(rounds: int, folder: Path) -> dict[str, Any]:
    """Seconds that a save blocks, and that its file takes."""
    method = make(configs()["sie_3diebench"], 64, compile=False)
    optimizer = torch.optim.Adam(method.parameters(), fused=True)
    x = torch.randn(16, 3, 64, 64)

    def step() -> float:
        start = time.perf_counter()
        method.encode(x).features.square().mean().backward()
        for parameter in method.parameters():  # what the step does not reach has state, too
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        return time.perf_counter() - start

    usual = statistics.median(step() for _ in range(10))
    io, path, blocked, wrote, longest = BackgroundCheckpointIO(), folder / "a.ckpt", [], [], []
    for _ in range(rounds):
        state = {"state_dict": method.state_dict(), "optimizer_states": [optimizer.state_dict()]}
        start = time.perf_counter()
        io.save_checkpoint(state, path)
        blocked.append(time.perf_counter() - start)
        beside = []
        while io.writing:
            beside.append(step())
        wrote.append(time.perf_counter() - start)
        longest.append(max(beside, default=usual) / usual)
    io.teardown()
    return {
        "bytes": path.stat().st_size,
        "blocked_s": {"first": blocked[0], "median": statistics.median(blocked[1:])},
        "written_after_s": statistics.median(wrote),
        "longest_step_meanwhile": statistics.median(longest),
    }


def main() -> None:
    """Measure and write ``benchmarks/results/checkpoints.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="2 at least")
    parser.add_argument("--folder", default=".", help="on the disk that checkpoints go to")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        results = {
            "agreement": agreement(options.rounds),
            "checkpoint": checkpoint(options.rounds, Path(folder)),
        }
    print(results)
    print(write("checkpoints", results))


if __name__ == "__main__":
    main()
