"""``ssl-equiv submit`` up to the queue: Slurm's programs are stand-ins that record what they get.

tests/slurm runs what is queued, on a real Slurm.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from slurm.records import submitting
from ssl_equiv import cli

CONFIG = """
model:
  class_path: ssl_equiv.methods.VICReg
  init_args:
    backbone: {name: test_resnet}
    projector_widths: [16, 16]
data: {root: data, batch_size: 4}
trainer: {max_steps: 3}
out: runs/a
"""
Submit = Callable[..., tuple[int, str, str]]


@pytest.fixture
def submit(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Submit:
    """The command in an empty folder with ``c.yaml``: its exit code, output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("SSL_EQUIV_SLURM", raising=False)
    (tmp_path / "bin").mkdir()
    (tmp_path / "c.yaml").write_text(CONFIG)

    def call(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main(["submit", *map(str, args)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def slurm(tmp_path: Path, submit: Submit) -> Path:
    """Stand-ins for Slurm's programs; the folder of what ``squeue`` says."""

    def program(name: str, text: str) -> None:
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    said = tmp_path / "said"
    said.mkdir()
    count = f"n=$(($(< {said}/count) + 1)); echo $n > {said}/count; echo $n"
    (said / "count").write_text("100\n")
    program("sbatch", f'[ "$1" = --test-only ] && exit 0; {count}')
    program("squeue", f'[ ! -e {said}/squeue ] || echo "$(< {said}/squeue)"')
    program("sinfo", "echo 'gpu:a100:4(S:0-1)|3|batch*'; echo '(null)|9|cpu'")
    program("scontrol", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    return said


def scripts(out: str) -> list[str]:
    return re.split(r"^# /.*\.sbatch$", out, flags=re.M)[1:]


def test_a_dry_run_shows_the_scripts_and_writes_nothing(submit: Submit, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, out, err = submit(
        *("pretrain", "--config", "c.yaml", "--nodes", "2", "--gpus-per-node", "8"),
        *("--time", "24:00:00", "--dry-run", "--then", "eval,report"),
    )
    assert code == 0, err
    pretrain, evaluation, report = scripts(out)
    assert "#SBATCH --nodes=2\n" in pretrain
    assert "#SBATCH --ntasks-per-node=8\n" in pretrain
    assert f"ssl-equiv pretrain --config {tmp_path}/runs/a/slurm/001-pretrain.yaml" in pretrain
    assert "#SBATCH --dependency=afterok:PREVIOUS\n" in evaluation
    assert f"--model {tmp_path}/runs/a" in evaluation
    assert "#SBATCH --gpus-per-node=1\n" in evaluation
    assert f"ssl-equiv report {tmp_path}/runs/a --out {tmp_path}/runs/a/report.html" in report
    assert "--gpus-per-node" not in report
    assert "note: data, the data, is not here yet" in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("slurm")
def test_what_is_queued_is_kept_in_the_run_directory(submit: Submit, tmp_path: Path) -> None:
    code, out, err = submit(
        *("pretrain", "--config", "c.yaml", "--gpus-per-node", "2", "--nodes", "2"),
        *("--trainer.max_steps", "7", "--", "--seed-everything=5"),
    )
    assert code == 0, err
    assert f"job 101: pretrain into {tmp_path}/runs/a (2 nodes, 2 GPUs each, 4 tasks)" in out
    folder = tmp_path / "runs" / "a" / "slurm"
    config = yaml.safe_load((folder / "001-pretrain.yaml").read_text())
    assert config["trainer"]["max_steps"] == 7
    assert (
        config["trainer"]
        | {
            "num_nodes": 2,
            "devices": 2,
            "accelerator": "gpu",
            "strategy": "ddp",
        }
        == config["trainer"]
    )
    assert (config["seed_everything"], config["out"]) == (5, str(tmp_path / "runs" / "a"))
    assert (folder / "001-pretrain.sbatch").read_text() in out
    (record,) = json.loads((folder / "jobs.json").read_text())
    assert (record["job"], record["script"]) == ("101", "001-pretrain.sbatch")
    # what was written is read as what was asked for
    again = ["pretrain", "--config", folder / "001-pretrain.yaml", "--out", "runs/b"]
    assert submit(*again, "--gpus-per-node", "2")[0] == 0
    copy = yaml.safe_load((tmp_path / "runs/b/slurm/001-pretrain.yaml").read_text())
    assert copy == {**config, "out": str(tmp_path / "runs" / "b")}


@pytest.mark.usefixtures("slurm")
def test_another_configuration_than_the_runs_is_refused_before_it_waits(
    submit: Submit, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "a"
    assert submit("pretrain", "--config", "c.yaml", "--gpus-per-node", "2")[0] == 0
    (run / "config.yaml").write_text((run / "slurm" / "001-pretrain.yaml").read_text())
    code, out, err = submit(
        *("pretrain", "--config", "c.yaml", "--gpus-per-node", "2", "--trainer.max_steps", "9")
    )
    assert code == 0, err  # more steps continue it
    changed = ("pretrain", "--config", "c.yaml", "--gpus-per-node")
    code, out, err = submit(*changed, "2", "--data.batch_size", "8")
    assert code == 2
    assert "data.batch_size was 4, now 8" in err
    assert "job" not in out
    code, out, err = submit(*changed, "4")
    assert code == 2
    assert "trainer.devices was 2, now 4" in err
    assert submit(*changed, "4", "--redistribute", "true")[0] == 0


def test_a_chain_is_queued_in_its_order(submit: Submit, slurm: Path, tmp_path: Path) -> None:
    code, _, err = submit(
        *("pretrain", "--config", "c.yaml", "--then", "eval,report", "--eval.seeds", "1"),
        *("--eval.time", "1:00:00", "--after", "77"),
    )
    assert code == 2
    assert "--after: Slurm knows no job 77" in err
    code, _out, err = submit(
        *("pretrain", "--config", "c.yaml", "--then", "eval,report", "--eval.seeds", "1"),
        *("--eval.time", "1:00:00"),
    )
    assert code == 0, err
    folder = tmp_path / "runs" / "a" / "slurm"
    texts = [path.read_text() for path in sorted(folder.glob("*.sbatch"))]
    assert len(texts) == 3
    assert "--dependency" not in texts[0]
    assert "--dependency=afterok:101\n" in texts[1]
    assert "--time=1:00:00" in texts[1]
    assert "--dependency=afterok:102\n" in texts[2]
    assert yaml.safe_load((folder / "002-eval.yaml").read_text())["seeds"] == 1


@pytest.mark.usefixtures("slurm")
def test_seeds_are_an_array_of_runs(submit: Submit, tmp_path: Path) -> None:
    code, _out, err = submit(
        *("pretrain", "--config", "c.yaml", "--array", "3-5%2", "--then", "eval,report")
    )
    assert code == 0, err
    folder = tmp_path / "runs" / "a" / "slurm"
    for seed in (3, 4, 5):
        config = yaml.safe_load((folder / "001-configs" / f"seed={seed}.yaml").read_text())
        assert config["seed_everything"] == seed
        assert config["out"] == str(tmp_path / "runs" / "a" / f"seed={seed}")
    texts = [path.read_text() for path in sorted(folder.glob("*.sbatch"))]
    assert "#SBATCH --array=0-2%2\n" in texts[0]
    assert "#SBATCH --dependency=aftercorr:101\n" in texts[1]
    assert f'--model "{tmp_path}/runs/a/$run"' in texts[1]
    assert "#SBATCH --dependency=afterok:102\n" in texts[2]


@pytest.mark.usefixtures("slurm")
def test_parts_of_a_data_set_are_an_array(submit: Submit, tmp_path: Path) -> None:
    small = ["--num-objects", "8", "--out", "set", "--recipe.num_views", "2"]
    code, out, err = submit("generate", *small, "--parts", "4", "--cpus-per-task", "6")
    assert code == 0, err
    assert "#SBATCH --array=0-3\n" in out
    assert '--shard "$SLURM_ARRAY_TASK_ID/4" --num_workers 6' in out
    assert not (tmp_path / "set").exists()  # the generator takes no folder with strange files
    config = yaml.safe_load((tmp_path / "set.slurm" / "001-generate.yaml").read_text())
    assert config["recipe"] == {"num_views": 2}
    code, out, err = submit("generate", *small, "--array", "3")  # of as many as before
    assert code == 0, err
    assert "$SLURM_ARRAY_TASK_ID/4" in out
    assert "#SBATCH --array=3\n" in out
    code, out, err = submit("generate", *small, "--array", "4")
    assert (code, err) == (2, "error: --array is 4, but there are parts 0-3 alone\n")


def test_a_run_in_use_is_refused(submit: Submit, slurm: Path, tmp_path: Path) -> None:
    run = ["pretrain", "--config", "c.yaml"]
    assert submit(*run)[0] == 0
    (slurm / "squeue").write_text("101|PENDING")
    before = sorted(tmp_path.rglob("*"))
    code, _, err = submit(*run)
    assert code == 2
    assert "runs/a is in use by job 101, which is pending: wait for it" in err
    assert sorted(tmp_path.rglob("*")) == before
    assert submit(*run, "--out", "runs/b")[0] == 0
    (slurm / "squeue").unlink()
    assert submit(*run)[0] == 0
    (slurm / "squeue").write_text("104_1|RUNNING")
    seeds = ["pretrain", "--config", "c.yaml", "--out", "runs/s"]
    assert submit(*seeds, "--array", "0-2")[0] == 0
    assert submit(*seeds, "--array", "0,2")[0] == 0  # the others are free
    code, _, err = submit(*seeds, "--array", "1")
    assert "runs/s/seed=1 is in use by job 104_1" in err
    code, _, err = submit(*seeds[:3], "--out", "runs/s/seed=1")  # the run alone is that run too
    assert "runs/s/seed=1 is in use by job 104_1" in err


@pytest.mark.usefixtures("slurm")
def test_a_run_without_slurm_is_in_use_too(submit: Submit, tmp_path: Path) -> None:
    lock = tmp_path / "runs" / "a" / ".lock"
    lock.parent.mkdir(parents=True)
    lock.write_text('{"host": "here", "pid": 7}')
    code, _, err = submit("pretrain", "--config", "c.yaml")
    assert code == 2
    assert "runs/a is in use by process 7 on here" in err
    os.utime(lock, (0, 0))  # it died long ago
    assert submit("pretrain", "--config", "c.yaml")[0] == 0
    lock.write_text('{"host": "here", "pid": 7, "job": "55"}')  # of a job that has ended just now
    assert submit("pretrain", "--config", "c.yaml")[0] == 0


@pytest.mark.usefixtures("slurm")
def test_two_submissions_at_once(submit: Submit, tmp_path: Path) -> None:
    with submitting(tmp_path / "runs" / "a" / "slurm"):
        code, _, err = submit("pretrain", "--config", "c.yaml")
        assert code == 2
        assert "another submission is under way" in err
    assert not (tmp_path / "runs" / "a").exists()


def test_a_job_that_submits_hands_nothing_of_itself_on(
    submit: Submit, slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "sbatch"
    program.write_text(f"#!/bin/bash\n/usr/bin/env > {slurm}/env; echo 7\n")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1000")
    monkeypatch.setenv("SLURM_CONF", "somewhere")
    assert submit("pretrain", "--config", "c.yaml")[0] == 0
    seen = dict(line.split("=", 1) for line in (slurm / "env").read_text().splitlines())
    assert "SLURM_MEM_PER_NODE" not in seen
    assert seen["SLURM_CONF"] == "somewhere"


def test_a_site_file_is_heard(submit: Submit, slurm: Path, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(
        "partition: batch\ntime: 12:00:00\ngpus_per_node: 4\nreport: {partition: cpu}\n"
    )
    args = ["pretrain", "--config", "c.yaml", "--site", "site.yaml", "--then", "eval,report"]
    code, out, err = submit(*args, "--account", "mine", "--dry-run")
    assert code == 0, err
    pretrain, evaluation, report = scripts(out)
    assert "--time=12:00:00\n" in pretrain
    assert "--ntasks-per-node=4\n" in pretrain
    for text, partition in ((pretrain, "batch"), (evaluation, "batch"), (report, "cpu")):
        assert f"#SBATCH --partition={partition}\n" in text
        assert "#SBATCH --account=mine\n" in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--nodse", "2"], "unknown option --nodse: did you mean --nodes?"),
        (["--model.init_args.dimm", "2"], "unknown key model.dimm"),
        (["--nodes", "x"], "--nodes: invalid int value: 'x'"),
        (["--nodes", "0"], "--nodes is 0: give 1 or more"),
        (["--time", "1h"], "--time is '1h': give HOURS:MM:SS"),
        (["--time", "1:30"], "no more than the 120 s before its end"),
        (["--gpus-per-node", "8", "--tasks-per-node", "4"], "every GPU has one task"),
        (
            ["--gpus-per-node", "8", "--trainer.devices", "4"],
            "has 4 devices, but --gpus_per_node is 8",
        ),
        (["--nodes", "2", "--trainer.num_nodes", "3"], "trainer.num_nodes is 3, but --nodes is 2"),
        (["--gpus-per-node", "1", "--trainer.accelerator", "cpu"], "trainer.accelerator is cpu"),
        (["--gpus-per-node", "0", "--trainer.accelerator", "gpu"], "trainer.accelerator is gpu"),
        (["--sbatch=--ntasks-per-node=4"], "the launcher sets --ntasks-per-node itself"),
        (["--sbatch=-N4"], "the launcher sets --nodes itself"),
        (["--then", "export"], "--then export: it takes eval and report"),
        (["--after", "abc"], "--after is 'abc': give job numbers"),
        (["--array", "5-1"], "--array is '5-1'"),
        (["--site", "none.yaml"], "none.yaml does not exist: it is named by --site"),
        (["--config", "none.yaml"], "none.yaml"),
        (["--gpus-per-node", "5"], "the nodes of partition batch have 4 at most"),
        (["--nodes", "4"], "--nodes is 4, but partition batch has 3 with 1 GPUs"),
    ],
)
@pytest.mark.usefixtures("slurm")
def test_bad_input_is_one_line_and_nothing_is_queued(
    submit: Submit, tmp_path: Path, args: list[str], message: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, _, err = submit("pretrain", "--config", "c.yaml", *args)
    told = err.replace("note: data, the data, is not here yet\n", "")
    assert code == 2
    assert message in told
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_without_slurm(submit: Submit) -> None:
    code, _, err = submit("pretrain", "--config", "c.yaml")
    assert code == 2
    assert "no sbatch here: submit on a login node" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["sweeep"], "submit has no kind 'sweeep': did you mean 'sweep'?"),
        (["sweep", "--config", "c.yaml"], "required: --sweep"),
        (["eval", "--data", "d"], "--model is missing"),
        (["eval", "--model", "m", "--data", "d", "--nodes", "2"], "runs on one node"),
        (["generate", "--out", "d"], "--parts is missing"),
        (["generate", "--out", "d", "--parts", "2", "--recipe.num_veiws", "3"], "num_views"),
        (["generate", "--out", "d", "--array", "3"], "--array is 3, of how many? give --parts 16"),
        (["generate", "--out", "d", "--parts", "2", "--verify", "d"], "--verify is not for submit"),
        (["generate", "--out", "d", "--parts", "2", "--nodes", "2"], "a part is one task"),
        (["pretrain", "--config", "c.yaml", "--stage"], "--stage copies shards, and data holds"),
        (["status", "nothing"], "nothing: no run is there"),
    ],
)
@pytest.mark.usefixtures("slurm")
def test_bad_input_of_the_other_kinds(
    submit: Submit, tmp_path: Path, args: list[str], message: str
) -> None:
    (tmp_path / "data").mkdir()
    code, _, err = submit(*args)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("slurm")
def test_a_sweeps_unknown_key_names_its_run(submit: Submit, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("grid: {model.init_args.optimiser.lr: [1, 2]}")
    code, _, err = submit("sweep", "--config", "c.yaml", "--sweep", "s.yaml")
    assert code == 2
    assert "error: run lr=1: unknown key model.optimiser.lr: did you mean" in err
    (tmp_path / "s.yaml").write_text("grid: {trainer.devices: [1, 2]}")
    code, _, err = submit("sweep", "--config", "c.yaml", "--sweep", "s.yaml")
    assert "all runs of an array have the same devices and nodes" in err
    (tmp_path / "s.yaml").write_text("grid: {out: [a, b]}")
    code, _, err = submit("sweep", "--config", "c.yaml", "--sweep", "s.yaml")
    assert "leave 'out' to --out" in err
    (tmp_path / "s.yaml").write_text("grid: {data.root: [a, b]}")
    code, _, err = submit("sweep", "--config", "c.yaml", "--sweep", "s.yaml", "--then", "eval")
    assert "run root=a has other data" in err
    assert submit("sweep", "--config", "c.yaml", "--sweep", "s.yaml")[0] == 0


def test_help_is_quick_to_import() -> None:
    code = (
        "import sys; from ssl_equiv.cli import main\ntry: main(['submit', 'pretrain', '--help'])\n"
    )
    code += "finally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--gpus_per_node" in done.stdout
    assert done.stdout.endswith("False\n")
