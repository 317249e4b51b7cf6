"""What was submitted for a run, kept beside it: scripts, configurations, job numbers."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from slurm.cluster import living
from slurm.resources import array_indices
from slurm.run_files import living_process
from ssl_equiv.errors import UserError
from ssl_equiv.files import make_directory, read_json, write_json

_JOBS, _LOCK = "jobs.json", ".lock"


@dataclass(frozen=True)
class Record:
    """A job that was submitted.

    Attributes:
        kind: ``pretrain``, ``eval``, ``generate``, ``report`` or ``sweep``.
        job: Its number.
        out: Folder or page that it writes.
        submitted: When, ISO 8601 in UTC.
        script: File name of its script, beside this record.
        array: Indices of an array, or "".
        parts: Of a generation: into how many parts it is cut; else 0.
        runs: Of an array over runs: their folders.
    """

    kind: str
    job: str
    out: str
    submitted: str
    script: str
    array: str = ""
    parts: int = 0
    runs: tuple[str, ...] = ()

    def targets(self) -> dict[str, str]:
        """What each task writes, by its index; ``""`` where there is one."""
        if not self.array:
            return {"": self.out}
        indices = array_indices(self.array)
        if self.runs:
            return {str(i): self.runs[i] for i in indices}
        return {str(i): f"{self.out}, part {i}" for i in indices}


def folder_of(kind: str, out: Path) -> Path:
    """Where scripts, logs and records of a job that writes ``out`` lie.

    A run directory has them within; a data set or a page, which others take as it is, beside it.
    """
    if kind in ("generate", "report"):
        return out.with_name(f"{out.name.removesuffix('.html')}.slurm")
    return out / "slurm"


def read_records(folder: Path) -> list[Record]:
    """All jobs that were submitted from ``folder``, oldest first; none where it has none.

    Raises:
        UserError: the file of them is damaged.
    """
    path = folder / _JOBS
    if not path.exists():
        return []
    raw = read_json(path)
    try:
        return [Record(**{**entry, "runs": tuple(entry["runs"])}) for entry in raw]
    except (TypeError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}): remove it to submit anew") from error


def add_record(folder: Path, record: Record) -> None:
    """Remember a job."""
    write_json(folder / _JOBS, [asdict(each) for each in (*read_records(folder), record)])


def next_number(folder: Path) -> int:
    """Number of the next submission from ``folder``, from 1: its files' names begin with it."""
    scripts = [int(path.name[:3]) for path in folder.glob("[0-9][0-9][0-9]-*.sbatch")]
    return 1 + max(scripts, default=0)


@contextlib.contextmanager
def submitting(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for one submission; it is removed where nothing was submitted after all."""
    make_directory(folder)
    with open(folder / _LOCK, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{folder}: another submission is under way: wait for it") from error
        except OSError:
            pass  # a file system without locks
        try:
            yield
        finally:
            if {path.name for path in folder.iterdir()} == {_LOCK}:
                (folder / _LOCK).unlink()
                folder.rmdir()
                with contextlib.suppress(OSError):  # it holds a run
                    folder.parent.rmdir()


def refuse_in_use(new: Record, folder: Path, after: Iterable[str] = ()) -> None:
    """Raise UserError if a job that writes the same waits or runs, unless the new one is after it.

    Args:
        new: The job that is to be queued.
        folder: Where its records lie.
        after: Jobs that it waits for.
    """
    waited, wanted = set(after), set(new.targets().values())
    known = [r for r in _neighbours(folder, new) if wanted & set(r.targets().values())]
    by_job = {record.job: record for record in known}
    states = living(by_job)
    for name, state in states.items():
        job, _, index = name.partition("_")
        target = by_job[job].targets().get(index)
        if target in wanted and not waited & {job, name}:
            raise UserError(
                f"{target} is in use by job {name}, which is {state.lower()}: wait for it, end it "
                f"by 'scancel {name}', queue behind it by --after afterany:{job}, or choose "
                "another --out"
            )
    for target in wanted if not states else ():
        process = living_process(Path(target), time.time())
        # one that was killed a moment ago has left its lock: Slurm knows whether its job lives
        if process is not None and (process[1] is None or living([process[1]])):
            raise UserError(
                f"{target} is in use by {process[0]}: wait for it, end it, or choose another --out"
            )


def _neighbours(folder: Path, new: Record) -> list[Record]:
    """Records of jobs that may write the same: a run may also be one of a sweep."""
    folders = [folder, *(folder_of("pretrain", Path(run)) for run in new.runs)]
    if new.kind == "pretrain":
        folders.append(folder_of("sweep", Path(new.out).parent))
    return [record for place in folders for record in read_records(place)]
