"""Capsules learn the rotations of eight rendered objects in two hundred steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.groups import SO3
from ssl_equiv.losses.capsules import normalized
from ssl_equiv.methods import CapsIE, EquiCaps
from tests.methods.rendered import SIZE, TRAIN, features, fit, rendered_views, rotation_r2

pytestmark = [pytest.mark.slow, pytest.mark.render]
BACKBONE = BackboneConfig("test_resnet", options={"output_stride": 16})
STEPS = {"steps": 200, "batch": 24, "lr": 5e-3, "seed": 0}


def mean(history: list[dict[str, float]], name: str, steps: slice) -> float:
    return sum(entry[name] for entry in history[steps]) / len(history[steps])


def held_out_poses(method: EquiCaps) -> tuple[Tensor, Tensor, Tensor]:
    """Poses of the first and last halves of the held-out views, relative rotations."""
    first, past = method.parts["capsule_pose"]
    poses = features(method)[:, TRAIN:, first:past].unflatten(-1, (-1, 3, 3))
    rotation = rendered_views().held_out().rotation
    start, end = rotation.chunk(2, dim=1)
    x, y = normalized(poses).chunk(2, dim=1)
    return x, y, SO3().matrix(SO3().relative(start, end))


def degrees(method: EquiCaps) -> float:
    """Median error of the rotation R that best solves ``P_x R = P_y``: no probe is trained."""
    x, y, action = held_out_poses(method)
    u, _, v = torch.linalg.svd(torch.einsum("ovnij,ovnik->ovjk", x, y))
    u[..., -1] *= torch.det(u @ v)[..., None]  # a rotation, no reflection
    trace = ((u @ v) * action).sum(dim=(-2, -1))
    return ((trace - 1) / 2).clamp(-1, 1).acos().rad2deg().median().item()


def effective_rank(x: Tensor) -> float:
    """Exponential of the entropy of the squared singular values of centred rows."""
    square = torch.linalg.svdvals(x - x.mean(dim=0)).square()
    return torch.distributions.Categorical(square).entropy().exp().item()


def test_equicaps_learns() -> None:
    torch.manual_seed(0)
    method = EquiCaps(BACKBONE, image_size=SIZE, num_capsules=8)
    untrained, untrained_degrees = rotation_r2(method, "capsule_pose"), degrees(method)
    history = fit(method, **STEPS)  # type: ignore[arg-type]
    start, end = slice(0, 20), slice(-20, None)
    assert mean(history, "equivariance", end) < 0.7 * mean(history, "equivariance", start)
    assert mean(history, "invariance", end) < mean(history, "invariance", start) - 0.01
    # seeds 0, 1, 2: R2 .39, .36, .39 to .49, .48, .51; 107, 105, 108 to 72, 84, 73 degrees
    assert rotation_r2(method, "capsule_pose") > untrained + 0.04
    assert degrees(method) < untrained_degrees - 12
    # a collapsed representation has no deviation, or lies in few directions
    poses = held_out_poses(method)[0].flatten(0, 1).flatten(1)
    assert poses.std(dim=0).mean() > 0.1
    assert effective_rank(poses) > 6


def test_capsie_learns() -> None:
    torch.manual_seed(0)
    # 80 columns of a batch of 24: decorrelated more strongly than on 256 objects
    method = CapsIE(BACKBONE, image_size=SIZE, num_capsules=8, pose_dim=9, covariance_weight=10.0)
    history = fit(method, **STEPS)  # type: ignore[arg-type]
    assert mean(history, "invariance", slice(-20, None)) < 2.0  # log 8 = 2.08 at the start
    first, past = method.parts["capsule_pose"]
    poses = features(method)[:, TRAIN:, first:past]
    x, y = poses.chunk(2, dim=1)
    start, end = rendered_views().held_out().rotation.chunk(2, dim=1)
    action = SO3().relative(start, end)

    def error(given: Tensor) -> float:
        with torch.no_grad():
            predicted = method.predictor(x.flatten(0, 1), given.flatten(0, 1))
        return (predicted - y.flatten(0, 1)).square().mean().item()

    # another pair's action predicts worse. So few steps do not raise R2 above an untrained head's
    assert error(action) < 0.93 * error(action.roll(1, dims=1))
    assert poses.flatten(0, 1).std(dim=0).mean() > 0.1
    assert effective_rank(poses.flatten(0, 1)) > 4
