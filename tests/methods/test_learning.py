"""Every method learns from eight rendered objects: its losses fall, and nothing collapses.

R² is that of the relative rotation between held-out views, by a small regressor on the frozen
features. A method that is told the rotation must lie above VICReg, the invariant baseline, on the
same views. On eight objects an MLP finds much of the rotation in the features of random weights
(.74) and VICReg's (.70 to .80), so SIE and EquiMod on VICReg are compared through a linear map.

Three needed more than the others:

* CapsIE's poses first tell the objects apart and follow rotations late: an R² of .67 after 300
  steps, .86 after 600 (seed 0). VICReg's does not rise with twice the steps, .73 and .73 after 300,
  .71 and .72 after 600 (seeds 1 and 2), so that it is fitted for 300 alone.
* Conditional BYOL and SeqJEPA grow invariant at a learning rate of 2e-3 and a momentum of .99:
  after 200 steps another pair's action is as good as the right one. The target follows before the
  predictor has learnt what an action does, so it follows more slowly here, predictors are as wide
  as SeqJEPA's published one, and a fit has 400 steps.
* Where floor and lamp change their hues, which no action tells, only .20 of the variance within an
  object is a function of its angle in the features of random weights, with hues kept .57. So both,
  and their baseline, see views with one hue each. On views of all hues they came to .85 and .83
  (seed 0, 400 steps), above VICReg's .71, but so did BYOL itself (.83, a learning rate of 2e-3):
  nothing showed that it was the action.

With hues kept it is: BYOL itself has .82 .81 .79 (seeds 0 to 2; a momentum of .998 on seed 0),
SeqJEPA that is told nothing .83 and not .92 (seed 0, momentum .998); random weights have .81 .76
.75. They learn less of it than the others all the same: told the right action, their predictors
have .63 to .86 of the error that they have with another pair's, CapsIE's .10 to .18.

What was tried: most methods have their first setting. The weights of SIE and EquiMod on VICReg were
chosen by trials on seeds 0 to 2, of which no count was kept, so those seeds overstate them. For
CapsIE's weights none was kept either; then seven settings were tried on seed 0, for conditional
BYOL seven, for SeqJEPA six, and each last one went to seeds 1 and 2. Seeds 3, 4 and 5 were run
once each after the choice:

=================  ===========  ===========  ============  ===========
seeds 3, 4, 5      of the part  of VICReg    action told   0, 1, 2
=================  ===========  ===========  ============  ===========
SIE, linear        .87 .89 .85  .75 .74 .76  .09
CapsIE             .95 .88 .85  .75 .75 .75  .10 .18 .11   .86 .89 .94
SeqJEPA            .90 .89 .90  .70 .75 .70  .83 .85 .80   .93 .89 .91
BYOL, conditional  .87 .91 .87  .70 .75 .70  .82 .63 .79   .88 .89 .91
=================  ===========  ===========  ============  ===========

The first two and the last column are R². "Action told" is the error with the right action over that
with another pair's. VICReg with hues kept has .74 .80 .73 with seeds 0 to 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

import ssl_equiv.methods
from eval.evaluators.regression import Depth
from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.collapse import effective_rank, spread
from ssl_equiv.groups import SO3
from ssl_equiv.losses.capsules import normalized
from ssl_equiv.methods import BYOL, Method, MomentumConfig, SeqJEPA
from ssl_equiv.methods.predictive import Predictive
from tests.methods.rendered import (
    HELD_OUT,
    SIZE,
    TRAIN,
    Scene,
    features,
    fit,
    rendered_views,
    rotation_r2,
)
from tests.methods.tiny import image_methods

pytestmark = [pytest.mark.slow, pytest.mark.render]

PROJECTOR = {"projector_widths": (128, 128, 128)}
MOMENTUM = MomentumConfig(0.99, schedule="constant")
# a target that keeps the rotation until the predictor has learnt what the action does
SLOW = MomentumConfig(0.999, schedule="constant")
PREDICTED = {"hidden_width": 256, "embedding_width": 64, "momentum": MOMENTUM}
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
        linear: The same for a linear regressor.
        beside: The invariant baseline, on the same views.
        told: Most of the prediction's error when it is told another pair's action that may remain
            when it is told the right one.
        steps: Of the fit.
        batch: Objects of a step.
        scene: What the views are.
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
    beside: str = "VICReg"
    told: float | None = None
    steps: int = 200
    batch: int = 24
    scene: Scene = "random"
    spread: float = 0.5
    rank: float = 15.0

    @property
    def judged(self) -> Scene:
        """What it is judged on: held-out views of a path are too like those of the fit."""
        return "random" if self.scene == "path" else self.scene


# R² of the part by seeds 0, 1, 2, and what it is compared with: VICReg's
CASES = {
    # .73 .80 .77
    "VICReg": Case("VICReg", PROJECTOR, left={"invariance": 0.1, "total": 0.95}),
    # .73 .73 with seeds 1, 2
    "VICReg, longer": Case(
        "VICReg", PROJECTOR, left={"invariance": 0.1, "total": 0.95}, steps=300, batch=32
    ),
    # .74 .80 .73
    "VICReg, hues kept": Case(
        "VICReg", PROJECTOR, left={"invariance": 0.1}, steps=400, scene="hues kept"
    ),
    # .75 .81 .78
    "SimCLR": Case("SimCLR", PROJECTOR, left={"contrast": 0.9}),
    # .78 with seed 0
    "BYOL": Case("BYOL", PREDICTED, lr=2e-4, left={"prediction": 0.4}),
    # .88 .89 .91
    "BYOL, conditional": Case(
        "BYOL",
        {
            "hidden_width": 1024,
            "embedding_width": 128,
            "action_width": 32,
            "factors": ("rotation",),
            "momentum": SLOW,
        },
        lr=1e-3,
        left={"prediction": 0.4},
        margin=0.08,
        told=0.95,
        beside="VICReg, hues kept",
        steps=400,
        scene="hues kept",
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
        beside="VICReg, longer",
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
        beside="VICReg, longer",
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
    # .86 .89 .94
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
        left={"invariance": 0.95, "equivariance": 0.7, "prediction_variance": 0.95},
        margin=0.08,
        beside="VICReg, longer",
        told=0.3,
        steps=600,
        batch=32,
        rank=4.0,
    ),
    # .93 .89 .91
    "SeqJEPA": Case(
        "SeqJEPA",
        {**SEQUENCE, "predictor_width": 1024, "momentum": SLOW},
        lr=1e-3,
        left={"prediction": 0.5},
        margin=0.08,
        told=0.95,
        beside="VICReg, hues kept",
        steps=400,
        scene="hues kept",
    ),
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
        scene="path",
    ),
}


@dataclass(frozen=True)
class Learnt:
    """A trained method, the views it is judged on, and what is left of each of its terms."""

    method: Method
    scene: Scene
    left: dict[str, float]

    def r2(self, part: str, depth: Depth = "mlp") -> float:
        """R² of a part; see :func:`tests.methods.rendered.rotation_r2`."""
        return rotation_r2(self.method, part, depth, self.scene)


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
    history = fit(method, case.steps, case.batch, case.lr, seed, case.scene)
    start, end = (
        {name: sum(step[name] for step in some) / len(some) for name in some[0]}
        for some in (history[:20], history[-20:])
    )
    for terms in (start, end):
        terms["total"] = sum(weight * terms[name] for name, weight in method.weights.items())
    return Learnt(method, case.judged, {name: end[name] / start[name] for name in start})


@cache
def invariant_r2(key: str, depth: Depth) -> float:
    """R² of an invariant baseline."""
    return learnt(key).r2("all", depth)


@cache
def random_r2(scene: Scene, depth: Depth) -> float:
    """R² of random weights."""
    return rotation_r2(made(CASES["VICReg"]), "all", depth, scene)


def degrees(method: Method) -> float:
    """Median error of the rotation R that best solves ``P_x R = P_y``: no probe is trained."""
    x, y, relative = pairs(features(method)[..., slice(*method.parts["capsule_pose"])])
    x, y = (normalized(poses.unflatten(-1, (-1, 3, 3))) for poses in (x, y))
    u, _, v = torch.linalg.svd(torch.einsum("ovnij,ovnik->ovjk", x, y))
    u[..., -1] *= torch.det(u @ v)[..., None]  # a rotation, no reflection
    trace = ((u @ v) * SO3().matrix(relative)).sum(dim=(-2, -1))
    return ((trace - 1) / 2).clamp(-1, 1).acos().rad2deg().median().item()


def pairs(made: Tensor, scene: Scene = "random") -> tuple[Tensor, Tensor, Tensor]:
    """The first and the last half of the held-out views' ``made (O, V, D)``; their rotations."""
    x, y = made[:, TRAIN:].chunk(2, dim=1)
    start, end = rendered_views(scene).held_out().rotation.chunk(2, dim=1)
    return x, y, SO3().relative(start, end)


@torch.no_grad()
def told(method: Method, scene: Scene = "random") -> float:
    """The prediction's error over that when it is told another pair's action."""
    assert isinstance(method, Predictive)
    embedded = target = method.embed(features(method, scene).flatten(0, 1))
    if isinstance(method, (BYOL, SeqJEPA)):  # their predictions are compared with another network
        assert method.target is not None
        target = method.target(rendered_views(scene).images.flatten(0, 1))
    made = torch.cat([embedded, target], dim=1).unflatten(0, (-1, TRAIN + HELD_OUT))
    x, y, relative = (values.flatten(0, 1) for values in pairs(made, scene))
    x, y = x[:, : embedded.shape[1]], y[:, embedded.shape[1] :]
    other = relative[torch.randperm(len(relative), generator=torch.Generator().manual_seed(0))]
    moved, y = method.predict(x, torch.stack([relative, other], dim=1)), y[:, None]
    if method.directions:
        moved, y = normalize(moved, dim=-1), normalize(y, dim=-1)
    right, wrong = (moved - y).square().mean(dim=(0, 2)).tolist()
    return right / wrong


def test_every_method_has_a_case() -> None:
    assert {case.name for case in CASES.values()} == set(image_methods())


@pytest.mark.parametrize("key", CASES)
def test_it_learns(key: str) -> None:
    case, found = CASES[key], learnt(key)
    assert case.left, "say what must fall"
    for name, most in case.left.items():
        assert found.left[name] < most, name
    held_out = features(found.method, found.scene)[:, TRAIN:].flatten(0, 1)
    first, past = found.method.parts.get(case.part, (0, held_out.shape[1]))
    held_out = held_out[:, first:past]
    assert spread(held_out) > case.spread
    assert effective_rank(held_out) > case.rank
    margins: dict[Depth, float | None] = {"mlp": case.margin, "linear": case.linear}
    for depth, margin in margins.items():
        if margin is not None:
            baseline = CASES[case.beside]
            assert (baseline.scene, baseline.batch) == (case.scene, case.batch)
            reached = found.r2(case.part, depth)
            assert reached > invariant_r2(case.beside, depth) + margin
            assert reached > random_r2(case.scene, depth) + 0.04
    if case.told is not None:
        assert told(found.method, found.scene) < case.told


def test_poses_of_equicaps_turn_with_the_object() -> None:
    # 61, 61, 60 degrees to 7, 7, 5 with seeds 0, 1, 2
    untrained, trained = made(CASES["EquiCaps"]), learnt("EquiCaps").method
    assert degrees(trained) < 0.5 * degrees(untrained)
