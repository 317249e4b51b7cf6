"""Every method learns from eight rendered objects: its losses fall, and nothing collapses.

R² is that of the relative rotation between held-out views, by a small regressor on the frozen
features; it is compared with that of VICReg, the invariant baseline, fitted alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

import ssl_equiv.methods
from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.callbacks.health import effective_rank, spread
from ssl_equiv.groups import SO3
from ssl_equiv.losses.capsules import normalized
from ssl_equiv.methods import SIE, CapsIE, Method, MomentumConfig
from tests.methods.rendered import SIZE, TRAIN, features, fit, rendered_views, rotation_r2
from tests.methods.tiny import all_methods

pytestmark = [pytest.mark.slow, pytest.mark.render]

PROJECTOR = {"projector_widths": (128, 128, 128)}
MOMENTUM = MomentumConfig(0.99, schedule="constant")
BYOL = {"hidden_width": 256, "embedding_width": 64, "momentum": MOMENTUM}
SEQUENCE = {
    "observations": 2, "action_width": 32, "layers": 1, "predictor_width": 128,
    "momentum": MOMENTUM,
}  # fmt: skip
CAPSULES = {"image_size": SIZE, "num_capsules": 8}


@dataclass(frozen=True)
class Case:
    """A method and what a fit of it must reach.

    Args:
        name: Of the class.
        options: Its arguments.
        part: The part that follows rotations.
        stride: Output stride of the network, where another than its own.
        lr: Learning rate.
        left: What may be left of a term, or of the ``total``, at the end: a share of its start.
        margin: R² above the invariant baseline's; None where there is no such claim.
        spread: Least spread of held-out features (1 where no direction is preferred).
        rank: Least effective rank of held-out features.
    """

    name: str
    options: dict[str, Any]
    part: str = "all"
    stride: int | None = None
    lr: float = 2e-3
    left: dict[str, float] = field(default_factory=dict)
    margin: float | None = None
    spread: float = 0.1
    rank: float = 3.0


CASES = {
    "VICReg": Case("VICReg", PROJECTOR),
    "SimCLR": Case("SimCLR", PROJECTOR),
    "BYOL": Case("BYOL", BYOL, lr=2e-4),
    "BYOL, conditional": Case("BYOL", {**BYOL, "factors": ("rotation",)}, lr=2e-4),
    "SIE": Case(
        "SIE", {"projector_widths": (64, 64, 64), "equivariance_weight": 10.0}, part="equi"
    ),
    "SEN": Case("SEN", PROJECTOR),
    "EquiMod, SimCLR": Case("EquiMod", {**PROJECTOR, "equivariance_weight": 2.0}),
    "EquiMod, VICReg": Case("EquiMod", {**PROJECTOR, "objective": "vicreg"}),
    "AugSelf": Case("AugSelf", {**PROJECTOR, "action_weight": 10.0}),
    "Supervised": Case("Supervised", {"num_classes": 8}),
    "EquiCaps": Case("EquiCaps", CAPSULES, part="capsule_pose", stride=16),
    "CapsIE": Case(
        "CapsIE",
        # 80 columns of a batch of 24: decorrelated more strongly than on 256 objects
        {**CAPSULES, "pose_dim": 9, "covariance_weight": 10.0},
        part="capsule_pose",
        stride=16,
    ),
    "SeqJEPA": Case("SeqJEPA", SEQUENCE, lr=5e-4),
    "PLS": Case("PLS", {**SEQUENCE, "patch": 16}, lr=5e-4),
    "ConvIJEPA": Case(
        "ConvIJEPA",
        {"predictor_width": 64, "predictor_depth": 1, "momentum": MOMENTUM},
        stride=8,
        lr=5e-4,
    ),
    "VICRegTrajectory": Case("VICRegTrajectory", PROJECTOR),
}


@dataclass(frozen=True)
class Learnt:
    """A trained method, and what is left of each of its terms."""

    method: Method
    left: dict[str, float]

    def r2(self, part: str) -> float:
        """R² of a part; see :func:`tests.methods.rendered.rotation_r2`."""
        return rotation_r2(self.method, part)


def made(case: Case, seed: int = 0) -> Method:
    """The method of a case, untrained."""
    torch.manual_seed(seed)
    options = {} if case.stride is None else {"output_stride": case.stride}
    kind = getattr(ssl_equiv.methods, case.name)
    method: Method = kind(BackboneConfig("test_resnet", options=options), **case.options)
    return method


@cache
def learnt(key: str, seed: int = 0) -> Learnt:
    """The case ``key``, trained for 200 steps."""
    case = CASES[key]
    method = made(case, seed)
    path = case.name == "VICRegTrajectory"
    history = fit(method, steps=200, batch=24, lr=case.lr, seed=seed, path=path)
    start, end = (
        {name: sum(step[name] for step in some) / len(some) for name in some[0]}
        for some in (history[:20], history[-20:])
    )
    for terms in (start, end):
        terms["total"] = sum(weight * terms[name] for name, weight in method.weights.items())
    return Learnt(method, {name: end[name] / start[name] for name in start})


def degrees(method: Method) -> float:
    """Median error of the rotation R that best solves ``P_x R = P_y``: no probe is trained."""
    x, y, relative = pairs(method, "capsule_pose")
    x, y = (normalized(poses.unflatten(-1, (-1, 3, 3))) for poses in (x, y))
    u, _, v = torch.linalg.svd(torch.einsum("ovnij,ovnik->ovjk", x, y))
    u[..., -1] *= torch.det(u @ v)[..., None]  # a rotation, no reflection
    trace = ((u @ v) * SO3().matrix(relative)).sum(dim=(-2, -1))
    return ((trace - 1) / 2).clamp(-1, 1).acos().rad2deg().median().item()


def pairs(method: Method, part: str) -> tuple[Tensor, Tensor, Tensor]:
    """A part of the first and the last half of the held-out views, and their rotations."""
    columns = slice(*method.parts[part])
    x, y = features(method)[:, TRAIN:, columns].chunk(2, dim=1)
    start, end = rendered_views().held_out().rotation.chunk(2, dim=1)
    return x, y, SO3().relative(start, end)


def action_errors(method: Method) -> tuple[float, float]:
    """Squared error of the predictor, told each pair's action, and told another pair's."""
    assert isinstance(method, SIE | CapsIE)
    x, y, action = pairs(method, "equi" if isinstance(method, SIE) else "capsule_pose")
    x, y, other = x.flatten(0, 1), y.flatten(0, 1), action.roll(1, dims=1).flatten(0, 1)
    with torch.no_grad():
        if isinstance(method, SIE):
            x, y = method.projector_equi(x), method.projector_equi(y)
        told, misled = (method.predictor(x, a) for a in (action.flatten(0, 1), other))
    return (told - y).square().mean().item(), (misled - y).square().mean().item()


def test_every_method_has_a_case() -> None:
    assert {case.name for case in CASES.values()} == set(all_methods())


@pytest.mark.parametrize("key", CASES)
def test_it_learns(key: str) -> None:
    case, found = CASES[key], learnt(key)
    assert case.left, "say what must fall"
    for name, most in case.left.items():
        assert found.left[name] < most, name
    held_out = features(found.method)[:, TRAIN:].flatten(0, 1)
    first, past = found.method.parts.get(case.part, (0, held_out.shape[1]))
    held_out = held_out[:, first:past]
    assert spread(held_out) > case.spread
    assert effective_rank(held_out) > case.rank
    if case.margin is not None:
        assert found.r2(case.part) > learnt("VICReg").r2("all") + case.margin


def test_poses_of_equicaps_turn_with_the_object() -> None:
    untrained, trained = made(CASES["EquiCaps"]), learnt("EquiCaps").method
    assert degrees(trained) < 0.5 * degrees(untrained)


@pytest.mark.parametrize("key", ["SIE", "CapsIE"])
def test_the_predictor_heeds_the_action(key: str) -> None:
    told, misled = action_errors(learnt(key).method)
    assert told < 0.9 * misled
