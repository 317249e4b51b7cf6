"""The best linear map between two views' features, fitted for all actions of a family at once.

``f(g x) ≈ f(x) + Σ_k ρ_k(g) W_k [p(x), 1]`` with ρ(g) = 1 and the entries of the matrices of the
action's factors, p(x) the leading principal components of f(x), whitened, and W_k fitted by ridge
regression: what a linear predictor such as SIE's could reach on these features, for any model. The
copy of f(x) costs nothing, so strong ridges end there. Features that turn with the object (linear
functions of a rotation's matrix) are met exactly; those of higher frequency are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from eval.cache import FeatureSet
from ssl_equiv.groups import Group

_RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of samples; components and ρ are of order 1
_HELD_OUT = 0.2


def action_code(views: FeatureSet, factors: Sequence[str], chosen: Tensor) -> Tensor:
    """ρ: 1 and the entries of the matrices of the relative elements between two views.

    Args:
        views: Features with their actions.
        factors: Factors of variation; none for ρ = 1.
        chosen: Objects, first and second views, ``(3, n)`` int64.

    Returns:
        ``(n, K)`` float32. Constant entries are there too: ridge does not mind.
    """
    objects, first, second = chosen
    codes = [torch.ones(len(objects), 1)]
    for factor in factors:
        group: Group = views.group(factor)
        elements = views.actions[factor].float()
        relative = group.relative(elements[objects, first], elements[objects, second])
        codes.append(group.matrix(relative).flatten(-2))
    return torch.cat(codes, dim=1)


@dataclass(frozen=True)
class LinearAction:
    """A fitted map; see the module.

    Args:
        mean: Mean of the features, ``(D,)``.
        components: Principal components over their deviations, ``(D, r)``.
        weight: ``(K (r + 1), D)``.
        ridge: The ridge that held-out objects chose.
    """

    mean: Tensor
    components: Tensor
    weight: Tensor
    ridge: float

    def __call__(self, start: Tensor, code: Tensor) -> Tensor:
        """Move features ``(n, D)`` by actions of code ``(n, K)``."""
        return start + _design((start - self.mean) @ self.components, code) @ self.weight


def fit_linear_action(
    start: Tensor,
    target: Tensor,
    codes: Sequence[Tensor],
    objects: Tensor,
    components: int = 48,
    seed: int = 0,
) -> list[LinearAction]:
    """Fit a map for each of several codes of the same pairs of views.

    Each ridge is fitted to four fifths of the objects and the one that moves the others' views
    best is kept.

    Args:
        start: Features of first views, ``(n, D)``.
        target: Features of second views, ``(n, D)``.
        codes: What each map is told, ``(n, K)`` each.
        objects: Object of each pair, ``(n,)`` int64, of two objects or more.
        components: r, capped at D and n.
        seed: Seed of the held-out objects and the search for the components.
    """
    mean = start.mean(dim=0)
    basis = _whitened_components(start - mean, components, seed)
    reduced, change = (start - mean) @ basis, target - start
    held = _held_out(objects, seed)
    found = []
    for code in codes:
        weight, ridge = _ridge(_design(reduced, code), change, held)
        found.append(LinearAction(mean, basis, weight, ridge))
    return found


def _design(reduced: Tensor, code: Tensor) -> Tensor:
    """Products of all entries of code and [reduced, 1], ``(n, K (r + 1))``."""
    return (code[:, :, None] * pad(reduced, (0, 1), value=1.0)[:, None, :]).flatten(1)


def _whitened_components(centred: Tensor, components: int, seed: int) -> Tensor:
    rank = min(components, *centred.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _, values, vectors = torch.svd_lowrank(centred, q=rank, niter=3)
    deviation = values / len(centred) ** 0.5
    kept = deviation > 1e-6 * deviation.max()
    return torch.where(kept, vectors / torch.where(kept, deviation, 1.0), 0.0)


def _held_out(objects: Tensor, seed: int) -> Tensor:
    """Pairs of a fifth of the objects, ``(n,)`` bool; at least one object, never all of several."""
    names, of_pair = torch.unique(objects, return_inverse=True)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    return order[of_pair] < max(1, round(_HELD_OUT * len(names)))


def _ridge(design: Tensor, change: Tensor, held: Tensor) -> tuple[Tensor, float]:
    """The weights and ridge that tell the held-out changes best."""
    x, y = design[~held], change[~held]
    # eigenvectors of the one Gram matrix give the solution for every ridge
    values, vectors = torch.linalg.eigh((x.T @ x).double() / len(x))
    rotated = vectors.T @ (x.T @ y).double() / len(x)
    probe = design[held] @ vectors.float()
    best, best_error = (rotated, 0.0), torch.inf
    for ridge in _RIDGES:
        weight = rotated / (values.clamp_min(0) + ridge)[:, None]
        error = (probe @ weight.float() - change[held]).square().mean().item()
        if error < best_error:
            best, best_error = (weight, ridge), error
    return (vectors @ best[0]).float(), best[1]
