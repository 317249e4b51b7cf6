"""Rendered scripts: what the shell and Slurm read, judged by bash itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from slurm.resources import Resources
from slurm.script import Job, Shell, fill, render
from slurm.site import Site
from ssl_equiv.errors import UserError

TEMPLATES = sorted(path.name for path in (files("slurm") / "templates").iterdir())
SHOW = [sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))"]


def job(tmp_path: Path, **changes: object) -> Job:
    plain = Job(
        "pretrain",
        "a-run",
        tmp_path,
        ["true"],
        Resources(2, 8, 8, 4, "64G", "24:00:00"),
        Site(),
        tmp_path,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def directives(script: str) -> dict[str, str]:
    """What ``#SBATCH`` lines say; each option once."""
    found = re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", script, re.M)
    assert len({name for name, _ in found}) == len(found)
    return dict(found)


def run(script: str, tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script where ``srun`` is a program that runs the command once."""
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "srun").write_text(
        '#!/bin/bash\nwhile [[ "$1" == --* ]]; do echo "srun: $1" >&2; shift; done\nexec "$@"\n'
    )
    (tools / "srun").chmod(0o755)
    path = tmp_path / "script.sh"
    path.write_text(script)
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n"}
    return subprocess.run(
        ["bash", str(path)], env={**environment, **variables}, capture_output=True, text=True
    )


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_name_no_account_partition_or_path(name: str) -> None:
    text = (files("slurm") / "templates" / name).read_text()
    for line in re.findall(r"^#SBATCH .*$", text, re.M):
        assert re.fullmatch(r"#SBATCH --[\w-]+(=(SIGUSR1@|append)?(\{\{\w+\}\})?)?", line), line
        assert not re.match(r"#SBATCH --(account|partition|qos)", line)
    body = re.sub(r"^#.*$", "", text, flags=re.M)
    assert not re.search(r"(?<![\w{$])/(?!\w*%)\w+/", body)


def test_a_pretraining_script_asks_for_what_was_asked(tmp_path: Path) -> None:
    script = render(job(tmp_path))
    assert directives(script) == {
        "job-name": "a-run",
        "nodes": "2",
        "ntasks-per-node": "8",
        "gpus-per-node": "8",
        "cpus-per-task": "4",
        "mem": "64G",
        "time": "24:00:00",
        "chdir": str(tmp_path),
        "output": f"{tmp_path}/slurm-%j.out",
        "open-mode": "append",
        "requeue": "",
        "signal": "SIGUSR1@120",
    }
    assert "srun --kill-on-bad-exit=1 --cpus-per-task=4 bash" in script


def test_what_is_not_asked_for_is_left_out(tmp_path: Path) -> None:
    script = render(job(tmp_path, resources=Resources(1, 0, 2)))
    found = directives(script)
    assert not found.keys() & {"gpus-per-node", "cpus-per-task", "mem", "time", "dependency"}
    assert found["ntasks-per-node"] == "2"
    assert "{{" not in script


def test_a_dependent_job_is_removed_where_it_can_never_start(tmp_path: Path) -> None:
    found = directives(render(job(tmp_path, dependency="afterok:12:13")))
    assert (found["dependency"], found["kill-on-invalid-dep"]) == ("afterok:12:13", "yes")


@pytest.mark.parametrize("kind", ["pretrain", "eval", "generate", "report"])
def test_words_reach_the_command_as_they_are(tmp_path: Path, kind: str) -> None:
    words = ["two words", "it's", '"quoted"', "$HOME", "a;b", "--x=[1, 2]", "é", "*"]
    variables = {"SLURM_ARRAY_TASK_ID": "3"}
    command = [*SHOW, *words, Shell("$SLURM_ARRAY_TASK_ID/16")]
    done = run(render(job(tmp_path, kind=kind, command=command)), tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [*words, "3/16"]


def test_a_sweeps_task_takes_its_run(tmp_path: Path) -> None:
    names = ("lr=0.1,seed=0", "lr=0.1,seed=1")
    command = [*SHOW, Shell(f"{tmp_path}/$run.yaml")]
    script = render(job(tmp_path, kind="sweep", array="0-1%1", runs=names, command=command))
    assert directives(script)["array"] == "0-1%1"
    assert directives(script)["output"].endswith("slurm-%A_%a.out")
    done = run(script, tmp_path, SLURM_ARRAY_TASK_ID="1")
    assert json.loads(done.stdout.splitlines()[-1]) == [f"{tmp_path}/lr=0.1,seed=1.yaml"]


def test_signals_are_held_until_the_command_takes_them(tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "os.kill(os.getpid(), signal.SIGUSR1); os.kill(os.getpid(), signal.SIGTERM)\n"
        "print(sorted(signal.sigpending()) == [signal.SIGUSR1, signal.SIGTERM])"
    )
    done = run(render(job(tmp_path, command=[sys.executable, "-c", code])), tmp_path)
    assert done.stdout.splitlines()[-1] == "True"


@pytest.mark.parametrize("kind", ["eval", "generate", "report"])
def test_what_cannot_save_works_on_until_it_is_killed(tmp_path: Path, kind: str) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGTERM); print('alive')"
    command = [sys.executable, "-c", code]
    script = render(job(tmp_path, kind=kind, command=command))
    assert run(script, tmp_path, SLURM_ARRAY_TASK_ID="0").stdout.splitlines()[-1] == "alive"


def test_the_commands_failure_is_the_scripts(tmp_path: Path) -> None:
    for kind in ("pretrain", "eval", "generate", "report", "sweep"):
        changes = {"runs": ("a",)} if kind == "sweep" else {}
        script = render(job(tmp_path, kind=kind, command=["bash", "-c", "exit 7"], **changes))
        assert run(script, tmp_path, SLURM_ARRAY_TASK_ID="0").returncode == 7


def test_a_site_adds_its_lines(tmp_path: Path) -> None:
    site = Site(
        account="me",
        partition="gpu",
        constraint="a100&nvlink",
        gpu_type="a100",
        sbatch=("--exclusive", "mail-type=FAIL"),
        env={"SAID": "two $words"},
        setup=("ready=yes", "export ready"),
    )
    code = "import os; print(os.environ['SAID'], os.environ['ready'])"
    script = render(job(tmp_path, site=site, command=[sys.executable, "-c", code]))
    found = directives(script)
    assert found["gpus-per-node"] == "a100:8"
    assert (found["account"], found["partition"]) == ("me", "gpu")
    assert found["constraint"] == "a100&nvlink"
    assert found.keys() >= {"exclusive", "mail-type"}
    assert run(script, tmp_path).stdout.splitlines()[-1] == "two $words yes"


def test_the_environment_that_submits_is_the_one_that_runs(tmp_path: Path) -> None:
    script = render(job(tmp_path, command=["which", "ssl-equiv"]))
    assert run(script, tmp_path).stdout.splitlines()[-1] == f"{sys.prefix}/bin/ssl-equiv"


def test_a_virtual_environment_is_activated(tmp_path: Path) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "activate").write_text("export FOUND=here\n")
    site = Site(venv=str(tmp_path / "venv"))
    done = run(render(job(tmp_path, site=site, command=["printenv", "FOUND"])), tmp_path)
    assert done.stdout.splitlines()[-1] == "here"


def test_a_container_has_its_image_and_every_folder(tmp_path: Path) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "activate").write_text("export FOUND=here\n")
    site = Site(
        container_image="nvcr.io#nvidia/pytorch:24.01-py3",
        container_mounts=("/scratch:/scratch",),
        local_disk="/local/$USER",
        venv=str(tmp_path / "venv"),
    )
    mounts = (Path("/scratch/runs/a"), Path("/data/set"))
    script = render(
        job(tmp_path, site=site, mounts=mounts, stage=["env"], command=["printenv", "FOUND"])
    )
    assert "export PATH" not in script  # the host's programs are of no use there
    done = run(script, tmp_path, USER="me")
    assert done.stdout.splitlines()[-1] == "here"  # activated within
    options = dict(re.findall(r"srun: --([\w-]+)=(.*)", done.stderr))
    assert options["container-image"] == site.container_image
    assert options["container-workdir"] == str(tmp_path)
    assert options["container-mounts"].split(",") == [
        "/scratch:/scratch",
        "/local/me:/local/me",
        f"{tmp_path}:{tmp_path}",
        "/data/set:/data/set",
    ]


def test_folders_with_blanks_and_percent_signs(tmp_path: Path) -> None:
    folder = tmp_path / "50% of it"
    assert directives(render(job(folder)))["output"] == f'"{tmp_path}/50%% of it/slurm-%j.out"'
    with pytest.raises(UserError, match="cannot stand in a job script"):
        render(job(tmp_path / 'say "no"'))


def test_fill_leaves_out_lines_without_a_value() -> None:
    template = "#SBATCH --a={{a}}\n{{b}}\n  {{b}} \\\n{{c}} stays\n"
    assert fill(template, {"a": "", "b": None, "c": ""}) == " stays\n"
    assert (
        fill(template, {"a": 1, "b": "x\ny", "c": 2}) == "#SBATCH --a=1\nx\ny\n  x\ny \\\n2 stays\n"
    )
