from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from eval.results import read_results
from ssl_equiv import cli
from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.checkpoint import PretrainedMethod
from ssl_equiv.data.views import DIEBENCH_MEAN, DIEBENCH_STD, Preprocess
from ssl_equiv.errors import UserError
from ssl_equiv.export import import_published, open_backbone
from ssl_equiv.export.importers import seqjepa, sie
from ssl_equiv.export.published import Published
from ssl_equiv.methods import PLS, SIE, EquiCaps, SeqJEPA
from ssl_equiv.representation import Representation
from tests.cli.test_pretrain import pretrain
from tests.conftest import write_folder
from tests.export.published import (
    PublishedEquiCaps,
    PublishedSeqJEPA,
    PublishedSIE,
    mlp,
    resnet,
)
from tests.export.test_folder import ALONE
from tests.parity import common  # register the files' backbones
from tests.parity import seqjepa as parity_seqjepa

GOLDEN = Path(__file__).parents[1] / "golden"
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
State = dict[str, Tensor]
WRAPPED: dict[str, Callable[[State], dict[str, Any]]] = {
    "bare": lambda state: state,
    "ddp": lambda state: {
        "epoch": 1999,
        "model": OrderedDict((f"module.{key}", value) for key, value in state.items()),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]},
    },
    "compiled": lambda state: {"net": {f"_orig_mod.module.{k}": v for k, v in state.items()}},
    "apart": lambda state: {
        top: value
        if (value := state.get(top)) is not None
        else {k.split(".", 1)[1]: v for k, v in state.items() if k.startswith(f"{top}.")}
        for top in {key.split(".")[0] for key in state}
    },
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def saved(path: Path, state: Any, wrapped: str = "bare") -> Path:
    torch.save(WRAPPED[wrapped](state), path)
    return path


@pytest.fixture(scope="module")
def published_sie(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PublishedSIE]:
    torch.manual_seed(1)
    module = PublishedSIE().eval()
    path = tmp_path_factory.mktemp("sie") / "model.pth"
    return saved(path, module.state_dict(), "ddp"), module


@torch.inference_mode()
def assert_same_sie(method: SIE, module: PublishedSIE, actions: int = 4) -> None:
    images, z = torch.randn(2, 3, 64, 64), torch.randn(2, actions)
    representation, features = method.encode(images), module.backbone(images)
    torch.testing.assert_close(representation.features, features, **CLOSE)
    assert torch.equal(representation["equi"], representation.features[:, 512 - module.equi :])
    x = module.projector_equi(features[:, 512 - module.equi :])
    torch.testing.assert_close(method.projector_equi(representation["equi"]), x, **CLOSE)
    if method.projector_inv is not None:
        x_inv = module.projector_inv(features[:, : 512 - module.equi])
        torch.testing.assert_close(method.projector_inv(representation["inv"]), x_inv, **CLOSE)
    prediction = module.predictor.hypernet.predict(x, z)
    torch.testing.assert_close(method.predictor(x, z), prediction, **CLOSE)


def test_sie_at_its_published_sizes(published_sie: tuple[Path, PublishedSIE]) -> None:
    path, module = published_sie
    found = import_published("sie", path)
    assert isinstance(found.method, SIE)
    assert_same_sie(found.method, module)
    backbone = open_backbone(f"sie:{path}")
    assert backbone.parts == {"inv": (0, 256), "equi": (256, 512)}
    assert backbone.preprocess == Preprocess(size=256, mean=DIEBENCH_MEAN, std=DIEBENCH_STD)
    assert not backbone.model.training


@pytest.mark.parametrize(
    ("options", "factors"),
    [
        ({"equi": 512}, ["rotation"]),
        ({"equi": 128, "actions": 6}, ["rotation", "floor_hue", "light_hue"]),
        ({"deep": True}, ["rotation"]),
        ({"deep": True, "actions": 6}, ["rotation", "floor_hue", "light_hue"]),
    ],
    ids=["only equivariant", "colour", "deep", "deep colour"],
)
@pytest.mark.parametrize("wrapped", ["bare", "compiled"])
def test_sies_variants(
    tmp_path: Path, options: dict[str, Any], factors: list[str], wrapped: str
) -> None:
    module = PublishedSIE(widths=(96, 80, 64), **options).eval()
    found = import_published("sie", saved(tmp_path / "m.pth", module.state_dict(), wrapped))
    assert isinstance(found.method, SIE)
    assert list(found.method.factors) == factors
    assert_same_sie(found.method, module, options.get("actions", 4))
    assert found.parts["equi"] == (512 - module.equi, 512)


@pytest.mark.parametrize("name", ["SIE", "SIERotColor", "SIEOnlyEqui"])
def test_imported_heads_have_the_published_loss(name: str) -> None:
    path = GOLDEN / f"sie_repo_{name}.npz"
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    rest = {
        key.removeprefix("weights/").replace("/", "."): torch.from_numpy(value)
        for key, value in arrays.items()
        if key.startswith("weights/")
    }
    x, y, z = (torch.from_numpy(arrays[key]) for key in "xyz")
    config = BackboneConfig(common.parity_features.__name__, options={"dim": x.shape[1]})
    method = sie(Published(path, config, {}, None, rest)).method
    assert isinstance(method, SIE)
    method.train()
    terms = method.terms_of_action([Representation(v, method.parts) for v in (x, y)], z)
    names = {"equivariance": "repr_loss_equi", "covariance": "cov_loss", "variance": "std_loss"}
    for ours, theirs in names.items():
        want = torch.from_numpy(arrays[f"term/{theirs}"]).view(())
        torch.testing.assert_close(terms[ours], want, rtol=1e-4, atol=1e-6, check_dtype=False)


@pytest.mark.parametrize("name", ["ema", "noema"])
def test_an_imported_seqjepa_has_the_published_loss(name: str) -> None:
    path = GOLDEN / f"seqjepa_repo_transforms_{name}.npz"
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: torch.from_numpy(value) for key, value in dict(file).items()}
    weights = {k.removeprefix("weights/"): v for k, v in arrays.items() if k.startswith("weights/")}
    dim, inputs = weights["encoder.proj.weight"].shape
    config = BackboneConfig(
        parity_seqjepa.parity_linear.__name__, options={"inputs": inputs, "dim": dim}
    )
    encoder, target = (
        {f"1.{k}": weights.pop(f"{prefix}.proj.{k}", None) for k in ("weight", "bias")}
        for prefix in ("encoder", "target_encoder")
    )
    whole = {key: value for key, value in encoder.items() if value is not None}
    averaged = {key: value for key, value in target.items() if value is not None} or None
    method = seqjepa(Published(path, config, whole, averaged, weights)).method
    assert isinstance(method, SeqJEPA)
    method.train()
    views = torch.stack([view.features for view in method.encode_views(arrays["x"])], dim=1)
    goal = method.encode_target(arrays["x"][:, -1])
    loss = method.total(method.terms_of_sequence(views, arrays["rel_quat"], goal))
    want = arrays["loss"].view(())
    torch.testing.assert_close(loss, want, rtol=1e-4, atol=1e-6, check_dtype=False)


@pytest.mark.parametrize("wrapped", ["bare", "ddp"])
def test_a_backbone_alone(tmp_path: Path, wrapped: str) -> None:
    module = resnet().eval()
    path = saved(tmp_path / "final_weights.pth", module.state_dict(), wrapped)
    images = torch.randn(2, 3, 64, 64)
    for family, parts in (
        ("sie", {"inv": (0, 256), "equi": (256, 512)}),
        ("equicaps", {}),
        ("seqjepa", {}),
    ):
        backbone = open_backbone(f"{family}:{path}")
        assert backbone.parts == parts
        assert backbone.method is None
        with torch.inference_mode():
            torch.testing.assert_close(backbone.encode(images).features, module(images))


@pytest.mark.parametrize("pose", [9, 16])
def test_equicaps_at_its_published_sizes(tmp_path: Path, pose: int) -> None:
    module = PublishedEquiCaps(pose=pose).eval()
    path = saved(tmp_path / "EquiCaps.pth", module.state_dict(), "ddp")
    backbone = open_backbone(f"equicaps:{path}")
    assert isinstance(backbone.method, EquiCaps)
    assert backbone.preprocess.size == 256
    images = torch.randn(2, 3, 256, 256)
    features: list[Tensor] = []
    module.backbone.layer4.register_forward_hook(lambda *made: features.append(made[-1]))
    with torch.inference_mode():
        pooled = module.backbone(images)
        activation, poses = module.projector(features[0])
        made = backbone.encode(images)
    torch.testing.assert_close(made["backbone"], pooled)
    torch.testing.assert_close(made["capsule_activation"], activation, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made["capsule_pose"], poses.flatten(1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("actions", "momentum"), [(4, True), (6, False), (2, True)])
def test_seqjepa_at_its_published_sizes(tmp_path: Path, actions: int, momentum: bool) -> None:
    module = PublishedSeqJEPA(actions, momentum=momentum).eval()
    wrapped = {4: "bare", 6: "compiled", 2: "apart"}[actions]
    found = import_published("seqjepa", saved(tmp_path / "m.pth", module.state_dict(), wrapped))
    assert isinstance(found.method, PLS if actions == 2 else SeqJEPA)
    assert found.preprocess.size == (None if actions == 2 else 128)
    images, z = torch.randn(2, 3, 3, 64, 64), torch.randn(2, 3, actions)
    with torch.inference_mode():
        aggregate, prediction = module(images, z)
        torch.testing.assert_close(found.method.aggregate(images, z[:, :2]), aggregate)
        torch.testing.assert_close(found.method.head.predict(aggregate, z[:, -1]), prediction)
        if momentum:
            want = module.target_encoder(images[:, 0])
            torch.testing.assert_close(found.method.encode_target(images[:, 0]), want)


@pytest.mark.parametrize("name", ["resnet34", "resnet50", "wide_resnet50_2", "resnext50_32x4d"])
def test_other_resnets_are_known_by_their_shapes(tmp_path: Path, name: str) -> None:
    module = torchvision.models.get_model(name).eval()
    backbone = open_backbone(f"sie:{saved(tmp_path / 'm.pth', module.state_dict())}")
    module.fc = nn.Identity()
    assert backbone.config.name == name
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        want = module(images)
        torch.testing.assert_close(backbone.encode(images).features, want)
    assert backbone.parts["equi"] == (want.shape[1] // 2, want.shape[1])


@pytest.mark.parametrize("cifar", [False, True])
def test_a_sequential_of_a_resnets_children(tmp_path: Path, cifar: bool) -> None:
    module = resnet().eval()
    if cifar:
        module.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    children = [child for name, child in module.named_children() if name != "fc"]
    if cifar:
        children = [child for child in children if not isinstance(child, nn.MaxPool2d)]
    encoder = nn.Sequential(*children, nn.Flatten()).eval()
    state = {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
    backbone = open_backbone(f"seqjepa:{saved(tmp_path / 'm.pth', state)}")
    assert backbone.config.cifar_stem == cifar
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(backbone.encode(images).features, encoder(images))


@pytest.mark.slow
def test_timm_alone_loads_an_exported_import(
    published_sie: tuple[Path, PublishedSIE], tmp_path: Path
) -> None:
    path, module = published_sie
    out = tmp_path / "out"
    assert cli.main(["export", f"sie:{path}", "--to", "timm", "--out", str(out)]) == 0
    images = torch.randn(2, 3, 64, 64)
    torch.save(images, tmp_path / "images.pt")
    arguments = [str(out), str(tmp_path / "images.pt"), str(tmp_path / "features.pt")]
    subprocess.run([sys.executable, "-c", ALONE, *arguments], check=True, cwd=tmp_path)
    features = torch.load(tmp_path / "features.pt", weights_only=True)
    with torch.inference_mode():
        torch.testing.assert_close(features, module.backbone(images))
    card = (out / "README.md").read_text()
    assert "Imported from model.pth of SIE, arXiv 2302.10283; SHA-256" in card
    assert "equivariant to: rotation" in card
    assert "| `equi` | 256 to 511 |" in card
    beside = json.loads((out / "ssl_equiv.json").read_text())
    assert beside["origin"]["method"]["class_path"] == "ssl_equiv.methods.sie.SIE"
    assert open_backbone(str(out)).parts == {"inv": (0, 256), "equi": (256, 512)}


def test_an_import_is_judged_by_its_parts(
    published_sie: tuple[Path, PublishedSIE], tmp_path: Path
) -> None:
    data = write_folder(tmp_path / "data", classes=2, objects=4, views=2, size=32)
    capsules = PublishedEquiCaps(num=2, side=2)
    small = saved(tmp_path / "small.pth", capsules.state_dict(), "ddp")
    for source, parts in (
        (f"sie:{published_sie[0]}", {"inv", "equi"}),
        (f"equicaps:{small}", {"backbone", "capsule_activation", "capsule_pose"}),
    ):
        out = tmp_path / source.partition(":")[0]
        args = ["--model", source, "--data", str(data), "--out", str(out), "--recipe", "quick"]
        more = ["--seeds", "1", "--progress", "false", "--num_workers", "0"]
        assert cli.main(["eval", *args, *more]) == 0
        rows = read_results(out / "results.json")
        assert {row.part for row in rows} == {"all", *parts}
        assert {row.model for row in rows} == {source}


def test_a_run_starts_from_an_import(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    module = PublishedSIE(widths=(16, 16))
    path = saved(tmp_path / "model.pth", module.state_dict(), "ddp")
    data = write_folder(tmp_path / "data", classes=2, objects=4, views=2, size=32)
    still = ["--model.backbone.name", "resnet18", "--model.optimizer.lr", "0"]
    args = [*still, "--init_from", f"sie:{path}"]
    assert pretrain(data, tmp_path / "run", 1, *args) == 0
    trained = PretrainedMethod(tmp_path / "run").method
    start = import_published("sie", path).method
    assert start is not None
    for name, parameter in start.named_parameters():
        assert torch.equal(trained.get_parameter(name), parameter), name
    alone = saved(tmp_path / "final_weights.pth", resnet().state_dict())
    for source, message in (
        (f"sie:{alone}", "holds a backbone alone: start from a checkpoint with the method's"),
        (str(tmp_path / "run"), "lacks backbone.layer1.2.conv1.weight"),
    ):
        name = ["--model.backbone.name", "resnet34" if "run" in source else "resnet18"]
        assert pretrain(data, tmp_path / "other", 1, *name, "--init_from", source) == 2
        assert message in capfd.readouterr().err
        assert not (tmp_path / "other").exists()


def test_what_stands_beside_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module = PublishedSIE(widths=(16, 16))
    module.online_evaluator = nn.Linear(512, 55)
    path = saved(tmp_path / "m.pth", module.state_dict(), "ddp")
    with caplog.at_level(logging.WARNING):
        found = import_published("sie", path)
    assert found.origin["left_out"] == ["online_evaluator"]
    assert f"{path}: not imported: online_evaluator" in caplog.text


def refused(family: str, path: Path) -> str:
    with pytest.raises(UserError) as caught:
        open_backbone(f"{family}:{path}")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "make"),
    [
        ("sie", lambda: PublishedSIE(widths=(16, 16))),
        ("sie", lambda: PublishedSIE(widths=(16, 16), deep=True)),
        ("equicaps", lambda: PublishedEquiCaps(num=2, side=2)),
        ("seqjepa", lambda: PublishedSeqJEPA(layers=1)),
    ],
    ids=["sie", "deep", "equicaps", "seqjepa"],
)
def test_every_tensor_counts(
    tmp_path: Path, family: str, make: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = make().state_dict()
    heads = [key for key in state if "layer" not in key or "layers" in key]
    read: State = {}
    monkeypatch.setattr("ssl_equiv.export.published.read_checkpoint", lambda path: read)
    path = saved(tmp_path / "m.pth", {})
    read = state
    assert import_published(family, path).method is not None
    for number, key in enumerate(heads):
        value = state[key]
        read = {k: v for k, v in state.items() if k != key}
        refused(family, path)
        odd = [torch.cat([value, value]) if value.ndim else torch.zeros(2), value[None, None]]
        read = {**state, key: odd[number % 2]}
        refused(family, path)
        if "." in key and number % 3 == 0:
            read = {**state, f"{key.rsplit('.', 1)[0]}.surprise": torch.zeros(2)}
            refused(family, path)


def test_a_module_that_is_known_has_nothing_unknown(tmp_path: Path) -> None:
    for module in ("backbone", "projector_equi", "predictor"):
        for wrapped in ("bare", "ddp"):
            state = PublishedSIE(widths=(16, 16)).state_dict()
            state[f"{module}.surprise.weight"] = torch.zeros(2)
            path = saved(tmp_path / "m.pth", state, wrapped)
            message = refused("sie", path)
            assert "has unknown" in message
            assert f"{module}.surprise.weight" in message


def test_checkpoints_of_others(tmp_path: Path) -> None:
    vicreg = nn.ModuleDict({"backbone": resnet(), "projector": mlp(512, 32, 32)})
    path = saved(tmp_path / "vicreg.pth", vicreg.state_dict(), "ddp")
    assert "lacks projector_equi.0.weight; has unknown model.projector.0.weight" in refused(
        "sie", path
    )
    assert "lacks projector.fc.W1" in refused("equicaps", path)
    assert "lacks agg_token" in refused("seqjepa", path)

    equimod = PublishedSIE(equi=512, widths=(16, 16))
    equimod.projector_inv = mlp(512, 16, 16)
    path = saved(tmp_path / "equimod.pth", equimod.state_dict())
    assert "holds a resnet18 of 512 features, but projectors of 512 and 512" in refused("sie", path)

    wide = PublishedSIE(widths=(16, 16))
    wide.backbone = torchvision.models.resnet50()
    path = saved(tmp_path / "wide.pth", wide.state_dict())
    assert "holds a resnet50 of 2048 features, but projectors of 256" in refused("sie", path)

    odd = resnet().state_dict()
    del odd["layer3.1.bn2.running_mean"]
    path = saved(tmp_path / "odd.pth", odd)
    assert "as a resnet18 it lacks layer3.1.bn2.running_mean" in refused("sie", path)

    path = saved(tmp_path / "vit.pth", {"blocks.0.attn.qkv.weight": torch.zeros(3, 3)})
    assert "holds no ResNet (its first tensors: blocks.0.attn.qkv.weight)" in refused("sie", path)
    path = saved(tmp_path / "two.pth", {"a": resnet().state_dict(), "b": resnet().state_dict()})
    assert "holds several ResNets (in a., b.)" in refused("sie", path)


def test_files_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.pth").write_text("hello")
    assert "is not a readable checkpoint" in refused("sie", tmp_path / "text.pth")
    whole = saved(tmp_path / "whole.pth", resnet().state_dict()).read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    assert "is not a readable checkpoint" in refused("sie", tmp_path / "cut.pth")
    pickled = {"model": resnet().state_dict(), "args": argparse.Namespace(lr=1e-3)}
    torch.save(pickled, tmp_path / "pickled.pth")
    assert "holds pickled objects, which are never" in refused("sie", tmp_path / "pickled.pth")
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    assert "holds a Tensor, no checkpoint" in refused("sie", tmp_path / "tensor.pth")
    assert "is no file" in refused("sie", tmp_path / "absent.pth")
    assert "is no file" in refused("sie", tmp_path)
    torch.save({"ssl_equiv": {}}, tmp_path / "ours.ckpt")
    assert "name it without a prefix" in refused("sie", tmp_path / "ours.ckpt")
    saved(tmp_path / "plain.ckpt", resnet().state_dict())
    with pytest.raises(UserError, match="name a published checkpoint as sie:FILE"):
        PretrainedMethod(tmp_path / "plain.ckpt")
    out = tmp_path / "out"
    assert cli.main(["export", f"sie:{tmp_path / 'pickled.pth'}", "--out", str(out)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not out.exists()
