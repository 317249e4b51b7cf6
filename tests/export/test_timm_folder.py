from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from eval.results import Result, results_table
from ssl_equiv import cli
from ssl_equiv.backbones import BackboneConfig, create_backbone
from ssl_equiv.data.views import Preprocess
from ssl_equiv.errors import UserError
from ssl_equiv.export import Backbone, export_timm, open_backbone
from tests.cli.test_pretrain import pretrain
from tests.conftest import write_folder

ALONE = """
import sys, timm, torch
assert not any(name.split(".")[0] == "ssl_equiv" for name in sys.modules)
model = timm.create_model("local-dir:" + sys.argv[1], pretrained=True).eval()
torch.save(model(torch.load(sys.argv[2], weights_only=True)), sys.argv[3])
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    data = write_folder(folder / "data", objects=6, size=32)
    assert pretrain(data, folder / "run", 3) == 0
    return folder / "run"


@pytest.mark.parametrize("source", ["run", "run/checkpoints/last.ckpt", "timm:test_vit"])
def test_timm_alone_loads_the_export(run: Path, tmp_path: Path, source: str) -> None:
    source = source if source.startswith("timm:") else str(run.parent / source)
    assert cli.main(["export", source, "--to", "timm", "--out", str(tmp_path / "out")]) == 0
    backbone = open_backbone(source)
    size = 160 if source == "timm:test_vit" else 32
    images = torch.randn(2, 3, size, size)
    torch.save(images, tmp_path / "images.pt")
    arguments = [str(tmp_path / name) for name in ("out", "images.pt", "features.pt")]
    subprocess.run([sys.executable, "-c", ALONE, *arguments], check=True, cwd=tmp_path)
    features = torch.load(tmp_path / "features.pt", weights_only=True)
    with torch.inference_mode():
        torch.testing.assert_close(features, backbone.model(images))


def test_a_backbone_that_widens_its_features(tmp_path: Path) -> None:
    """MobileNetV3: timm states 288 features, what comes out has 1024; the parts are of those."""
    data, run = write_folder(tmp_path / "data", objects=4, size=32), tmp_path / "run"
    assert pretrain(data, run, 1, "--model.backbone.name", "mobilenetv3_small_050") == 0
    first = open_backbone(str(run))
    export_timm(first, tmp_path / "out")
    again, images = open_backbone(str(tmp_path / "out")), torch.randn(2, 3, 32, 32)
    assert again.parts == first.parts == {"inv": (0, 512), "equi": (512, 1024)}
    assert "1024 features" in (tmp_path / "out" / "README.md").read_text()
    with torch.inference_mode():
        found, want = again.encode(images), first.encode(images)
        assert found["equi"].shape == (2, 512)
        torch.testing.assert_close(found["all"], want["all"])


def test_an_export_is_a_source_again(run: Path, tmp_path: Path) -> None:
    export_timm(open_backbone(str(run)), tmp_path / "out")
    first, again = open_backbone(str(run)), open_backbone(str(tmp_path / "out"))
    assert again.parts == first.parts
    assert again.preprocess.to_dict() == first.preprocess.to_dict()
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        for part in ("inv", "equi"):
            torch.testing.assert_close(again.encode(images)[part], first.encode(images)[part])


def test_the_card_tells_what_was_measured(run: Path, tmp_path: Path) -> None:
    rows = [
        Result("rotation_r2_pooled", value, "equi", "val", seed, "c", "h", baseline=0.243)
        for seed, value in enumerate((0.5, 0.6, 0.7))
    ]
    export_timm(open_backbone(str(run)), tmp_path / "card", results=results_table(rows))
    card = (tmp_path / "card" / "README.md").read_text()
    assert "| equi | rotation_r2_pooled | 0.600 ± 0.100 | 0.243 | 3 |" in card
    assert "equivariant to: rotation" in card
    config = json.loads((tmp_path / "card" / "config.json").read_text())
    assert config["pretrained_cfg"]["mean"] == list(Preprocess().mean)
    assert config["num_classes"] == 0


def test_random_weights_of_a_run(run: Path) -> None:
    first, again = (open_backbone(f"random:{run}") for _ in range(2))
    trained = open_backbone(str(run))
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(next(first.parameters()), next(trained.parameters()))
    assert first.parts == trained.parts


def test_a_wrong_export_is_found_and_removed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = open_backbone(str(run))
    forward = backbone.model.forward
    monkeypatch.setattr(backbone.model, "forward", lambda x: 1.01 * forward(x))
    with pytest.raises(UserError, match="differs from the original by"):
        export_timm(backbone, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_bad_input(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    for args, message in (
        ([str(run), "--out", str(tmp_path / "full")], "exists and is not empty"),
        ([str(tmp_path / "absent"), "--out", str(tmp_path / "x")], "no checkpoint there"),
        (["timm:resnet81", "--out", str(tmp_path / "x")], "timm has no model 'resnet81'"),
        ([str(run), "--to", "caffe", "--out", str(tmp_path / "x")], "to: expected one of"),
    ):
        assert cli.main(["export", *args]) == 2
        assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    config = BackboneConfig("resnet18", cifar_stem=True)
    cifar = Backbone(create_backbone(config), config, Preprocess(), {}, {}, "mine")
    with pytest.raises(UserError, match="has a CIFAR stem"):
        export_timm(cifar, tmp_path / "x")
