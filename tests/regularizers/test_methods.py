"""Regularizers beside every method: a step, two processes, and what is learnt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ssl_equiv.errors import UserError
from ssl_equiv.methods import Method
from ssl_equiv.regularizers import SoftEquivariance, SpatialEquivariance
from tests.conftest import write_folder
from tests.methods.tiny import image_methods, tiny
from tests.methods.views import random_batch
from tests.regularizers.train import regularized


def step(method: Method, views: int) -> dict[str, Tensor]:
    method.log_dict = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    torch.manual_seed(0)
    made: dict[str, Tensor] = method.training_step(random_batch(views=views), 0)
    return made


@pytest.mark.parametrize("name", image_methods())
def test_every_method_takes_them(name: str) -> None:
    torch.manual_seed(0)
    plain = tiny(name)
    bare = step(plain, plain.num_views)
    plain.regularize(regularized(name).regularizers)  # type: ignore[arg-type]
    made = step(plain, plain.num_views)
    further = sum(
        regularizer.weights[term] * made["terms"][f"{regularizer.name}/{term}"]  # type: ignore
        for regularizer in plain.regularizers
        for term in regularizer.weights  # type: ignore[union-attr]
    )
    torch.testing.assert_close(made["loss"], bare["loss"] + further)
    made["loss"].backward()
    for key, parameter in plain.regularizers.named_parameters():
        assert parameter.grad is not None or not parameter.requires_grad, key
    assert {name.split("/")[0] for name in plain.found()} <= {"strength", "spatial_error"}


def test_two_of_a_name() -> None:
    method = regularized("SIE")
    with pytest.raises(UserError, match="there are two SoftEquivariance"):
        method.regularize([SoftEquivariance({"rotation": "SO3"})])


def test_a_part_of_the_representation() -> None:
    method = tiny("SIE")
    method.regularize([SoftEquivariance({"rotation": "SO3"}, part="equi")])
    made = step(method, 2)
    assert torch.isfinite(made["loss"])
    assert method.regularizers[0].projection.shape[0] == method.dim // 2  # type: ignore


def train(data: Path, out: Path, processes: int, batch: int) -> dict[str, Tensor]:
    out.mkdir()
    command = [sys.executable, "-W", "ignore", "-m", "tests.regularizers.train"]
    command += [str(data), str(out), str(processes), str(batch), "VICReg"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(out / "VICReg.pt", weights_only=True)  # type: ignore[no-any-return]


@pytest.mark.ddp
@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", objects=8, size=32)
    one = train(data, tmp_path / "one", processes=1, batch=16)
    two = train(data, tmp_path / "two", processes=2, batch=8)
    assert one.keys() == two.keys()
    assert one.keys() >= {"grad/regularizers.0.noise", "state/regularizers.0.gram"}
    for name, want in one.items():
        torch.testing.assert_close(two[name], want, rtol=1e-5, atol=1e-9, equal_nan=True, msg=name)


@pytest.mark.slow
@pytest.mark.render
def test_the_spatial_error_falls_on_rendered_views() -> None:
    """On held-out views, beside the same training without the regularizer."""
    found = {weight: spatial_training(weight) for weight in (0.0, 1.0)}
    assert found[1.0] < 0.5 * found[0.0]


def spatial_training(weight: float, steps: int = 60) -> float:
    from tests.methods.rendered import rendered_views

    torch.manual_seed(0)
    method = tiny("VICReg")
    regularizer = SpatialEquivariance("layer3", ("rotation", "flip"), weight, share=1.0)
    method.regularize([regularizer])
    method.log_dict = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    optimizer = torch.optim.Adam(method.train().parameters(), lr=2e-3)
    views, generator = rendered_views(), torch.Generator().manual_seed(0)
    for number in range(steps):
        method.step_seed = number
        optimizer.zero_grad()
        method.training_step(views.pairs(32, generator), number)["loss"].backward()
        optimizer.step()
    held = views.held_out().images.flatten(0, 1)
    with torch.no_grad():
        made = regularizer.terms(
            method.backbone,
            torch.zeros(len(held), 1, 1),
            views.batch(torch.arange(len(held)) % 8, torch.zeros(len(held), 1, dtype=torch.long)),
            99,
        )
    return made["error"].item()
