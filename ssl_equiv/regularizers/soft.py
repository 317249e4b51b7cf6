"""Equivariance to several groups at once, each as far as it holds."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ssl_equiv.data.views import ViewBatch
from ssl_equiv.distributed import global_batch
from ssl_equiv.errors import UserError
from ssl_equiv.groups import Group, make_group
from ssl_equiv.heads import ActionLinear
from ssl_equiv.regularizers.base import Regularizer
from ssl_equiv.transforms import Blur, Crop, Jitter, Switch

_SEMIGROUPS: dict[str, Group] = {
    group.name: group for group in (Blur(), Crop(), Jitter(), Switch())
}
_LEAST_NOISE = 0.01  # of sigma²: bounds the pull, and the gain from an exact action
_LEAST_CHANGE = 1e-3  # of a column's variance: what moves less does not count as moved
_LEAST_RIDGE = 1e-3  # of an input's variance
_SOLVE_EVERY = 5  # steps
_GAIN = 10.0  # the strengths' steps over those of other parameters, as of a learning rate


class SoftEquivariance(Regularizer):
    """Features follow each of several groups with a strength that is learnt beside them.

    Mixed approximate symmetries: which groups the features follow, and how exactly, is found in
    training (one regularizer a symmetry type with automatically tuned strengths: Kim et al., ICML
    2023, arXiv 2306.00356; soft constraints as priors: Finzi et al. 2021, arXiv 2112.01388). The
    strengths are those of a likelihood with a learnt noise a task (Kendall et al. 2018, arXiv
    1705.07115).

    Let x and y be two views' features, each column standardised over the global batch, and c_k
    what factor k's relative element does, its matrix without the identity, standardised likewise.
    A predictor that is linear in each action moves x by all factors jointly::

        y ≈ W_0 P x + Σ_k Δ_k,    Δ_k = W_k(c_k) P x        (W_k: ``heads.ActionLinear``)

    P is a fixed random projection. As c_k has mean zero, leaving out Δ_k averages over factor k.
    With e the joint residual and ``t_k = e + Δ_k`` the residual without factor k, column j is
    explained by factor k up to ``r_kj = E e_j² / E t_kj²``, and factor k is judged where it acts,
    ``w_kj ∝ E Δ_kj²``::

        r_k  = Σ_j w_kj r_kj                                (1: a predictor without k is as good)
        loss = Σ_k ½ (r_k / σ_k² + log σ_k²),   σ_k² ≤ 1,   strength_k = 1 − σ_k²

    For a given r_k the loss is least at σ_k² = r_k: the strength is a partial R², 0 for a group
    that the features do not follow (invariance to it counts as that, for then nothing is moved)
    and 1 for an exact action; 1/σ_k² is how hard the features are pulled towards it. Nothing is
    won by switching off: σ_k² = 1 is the largest loss that a factor can settle at. Nothing is won
    by shrinking or by constant features either: r_k does not depend on scale, and without motion
    it is 1. Nor by a predictor that plays along: W is no parameter but the ridge regression of the
    past steps' features, with forgetting, and is judged on pairs that it has not seen.

    Two factors that move the same columns are added, not composed: an action that exists only as
    their product shows up as a lower strength of both.

    Args:
        factors: Factors of variation and the names of their groups, such as
            ``{rotation: SO3, floor_hue: Hue}``; None for the rotation alone.
        weight: Coefficient of the loss above.
        part: Part of the representation that is asked to follow.
        rank: Rows of P; the part's width if that is less.
        memory: Steps that the regression remembers, about.
    """

    name = "soft"
    projection: Tensor
    steps: Tensor
    seen: Tensor
    gram: Tensor
    cross: Tensor

    def __init__(
        self,
        factors: dict[str, str] | None = None,
        weight: float = 1.0,
        part: str = "all",
        rank: int = 64,
        memory: int = 100,
    ) -> None:
        super().__init__()
        factors = {"rotation": "SO3"} if factors is None else factors
        if not factors or rank < 1 or memory < 1:
            raise UserError(
                "regularizers: SoftEquivariance needs factors, such as {rotation: SO3}, and rank "
                "and memory of 1 or more"
            )
        self.factors, self.part, self.rank, self.memory = tuple(factors), part, rank, memory
        self.groups = {name: _group(name, group) for name, group in factors.items()}
        self.entries = {name: independent_entries(g) for name, g in self.groups.items()}
        self.codes = nn.ModuleDict(
            {name: nn.BatchNorm1d(len(e), affine=False) for name, e in self.entries.items()}
        )
        start = torch.logit(torch.tensor(0.9)) / _GAIN  # nearly nothing is taken for granted
        self.noise = nn.Parameter(start.repeat(len(factors)))
        self.weights = dict.fromkeys(self.factors, weight)

    def build(self, backbone: nn.Module, parts: Mapping[str, tuple[int, int]]) -> None:
        """Make the predictors; they start at zero: nothing is followed yet."""
        if self.part not in parts:
            raise UserError(
                f"regularizers: SoftEquivariance.part is {self.part!r}, but the representation "
                f"has {', '.join(parts)}"
            )
        first, past_last = parts[self.part]
        dim = past_last - first
        rank = min(self.rank, dim)
        self.columns = slice(first, past_last)
        self.normalize = nn.BatchNorm1d(dim, affine=False)
        drawn = torch.randn(dim, rank, generator=torch.Generator().manual_seed(0))
        self.register_buffer("projection", torch.linalg.qr(drawn).Q)
        widths = [1, *(len(entries) for entries in self.entries.values())]
        self.moves = nn.ModuleList(ActionLinear(width, rank, dim) for width in widths)
        for weight in self.moves.parameters():
            nn.init.zeros_(weight.requires_grad_(False))
        size = rank * sum(widths)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self._count: int | None = None  # calls; read once from ``steps``, which may be on a GPU
        self.register_buffer("gram", torch.zeros(size, size))
        self.register_buffer("cross", torch.zeros(size, dim))

    def terms(
        self, backbone: nn.Module, features: Tensor, batch: ViewBatch, seed: int
    ) -> dict[str, Tensor]:
        """A term for each factor; see :class:`Regularizer`.

        Raises:
            UserError: a single view, or data without a factor or with another group of it.
        """
        if features.shape[1] < 2:
            raise UserError(
                "regularizers: SoftEquivariance compares two encoded views, and this method "
                "encodes one of each object: leave it out"
            )
        elements = {name: self._relative(name, batch) for name in self.factors}
        return self.terms_of_pair(features[:, 0], features[:, 1], elements)

    def terms_of_pair(
        self, x: Tensor, y: Tensor, elements: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The terms for features ``(B, D)`` and each factor's relative elements ``(B, dim)``."""
        with torch.autocast(x.device.type, enabled=False):
            before = int(self.steps) if self._count is None else self._count
            self._count = before + 1
            if self._count % _SOLVE_EVERY == 0:
                self._solve()
            x, y = (self.normalize(view[:, self.columns].to(self.projection)) for view in (x, y))
            x = x @ self.projection
            actions = [torch.ones_like(x[:, :1])]
            for name in self.factors:
                entries = code(self.groups[name], elements[name].to(x))[:, self.entries[name]]
                actions.append(self.codes[name](entries))
            still, *moves = (
                predictor(x, action) for predictor, action in zip(self.moves, actions, strict=True)
            )
            error = y - still - sum(moves)
            left = _mean(error.square()) + _LEAST_CHANGE
            terms = {}
            for name, move, noise in zip(self.factors, moves, self._noise(), strict=True):
                share = _mean(move.detach().square()) + 1e-12
                ratio = left / (_mean((error + move).square()) + _LEAST_CHANGE)
                unexplained = (share / share.sum() * ratio).sum()
                terms[name] = (unexplained / noise + noise.log()) / 2
            if self.training:
                self._remember(x.detach(), y.detach(), actions)
            return terms

    def found(self) -> dict[str, Tensor]:
        """``strength/<factor>``, in [0, 1)."""
        strengths = 1 - self._noise().detach()
        return {f"strength/{name}": s for name, s in zip(self.factors, strengths, strict=True)}

    def _noise(self) -> Tensor:
        """sigma_k² of every factor, ``(K,)``."""
        return _LEAST_NOISE + (1 - _LEAST_NOISE) * torch.sigmoid(_GAIN * self.noise)

    @torch.no_grad()
    def _remember(self, x: Tensor, y: Tensor, actions: list[Tensor]) -> None:
        """Take pairs into the moments that the regression is solved from."""
        inputs = torch.cat([(a[:, :, None] * x[:, None, :]).flatten(1) for a in actions], dim=1)
        moments = (inputs.T @ torch.cat([inputs, y], dim=1) / len(inputs)).unsqueeze(0)
        gram, cross = global_batch(moments).mean(dim=0).tensor_split([len(self.gram)], dim=1)
        self.seen += len(global_batch(inputs[:, :1]))
        self.steps += 1
        rate = 1 / self.steps.clamp_max(self.memory).to(self.gram)
        self.gram.lerp_(gram, rate)
        self.cross.lerp_(cross, rate)

    @torch.no_grad()
    def _solve(self) -> None:
        """Make the predictors the ridge regression of what is remembered."""
        num = self.seen / self.steps * self.steps.clamp_max(self.memory)
        ridge = (len(self.gram) / num).clamp_min(_LEAST_RIDGE).to(self.gram)
        found = torch.linalg.solve(
            self.gram + ridge * torch.eye(len(self.gram)).to(ridge), self.cross
        )
        weights = list(self.moves.parameters())
        for weight, part in zip(weights, found.split([w.shape[1] for w in weights]), strict=True):
            weight.copy_(part.T)

    def _relative(self, name: str, batch: ViewBatch) -> Tensor:
        element = batch.relative(name, 0, 1)
        if batch.groups[name] != self.groups[name]:
            raise UserError(
                f"regularizers: SoftEquivariance.factors says {name}: {self.groups[name]}, but in "
                f"the data it is of {batch.groups[name]}: write that"
            )
        return element


def code(group: Group, element: Tensor) -> Tensor:
    """What an action does, ``(B, n)``: the entries of its matrix without the identity.

    Matrices have no seams, as angles and quaternions have, and a group acts linearly through them.
    The entries of a semigroup's difference are taken as they are.
    """
    if not group.invertible:
        return element
    matrix = group.matrix(element)
    return (matrix - torch.eye(matrix.shape[-1]).to(matrix)).flatten(1)


def independent_entries(group: Group) -> list[int]:
    """Entries of :func:`code` that no linear combination of earlier ones gives."""
    if not group.invertible:
        return list(range(group.dim))
    drawn = group.sample((64,), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    codes, kept = code(group, drawn), list[int]()
    for entry in range(codes.shape[1]):
        if torch.linalg.matrix_rank(codes[:, [*kept, entry]], rtol=1e-6) > len(kept):
            kept.append(entry)
    return kept


def _group(factor: str, name: str) -> Group:
    try:
        return _SEMIGROUPS[name] if name in _SEMIGROUPS else make_group(name)
    except ValueError as error:
        raise UserError(f"regularizers: SoftEquivariance.factors.{factor}: {error}") from error


def _mean(x: Tensor) -> Tensor:
    """Mean over the global batch, ``(B, D)`` to ``(D,)``; every process has as many rows."""
    return global_batch(x.mean(dim=0, keepdim=True)).mean(dim=0)
