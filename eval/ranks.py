"""Does a predicted embedding find its view? Ranks, and the poses of nearest neighbours.

The published metrics of SIE (arXiv 2302.10283, Sec. 4.2): mean reciprocal rank, hit rate at k, and
PRE, the prediction retrieval error of poses.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics import Metric

_CHUNK = 512  # queries at a time


def retrieval_ranks(
    prediction: Tensor, pool: Tensor, target: Tensor, excluded: Tensor | None = None
) -> Tensor:
    """Rank of each prediction's target in its pool by cosine, from 1.

    Args:
        prediction: ``(..., T, E)``.
        pool: Candidates, ``(..., P, E)``.
        target: Which candidate is wanted, ``(..., T)`` int64.
        excluded: A candidate that does not count, ``(..., T)`` int64; not the target.

    Returns:
        ``(..., T)`` float32: 1 + those nearer + half of those just as near, so that embeddings
        that are all one find nothing.
    """
    cosines = normalize(prediction, dim=-1) @ normalize(pool, dim=-1).mT
    if excluded is not None:
        cosines = cosines.scatter(-1, excluded.unsqueeze(-1), -torch.inf)
    wanted = cosines.gather(-1, target.unsqueeze(-1))
    nearer = (cosines > wanted).sum(dim=-1)
    equal = (cosines == wanted).sum(dim=-1) - 1  # less the target itself
    return 1 + nearer + equal.float() / 2


def retrieval_scores(ranks: Tensor, ks: tuple[int, ...] = (1, 5)) -> dict[str, Tensor]:
    """``mrr``, the mean of 1 / rank, and ``h<k>``, the share of ranks up to k, of ``(...)`` ranks.

    Scalars float64 in [0, 1].
    """
    ranks = ranks.double()
    hits = {f"h{k}": (ranks <= k).double().mean() for k in ks}
    return {"mrr": ranks.reciprocal().mean(), **hits}


def chance_scores(candidates: int, ks: tuple[int, ...] = (1, 5)) -> dict[str, float]:
    """What :func:`retrieval_scores` are of random ranks among a number of candidates."""
    of_all = torch.arange(1, candidates + 1)
    return {name: value.item() for name, value in retrieval_scores(of_all, ks).items()}


def nearest(prediction: Tensor, array: Tensor, excluded: Tensor | None = None) -> Tensor:
    """Row of ``array (M, E)`` nearest by cosine to each of ``prediction (Q, E)``, ``(Q,)`` int64.

    ``excluded (Q,)`` names a row that does not count. Chunked: Q·M cosines never exist at once.
    """
    rows, found = normalize(array, dim=-1).T, []
    for first in range(0, len(prediction), _CHUNK):
        some = slice(first, first + _CHUNK)
        cosines = prediction[some] @ rows  # the length of a query does not change its order
        if excluded is not None:
            cosines.scatter_(1, excluded[some, None], -torch.inf)
        found.append(cosines.argmax(dim=1))
    return torch.cat(found) if found else torch.empty(0, dtype=torch.int64)


def pose_error(quat: Tensor, neighbour: Tensor) -> Tensor:
    """PRE: mean of ``1 - <q, q̂>²`` of unit quaternions ``(..., 4)``, scalar float64 in [0, 1]."""
    return _pose_errors(quat, neighbour).mean()


def chance_pose_error(quat: Tensor) -> float:
    """PRE of a neighbour that is any of the quaternions ``(M, 4)``, the mean over all pairs."""
    quat = quat.reshape(-1, 4).double()
    # the mean of <q, p>² is the squared norm of the mean outer product
    return 1 - (quat.T @ quat / len(quat)).square().sum().item()


class RetrievalScores(Metric):
    """Streaming :func:`retrieval_scores`.

    Args:
        ks: k of the hit rates.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    reciprocal: Tensor
    hits: Tensor
    count: Tensor

    def __init__(self, ks: tuple[int, ...] = (1, 5), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ks = ks
        for name, shape in (("reciprocal", ()), ("hits", (len(ks),)), ("count", ())):
            zeros = torch.zeros(shape, dtype=torch.float64)
            self.add_state(name, default=zeros, dist_reduce_fx="sum")

    def update(self, ranks: Tensor) -> None:
        """Add ranks of any shape."""
        flat = ranks.double().flatten()
        bounds = torch.tensor(self.ks, device=flat.device)
        self.reciprocal = self.reciprocal + flat.reciprocal().sum()
        self.hits = self.hits + (flat[:, None] <= bounds).double().sum(dim=0)
        self.count = self.count + flat.numel()

    def compute(self) -> dict[str, Tensor]:
        """``mrr`` and ``h<k>``."""
        hits = self.hits / self.count
        return {"mrr": self.reciprocal / self.count} | {
            f"h{k}": hit for k, hit in zip(self.ks, hits, strict=True)
        }


class PoseError(Metric):
    """Streaming :func:`pose_error`."""

    full_state_update = False
    is_differentiable = False
    higher_is_better = False
    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("total", "count"):
            zero = torch.zeros((), dtype=torch.float64)
            self.add_state(name, default=zero, dist_reduce_fx="sum")

    def update(self, quat: Tensor, neighbour: Tensor) -> None:
        """Add quaternions ``(..., 4)`` and those of their neighbours."""
        errors = _pose_errors(quat, neighbour)
        self.total, self.count = self.total + errors.sum(), self.count + errors.numel()

    def compute(self) -> Tensor:
        """Scalar."""
        return self.total / self.count


def _pose_errors(quat: Tensor, neighbour: Tensor) -> Tensor:
    return 1 - (quat.double() * neighbour.double()).sum(dim=-1).square()
