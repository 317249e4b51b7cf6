"""Equiangular bases: coherence over the Welch bound against seconds, beside descent on a hinge.

``python -m benchmarks.equiangular [--seconds 60]``: both sides get the same time on the same
threads. The other side is the way of the paper (arXiv 2303.11637), written anew: SGD on the hinge
of the absolute cosines of randomly started vectors, a slice of them at a time.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.common import write
from ssl_equiv.heads import coherence, equiangular_basis
from ssl_equiv.heads.frames import welch_bound

SIZES = ((1000, 1000), (200, 100), (1000, 100), (10_000, 512), (100_000, 512))
_SAMPLED = 4096  # of very many vectors, the coherence of a sample with all


def hinge(num_vectors: int, dim: int, seconds: float) -> list[tuple[float, float]]:
    """``(seconds, coherence)`` as SGD goes on."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(num_vectors, dim, generator=generator).requires_grad_()
    optimizer = torch.optim.SGD([vectors], lr=1e-3, momentum=0.9)
    slice_size = min(num_vectors, 512)
    target = welch_bound(num_vectors, dim)
    curve, start, at, spent = [], time.perf_counter(), 0, 0.0
    next_look = 0.0
    while spent < seconds:
        unit = normalize(vectors, dim=1)
        rows = torch.arange(at, at + slice_size) % num_vectors
        cosines = (unit[rows] @ unit.T).abs()
        cosines = cosines.scatter(1, rows[:, None], 0.0)
        loss = torch.relu(cosines - target).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        at = (at + slice_size) % num_vectors
        spent = time.perf_counter() - start
        if spent >= next_look:
            paused = time.perf_counter()
            curve.append((round(spent, 2), largest(normalize(vectors.detach(), dim=1))))
            next_look = spent + seconds / 8
            start += time.perf_counter() - paused  # looking is not counted
    return curve


def largest(basis: Tensor) -> float:
    if len(basis) <= 20_000:
        return coherence(basis)
    rows = torch.randperm(len(basis), generator=torch.Generator().manual_seed(0))[:_SAMPLED]
    cosines = (basis[rows] @ basis.T).abs()
    return cosines.scatter(1, rows[:, None], 0.0).max().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="at most, for the other side")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    results: dict[str, Any] = {"threads": asked.threads, "sizes": {}}
    for num_vectors, dim in SIZES:
        bound = welch_bound(num_vectors, dim)
        start = time.perf_counter()
        basis = equiangular_basis(num_vectors, dim)
        seconds = time.perf_counter() - start
        ours = largest(basis)
        curve = hinge(num_vectors, dim, max(5.0, min(asked.seconds, 2 * seconds)))
        generator = torch.Generator().manual_seed(1)
        random = largest(normalize(torch.randn(num_vectors, dim, generator=generator), dim=1))
        results["sizes"][f"{num_vectors}x{dim}"] = {
            "seconds": seconds,
            "coherence": ours,
            "bound": bound,
            "ratio": ours / bound if bound else None,
            "random_coherence": random,
            "hinge": [{"seconds": s, "coherence": c} for s, c in curve],
        }
        print(num_vectors, dim, f"{seconds:.1f} s", f"{ours:.4f}", f"bound {bound:.4f}", curve[-1])
    print(write("equiangular", results))


if __name__ == "__main__":
    main()
