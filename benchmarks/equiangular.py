"""Equiangular bases: coherence over the Welch bound against seconds, beside descent on a hinge.

``python -m benchmarks.equiangular [--seconds 60] [--sizes 200x100 ...]``: both sides get the same
time on the same threads. The other side is the way of the paper (arXiv 2303.11637), written anew:
SGD on the hinge of the absolute cosines of randomly started vectors, a slice of them at a time. Our
curve has a point for each budget of descent, where there is any; algebra's bases take no time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from itertools import product
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.common import write
from ssl_equiv.heads import coherence, equiangular
from ssl_equiv.heads.frames import welch_bound

SIZES = ((1000, 1000), (200, 100), (1000, 100), (10_000, 512), (100_000, 512))
LRS = (1e-4, 1e-3, 1e-2, 1e-1)
MARGINS = (1.0, 1.05, 1.1, 1.2, 1.4, 2.0)  # of the bound
_SAMPLED = 4096  # of very many vectors, the coherence of a sample with all


def hinge(
    num_vectors: int, dim: int, seconds: float, lr: float, margin: float
) -> list[tuple[float, float]]:
    """``(seconds, coherence)`` as SGD goes on; cosines over ``margin`` are pushed down."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(num_vectors, dim, generator=generator).requires_grad_()
    optimizer = torch.optim.SGD([vectors], lr=lr, momentum=0.9)
    slice_size = min(num_vectors, 512)
    curve, start, at, spent, best = [], time.perf_counter(), 0, 0.0, 1.0
    next_look = 0.0
    while spent < seconds:
        unit = normalize(vectors, dim=1)
        rows = torch.arange(at, at + slice_size) % num_vectors
        cosines = (unit[rows] @ unit.T).abs()
        cosines = cosines.scatter(1, rows[:, None], 0.0)
        loss = torch.relu(cosines - margin).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        at = (at + slice_size) % num_vectors
        spent = time.perf_counter() - start
        if spent >= next_look:
            paused = time.perf_counter()
            best = min(best, largest(normalize(vectors.detach(), dim=1)))  # a user keeps the best
            curve.append((round(spent, 2), best))
            next_look = spent + seconds / 8
            start += time.perf_counter() - paused  # looking is not counted
    return curve


def largest(basis: Tensor) -> float:
    """Of very many vectors, of a sample with all: a lower bound, which favours the other side."""
    if len(basis) <= 20_000:
        return coherence(basis)
    rows = torch.randperm(len(basis), generator=torch.Generator().manual_seed(0))[:_SAMPLED]
    cosines = (basis[rows] @ basis.T).abs()
    return cosines.scatter(1, rows[:, None], 0.0).max().item()


def ours(num_vectors: int, dim: int) -> list[tuple[float, float]]:
    """``(seconds, coherence)`` of growing budgets; the last is what a user gets."""
    curve = []
    for share in (1 / 64, 1 / 16, 1 / 4, 1):
        equiangular._basis.cache_clear()
        steps = max(equiangular._FEWEST_STEPS, int(equiangular._MOST_STEPS * share))
        start = time.perf_counter()
        with (
            patch.object(equiangular, "_FLOP", equiangular._FLOP * share),
            patch.object(equiangular, "_MOST_STEPS", steps),
        ):
            basis = equiangular.equiangular_basis(num_vectors, dim)
        seconds = time.perf_counter() - start
        curve.append((round(seconds, 2), coherence(basis)))
    return curve


def memory_mib(num_vectors: int, dim: int) -> dict[str, float]:
    """What a fresh process takes beyond its imports to make a basis, and to check it."""
    code = f"""
import torch
from benchmarks.common import peak_mib, resident_mib
from ssl_equiv.heads import coherence, equiangular_basis
torch.set_num_threads({torch.get_num_threads()})
start = resident_mib()
basis = equiangular_basis({num_vectors}, {dim})
made = peak_mib()
coherence(basis)
print(made - start, peak_mib() - start)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    made, checked = map(float, done.stdout.split()[-2:])
    return {"made_mib": made, "checked_mib": checked, "basis_mib": num_vectors * dim * 4 / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="at most, for the other side")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", nargs="+", default=[f"{k}x{d}" for k, d in SIZES])
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    results: dict[str, Any] = {"threads": asked.threads, "sizes": {}}
    for size in asked.sizes:
        num_vectors, dim = map(int, size.split("x"))
        bound = welch_bound(num_vectors, dim)
        curve = ours(num_vectors, dim)
        seconds, found = curve[-1]
        allowed = max(5.0, min(asked.seconds, 2 * seconds))
        # its step size and margin are the best of some, which is not counted
        ways = list(product(LRS, [share * (bound or 0.01) for share in MARGINS]))
        lr, margin = min(ways, key=lambda way: hinge(num_vectors, dim, allowed / 8, *way)[-1][1])
        other = hinge(num_vectors, dim, allowed, lr, margin)
        generator = torch.Generator().manual_seed(1)
        random = largest(normalize(torch.randn(num_vectors, dim, generator=generator), dim=1))
        figures = {
            "seconds": seconds,
            "coherence": found,
            "bound": bound,
            "ratio": found / bound if bound else None,
            "random_coherence": random,
            "hinge_lr": lr,
            "hinge_margin": margin,
            "ours": [{"seconds": s, "coherence": c} for s, c in curve],
            "hinge": [{"seconds": s, "coherence": c} for s, c in other],
        }
        if num_vectors > 50_000:
            figures |= memory_mib(num_vectors, dim)
        results["sizes"][size] = figures
        told = (f"bound {bound:.4f}", f"random {random:.4f}", "ours", curve, "hinge", other[-1])
        print(size, *told, flush=True)
    print(write("equiangular", results))


if __name__ == "__main__":
    main()
