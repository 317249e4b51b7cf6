"""Feature sets made up for tests."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from eval.cache import FeatureSet
from ssl_equiv.groups import SO3, Group, Translation

HALF_PI = torch.pi / 2


def rotations(objects: int, views: int, seed: int = 0) -> Tensor:
    """Canonical quaternions of uniform Euler angles within ±90 degrees, ``(N, V, 4)``."""
    generator = torch.Generator().manual_seed(seed)
    return SO3().sample((objects, views), generator=generator, low=-HALF_PI, high=HALF_PI)


def feature_set(
    features: Tensor,
    split: str = "train",
    *,
    labels: Tensor | None = None,
    actions: Mapping[str, Tensor] | None = None,
    parts: Mapping[str, tuple[int, int]] | None = None,
    classes: int = 4,
    groups: Mapping[str, Group] | None = None,
) -> FeatureSet:
    """Features ``(N, V, D)`` with rotations and labels drawn where none are given."""
    objects, views, width = features.shape
    groups = {"rotation": SO3(), "translation": Translation(3), **(groups or {})}
    if actions is None:
        actions = {"rotation": rotations(objects, views)}
    return FeatureSet(
        features=features,
        parts={"all": (0, width), **(parts or {})},
        actions=actions,
        groups={name: groups[name] for name in actions},
        labels=torch.arange(objects) % classes if labels is None else labels,
        index=torch.arange(objects),
        split=split,
        class_names=tuple(f"class{i}" for i in range(classes)),
        key={"made": "up"},
    )


def equivariant(
    objects: int, width: int, split: str, *, views: int = 8, noise: float = 0.0
) -> FeatureSet:
    """A fixed random linear map of each view's rotation matrix."""
    quats = rotations(objects, views, seed=1 if split == "train" else 2)
    generator = torch.Generator().manual_seed(3)
    mix = torch.randn(9, width, generator=generator) / 3
    features = SO3().matrix(quats).flatten(-2) @ mix
    features = features + noise * torch.randn(features.shape, generator=generator)
    return feature_set(features, split, actions={"rotation": quats})


def clusters(objects: int, width: int, split: str, *, views: int = 4, spread: float) -> FeatureSet:
    """Views scattered around one centre a class."""
    centres = torch.randn(4, width, generator=torch.Generator().manual_seed(5))
    labels = torch.arange(objects) % 4
    generator = torch.Generator().manual_seed(6 if split == "train" else 7)
    noise = spread * torch.randn(objects, views, width, generator=generator)
    return feature_set(centres[labels][:, None] + noise, split, labels=labels)
