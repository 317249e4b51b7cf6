"""Methods with predictors, on features made up so that the truth is known."""

from __future__ import annotations

from typing import Any

import torch

from eval.cache import FeatureSet
from eval.protocol import Task
from ssl_equiv.groups import SO3
from ssl_equiv.methods import EquiCaps, Method
from tests.eval.evaluators.tasks import task_of
from tests.eval.fakes import feature_set, rotations
from tests.methods.tiny import tiny


def equicaps_task(noise: float = 0.0, objects: int = 12, views: int = 7, **given: Any) -> Task:
    """Capsules whose poses are an object's own times the view's rotation, and then noise."""
    torch.manual_seed(0)
    method = tiny("EquiCaps").eval()
    assert isinstance(method, EquiCaps)
    train, val = (_poses(method, split, objects, views, noise) for split in ("train", "val"))
    return task_of(train, val, method=method, **given)


def _poses(method: EquiCaps, split: str, objects: int, views: int, noise: float) -> FeatureSet:
    generator = torch.Generator().manual_seed(len(split))
    quats = rotations(objects, views, seed=len(split))
    own = torch.randn(objects, 1, 4, 3, 3, generator=generator)
    poses = (own @ SO3().matrix(quats)[:, :, None]).flatten(2)
    poses = poses + noise * torch.randn(poses.shape, generator=generator)
    others = torch.randn(objects, views, method.dim - 36, generator=generator)
    features = torch.cat([others, poses], dim=-1)
    return feature_set(features, split, actions={"rotation": quats}, parts=method.parts)


def untrained_task(name: str, objects: int = 12, views: int = 7, **given: Any) -> Task:
    """An untrained method on random features."""
    torch.manual_seed(0)
    method = tiny(name).eval()
    train, val = (_noise(method, split, objects, views) for split in ("train", "val"))
    return task_of(train, val, method=method, **given)


def _noise(method: Method, split: str, objects: int, views: int) -> FeatureSet:
    generator = torch.Generator().manual_seed(len(split))
    features = torch.randn(objects, views, method.dim, generator=generator)
    quats = rotations(objects, views, seed=len(split))
    return feature_set(features, split, actions={"rotation": quats}, parts=method.parts)
