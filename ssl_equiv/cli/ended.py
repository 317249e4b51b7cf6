"""How a run that a signal has ended goes on."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from ssl_equiv import cluster
from ssl_equiv.errors import Preempted


def ended_by_signal(end: Preempted, run: Path, requeue: bool, first: bool) -> int:
    """Put the job back into the queue, or tell how to go on.

    Returns:
        In a Slurm job 0, or 1 where the job should have been requeued and was not (a chain of
        jobs must not go on then); elsewhere what a shell calls a program that the signal ended.
    """
    state = f"{end.signal} at step {end.step}, saved in {run}"
    if not end.saved:
        state = f"{end.signal} before the first step, nothing to save"
    job = cluster.job_id()
    again = "the same command continues there"
    code = 0
    if job is None:
        code = 128 + getattr(signal, end.signal, signal.SIGTERM)
    elif not requeue:
        again = f"--requeue false leaves job {job} to the cluster"
    elif not first:
        return 0  # one process speaks for all
    elif cluster.is_cancelled(job):
        again = f"job {job} was cancelled and is not requeued; the same command continues"
    else:
        # told first: Slurm ends a job that is requeued at once
        print(f"{state}: job {job} is requeued", file=sys.stderr, flush=True)
        refused = cluster.requeue(job)
        if refused is None:
            return 0
        again, code = f"job {job} could not be requeued ({refused}): submit it again", 1
    if first:
        print(f"{state}: {again}", file=sys.stderr)
    return code
