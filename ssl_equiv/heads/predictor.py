"""Predictors conditioned on a group element."""

from __future__ import annotations

from typing import Literal

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

    def orbit(self, x: Tensor, actions: Tensor) -> Tensor:
        """Each of ``x (B, in_dim)`` moved by T actions ``(B, T, K)``; ``(B, T, out_dim)``.

        The products ``W_k x`` are made once for all actions of a sample.
        """
        rows = F.linear(x, self.weight.view(-1, self.in_dim))  # of every W_k[o]
        return actions.to(x.dtype) @ rows.view(x.shape[0], -1, self.action_dim).mT

    def matrices(self) -> Tensor:
        """The maps W_k, ``(K, out_dim, in_dim)``."""
        return self.weight.view(-1, self.action_dim, self.in_dim).transpose(0, 1)


class DeepActionMLP(nn.Module):
    """An MLP with one hidden layer whose weights and biases an MLP makes from the action.

    The "deep" hypernetwork of SIE's ablation (arXiv 2302.10283): Linear(K, K)-ReLU-Linear(K, K)-
    ReLU-Linear makes the parameters of E -> hidden -> E with ReLU in between. The last Linear is
    affine in its K inputs h, so the parameters factor as ``Σ_k h_k W_k + W_0`` and no sample's
    matrices are built: each layer is :class:`ActionLinear` on [x, 1] and [h, 1].

    Args:
        action_dim: K, entries of the action.
        dim: E, width of embedding and prediction.
        hidden: Width in between.
    """

    def __init__(self, action_dim: int, dim: int, hidden: int = 20) -> None:
        super().__init__()
        self.action_dim = action_dim
        self.action_net = nn.Sequential(
            nn.Linear(action_dim, action_dim),
            nn.ReLU(),
            nn.Linear(action_dim, action_dim),
            nn.ReLU(),
        )
        self.first = ActionLinear(action_dim + 1, dim + 1, hidden)
        self.second = ActionLinear(action_dim + 1, hidden + 1, dim)

    def forward(self, x: Tensor, action: Tensor) -> Tensor:
        """Transform ``x (B, E)`` by actions ``(B, K)``; returns ``(B, E)``."""
        code = _with_one(self.action_net(action.to(x.dtype)))
        out: Tensor = self.second(_with_one(F.relu(self.first(_with_one(x), code))), code)
        return out

    def orbit(self, x: Tensor, actions: Tensor) -> Tensor:
        """Each of ``x (B, E)`` moved by T actions ``(B, T, K)``; ``(B, T, E)``."""
        times = actions.shape[1]
        out: Tensor = self(x.repeat_interleave(times, dim=0), actions.flatten(0, 1))
        return out.view(x.shape[0], times, -1)


def _with_one(x: Tensor) -> Tensor:
    return F.pad(x, (0, 1), value=1.0)


def action_predictor(
    kind: Literal["linear", "deep"], action_dim: int, dim: int
) -> ActionLinear | DeepActionMLP:
    """SIE's predictor: its linear hypernetwork, or the deep one of its ablation."""
    return (ActionLinear if kind == "linear" else DeepActionMLP)(action_dim, dim)
