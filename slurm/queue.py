"""Stages of a chain, shown or queued: all are checked before the first is queued."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from slurm.cluster import check_nodes, require_slurm, submit, try_script
from slurm.records import Record, add_record, next_number, refuse_in_use, submitting
from slurm.resources import duration, seconds
from slurm.script import ARRAY_LOG, LOG, Job, render
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write

_PREVIOUS = "PREVIOUS"  # stands for the number of a job that is not queued yet


@dataclass(frozen=True)
class Stage:
    """One job of a chain.

    Attributes:
        job: Its script.
        out: What it writes.
        number: Of the submission in its folder: it begins the names of its files.
        files: Configurations that it reads, by path.
        parts: Of a generation; else 0.
        runs: Of an array over runs: their folders, absolute.
        follows: How it depends on the stage before, ``afterok`` or ``aftercorr``.
        after: Jobs that it waits for besides.
    """

    job: Job
    out: Path
    number: int
    files: Mapping[Path, str] = field(default_factory=dict)
    parts: int = 0
    runs: tuple[str, ...] = ()
    follows: str = "afterok"
    after: tuple[str, ...] = ()

    @property
    def script(self) -> Path:
        """Where its script is kept."""
        return self.job.folder / f"{self.number:03d}-{self.job.kind}.sbatch"

    def record(self, number: str) -> Record:
        """What is remembered of it once it is queued."""
        return Record(
            self.job.kind,
            number,
            str(self.out),
            datetime.now(timezone.utc).isoformat(timespec="seconds"),
            self.script.name,
            self.job.array,
            self.parts,
            self.runs,
        )


def show(stages: Sequence[Stage]) -> None:
    """Print the scripts."""
    for place, stage in enumerate(stages):
        print(f"# {stage.script}")
        print(render(_dependent(stage, _PREVIOUS if place else None)))
    print("# nothing is submitted")


def queue(stages: Sequence[Stage]) -> list[str]:
    """Show and submit the scripts, each after the one before; the jobs' numbers.

    Raises:
        UserError: Slurm is missing or refuses a script; a run directory is in use.
    """
    require_slurm()
    for stage in stages:
        check_nodes(
            stage.job.site.partition, stage.job.resources.nodes, stage.job.resources.gpus_per_node
        )
        if len(stages) > 1:  # a chain is queued whole or not at all
            try_script(render(replace(stage.job, dependency="")))
    numbers: list[str] = []
    with contextlib.ExitStack() as held:
        for folder in dict.fromkeys(stage.job.folder for stage in stages):
            held.enter_context(submitting(folder))
        for stage in stages:
            refuse_in_use(stage.record(""), stage.job.folder, stage.after)
        for stage in stages:
            numbers.append(_queue(stage, numbers))
    return numbers


def _queue(stage: Stage, before: Sequence[str]) -> str:
    job = _dependent(stage, before[-1] if before else None)
    if next_number(job.folder) > stage.number:
        raise UserError(f"{job.folder}: another submission was made just now: look, and repeat")
    files = {**stage.files, stage.script: render(job)}
    try:
        for path, text in files.items():
            with atomic_write(path) as file:
                file.write(text.encode())
        number = submit(stage.script)
    except BaseException as error:
        for path in files:
            path.unlink(missing_ok=True)
        if isinstance(error, UserError) and before:
            queued = ", ".join(before)
            raise UserError(f"{error} (queued already: {queued}; scancel ends them)") from error
        raise
    add_record(job.folder, stage.record(number))
    print(files[stage.script])
    print(_told(stage, job, number), flush=True)
    return number


def _dependent(stage: Stage, previous: str | None) -> Job:
    if previous is None:
        return stage.job
    expression = f"{stage.follows}:{previous}"
    both = f"{stage.job.dependency},{expression}" if stage.job.dependency else expression
    return replace(stage.job, dependency=both)


def _told(stage: Stage, job: Job, number: str) -> str:
    resources = job.resources
    size = [f"{resources.nodes} node{'s' * (resources.nodes > 1)}"]
    if resources.gpus_per_node:
        size.append(f"{resources.gpus_per_node} GPU{'s' * (resources.gpus_per_node > 1)} each")
    size.append(f"{resources.tasks} task{'s' * (resources.tasks > 1)}")
    if resources.time:
        size.append(f"limit {duration(seconds(resources.time))}")
    if job.array:
        size.append(f"array {job.array}")
    after = f", when {job.dependency} allows" if job.dependency else ""
    log = ARRAY_LOG.replace("%A", number) if job.array else LOG.replace("%j", number)
    target = stage.out.parent if job.kind == "report" else stage.out
    if job.kind == "eval" and stage.out.name == "eval":
        target = stage.out.parent
    return (
        f"job {number}: {job.kind} into {stage.out} ({', '.join(size)}){after}\n"
        f"  log {job.folder / log}\n"
        f"  'ssl-equiv submit status {target}' shows how it goes"
    )
