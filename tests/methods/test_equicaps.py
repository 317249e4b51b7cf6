from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from eval.results import read_results
from ssl_equiv import cli
from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.errors import UserError
from ssl_equiv.export import open_backbone
from ssl_equiv.groups import SE3, SO3, Hue, Translation
from ssl_equiv.methods import CapsIE, EquiCaps, Method
from ssl_equiv.methods.capsules import CapsuleMethod
from ssl_equiv.representation import Representation
from tests.conftest import write_folder

SIZE = 48  # a 2x2 map of test_resnet


def method(kind: type[CapsuleMethod] = EquiCaps, name: str = "test_resnet", **options: Any) -> Any:
    torch.manual_seed(0)
    options = {"image_size": SIZE, "num_capsules": 4, **options}
    return kind(backbone=BackboneConfig(name), **options)


def batch(objects: int = 6, size: int = SIZE, translation: bool = True) -> ViewBatch:
    generator = torch.Generator().manual_seed(1)
    groups = {"rotation": SO3(), "floor_hue": Hue()}
    if translation:
        groups["translation"] = Translation(3)
    return ViewBatch(
        images=torch.randn(objects, 2, 3, size, size, generator=generator),
        actions={
            name: group.sample((objects, 2), generator=generator) for name, group in groups.items()
        },
        groups=groups,
        label=torch.arange(objects),
        index=torch.arange(objects),
    )


def terms(of: Method, views: ViewBatch) -> dict[str, Tensor]:
    return of.terms(of.encode_views(views.images), views)


def homogeneous(views: ViewBatch, view: int, frame: str) -> np.ndarray:
    """M of the scene, by scipy."""
    rotation, shift = np.tile(np.eye(4), (2, len(views.images), 1, 1))
    quats = views.actions["rotation"][:, view].double().numpy()
    rotation[:, :3, :3] = Rotation.from_quat(quats).as_matrix()
    shift[:, :3, 3] = views.actions["translation"][:, view].numpy()
    return shift @ rotation if frame == "object" else rotation @ shift


def test_parts_are_the_plain_backbone_and_the_capsules() -> None:
    equicaps = method().eval()
    images = torch.randn(2, 3, SIZE, SIZE)
    made = equicaps.encode(images)
    pooled = equicaps.pooled_dim
    widths = {"backbone": pooled, "capsule_activation": 4, "capsule_pose": 36, "all": pooled + 40}
    assert {name: made[name].shape[1] for name in made.parts} == widths
    assert equicaps.dim == pooled + 40
    torch.testing.assert_close(made["backbone"], equicaps.backbone(images))
    torch.testing.assert_close(made["capsule_activation"].sum(dim=1), torch.ones(2))


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet"])
def test_any_backbone_with_a_map_will_do(name: str) -> None:
    equicaps = method(name=name, image_size=64).train()
    equicaps.total(terms(equicaps, batch(size=64))).backward()
    for entry, parameter in equicaps.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, entry
    with torch.no_grad():
        made = equicaps.eval().encode(torch.ones(2, 3, 64, 64))
        torch.testing.assert_close(made["backbone"], equicaps.backbone(torch.ones(2, 3, 64, 64)))


@pytest.mark.parametrize("frame", ["object", "base"])
def test_the_action_is_the_relative_matrix(frame: str) -> None:
    views = batch()
    start, end = (homogeneous(views, view, frame) for view in (0, 1))
    want = torch.from_numpy(np.linalg.inv(start) @ end).float()
    rigid = method(pose="4x4", factors=("rotation", "translation"), frame=frame)
    torch.testing.assert_close(rigid.action(views), want, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(method().action(views), want[:, :3, :3], atol=1e-5, rtol=1e-5)
    padded = method(pose="4x4").action(views)  # no translation asked for
    torch.testing.assert_close(padded[:, :3, :3], want[:, :3, :3], atol=1e-5, rtol=1e-5)
    assert padded[:, :3, 3].eq(0).all()
    assert padded[:, 3].eq(torch.tensor([0.0, 0.0, 0.0, 1.0])).all()


@pytest.mark.parametrize("pose", ["3x3", "4x4"])
def test_a_frame_without_a_translation_is_refused(pose: str) -> None:
    with pytest.raises(UserError, match=r"model\.frame is base, but \['rotation'\] alone"):
        method(pose=pose, frame="base")


def test_poses_that_are_moved_by_the_action_cost_nothing() -> None:
    equicaps, views = method(pose="4x4", factors=("rotation", "translation")), batch()
    action = SE3().matrix(
        SE3().relative(
            *(SE3().pose(*(views.actions[n][:, v] for n in equicaps.factors)) for v in (0, 1))
        )
    )
    activation, pose = torch.rand(6, 4), torch.randn(6, 4, 4, 4)
    columns = {"capsule_activation": (0, 4), "capsule_pose": (4, 68)}
    scale = torch.rand(6, 4, 1, 1) + 0.5  # a pose's norm does not count
    sides = [pose, scale * (pose @ action[:, None])]
    x, y = (
        Representation(torch.cat([activation, side.flatten(1)], dim=1), columns) for side in sides
    )
    assert equicaps.terms([x, y], views)["equivariance"] < 1e-10
    assert equicaps.terms([y, x], views)["equivariance"] > 1e-3


@pytest.mark.parametrize("kind", [EquiCaps, CapsIE])
def test_every_parameter_learns(kind: type[CapsuleMethod]) -> None:
    made = method(kind).train()
    found = terms(made, batch())
    assert found.keys() == made.weights.keys()
    made.total(found).backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name


def test_capsie_is_its_formula() -> None:
    capsie, views = method(CapsIE, pose_dim=9), batch()
    x, y = capsie.encode_views(views.images)
    found = capsie.terms([x, y], views)
    action = views.relative("rotation", 0, 1)
    matrices = torch.einsum("bk,koi->boi", action, capsie.predictor.matrices())  # W(g), built
    prediction = torch.einsum("boi,bi->bo", matrices, x["capsule_pose"])
    error = (prediction - y["capsule_pose"]).square().mean()
    torch.testing.assert_close(found["equivariance"], error)
    deviation = (prediction.var(dim=0) + 1e-4).sqrt()
    torch.testing.assert_close(found["prediction_variance"], (1 - deviation).relu().mean() / 2)
    capsules = torch.cat([x["capsule_activation"], x["capsule_pose"]], dim=1)
    off = torch.cov(capsules.T).square()
    off.fill_diagonal_(0)
    other = torch.cov(torch.cat([y["capsule_activation"], y["capsule_pose"]], dim=1).T).square()
    other.fill_diagonal_(0)
    torch.testing.assert_close(found["covariance"], (off.sum() + other.sum()) / 40)


def test_bad_input() -> None:
    views = batch(translation=False)
    with pytest.raises(UserError, match=r"smaller than any capsule kernel: raise model.image_size"):
        method(image_size=32)
    with pytest.raises(UserError, match=r"32x32 px, but .* 2x2 map of 48 px .*preprocess.size to"):
        method().encode(torch.randn(2, 3, 32, 32))
    with pytest.raises(UserError, match="takes no images of 48 px"):
        method(name="vit_tiny_patch16_224")
    with pytest.raises(UserError, match=r"3x3 poses take a rotation alone; set model.pose 4x4"):
        method(factors=("rotation", "translation"))
    with pytest.raises(UserError, match="the factor 'translation', but the data set has rotation"):
        terms(method(pose="4x4", factors=("rotation", "translation")), views)
    with pytest.raises(UserError, match="'floor_hue' is of Hue, but SO3 stands there"):
        terms(method(factors=("floor_hue",)), views)
    with pytest.raises(UserError, match="a batch of one object has no variance"):
        terms(method(), batch(objects=1))
    with pytest.raises(UserError, match="action_dim is 4, but the factors rotation, floor_hue"):
        terms(method(CapsIE, factors=("rotation", "floor_hue")), views)


def test_a_run_is_judged_part_by_part_and_exported(tmp_path: Path) -> None:
    data, run, out = write_folder(tmp_path / "data", size=SIZE), tmp_path / "run", tmp_path / "out"
    train = ["--model", "EquiCaps", "--model.backbone.name", "test_resnet"]
    train += ["--model.image_size", str(SIZE), "--model.num_capsules", "4", "--out", str(run)]
    train += ["--data.root", str(data), "--data.batch_size", "4", "--data.num_workers", "0"]
    train += ["--trainer.max_steps", "2", "--trainer.accelerator", "cpu", "--online_probe", "true"]
    train += ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
    assert cli.main(["pretrain", *train]) == 0
    quick = ["--recipe", "quick", "--seeds", "1", "--progress", "false", "--num_workers", "0"]
    assert cli.main(["eval", "--model", str(run), "--data", str(data), *quick]) == 0
    parts = {"all", "backbone", "capsule_activation", "capsule_pose"}
    assert {row.part for row in read_results(run / "eval" / "results.json")} == parts
    assert cli.main(["export", str(run), "--out", str(out)]) == 0
    images = torch.randn(2, 3, SIZE, SIZE)
    with torch.inference_mode():
        plain = open_backbone(str(out)).encode(images).features
        torch.testing.assert_close(plain, open_backbone(str(run)).encode(images)["backbone"])
