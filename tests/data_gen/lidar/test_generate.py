"""Simulated data on disk, read again by the readers of real data."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data_gen.lidar import generate as module
from data_gen.lidar.generate import generate
from data_gen.lidar.job import Job
from data_gen.lidar.live import SimulatedSource
from data_gen.lidar.recipe import LidarRecipe
from data_gen.lidar.simulate import simulate
from ssl_equiv.cli import main
from ssl_equiv.data.lidar.names import KITTI_CLASSES, semantic_kitti_classes
from ssl_equiv.data.lidar.open import open_lidar
from ssl_equiv.errors import UserError

RECIPE = LidarRecipe(beams=16, azimuths=240)
JOB = Job(RECIPE, sequences=3, sweeps=3, seed=7)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sim") / "data"
    assert generate(JOB, out, num_workers=0, progress=False) == 3
    return out


def digests(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name[0] != "."
    }


def test_the_reader_gives_what_was_simulated(data: Path) -> None:
    source = open_lidar(data)
    assert (len(source), source.kind) == (9, "kitti_object")
    for sequence in range(3):
        for number, made in enumerate(simulate(RECIPE, 7, sequence, 3)):
            index = 3 * sequence + number
            read = source.sweep(index)
            assert read.boxes is not None
            np.testing.assert_array_equal(read.points, made.points)
            boxes = np.array([a.box for a in made.annotations])
            np.testing.assert_allclose(read.boxes.values, boxes, atol=1e-5)
            names = [a.class_name for a in made.annotations]
            assert [KITTI_CLASSES[label] for label in read.boxes.labels] == names
            for column, key in (("instances", "instance"), ("occlusion", "occlusion")):
                expected = [getattr(a, key) for a in made.annotations]
                assert getattr(read.boxes, column).tolist() == expected
            np.testing.assert_allclose(read.pose, made.pose, atol=1e-9)
            np.testing.assert_array_equal(read.semantic, semantic_kitti_classes(made.semantic))
            assert source.successor(index) == (None if number == 2 else index + 1)
            if number < 2:
                np.testing.assert_array_equal(read.flow, made.flow)
            else:
                assert read.flow is None


def test_the_live_source_is_the_stored_one(data: Path) -> None:
    live, stored = SimulatedSource(3, 3, RECIPE.to_dict(), 7, 0.25), open_lidar(data)
    for name in ("train", "val"):
        np.testing.assert_array_equal(live.split[name], stored.split[name])
    assert not set(live.split["train"]) & set(live.split["val"])
    for index in (0, 5):
        a, b = live.sweep(index), stored.sweep(index)
        assert a.boxes is not None
        assert b.boxes is not None
        assert torch.equal(a.points, b.points)
        assert torch.equal(a.boxes.num_points, b.boxes.num_points)
        torch.testing.assert_close(a.boxes.values, b.boxes.values, atol=1e-5, rtol=0)
        torch.testing.assert_close(a.boxes.height_px, b.boxes.height_px, atol=1e-2, rtol=0)


def test_rectangles_are_the_projected_corners(data: Path) -> None:
    """KITTI's label against a projection that is written out from the calibration file."""
    calibration = dict(
        line.split(": ") for line in (data / "training/calib/000000.txt").read_text().splitlines()
    )
    read = {key: np.array(text.split(), float) for key, text in calibration.items()}
    p2 = read["P2"].reshape(3, 4)
    seen = 0
    for line in (data / "training/label_2/000000.txt").read_text().splitlines():
        words = line.split()
        left, top, right, bottom, h, w, length, x, y, z, ry = map(float, words[4:15])
        c, s = np.cos(ry), np.sin(ry)
        corners = [
            (x + c * a + s * b, y - up, z - s * a + c * b)
            for a in (-length / 2, length / 2)
            for b in (-w / 2, w / 2)
            for up in (0, h)
        ]
        image = np.column_stack((corners, np.ones(8))) @ p2.T
        if (image[:, 2] < 0.2).any():
            assert (left, top, right, bottom) == (0, 0, 0, 0)
            continue
        u, v = (image[:, :2] / image[:, 2:]).T
        whole = np.array([u.min(), v.min(), u.max(), v.max()])
        cut = np.clip(whole, 0, [1241, 374, 1241, 374])
        if cut[2] <= cut[0] or cut[3] <= cut[1]:
            assert (left, top, right, bottom) == (0, 0, 0, 0)
            continue
        np.testing.assert_allclose([left, top, right, bottom], cut, atol=0.01)
        share = np.prod(cut[2:] - cut[:2]) / np.prod(whole[2:] - whole[:2])
        assert float(words[1]) == pytest.approx(1 - share, abs=0.006)
        seen += 1
    assert seen >= 2


@pytest.mark.ddp
def test_the_bytes_do_not_depend_on_the_processes(data: Path, tmp_path: Path) -> None:
    generate(JOB, tmp_path / "two", num_workers=2, progress=False)
    assert digests(tmp_path / "two") == digests(data)


def test_an_interrupted_run_is_told_of_and_continued(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(job: Job, out: Path, sequence: int) -> int:
        if sequence == 1:
            (out / ".sequence.x.partial").mkdir()
            raise KeyboardInterrupt
        return write(job, out, sequence)

    write = module.write_sequence
    monkeypatch.setattr(module, "write_sequence", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate(JOB, tmp_path / "out", num_workers=0, progress=False)
    with pytest.raises(UserError, match="not finished: run the same command again"):
        open_lidar(tmp_path / "out")
    monkeypatch.undo()
    assert generate(JOB, tmp_path / "out", num_workers=0, progress=False) == 2
    assert digests(tmp_path / "out") == digests(data)
    assert not list((tmp_path / "out").glob(".sequence*"))
    assert generate(JOB, tmp_path / "out", num_workers=0, progress=False) == 0


def test_another_plan_is_refused(data: Path) -> None:
    with pytest.raises(UserError, match=r"begun with another plan.*seed was 7, now 8"):
        generate(Job(RECIPE, 3, 3, seed=8), data, num_workers=0, progress=False)


def test_the_preview_shows_points_boxes_and_flow(data: Path) -> None:
    picture = np.asarray(Image.open(data / "preview.png").convert("RGB")).astype(int)
    assert picture.shape == (1280, 1280, 3)
    r, g, b = picture.transpose(2, 0, 1)
    assert ((r > 200) & (g < 140) & (b < 120)).sum() > 50  # streaks
    assert ((b > 200) & (r < 120)).sum() > 300  # cars
    assert (picture.sum(-1) > 150).sum() > 5000


def test_without_surround_only_the_cameras_view_is_annotated(data: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, surround=False)
    generate(Job(recipe, 3, 3, seed=7), tmp_path, num_workers=0, progress=False)
    sweep, around = open_lidar(tmp_path).sweep(0), open_lidar(data).sweep(0)
    assert sweep.boxes is not None
    assert around.boxes is not None
    assert sweep.camera is not None
    assert torch.equal(sweep.points, around.points)
    seen = torch.from_numpy(sweep.camera.heights(around.boxes.values) > 0)
    assert 0 < seen.sum() < len(seen)
    torch.testing.assert_close(sweep.boxes.values, around.boxes.values[seen])
    heights = torch.from_numpy(sweep.camera.heights(sweep.boxes.values)).float()
    torch.testing.assert_close(sweep.boxes.height_px, heights, atol=0.01, rtol=0)
    live = SimulatedSource(3, 3, recipe.to_dict(), 7).sweep(0)
    assert live.boxes is not None
    for name in ("values", "truncation", "height_px", "num_points"):
        live_column, column = getattr(live.boxes, name), getattr(sweep.boxes, name)
        torch.testing.assert_close(live_column, column, atol=0.01, rtol=0)


def test_semantic_kittis_layout_is_read_too(tmp_path: Path) -> None:
    job = Job(RECIPE, sequences=2, sweeps=2, seed=7, layout="semantic_kitti")
    generate(job, tmp_path, num_workers=0, progress=False)
    source = open_lidar(tmp_path)
    assert (source.kind, len(source), source.has_flow) == ("odometry", 4, True)
    assert {name: len(members) for name, members in source.split.items()} == {"train": 2, "val": 2}
    made = list(simulate(RECIPE, 7, 0, 2))
    read = [source.sweep(index) for index in (0, 1)]
    np.testing.assert_array_equal(read[1].points, made[1].points)
    np.testing.assert_array_equal(read[0].flow, made[0].flow)
    np.testing.assert_array_equal(read[0].semantic, semantic_kitti_classes(made[0].semantic))
    assert read[0].pose is not None
    assert read[1].pose is not None
    # the benchmark's world is where the first sweep was taken
    np.testing.assert_allclose(read[0].pose, np.eye(4), atol=1e-9)
    carried = np.linalg.inv(made[0].pose) @ made[1].pose
    np.testing.assert_allclose(read[1].pose, carried, atol=1e-8)


def test_the_command_tells_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "data")
    args = ["simulate", "--out", out, "--sequences", "2", "--sweeps", "2", "--beams", "8"]
    args += ["--azimuths", "90", "--num-workers", "0", "--recipe.range_noise", "0"]
    assert main(args) == 0
    assert "4 sweeps of 2 sequences; 2 to train, 2 to validate" in capsys.readouterr().out
    assert main([*args[:-1], "0.1"]) == 2
    assert "another plan" in capsys.readouterr().err
    assert main([*args[:-2], "--recipe.range_nois", "0"]) == 2
    assert "range_noise" in capsys.readouterr().err
