"""A run directory belongs to one living run."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssl_equiv import cluster
from ssl_equiv.errors import UserError
from ssl_equiv.files import writing

LOCK = ".lock"
_BEAT = 5.0  # seconds between two signs of life
_MOST = 4096  # bytes of a record
_SILENCE = 16.0  # seconds without one, after which a run on another machine is dead


@contextlib.contextmanager
def own(
    run: str | os.PathLike[str], beat: float = _BEAT, silence: float = _SILENCE
) -> Iterator[None]:
    """Hold ``RUN/.lock`` while the block runs.

    The kernel's lock tells of runs on this machine, and on others where the file system shares
    locks. Where it does not: Slurm is asked for the job that is named there, and otherwise the
    file is watched for signs of life. They are counted by the other run and only compared here,
    so no two machines' clocks need agree, nor their names differ.

    Raises:
        UserError: another run is alive there.
    """
    path = Path(run) / LOCK
    with writing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            # not flock: loader processes would inherit it, and outlive a run that was killed
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise _in_use(path, _record(os.pread(descriptor, _MOST, 0))) from None
        except OSError:
            pass  # a file system without locks
        other = _record(os.pread(descriptor, _MOST, 0))
        if other and _lives_elsewhere(descriptor, other, silence):
            raise _in_use(path, other)
        _sign(descriptor, 0)  # before anything is done here
        ended = threading.Event()
        beats = threading.Thread(target=_beat, args=(descriptor, ended, beat), daemon=True)
        beats.start()
        try:
            yield
        finally:
            ended.set()
            beats.join()
            os.ftruncate(descriptor, 0)  # empty: nobody's
    finally:
        os.close(descriptor)


def _me() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "boot": _boot(),
        "pid": os.getpid(),
        "job": cluster.job_id(),
    }


def _boot() -> str:
    """What tells this start of this machine from all others, whatever it is called."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


def _beat(descriptor: int, ended: threading.Event, pause: float) -> None:
    for count in itertools.count(1):
        if ended.wait(pause):
            return
        _sign(descriptor, count)


def _sign(descriptor: int, count: int) -> None:
    text = json.dumps({**_me(), "beat": count}) + "\n"
    with contextlib.suppress(OSError):  # a full disk is told by what matters more
        os.pwrite(descriptor, text.encode(), 0)
        os.ftruncate(descriptor, len(text))


def _record(text: bytes) -> dict[str, Any]:
    """The record of who holds the lock; empty where nobody does."""
    try:
        record = json.loads(text)
    except ValueError:  # empty, or in the middle of being written
        return {}
    return record if isinstance(record, dict) else {}


def _lives_elsewhere(descriptor: int, other: dict[str, Any], silence: float) -> bool:
    if other.get("boot") == _boot():
        return False  # the kernel gave us the lock: its process is gone
    job = other.get("job")
    if job is not None:
        if job == cluster.job_id():
            return False  # this very job, before it was requeued
        alive = cluster.is_alive(str(job))
        if alive is not None:
            return alive
    end = time.monotonic() + silence
    while time.monotonic() < end:
        time.sleep(min(1.0, silence / 4))
        if _record(os.pread(descriptor, _MOST, 0)).get("beat") != other.get("beat"):
            return True
    return False


def _in_use(path: Path, other: dict[str, Any]) -> UserError:
    who = ", ".join(
        f"{name} {other[key]}"
        for key, name in (("job", "job"), ("host", "host"), ("pid", "process"))
        if other.get(key) is not None
    )
    return UserError(
        f"{path.parent} is in use by a living run ({who or 'another process'}): wait for it, end "
        "it, or choose another --out"
    )
