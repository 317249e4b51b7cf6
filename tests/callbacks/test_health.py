from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssl_equiv.callbacks.health import effective_rank, spread
from ssl_equiv.checkpoint import read_checkpoint
from tests.cli.test_pretrain import pretrain
from tests.conftest import write_folder


def test_spread() -> None:
    torch.manual_seed(0)
    assert spread(torch.randn(4000, 32)).item() == pytest.approx(1, abs=0.02)
    assert spread(torch.ones(10, 32)).item() == pytest.approx(0, abs=1e-6)
    assert spread(torch.ones(50, 32) + 0.01 * torch.randn(50, 32)).item() < 0.02


def test_effective_rank() -> None:
    torch.manual_seed(0)
    for rank in (1, 3, 8):
        directions, _ = torch.linalg.qr(torch.randn(32, rank))
        points, _ = torch.linalg.qr(torch.randn(200, rank) - torch.randn(200, rank).mean(0))
        features = (points - points.mean(0)) @ directions.T
        assert effective_rank(features).item() == pytest.approx(rank, rel=0.05)


def test_a_loss_that_is_no_number_stops_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = write_folder(tmp_path / "data", objects=6, size=32), tmp_path / "run"
    assert pretrain(data, run, 2) == 0
    last = run / "checkpoints" / "last.ckpt"
    state = read_checkpoint(last)
    name = next(name for name in state["state_dict"] if name.startswith("projector_equi"))
    state["state_dict"][name].fill_(float("nan"))
    torch.save(state, last)
    broken = last.read_bytes()
    capsys.readouterr()
    assert pretrain(data, run, 9, "--checkpoint_every_n_steps", "1") == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error:")]
    assert "step 3: the loss is nan (from equivariance, " in line
    assert f"the last good state is {last}" in line
    assert last.read_bytes() == broken  # nothing was saved after the broken step
