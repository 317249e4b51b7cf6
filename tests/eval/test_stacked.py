from __future__ import annotations

import pytest
import torch
from torch import nn

from eval.stacked import Draws, fixed_pairs, stacked_mlp


def test_members_are_perceptrons_of_their_own() -> None:
    stack = stacked_mlp([6, 5, 3], seeds=[4, 9])
    x = torch.randn(2, 7, 6)
    for member in range(2):
        plain = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
        with torch.no_grad():
            for layer in (0, 2):
                plain[layer].weight.copy_(stack[layer].weight[member].T)
                plain[layer].bias.copy_(stack[layer].bias[member, 0])
        torch.testing.assert_close(stack(x)[member], plain(x[member]))
        torch.testing.assert_close(stack(x[0])[member], plain(x[0]))


def test_weights_depend_on_the_seed_alone() -> None:
    both, alone, other = (stacked_mlp([6, 5, 3], seeds=s) for s in ([4, 9], [9], [5]))
    assert torch.equal(both[0].weight[1], alone[0].weight[0])
    assert torch.equal(both[2].bias[1], alone[2].bias[0])
    assert not torch.equal(other[0].weight, alone[0].weight)


def test_weights_start_as_linear_layers_do() -> None:
    weight = stacked_mlp([400, 50], seeds=[0])[0].weight
    assert weight.abs().max() <= 1 / 20
    assert weight.std().item() == pytest.approx(1 / 20 / 3**0.5, rel=0.05)


@pytest.mark.parametrize("batch_size", [4, 7, 100])
def test_every_epoch_visits_every_object_once(batch_size: int) -> None:
    draws = Draws([0, 1], num_objects=10, num_views=3, picks=2, epochs=5, batch_size=batch_size)
    batches = list(draws)
    assert len(batches) == len(draws)
    assert all(batch.shape[-1] == batch_size for batch in batches[:-1])
    chosen = torch.cat(batches, dim=-1)
    assert chosen.shape == (3, 2, 50)
    for epoch in chosen.split(10, dim=-1):
        assert (epoch[0].sort(dim=-1).values == torch.arange(10)).all()
    assert (chosen[1] != chosen[2]).all()
    assert chosen[1:].min() == 0
    assert chosen[1:].max() == 2
    assert not torch.equal(chosen[:, 0], chosen[:, 1])  # seeds differ
    assert not torch.equal(chosen[:, 0, :10], chosen[:, 0, 10:20])  # epochs differ


def test_draws_repeat_and_do_not_depend_on_other_seeds() -> None:
    def of(seeds: list[int]) -> torch.Tensor:
        return torch.cat(list(Draws(seeds, 10, 4, 1, 3, 8)), dim=-1)

    assert torch.equal(of([2]), of([2]))
    assert torch.equal(of([1, 2])[:, 1], of([2])[:, 0])


def test_all_ordered_pairs_are_drawn_alike() -> None:
    draws = Draws([0], num_objects=500, num_views=3, picks=2, epochs=40, batch_size=512)
    _, first, second = torch.cat(list(draws), dim=-1)[:, 0]
    counts = torch.bincount(3 * first + second, minlength=9).reshape(3, 3)
    assert (counts.diagonal() == 0).all()
    share = counts[~torch.eye(3, dtype=torch.bool)] / counts.sum()
    torch.testing.assert_close(share, torch.full((6,), 1 / 6), atol=0.02, rtol=0)


@pytest.mark.parametrize(("per_object", "expected"), [(5, 5), (12, 12), (99, 12)])
def test_fixed_pairs_are_distinct_and_ordered(per_object: int, expected: int) -> None:
    pairs = fixed_pairs(7, 4, per_object)
    assert pairs.shape == (3, 7 * expected)
    assert (pairs[1] != pairs[2]).all()
    assert len({tuple(pair) for pair in pairs.T.tolist()}) == 7 * expected
    assert torch.equal(torch.bincount(pairs[0]), torch.full((7,), expected))
    assert torch.equal(pairs, fixed_pairs(7, 4, per_object))
