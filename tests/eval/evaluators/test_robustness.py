"""Shifts, flips, affine maps and crops of pictures, by encoders whose invariance is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ssl_equiv.backbones  # noqa: F401 (registers the models)
from eval.artifacts import read_artifacts
from eval.evaluators import Robustness
from eval.protocol import NotApplicable
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.errors import UserError
from ssl_equiv.representation import Representation
from tests.conftest import write_folder
from tests.eval.evaluators.test_image_orbits import PREPROCESS, Constant, Shifts, by_name, task_for

SMALL = Robustness(objects=6, pixels=2, step=1, draws=4)


class Mirrors(nn.Module):
    """Means over columns and rows of a picture and its mirror images."""

    def encode(self, images: Tensor) -> Representation:
        both = images + images.flip(3)
        return Representation((both + both.flip(2)).flatten(1), {})


class Transformer(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = timm.create_model(
            name, num_classes=0, img_size=16, patch_size=4, embed_dim=32, depth=2, num_heads=2
        )

    def encode(self, images: Tensor) -> Representation:
        return Representation(self.model(images), {})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ViewDataModule:
    root = write_folder(tmp_path_factory.mktemp("robustness"), objects=20, views=3)
    return ViewDataModule(str(root), preprocess=PREPROCESS, num_workers=0)


@pytest.mark.parametrize(
    ("encoder", "still"), [(Shifts(), {"circular_shift"}), (Mirrors(), {"flip"})]
)
def test_what_is_invariant_does_not_move(
    encoder: nn.Module, still: set[str], data: ViewDataModule, tmp_path: Path
) -> None:
    found = {n: m.values[0] for n, m in by_name(SMALL(task_for(encoder, data, tmp_path))).items()}
    for change in SMALL.changes:
        moved = found[f"{change}_relative_distance"]
        assert (moved < 1e-4) == (change in still), (change, moved)
        if change in still:
            assert found[f"{change}_consistency"] == 1
            assert found[f"{change}_accuracy_worst"] == found[f"{change}_accuracy_reference"]
        assert found[f"{change}_accuracy_worst"] <= found[f"{change}_accuracy"]


def test_a_shift_equivariant_model_beside_the_stock_one(
    data: ViewDataModule, tmp_path: Path
) -> None:
    evaluator = dataclasses.replace(SMALL, changes=("circular_shift", "cropped_shift"))
    moved = {}
    for name in ("shift_vit_tiny_patch16_224", "vit_tiny_patch16_224"):
        task = task_for(Transformer(name), data, tmp_path / name)
        moved[name] = {n: m.values[0] for n, m in by_name(evaluator(task)).items()}
        planes = {(a.name, a.part): a for a in read_artifacts(tmp_path / name)}
        plane = planes["orbit_cropped_shift_accuracy", "all"]
        assert plane.kind == "plane"
        assert plane.arrays["values"].shape == (5, 5)
        assert plane.arrays["x"].tolist() == [-2, -1, 0, 1, 2]
    ours, stock = moved.values()
    assert ours["circular_shift_relative_distance"] < 1e-5 < 1e-3
    assert stock["circular_shift_relative_distance"] > 1e-3
    assert ours["circular_shift_consistency"] == 1
    assert ours["cropped_shift_relative_distance"] > 1e-4  # new content is new


def test_crops_that_cut_nothing_change_nothing(data: ViewDataModule, tmp_path: Path) -> None:
    class Middle(nn.Module):
        """The mean over everything hardly changes; the border does not matter to its zeros."""

        def encode(self, images: Tensor) -> Representation:
            return Representation(F.avg_pool2d(images, 16).flatten(1), {})

    one = dataclasses.replace(SMALL, draws=1)
    found = {n: m.values[0] for n, m in by_name(one(task_for(Middle(), data, tmp_path))).items()}
    for change in ("affine", "crop"):
        assert found[f"{change}_relative_distance"] == 0


def test_bad_input(data: ViewDataModule, tmp_path: Path) -> None:
    task = task_for(Constant(), data, tmp_path)
    for setting, message in (
        ({"changes": ("shift",)}, "choose of circular_shift, cropped_shift, flip"),
        ({"changes": ()}, "choose of circular_shift"),
        ({"draws": 0}, "draws is 0: choose 1 or more"),
        ({"pixels": 3, "step": 2}, "choose a whole number of steps"),
        ({"pixels": 16}, "choose fewer pixels"),
        ({"classifier_views": 1}, "classifier_views at least 2"),
    ):
        with pytest.raises(UserError, match=message):
            dataclasses.replace(SMALL, **setting)(task)  # type: ignore[arg-type]
    with pytest.raises(NotApplicable, match="leave Robustness out"):
        SMALL(dataclasses.replace(task, encoder=None))
