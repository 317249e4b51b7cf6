"""What the comparisons share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from timm.models import register_model
from torch import Tensor, nn

FLOOR = 1e-6

Arrays = Mapping[str, np.ndarray]
Errors = dict[str, float]


def relative_error(ours: Tensor, theirs: np.ndarray) -> float:
    """Largest difference over the largest magnitude; differences below the floor do not count."""
    want = torch.from_numpy(np.asarray(theirs)).double()
    have = ours.detach().double().reshape(want.shape)
    difference = (have - want).abs().max().item()
    return 0.0 if difference <= FLOOR else difference / max(want.abs().max().item(), FLOOR)


def tensor(arrays: Arrays, name: str) -> Tensor:
    return torch.from_numpy(arrays[name])


def under(arrays: Arrays, prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): tensor(arrays, k) for k in arrays if k.startswith(prefix)}


def start(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load what a projector starts from: stored running statistics are those after the step."""
    state = module.state_dict()
    for name, value in weights.items():
        if "running_" not in name and "num_batches" not in name:
            state[name].copy_(value)


def factored(arrays: Arrays, name: str) -> Tensor:
    """A hypernetwork's ``(E_out·E_in, K)`` weight in the layout of :class:`ActionLinear`."""
    flat = tensor(arrays, name)
    edge = round(flat.shape[0] ** 0.5)
    return flat.view(edge, edge, -1).transpose(1, 2).reshape(edge, -1)


@register_model
def parity_features(dim: int, **_: Any) -> nn.Module:
    """A timm "backbone" that hands features through: the files hold backbone features."""
    model = nn.Identity()
    model.num_features = dim  # type: ignore[assignment]
    return model
