"""Processes that render, of which any may be killed."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from data_gen.work import Job, ObjectRenderer, RenderedObject, failure
from ssl_equiv.errors import UserError

_AHEAD = 16  # objects a process that may be finished before the one that is due
_STARTS = 5  # processes that may die in a row while they start, once others have worked


def render_objects(
    job: Job, indices: Sequence[int], workers: int
) -> Generator[RenderedObject, None, None]:
    """Rendered objects in the order of ``indices``; ``workers`` processes take one at a time.

    At most ``16 * workers`` objects wait for one that is slower. An object during which a process
    is killed is rendered once more, alone; when it is killed again it is recorded as failed. With
    0 workers this process renders.

    Raises:
        UserError: the renderer cannot be had, or processes die before they are ready.
    """
    if workers == 0:
        if indices:
            yield from map(ObjectRenderer(job), indices)
        return
    if indices:
        pool = _Pool(job, indices, min(workers, len(indices)))
        try:
            yield from pool.results()
        finally:
            pool.close()


@dataclass(eq=False)
class _Worker:
    """A process, and the object that it renders."""

    process: Any
    pipe: Connection
    ready: bool = False
    index: int | None = None


class _Pool:
    """Processes that take one object after another."""

    def __init__(self, job: Job, indices: Sequence[int], size: int) -> None:
        self.job, self.indices, self.size = job, indices, size
        # spawn: threads of this process (progress bar, BLAS) must not be copied half way
        self.context = multiprocessing.get_context("spawn")
        self.workers: list[_Worker] = []
        self.killed: deque[int] = deque()  # to be rendered once more
        self.twice: set[int] = set()
        self.finished: dict[int, RenderedObject] = {}
        self.begun, self.stillborn = False, 0  # whether any was ready; deaths at the start in a row
        # kernels are compiled once, by the first, and cached: not by all at the same time
        self._add(warm=True)

    def results(self) -> Iterator[RenderedObject]:
        given = 0
        for due, index in enumerate(self.indices):
            while index not in self.finished:
                for worker in list(self.workers):
                    if not worker.ready or worker.index is not None:
                        continue
                    if self.killed:
                        if all(w.index is None for w in self.workers):
                            self._give(worker, self.killed.popleft())
                    elif not self.twice_running and given < min(
                        len(self.indices), due + _AHEAD * self.size
                    ):
                        self._give(worker, self.indices[given])
                        given += 1
                self._listen()
            yield self.finished.pop(index)

    @property
    def twice_running(self) -> bool:
        """Whether an object is tried again: nothing may take its memory."""
        return any(worker.index in self.twice for worker in self.workers)

    def close(self) -> None:
        for worker in self.workers:
            worker.pipe.close()
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()
        self.workers.clear()

    def _add(self, warm: bool = False) -> None:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(theirs, self.job, warm), daemon=True)
        process.start()
        theirs.close()  # so that the process's end is the end of the pipe
        self.workers.append(_Worker(process, ours))

    def _give(self, worker: _Worker, index: int) -> None:
        worker.index = index
        try:
            worker.pipe.send(index)
        except OSError:
            self._lost(worker)

    def _listen(self) -> None:
        pipes = {worker.pipe: worker for worker in self.workers}
        for pipe in wait(list(pipes)):
            worker = pipes[pipe]  # type: ignore[index]
            try:
                message = worker.pipe.recv()
            except (EOFError, OSError):
                self._lost(worker)
                continue
            if isinstance(message, Exception):
                raise message
            if not worker.ready:
                worker.ready = self.begun = True
                self.stillborn = 0
                while len(self.workers) < self.size:
                    self._add()
            else:
                assert worker.index is not None
                self.finished[worker.index], worker.index = message, None

    def _lost(self, worker: _Worker) -> None:
        """A process has died: note its object and start another."""
        worker.pipe.close()
        worker.process.join()
        self.workers.remove(worker)
        how = _ending(worker.process.exitcode)
        if not worker.ready:
            self.stillborn += 1
            if not self.workers and (not self.begun or self.stillborn >= _STARTS):
                mend = (  # a failure tells its trace above; what is killed tells nothing
                    "see its trace above; a script of one's own needs if __name__ == '__main__'"
                    if worker.process.exitcode == 1
                    else "free some memory, or take fewer with --num_workers, and run it again"
                )
                raise UserError(f"a rendering process {how} before it had an object: {mend}")
            if self.workers and self.stillborn >= _STARTS:
                return  # the others go on without it
        elif worker.index is None:
            pass  # it waited: nothing is lost
        elif worker.index in self.twice:
            reason = f"its process {how}, twice; it may need more memory than there is"
            self.finished[worker.index] = failure(self.job, worker.index, reason)
        else:
            self.twice.add(worker.index)
            self.killed.append(worker.index)
        self._add()


def _serve(pipe: Connection, job: Job, warm: bool) -> None:
    """What a process does: it receives indices and sends rendered objects."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that writes
    try:
        try:
            renderer = ObjectRenderer(job)
            if warm:
                renderer.warm()
        except Exception as error:
            pipe.send(error)
            return
        pipe.send(None)
        while True:
            pipe.send(renderer(pipe.recv()))
    except (EOFError, OSError):  # the process that writes has ended
        return


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"ended with exit code {code}"
