"""Shards of pairs give what the data set gave."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset

from data_gen.lidar.live import SimulatedSource
from data_gen.lidar.pack import pack
from ssl_equiv.cli import main
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.data.lidar.module import LidarDataModule
from ssl_equiv.data.lidar.open import open_lidar
from ssl_equiv.errors import UserError

from ...data.lidar.written import kitti, write


@pytest.fixture(scope="module")
def source() -> SimulatedSource:
    return SimulatedSource(3, 3, {"beams": 8, "azimuths": 90}, val_fraction=0.3)


@pytest.fixture(scope="module")
def shards(source: SimulatedSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pack")
    assert pack(source, out, sweeps_per_shard=4, progress=False) == {}
    return out


def test_sweeps_and_pairs_are_the_same(source: SimulatedSource, shards: Path) -> None:
    packed = open_lidar(shards)
    assert (packed.kind, len(packed), packed.has_flow, packed.has_boxes) == ("shards", 9, 1, 1)
    for index in range(9):
        a, b = source.sweep(index), packed.sweep(index)
        assert torch.equal(a.points, b.points)
        assert a.boxes is not None
        assert b.boxes is not None
        for name in ("values", "labels", "instances", "num_points", "occlusion", "height_px"):
            torch.testing.assert_close(getattr(a.boxes, name), getattr(b.boxes, name))
        assert torch.equal(a.semantic, b.semantic)  # type: ignore[arg-type]
        assert torch.equal(a.instance, b.instance)  # type: ignore[arg-type]
        np.testing.assert_allclose(a.pose, b.pose)
        box = torch.tensor([[10.0, 2, 0, 4, 2, 1.5, 0]])
        np.testing.assert_allclose(a.camera.heights(box), b.camera.heights(box))  # type: ignore[union-attr]
        before, packed_before = source.before(index), packed.before(index)
        if before is None:
            assert packed_before is None
            continue
        assert packed_before is not None
        assert torch.equal(before.points, packed_before.points)
        assert torch.equal(before.flow, packed_before.flow)  # type: ignore[arg-type]


def test_training_batches_are_the_same(source: SimulatedSource, shards: Path) -> None:
    def first(module: LidarDataModule) -> LidarBatch:
        batch: LidarBatch = next(iter(module.train_dataloader()))
        return batch

    ours = first(LidarDataModule(source=source, batch_size=3, flow="truth", num_workers=0))
    for workers in (0, 2):
        theirs = first(
            LidarDataModule(str(shards), batch_size=3, flow="truth", num_workers=workers)
        )
        assert torch.equal(ours.index, theirs.index)
        for a, b in zip(ours.views, theirs.views, strict=True):
            assert torch.equal(a.points, b.points)
        assert torch.equal(ours.previous.flow, theirs.previous.flow)  # type: ignore[union-attr, arg-type]


def test_sources_travel_to_other_processes(source: SimulatedSource, shards: Path) -> None:
    for original in (source, open_lidar(shards)):
        expected = original.sweep(4)  # with whatever it keeps open
        again = pickle.loads(pickle.dumps(original))
        assert torch.equal(again.sweep(4).points, expected.points)
        assert again.fingerprint == original.fingerprint


def test_webdataset_reads_them(shards: Path) -> None:
    files = [str(path) for path in sorted(shards.glob("*.tar"))]
    records = list(webdataset.WebDataset(files, shardshuffle=False).decode())
    assert len(records) == 9
    assert sum("previous.bin" in record for record in records) == 6
    assert records[1]["flow.npy"].shape[1] == 3


def test_every_second_sweep_keeps_the_one_before(source: SimulatedSource, tmp_path: Path) -> None:
    pack(source, tmp_path, every=2, progress=False)
    packed = open_lidar(tmp_path)
    assert len(packed) == 6
    assert torch.equal(packed.sweep(1).points, source.sweep(2).points)
    assert torch.equal(packed.before(1).points, source.sweep(1).points)  # type: ignore[union-attr]
    assert packed.successor(0) is None
    assert packed.sweep(1).name.endswith("000000_0000000002")


def test_a_stopped_run_is_continued_and_another_refused(
    source: SimulatedSource, shards: Path, tmp_path: Path
) -> None:
    pack(source, tmp_path, sweeps_per_shard=4, progress=False)
    (tmp_path / "sweeps.json").unlink()
    (tmp_path / "shard-000001.tar").unlink()
    pack(source, tmp_path, sweeps_per_shard=4, progress=False)
    for name in ("sweeps.json", "shard-000001.tar"):
        assert (tmp_path / name).read_bytes() == (shards / name).read_bytes()
    with pytest.raises(UserError, match=r"another plan.*every was 1, now 3"):
        pack(source, tmp_path, every=3, sweeps_per_shard=4, progress=False)


def test_bad_sweeps_stop_it_or_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = kitti(tmp_path / "kitti", 4)
    write(root / "training/velodyne/000002.bin", b"\0" * 7)
    with pytest.raises(UserError, match=r"000002\.bin has 7 bytes"):
        pack(open_lidar(root), tmp_path / "a", progress=False)
    args = ["pack", str(root), "--out", str(tmp_path / "b"), "--skip-bad-sweeps", "true"]
    assert main([*args, "--progress", "false"]) == 0
    told = capsys.readouterr().out
    assert "left out: " in told
    assert "1 shards of sweeps (2 train, 1 val); 1 left out" in told
    assert len(open_lidar(tmp_path / "b")) == 3


def test_a_damaged_shard_is_named(source: SimulatedSource, tmp_path: Path) -> None:
    pack(source, tmp_path, sweeps_per_shard=9, progress=False)
    path = tmp_path / "shard-000000.tar"
    data = path.read_bytes()
    path.write_bytes(data[:-512])
    with pytest.raises(UserError, match=r"shard-000000\.tar has \d+ bytes, not \d+: copy it again"):
        open_lidar(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"shard-000000\.tar is missing"):
        open_lidar(tmp_path)
