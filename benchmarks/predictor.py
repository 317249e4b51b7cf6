"""SIE's predictor, factored, against building W(z) for every sample.

``python -m benchmarks.predictor`` writes ``benchmarks/results/predictor.json``: time of forward and
backward, and the growth of the process's peak memory, each side in a process of its own; and the
largest difference of outputs and gradients, relative to their magnitude.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import peak_mib, resident_mib, write
from ssl_equiv.heads import ActionLinear

BATCH, WIDTH, ACTION, THREADS, ROUNDS = 256, 1024, 4, 2, 7


def inputs(batch: int, width: int) -> tuple[ActionLinear, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    predictor = ActionLinear(ACTION, width)
    x = torch.randn(batch, width, requires_grad=True)
    z = torch.nn.functional.normalize(torch.randn(batch, ACTION), dim=1).requires_grad_()
    return predictor, x, z, torch.randn(batch, width)


def built(predictor: ActionLinear, x: Tensor, z: Tensor) -> Tensor:
    """The same function with W(z) built for every sample."""
    flat = predictor.matrices().flatten(1)
    matrices = (z @ flat).view(len(x), -1, x.shape[1])
    return torch.bmm(matrices, x[:, :, None]).squeeze(2)


def run(kind: str) -> dict[str, float]:
    torch.set_num_threads(THREADS)
    predictor, x, z, upstream = inputs(BATCH, WIDTH)
    torch.randn(64, 64) @ torch.randn(64, 64)  # the libraries' own buffers do not count
    before = resident_mib()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        out = predictor(x, z) if kind == "factored" else built(predictor, x, z)
        out.backward(upstream)
        times.append(time.perf_counter() - start)
        for tensor in (x, z, predictor.weight):
            tensor.grad = None
        del out
    return {
        "forward_backward_ms": 1000 * statistics.median(times[1:]),
        "peak_growth_mib": peak_mib() - before,
    }


def largest_difference() -> dict[str, float]:
    predictor, x, z, upstream = inputs(32, 128)
    wanted = (x, z, predictor.weight)
    results: list[list[Tensor]] = []
    for function in (predictor, lambda a, b: built(predictor, a, b)):
        out = function(x, z)
        results.append([out, *torch.autograd.grad(out, wanted, upstream)])
    names = ("output", "grad_embedding", "grad_action", "grad_weight")
    return {
        name: ((a - b).abs().max() / b.abs().max()).item()
        for name, a, b in zip(names, *results, strict=True)
    }


def main() -> None:
    context = multiprocessing.get_context("spawn")
    sides: dict[str, Any] = {}
    for kind in ("factored", "built"):
        with context.Pool(1) as pool:
            sides[kind] = pool.apply(run, (kind,))
    write(
        "predictor",
        {
            "setting": {
                "batch": BATCH,
                "width": WIDTH,
                "action": ACTION,
                "precision": "float32",
                "threads": THREADS,
            },
            **sides,
            "relative_difference": largest_difference(),
        },
    )


if __name__ == "__main__":
    main()
