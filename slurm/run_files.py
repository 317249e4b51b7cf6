"""What a run's files tell of it, read cheaply: the run may be writing them."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import deque
from pathlib import Path

import yaml

_STEP = re.compile(r"step-(\d+)\.ckpt")
_ROWS = 2000  # at the end of the metrics: enough for a row of every metric
_FRESH = 20.0  # seconds between two signs of life, at most; they come every five
_TAIL = 65536  # bytes at the end of a log
_WORDS = 160  # characters of a failure's reason


def last_metrics(run: Path) -> tuple[dict[str, float], int | None]:
    """The last value of every metric, and the last step logged; empty and None before the first.

    Read from the end of the newest file that has a row: a long run has logged much.
    """
    parts = (run / "metrics").glob("version_*/metrics.csv")
    for path in sorted(parts, key=lambda p: int(p.parent.name[len("version_") :]), reverse=True):
        found: dict[str, float] = {}
        step = None
        try:
            with open(path, newline="") as file:
                names = next(csv.reader(file))
                # the last line may be half written: it then lacks columns
                rows = [row for row in deque(csv.reader(file), _ROWS) if len(row) == len(names)]
            for row in rows:
                entry = dict(zip(names, row, strict=True))
                step = int(entry["step"])
                found |= {k: float(v) for k, v in entry.items() if v and k not in ("step", "epoch")}
        except (OSError, StopIteration, KeyError, ValueError, csv.Error):
            pass  # being written: what could be read is told
        if step is not None:
            return {name: value for name, value in found.items() if math.isfinite(value)}, step
    return {}, None


def living_process(run: Path, now: float) -> tuple[str, str | None] | None:
    """The process that trains a run, by the lock that it keeps fresh; None where there is none.

    Returns:
        Who it is, in words, and the Slurm job that it belongs to, if it does.
    """
    path = run / ".lock"
    try:
        if now - path.stat().st_mtime > _FRESH:
            return None
        record = json.loads(path.read_text())
        return f"process {record['pid']} on {record['host']}", record.get("job")
    except (OSError, ValueError, KeyError, TypeError):  # empty: nobody's
        return None


def newest_checkpoint(run: Path, now: float) -> tuple[int, float] | None:
    """Step and age in seconds of a run's newest checkpoint, by its name and time."""
    found = []
    for path in (run / "checkpoints").glob("step-*.ckpt"):
        if name := _STEP.fullmatch(path.name):
            try:
                found.append((int(name[1]), max(0.0, now - path.stat().st_mtime)))
            except OSError:  # replaced by a newer one just now
                continue
    return max(found, default=None)


def last_step(run: Path) -> int | None:
    """The step that a run ends at; None where it ends by epochs, or never."""
    try:
        steps = yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_steps"]
        return int(steps) if int(steps) > 0 else None
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return None


def failure_in(log: Path) -> str:
    """The line that tells most: the last that says error, else the last."""
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    told = [x for x in lines if re.match(r"error: |\w*(Error|Exception)\b", x)] or lines
    return told[-1][:_WORDS] if told else ""
