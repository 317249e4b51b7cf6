"""Signals that ask a run to end: noted when they come, acted upon at a step's boundary.

A handler that saved at once would save in the middle of a step, with processes that wait for one
another at different places: they would wait for ever. So a handler only notes the signal;
:class:`ssl_equiv.callbacks.SaveCheckpoints` asks for it where a step ends.

Standard library alone: it is imported before everything else, for signals that come early.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# Slurm's --signal before the time limit; and preemption, scancel, a limit without --signal
ENDING = (signal.SIGUSR1, signal.SIGTERM)

_noted: list[signal.Signals] = []
_watching = False


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """Note the signals of :data:`ENDING` in place of ending by them.

    A launcher may start this process with both blocked: one that came early is noted now. Within
    another such block this one does nothing.
    """
    global _watching
    if _watching or threading.current_thread() is not threading.main_thread():
        yield  # other threads get no signals
        return
    before = [signal.getsignal(number) for number in ENDING]
    _noted.clear()
    _watching = True
    watch()
    try:
        yield
    finally:
        _watching = False
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        for number, handler in zip(ENDING, before, strict=True):
            # one that was told to end is often told so again, until it has
            signal.signal(number, signal.SIG_IGN if _noted else handler or signal.SIG_DFL)


def watch() -> None:
    """Install the handlers again, where a library has put its own in their place, and end
    :func:`hold`; nothing outside :func:`watching`, whose caller knows what follows a signal."""
    if _watching:
        for number in ENDING:
            signal.signal(number, _note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def hold() -> None:
    """Let signals wait until :func:`watch`; nothing outside :func:`watching`."""
    if _watching:
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


def _note(number: int, frame: FrameType | None) -> None:
    _noted.append(signal.Signals(number))


def noted() -> signal.Signals | None:
    """The first signal that came, if any."""
    return _noted[0] if _noted else None


def spare_loader(worker: int) -> None:
    """Keep a loader process alive while its run saves: clusters signal every process of a job.

    For ``worker_init_fn``. By PyTorch's own handler the process would end, and with it the run;
    here it ends by a SIGTERM of its own run alone, which is how a run ends its loaders.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
    run = multiprocessing.parent_process()  # which made it, be it through a fork server
    assert run is not None
    threading.Thread(target=_end_by, args=(run.pid,), daemon=True).start()


def _end_by(run: int | None) -> None:
    while True:
        if signal.sigwaitinfo([signal.SIGTERM]).si_pid == run:
            os._exit(0)
