from __future__ import annotations

import numpy as np
import pytest

from ssl_equiv.data.draws import Draw, OrderedSampler, TrainSampler, choose_views, epoch_order
from ssl_equiv.errors import UserError


def test_order_is_a_permutation_that_changes_with_seed_and_epoch() -> None:
    orders = [epoch_order(seed, epoch, 1000) for seed in (0, 1) for epoch in (0, 1)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    for i, a in enumerate(orders):
        for b in orders[i + 1 :]:
            assert (a == b).mean() < 0.02
    np.testing.assert_array_equal(epoch_order(1, 1, 1000), orders[3])


def test_views_are_distinct_and_uniform() -> None:
    draws = [Draw(epoch, index) for epoch in range(20) for index in range(500)]
    views = choose_views(3, draws, total=10, num_views=3)
    assert all(len(set(row)) == 3 for row in views.tolist())
    counts = np.bincount(views.ravel(), minlength=10)
    assert np.abs(counts - 3000).max() < 5 * np.sqrt(3000 * 0.7)
    pairs = np.zeros((10, 10))
    np.add.at(pairs, (views[:, 0], views[:, 1]), 1)
    assert pairs[~np.eye(10, dtype=bool)].min() > 60  # 111 expected of each ordered pair


def test_consecutive_views_follow_one_another() -> None:
    draws = [Draw(epoch, item) for epoch in range(40) for item in range(50)]
    views = choose_views(0, draws, 7, 3, consecutive=True)
    assert (np.diff(views, axis=1) == 1).all()
    starts, counts = np.unique(views[:, 0], return_counts=True)
    assert starts.tolist() == [0, 1, 2, 3, 4]
    assert counts.min() > 330  # of 2000
    assert len({tuple(views[i]) for i in range(0, 2000, 50)}) > 1  # epochs differ


def test_a_draw_depends_on_epoch_and_object_alone() -> None:
    alone = choose_views(0, [Draw(4, 17)], 50, 2)
    among = choose_views(0, [Draw(4, 3), Draw(4, 17), Draw(5, 17)], 50, 2)
    np.testing.assert_array_equal(alone[0], among[1])
    assert (among[1] != among[2]).any()


def test_more_views_than_there_are() -> None:
    with pytest.raises(UserError, match="6 views asked for, but each object has 5"):
        choose_views(0, [Draw(0, 0)], 5, 6)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_processes_share_the_global_batch(world_size: int) -> None:
    objects = np.arange(100, 150)
    whole = list(TrainSampler(objects, 4 * world_size, seed=5))
    parts = [list(TrainSampler(objects, 4, 5, rank, world_size)) for rank in range(world_size)]
    assert {len(part) for part in parts} == {len(whole)} == {50 // (4 * world_size)}
    for step, batch in enumerate(whole):
        assert batch == [draw for part in parts for draw in part[step]]


def test_a_sampler_starts_where_it_is_told() -> None:
    sampler = TrainSampler(np.arange(30), 4, seed=0)
    sampler.epoch = 2
    whole = list(sampler)
    sampler.first_batch = 3
    assert list(sampler) == whole[3:]
    assert len(sampler) == 7


def test_too_few_objects() -> None:
    with pytest.raises(UserError, match="3 training objects for 2 processes"):
        TrainSampler(np.arange(3), 2, seed=0, rank=0, world_size=2)


def test_ordered_sampler_covers_every_object_once() -> None:
    objects = np.arange(10, 33)
    seen = [d.item for rank in range(3) for b in OrderedSampler(objects, 4, rank, 3) for d in b]
    assert sorted(seen) == objects.tolist()
    assert len(OrderedSampler(objects, 4)) == 6
