"""Training and encoding on a CPU with freed memory kept, and given back as glibc does by itself.

``python -m benchmarks.memory`` writes ``benchmarks/results/memory.json``. Each side runs in
processes of its own, which take turns: SIE's training step with a ResNet-18 and its encoding.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import statistics
from typing import Any

import torch

from benchmarks.common import peak_mib, timed, write
from benchmarks.methods import configs, make, method_step, views
from ssl_equiv.memory import keep_freed_memory

SETTINGS = {"training": (64, 128), "training, 128 px": (128, 64), "encoding": (64, 256)}


def measure(what: str, keep: bool, threads: int, repeats: int) -> dict[str, float]:
    """Milliseconds a call, and the process's peak of memory, MiB."""
    torch.set_num_threads(threads)
    if keep and not keep_freed_memory():
        raise SystemExit("needs glibc, and no MALLOC_ or GLIBC_TUNABLES variables")
    size, batch = SETTINGS[what]
    method = make(configs()["sie_3diebench"], size, compile=False)
    data = views(method, batch, size, "cpu")
    if what == "encoding":
        method.eval()
        with torch.no_grad():
            seconds = timed(lambda: method.encode(data.images[:, 0]), repeats)
    else:
        seconds = timed(method_step(method, data, contextlib.nullcontext), repeats)
    return {"ms": 1000 * seconds["median"], "peak_mib": peak_mib()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=6, help="calls timed in each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side")
    options = parser.parse_args()
    results: dict[str, Any] = {"setting": vars(options)}
    context = multiprocessing.get_context("spawn")
    for what, (size, batch) in SETTINGS.items():
        found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        for _ in range(options.rounds):
            for keep, runs in found.items():
                with context.Pool(1) as pool:
                    call = (what, keep, options.threads, options.repeats)
                    runs.append(pool.apply(measure, call))
        sides = {
            "kept" if keep else "given back": {
                key: statistics.median(run[key] for run in runs) for key in ("ms", "peak_mib")
            }
            for keep, runs in found.items()
        }
        ratio = sides["given back"]["ms"] / sides["kept"]["ms"]
        results[what] = {"size": size, "batch": batch, **sides, "ratio": ratio}
        print(f"{what:<18} {ratio:.2f}x {sides}", flush=True)
    print(f"written to {write('memory', results)}")


if __name__ == "__main__":
    main()
