"""Batches of sweeps: views, draws, flow, regions, resumption."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from data_gen.lidar.live import SimulatedSource
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.data.lidar.dataset import Region
from ssl_equiv.data.lidar.flow import ego_flow
from ssl_equiv.data.lidar.module import LidarDataModule
from ssl_equiv.errors import UserError
from ssl_equiv.transforms.points import MOTION, PointMotions, move_boxes

from .written import POINTS, kitti, write

TINY = {"beams": 8, "azimuths": 90}


def source(sequences: int = 4, sweeps: int = 3) -> SimulatedSource:
    return SimulatedSource(sequences, sweeps, TINY, val_fraction=0.25)


def batches(module: LidarDataModule, number: int) -> list[LidarBatch]:
    loader, found = module.train_dataloader(), list[LidarBatch]()
    while len(found) < number:
        for batch in loader:
            found.append(batch)
            if len(found) == number:
                break
    return found


def _points(batch: LidarBatch) -> Iterator[tuple[int, torch.Tensor]]:
    assert batch.current.source_index is not None
    for b, index in enumerate(batch.index.tolist()):
        yield index, batch.current.source_index[batch.current.batch_index == b]


def same(a: LidarBatch, b: LidarBatch) -> bool:
    return (
        torch.equal(a.index, b.index)
        and all(torch.equal(v.points, w.points) for v, w in zip(a.views, b.views, strict=True))
        and all(torch.equal(a.actions[name], b.actions[name]) for name in a.actions)
    )


def test_views_are_the_sweep_moved_by_their_elements() -> None:
    module = LidarDataModule(
        source=source(), batch_size=3, num_views=2, flow="truth", boxes=True, num_workers=0
    )
    (batch,) = batches(module, 1)
    assert len(batch) == 3
    stored = [module.source.sweep(int(index)) for index in batch.index]
    assert batch.boxes is not None
    for v, view in enumerate(batch.views):
        for b, sweep in enumerate(stored):
            element = batch.actions["motion"][b, v]
            mine = view.batch_index == b
            assert torch.equal(batch.current.points[mine], sweep.points)
            moved = MOTION.act(element, sweep.points[:, :3])
            torch.testing.assert_close(view.points[mine, :3], moved, atol=1e-4, rtol=0)
            assert view.source_index is not None
            assert torch.equal(view.source_index[mine], torch.arange(len(sweep)))
            assert sweep.boxes is not None
            boxes = move_boxes(sweep.boxes.values, element)
            torch.testing.assert_close(batch.boxes[v][b].values, boxes)
    relative = batch.relative("motion", 0, 1)
    first, second = batch.actions["motion"].unbind(1)
    torch.testing.assert_close(MOTION.compose(first, relative), second, atol=1e-4, rtol=1e-4)
    with pytest.raises(UserError, match="asks for the factor 'pitch', but the data have flip, yaw"):
        batch.relative("pitch", 0, 1)
    assert not torch.equal(batch.views[0].points, batch.views[1].points)


def test_the_sweep_before_comes_with_its_flow() -> None:
    module = LidarDataModule(source=source(2, 3), batch_size=3, flow="truth", num_workers=0)
    (batch,) = batches(module, 1)
    assert batch.previous is not None
    assert batch.previous.flow is not None
    counts = batch.previous.counts.tolist()
    for b, index in enumerate(batch.index.tolist()):
        before = module.source.predecessor(index)
        if before is None:
            assert counts[b] == 0
            continue
        sweep, mine = module.source.sweep(before), batch.previous.batch_index == b
        assert torch.equal(batch.previous.points[mine], sweep.points)
        assert sweep.flow is not None
        assert torch.equal(batch.previous.flow[mine], sweep.flow)
    assert sorted(count > 0 for count in counts) == [False, True, True]

    for flow in ("ego", "estimate"):
        module = LidarDataModule(source=source(2, 3), batch_size=3, flow=flow, num_workers=0)  # type: ignore[arg-type]
        (other,) = batches(module, 1)
        assert other.previous is not None
        assert torch.equal(other.previous.points, batch.previous.points)
        assert other.previous.flow is not None
        assert other.previous.flow.isfinite().all()
        assert not torch.equal(other.previous.flow, batch.previous.flow)
        if flow == "ego":
            b = counts.index(max(counts))
            index = int(batch.index[b])
            a, c = module.source.sweep(index - 1), module.source.sweep(index)
            assert a.pose is not None
            assert c.pose is not None
            expected = torch.from_numpy(ego_flow(a.points.numpy(), a.pose, c.pose))
            assert torch.equal(other.previous.flow[other.previous.batch_index == b], expected)
    off = LidarDataModule(source=source(), batch_size=3, num_workers=0)
    assert batches(off, 1)[0].previous is None


def test_draws_do_not_depend_on_the_workers_and_differ_between_epochs() -> None:
    region = Region(max_points=200)
    here = LidarDataModule(source=source(), batch_size=3, num_workers=0, region=region)
    there = LidarDataModule(source=source(), batch_size=3, num_workers=2, region=region)
    ours, theirs = batches(here, 6), batches(there, 6)
    assert all(same(a, b) for a, b in zip(ours, theirs, strict=True))
    seen = {
        (int(index), tuple(element.flatten().tolist()))
        for batch in ours
        for index, element in zip(batch.index, batch.actions["motion"], strict=True)
    }
    assert len(seen) == 18  # no draw repeats, though sweeps do
    assert all((batch.current.counts <= 200).all() for batch in ours)
    points = [dict(_points(batch)) for batch in ours]
    shared = [(a, b, i) for a in points[:3] for b in points[3:] for i in a.keys() & b.keys()]
    assert len(shared) == 9
    assert not any(torch.equal(a[i], b[i]) for a, b, i in shared)  # nor do choices of points
    epochs = [torch.cat([b.index for b in ours[k : k + 3]]).tolist() for k in (0, 3)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == here.source.split["train"].tolist()
    assert epochs[0] != epochs[1]
    other = LidarDataModule(source=source(), batch_size=3, num_workers=0, seed=1, region=region)
    assert not same(batches(other, 1)[0], ours[0])


def test_a_run_goes_on_where_it_was() -> None:
    whole = batches(LidarDataModule(source=source(), batch_size=3, num_workers=0), 5)
    first = LidarDataModule(source=source(), batch_size=3, num_workers=0)
    batches(first, 4)
    again = LidarDataModule(source=source(), batch_size=3, num_workers=0)
    again.load_state_dict(first.state_dict())
    assert same(batches(again, 1)[0], whole[4])


def test_every_sweep_of_a_split_comes_once_in_order_unmoved() -> None:
    module = LidarDataModule(source=source(), batch_size=2, num_workers=0)
    found = list(module.all_views_dataloader("val"))
    index = torch.cat([batch.index for batch in found])
    assert index.tolist() == module.source.split["val"].tolist()
    for batch in found:
        assert len(batch.views) == 1
        assert torch.equal(batch.views[0].points, batch.current.points)
        assert batch.boxes is not None
        for b, boxes in enumerate(batch.boxes[0]):
            stored = module.source.sweep(int(batch.index[b])).boxes
            assert stored is not None
            torch.testing.assert_close(boxes.values, stored.values)
    with pytest.raises(UserError, match="no sweeps in a split 'test': it has train, val"):
        module.all_views_dataloader("test")


def test_batches_travel_between_processes_and_devices() -> None:
    made = (
        LidarDataModule(source=source(), batch_size=2, boxes=True, flow="ego", num_workers=workers)
        for workers in (0, 1)
    )
    (batch,), (sent,) = (batches(module, 1) for module in made)
    for other in (sent, batch.to("cpu", non_blocking=True)):
        assert same(other, batch)
        assert torch.equal(other.boxes[1][0].values, batch.boxes[1][0].values)  # type: ignore[index]
    meta = batch.to("meta")
    assert meta.views[1].points.is_meta
    assert meta.previous is not None
    assert meta.previous.flow.is_meta  # type: ignore[union-attr]
    assert meta.boxes[0][1].labels.is_meta  # type: ignore[index]


def test_a_region_keeps_what_lies_in_it(tmp_path: Path) -> None:
    root = str(kitti(tmp_path))
    whole = LidarDataModule(root, batch_size=2, num_workers=0)
    assert len(batches(whole, 1)[0].current.points) == 8
    near = Region(bounds=(0, -2, -1, 15, 2, 1))
    batch = batches(LidarDataModule(root, batch_size=2, num_workers=0, region=near), 1)[0]
    assert torch.equal(batch.current.points[:2], torch.from_numpy(POINTS[:2]))
    assert batch.current.counts.tolist() == [2, 2]
    # the picture ends 600 / 700 to the left of ahead: the point behind is out of it
    seen = Region(camera_only=True)
    batch = batches(LidarDataModule(root, batch_size=2, num_workers=0, region=seen), 1)[0]
    assert batch.current.source_index is not None
    assert batch.current.source_index.tolist() == [0, 1, 2] * 2
    away = Region(bounds=(100, 0, 0, 110, 1, 1))
    module = LidarDataModule(root, batch_size=2, num_workers=0, region=away)
    with pytest.raises(UserError, match=r"00000\d\.bin: all 4 points lie outside .*: widen"):
        batches(module, 1)
    with pytest.raises(UserError, match="give lowest x, y, z, then highest"):
        Region(bounds=(0, 0, 0, -1, 1, 1))


def test_bad_sweeps_are_told_or_replaced_and_counted(tmp_path: Path) -> None:
    root = kitti(tmp_path, 5)
    write(root / "training/velodyne/000002.bin", b"")
    with pytest.raises(UserError, match=r"000002\.bin has no points"):
        batches(LidarDataModule(str(root), batch_size=4, num_workers=0), 1)
    module = LidarDataModule(str(root), batch_size=4, num_workers=0, skip_bad_sweeps=True)
    with pytest.warns(UserWarning, match="1 unreadable"):
        (batch,) = batches(module, 1)
    assert batch.skipped == 1
    assert 2 not in batch.index
    assert len(batch) == 4


def test_what_the_data_lack_is_told(tmp_path: Path) -> None:
    root = str(kitti(tmp_path / "kitti"))
    with pytest.raises(UserError, match=r"has no flow files: set data\.flow to ego"):
        LidarDataModule(root, flow="truth")
    with pytest.raises(UserError, match=r"has no poses: set data\.flow to estimate"):
        LidarDataModule(root, flow="ego")
    write(tmp_path / "bare/0.bin", POINTS.tobytes())
    with pytest.raises(UserError, match=r"has no annotated boxes: set data\.boxes to false"):
        LidarDataModule(str(tmp_path / "bare"), boxes=True)
    with pytest.raises(UserError, match=r"no data: give data\.root"):
        LidarDataModule()
    with pytest.raises(UserError, match="both given: leave one out"):
        LidarDataModule(root, source=source())
    with pytest.raises(UserError, match="train_fraction is 0"):
        LidarDataModule(root, train_fraction=0)
    bare = LidarDataModule(str(tmp_path / "bare"), region=Region(camera_only=True), num_workers=0)
    with pytest.raises(UserError, match="has no camera calibration"):
        next(iter(bare.all_views_dataloader("train")))


def test_smaller_shares_are_parts_of_larger_ones() -> None:
    chosen = [
        set(
            LidarDataModule(source=source(10, 4), train_fraction=share, batch_size=2)
            .source.split["train"]
            .tolist()
        )
        for share in (0.1, 0.5, 1.0)
    ]
    assert [len(part) for part in chosen] == [3, 16, 32]
    assert chosen[0] < chosen[1] < chosen[2]


def test_the_description_changes_with_the_data() -> None:
    module = LidarDataModule(source=source(), motions=PointMotions(scale=(1, 1)))
    told = module.description()
    assert told["motions"]["scale"] == (1, 1)
    assert told["classes"][0] == "Car"
    assert told["fingerprint"] != LidarDataModule(source=source(5)).description()["fingerprint"]
    np.testing.assert_equal(told["kind"], "simulated")
