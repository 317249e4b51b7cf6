"""Runs of ``ssl-equiv`` as processes of their own that start at once: they are forked from one
that has imported everything and computed nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.cli.everything"])


_started: list[Run] = []


def end_all() -> None:
    """Kill what still runs: a training that a test leaves behind would take a core for hours."""
    while _started:
        process = _started.pop().process
        if process.is_alive():
            process.kill()
            process.join()


class Run:
    """A running command; its output goes to ``log``.

    ``before``, a function of a module, is called in the process before the command.
    """

    def __init__(
        self,
        log: Path,
        *args: str,
        before: Callable[[], None] | None = None,
        **environment: str,
    ) -> None:
        self.log = log
        self.process: ForkServerProcess = _context.Process(
            target=_main, args=(str(log), list(args), before, environment)
        )
        self.process.start()
        _started.append(self)

    def signal(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def wait(self, seconds: float = 120) -> int:
        """The exit code; minus the signal where one ended it."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise AssertionError(f"still running after {seconds} s\n{self.log.read_text()}")
        return self.process.exitcode

    def wait_for(self, what: Callable[[], bool], seconds: float = 120) -> None:
        """Until it is so; fails where the run ends before."""
        end = time.monotonic() + seconds
        while not what():
            assert self.process.is_alive(), f"it ended before\n{self.log.read_text()}"
            assert time.monotonic() < end, f"not so after {seconds} s\n{self.log.read_text()}"
            time.sleep(0.005)


def _main(
    log: str, args: list[str], before: Callable[[], None] | None, environment: dict[str, str]
) -> None:
    os.environ.update(environment)
    # loader processes start as they do where a run is started by hand
    multiprocessing.set_start_method("fork", force=True)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    import torch

    from ssl_equiv import cli

    torch.set_num_threads(1)
    if before is not None:
        before()
    code = cli.main(args)
    sys.stdout.flush()
    sys.exit(code)
