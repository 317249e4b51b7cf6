"""The fixture itself: jobs run on two nodes, and nothing outlives an interrupted test run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.slurm.local_slurm import LocalSlurm

pytestmark = pytest.mark.slurm
ROOT = Path(__file__).parents[2]


def test_a_job_runs_on_both_nodes(slurm: LocalSlurm, tmp_path: Path) -> None:
    command = "srun -l sh -c 'echo $SLURMD_NODENAME $SLURM_PROCID'"
    job = slurm.submit("-N2", "--ntasks-per-node=1", f"--wrap={command}", cwd=tmp_path)
    assert slurm.wait(job) == "COMPLETED"
    assert sorted(slurm.output(job).splitlines()) == ["0: 127.0.0.1 0", "1: 127.0.0.2 1"]
    assert slurm.job(job)["Restarts"] == "0"


def test_a_failed_job_is_told_with_its_output(slurm: LocalSlurm, tmp_path: Path) -> None:
    job = slurm.submit("--wrap=echo because; exit 3", cwd=tmp_path)
    with pytest.raises(RuntimeError, match=r"is FAILED.*\n.*because"):
        slurm.wait(job, "COMPLETED")


def test_nothing_outlives_a_killed_test_run(slurm: LocalSlurm, tmp_path: Path) -> None:
    code = (
        "import os, time; from tests.slurm.local_slurm import LocalSlurm; s = LocalSlurm.start();"
        "j = s.submit('--wrap=sleep 600 & echo $! > pid; wait', cwd=os.environ['THERE']);"
        "s.wait_for('pid', lambda: s.output(j) == '' and os.path.exists("
        "os.environ['THERE'] + '/pid')); print(s.state, flush=True); time.sleep(600)"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "THERE": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    state = Path(run.stdout.readline().strip())
    assert (state / "slurm.conf").exists()
    sleeper = int((tmp_path / "pid").read_text())
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    end = time.monotonic() + 60
    while state.exists() or Path(f"/proc/{sleeper}").exists():
        assert time.monotonic() < end, "the cluster or its job lives on"
        time.sleep(0.2)
