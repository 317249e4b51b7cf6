"""What is particular to the baselines.

Elsewhere, for all methods: gradients of two processes (``test_distributed.py``) and that a small
fit learns (``test_learning.py``). Published numbers, for ``tests/test_parity.py``, exist for
SimCLR, VICReg, AugSelf, EquiMod and SEN, but not for BYOL, VICRegTrajectory and Supervised.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from eval.runner import make_trainer
from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO3
from ssl_equiv.methods import (
    BYOL,
    SEN,
    SIE,
    AugSelf,
    EquiMod,
    MomentumConfig,
    SimCLR,
    Supervised,
    VICReg,
    VICRegTrajectory,
)
from tests.conftest import write_folder
from tests.methods.views import random_batch, terms_of

BACKBONE = BackboneConfig("test_resnet")
TINY: dict[str, Any] = {"backbone": BACKBONE, "projector_widths": (16, 16)}
BYOL_TINY: dict[str, Any] = {
    "backbone": BACKBONE,
    "hidden_width": 32,
    "embedding_width": 16,
    "momentum": MomentumConfig(schedule="constant"),
}


def test_equivariant_only_sie_has_one_part() -> None:
    dim = SIE(**TINY).dim
    method = SIE(**TINY, equi_dim=dim)
    assert method.encode(random_batch().images[:, 0])["equi"].shape[1] == dim
    assert "inv" not in method.parts
    assert "invariance" not in terms_of(method, random_batch())
    assert method.total(terms_of(method, random_batch())).isfinite()


def test_free_dims_are_free() -> None:
    torch.manual_seed(0)
    method, batch = VICReg(**TINY, free_dims=10).eval(), random_batch()
    views = method.encode_views(batch.images)
    x, y = (method.projector(view.features)[:, :6] for view in views)
    torch.testing.assert_close(method.terms(views)["invariance"], F.mse_loss(x, y))
    with pytest.raises(UserError, match="free_dims is 16, but the embedding has 16"):
        VICReg(**TINY, free_dims=16)


@pytest.mark.parametrize("method", [SEN(**TINY), EquiMod(**TINY), AugSelf(**TINY)])
def test_the_action_matters_and_is_checked(method: Any) -> None:
    method.eval()
    batch = random_batch()
    views = method.encode_views(batch.images)
    name = "action" if isinstance(method, AugSelf) else "equivariance"
    action = SO3().relative(batch.actions["rotation"][:, 0], batch.actions["rotation"][:, 1])
    have = method.terms(views, batch)[name]
    torch.testing.assert_close(have, method.terms_of_action(views, action)[name])
    other = SO3().sample((len(action),), generator=torch.Generator().manual_seed(3))
    assert not torch.isclose(have, method.terms_of_action(views, other)[name])
    kind = type(method)
    with pytest.raises(UserError, match="action_dim is 4, but the factors rotation, floor_hue"):
        terms_of(kind(**TINY, factors=("rotation", "floor_hue")), batch)
    terms_of(kind(**TINY, factors=("rotation", "floor_hue"), action_dim=5), batch)


def test_equimod_on_vicreg_is_two_vicregs() -> None:
    torch.manual_seed(0)
    method, batch = EquiMod(**TINY, objective="vicreg").eval(), random_batch()
    views = method.encode_views(batch.images)
    alone = VICReg(**TINY).eval()
    alone.load_state_dict(method.backbone.state_dict(prefix="backbone."), strict=False)
    alone.projector = method.projector_inv
    terms = method.terms(views, batch)
    for name, value in alone.terms(views).items():
        torch.testing.assert_close(terms[name], value)
    assert method.weights["equi_variance"] == pytest.approx(0.45 * method.weights["variance"])


def test_byol_is_the_published_loss_both_ways() -> None:
    torch.manual_seed(0)
    method, batch = BYOL(**BYOL_TINY).eval(), random_batch()
    images = batch.images.unbind(dim=1)
    online = [method.predictor(method.projector(method.backbone(image))) for image in images]
    target = [method.target(image) for image in images]
    want = torch.tensor(0.0)
    for a, b in ((0, 1), (1, 0)):  # Eq. 2: squared distance of the normalised vectors
        p, z = F.normalize(online[a], dim=1), F.normalize(target[b], dim=1)
        want = want + (p - z).square().sum(dim=1).mean()
    torch.testing.assert_close(method.total(terms_of(method, batch)), want)


def test_conditional_byol_is_told_each_way() -> None:
    torch.manual_seed(0)
    method, batch = BYOL(**BYOL_TINY, factors=("rotation",)).eval(), random_batch()
    seen: list[torch.Tensor] = []
    assert isinstance(method.embed_action, torch.nn.Module)
    method.embed_action.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    terms_of(method, batch)
    first, second = batch.actions["rotation"].unbind(dim=1)
    torch.testing.assert_close(seen[0], SO3().relative(first, second))
    torch.testing.assert_close(seen[1], SO3().relative(second, first))


def test_the_target_gets_no_gradient_and_follows() -> None:
    torch.manual_seed(0)
    method, batch = BYOL(**BYOL_TINY), random_batch()
    method.total(terms_of(method, batch)).backward()
    assert all(p.grad is None for p in method.target.parameters())
    assert all(p.grad is not None for p in method.backbone.parameters())


def test_a_straight_path_has_no_trajectory_loss() -> None:
    method, batch = VICRegTrajectory(**TINY), random_batch(views=3)
    method.projector = torch.nn.Identity()  # type: ignore[assignment]
    start, step = torch.randn(2, 6, 8)
    views = [type("View", (), {"features": start + i * step})() for i in (0, 1, 3)]
    assert method.terms(views, batch)["trajectory"].item() == pytest.approx(0, abs=1e-6)
    views[2].features = start - step
    assert method.terms(views, batch)["trajectory"].item() == pytest.approx(2)


def test_trajectories_need_paths(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", objects=4, size=32)
    method = VICRegTrajectory(**TINY)

    def fit(**options: Any) -> None:
        module = ViewDataModule(str(data), 3, 4, num_workers=0, **options)
        for name, value in source.items():
            setattr(module.source, name, value)
        make_trainer({"accelerator": "cpu", "max_steps": 1}).fit(method, module)

    source: dict[str, Any] = {}
    with pytest.raises(UserError, match=r"set data\.consecutive true"):
        fit()
    fit(consecutive=True)  # the published folder does not tell what its views are
    source = {"paths": False}
    with pytest.raises(UserError, match="generate data with a trajectory in the recipe"):
        fit(consecutive=True)
    source = {"paths": True}
    fit(consecutive=True)


def test_supervised_by_classes_alone_needs_no_factor() -> None:
    method, batch = Supervised(BACKBONE, num_classes=6, action_weight=0.0), random_batch()
    batch = replace(batch, actions={}, groups={})
    assert set(terms_of(method, batch)) == {"classification"}
    method.total(terms_of(method, batch)).backward()
    assert all(p.grad is not None for p in method.parameters())
    with pytest.raises(UserError, match="'rotation', but the data set has none: change"):
        terms_of(Supervised(BACKBONE, num_classes=6), batch)


@pytest.mark.parametrize("kind", [SimCLR, SEN, AugSelf, EquiMod])
@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_temperatures_that_are_none(kind: Any, temperature: float) -> None:
    with pytest.raises(UserError, match=rf"model\.temperature is {temperature}: choose a number"):
        kind(**TINY, temperature=temperature)


@pytest.mark.parametrize("kind", [SIE, SEN, AugSelf, EquiMod])
def test_no_factors(kind: Any) -> None:
    with pytest.raises(UserError, match=r"model\.factors is \[\]: name one factor"):
        terms_of(kind(**TINY, factors=()), random_batch())


def test_byol_without_momentum() -> None:
    with pytest.raises(UserError, match=r"model\.momentum is null, but this method needs"):
        BYOL(**{**BYOL_TINY, "momentum": None})


def test_the_target_is_compiled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    method = BYOL(**BYOL_TINY, compile=True)
    assert compiled == [method.backbone, method.target.network]


def test_supervised_learns_from_labels_and_actions() -> None:
    torch.manual_seed(0)
    method, batch = Supervised(BACKBONE, num_classes=6), random_batch()
    optimizer = torch.optim.Adam(method.parameters(), 1e-3)
    losses = []
    for _ in range(30):
        terms = terms_of(method, batch)
        optimizer.zero_grad()
        method.total(terms).backward()
        optimizer.step()
        losses.append({name: term.item() for name, term in terms.items()})
    assert losses[-1]["classification"] < 0.2 * losses[0]["classification"]
    assert losses[-1]["action"] < 0.2 * losses[0]["action"]


def test_every_parameter_learns() -> None:
    for method in (SimCLR(**TINY), SEN(**TINY), EquiMod(**TINY), AugSelf(**TINY)):
        method.total(terms_of(method, random_batch())).backward()
        for name, parameter in method.named_parameters():
            assert parameter.grad is not None, name
