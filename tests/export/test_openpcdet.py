from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ssl_equiv.backbones.lidar import LidarEncoder, create_encoder
from ssl_equiv.backbones.lidar.sparse import SparseConv3d
from ssl_equiv.checkpoint import PretrainedEncoder, PretrainedMethod
from ssl_equiv.errors import UserError
from ssl_equiv.export.openpcdet import export_openpcdet, load_openpcdet, open_openpcdet
from tests.backbones.lidar.clouds import PILLARS, VOXELS, random_clouds
from tests.methods.tiny import tiny


def run_of(folder: Path, name: str) -> Path:
    """A checkpoint as a run leaves it."""
    method = tiny(name)
    for value in method.state_dict().values():
        if value.is_floating_point() and value.ndim == 1:
            value.uniform_(0.5, 1.5)
    method._trainer = type("T", (), {"datamodule": None})()
    checkpoint = {
        "state_dict": method.state_dict(),
        "hyper_parameters": dict(method.hparams),
        "global_step": 7,
    }
    method.on_save_checkpoint(checkpoint)
    path = folder / "run.ckpt"
    torch.save(checkpoint, path)
    return path


def sparse_names(encoder: LidarEncoder) -> set[str]:
    return {f"{n}.weight" for n, m in encoder.named_modules() if isinstance(m, SparseConv3d)}


@pytest.mark.parametrize("name", ["ESSL3D", "ESSL3D_voxels"])
def test_out_and_in_again(name: str, tmp_path: Path) -> None:
    run, out = run_of(tmp_path, name), tmp_path / "deep" / "encoder.safetensors"
    number = export_openpcdet(run, out)
    want = PretrainedEncoder(run)
    assert want.step == 7
    with safetensors.safe_open(out, framework="pt") as file:
        assert len(file.keys()) == number
        told = file.metadata()
    assert told["method"] == "ssl_equiv.methods.essl3d.ESSL3D"
    assert json.loads(told["encoder"])["kind"] == ("voxels" if "voxels" in name else "pillars")
    again = open_openpcdet(out)
    clouds = random_clouds()
    assert torch.equal(again(clouds).map, want.encoder(clouds).map)
    parts = {key.split(".")[0] for key in safetensors.torch.load_file(out)}
    assert parts == {"backbone_2d", "backbone_3d" if "voxels" in name else "vfe"}
    with pytest.raises(UserError, match="exists: choose another name"):
        export_openpcdet(run, out)
    with pytest.raises(UserError, match=r"are a \.safetensors file"):
        export_openpcdet(run, tmp_path / "encoder.pth")


@pytest.mark.parametrize("layout", [(0, 1, 2, 3, 4), (1, 2, 3, 0, 4), (1, 2, 3, 4, 0)])
@pytest.mark.parametrize("wrapped", [True, False])
def test_every_layout_of_spconv_is_known(
    layout: tuple[int, ...], wrapped: bool, tmp_path: Path
) -> None:
    """(out, z, y, x, in) of spconv 2.2, (z, y, x, out, in) of 2.0, (z, y, x, in, out) of 1."""
    torch.manual_seed(0)
    encoder, other = create_encoder(VOXELS), create_encoder(VOXELS)
    state = encoder.state_dict()
    sparse = sparse_names(encoder)
    stored: dict[str, Tensor] = {
        name: value.permute(layout).contiguous() if name in sparse else value
        for name, value in state.items()
    }
    stored |= {"dense_head.conv_cls.weight": torch.zeros(2), "global_step": torch.tensor([3])}
    path = tmp_path / "detector.pth"
    torch.save({"model_state": stored, "epoch": 80} if wrapped else stored, path)
    left_out = load_openpcdet(other, path)
    assert left_out == ["dense_head.conv_cls.weight", "global_step"]
    for name, value in other.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_one_part_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder, other = create_encoder(VOXELS), create_encoder(VOXELS)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    path = tmp_path / "backbone.pth"
    state = {n: v for n, v in encoder.state_dict().items() if n.startswith("backbone_3d.")}
    torch.save({"model_state": {f"module.{n}": v for n, v in state.items()}}, path)
    load_openpcdet(other, path, parts=["backbone_3d"])
    for name, value in other.state_dict().items():
        assert torch.equal(value, state.get(name, before[name])), name
    with pytest.raises(UserError, match=r"lacks backbone_2d\.blocks"):
        load_openpcdet(other, path)
    with pytest.raises(UserError, match="no part 'vfe': it has backbone_2d, backbone_3d"):
        load_openpcdet(other, path, parts=["vfe"])


def test_files_of_something_else(tmp_path: Path) -> None:
    encoder, path = create_encoder(VOXELS), tmp_path / "x.pth"
    state = dict(encoder.state_dict())
    state["backbone_3d.conv2.0.0.weight"] = torch.zeros(7, 3, 3, 3, 4)
    torch.save(state, path)
    with pytest.raises(UserError, match=r"fit the layout of none of .*backbone_3d.conv_input"):
        load_openpcdet(encoder, path)
    torch.save({**encoder.state_dict(), "backbone_3d.extra": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"has unknown backbone_3d\.extra"):
        load_openpcdet(encoder, path)
    torch.save({"model_state": {"a": Path}}, path)
    with pytest.raises(UserError, match="pickled objects, which are never loaded"):
        load_openpcdet(encoder, path)
    broken = tmp_path / "x.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(UserError, match="no whole safetensors file"):
        load_openpcdet(encoder, broken)
    with pytest.raises(UserError, match="does not exist"):
        load_openpcdet(encoder, tmp_path / "none.safetensors")
    plain = tmp_path / "plain.safetensors"
    safetensors.torch.save_file(dict(create_encoder(PILLARS).state_dict()), plain)
    with pytest.raises(UserError, match="does not tell its grid"):
        open_openpcdet(plain)


def test_runs_of_images_and_of_sweeps_are_told_apart(tmp_path: Path) -> None:
    run = run_of(tmp_path, "PointContrast")
    assert isinstance(PretrainedEncoder(run).encoder, LidarEncoder)
    with pytest.raises(UserError, match="learnt from LiDAR sweeps, not from images"):
        PretrainedMethod(run)
    with pytest.raises(UserError, match=r"learnt from images \(SimCLR\), not from LiDAR"):
        PretrainedEncoder(run_of(tmp_path, "SimCLR"))
