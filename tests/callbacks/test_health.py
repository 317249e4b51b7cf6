from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from ssl_equiv.callbacks.health import WatchHealth
from ssl_equiv.checkpoint import read_checkpoint
from ssl_equiv.checkpoint_files import CheckpointFiles
from ssl_equiv.checkpoint_io import BackgroundCheckpointIO
from ssl_equiv.errors import UserError
from tests.cli.test_pretrain import pretrain
from tests.conftest import write_folder


def broken(run: Path) -> bytes:
    """Make the last state's next loss NaN; returns the file."""
    last = run / "checkpoints" / "last.ckpt"
    state = read_checkpoint(last)
    name = next(name for name in state["state_dict"] if name.startswith("projector_equi"))
    state["state_dict"][name].fill_(float("nan"))
    torch.save(state, last)
    return last.read_bytes()


def error(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error:")]
    return line


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data"), objects=6, size=32)


def test_a_state_whose_next_loss_is_no_number_gives_way_to_the_one_before(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    each = ("--checkpoint_every_n_steps", "1")
    assert pretrain(data, run, 2, *each) == 0
    last = run / "checkpoints" / "last.ckpt"
    good, bad = (last.parent / "step-00000001.ckpt").read_bytes(), broken(run)
    capsys.readouterr()
    assert pretrain(data, run, 4, *each) == 2
    line = error(capsys)
    assert "step 3: the loss is nan (from equivariance, " in line
    assert f"the last good state is {last}" in line
    assert last.read_bytes() == good  # nothing was saved after the broken step
    assert (last.parent / "failed.ckpt").read_bytes() == bad
    assert pretrain(data, run, 4, *each) == 0  # the same command continues there
    assert pretrain(data, tmp_path / "whole", 4) == 0
    want = read_checkpoint(tmp_path / "whole" / "checkpoints" / "last.ckpt")["state_dict"]
    have = read_checkpoint(last)["state_dict"]
    assert all(torch.equal(have[name], value) for name, value in want.items())


def test_a_run_that_never_had_a_good_state_starts_anew(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # the first step's loss is finite, and its update throws the weights to 1e30
    run, wild = tmp_path / "run", ("--model.optimizer.lr", "1e30")
    for _ in range(2):
        assert pretrain(data, run, 9, *wild, "--checkpoint_every_n_steps", "1") == 2
        line = error(capsys)
        assert "step 2: the loss is nan" in line
        assert "no good state was saved: the same command starts anew" in line
        assert not (run / "checkpoints" / "last.ckpt").exists()


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    class Module(torch.nn.Linear):
        global_step = 5

    health, module = WatchHealth(CheckpointFiles(tmp_path), BackgroundCheckpointIO()), Module(2, 2)
    health.on_save_checkpoint(module, module)  # type: ignore[arg-type]
    module.weight.data[0, 0] = float("inf")
    with pytest.raises(UserError, match="step 5: the weights are no numbers any more"):
        health.on_save_checkpoint(module, module)  # type: ignore[arg-type]


class Logs:
    """What the callback asks of a method."""

    parts = {"inv": (0, 16), "equi": (16, 32)}  # noqa: RUF012

    def __init__(self) -> None:
        self.logged: dict[str, torch.Tensor] = {}

    def log_dict(self, values: dict[str, torch.Tensor]) -> None:
        self.logged |= values


@pytest.mark.parametrize(
    ("dead", "what"), [(torch.ones(64, 16), "spread is 0.000"), (None, "effective rank 1.")]
)
def test_a_part_that_collapses_is_told(
    tmp_path: Path, dead: torch.Tensor | None, what: str
) -> None:
    torch.manual_seed(0)
    health, method = WatchHealth(CheckpointFiles(tmp_path), BackgroundCheckpointIO()), Logs()
    flat = torch.randn(64, 1) * torch.randn(16) if dead is None else dead
    features = torch.cat([flat, torch.randn(64, 16)], dim=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(4):  # it may be the start
            health.measure(method, features, step)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match=rf"step 4: the part inv .* has collapsed .*{what}"):
        health.measure(method, features, 4)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        health.measure(method, features, 5)  # type: ignore[arg-type]  # told once
    names = {f"collapse/{p}{x}" for p in ("", "inv/", "equi/") for x in ("spread", "rank")}
    assert set(method.logged) == names
    assert method.logged["collapse/equi/rank"] > 10
    few = WatchHealth(CheckpointFiles(tmp_path), BackgroundCheckpointIO())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(6):  # four rows have no rank to speak of
            few.measure(method, torch.randn(4, 32), step)  # type: ignore[arg-type]
        near_uniform = torch.cat([1 + 0.002 * torch.randn(64, 16), torch.randn(64, 16)], dim=1)
        for step in range(6):  # as activations of capsules are for long
            few.measure(method, near_uniform, step)  # type: ignore[arg-type]
