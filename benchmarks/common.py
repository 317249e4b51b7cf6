"""What every benchmark shares: the machine, a stopwatch, and one JSON file a benchmark.

Run as ``python -m benchmarks.NAME`` from the repository's root.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from ssl_equiv.files import write_json

RESULTS = Path(__file__).parent / "results"


def environment() -> dict[str, Any]:
    """What a figure depends on besides the code."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def timed(fn: Callable[[], object], repeats: int = 7, warmup: int = 2) -> dict[str, float]:
    """Seconds a call takes: ``median``, ``min`` and ``max`` of ``repeats``, after ``warmup``.

    ``cpu`` is the median of the process's processor seconds, over all its threads: the figure to
    read where other programs share the machine.
    """
    for _ in range(warmup):
        fn()
    wall, cpu = [], []
    for _ in range(repeats):
        start, cpu_start = time.perf_counter(), time.process_time()
        fn()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - cpu_start)
    median = statistics.median(wall)
    return {"median": median, "min": min(wall), "max": max(wall), "cpu": statistics.median(cpu)}


def resident_mib() -> float:
    """Memory of this process now, MiB; its peak begins anew.

    ``ru_maxrss`` would not do: in a started process it begins at the size of its parent.
    """
    Path("/proc/self/clear_refs").write_text("5")
    return _status_mib("VmRSS")


def peak_mib() -> float:
    """The peak of this process's memory, MiB, since its start or :func:`resident_mib`."""
    return _status_mib("VmHWM")


def _status_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def write(name: str, results: Mapping[str, Any]) -> Path:
    """Leave ``results`` with machine and command in ``benchmarks/results/NAME.json``."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    module = Path(sys.argv[0]).stem  # one script may leave several files
    command = " ".join(["python", "-m", f"benchmarks.{module}", *sys.argv[1:]])
    write_json(path, {"command": command, "environment": environment(), "results": dict(results)})
    return path


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
