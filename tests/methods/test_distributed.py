from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ssl_equiv.distributed import synchronize_batchnorm
from tests.conftest import write_folder
from tests.methods.tiny import VARIANTS, all_methods

Gradients = dict[str, dict[str, Tensor]]
NAMES = [*all_methods(), *VARIANTS]


def train(data: Path, out: Path, processes: int, batch: int) -> Gradients:
    out.mkdir()
    command = [sys.executable, "-W", "ignore", "-m", "tests.methods.train"]
    command += [str(data), str(out), str(processes), str(batch), *NAMES]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: torch.load(out / f"{name}.pt", weights_only=True) for name in NAMES}


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Gradients, Gradients]:
    root = tmp_path_factory.mktemp("steps")
    data = write_folder(root / "data", objects=8, size=32)
    return train(data, root / "one", 1, 16), train(data, root / "two", 2, 8)


@pytest.mark.ddp
@pytest.mark.slow
@pytest.mark.parametrize("method", NAMES)
def test_two_processes_have_the_gradients_of_one(
    steps: tuple[Gradients, Gradients], method: str
) -> None:
    one, two = (gradients[method] for gradients in steps)
    assert one.keys() == two.keys()
    for name, want in one.items():
        # biases before a BatchNorm have zero gradient and hold rounding: hence the floor
        bound = 1e-5 * want.abs().max().item() + 1e-9
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
