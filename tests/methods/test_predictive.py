"""What evaluators are offered of a method's predictor is what its loss compares."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import ssl_equiv.methods
from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.groups import Product, Translation
from ssl_equiv.heads import ActionLinear, action_predictor
from ssl_equiv.losses import info_nce
from ssl_equiv.methods import Method
from ssl_equiv.methods.predictive import Predictive
from tests.methods.tiny import DEFAULT, OPTIONS, all_methods, tiny
from tests.methods.views import random_batch

ROTATION_AND_HUE = {"factors": ("rotation", "floor_hue"), "action_dim": 5}
POSES = {"pose": "4x4", "factors": ("rotation", "translation")}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "SIE": ("SIE", {}),
    "SIE of two factors": ("SIE", ROTATION_AND_HUE),
    "SIE, only equivariant": ("SIE", {"equi_dim": 96}),
    "SIE, deep": ("SIE", {"predictor": "deep"}),
    "SEN": ("SEN", {}),
    "EquiMod (simclr)": ("EquiMod", {}),
    "EquiMod (vicreg)": ("EquiMod", {"objective": "vicreg"}),
    "CapsIE": ("CapsIE", {}),
    "EquiCaps": ("EquiCaps", {}),
    "EquiCaps, poses in the object's frame": ("EquiCaps", {**POSES, "frame": "object"}),
    "EquiCaps, poses in the base's frame": ("EquiCaps", {**POSES, "frame": "base"}),
    "BYOL told the action": ("BYOL", ROTATION_AND_HUE),
    "SeqJEPA": ("SeqJEPA", {"observations": 1}),
    "PLS": ("PLS", {"observations": 1}),
}


def make(case: str) -> tuple[Method, ViewBatch]:
    name, options = CASES[case]
    torch.manual_seed(0)
    kind = getattr(ssl_equiv.methods, name)
    method = kind(
        **{"backbone": BackboneConfig("test_resnet"), **OPTIONS.get(name, DEFAULT), **options}
    )
    randomise_statistics(method)
    method.eval()
    batch = random_batch(views=method.num_views)
    translation = torch.randn(
        *batch.images.shape[:2], 3, generator=torch.Generator().manual_seed(2)
    )
    batch = replace(
        batch,
        actions={**batch.actions, "translation": translation},
        groups={**batch.groups, "translation": Translation(3)},
    )
    return method, method.observe(batch)


def randomise_statistics(method: Method) -> None:
    """Give every BatchNorm statistics that matter, a moving average's those of its original."""
    for module in method.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            generator = torch.Generator().manual_seed(len(module.running_mean))
            module.running_mean.copy_(0.1 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)


def moved(method: Predictive, batch: ViewBatch, x: Tensor, start: int, end: int) -> Tensor:
    group, elements = method.elements(batch.actions, batch.groups)
    action = group.relative(elements[:, start], elements[:, end])
    return method.predict(x, action[:, None])[:, 0]


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_predictions_are_those_of_the_loss(case: str) -> None:
    method, batch = make(case)
    assert isinstance(method, Predictive)
    views = method.encode_views(batch.images)
    terms = method.terms(views, batch)
    x, y = (method.embed(method.encode(batch.images[:, view]).features) for view in (0, 1))
    there = moved(method, batch, x, 0, 1)
    assert there.shape == y.shape
    if case.startswith("BYOL"):
        back = moved(method, batch, y, 1, 0)
        want = 2 - F.cosine_similarity(there, y).mean() - F.cosine_similarity(back, x).mean()
    elif "prediction" in terms:
        want = 1 - F.cosine_similarity(there, y).mean()
    elif method.directions:
        want = info_nce(there, y)
    else:
        want = (there - y).square().mean()
    term = terms["prediction" if "prediction" in terms else "equivariance"]
    assert term > 1e-6  # not a comparison of nothing
    torch.testing.assert_close(want, term, rtol=1e-4, atol=1e-9)
    wrong = moved(method, batch, x, 1, 0)
    assert not torch.allclose(wrong, there, rtol=1e-3), "the action makes no difference"


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_many_elements_at_once_are_each_alone(case: str) -> None:
    method, batch = make(case)
    assert isinstance(method, Predictive)
    x = method.embed(method.encode(batch.images[:, 0]).features)
    group, _ = method.elements(batch.actions, batch.groups)
    actions = group.sample((len(x), 3), generator=torch.Generator().manual_seed(3))
    together = method.predict(x, actions)
    alone = torch.stack([method.predict(x, actions[:, [t]])[:, 0] for t in range(3)], dim=1)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_orbits_are_the_predictors_own() -> None:
    x, actions = torch.randn(5, 7), torch.randn(5, 3, 4)
    for kind in ("linear", "deep"):
        predictor = action_predictor(kind, 4, 7)
        alone = torch.stack([predictor(x, actions[:, t]) for t in range(3)], dim=1)
        torch.testing.assert_close(predictor.orbit(x, actions), alone)
    other = ActionLinear(4, 7, 9)
    torch.testing.assert_close(other.orbit(x, actions)[:, 1], other(x, actions[:, 1]))


def test_no_method_with_a_told_predictor_is_forgotten() -> None:
    told = {name for name, _ in CASES.values()}
    for name in all_methods():
        method = tiny(name)
        assert isinstance(method, Predictive) == (name in told), name
        if isinstance(method, Predictive):
            assert bool(method.factors) == (name != "BYOL")  # BYOL itself is told nothing


def test_the_group_is_the_factors_product() -> None:
    method, batch = make("SIE of two factors")
    assert isinstance(method, Predictive)
    group, elements = method.elements(batch.actions, batch.groups)
    assert isinstance(group, Product)
    assert list(group.factors) == ["rotation", "floor_hue"]
    want = torch.cat([batch.relative(f, 0, 1) for f in method.factors], dim=-1)
    torch.testing.assert_close(group.relative(elements[:, 0], elements[:, 1]), want)
