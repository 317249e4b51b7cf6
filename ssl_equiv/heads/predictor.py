"""Predictors conditioned on a group element."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ActionLinear(nn.Module):
    """A linear map that is linear in the action: ``y = W(z) x`` with ``W(z) = Σ_k z_k W_k``.

    This is the linear hypernetwork of SIE (Garrido et al. 2023, arXiv 2302.10283, Sec. 3.2). W(z)
    is never built: that would take B·E² numbers. ``Σ_k W_k (z_k x)`` is one matrix product with
    the B x (K·E) outer products of action and embedding.

    Args:
        action_dim: K, entries of the action.
        in_dim: Width of the embedding.
        out_dim: Width of the prediction; None for ``in_dim``.
    """

    def __init__(self, action_dim: int, in_dim: int, out_dim: int | None = None) -> None:
        super().__init__()
        self.action_dim, self.in_dim = action_dim, in_dim
        # row o holds W_0[o], W_1[o], ... so that the outer products need no transposition
        self.weight = nn.Parameter(torch.empty(out_dim or in_dim, action_dim * in_dim))
        # unit actions keep the scale of the embedding; the default of the hypernetwork's layer,
        # uniform within action_dim ** -0.5, would make predictions sqrt(in_dim / 12) times larger
        nn.init.uniform_(self.weight, -((3 / in_dim) ** 0.5), (3 / in_dim) ** 0.5)

    def forward(self, x: Tensor, action: Tensor) -> Tensor:
        """Transform ``x (B, in_dim)`` by actions ``(B, K)``; returns ``(B, out_dim)``."""
        return F.linear((action.to(x.dtype)[:, :, None] * x[:, None, :]).flatten(1), self.weight)

    def matrices(self) -> Tensor:
        """The maps W_k, ``(K, out_dim, in_dim)``."""
        return self.weight.view(-1, self.action_dim, self.in_dim).transpose(0, 1)
