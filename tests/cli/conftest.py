"""A simulated street, and an encoder that learnt from it for two steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ssl_equiv import cli

BACKBONE = {
    "kind": "pillars",
    "range": [-16, -16, -3, 16, 16, 1],
    "voxel_size": [1.0, 1.0, 4.0],
    "widths": [8],
    "bev": {
        "layers": [1],
        "strides": [1],
        "filters": [8],
        "upsample_strides": [1],
        "upsample_filters": [8],
    },
}


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 sweeps to train on, 4 to be judged on."""
    root = tmp_path_factory.mktemp("street")
    args = ["--sequences", "4", "--sweeps", "4", "--beams", "16", "--azimuths", "180"]
    recipe = ["--recipe", '{"extent": 14.0}', "--num_workers", "1", "--progress", "false"]
    assert cli.main(["simulate", "--out", str(root), *args, *recipe]) == 0
    return root


@pytest.fixture(scope="session")
def run_on_sweeps(street: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained run."""
    folder = tmp_path_factory.mktemp("runs")
    config: dict[str, Any] = {
        "model": {
            "class_path": "ssl_equiv.methods.ESSL3D",
            "init_args": {
                "backbone": BACKBONE,
                "points": 16,
                "projector_widths": [8, 4],
                "predictor_widths": [8, 4],
            },
        },
        "data": {
            "class_path": "ssl_equiv.data.lidar.module.LidarDataModule",
            "init_args": {
                "root": str(street),
                "flow": "truth",
                "batch_size": 2,
                "num_workers": 0,
            },
        },
        "trainer": {"max_steps": 2, "accelerator": "cpu", "enable_progress_bar": False},
        "out": str(folder / "essl3d"),
    }
    config["trainer"]["enable_model_summary"] = False
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert cli.main(["pretrain", "--config", str(folder / "config.yaml")]) == 0
    return folder / "essl3d"
