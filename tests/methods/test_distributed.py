from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ssl_equiv.distributed import synchronize_batchnorm
from tests.conftest import write_folder
from tests.methods.tiny import all_methods


def train(method: str, data: Path, out: Path, processes: int, batch: int) -> dict[str, Tensor]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.methods.train", method]
    command += [str(data), str(out), str(processes), str(batch), "1"]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2], capture_output=True)
    return torch.load(out, weights_only=True)


@pytest.mark.ddp
@pytest.mark.slow
@pytest.mark.parametrize("method", all_methods())
def test_two_processes_have_the_gradients_of_one(tmp_path: Path, method: str) -> None:
    data = write_folder(tmp_path / "data", objects=8, size=32)
    one = train(method, data, tmp_path / "one.pt", processes=1, batch=16)
    two = train(method, data, tmp_path / "two.pt", processes=2, batch=8)
    assert one.keys() == two.keys()
    for name, want in one.items():
        # biases before a BatchNorm have zero gradient and hold rounding: hence the floor
        bound = 1e-5 * want.abs().max().item() + 1e-6
        assert (two[name] - want).abs().max().item() <= bound, name


def test_synchronised_batchnorm_keeps_names_and_values() -> None:
    from timm import create_model

    for name in ("test_resnet", "test_efficientnet"):
        model = create_model(name, num_classes=0)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        images = torch.randn(2, 3, 32, 32)
        want = model.eval()(images)
        model = synchronize_batchnorm(model, torch.device("cpu"))
        assert model.state_dict().keys() == before.keys()
        torch.testing.assert_close(model.eval()(images), want)
