from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ssl_equiv import cluster, run_lock
from ssl_equiv.errors import UserError

# another machine's run, as far as the kernel's lock tells
ELSEWHERE = {"host": "node7", "boot": "another", "pid": 1, "job": None, "beat": 5}


def own(run: Path) -> None:
    with run_lock.own(run, beat=0.05, silence=0.4):
        time.sleep(0.12)
        record = json.loads((run / run_lock.LOCK).read_text())
        assert record["pid"] == os.getpid()
        assert record["beat"] >= 1


def test_a_free_directory(tmp_path: Path) -> None:
    own(tmp_path)
    assert (tmp_path / run_lock.LOCK).read_text() == ""
    own(tmp_path)


def test_a_living_process_on_this_machine(tmp_path: Path) -> None:
    hold = (
        "import sys, time; from ssl_equiv import run_lock\n"
        "with run_lock.own(sys.argv[1]): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"in use by a living run .*process {process.pid}"):
        own(tmp_path)
    process.kill()
    process.wait()
    own(tmp_path)  # at once: a killed run holds nothing


def test_a_silent_run_on_another_machine_is_dead(tmp_path: Path) -> None:
    (tmp_path / run_lock.LOCK).write_text(json.dumps(ELSEWHERE))
    own(tmp_path)


def test_a_beating_run_on_another_machine_is_alive(tmp_path: Path) -> None:
    path, done = tmp_path / run_lock.LOCK, threading.Event()
    path.write_text(json.dumps(ELSEWHERE))

    def beat() -> None:
        count = 5
        while not done.wait(0.1):
            count += 1
            path.write_text(json.dumps({**ELSEWHERE, "beat": count}))

    beats = threading.Thread(target=beat)
    beats.start()
    try:
        with pytest.raises(UserError, match="host node7, process 1"):
            own(tmp_path)
    finally:
        done.set()
        beats.join()


@pytest.mark.parametrize(("state", "refused"), [("RUNNING", True), ("COMPLETED", False)])
def test_slurm_knows_better_than_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, refused: bool
) -> None:
    (tmp_path / run_lock.LOCK).write_text(json.dumps({**ELSEWHERE, "job": "12"}))
    monkeypatch.setattr(cluster, "job_state", {"12": state}.__getitem__)
    if refused:
        with pytest.raises(UserError, match="job 12, host node7"):
            own(tmp_path)
    else:
        own(tmp_path)


def test_a_requeued_job_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / run_lock.LOCK).write_text(json.dumps({**ELSEWHERE, "job": "12"}))
    monkeypatch.setattr(cluster, "job_id", lambda: "12")
    own(tmp_path)


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "lockf", unknown)
    own(tmp_path)
