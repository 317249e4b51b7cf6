"""What ``ssl-equiv submit`` queues, on the real Slurm: two nodes, a chain, a sweep, staging."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml

from slurm.status import status
from ssl_equiv.checkpoint import PretrainedMethod
from tests.slurm.conftest import Submit
from tests.slurm.local_slurm import LocalSlurm
from tests.slurm.tiny import TINY

pytestmark = pytest.mark.slurm
EVAL = ["--eval.recipe", "quick", "--eval.seeds", "1", "--eval.progress", "false"]
EVAL += ["--eval.num_workers", "0", "--eval.parts", "[all]"]


def test_a_chain_of_two_nodes_evaluation_and_report(
    slurm: LocalSlurm, submit: Submit, shards: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "node's disk"
    site = tmp_path / "site.yaml"
    site.write_text(yaml.safe_dump({"local_disk": str(disk), "env": {"SAID": "two words"}}))
    args = ["--data.root", shards, "--out", "run", "--trainer.max_steps", "6", "--site", site]
    jobs = submit(
        *("pretrain", *TINY, *args, "--nodes", "2", "--time", "10", "--stage"),
        *("--then", "eval,report", *EVAL),
    )
    pretrain, evaluation, report = jobs
    run = tmp_path / "run"
    assert slurm.job(evaluation)["Dependency"].startswith(f"afterok:{pretrain}")
    (now,) = status("run")
    assert now.state.startswith(("queued", "running"))
    assert slurm.wait(pretrain, timeout=120) == "COMPLETED", slurm.output(pretrain)
    assert slurm.job(pretrain)["NumNodes"] == "2"

    # both processes read the copy that was made once, on the disk that they share here
    log = slurm.output(pretrain)
    assert "not staged" not in log
    (copy,) = [path for path in disk.iterdir() if path.is_dir()]
    for path in shards.glob("shard-*"):
        assert (copy / path.name).read_bytes() == path.read_bytes()
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["data"]["root"] == str(copy)
    assert (config["trainer"]["num_nodes"], config["trainer"]["devices"]) == (2, 1)
    assert PretrainedMethod(run).step == 6
    with open(next(run.glob("metrics/version_0/metrics.csv")), newline="") as file:
        assert any(row["train/loss"] for row in csv.DictReader(file))

    assert slurm.wait(evaluation, timeout=120) == "COMPLETED", slurm.output(evaluation)
    assert json.loads((run / "eval" / "results.json").read_text())
    assert slurm.wait(report, timeout=60) == "COMPLETED", slurm.output(report)
    assert "<html" in (run / "report.html").read_text()
    (now,) = status("run")
    assert (now.state, now.step, now.restarts) == ("finished", 6, 0)
    assert now.checkpoint is not None
    assert now.checkpoint[0] == 6
    assert now.speed is not None
    assert now.speed > 0
    assert "train/loss" in now.metrics
    assert len(now.jobs) == 3


def test_a_sweep_is_an_array_of_runs_and_one_is_submitted_again(
    slurm: LocalSlurm, submit: Submit, shards: Path, tmp_path: Path
) -> None:
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text("grid: {model.optimizer.lr: [0.001, .nan]}\n".replace(".nan", "1.0e+30"))
    args = ["--data.root", shards, "--out", "sweep", "--trainer.max_steps", "3"]
    (job,) = submit("sweep", *TINY, *args, "--sweep", sweep, "--time", "10")
    good, bad = tmp_path / "sweep" / "lr=0.001", tmp_path / "sweep" / "lr=1e+30"
    assert slurm.wait(f"{job}_0", timeout=90) == "COMPLETED", slurm.output(f"{job}_0")
    assert slurm.wait(f"{job}_1", "FAILED", timeout=90) == "FAILED"
    assert PretrainedMethod(good).step == 3
    assert yaml.safe_load((good / "config.yaml").read_text())["out"] == str(good)
    first, second = status("sweep")
    assert (first.path, first.state, first.step) == (good, "finished", 3)
    assert (second.path, second.state) == (bad, "failed (failed)")
    assert "the loss is" in second.failure

    (again,) = submit("sweep", *TINY, *args, "--sweep", sweep, "--time", "10", "--array", "0")
    assert slurm.wait(f"{again}_0", timeout=90) == "COMPLETED"
    assert slurm.squeue() == {}
