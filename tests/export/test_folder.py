from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from eval.results import PROVENANCE, RESULTS, Result, results_table, write_results
from ssl_equiv import cli
from ssl_equiv.backbones import BackboneConfig, create_backbone
from ssl_equiv.cli.export import measured
from ssl_equiv.data.views import Preprocess
from ssl_equiv.errors import UserError
from ssl_equiv.export import Backbone, export_folder, open_backbone
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


@pytest.mark.parametrize(
    "source",
    [
        "run",
        pytest.param("run/checkpoints/last.ckpt", marks=pytest.mark.slow),
        pytest.param("timm:test_vit", marks=pytest.mark.slow),
    ],
)
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
    export_folder(first, ["timm"], tmp_path / "out")
    again, images = open_backbone(str(tmp_path / "out")), torch.randn(2, 3, 32, 32)
    assert again.parts == first.parts == {"inv": (0, 512), "equi": (512, 1024)}
    assert "1024 features" in (tmp_path / "out" / "README.md").read_text()
    with torch.inference_mode():
        found, want = again.encode(images), first.encode(images)
        assert found["equi"].shape == (2, 512)
        torch.testing.assert_close(found["all"], want["all"])


def test_an_export_is_a_source_again(run: Path, tmp_path: Path) -> None:
    export_folder(open_backbone(str(run)), ["timm"], tmp_path / "out")
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
    export_folder(open_backbone(str(run)), ["timm"], tmp_path / "card", results=results_table(rows))
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
    with pytest.raises(UserError, match="the exported form timm differs from the backbone by"):
        export_folder(backbone, ["timm"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_bad_input(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    for args, message in (
        ([str(run), "--out", str(tmp_path / "full")], "exists and is not empty"),
        ([str(tmp_path / "absent"), "--out", str(tmp_path / "x")], "no checkpoint there"),
        (["timm:resnet81", "--out", str(tmp_path / "x")], "timm has no model 'resnet81'"),
        ([str(run), "--to", "caffe", "--out", str(tmp_path / "x")], "to: "),
    ):
        assert cli.main(["export", *args]) == 2
        assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    config = BackboneConfig("resnet18", cifar_stem=True)
    cifar = Backbone(create_backbone(config), config, Preprocess(), {}, {}, "mine")
    with pytest.raises(UserError, match="has a CIFAR stem"):
        export_folder(cifar, ["timm"], tmp_path / "x")


def test_every_form_and_the_card_that_tells_how_to_use_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers")
    out = tmp_path / "mine"
    forms = ["--to", "timm", "hf", "--to=onnx,torch-export", "--license", "apache-2.0"]
    assert cli.main(["export", str(run), *forms, "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert all(f"  {form} " in told for form in ("timm", "hf", "onnx", "torch-export"))
    card = (out / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert "| rotation | SO3 |" in card
    snippets = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(snippets) == 5  # and the predictor's
    monkeypatch.chdir(tmp_path)
    for snippet in snippets:
        found: dict[str, Any] = {}
        exec(snippet, found)
        if "moved" in found:
            assert found["moved"].shape == (2, 1, 8)
        else:
            assert tuple(found["features"].shape) == (1, 96)
    config = json.loads((out / "config.json").read_text())
    assert config["pretrained_cfg"]["license"] == "apache-2.0"
    assert not {"origin_url", "paper_ids"} & config["pretrained_cfg"].keys()
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o644}


def test_an_export_in_a_detector_and_as_a_feature_pyramid(run: Path, tmp_path: Path) -> None:
    export_folder(open_backbone(str(run)), ["timm"], tmp_path / "out")
    maps = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True, features_only=True)
    maps.eval()
    reductions, channels = maps.feature_info.reduction(), maps.feature_info.channels()
    images = torch.randn(1, 3, 64, 64)
    for found, reduction, width in zip(maps(images), reductions, channels, strict=True):
        assert found.shape == (1, width, 64 // reduction, 64 // reduction)
    first = open_backbone(str(run)).model
    with torch.inference_mode():
        last = maps(images)[-1]
        torch.testing.assert_close(last, first.forward_features(images))  # type: ignore[operator]

    class Pyramid(nn.Module):
        """What torchvision's detectors ask of a backbone."""

        out_channels = 16

        def __init__(self) -> None:
            super().__init__()
            self.body, self.neck = maps, FeaturePyramidNetwork(channels, self.out_channels)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            named = {str(level): found for level, found in enumerate(self.body(x))}
            return self.neck(named)  # type: ignore[no-any-return]

    sizes = tuple((8 * 2**level,) for level in range(len(channels)))
    maps.train()
    detector = FasterRCNN(
        Pyramid(),
        num_classes=3,
        min_size=64,
        max_size=64,
        rpn_anchor_generator=AnchorGenerator(sizes, ((1.0,),) * len(channels)),
        box_roi_pool=MultiScaleRoIAlign([str(level) for level in range(len(channels))], 7, 2),
    )
    target = {"boxes": torch.tensor([[4.0, 4.0, 40.0, 40.0]]), "labels": torch.tensor([1])}
    losses = detector([torch.rand(3, 64, 64)], [target])
    sum(losses.values()).backward()
    gradients = [p.grad for p in maps.parameters() if p.grad is not None]
    assert any(gradient.abs().sum() > 0 for gradient in gradients)


def test_results_of_other_weights_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "evaluations" / "val"
    write_results(folder / RESULTS, [Result("top1", 0.5, "all", "val", 0, "c", "h")])
    (folder / PROVENANCE).write_text(json.dumps({"command": "ssl-equiv eval X", "steps": 5}))
    assert "`ssl-equiv eval X`" in measured(str(tmp_path), 5)
    with pytest.warns(UserWarning, match="was measured after 5 steps, but 9 are exported"):
        assert measured(str(tmp_path), 9) == []
    with pytest.raises(UserError, match="holds no results"):
        measured(str(tmp_path), 5, "absent")
