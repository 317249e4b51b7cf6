"""``ssl-equiv detect`` from the command line: simulated sweeps, tiny networks."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from eval.artifacts import read_artifacts
from eval.detection.kitti import kitti_ap
from eval.detection.kitti_files import read_kitti
from eval.results import read_results
from ssl_equiv import cli
from ssl_equiv.data.lidar.open import open_lidar
from ssl_equiv.detection import Detector, labelled_subset
from tests.cli.conftest import BACKBONE

CURVES = "1-seed0/curves/version_0/metrics.csv"
QUICK = ["--steps", "4", "--batch_size", "2", "--num_workers", "0", "--progress", "false"]


def detect(*args: Any) -> int:
    return cli.main(["detect", *map(str, args), *QUICK])


def scratch(folder: Path) -> list[str]:
    """Options of a detector without a pretrained run."""
    config = folder / "encoder.yaml"
    config.write_text(yaml.safe_dump({"encoder": BACKBONE, "detector": {"width": 8}}))
    return ["--config", str(config), "--model", "scratch"]


@pytest.mark.slow
def test_a_run_beside_random_weights(
    street: Path, run_on_sweeps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_on_sweeps
    args = ["--model", run, "--data", street, "--fractions", "[0.5, 1.0]", "--seeds", "2"]
    assert detect(*args, "--detector.min_score", "0", "--pictures", "2") == 0
    printed = capsys.readouterr().out
    assert "50% of labels" in printed
    assert "mean_3d_ap40_moderate" in printed
    for folder, model in ((run / "detect", str(run)), (run / "detect-scratch", f"random:{run}")):
        rows = read_results(folder / "results.json")
        assert {row.model for row in rows} == {model}
        assert {(row.part, row.seed) for row in rows} == {
            (f"{share} of labels", seed) for share in ("50%", "100%") for seed in (0, 1)
        }
        assert {"car_3d_ap40_moderate", "mean_centre_ap"} <= {row.metric for row in rows}
        (half, whole) = sorted(read_artifacts(folder), key=lambda a: len(a.part))
        assert {half.part, whole.part} == {"50% of labels", "100% of labels"}
        assert half.arrays["images"].shape[0] == 2
        files = sorted((folder / "1-seed1" / "predictions").iterdir())
        val = open_lidar(street).split["val"]
        assert [file.stem for file in files] == [f"{number:06d}" for number in val]
        # the files hold what was judged
        frames = [file.stem for file in files]
        found = read_kitti(folder / "1-seed1" / "predictions", frames, results=True)
        truth = read_kitti(street / "training" / "label_2", frames, results=False)
        assert len(found) > 50
        # seen from behind the camera: no heights in the files, so nothing is too small in them
        found.height[:], truth.height[:] = 99.0, 99.0
        truth.truncation[:] = 0.0
        again = kitti_ap(found, truth, open_lidar(street).classes)
        mine = {r.metric: r.value for r in rows if r.part == "100% of labels" and r.seed == 1}
        assert again["car_bev_ap40_hard"] == pytest.approx(mine["car_bev_ap40_hard"], abs=0.02)
    # where they start differs, and nothing else: the first step's loss tells
    losses = {
        name: next(csv.DictReader((run / name / CURVES).open()))["train/loss"]
        for name in ("detect", "detect-scratch")
    }
    assert losses["detect"] != losses["detect-scratch"]
    assert detect(*args, "--detector.min_score", "0", "--pictures", "2") == 0  # nothing is left
    assert capsys.readouterr().out.count("mean_3d_ap40_moderate") == 2
    assert cli.main(["report", str(run), "--out", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "mean AP 3D R40 moderate" in page
    assert "Detections" in page
    sample_images = page.partition("Sample images")[2].partition("configurations differ")[0]
    assert "Left out" not in sample_images


def test_an_interrupted_training_goes_on_exactly(
    street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = [*scratch(tmp_path), "--data", street, "--fractions", "[1.0]", "--pictures", "0"]
    common += ["--checkpoint_every_n_steps", "1"]
    assert detect(*common, "--out", tmp_path / "whole") == 0
    step = Detector.training_step

    def broken(self: Detector, batch: Any, batch_idx: int) -> Any:
        if self.global_step == 2:
            raise RuntimeError("the power fails")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Detector, "training_step", broken)
    with pytest.raises(RuntimeError, match="power"):
        detect(*common, "--out", tmp_path / "broken")
    monkeypatch.setattr(Detector, "training_step", step)
    assert (tmp_path / "broken/1-seed0/checkpoints/last.ckpt").exists()
    assert not (tmp_path / "broken/results.json").exists()
    assert detect(*common, "--out", tmp_path / "broken") == 0
    whole, again = (
        torch.load(tmp_path / name / "1-seed0/detector.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "broken")
    )
    for name, value in whole.items():
        assert torch.equal(value, again[name]), name
    assert not (tmp_path / "broken/1-seed0/checkpoints").exists()


def test_what_cannot_be_is_told_in_a_line(
    street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*args: Any) -> str:
        capsys.readouterr()
        assert detect(*args) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        return message

    common = [*scratch(tmp_path), "--data", street, "--out", tmp_path / "out"]
    assert "unknown class 'Cat'" in told(*common, "--classes", "[Cat]")
    assert "share of 1.5" in told(*common, "--fractions", "[1.5]")
    assert "must be at least 1" in told(*common, "--seeds", "0")
    assert "did you mean" in told(*common, "--fraction", "[0.5]")
    assert "unknown class 'Cat'" in told(*common, "--gt_sampling", "{Cat: 3}")
    assert "no checkpoint there" in told("--model", tmp_path / "none", "--data", street)
    assert "with --model scratch alone" in told(*common, "--model", tmp_path / "none")
    quick = [*common, "--fractions", "[0.25]", "--pictures", "0"]
    assert detect(*quick) == 0
    assert "another configuration" in told(*quick, "--detector.box_weight", "3")


def test_objects_of_labelled_sweeps_are_pasted(street: Path, tmp_path: Path) -> None:
    common = [*scratch(tmp_path), "--data", street, "--fractions", "[0.75]", "--pictures", "0"]
    plain, pasted = tmp_path / "plain", tmp_path / "pasted"
    assert detect(*common, "--out", plain) == 0
    assert detect(*common, "--out", pasted, "--gt_sampling", "{Car: 9, Pedestrian: 9}") == 0
    assert not list(plain.glob("objects-*"))
    (stored,) = pasted.glob("objects-*.npz")
    with np.load(stored, allow_pickle=False) as objects:
        numbers = set(objects["sweeps"].tolist())
    assert numbers <= set(labelled_subset(open_lidar(street), 0.75).tolist())
    assert numbers
    losses = [
        next(csv.DictReader((folder / CURVES.replace("1-", "0.75-")).open()))["train/loss"]
        for folder in (plain, pasted)
    ]
    assert losses[0] != losses[1]
