"""What is told of a run from its files and from Slurm's words, which are given here."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from slurm import status as module
from slurm.cluster import JobState, _gpus, _parse, _words
from slurm.records import Record, add_record
from slurm.run_files import failure_in, last_metrics
from slurm.status import as_json, describe, status
from ssl_equiv.errors import UserError

NOW = time.mktime((2026, 1, 2, 12, 0, 0, 0, 0, -1))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory with 40 of 100 steps done, its newest checkpoint five minutes old."""
    path = tmp_path / "run"
    (path / "metrics" / "version_0").mkdir(parents=True)
    (path / "metrics" / "version_2").mkdir()
    (path / "checkpoints").mkdir()
    (path / "metrics" / "version_0" / "metrics.csv").write_text("step,train/loss\n9,4.0\n")
    (path / "metrics" / "version_2" / "metrics.csv").write_text(
        "epoch,step,train/loss,views_per_s\n0,38,3.0,\n0,39,,1234.5\n0,40,2.5,\n0,41,2."
    )
    for step, age in ((30, 900), (40, 300)):
        file = path / "checkpoints" / f"step-{step:08d}.ckpt"
        file.touch()
        os.utime(file, (NOW - age, NOW - age))
    (path / "config.yaml").write_text("trainer: {max_steps: 100}")
    return path


def known(monkeypatch: pytest.MonkeyPatch, *states: JobState | None) -> None:
    found = None if None in states else {s.job: s for s in states if s is not None}
    monkeypatch.setattr(module, "job_states", lambda jobs: found)


def submitted(run: Path, job: str, kind: str = "pretrain", **more: object) -> None:
    add_record(run / "slurm", Record(kind, job, str(run), "2026-01-02", "s", **more))  # type: ignore[arg-type]


def test_a_running_job(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted(run, "12")
    times = (("Start", "2026-01-02T10:00:00"), ("End", "2026-01-02T18:00:00"))
    known(monkeypatch, JobState("12", "RUNNING", nodes="node[1-2]", restarts=3, times=times))
    (run / "slurm" / "slurm-12.out").write_text("hello\n")
    (found,) = status(run, NOW)
    assert dict(describe(found)) == {
        "state": "running (on node[1-2] for 2 h, 6 h left)",
        "restarts": "3",
        "step": "40 of 100 (40%)",
        "throughput": "1,234 views/s",
        "last metric": "train/loss 2.5",
        "checkpoint": "step 40, 5 min ago",
        "log": str(run / "slurm" / "slurm-12.out"),
    }
    (entry,) = json.loads(as_json([found]))
    assert entry["metrics"] == {"train/loss": 2.5}
    assert entry["checkpoint"] == [40, 300.0]


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (JobState("12", "PENDING", "Priority"), "queued (Priority)"),
        (JobState("12", "PENDING", "BeginTime", restarts=1), "queued again (BeginTime)"),
        (JobState("12", "CANCELLED"), "cancelled"),
        (JobState("12", "COMPLETING"), "ending"),
        (JobState("12", "OUT_OF_MEMORY"), "failed (out of memory)"),
        (JobState("12", "COMPLETED"), "ended before its last step: submit it again to continue"),
    ],
)
def test_other_states(
    run: Path, monkeypatch: pytest.MonkeyPatch, state: JobState, told: str
) -> None:
    submitted(run, "11")
    submitted(run, "12")
    known(monkeypatch, JobState("11", "FAILED"), state)
    assert status(run, NOW)[0].state == told


def test_a_finished_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted(run, "12")
    known(monkeypatch, JobState("12", "COMPLETED"))
    (run / "checkpoints" / "step-00000100.ckpt").touch()
    assert status(run, NOW)[0].state == "finished"


def test_a_failure_is_quoted(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted(run, "12")
    known(monkeypatch, JobState("12", "FAILED"))
    log = run / "slurm" / "slurm-12.out"
    log.write_text("step 1\nerror: step 40: the loss is nan\nsrun: error: node1: task 0: Exited\n")
    assert status(run, NOW)[0].failure == "error: step 40: the loss is nan"
    log.write_text("srun: error: node1: task 0: Killed\n\n")
    assert failure_in(log) == "srun: error: node1: task 0: Killed"


def test_without_slurm_the_files_tell(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, None)
    assert status(run, NOW)[0].state == (
        "unknown (no Slurm answers here; the last checkpoint is 5 min old)"
    )
    lock = run / ".lock"
    lock.write_text('{"host": "here", "pid": 7, "beat": 3}\n')
    os.utime(lock, (NOW - 5, NOW - 5))
    assert status(run, NOW)[0].state == "running (process 7 on here)"
    (run / "checkpoints" / "step-00000100.ckpt").touch()
    lock.write_text("")
    assert status(run, NOW)[0].state == "finished"
    with pytest.raises(UserError, match="no run is there"):
        status(run / "metrics")


def test_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_record(tmp_path / "set.slurm", Record("generate", "5", "set", "then", "s", "0-1", 2))
    known(monkeypatch, JobState("5_1", "RUNNING"), JobState("5_0", "COMPLETED"))
    assert status(tmp_path / "set", NOW)[0].state == "1 finished, 1 running"
    known(monkeypatch, None)
    assert status(tmp_path / "set", NOW)[0].state.startswith("unfinished")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "manifest.json").touch()
    assert status(tmp_path / "set", NOW)[0].state == "finished"


def test_runs_of_a_sweep_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep, names = tmp_path / "sweep", ("a=1", "a=2", "a=3")
    runs = tuple(str(sweep / name) for name in names)
    submitted(sweep, "20", "sweep", array="0-2%1", runs=runs)
    submitted(sweep, "21", "eval", array="0-2", runs=tuple(f"{run}/eval" for run in runs))
    submitted(sweep, "22", "sweep", array="1", runs=runs)
    known(
        monkeypatch,
        *(JobState("20_0", "COMPLETED"), JobState("20_1", "FAILED"), JobState("20_2", "PENDING")),
        *(JobState("21_0", "RUNNING"), JobState("22_1", "RUNNING")),
    )
    found = status(sweep, NOW)
    assert [each.path.name for each in found] == list(names)
    assert [each.state.split(" (")[0] for each in found] == ["finished", "running", "queued"]
    assert [len(each.jobs) for each in found] == [2, 3, 2]
    (alone,) = status(sweep / "a=2", NOW)
    assert alone.state.startswith("running")


def test_what_scontrol_says_of_arrays_that_wait() -> None:
    line = (
        "JobId=7 ArrayJobId=7 ArrayTaskId=1-2,5%1 JobName=a JobState=PENDING "
        "Reason=JobArrayTaskLimit Restarts=0 StartTime=Unknown NodeList="
    )
    found = _parse(line)
    assert [(s.job, s.state, s.reason) for s in found] == [
        (f"7_{i}", "PENDING", "JobArrayTaskLimit") for i in (1, 2, 5)
    ]
    assert asdict(found[0])["nodes"] == ""


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("(null)", 0),
        ("gpu:2", 2),
        ("gpu:a100:4(S:0-1),shard:8", 4),
        ("gpu:a100:2(S:0,1),gpu:h100:1", 3),
        ("craynetwork:4", 0),
    ],
)
def test_gpus_of_a_node(gres: str, gpus: int) -> None:
    assert _gpus(gres) == gpus


def test_slurms_words_come_once() -> None:
    text = "sbatch: error: no such thing\nsbatch: error: no such thing\nsbatch: fatal: sorry\n"
    assert _words(text) == "no such thing; sorry"


def test_metrics_that_are_being_written(tmp_path: Path) -> None:
    folder = tmp_path / "metrics" / "version_1"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("")
    assert last_metrics(tmp_path) == ({}, None)
    (folder / "metrics.csv").write_text("step,loss\n1,0.5\n2,nan\n3,inf\n")
    assert last_metrics(tmp_path) == ({}, 3)
