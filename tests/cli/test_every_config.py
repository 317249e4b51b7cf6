"""Every configuration of ``configs/pretrain`` trains two steps on small data, then two more.

A new file is found by itself; only sizes, lengths and the place of the data are changed. One that
needs something unknown here fails and says what.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ssl_equiv import cli
from ssl_equiv.checkpoint import Pretrained
from tests.data.image_files import write_cifar100, write_stl10

pytestmark = [pytest.mark.slow, pytest.mark.render]
CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "pretrain").glob("*.yaml"))
HERE = Path(__file__).name
KEYS = {"seed_everything", "model", "data", "trainer", "out", "regularizers"}
KEYS |= {"checkpoint_every_n_steps"}
SIZE, RECIPE = 48, {"num_views": 6, "image_size": 48}
WIDTH = 16  # of projectors that are 2048 wide, a backbone of 512 becomes one of 96
# what a method's arguments become, where a configuration names them
SMALL: dict[str, Any] = {
    "projector_widths": [WIDTH] * 3,
    "hidden_width": 32,
    "embedding_width": 16,
    "num_capsules": 4,
    "action_width": 32,
    "layers": 1,
    "predictor_width": 24,
    "predictor_depth": 1,
    "patch": 16,
    "image_size": SIZE,
}
STRIDES = {"EquiCaps": 16, "CapsIE": 16, "ConvIJEPA": 8}  # a map of some cells from few pixels
LIDAR = "ssl_equiv.data.lidar.module.LidarDataModule"
# encoders of sweeps, of the same kind as a configuration's
BEV = {
    "layers": [1],
    "strides": [1],
    "filters": [16],
    "upsample_strides": [1],
    "upsample_filters": [16],
}
ENCODERS: dict[str, dict[str, Any]] = {
    "pillars": {"voxel_size": [0.8, 0.8, 4.0], "widths": [16]},
    "voxels": {"voxel_size": [0.2, 0.2, 0.1], "widths": [4, 4, 8, 8, 8, 8]},
}
IMAGES = {"cifar100": write_cifar100, "stl10": write_stl10}  # by the name of data.root


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Objects with every factor of variation in ``views``, on paths in ``paths``; sweeps in
    ``sweeps``.
    """
    root = tmp_path_factory.mktemp("rendered")
    for name, more in (
        ("views", {"translation": [[-0.2, 0.2]] * 3}),
        ("paths", {"trajectory": {"keyframes": 3}}),
    ):
        file = root / f"{name}.yaml"
        recipe = {"objects": "procedural", "num_objects": 8, "recipe": {**RECIPE, **more}}
        file.write_text(yaml.safe_dump({**recipe, "val_fraction": 0.0}))
        args = ["--config", str(file), "--out", str(root / name), "--num_workers", "1"]
        assert cli.main(["generate", *args]) == 0
    sizes = ["--sequences", "3", "--sweeps", "4", "--beams", "16", "--azimuths", "180"]
    assert cli.main(["simulate", "--out", str(root / "sweeps"), *sizes]) == 0
    return root


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_trains_and_continues(path: Path, rendered: Path, tmp_path: Path) -> None:
    config, out = yaml.safe_load(path.read_text()), tmp_path / "run"
    name = config["model"]["class_path"]
    small = tmp_path / path.name
    small.write_text(yaml.safe_dump(shrunk(config, rendered, tmp_path / "images")))
    args = ["pretrain", "--config", str(small), "--out", str(out), "--trainer.max_steps"]
    for steps in (2, 4):
        assert cli.main([*args, str(steps)]) == 0
        found = Pretrained(out)
        assert found.step == steps
        assert f"{name.rpartition('.')[0]}.{type(found.method).__name__}" == name
        assert all(value.isfinite().all() for value in found.method.state_dict().values())


def shrunk(config: dict[str, Any], rendered: Path, images: Path) -> dict[str, Any]:
    """The configuration with small networks and data."""
    unknown = config.keys() - KEYS
    assert not unknown, f"a configuration sets {', '.join(sorted(unknown))}: teach {HERE} of it"
    return {
        **config,
        "model": small_model(config["model"]),
        "data": small_data(config["data"], rendered, images),
        "trainer": {
            "accelerator": "cpu",
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
    }


def small_model(model: dict[str, Any]) -> dict[str, Any]:
    """Small networks; a schedule to the end of the run, which its continuation moves, is none."""
    kind, options = model["class_path"].rpartition(".")[-1], dict(model["init_args"])
    backbone: dict[str, Any] = {"name": "test_resnet"}
    if "voxel_size" in options["backbone"]:
        which = options["backbone"].get("kind", "pillars")
        bounds = [-12.8, -12.8, -3.0, 12.8, 12.8, 1.0]
        backbone = {"kind": which, "range": bounds, "bev": BEV, **ENCODERS[which]}
    if kind == "ESSL3D":  # which predicts what it projects
        options |= {name: [WIDTH] * 3 for name in ("projector_widths", "predictor_widths")}
    if kind in STRIDES:
        backbone["options"] = {"output_stride": STRIDES[kind]}
    optimizer = {**options["optimizer"], "schedule": "constant", "warmup_steps": 1}
    options |= {name: value for name, value in SMALL.items() if name in options}
    options |= {"backbone": backbone, "optimizer": optimizer}
    if "momentum" in options:
        options["momentum"] = {**options["momentum"], "schedule": "constant"}
    if "equi_dim" in options:
        options["equi_dim"] = options["equi_dim"] * 96 // 512
    if "free_dims" in options:
        options["free_dims"] = options["free_dims"] * WIDTH // 2048
    return {**model, "init_args": options}


def small_data(data: dict[str, Any], rendered: Path, images: Path) -> dict[str, Any]:
    """Few small images of the kind that a configuration asks for."""
    if "class_path" in data:
        kind, options = data["class_path"], dict(data["init_args"])
        name = Path(options["root"]).name
        if kind == LIDAR:
            options |= {"root": str(rendered / "sweeps"), "batch_size": 2, "num_workers": 0}
            return {**data, "init_args": options}
        assert kind == "ssl_equiv.data.images.ImageDataModule", f"{kind}: teach {HERE} of it"
        assert name in IMAGES, f"data.root is {name}: teach {HERE} to write such images"
        options |= {"root": str(IMAGES[name](images)), "batch_size": 4, "num_workers": 0}
        return {**data, "init_args": options}
    options = {**data, "batch_size": 4, "num_workers": 0}
    if "size" in data.get("preprocess", {}):
        options["preprocess"] = {**data["preprocess"], "size": SIZE}
    if "source" in data:
        source = data["source"]
        assert source["class_path"] == "data_gen.live.LiveSource", f"{source}: teach {HERE} of it"
        of_source = {**source["init_args"], "num_objects": 8, "val_fraction": 0.0}
        of_source["recipe"] = {**of_source["recipe"], **RECIPE}
        options["source"] = {**source, "init_args": of_source}
    else:
        options["root"] = str(rendered / ("paths" if data.get("consecutive") else "views"))
    return options
