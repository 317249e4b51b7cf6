"""Simulated data sets on disk: sequence after sequence, by any number of processes."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from data_gen.lidar.job import DONE, Job, write_sequence
from data_gen.lidar.simulate import simulate
from data_gen.plan import claim
from ssl_equiv.data.lidar.names import SIMULATION
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write, make_directory, write_json

_SHOWN = 4  # sweeps in the preview


def generate(
    job: Job,
    out: str | os.PathLike[str],
    num_workers: int | None = None,
    progress: bool = True,
) -> int:
    """Write a data set; a run that was stopped continues with the same arguments.

    The bytes depend on the job alone, not on the processes. Each sequence appears whole;
    ``simulation.json`` comes last, and ``preview.png`` shows the first sweeps from above.

    Args:
        job: What to simulate.
        out: Folder of the data set; made where absent.
        num_workers: Processes; None takes the cores that this process may use, 0 none but this.
        progress: Show a progress bar.

    Returns:
        How many sequences were simulated, not those that were there.

    Raises:
        UserError: ``out`` holds something else, is written by another run or cannot be written; a
            process was killed.
    """
    if num_workers is not None and num_workers < 0:
        raise UserError(f"num_workers is {num_workers}: choose 0 or more")
    out = make_directory(out)
    with claim(out, job.to_dict()):
        make_directory(out / DONE)
        todo = [n for n in range(job.sequences) if not (out / DONE / f"{n:06d}").exists()]
        if todo:
            (out / SIMULATION).unlink(missing_ok=True)  # until it is true again
        workers = len(os.sched_getaffinity(0)) if num_workers is None else num_workers
        with _bar(job, job.sequences - len(todo), progress) as bar:
            for done, _ in enumerate(_run(job, out, todo, min(workers, len(todo))), 1):
                elapsed = bar.tasks[0].elapsed
                rate = f"{done * job.sweeps / elapsed:.0f} sweeps/s" if elapsed else ""
                bar.update(bar.tasks[0].id, advance=1, rate=rate)
        if todo or not (out / SIMULATION).exists():
            _finish(job, out)
    return len(todo)


def _run(job: Job, out: Path, todo: list[int], workers: int) -> Iterator[int]:
    if workers < 2:
        for sequence in todo:
            yield write_sequence(job, out, sequence)
        return
    # kernels are compiled once, here, and cached: not by all at the same time
    next(simulate(job.recipe, job.seed, todo[0], 1))
    context = multiprocessing.get_context("spawn")
    try:
        with closing(_Pool(workers, context)) as pool:
            yield from pool.map(write_sequence, *zip(*((job, out, n) for n in todo), strict=True))
    except BrokenProcessPool as error:
        raise UserError(
            "a simulating process was killed, perhaps for want of memory: run the same command "
            "again to continue, with fewer of them (--num_workers)"
        ) from error


class _Pool(ProcessPoolExecutor):
    """A pool whose waiting work is dropped when it is closed."""

    def __init__(self, workers: int, context: Any) -> None:
        # Ctrl-C is for the process that started them
        ignore = (signal.SIGINT, signal.SIG_IGN)
        super().__init__(workers, mp_context=context, initializer=signal.signal, initargs=ignore)

    def close(self) -> None:
        self.shutdown(cancel_futures=True)


def _finish(job: Job, out: Path) -> None:
    """What is about all sequences; the record that all is there comes last."""
    held_out = set(job.validation)
    if job.layout == "kitti":
        total = job.sequences * job.sweeps
        lines = [
            f"simulated simulated_drive_{number // job.sweeps:04d}_sync {number % job.sweeps:010d}"
            for number in range(total)
        ]
        _write(out / "mapping" / "train_mapping.txt", "\n".join(lines) + "\n")
        numbers = ",".join(str(number + 1) for number in range(total))
        _write(out / "mapping" / "train_rand.txt", numbers + "\n")
        for name in ("train", "val"):
            members = [n for n in range(total) if (n // job.sweeps in held_out) == (name == "val")]
            _write(out / "ImageSets" / f"{name}.txt", "".join(f"{n:06d}\n" for n in members))
    from data_gen.lidar.preview import sheet  # needs torch, which the processes do without

    picture = io.BytesIO()
    shown = range(min(job.sequences, _SHOWN))
    sweeps = [next(simulate(job.recipe, job.seed, n, 1)) for n in shown]
    sheet(sweeps).save(picture, format="PNG")
    with atomic_write(out / "preview.png") as file:
        file.write(picture.getvalue())
    write_json(out / SIMULATION, job.to_dict())


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())


def _bar(job: Job, done: int, shown: bool) -> Progress:
    bar = Progress(
        TextColumn("simulating"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("sequences"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        disable=not shown,
    )
    bar.add_task("", total=job.sequences, completed=done, rate="")
    return bar
