"""Objects of other sweeps pasted into sweeps of training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shapely.geometry import Polygon
from torch import Tensor

from ssl_equiv.boxes import Boxes, box_corners
from ssl_equiv.data.draws import Draw
from ssl_equiv.data.lidar.module import LidarDataModule
from ssl_equiv.data.lidar.pasting import Objects, PasteObjects, paste_from
from ssl_equiv.data.lidar.source import LidarSource
from ssl_equiv.data.lidar.sweep import Sweep
from ssl_equiv.errors import UserError
from ssl_equiv.transforms.points import PointMotions

CAR, WALKER = 0, 2
SIZES = {CAR: (4.0, 1.8, 1.5), WALKER: (0.8, 0.8, 1.8)}


class Streets(LidarSource):
    """Sweeps with two cars and three walkers each; intensity tells the sweep a point is from."""

    root, kind, has_boxes = Path("streets"), "made up", True
    classes, point_classes = ["Car", "Van", "Pedestrian"], ["road", "thing"]

    def __init__(self, sweeps: int = 12) -> None:
        self.names = np.array([f"{n}" for n in range(sweeps)])
        self.sequence, self.frame = np.arange(sweeps), np.zeros(sweeps, np.int64)
        self.split = {"train": np.arange(sweeps - 2), "val": np.arange(sweeps - 2, sweeps)}
        self.read: list[int] = []

    def sweep(self, index: int, boxes: bool = True, flow: bool = True) -> Sweep:
        self.read.append(index)
        rng = np.random.default_rng(index)
        labels = [CAR, CAR, WALKER, WALKER, WALKER]
        ground = np.c_[
            rng.uniform(-30, 30, (4000, 2)), np.full(4000, -2.0)
        ]  # below the boxes' margin
        values, things = [], []
        for label in labels:
            size = np.array(SIZES[label])
            centre = np.r_[rng.uniform(-20, 20, 2), -1.7 + size[2] / 2]
            values.append(np.r_[centre, size, rng.uniform(-3, 3)])
            cos, sin = np.cos(values[-1][6]), np.sin(values[-1][6])
            local = rng.uniform(-0.5, 0.5, (40, 3)) * size
            turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
            things.append(centre + local @ turn)
        xyz = np.concatenate([ground, *things])
        points = torch.from_numpy(np.c_[xyz, np.full(len(xyz), index / 100)]).float()
        annotated = Boxes.make(np.array(values), labels, num_points=np.full(5, 40))
        semantic = (torch.arange(len(points)) >= 4000).long()
        return Sweep(points, f"{index}", boxes=annotated, semantic=semantic)


def pasting(source: Streets, sweeps: list[int], seed: int = 0, **most: int) -> PasteObjects:
    labels = {source.classes.index(name): count for name, count in most.items()}
    return PasteObjects(Objects.gather(source, np.array(sweeps)), labels, seed)


def shared_area(a: Tensor, b: Tensor) -> float:
    one, two = (Polygon(box_corners(x)[:4, :2].tolist()) for x in (a, b))
    return float(one.intersection(two).area)


def from_sweeps(points: Tensor) -> set[int]:
    return set((points[:, 3] * 100).round().int().tolist())


def test_only_the_sweeps_that_are_named_are_looked_at(tmp_path: Path) -> None:
    source = Streets()
    paste = paste_from(source, np.array([1, 4, 6]), {"Car": 9}, 0, tmp_path / "objects.npz")
    assert set(source.read) == {1, 4, 6}
    assert len(paste.objects) == 15
    assert set(paste.objects.sweeps.tolist()) == {1, 4, 6}
    found = [paste(source.sweep(0), Draw(epoch, 0)) for epoch in range(20)]
    origins = set().union(*(from_sweeps(sweep.points) for sweep in found))
    assert origins == {0, 1, 4, 6}  # nothing of sweeps that are not labelled
    source.read.clear()
    again = paste_from(source, np.array([1, 4, 6]), {"Car": 9}, 0, tmp_path / "objects.npz")
    assert not source.read  # made once
    a, b = (p(source.sweep(0), Draw(3, 0)).points for p in (paste, again))
    assert torch.equal(a, b)


def test_nothing_collides_and_each_box_holds_its_own_points() -> None:
    source = Streets()
    paste = pasting(source, [1, 2, 3, 4, 5], Car=8, Pedestrian=12)
    added = 0
    for number in (0, 1, 2):
        before = source.sweep(number)
        after = paste(before, Draw(0, number))
        assert before.boxes is not None
        assert after.boxes is not None
        old, new = len(before.boxes), len(after.boxes)
        assert torch.equal(after.boxes.values[:old], before.boxes.values)
        added += new - old
        for first in range(old, new):
            for second in range(first):
                area = shared_area(after.boxes.values[first], after.boxes.values[second])
                assert area < 1e-6, (first, second)
        mine = after.points[:, 3] * 100
        origin = (after.boxes.contain(after.points)[old:].float() @ mine[:, None]).squeeze(1)
        inside = after.boxes.contain(after.points)[old:]
        # 40 points of its own, none of the sweep's ground: all from one other sweep
        for row, total in zip(inside, origin, strict=True):
            assert row.sum() == 40
            values = mine[row].round()
            assert values.min() == values.max()
            assert values.max() != number
            assert total > 0
        # what lay elsewhere is there still
        outside = ~after.boxes[slice(old, None)].contain(before.points, 0.05).any(0)
        assert torch.equal(after.points[: int(outside.sum())], before.points[outside])
        assert after.semantic is not None
        assert len(after.semantic) == len(after)
        assert (after.semantic[int(outside.sum()) :] == -1).all()
    assert added > 15


def test_sweeps_are_filled_up_to_a_number_of_each_class() -> None:
    source = Streets()
    paste = pasting(source, [1, 2, 3, 4], Car=4, Pedestrian=3)
    for epoch in range(10):
        boxes = paste(source.sweep(0), Draw(epoch, 0)).boxes
        assert boxes is not None
        assert 2 <= (boxes.labels == CAR).sum() <= 4
        assert (boxes.labels == WALKER).sum() == 3  # there are as many already
    full = pasting(source, [1, 2, 3, 4], Car=2)(source.sweep(0), Draw(0, 0))
    assert torch.equal(full.points, source.sweep(0).points)
    bare = replace(source.sweep(0), boxes=None)
    assert paste(bare, Draw(0, 0)) is bare


def test_draws_are_a_function_of_seed_epoch_and_sweep() -> None:
    source = Streets()

    def values(seed: int, epoch: int) -> Tensor:
        boxes = pasting(source, [1, 2, 3, 4, 5], seed, Car=6)(source.sweep(0), Draw(epoch, 0)).boxes
        assert boxes is not None
        return boxes.values

    assert torch.equal(values(0, 0), values(0, 0))
    for other in (values(1, 0), values(0, 1)):
        assert other.shape != values(0, 0).shape or not torch.equal(other, values(0, 0))


def test_batches_of_training_hold_pasted_objects_and_others_do_not() -> None:
    def module(workers: int) -> LidarDataModule:
        made = LidarDataModule(
            source=Streets(),
            num_views=1,
            batch_size=2,
            boxes=True,
            motions=PointMotions(flip=(0, 0), scale=(1, 1)),
            num_workers=workers,
        )
        made.paste = pasting(Streets(), [1, 3, 5], Car=6, Pedestrian=9)
        return made

    alone, helped = ([b for b in module(n).train_dataloader()] for n in (0, 1))  # noqa: C416
    for a, b in zip(alone, helped, strict=True):
        assert torch.equal(a.views[0].points, b.views[0].points)
    total, more = 0, 0
    for batch in alone:
        assert batch.boxes is not None
        for place, boxes in enumerate(batch.boxes[0]):
            cloud = batch.views[0].cloud(place)
            assert (boxes.contain(cloud, 1e-3)[5:].sum(1) == 40).all()  # moved together
            total, more = total + 1, more + len(boxes) - 5
    assert more > total
    for batch in module(0).all_views_dataloader("val"):
        assert batch.boxes is not None
        assert [len(boxes) for boxes in batch.boxes[0]] == [5] * len(batch)


def test_few_points_and_bad_input(tmp_path: Path) -> None:
    source: Any = Streets()
    assert len(Objects.gather(source, np.array([0, 1]), min_points=41)) == 0
    nothing = PasteObjects(Objects.gather(source, np.array([0]), 41), {CAR: 9}, 0)
    assert len(nothing(source.sweep(3), Draw(0, 3)).boxes or ()) == 5
    path = tmp_path / "objects.npz"
    for most, message in (
        ({"Cat": 3}, "unknown class 'Cat': the data have Car, Van, Pedestrian"),
        ({"Car": -1}, "-1 objects of Car"),
    ):
        with pytest.raises(UserError, match=message):
            paste_from(source, np.array([0]), most, 0, path)
    assert not path.exists()
    path.write_bytes(b"not these")
    with pytest.raises(UserError, match="is damaged: remove it"):
        paste_from(source, np.array([0]), {"Car": 3}, 0, path)
