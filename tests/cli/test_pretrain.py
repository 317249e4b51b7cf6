from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from eval.report.training import read_metrics
from ssl_equiv import cli
from ssl_equiv.checkpoint import PretrainedMethod
from ssl_equiv.errors import UserError
from tests.conftest import write_folder

SMALL = [
    *("--model", "SIE", "--model.backbone.name", "test_resnet"),
    *("--model.projector_widths", "[16, 16]", "--data.batch_size", "4"),
    *("--data.num_workers", "0", "--trainer.accelerator", "cpu"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
    *("--trainer.log_every_n_steps", "1", "--online_probe", "true"),
]


def pretrain(data: Path, out: Path, steps: int, *more: str) -> int:
    args = ["--data.root", str(data), "--out", str(out), "--trainer.max_steps", str(steps)]
    return cli.main(["pretrain", *SMALL, *args, *more])


def weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return {**checkpoint["state_dict"], **checkpoint["callbacks"]["OnlineProbe"]["head"]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data"), objects=6, size=32)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    assert pretrain(data, run, 9) == 0
    return run


def test_a_run_leaves_what_is_needed_to_use_it(whole: Path, data: Path) -> None:
    curves = read_metrics(whole)
    steps, losses = curves["train/loss"]
    assert steps == list(range(9))
    assert all(loss == loss for loss in losses)
    assert {"train/invariance", "train/equivariance", "probe/top1", "views_per_s"} <= curves.keys()
    assert list((whole / "tensorboard").glob("events*"))
    assert yaml.safe_load((whole / "config.yaml").read_text())["data"]["root"] == str(data)
    found = PretrainedMethod(whole)
    assert found.step == 9
    assert found.method.parts.keys() == {"inv", "equi"}
    assert found.image_size == 32


# an epoch has 3 batches: the cuts fall in the middle, at the end and at the start of one
@pytest.mark.parametrize("cuts", [(4,), (3, 7), (1, 6, 8)])
def test_a_continued_run_is_bitwise_the_whole_one(
    data: Path, whole: Path, tmp_path: Path, cuts: tuple[int, ...]
) -> None:
    for steps in (*cuts, 9):
        assert pretrain(data, tmp_path / "run", steps) == 0
    want, have = weights(whole), weights(tmp_path / "run")
    assert want.keys() == have.keys()
    for name, value in want.items():
        assert torch.equal(have[name], value), name
    assert read_metrics(tmp_path / "run")["train/loss"] == read_metrics(whole)["train/loss"]


# a length in epochs makes the trainer build its loader before the state is restored
@pytest.mark.parametrize("cuts", [(4,), (3, 7)])
def test_a_continued_run_of_epochs(
    data: Path, whole: Path, tmp_path: Path, cuts: tuple[int, ...]
) -> None:
    epochs = ["--trainer.max_epochs", "3"]
    for steps in cuts:
        assert pretrain(data, tmp_path / "run", steps, *epochs) == 0
    assert pretrain(data, tmp_path / "run", -1, *epochs) == 0
    want, have = weights(whole), weights(tmp_path / "run")
    for name, value in want.items():
        assert torch.equal(have[name], value), name


def test_a_continued_run_with_gradient_accumulation(data: Path, tmp_path: Path) -> None:
    more = ["--trainer.accumulate_grad_batches", "2"]
    assert pretrain(data, tmp_path / "whole", 5, *more) == 0
    for steps in (1, 2, 5):
        assert pretrain(data, tmp_path / "cut", steps, *more) == 0
    want, have = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    for name, value in want.items():
        assert torch.equal(have[name], value), name


@pytest.mark.slow
def test_a_killed_run_is_bitwise_the_whole_one(data: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    args = ["--data.root", str(data), "--out", str(run), "--trainer.max_steps", "9"]
    command = [sys.executable, "-c", "import sys; from ssl_equiv.cli import main; sys.exit(main())"]
    command += ["pretrain", *SMALL, *args, "--checkpoint_every_n_steps", "1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    kills = 0
    for wait in (0.0, 0.05, 0.15):
        process = subprocess.Popen(command, env=environment, **quiet)  # type: ignore[call-overload]
        seen = _stamp(run)
        while process.poll() is None and _stamp(run) == seen:
            time.sleep(0.005)
        time.sleep(wait)  # somewhere in a step or in the writing of a checkpoint
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 2
    subprocess.run(command, env=environment, check=True, **quiet)  # type: ignore[call-overload]
    want, have = weights(whole), weights(run)
    for name, value in want.items():
        assert torch.equal(have[name], value), name


def _stamp(run: Path) -> int:
    path = run / "checkpoints" / "last.ckpt"
    return path.stat().st_mtime_ns if path.exists() else 0


def test_a_continuation_with_another_configuration(
    data: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain(data, whole, 9, "--model.optimizer.lr", "0.5") == 2
    message = capsys.readouterr().err
    assert "model.init_args.optimizer.lr was 0.001, now 0.5" in message
    assert message.strip().count("\n") == 0


BAD = [
    (["--model.equidim", "3"], "unknown key model.equidim: did you mean model.equi_dim?"),
    (["--model.equi_dim", "x"], "model.equi_dim: expected int, got x"),
    (["--model", "SIEE"], "model: no class 'SIEE': did you mean SIE?"),
    (["--model.backbone.nam", "x"], "unknown key model.backbone.nam: did you mean model.backb"),
    (["--model.backbone.name", "resnet81"], "timm has no model 'resnet81': did you mean resnet"),
    (["--model.optimizer.lr", "fast"], "model.optimizer.lr: expected float, got fast"),
    (["--data.batchsize", "3"], "unknown key data.batchsize: did you mean data.batch_size?"),
    (["--data.num_views", "9"], "data.num_views is 9, but the objects in"),
    (["--data.batch_size", "1"], "data.batch_size is 1: statistics over a batch need 2 at least"),
    (["--data.root", "absent"], "data.root: absent is not a folder"),
    (["--trainer.maxsteps", "3"], "unknown key trainer.maxsteps: did you mean trainer.max_steps"),
    (["--data.num_views", "3"], "views of each object, not 3: set data.num_views to 2"),
    (["--model.factors", "[]"], "model.factors is []: name one factor"),
    (["--model", "SimCLR", "--model.temperature", "0"], "model.temperature is 0.0: choose"),
    (["--model", "VICRegTrajectory", "--data.num_views", "3"], "set data.consecutive true"),
    (["--data.num_workers", "-1"], "data.num_workers is -1: choose 0 or more"),
    (["--data.preprocess.size", "0"], "preprocess.size is 0: choose 1 or more"),
    (["--model.projector_widths", "[]"], "a projector of widths []: give one at least"),
    (["--model.projector_widths", "[1]"], "a projector of widths [0]: give one at least"),
    (["--model.optimizer.lr", "-1"], "model.optimizer.lr is -1.0: it must be >= 0"),
    (["--model.factors", "[shape]"], "asks for the factor 'shape', but the data set has rotation"),
    (["--model.optimizer.schedule", "cosine", "--trainer.max_steps", "-1"], "needs an end"),
]


@pytest.mark.parametrize(("args", "message"), BAD, ids=[" ".join(args) for args, _ in BAD])
def test_bad_input_is_one_line(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    more = args if "--trainer.max_steps" not in args else [*args, "--trainer.max_epochs", "-1"]
    assert pretrain(data, tmp_path / "run", 2, *more) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not list(tmp_path.rglob("*.ckpt"))


def test_bad_yaml(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text("model:\n  class_path: SIE\n  init_args:\n    equi_dims: 3\n")
    assert pretrain(data, tmp_path / "run", 2, "--config", str(config)) == 2
    assert "unknown key model.equi_dims: did you mean model.equi_dim?" in capfd.readouterr().err


def test_a_checkpoint_of_another_architecture(whole: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(whole / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["hyper_parameters"]["backbone"]["name"] = "resnet10t"
    torch.save(checkpoint, tmp_path / "odd.ckpt")
    with pytest.raises(UserError, match=r"is of another architecture: .*differs in backbone\."):
        PretrainedMethod(tmp_path / "odd.ckpt")
    (tmp_path / "cut.ckpt").write_bytes((tmp_path / "odd.ckpt").read_bytes()[:-1000])
    with pytest.raises(UserError, match="is not a readable checkpoint"):
        PretrainedMethod(tmp_path / "cut.ckpt")
    checkpoint["ssl_equiv"] = {}
    torch.save(checkpoint, tmp_path / "bare.ckpt")
    with pytest.raises(UserError, match="lacks or misstates 'class_path'"):
        PretrainedMethod(tmp_path / "bare.ckpt")
    (tmp_path / "text.ckpt").write_text("hi")
    with pytest.raises(UserError, match="is not a readable checkpoint"):
        PretrainedMethod(tmp_path / "text.ckpt")
    torch.save({"state_dict": {}, "odd": Path("x")}, tmp_path / "pickle.ckpt")
    with pytest.raises(UserError, match="holds pickled objects, which are never loaded"):
        PretrainedMethod(tmp_path / "pickle.ckpt")
    with pytest.raises(UserError, match="no checkpoint there"):
        PretrainedMethod(tmp_path)


def test_weights_of_another_method_with_the_same_names(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    contrastive, run = tmp_path / "simclr", tmp_path / "vicreg"
    assert pretrain(data, contrastive, 1, "--model", "SimCLR") == 0
    both = r"SimCLR, but this run trains ssl_equiv\.methods\.vicreg\.VICReg"
    assert pretrain(data, run, 1, "--model", "VICReg", "--init_from", str(contrastive)) == 2
    assert re.search(rf"error: {contrastive} holds weights of .*{both}", capfd.readouterr().err)
    assert not run.exists()
    assert pretrain(data, run, 1, "--model", "VICReg") == 0
    last = run / "checkpoints" / "last.ckpt"
    shutil.copy(contrastive / "checkpoints" / "last.ckpt", last)
    assert pretrain(data, run, 2, "--model", "VICReg") == 2
    assert re.search(rf"error: {last} holds weights of .*{both}", capfd.readouterr().err)
    again = tmp_path / "again"
    assert pretrain(data, again, 1, "--model", "SimCLR", "--init_from", str(contrastive)) == 0


def test_a_damaged_checkpoint_is_not_continued(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert pretrain(data, run, 1) == 0
    last = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    del checkpoint["state_dict"]["predictor.weight"]
    torch.save(checkpoint, last)
    assert pretrain(data, run, 2) == 2
    assert "is of another architecture: it lacks predictor.weight" in capfd.readouterr().err


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_has_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    assert end.value.code == 0
    assert f"ssl-equiv {name}" in capsys.readouterr().out


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pretrian"]) == 2
    assert "no command 'pretrian': did you mean 'pretrain'?" in capsys.readouterr().err
