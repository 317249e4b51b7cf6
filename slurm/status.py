"""What a run is doing: Slurm's word on its jobs, and what its files tell."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from slurm.cluster import JobState, job_states
from slurm.records import Record, folder_of, read_records
from slurm.resources import array_indices, duration
from slurm.run_files import (
    failure_in,
    last_metrics,
    last_step,
    living_process,
    newest_checkpoint,
)
from slurm.script import ARRAY_LOG, LOG
from ssl_equiv.errors import UserError

_FAILED = ("FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE")


@dataclass(frozen=True)
class Run:
    """A run as its directory tells.

    Attributes:
        path: The directory.
        state: ``queued``, ``running``, ``finished``, ``failed``, ... and why.
        jobs: Lines on its jobs, the newest last.
        restarts: How often its newest pretraining job was requeued; None where nobody knows.
        step: Of the newest checkpoint or metric; None before the first.
        steps: The step it ends at; None where it ends by epochs or never.
        speed: Views per second, as last logged.
        metrics: Last value of every logged metric.
        checkpoint: Step and age in seconds of the newest checkpoint, or None.
        log: The newest log, or None.
        failure: The last line of the log of a failed job, or "".
    """

    path: Path
    state: str
    jobs: list[str] = field(default_factory=list)
    restarts: int | None = None
    step: int | None = None
    steps: int | None = None
    speed: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    checkpoint: tuple[int, float] | None = None
    log: Path | None = None
    failure: str = ""


def status(path: str | Path, now: float | None = None) -> list[Run]:
    """The state of a run, of every run of a sweep, or of a data set that is being rendered.

    Raises:
        UserError: nothing of the kind is there.
    """
    root, now = Path(path), time.time() if now is None else now
    folder, records = _records(root)
    if not records and not _is_run(root):
        raise UserError(f"{root}: no run is there, and nothing was submitted for it")
    states = job_states(dict.fromkeys(record.job for record in records))
    sweeps = (record for record in records if record.kind == "sweep")
    runs = list(dict.fromkeys(name for record in sweeps for name in record.runs))
    if runs and folder.parent == root:
        return [_run(Path(run), records, states, folder, now) for run in runs]
    return [_run(root, records, states, folder, now)]


def _records(root: Path) -> tuple[Path, list[Record]]:
    """What was submitted for ``root``, and where that is kept: for a run of a sweep beside it."""
    for kind in ("pretrain", "generate"):
        folder = folder_of(kind, root)
        if records := read_records(folder):
            return folder, records
    folder = folder_of("sweep", root.absolute().parent)
    records = [r for r in read_records(folder) if _index(r, root) is not None]
    return folder, records


def _index(record: Record, run: Path) -> int | None:
    """Which task of an array over runs trains or judges this one."""
    for name in (str(run.absolute()), str(run.absolute() / "eval")):
        if name in record.runs:
            return record.runs.index(name)
    return None


def _run(
    path: Path,
    records: Sequence[Record],
    states: Mapping[str, JobState] | None,
    folder: Path,
    now: float,
) -> Run:
    jobs: list[tuple[Record, str, JobState | None]] = []
    for record in records:
        index = _index(record, path)
        wanted = None if index is None else str(index)
        if record.runs and (index is None or index not in array_indices(record.array)):
            continue
        found = _tasks(record, states or {}, wanted)
        number = f"{record.job}_{wanted}" if wanted is not None else record.job
        jobs += [(record, s.job, s) for s in found] or [(record, number, None)]
    main = [job for job in jobs if job[0].kind not in ("eval", "report")] or jobs
    metrics, step = last_metrics(path)
    checkpoint = newest_checkpoint(path, now)
    reached = max([s for s in (step, checkpoint and checkpoint[0]) if s is not None], default=None)
    last = main[-1] if main else None
    log = _log(folder, last[1]) if last else None
    state = _state(path, main, checkpoint, states is not None, now)
    return Run(
        path,
        state,
        [_line(*job, now=now) for job in jobs],
        max((s.restarts for _, _, s in main if s), default=None),
        reached,
        last_step(path),
        metrics.pop("views_per_s", None),
        metrics,
        checkpoint,
        log,
        failure_in(log) if log and state.startswith("failed") else "",
    )


def _tasks(record: Record, states: Mapping[str, JobState], index: str | None) -> list[JobState]:
    found = [s for name, s in states.items() if name.partition("_")[0] == record.job]
    return [s for s in found if index is None or s.job.partition("_")[2] == index]


def _state(
    path: Path,
    jobs: Sequence[tuple[Record, str, JobState | None]],
    checkpoint: tuple[int, float] | None,
    asked: bool,
    now: float,
) -> str:
    # of an array's tasks, as of a run's jobs, a later submission replaces the earlier one
    latest = {s.job.partition("_")[2]: s for _, _, s in jobs if s is not None}
    words = [_word(latest[index], now) for index in sorted(latest, key=lambda i: int(i or 0))]
    if len(words) > 1:
        short = [word.split(" (")[0] for word in words]
        return ", ".join(f"{short.count(word)} {word}" for word in dict.fromkeys(short))
    steps = last_step(path)
    if words and words[0] != "finished":
        return words[0]
    if words and (steps is None or checkpoint is None or checkpoint[0] >= steps):
        return "finished"
    if (process := living_process(path, now)) is not None:
        return f"running ({process[0]})"
    if words:
        return "ended before its last step: submit it again to continue"
    if any(record.kind == "generate" for record, _, _ in jobs):
        whole = (path / "manifest.json").is_file()
        return "finished" if whole else "unfinished (no manifest.json yet)"
    if checkpoint is None:
        return "not begun" if jobs else "no checkpoint yet"
    if steps is not None and checkpoint[0] >= steps:
        return "finished"
    who = "Slurm does not know its jobs any more" if asked else "no Slurm answers here"
    return f"unknown ({who}; the last checkpoint is {duration(checkpoint[1])} old)"


def _word(state: JobState, now: float) -> str:
    name, times = state.state, dict(state.times)
    if name == "PENDING":
        requeued = " again" if state.restarts else ""
        return f"queued{requeued} ({state.reason or 'waiting'})"
    if name == "RUNNING":
        since = f" for {duration(now - _epoch(times['Start']))}" if "Start" in times else ""
        left = ""
        if "End" in times and (end := _epoch(times["End"])) > now:
            left = f", {duration(end - now)} left"
        return f"running (on {state.nodes}{since}{left})"
    if name == "COMPLETED":
        return "finished"
    if name in ("COMPLETING", "CONFIGURING"):
        return {"COMPLETING": "ending", "CONFIGURING": "starting"}[name]
    if name in _FAILED:
        return f"failed ({name.lower().replace('_', ' ')})"
    return name.lower()


def _line(record: Record, number: str, state: JobState | None, now: float) -> str:
    told = _word(state, now) if state else f"submitted {record.submitted}"
    return f"{record.kind} job {number}: {told}"


def _is_run(root: Path) -> bool:
    return (root / "checkpoints").is_dir() or (root / "config.yaml").is_file()


def _log(folder: Path, number: str) -> Path | None:
    job, _, index = number.partition("_")
    name = ARRAY_LOG.replace("%A", job).replace("%a", index) if index else LOG.replace("%j", job)
    return folder / name if (folder / name).is_file() else None


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def describe(run: Run) -> list[tuple[str, str]]:
    """A run's state as labelled lines."""
    rows = [("state", run.state)]
    rows += [("", line) for line in run.jobs] if len(run.jobs) > 1 else []
    if run.failure:
        rows.append(("said", run.failure))
    if run.restarts is not None:
        rows.append(("restarts", str(run.restarts)))
    if run.step is not None:
        of = f" of {run.steps:,} ({run.step / run.steps:.0%})" if run.steps else ""
        rows.append(("step", f"{run.step:,}{of}"))
    if run.speed is not None:
        rows.append(("throughput", f"{run.speed:,.0f} views/s"))
    if (name := main_metric(run.metrics)) is not None:
        rows.append(("last metric", f"{name} {run.metrics[name]:.4g}"))
    if run.checkpoint is not None:
        step, age = run.checkpoint
        rows.append(("checkpoint", f"step {step:,}, {duration(age)} ago"))
    if run.log is not None:
        rows.append(("log", str(run.log)))
    return rows


def main_metric(metrics: Mapping[str, float]) -> str | None:
    """The metric to look at first: the online probe's accuracy, else the loss."""
    wanted = ("probe/top1", "train/loss", "loss")
    return next((n for n in wanted if n in metrics), next(iter(metrics), None))


def as_json(runs: Sequence[Run]) -> str:
    """The same for programs."""
    entries = []
    for run in runs:
        entry = {**vars(run), "path": str(run.path), "log": run.log and str(run.log)}
        entry["metrics"] = dict(run.metrics)
        entries.append(entry)
    return json.dumps(entries, indent=2)
