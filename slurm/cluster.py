"""Slurm's commands, and their complaints in one line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from slurm.resources import array_indices
from ssl_equiv.errors import UserError

_SECONDS = 60  # longest wait for an answer of a busy controller
_LIVING = {"PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "STAGE_OUT", "SIGNALING"}
_LIVING |= {"REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESIZING", "STOPPED", "SPECIAL_EXIT"}


@dataclass(frozen=True)
class JobState:
    """A job, or a task of an array.

    Attributes:
        job: Its number as Slurm shows it, ``12`` or ``12_3``.
        state: ``PENDING``, ``RUNNING``, ``COMPLETED``, ``FAILED``, ...
        reason: Why it waits or how it ended, in Slurm's words, or "".
        nodes: Where it runs or ran, or "".
        restarts: How often it was requeued.
        times: Slurm's ``Start``, ``End``, ``Submit`` in local time, ``YYYY-MM-DDTHH:MM:SS``.
    """

    job: str
    state: str
    reason: str = ""
    nodes: str = ""
    restarts: int = 0
    times: tuple[tuple[str, str], ...] = ()

    @property
    def living(self) -> bool:
        """Whether it waits or runs."""
        return self.state in _LIVING


def require_slurm() -> None:
    """Raise UserError where jobs cannot be submitted."""
    if shutil.which("sbatch") is None:
        raise UserError(
            "no sbatch here: submit on a login node of a Slurm cluster, or only look at the "
            "script by --dry_run"
        )


def submit(script: Path) -> str:
    """Queue a script; the job's number.

    Raises:
        UserError: Slurm refuses; its own words, once.
    """
    done = _call("sbatch", "--parsable", str(script))
    if done.returncode:
        raise UserError(f"Slurm refuses the job: {_words(done.stderr)}")
    return done.stdout.strip().split(";")[0]


def try_script(text: str) -> None:
    """Raise UserError where Slurm would refuse a script."""
    done = _call("sbatch", "--test-only", stdin=text)
    if done.returncode:
        raise UserError(f"Slurm refuses the job: {_words(done.stderr)}")


def check_nodes(partition: str, nodes: int, gpus: int) -> None:
    """Raise UserError where the partition lacks nodes, or GPUs on each of them.

    Slurm itself queues what asks for too many nodes, for ever, and of GPUs says no more than that
    the "node configuration is not available". An unknown partition is left to Slurm to tell.
    """
    where = ["-p", partition] if partition else []
    done = _call("sinfo", "-h", "-o", "%G|%D|%P", *where)
    lines = [line.split("|") for line in done.stdout.splitlines() if line.count("|") == 2]
    if not partition:  # then the cluster's default one, which a star marks
        lines = [line for line in lines if line[2].endswith("*")]
    if done.returncode or not lines:
        return
    name = lines[0][2].rstrip("*")
    most = max(_gpus(gres) for gres, _, _ in lines)
    if gpus > most:
        have = f"have {most} at most" if most else "have none"
        raise UserError(
            f"--gpus_per_node is {gpus}, but the nodes of partition {name} {have}: ask for fewer, "
            "or name another --partition"
        )
    fitting = sum(int(number) for gres, number, _ in lines if _gpus(gres) >= gpus)
    if nodes > fitting:
        such = f" with {gpus} GPUs" if gpus else ""
        raise UserError(
            f"--nodes is {nodes}, but partition {name} has {fitting}{such}: ask for fewer, or name "
            "another --partition"
        )


def living(jobs: Iterable[str]) -> dict[str, str]:
    """States of those jobs, and tasks of arrays, that wait or run: ``{"12_3": "RUNNING"}``."""
    named = ",".join(jobs)
    if not named:
        return {}
    done = _call("squeue", "-h", "-r", "-o", "%i|%T", "-j", named)
    if done.returncode and "Invalid job id" not in done.stderr:
        raise UserError(f"Slurm does not answer: {_words(done.stderr)}")
    return dict(line.split("|") for line in done.stdout.splitlines())


def job_states(jobs: Iterable[str]) -> dict[str, JobState] | None:
    """State of jobs and of the tasks of arrays, by number, as far as Slurm remembers them.

    None where there is no Slurm or it does not answer.
    """
    if shutil.which("scontrol") is None:
        return None
    found: dict[str, JobState] = {}
    for job in jobs:
        done = _call("scontrol", "--oneliner", "show", "job", job)
        if done.returncode and "Invalid job id" not in done.stderr + done.stdout:
            return None
        lines = [line for line in done.stdout.splitlines() if line.startswith("JobId=")]
        states = [state for line in lines for state in _parse(line)] or _accounted(job)
        found |= {state.job: state for state in states}
    return found


def _parse(line: str) -> list[JobState]:
    """A line of ``scontrol show job``: a job, a task of an array, or all those that wait."""
    entry = dict(re.findall(r"(\S+?)=(.*?)(?= [A-Za-z][\w:/]*=|$)", line))
    names = [entry["JobId"]]
    if "ArrayTaskId" in entry:
        array = entry["ArrayTaskId"]
        names = [f"{entry['ArrayJobId']}_{index}" for index in array_indices(array)]
    times = [(name, entry.get(f"{name}Time", "")) for name in ("Submit", "Start", "End")]
    state = JobState(
        "",
        entry["JobState"],
        "" if entry.get("Reason") in (None, "None") else entry["Reason"],
        "" if entry.get("NodeList") in (None, "(null)") else entry["NodeList"],
        int(entry.get("Restarts", 0)),
        tuple((name, text) for name, text in times if re.match(r"\d{4}-", text)),
    )
    return [replace(state, job=name) for name in names]


def _accounted(job: str) -> list[JobState]:
    """From the accounting, which remembers longer, where there is one."""
    if shutil.which("sacct") is None:
        return []
    found = []
    for restarts_field in ("Restarts", "NNodes"):  # older ones do not know the first
        form = f"JobID,State,NodeList,{restarts_field},Submit,Start,End"
        done = _call("sacct", "-X", "-n", "-P", "-j", job, "-o", form)
        if done.returncode == 0:
            break
    else:
        return []
    for line in done.stdout.splitlines():
        number, state, nodes, restarts, *times = line.split("|")
        if re.fullmatch(r"\d+(_\d+)?", number):
            found.append(
                JobState(
                    number,
                    state.split()[0],  # CANCELLED by 1000
                    nodes=nodes,
                    restarts=int(restarts) if restarts_field == "Restarts" else 0,
                    times=tuple(zip(("Submit", "Start", "End"), times, strict=True)),
                )
            )
    return found


def _gpus(gres: str) -> int:
    """GPUs in ``gpu:a100:4(S:0-1),gpu:2,shard:8``."""
    total = 0
    for entry in re.sub(r"\([^)]*\)", "", gres).split(","):
        name, *rest = entry.split(":")
        if name == "gpu" and rest and rest[-1].isdecimal():
            total += int(rest[-1])
    return total


def _call(*command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    # of a job that this process may itself be part of, nothing is for the new one
    mine = re.compile(r"SLURM_(?!CONF$)|SLURMD_|SRUN_|PMI")
    environment = {name: text for name, text in os.environ.items() if not mine.match(name)}
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            input=stdin,
            env=environment,
            check=False,
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", f"no {command[0]} here")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(
            command, 124, "", f"{command[0]} has not answered within {_SECONDS} s"
        )


def _words(text: str) -> str:
    """Slurm's complaint without its prefixes and repetitions."""
    lines = [re.sub(r"^\w+: (error|fatal): ", "", line).strip() for line in text.splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line))
