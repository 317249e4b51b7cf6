"""The Slurm job that this process is part of, if it is."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping

_WAIT = 30  # seconds for an answer of the controller
# states that a cancelled or finished job passes through; any other is still going on
_ENDED = ("CANCELLED", "COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE")


def job_id(environment: Mapping[str, str] = os.environ) -> str | None:
    """The job's number as ``scontrol`` takes it, ``123`` or ``123_4``; None outside a job.

    A shell on a node (``salloc``, ``srun --pty bash``) is no job of ours to requeue.
    """
    if environment.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return None
    if "SLURM_JOB_ID" not in environment or "SLURM_PROCID" not in environment:
        return None
    array = environment.get("SLURM_ARRAY_JOB_ID")
    if array is not None:
        return f"{array}_{environment['SLURM_ARRAY_TASK_ID']}"
    return environment["SLURM_JOB_ID"]


def job_state(job: str) -> str | None:
    """What Slurm calls the job's state, such as ``RUNNING``; None where it is not to be asked."""
    return _job(job).get("JobState")


def is_cancelled(job: str) -> bool:
    """Whether somebody has ended the job by ``scancel``: then it is not to come back.

    To be asked by the job itself, while it ends. Slurm then calls a cancelled job ``COMPLETING``,
    and likewise one whose time is up, which has a reason; a preempted one runs until the end of
    its grace time and has a time of preemption.
    """
    entry = _job(job)
    if entry.get("JobState") == "CANCELLED":
        return True
    preempted = _time(entry, "PreemptTime") > _time(entry, "StartTime")
    ends = entry.get("JobState") == "COMPLETING"
    return ends and entry.get("Reason") == "None" and not preempted


def is_alive(job: str) -> bool | None:
    """Whether the job is queued or running; None where Slurm cannot tell."""
    state = job_state(job)
    return None if state is None else state not in _ENDED


def _time(entry: Mapping[str, str], name: str) -> str:
    """``YYYY-MM-DDTHH:MM:SS``, which sorts as it is; empty where it has not come."""
    found = entry.get(name, "")
    return found if found[:1].isdigit() else ""


def _job(job: str) -> dict[str, str]:
    """What Slurm tells of a job: ``JobState``, ``Reason``, ``StartTime``, ...; empty: nothing."""
    answer = _scontrol("--oneliner", "show", "job", job)
    return dict(re.findall(r"(\w+)=(\S*)", answer.stdout)) if answer.returncode == 0 else {}


def requeue(job: str) -> str | None:
    """Put the running job back into the queue; returns why that was refused, if it was."""
    answer = _scontrol("requeue", job)
    return None if answer.returncode == 0 else " ".join(answer.stderr.split()) or "no answer"


def size(environment: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """Nodes and processes a node of the job step; None outside one."""
    if job_id(environment) is None or "SLURM_NTASKS_PER_NODE" not in environment:
        return None
    nodes = environment.get("SLURM_STEP_NUM_NODES") or environment.get("SLURM_NNODES", "1")
    return int(nodes), int(environment["SLURM_NTASKS_PER_NODE"])


def _scontrol(*args: str) -> subprocess.CompletedProcess[str]:
    command = ["scontrol", *args]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_WAIT, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", "there is no scontrol here")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", "Slurm's controller did not answer")
