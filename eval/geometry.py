"""How features lie in space: ranks, spectrum, alignment, uniformity.

Pure functions of features, and torchmetrics classes that add up over processes and batches; what
training watches too stands in :mod:`ssl_equiv.collapse`. Sums are float64. A rank is at most the
number of views: compare ranks of equal numbers of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from ssl_equiv.collapse import entropy_rank, scaled_deviation
from ssl_equiv.errors import UserError

RANKME_EPS = 1e-7
# a column whose deviation is below 1e-6 of its size is constant: what is left is rounding
_DEAD = 1e-12
_ROWS = 1024  # of a table of pairwise distances


def rankme(features: Tensor) -> Tensor:
    """RankMe (arXiv 2210.02885, Eq. 1-2): of the features as they are, not centred.

    Args:
        features: ``(N, D)``.

    Returns:
        Scalar float64 between 1 and min(N, D); 1 for features that are all one.
    """
    return entropy_rank(torch.linalg.svdvals(features.double()), RANKME_EPS)


def participation_ratio(features: Tensor) -> Tensor:
    """``(Σ λ)² / Σ λ²`` of the covariance's eigenvalues λ: how many directions share the variance.

    Args:
        features: ``(N, D)``, N at least 2.

    Returns:
        Scalar float64 between 1 and min(N - 1, D); 1 for features that are all one.
    """
    return _participation(torch.linalg.svdvals(features.double() - features.double().mean(dim=0)))


def dead_columns(features: Tensor) -> Tensor:
    """Share of the columns of ``(N, D)`` that are constant, float64 in [0, 1]."""
    features = features.double()
    return _dead(features.var(dim=0, correction=0), features.square().mean(dim=0))


def alignment(features: Tensor) -> Tensor:
    """Mean squared distance of two views of one object (Wang and Isola, arXiv 2005.10242, α = 2).

    Args:
        features: ``(N, V, D)`` with V at least 2; they are normalised first.

    Returns:
        Scalar float64 in [0, 4] over all pairs of distinct views; 0 for invariant features.

    Raises:
        UserError: objects have one view.
    """
    return _distances_within(normalize(features, dim=-1)).mean()


def strangers(features: Tensor) -> Tensor:
    """What :func:`alignment` would be were each object's views drawn from all views.

    Args:
        features: ``(N, V, D)``.

    Returns:
        Scalar float64 in [0, 2]: the mean squared distance of two views drawn independently.
    """
    unit = normalize(features, dim=-1).flatten(0, 1).double()
    return 2 * (unit.square().sum(dim=-1).mean() - unit.mean(dim=0).square().sum())


def uniformity(features: Tensor, t: float = 2.0) -> Tensor:
    """``log mean exp(-t ‖x - y‖²)`` over pairs of normalised features (arXiv 2005.10242).

    Args:
        features: ``(N, D)`` with N at least 2; all pairs are met, so N² D operations.
        t: Sharpness.

    Returns:
        Scalar float64 in [-4t, 0]; 0 for features that are all one. The least that many features
        can reach is near -2t where D is large.

    Raises:
        UserError: there is one feature.
    """
    unit = normalize(features, dim=-1)
    if len(unit) < 2:
        raise UserError("uniformity of one view: give two or more")
    half_squares = unit.square().sum(dim=-1) / 2
    total = torch.zeros((), dtype=torch.float64, device=unit.device)
    for some, own in zip(torch.split(unit, _ROWS), torch.split(half_squares, _ROWS), strict=True):
        products = torch.addmm(-half_squares.expand(len(some), -1), some, unit.T) - own[:, None]
        total += products.mul_(2 * t).exp_().sum(dtype=torch.float64)
    # each feature beside itself has distance 0
    return ((total - len(unit)) / (len(unit) * (len(unit) - 1))).clamp_min(1e-300).log()


class Spectrum(Metric):
    """Streaming ranks and spectrum of one table of features, from its second moments.

    ``compute`` gives ``rankme``, ``effective_rank`` (of centred features, Roy and Vetterli 2007),
    ``participation_ratio``, ``dead_columns`` and ``deviations (D,)``: the standard deviations
    along the principal components, the largest first.

    Args:
        width: Columns D.
    """

    full_state_update = False
    is_differentiable = False
    total: Tensor
    products: Tensor
    count: Tensor

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _add_sums(self, {"total": (width,), "products": (width, width), "count": ()})

    def update(self, features: Tensor) -> None:
        """Add features ``(..., D)``."""
        flat = features.flatten(0, -2).double()
        self.total = self.total + flat.sum(dim=0)
        self.products = self.products + flat.T @ flat
        self.count = self.count + len(flat)

    def compute(self) -> dict[str, Tensor]:
        """All of them; eigenvalues are exact to about 1e-16 of the largest."""
        if self.count < 2:
            raise UserError("the spectrum of one view: give two or more")
        mean, moment = self.total / self.count, self.products / self.count
        covariance = moment - torch.outer(mean, mean)
        raw, centred = _roots(moment), _roots(covariance)
        return {
            "rankme": entropy_rank(raw, RANKME_EPS),
            "effective_rank": entropy_rank(centred),
            "participation_ratio": _participation(centred),
            "dead_columns": _dead(covariance.diagonal(), moment.diagonal()),
            "deviations": centred * (self.count / (self.count - 1)).sqrt(),
        }


class Spread(Metric):
    """Streaming :func:`ssl_equiv.collapse.spread`.

    Args:
        width: Columns D.
    """

    full_state_update = False
    is_differentiable = False
    total: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _add_sums(self, {"total": (width,), "squares": (width,), "count": ()})

    def update(self, features: Tensor) -> None:
        """Add features ``(..., D)``."""
        unit = normalize(features.flatten(0, -2), dim=-1).double()
        self.total = self.total + unit.sum(dim=0)
        self.squares = self.squares + unit.square().sum(dim=0)
        self.count = self.count + len(unit)

    def compute(self) -> Tensor:
        """Scalar float64."""
        variance = (self.squares - self.total.square() / self.count) / (self.count - 1)
        return scaled_deviation(variance.clamp_min(0).sqrt())


class Alignment(Metric):
    """Streaming :func:`alignment` and :func:`strangers`, by these names.

    Args:
        width: Columns D.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = False
    apart: Tensor
    objects: Tensor
    total: Tensor
    squares: Tensor
    views: Tensor

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        sums = {"apart": (), "objects": (), "total": (width,), "squares": (), "views": ()}
        _add_sums(self, sums)

    def update(self, features: Tensor) -> None:
        """Add whole objects ``(N, V, D)``."""
        unit = normalize(features, dim=-1)
        self.apart = self.apart + _distances_within(unit).sum()
        self.objects = self.objects + len(unit)
        self.total = self.total + unit.sum(dim=(0, 1), dtype=torch.float64)
        self.squares = self.squares + unit.square().sum(dtype=torch.float64)
        self.views = self.views + unit.shape[0] * unit.shape[1]

    def compute(self) -> dict[str, Tensor]:
        """Scalars, float64."""
        strange = self.squares / self.views - (self.total / self.views).square().sum()
        return {"alignment": self.apart / self.objects, "strangers": 2 * strange}


class Uniformity(Metric):
    """:func:`uniformity` of features that come in batches; the state holds all of them.

    Args:
        t: Sharpness.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = False
    features: list[Tensor] | Tensor

    def __init__(self, t: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.t = t
        self.add_state("features", default=[], dist_reduce_fx="cat")

    def update(self, features: Tensor) -> None:
        """Add features ``(N, D)``."""
        assert isinstance(self.features, list)
        self.features.append(features)

    def compute(self) -> Tensor:
        """Scalar float64."""
        return uniformity(dim_zero_cat(self.features), self.t)


def _add_sums(metric: Metric, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        zeros = torch.zeros(shape, dtype=torch.float64)
        metric.add_state(name, default=zeros, dist_reduce_fx="sum")


def _distances_within(unit: Tensor) -> Tensor:
    """Mean squared distance of the pairs of each object's views, ``(N,)`` float64."""
    views = unit.shape[1]
    if views < 2:
        raise UserError(
            "alignment is about two views of an object, but the objects have one: leave it out or "
            "generate more views"
        )
    unit = unit.double()  # the sums nearly cancel where features are invariant
    pairs = views * unit.square().sum(dim=(1, 2)) - unit.sum(dim=1).square().sum(dim=-1)
    return (2 * pairs / (views * (views - 1))).clamp_min(0)


def _roots(moments: Tensor) -> Tensor:
    """Square roots of the eigenvalues, the largest first; what rounding made is 0."""
    values = torch.linalg.eigvalsh(moments).flip(-1)
    noise = values[0].abs() * moments.shape[0] * torch.finfo(values.dtype).eps
    return torch.where(values > noise, values, 0.0).clamp_min(0).sqrt()


def _participation(singular_values: Tensor) -> Tensor:
    values = singular_values.square()
    total = values.sum()
    return torch.where(total > 0, total.square() / values.square().sum(), 1.0)


def _dead(variance: Tensor, moment: Tensor) -> Tensor:
    return (variance <= _DEAD * moment).double().mean()
