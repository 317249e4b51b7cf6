"""What the real Slurm refuses, or would queue for ever, is one line; nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm.resources import Resources
from slurm.script import Job, render
from slurm.site import Site
from ssl_equiv import cli
from tests.slurm.conftest import Submit
from tests.slurm.local_slurm import LocalSlurm
from tests.slurm.tiny import TINY

pytestmark = pytest.mark.slurm


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--partition", "nix"],
            "Slurm refuses the job: invalid partition specified: nix; Batch job",
        ),
        (["--partition", "nix", "--then", "eval"], "invalid partition specified: nix"),
        (["--nodes", "3"], "--nodes is 3, but partition main has 2: ask for fewer"),
        (["--nodes", "3", "--partition", "urgent"], "partition urgent has 2"),
        (["--after", "999999"], "--after: Slurm knows no job 999999"),
        (["--sbatch=--no-such-option"], "unrecognized option '--no-such-option'"),
        (["--mem", "much"], "Slurm refuses the job: "),
    ],
)
def test_a_refusal_is_passed_on_once(
    submit: Submit,
    shards: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    message: str,
) -> None:
    before = sorted(tmp_path.iterdir())
    submit("pretrain", *TINY, "--data.root", shards, "--out", "run", *args, code=2)
    # the fixture has read the output: ask again
    command = ["submit", "pretrain", *TINY, "--data.root", str(shards), "--out", "run", *args]
    assert cli.main(command) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert told.count("invalid partition specified") <= 1
    assert sorted(tmp_path.iterdir()) == before


def test_more_gpus_than_a_node_has(
    submit: Submit, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on_gpus = [word for word in TINY if word not in ("--trainer.accelerator", "cpu")]
    command = ["submit", "pretrain", *on_gpus, "--data.root", str(shards), "--out", "run"]
    assert cli.main([*command, "--gpus-per-node", "3"]) == 2
    assert "the nodes of partition main have 2 at most" in capsys.readouterr().err


def test_a_run_directory_in_use(
    slurm: LocalSlurm, submit: Submit, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["pretrain", *TINY, "--data.root", str(shards), "--out", "run", "--time", "10"]
    (held,) = submit(*args, "--sbatch=--hold")
    assert cli.main(["submit", *args]) == 2
    assert f"run is in use by job {held}, which is pending" in capsys.readouterr().err
    (behind,) = submit(*args, "--after", f"afterany:{held}")
    assert slurm.job(behind)["Dependency"].startswith(f"afterany:{held}")
    slurm.run("scancel", str(behind), str(held))
    assert slurm.wait(held) == slurm.wait(behind) == "CANCELLED"
    (again,) = submit(*args, "--sbatch=--hold")
    slurm.run("scancel", str(again))


def test_folders_with_strange_names(slurm: LocalSlurm, tmp_path: Path) -> None:
    folder = tmp_path / "50% of 'it' #1"
    folder.mkdir()
    script = folder / "script"
    resources = Resources(1, 0, 1, time="5")
    command = ["bash", "-c", "echo $PWD; echo $0", "two words"]
    script.write_text(render(Job("report", "a", folder, command, resources, Site(), folder)))
    job = slurm.submit(script)
    assert slurm.wait(job) == "COMPLETED"
    log = folder / f"slurm-{job}.out"
    assert log.read_text().splitlines()[-2:] == [str(folder), "two words"]
