from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from eval.ranks import (
    PoseError,
    RetrievalScores,
    chance_pose_error,
    chance_scores,
    nearest,
    pose_error,
    retrieval_ranks,
    retrieval_scores,
)
from tests.eval.fakes import rotations


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine(x: Tensor, y: Tensor) -> float:
    return (x @ y / x.norm() / y.norm()).item()


@pytest.mark.parametrize("without", [False, True])
def test_ranks_are_those_of_sorting(without: bool) -> None:
    prediction, pool = normal(3, 4, 5), normal(3, 7, 5, seed=1)
    target = torch.tensor([0, 3, 6, 2]).expand(3, 4)
    excluded = torch.tensor([1, 0, 5, 4]).expand(3, 4)
    found = retrieval_ranks(prediction, pool, target, excluded if without else None)
    for n in range(3):
        for t in range(4):
            left = [p for p in range(7) if not (without and p == excluded[n, t])]
            left.sort(key=lambda p: -cosine(prediction[n, t], pool[n, p]))
            assert found[n, t] == 1 + left.index(int(target[n, t]))


def test_what_is_all_one_finds_nothing() -> None:
    same = torch.ones(2, 6, 3)
    ranks = retrieval_ranks(same, same, torch.arange(6).expand(2, 6))
    assert (ranks == 3.5).all()
    assert retrieval_scores(ranks)["h1"] == 0


def test_scores_are_means() -> None:
    ranks = torch.tensor([[1, 2, 5], [6, 1, 10]])
    found = retrieval_scores(ranks, ks=(1, 5))
    assert found["mrr"].item() == pytest.approx((1 + 1 / 2 + 1 / 5 + 1 / 6 + 1 + 1 / 10) / 6)
    assert (found["h1"], found["h5"]) == (2 / 6, 4 / 6)
    metric = RetrievalScores((1, 5))
    for row in ranks.split([1, 1]):
        metric.update(row)
    torch.testing.assert_close(metric.compute(), found)


def test_chance_is_what_random_embeddings_get() -> None:
    prediction, pool = normal(400, 20, 8), normal(400, 20, 8, seed=1)
    ranks = retrieval_ranks(prediction, pool, torch.arange(20).expand(400, 20))
    found, chance = retrieval_scores(ranks), chance_scores(20)
    assert chance["h5"] == 0.25
    for name, value in found.items():
        assert value.item() == pytest.approx(chance[name], rel=0.06)


def test_the_nearest_of_all_in_chunks() -> None:
    prediction, array = normal(1030, 6), normal(50, 6, seed=1)
    cosines = torch.nn.functional.cosine_similarity(prediction[:, None], array, dim=-1)
    found = nearest(prediction, array)
    assert torch.equal(found, cosines.argmax(dim=1))
    other = nearest(prediction, array, found)
    assert torch.equal(other, cosines.topk(2).indices[:, 1])


def test_pose_error_is_one_minus_the_squared_product() -> None:
    q, p = rotations(1, 30)[0], rotations(1, 30, seed=1)[0]
    want = np.mean([1 - np.dot(a, b) ** 2 for a, b in zip(q.numpy(), p.numpy(), strict=True)])
    assert pose_error(q, p).item() == pytest.approx(want, rel=1e-6)
    assert pose_error(q, -q).item() == pytest.approx(0, abs=1e-6)
    metric = PoseError()
    for some in (slice(0, 4), slice(4, 30)):
        metric.update(q[some], p[some])
    assert metric.compute().item() == pytest.approx(want, rel=1e-6)
    every = np.mean([[1 - np.dot(a, b) ** 2 for a in q.numpy()] for b in q.numpy()])
    assert chance_pose_error(q) == pytest.approx(every, rel=1e-6)
