"""A data set rendered by an array of jobs, of which one fails and is submitted again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slurm.status import status
from tests.slurm.conftest import Submit
from tests.slurm.local_slurm import LocalSlurm

pytestmark = pytest.mark.slurm


def test_a_failed_part_is_submitted_again_and_the_whole_is_the_unsplit_data_set(
    slurm: LocalSlurm, submit: Submit, recipe: Path, shards: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site.yaml"  # the second part lands on a broken node, until that is mended
    site.write_text(
        "setup:\n"
        f'  - if [ "$SLURM_ARRAY_TASK_ID" = 1 ] && [ ! -e "{tmp_path}/mended" ]; then\n'
        "  -   echo 'the node is broken' >&2; exit 3\n"
        "  - fi\n"
        f"venv: {sys.prefix}\n"
    )
    args = ["generate", "--site", site, "--config", recipe, "--out", "tiny"]
    (job,) = submit(*args, "--parts", "2", "--cpus-per-task", "1")
    assert slurm.wait(f"{job}_0") == "COMPLETED"
    assert slurm.wait(f"{job}_1", "FAILED") == "FAILED"
    assert "the node is broken" in slurm.output(f"{job}_1")
    assert not (tmp_path / "tiny" / "manifest.json").exists()
    (run,) = status("tiny")
    assert run.state == "1 finished, 1 failed"

    (tmp_path / "mended").touch()
    (again,) = submit(*args, "--array", "1")
    assert slurm.wait(f"{again}_1") == "COMPLETED"
    assert status("tiny")[0].state == "2 finished"
    names = {path.name for path in shards.iterdir()}
    assert {path.name for path in (tmp_path / "tiny").iterdir()} == names
    for name in names:
        assert (tmp_path / "tiny" / name).read_bytes() == (shards / name).read_bytes(), name
