"""``ssl-equiv eval`` of encoders of LiDAR sweeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eval.results import read_results
from ssl_equiv import cli
from ssl_equiv.data.lidar.open import lidar_layout
from tests.cli.test_pretrain import pretrain
from tests.conftest import write_folder

QUICK = {
    "limit": 4,
    "per_sweep": 32,
    "regression": {"epochs": 2, "batch_size": 16},
    "classification": {"epochs": 1, "batch_size": 64},
}
FAST = ["--seeds", "2", "--batch_size", "2", "--num_workers", "0", "--progress", "false"]
ASKED = ["--sweeps", json.dumps(QUICK), *FAST]


@pytest.mark.parametrize("source", ["", "random:"])
def test_a_run_is_judged_on_sweeps(
    street: Path,
    run_on_sweeps: Path,
    source: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, out = f"{source}{run_on_sweeps}", run_on_sweeps / "eval" if not source else tmp_path
    args = ["eval", "--model", model, "--data", str(street), *ASKED]
    assert cli.main(args if not source else [*args, "--out", str(out)]) == 0
    rows = read_results(out / "results.json")
    assert {row.model for row in rows} == {model}
    assert {"yaw_r2_pooled", "translation_r2_pooled", "equivariance_error_yaw_90"} <= {
        row.metric for row in rows
    }
    assert {row.seed for row in rows if row.metric == "points_miou"} == {0, 1}
    assert "points_miou" in capsys.readouterr().out
    told = json.loads((out / "provenance.json").read_text())
    assert told["command"].startswith("ssl-equiv eval --model")
    assert cli.main(["report", str(out), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "yaw R²" in page
    assert "points mIoU" in page


def test_options_that_apply(street: Path, run_on_sweeps: Path, tmp_path: Path) -> None:
    args = ["eval", "--model", str(run_on_sweeps), "--data", str(street), *ASKED]
    args += ["--out", str(tmp_path), "--parts", "[map]", "--name", "mine", "--seeds", "1"]
    assert cli.main([*args, "--sweeps.per_sweep", "8"]) == 0
    rows = read_results(tmp_path / "results.json")
    assert {(row.part, row.model, row.seed) for row in rows} == {("map", "mine", 0)}
    assert cli.main([*args, "--parts", "[all]", "--factors", "[yaw]"]) == 0
    names = {row.metric for row in read_results(tmp_path / "results.json")}
    assert "absolute_yaw_r2_pooled" in names
    assert not any("translation" in name for name in names)


def test_sweeps_and_images_are_told_apart(
    street: Path, run_on_sweeps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_folder(tmp_path / "images", objects=8, size=32)
    of_images, out = tmp_path / "sie", tmp_path / "out"
    assert pretrain(images, of_images, 1) == 0
    capsys.readouterr()
    sweeps, data = ["--model", str(run_on_sweeps)], ["--data", str(street)]
    assert lidar_layout(street) == "KITTI's object benchmark"
    assert lidar_layout(images) is None
    for args, message in (
        ([*sweeps, "--data", str(images)], "holds no .bin, .ply or .pcd files"),
        (["--model", str(of_images), *data], "LiDAR sweeps (KITTI's object benchmark), but"),
        (["--model", "timm:test_resnet", *data], "timm:test_resnet sees images"),
        (["--model", "timm:test_resnet", *data, "--sweeps.limit", "2"], "sweeps is for encoders"),
        (["--model", str(tmp_path / "absent"), *data], "no checkpoint there"),
        ([*sweeps, *data, "--orbits", "[x]"], "orbits is for networks on images"),
        ([*sweeps, *data, "--evaluators", "[KNN]"], "evaluators is for networks on images"),
        ([*sweeps, *data, "--recipe", "quick"], "--sweeps.regression tells how probes learn"),
        ([*sweeps, *data, "--devices", "2"], "devices is for networks on images"),
        ([*sweeps, *data, "--parts", "[equi]"], "an encoder of sweeps has all, map, raw"),
        ([*sweeps, *data, "--factors", "[rotation]"], "no factor 'rotation'"),
        ([*sweeps, *data, "--sweeps.limits", "2"], "did you mean sweeps.limit?"),
        ([*sweeps, *data, "--seeds", "0"], "seeds must be at least 1"),
        ([*sweeps, "--data", str(tmp_path / "absent")], "is not a folder"),
    ):
        assert cli.main(["eval", *args, "--out", str(out), "--num_workers", "0"]) == 2, args
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("error: ")
        assert message in line
    assert not out.exists()
