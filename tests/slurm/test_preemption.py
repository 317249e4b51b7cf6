"""Runs that the cluster interrupts: nothing is lost, nothing hangs, and nothing comes back that
should not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from slurm.status import status
from ssl_equiv.checkpoint import read_checkpoint
from tests.slurm.conftest import Submit
from tests.slurm.local_slurm import LocalSlurm
from tests.slurm.tiny import TINY

pytestmark = pytest.mark.slurm
STEPS = 14
Start = Callable[..., int]


@pytest.fixture
def start(submit: Submit, shards: Path, tmp_path: Path) -> Start:
    """Submits a run of ``STEPS`` steps that a test can slow down; see :class:`Pause`."""

    def submitted(*more: object, out: str = "run") -> int:
        (tmp_path / out).mkdir(exist_ok=True)
        pause = '[{class_path: tests.slurm.pause.Pause, init_args: {folder: "%s"}}]'
        args = ["--data.root", shards, "--out", out, "--trainer.max_steps", STEPS]
        args += ["--trainer.callbacks", pause % (tmp_path / out), "--time", "10", *more]
        (job,) = submit("pretrain", *TINY, *args)
        return job

    return submitted


def begun(run: Path, rank: int = 0) -> list[int]:
    """The steps that a process has begun, all lives of the run together."""
    path = run / f"step-{rank}"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def processes(word: str) -> list[int]:
    """Processes of ``ssl-equiv`` itself that have ``word`` on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):  # it has ended
            continue
        if word in words and words[1].endswith("bin/ssl-equiv"):
            found.append(int(path.parent.name))
    return found


def weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint = read_checkpoint(run / "checkpoints" / "last.ckpt")
    assert checkpoint["global_step"] == STEPS
    found: dict[str, torch.Tensor] = checkpoint["state_dict"]
    return found


def test_requeued_twice_with_skewed_ranks_it_ends_with_the_weights_of_an_uninterrupted_job(
    slurm: LocalSlurm, start: Start, tmp_path: Path
) -> None:
    whole = start("--nodes", "2", out="whole")
    run = tmp_path / "run"
    run.mkdir()
    (run / "pause-1").write_text("2")  # one process is two seconds behind in every step
    job = start("--nodes", "2")
    slurm.wait_for("a step", lambda: len(begun(run, 1)) >= 2, 120)
    slurm.cancel(job, "USR1")
    slurm.wait_for("the first requeue", lambda: slurm.job(job)["Restarts"] == "1", 30)
    assert "SIGUSR1 at step" in slurm.output(job)
    slurm.wait_for("the queue", lambda: slurm.status(job) == "PENDING", 30)
    assert status("run")[0].state.startswith("queued again")

    slurm.wait(job, "RUNNING")
    before = len(begun(run, 1))
    slurm.wait_for("more steps", lambda: len(begun(run, 1)) >= before + 2, 120)
    urgent = slurm.submit("-p", "urgent", "-N2", "--exclusive", "--wrap=true", cwd=tmp_path)
    slurm.wait_for("the second requeue", lambda: slurm.job(job)["Restarts"] == "2", 30)
    assert f"job {job} is requeued" in slurm.output(job).partition("SIGTERM at step")[2]
    assert slurm.wait(urgent) == "COMPLETED"

    (run / "pause-1").unlink()
    assert slurm.wait(job, "COMPLETED", timeout=120) == "COMPLETED"
    assert slurm.wait(whole, timeout=120) == "COMPLETED"
    assert begun(run) == begun(run, 1) == list(range(STEPS))  # none lost, none done twice
    want, have = weights(tmp_path / "whole"), weights(run)
    assert want.keys() == have.keys()
    for name, value in want.items():
        assert torch.equal(have[name], value), name
    (now,) = status("run")
    assert (now.state, now.restarts, now.step) == ("finished", 2, STEPS)


def test_a_time_limit_requeues_and_scancel_does_not(
    slurm: LocalSlurm, start: Start, tmp_path: Path
) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    for path, seconds in ((run, "5"), (other, "0.5")):
        path.mkdir()
        (path / "pause-0").write_text(seconds)
    job = start("--time", "1", "--warning", "50")  # Slurm looks at limits twice a minute
    cancelled = start(out="other")

    slurm.wait_for("two steps", lambda: len(begun(other)) >= 2, 120)
    slurm.cancel(cancelled)
    assert slurm.wait(cancelled) == "CANCELLED"
    (now,) = status("other")
    assert now.state == "cancelled"
    assert now.checkpoint is not None  # saved on the way
    assert now.checkpoint[0] == len(begun(other))

    slurm.wait_for("a requeue", lambda: slurm.job(job)["Restarts"] == "1", 90)
    assert "SIGUSR1 " in slurm.output(job)
    slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=10")
    (run / "pause-0").unlink()
    assert slurm.wait(job, "COMPLETED", timeout=120) == "COMPLETED"
    assert begun(run) == list(range(STEPS))
    assert slurm.job(cancelled)["JobState"] == "CANCELLED"  # and has not come back meanwhile
    assert slurm.job(cancelled)["Restarts"] == "0"


def test_a_signal_before_python_is_there_waits_for_it(
    slurm: LocalSlurm, start: Start, tmp_path: Path
) -> None:
    job = start()
    config = str(tmp_path / "run" / "slurm" / "001-pretrain.yaml")
    slurm.wait_for("the process", lambda: processes(config), 60)
    slurm.cancel(job, "USR1")
    slurm.wait_for("a requeue", lambda: slurm.job(job)["Restarts"] == "1", 60)
    assert begun(tmp_path / "run") == []
    assert "SIGUSR1 before the first step" in slurm.output(job)
    slurm.cancel(job)
    assert slurm.wait(job) == "CANCELLED"


def test_a_killed_process_ends_the_others_with_a_message(
    slurm: LocalSlurm, start: Start, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "pause-0").write_text("0.3")
    job = start("--nodes", "2")
    slurm.wait_for("two steps", lambda: len(begun(run)) >= 2, 120)
    os.kill(int((run / "pid-1").read_text()), signal.SIGKILL)
    slurm.wait(job, "FAILED", timeout=30)
    assert "task 1: Killed" in slurm.output(job)
    assert status("run")[0].state == "failed (failed)"
    assert not Path(f"/proc/{(run / 'pid-0').read_text()}").exists()
