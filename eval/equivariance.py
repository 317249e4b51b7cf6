"""How equivariant a map is: pure functions, and torchmetrics classes that add up over processes.

A map f is equivariant when some action of the group on its outputs meets ``f(g x) = P(g) f(x)``.
Shapes: N samples, E entries of an embedding. Sums are in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

# below 1e-6 of its size a spread is rounding, see eval.metrics
_NOTHING = 1e-12

Action = Callable[[Tensor, Tensor], Tensor]
"""``(g, x) -> g x`` for elements ``(B, dim)`` and what they act on, ``(B, ...)``."""


def prediction_errors(moved: Tensor, target: Tensor, start: Tensor) -> dict[str, Tensor]:
    """Squared error of moved embeddings beside that of two predictors that know no action.

    Args:
        moved: ``P(g) f(x)``, ``(N, E)``.
        target: ``f(g x)``, ``(N, E)``.
        start: ``f(x)``, ``(N, E)``.

    Returns:
        Scalars float64 >= 0: ``vs_identity``, ``Σ|moved - target|² / Σ|start - target|²``, 1 for
        a copy of the start; ``vs_constant``, over ``Σ|target - mean|²``, 1 for the best constant:
        1 - R². Where the denominator is nothing, 0 if the target is met, else 1.
    """
    metric = PredictionErrors(moved.shape[-1], sync_on_compute=False).to(moved.device)
    metric.update(moved, target, start)
    return metric.compute()


def discrepancy(one: Tensor, other: Tensor, embedding: Tensor) -> Tensor:
    """Distance of two predictions in units of the embedding's standard deviation.

    ``sqrt(Σ|one - other|² / Σ|embedding - mean|²)``: 0 where they agree, √2 for two embeddings
    that have nothing to do with each other.

    Args:
        one: ``(N, E)``.
        other: ``(N, E)``.
        embedding: Embeddings as they are, ``(N, E)``.

    Returns:
        Scalar float64 >= 0.
    """
    metric = Discrepancy(one.shape[-1], sync_on_compute=False).to(one.device)
    metric.update(one, other, embedding)
    value: Tensor = metric.compute()
    return value


def equivariance_error(
    module: nn.Module | Callable[[Tensor], Tensor],
    x: Tensor,
    g: Tensor,
    act_in: Action,
    act_out: Action,
) -> Tensor:
    """How far a module is from a known action on its output, ``|f(g x) - g f(x)| / |f(g x)|``.

    The check that escnn's modules carry (Cesa et al. 2022, "A program to build E(N)-equivariant
    steerable CNNs"), as one relative figure.

    Args:
        module: f, in evaluation mode: statistics of a batch would tell g apart.
        x: Inputs, ``(B, ...)``.
        g: One element each, ``(B, dim)``.
        act_in: How elements act on inputs, such as ``group.act`` for points.
        act_out: How they shall act on outputs; ``lambda g, y: y`` for invariance.

    Returns:
        Root of the sums over the batch, scalar float64 >= 0; about 1e-6 for an equivariant module
        in float32. Zero outputs give 0.
    """
    metric = EquivarianceError(sync_on_compute=False).to(x.device)
    metric.update(module, x, g, act_in, act_out)
    value: Tensor = metric.compute()
    return value


class _Sums(Metric):
    """Named float64 sums; :meth:`compute` combines them."""

    full_state_update = False
    is_differentiable = False
    higher_is_better = False

    def sums(self, **shapes: tuple[int, ...]) -> None:
        """Add states of zeros."""
        for name, shape in shapes.items():
            zeros = torch.zeros(shape, dtype=torch.float64)
            self.add_state(name, default=zeros, dist_reduce_fx="sum")

    def add(self, **amounts: Tensor | int) -> None:
        """Add to the states."""
        for name, amount in amounts.items():
            setattr(self, name, getattr(self, name) + amount)


class _Spread(_Sums):
    """Sums that tell the spread of embeddings around their mean, whatever the batches."""

    squares: Tensor
    total: Tensor
    count: Tensor

    def __init__(self, dims: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sums(squares=(), total=(dims,), count=())

    def add_embedding(self, embedding: Tensor) -> None:
        """Add embeddings ``(N, E)``."""
        found = embedding.double()
        self.add(squares=found.square().sum(), total=found.sum(dim=0), count=len(found))

    def spread(self) -> Tensor:
        """Sum of squared distances to the mean; 0 where that is rounding."""
        spread = self.squares - self.total.square().sum() / self.count
        return torch.where(spread > _NOTHING * self.squares, spread, 0.0)


class PredictionErrors(_Spread):
    """Streaming :func:`prediction_errors`.

    Args:
        dims: Entries of an embedding, E.
    """

    residual: Tensor
    copied: Tensor

    def __init__(self, dims: int, **kwargs: Any) -> None:
        super().__init__(dims, **kwargs)
        self.sums(residual=(), copied=())

    def update(self, moved: Tensor, target: Tensor, start: Tensor) -> None:
        """Add predictions, targets and starts, ``(N, E)`` each."""
        self.add_embedding(target)
        self.add(residual=_square(moved, target), copied=_square(start, target))

    def compute(self) -> dict[str, Tensor]:
        """``vs_identity`` and ``vs_constant``."""
        return {
            "vs_identity": _ratio(self.residual, self.copied, self.squares),
            "vs_constant": _ratio(self.residual, self.spread(), self.squares),
        }


class Discrepancy(_Spread):
    """Streaming :func:`discrepancy`.

    Args:
        dims: Entries of an embedding, E.
    """

    apart: Tensor

    def __init__(self, dims: int, **kwargs: Any) -> None:
        super().__init__(dims, **kwargs)
        self.sums(apart=())

    def update(self, one: Tensor, other: Tensor, embedding: Tensor) -> None:
        """Add two predictions and the embeddings, ``(N, E)`` each."""
        self.add_embedding(embedding)
        self.add(apart=_square(one, other))

    def compute(self) -> Tensor:
        """Scalar."""
        return _ratio(self.apart, self.spread(), self.squares).sqrt()


class EquivarianceError(_Sums):
    """Streaming :func:`equivariance_error`."""

    apart: Tensor
    squares: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sums(apart=(), squares=())

    @torch.no_grad()
    def update(
        self,
        module: nn.Module | Callable[[Tensor], Tensor],
        x: Tensor,
        g: Tensor,
        act_in: Action,
        act_out: Action,
    ) -> None:
        """Add a batch; arguments as :func:`equivariance_error`."""
        found, wanted = module(act_in(g, x)), act_out(g, module(x))
        self.add(apart=_square(found, wanted), squares=found.double().square().sum())

    def compute(self) -> Tensor:
        """Scalar."""
        return _ratio(self.apart, self.squares, self.squares).sqrt()


def _square(one: Tensor, other: Tensor) -> Tensor:
    return (one.double() - other.double()).square().sum()


def _ratio(error: Tensor, reference: Tensor, size: Tensor) -> Tensor:
    told = reference > _NOTHING * size
    missed = (error > _NOTHING * size).double()
    return torch.where(told, error / torch.where(told, reference, 1.0), missed)
