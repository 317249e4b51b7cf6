"""What a job asks for, checked before it is queued."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ssl_equiv.errors import UserError

_TIME = re.compile(
    r"(?:(?P<days>\d+)-(?P<h>\d+)(?::(?P<m>\d+)(?::(?P<s>\d+))?)?"
    r"|(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>\d+)"
    r"|(?P<only_minutes>\d+)(?::(?P<and_seconds>\d+))?)"
)
_RANGE = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")
_MOST = 100_000  # tasks of an array: more than any cluster takes


@dataclass(frozen=True)
class Resources:
    """What a job asks of the cluster.

    Attributes:
        nodes: Nodes.
        gpus_per_node: GPUs of each node; 0 trains on processors.
        tasks_per_node: Processes on each node: one per GPU.
        cpus_per_task: Processor cores of each process, or None for the cluster's default.
        mem: Memory per node as Slurm writes it, or "".
        time: Time limit as Slurm writes it, or "" for the partition's default.
    """

    nodes: int
    gpus_per_node: int
    tasks_per_node: int
    cpus_per_task: int | None = None
    mem: str = ""
    time: str = ""

    def __post_init__(self) -> None:
        least = {"nodes": 1, "gpus_per_node": 0, "tasks_per_node": 1, "cpus_per_task": 1}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise UserError(f"--{name} is {value}: give {smallest} or more")
        if self.gpus_per_node and self.tasks_per_node != self.gpus_per_node:
            raise UserError(
                f"--tasks_per_node is {self.tasks_per_node} and --gpus_per_node "
                f"{self.gpus_per_node}: every GPU has one task; make them equal or leave "
                "--tasks_per_node out"
            )
        if self.time:
            seconds(self.time)

    @property
    def tasks(self) -> int:
        """Processes of the whole job."""
        return self.nodes * self.tasks_per_node


def seconds(time: str) -> float:
    """A Slurm time limit in seconds; infinite for UNLIMITED.

    Raises:
        UserError: it has none of Slurm's forms.
    """
    if time.upper() in ("UNLIMITED", "INFINITE"):
        return float("inf")
    found = _TIME.fullmatch(time)
    if found is None:
        raise UserError(
            f"--time is {time!r}: give HOURS:MM:SS, DAYS-HH:MM:SS or minutes, as in 24:00:00"
        )
    part = {name: int(value) for name, value in found.groupdict(default="0").items()}
    minutes = part["m"] + part["minutes"] + part["only_minutes"]
    hours = 24 * part["days"] + part["h"] + part["hours"]
    total = 3600 * hours + 60 * minutes + part["s"] + part["seconds"] + part["and_seconds"]
    if total == 0:
        raise UserError(f"--time is {time!r}, which is no time at all: give more")
    return total


def duration(seconds: float) -> str:
    """Seconds as people say them: ``45 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``."""
    if seconds == float("inf"):
        return "no limit"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    days, hours = divmod(hours, 24)
    return f"{days} d" + (f" {hours} h" if hours else "")


def array_indices(array: str) -> list[int]:
    """Indices of a Slurm array: ``0-15``, ``3``, ``1,4-7``, ``0-15:4``, ``0-99%8``.

    Raises:
        UserError: it has none of these forms.
    """
    ranges, percent, limit = array.partition("%")
    indices: set[int] = set()
    for part in ranges.split(","):
        found = _RANGE.fullmatch(part)
        if found is None or (percent and not (limit.isdecimal() and int(limit))):
            raise UserError(
                f"--array is {array!r}: give indices as in 0-15, 3 or 1,4-7, and after a % how "
                "many may run at once"
            )
        first = int(found[1])
        last, step = int(found[2] or first), int(found[3] or 1)
        if last < first or step < 1 or last > _MOST:
            raise UserError(f"--array is {array!r}: {part} is no range")
        indices.update(range(first, last + 1, step))
    return sorted(indices)
