"""The action that a predictor is conditioned on: relative group elements, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_equiv.data.views import ViewBatch
from ssl_equiv.errors import UserError


def relative_action(
    batch: ViewBatch, factors: Sequence[str], action_dim: int, start: int = 0, end: int = 1
) -> Tensor:
    """Elements from view ``start`` to view ``end`` of every factor, ``(B, action_dim)``.

    Raises:
        UserError: there are no factors, the data lack one, or the elements' widths do not add up to
            ``action_dim``.
    """
    if not factors:
        raise UserError("model.factors is []: name one factor of the data at least")
    action = torch.cat([batch.relative(factor, start, end) for factor in factors], dim=-1)
    if action.shape[-1] != action_dim:
        raise UserError(
            f"model.action_dim is {action_dim}, but the factors {', '.join(factors)} have "
            f"{action.shape[-1]} entries: set it to that"
        )
    return action
