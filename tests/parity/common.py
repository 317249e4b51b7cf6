"""What the comparisons share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from timm.models import register_model
from torch import Tensor, nn

FLOOR = 1e-6

Arrays = Mapping[str, np.ndarray]


class Error(NamedTuple):
    """How far two arrays are apart.

    Args:
        counted: What is judged: ``relative``, or 0 where no difference is above the floor.
        relative: The largest difference over the largest magnitude.
        difference: The largest difference.
    """

    counted: float
    relative: float
    difference: float


Errors = dict[str, Error]


def relative_error(ours: Tensor, theirs: np.ndarray) -> Error:
    """Compare a tensor with a published array."""
    want = torch.from_numpy(np.asarray(theirs)).double()
    have = ours.detach().double().reshape(want.shape)
    difference = (have - want).abs().max().item()
    largest = want.abs().max().item()
    relative = difference / largest if largest else (float("inf") if difference else 0.0)
    return Error(0.0 if difference <= FLOOR else relative, relative, difference)


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
