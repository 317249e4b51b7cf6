"""Runs that signals end, or that die: what they leave, and what continues there."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import ssl_equiv.checkpoint_io
from eval.report.training import read_metrics
from ssl_equiv.callbacks import StepProgress
from ssl_equiv.checkpoint import read_checkpoint
from tests.cli.forked import Run, end_all
from tests.cli.test_pretrain import SMALL, weights
from tests.conftest import write_folder

STEPS = 40


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data"), objects=8, size=32)


@pytest.fixture(autouse=True)
def _nothing_runs_on() -> Iterator[None]:
    yield
    end_all()


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    run = tmp_path_factory.mktemp("whole") / "run"
    assert start(data, run).wait() == 0
    return weights(run)


def start(
    data: Path, run: Path, *more: str, before: Callable[[], None] | None = None, **environment: str
) -> Run:
    run.mkdir(exist_ok=True)
    log = run / f"log-{environment.get('RANK', '0')}.txt"
    args = ["--data.root", str(data), "--out", str(run), "--trainer.max_steps", str(STEPS)]
    return Run(log, "pretrain", *SMALL, *args, *more, before=before, **environment)


def start_two(
    data: Path, run: Path, *more: str, before: Callable[[], None] | None = None
) -> list[Run]:
    """Two processes as ``torchrun`` starts them; each takes half of a global batch of 4."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    common |= {"TORCHELASTIC_RUN_ID": "test", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.batch_size", "2", *more]
    return [
        start(data, run, *two, before=before, RANK=rank, LOCAL_RANK=rank, **common)
        for rank in ("0", "1")
    ]


def steps(run: Path) -> list[int]:
    return sorted(int(p.stem[5:]) for p in (run / "checkpoints").glob("step-*.ckpt"))


def logged(run: Path, count: int = 4) -> Callable[[], bool]:
    """Whether any part of the run has written ``count`` lines of metrics."""

    def enough() -> bool:
        files = (run / "metrics").glob("version_*/metrics.csv")
        return any(len(file.read_text().splitlines()) > count for file in files)

    return enough


def same(have: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> bool:
    return have.keys() == want.keys() and all(torch.equal(have[k], want[k]) for k in want)


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_saves_and_the_same_command_continues(
    data: Path, whole: dict[str, torch.Tensor], tmp_path: Path, workers: str, number: signal.Signals
) -> None:
    run, rest = tmp_path / "run", ["--data.num_workers", workers]
    first = start(data, run, *rest)
    first.wait_for(logged(run))
    loaders = subprocess.run(
        ["pgrep", "-P", str(first.process.pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    assert len(loaders) == int(workers)
    for loader in loaders:  # a cluster signals every process of a job
        os.kill(int(loader), number)
    time.sleep(0.1)
    first.signal(number)
    first.signal(number)  # and twice
    assert first.wait() == 128 + number
    (step,) = steps(run)
    assert 0 < step < STEPS
    told = f"{number.name} at step {step}, saved in {run}: the same command continues there"
    assert told in first.log.read_text()
    assert start(data, run, *rest).wait() == 0
    assert same(weights(run), whole)


def slow_start() -> None:
    """A run that is signalled while it sets itself up."""
    from ssl_equiv.data.module import ViewDataModule

    setup = ViewDataModule.train_dataloader

    def slowly(self: ViewDataModule) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
        return setup(self)

    ViewDataModule.train_dataloader = slowly  # type: ignore[method-assign]


def test_a_signal_before_the_first_step(
    data: Path, whole: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    early = start(data, run, before=slow_start)
    assert early.wait() in (128 + signal.SIGTERM, 128 + signal.SIGUSR1)
    assert "before the first step, nothing to save" in early.log.read_text()
    assert steps(run) == []
    assert start(data, run).wait() == 0
    assert same(weights(run), whole)


def slow_writes() -> None:
    save = torch.save

    def slowly(*args: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
        save(*args)

    ssl_equiv.checkpoint_io.torch.save = slowly


def test_a_signal_during_a_checkpoint(
    data: Path, whole: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    run, rest = tmp_path / "run", ["--checkpoint_every_n_steps", "3"]
    first = start(data, run, *rest, before=slow_writes)
    assert first.wait() == 128 + signal.SIGTERM
    assert steps(run)[0] == 3  # the one that was being written is whole
    assert not list(run.rglob("*.partial"))
    assert start(data, run, *rest).wait() == 0
    assert same(weights(run), whole)


def skewed() -> None:
    """The second of two processes is late at every step, and alone gets the signal."""
    if os.environ["RANK"] == "1":

        def late(self: StepProgress, trainer: Any, *args: Any) -> None:
            time.sleep(0.1)
            if trainer.global_step == 5:
                os.kill(os.getpid(), signal.SIGUSR1)

        StepProgress.on_train_batch_end = late  # type: ignore[method-assign]


@pytest.mark.ddp
def test_skewed_processes_agree_on_a_step(
    data: Path, whole: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    for process in start_two(data, run, before=skewed):
        assert process.wait() == 128 + (signal.SIGUSR1 if "-1" in process.log.name else 15)
    assert steps(run) == [6]  # the step after the signal's
    for process in start_two(data, run):
        assert process.wait() == 0, process.log.read_text()
    uncut = tmp_path / "uncut"
    for process in start_two(data, uncut):
        assert process.wait() == 0
    assert same(weights(run), weights(uncut))


def dies() -> None:
    if os.environ["RANK"] == "1":

        def die(self: StepProgress, trainer: Any, *args: Any) -> None:
            if trainer.global_step == 5:
                os.kill(os.getpid(), signal.SIGKILL)

        StepProgress.on_train_batch_end = die  # type: ignore[method-assign]


@pytest.mark.ddp
def test_a_process_that_is_killed_ends_the_others_with_a_line(data: Path, tmp_path: Path) -> None:
    first, second = start_two(data, tmp_path / "run", before=dies)
    assert second.wait() == -signal.SIGKILL
    assert first.wait(seconds=20) == 2
    (line,) = [x for x in first.log.read_text().splitlines() if x.startswith("error:")]
    assert "process 0 lost another process of this run" in line
    assert "Traceback" not in first.log.read_text()


def full_disk() -> None:
    """No file may grow past the first checkpoint's size, from step 4 on."""
    save = torch.save

    def limited(checkpoint: dict[str, Any], file: Any) -> None:
        if checkpoint["global_step"] >= 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
        save(checkpoint, file)

    ssl_equiv.checkpoint_io.torch.save = limited


def test_a_full_disk_leaves_the_checkpoint_before(
    data: Path, whole: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    run, rest = tmp_path / "run", ["--checkpoint_every_n_steps", "2"]
    first = start(data, run, *rest, before=full_disk)
    assert first.wait() == 2
    assert "cannot write" in first.log.read_text()
    assert steps(run) == [2]
    assert not list(run.rglob("*.partial"))
    assert start(data, run, *rest).wait() == 0
    assert same(weights(run), whole)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    data: Path, whole: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    run, rest = tmp_path / "run", ["--checkpoint_every_n_steps", "10"]
    short = [*rest, "--trainer.max_steps", "30"]
    assert start(data, run, *short).wait() == 0
    assert steps(run) == [20, 30]
    newest = run / "checkpoints" / "step-00000030.ckpt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 0xFF  # one flipped byte
    newest.write_bytes(content)
    again = start(data, run, *rest)
    assert again.wait() == 0
    assert f"continuing from {run}/checkpoints/step-00000020.ckpt" in again.log.read_text()
    assert (run / "checkpoints" / "damaged.ckpt").read_bytes() == content
    assert same(weights(run), whole)


def test_a_run_directory_in_use_is_refused(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = start(data, run, "--trainer.max_steps", "100000")
    first.wait_for(logged(run))
    second = start(data, run, "--trainer.max_steps", "100000", RANK="0")
    assert second.wait() == 2
    assert f"{run} is in use by a living run (host " in second.log.read_text()
    first.signal(signal.SIGKILL)
    first.wait()
    assert start(data, run, "--trainer.max_steps", "100001").wait_for(logged(run)) is None


def validating() -> None:
    """A user's validation, longer than training; the second one is signalled half way."""
    from torch.utils.data import DataLoader

    from ssl_equiv.data.module import ViewDataModule
    from ssl_equiv.methods.sie import SIE

    def loader(self: ViewDataModule) -> Any:
        return DataLoader(range(6), batch_size=2)  # type: ignore[arg-type]

    def step(self: SIE, batch: torch.Tensor, batch_idx: int) -> None:
        _validated.append(batch_idx)
        if _validated == [0, 1, 2, 0, 1] and "SIGNALLED" in os.environ:
            os.kill(os.getpid(), signal.SIGUSR1)

    ViewDataModule.val_dataloader = loader  # type: ignore[method-assign]
    SIE.validation_step = step  # type: ignore[method-assign, assignment]
    ViewDataModule.on_after_batch_transfer = _train_only(ViewDataModule.on_after_batch_transfer)


_validated: list[int] = []


def _train_only(transfer: Any) -> Any:
    def transferred(self: Any, batch: Any, index: int) -> Any:
        return batch if isinstance(batch, torch.Tensor) else transfer(self, batch, index)

    return transferred


def test_a_signal_during_a_validation(
    data: Path, whole: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # twice a step's worth of an epoch of two batches
    rest = ["--trainer.limit_val_batches", "1.0", "--trainer.val_check_interval", "7"]
    rest += ["--trainer.check_val_every_n_epoch", "null"]
    first = start(data, run, *rest, before=validating, SIGNALLED="1")
    assert first.wait() == 128 + signal.SIGUSR1, first.log.read_text()
    assert steps(run) == [14]
    again = start(data, run, *rest, before=validating)
    assert again.wait() == 0, again.log.read_text()
    assert same(weights(run), whole)


@pytest.mark.ddp
def test_another_number_of_processes(
    data: Path, whole: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert start(data, run, "--trainer.max_steps", "13").wait() == 0
    for process in start_two(data, run, "--data.batch_size", "3"):
        assert process.wait() == 2
    assert (
        "holds a run with another configuration (data.batch_size was 4, now 3; trainer.devices"
        in (run / "log-0.txt").read_text()
    )
    more = ["--data.batch_size", "3", "--redistribute", "true"]
    for process in start_two(data, run, *more):
        assert process.wait() == 0, process.log.read_text()
    state = read_checkpoint(run / "checkpoints" / "last.ckpt")
    assert state["global_step"] == STEPS
    assert state["ViewDataModule"]["global_batch"] == 6
    # of 18 objects: 13 batches of 4 are three epochs of four and one more; two batches of 6 are
    # left of the fourth epoch, and 25 are eight epochs of three and one more
    assert (state["ViewDataModule"]["epoch"], state["ViewDataModule"]["position"]) == (12, 1)


def test_checkpoints_by_the_clock_and_the_best(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = ["--checkpoint_every_minutes", "1e-6", "--keep_checkpoints", "3"]
    more += ["--best_metric", "train/loss", "--best_mode", "min", "--trainer.max_steps", "6"]
    assert start(data, run, *more).wait() == 0
    best = read_checkpoint(run / "checkpoints" / "best.ckpt")["global_step"]
    losses = read_metrics(run)["train/loss"][1]  # a step each: every step was saved
    assert best == 1 + min(range(6), key=losses.__getitem__)
    assert steps(run) == sorted({4, 5, 6, best})
    unknown = start(data, tmp_path / "other", "--best_metric", "train/los")
    assert unknown.wait() == 2
    assert "best_metric is 'train/los', but what is logged is" in unknown.log.read_text()


@pytest.mark.slow
@pytest.mark.ddp
def test_lightning_and_torchrun_launch_the_same_run(data: Path, tmp_path: Path) -> None:
    """Lightning starts the second process itself, and a signal to the first ends both."""
    entry = tmp_path / "entry.py"
    entry.write_text("import sys\nfrom ssl_equiv.cli import main\nsys.exit(main())\n")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launchers = {"plain": [sys.executable], "torchrun": [*torchrun, "--nproc-per-node", "2"]}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def launch(launcher: str, run: Path, steps: int) -> subprocess.Popen[bytes]:
        run.mkdir(exist_ok=True)
        args = ["--data.root", str(data), "--out", str(run), "--trainer.max_steps", str(steps)]
        args += ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.batch_size", "2"]
        command = [*launchers[launcher], str(entry), "pretrain", *SMALL, *args]
        with open(run / "log.txt", "ab") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    run, whole = tmp_path / "run", tmp_path / "whole"
    first = launch("plain", run, 2000)
    while not logged(run)():
        assert first.poll() is None, (run / "log.txt").read_text()
        time.sleep(0.01)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 128 + signal.SIGTERM, (run / "log.txt").read_text()
    end = steps(run)[-1] + 5
    assert launch("torchrun", run, end).wait(120) == 0, (run / "log.txt").read_text()
    assert launch("torchrun", whole, end).wait(120) == 0, (whole / "log.txt").read_text()
    assert same(weights(run), weights(whole))


@pytest.mark.slow
def test_thirty_random_kills_lose_no_checkpoint(
    data: Path, whole: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    rest = ["--checkpoint_every_n_steps", "1", "--data.num_workers", "1"]
    draw, number, kills, reached = random.Random(0), 0, 0, 0
    while kills < 30:
        run = tmp_path / f"run{number}"
        process = start(data, run, *rest)
        time.sleep(draw.uniform(0.3, 2.5))
        process.process.kill()  # nothing where it has just ended
        process.process.join()
        kills += process.process.exitcode == -signal.SIGKILL
        if steps(run):
            step = read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"]
            assert step >= reached  # never a checkpoint lost, and at most one step of work
            reached = step
        if reached == STEPS:  # it came through: another one
            assert same(weights(run), whole)
            number, reached = number + 1, 0
    assert start(data, tmp_path / f"run{number}", *rest).wait() == 0
    assert same(weights(tmp_path / f"run{number}"), whole)
