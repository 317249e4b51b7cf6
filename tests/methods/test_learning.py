"""Every method learns from eight rendered objects: its losses fall, and nothing collapses.

R² is that of the relative rotation between held-out views, by a small regressor on the frozen
features; it is compared with that of VICReg, the invariant baseline, fitted alike. On eight objects
an MLP finds much of the rotation in VICReg's features too (.73 to .80), so SIE and EquiMod on
VICReg are compared through a linear map, and with CapsIE they must predict far better when told the
right action than when told another pair's. Not shown here: CapsIE's poses, SeqJEPA and conditional
BYOL above VICReg. The latter two had a linear R² of .50 and .55 to VICReg's .44 (200 steps at a
learning rate of 2e-3, seed 0), but SeqJEPA .41 with shuffled actions, and right actions spared
their predictors 3 % of the error: there the test asks that terms fall and nothing collapses.

What was tried: most methods have their first setting. The weights of SIE, EquiMod on VICReg and
CapsIE were chosen by trials on seeds 0 to 2, of which no count was kept, so those seeds overstate
them. On seeds 3, 4 and 5, run once each after the choice, SIE's equivariant part has a linear R²
of .87 .89 .85 to VICReg's .75 .74 .76, and its predictor .09 of the error that it has with another
pair's action. For CapsIE two further settings were tried on seed 0, a covariance weight of 6 and of
1 in place of 30: poses stay at a linear R² of .72 and .73, VICReg at .75.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

import ssl_equiv.methods
from eval.evaluators.regression import Depth
from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.collapse import effective_rank, spread
from ssl_equiv.groups import SO3
from ssl_equiv.losses.capsules import normalized
from ssl_equiv.methods import Method, MomentumConfig
from ssl_equiv.methods.predictive import Predictive
from tests.methods.rendered import SIZE, TRAIN, features, fit, rendered_views, rotation_r2
from tests.methods.tiny import image_methods

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
        linear: The same for a linear regressor, beside a baseline fitted as long.
        told: Most of the prediction's error when it is told another pair's action that may remain
            when it is told the right one.
        steps: Of the fit.
        batch: Objects of a step.
        spread: Least spread of held-out features (1 where no direction is preferred).
        rank: Least effective rank of held-out features.
    """

    name: str
    options: dict[str, Any]
    part: str = "all"
    stride: int | None = None
    lr: float = 2e-3
    left: dict[str, float] = field(kw_only=True)
    margin: float | None = None
    linear: float | None = None
    told: float | None = None
    steps: int = 200
    batch: int = 24
    spread: float = 0.5
    rank: float = 15.0


# R² of the part by seeds 0, 1, 2, and what it is compared with: VICReg's
CASES = {
    # .73 .80 .77
    "VICReg": Case("VICReg", PROJECTOR, left={"invariance": 0.1, "total": 0.95}),
    # what EquiMod on VICReg is compared with
    "VICReg, longer": Case(
        "VICReg", PROJECTOR, left={"invariance": 0.1, "total": 0.95}, steps=300, batch=32
    ),
    # .75 .81 .78
    "SimCLR": Case("SimCLR", PROJECTOR, left={"contrast": 0.9}),
    # .78 with seed 0
    "BYOL": Case("BYOL", BYOL, lr=2e-4, left={"prediction": 0.4}),
    # .81 .73 .82: not surely above VICReg in so few steps
    "BYOL, conditional": Case(
        "BYOL", {**BYOL, "factors": ("rotation",)}, lr=2e-4, left={"prediction": 0.4}
    ),
    # an R² of a linear map about each output's mean: .64 .52 .60, VICReg's .31 .47 .34; with the
    # actions shuffled .35. Told the right action its predictor has .13 .11 .08 of the error, with
    # shuffled ones 1.07
    "SIE": Case(
        "SIE",
        {
            "projector_widths": (256, 256, 256),
            "equivariance_weight": 30.0,
            "variance_weight": 60.0,
            "prediction_variance_weight": 0.0,
            "covariance_weight": 6.0,
        },
        part="equi",
        left={"invariance": 0.97, "equivariance": 0.4, "prediction_variance": 0.93},
        linear=0.05,
        told=0.4,
        steps=300,
        batch=32,
        rank=12.0,
    ),
    # .93 .92 .94
    "SEN": Case("SEN", PROJECTOR, left={"equivariance": 0.5}, margin=0.08),
    # .93 .92 .91
    "EquiMod, SimCLR": Case(
        "EquiMod",
        {**PROJECTOR, "equivariance_weight": 2.0},
        left={"invariance": 0.85, "equivariance": 0.5},
        margin=0.08,
    ),
    # linear as SIE's: .74 .76 .76, with the actions shuffled .50; told the right action .11 .10 .10
    # of the error, with shuffled ones 1.05
    "EquiMod, VICReg": Case(
        "EquiMod",
        {**PROJECTOR, "objective": "vicreg", "equivariance_weight": 3.0},
        left={"invariance": 0.2, "equivariance": 0.4, "total": 0.95},
        linear=0.15,
        told=0.3,
        steps=300,
        batch=32,
    ),
    # .94 .96 .96
    "AugSelf": Case(
        "AugSelf",
        {**PROJECTOR, "action_weight": 10.0},
        left={"contrast": 0.9, "action": 0.3},
        margin=0.1,
    ),
    # .94 .93 .93
    "Supervised": Case(
        "Supervised",
        {"num_classes": 8},
        left={"classification": 0.1, "action": 0.3},
        margin=0.08,
    ),
    # .97 .97 .97
    "EquiCaps": Case(
        "EquiCaps",
        CAPSULES,
        part="capsule_pose",
        stride=16,
        left={"invariance": 1.0, "equivariance": 0.2, "total": 0.96},
        margin=0.1,
        rank=10.0,
    ),
    # linear .29 (seed 0): not above VICReg, but its predictor has .42 of the error when it is told
    # the right action
    "CapsIE": Case(
        "CapsIE",
        # 80 columns of a batch of 32: decorrelated more strongly than on 256 objects
        {
            **CAPSULES,
            "pose_dim": 9,
            "equivariance_weight": 30.0,
            "variance_weight": 30.0,
            "prediction_variance_weight": 0.0,
            "covariance_weight": 30.0,
        },
        part="capsule_pose",
        stride=16,
        left={"invariance": 0.95, "equivariance": 0.5, "prediction_variance": 0.95},
        told=0.7,
        steps=300,
        batch=32,
        rank=4.0,
    ),
    # .81 .77 .82: not surely above VICReg in so few steps
    "SeqJEPA": Case("SeqJEPA", SEQUENCE, lr=5e-4, left={"prediction": 0.5}),
    # PLS .67 with seed 0, ConvIJEPA .72 .69 .72: they are told no rotation
    "PLS": Case("PLS", {**SEQUENCE, "patch": 16}, lr=5e-4, left={"prediction": 0.7}),
    "ConvIJEPA": Case(
        "ConvIJEPA",
        {"predictor_width": 64, "predictor_depth": 1, "momentum": MOMENTUM},
        stride=8,
        lr=5e-4,
        left={"prediction": 0.7},
    ),
    # .84 .83 .82, trained on paths
    "VICRegTrajectory": Case(
        "VICRegTrajectory",
        PROJECTOR,
        left={"invariance": 0.8, "trajectory": 0.6, "total": 0.95},
    ),
}


@dataclass(frozen=True)
class Learnt:
    """A trained method, and what is left of each of its terms."""

    method: Method
    left: dict[str, float]

    def r2(self, part: str, depth: Depth = "mlp") -> float:
        """R² of a part; see :func:`tests.methods.rendered.rotation_r2`."""
        return rotation_r2(self.method, part, depth)


def made(case: Case, seed: int = 0) -> Method:
    """The method of a case, untrained."""
    torch.manual_seed(seed)
    options = {} if case.stride is None else {"output_stride": case.stride}
    kind = getattr(ssl_equiv.methods, case.name)
    method: Method = kind(BackboneConfig("test_resnet", options=options), **case.options)
    return method


@cache
def learnt(key: str, seed: int = 0) -> Learnt:
    """The case ``key``, trained."""
    case = CASES[key]
    method = made(case, seed)
    path = case.name == "VICRegTrajectory"
    history = fit(method, case.steps, case.batch, case.lr, seed, path)
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
    columns = slice(*method.parts.get(part, (0, method.dim)))
    x, y = features(method)[:, TRAIN:, columns].chunk(2, dim=1)
    start, end = rendered_views().held_out().rotation.chunk(2, dim=1)
    return x, y, SO3().relative(start, end)


@torch.no_grad()
def told(method: Method) -> float:
    """The prediction's error over that when it is told another pair's action."""
    assert isinstance(method, Predictive)
    x, y, relative = (values.flatten(0, 1) for values in pairs(method, "all"))
    other = relative[torch.randperm(len(relative), generator=torch.Generator().manual_seed(0))]
    moved = method.predict(method.embed(x), torch.stack([relative, other], dim=1))
    right, wrong = (moved - method.embed(y)[:, None]).square().mean(dim=(0, 2)).tolist()
    return right / wrong


def test_every_method_has_a_case() -> None:
    assert {case.name for case in CASES.values()} == set(image_methods())


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
    if case.linear is not None:
        baseline = learnt("VICReg, longer").r2("all", "linear")
        assert found.r2(case.part, "linear") > baseline + case.linear
    if case.told is not None:
        assert told(found.method) < case.told


def test_poses_of_equicaps_turn_with_the_object() -> None:
    # 61, 61, 60 degrees to 7, 7, 5 with seeds 0, 1, 2
    untrained, trained = made(CASES["EquiCaps"]), learnt("EquiCaps").method
    assert degrees(trained) < 0.5 * degrees(untrained)
