"""Orbits of pictures by encoders whose invariance is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval.artifacts import read_artifacts
from eval.evaluators.image_orbits import ImageOrbits, some_pictures
from eval.features import extract
from eval.protocol import Measurement, NotApplicable, Task, evaluate
from ssl_equiv.data.images import open_views
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.data.preprocess import Preprocess
from ssl_equiv.errors import UserError
from ssl_equiv.representation import Representation
from tests.conftest import write_folder
from tests.data.image_files import write_cifar100

SMALL = ImageOrbits(objects=6, rotation_points=4, shift_points=3, scale_points=3, hue_points=4)
PREPROCESS = Preprocess(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


class Shifts(nn.Module):
    """A circular convolution and the mean over places: invariant to circular shifts, exactly."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(8, 3, 3, 3, generator=generator))

    def encode(self, images: Tensor) -> Representation:
        around = F.pad(images, (1, 1, 1, 1), mode="circular")
        return Representation(F.conv2d(around, self.weight).relu().mean((-2, -1)), {"inv": (0, 4)})


class Hues(nn.Module):
    """The largest channel of each pixel: HSV's value, which no turn of the hue changes."""

    def encode(self, images: Tensor) -> Representation:
        return Representation(images.amax(dim=1).flatten(1), {})


class Turns(nn.Module):
    """Sorted pixels of each channel: quarter turns and shifts only change their order."""

    def encode(self, images: Tensor) -> Representation:
        return Representation(images.flatten(2).sort(dim=-1).values.flatten(1), {})


class Constant(nn.Module):
    def encode(self, images: Tensor) -> Representation:
        return Representation(torch.full((len(images), 5), 0.3), {})


class Pixels(nn.Module):
    def encode(self, images: Tensor) -> Representation:
        assert not self.training
        return Representation(images.flatten(1), {})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ViewDataModule:
    root = write_folder(tmp_path_factory.mktemp("orbits"), objects=20, views=3)
    return ViewDataModule(str(root), preprocess=PREPROCESS, num_workers=0)


def task_for(encoder: nn.Module, data: ViewDataModule, folder: Path, **given: object) -> Task:
    options = {"accelerator": "cpu"}
    train, val = (
        extract(encoder, data, folder, split=s, trainer_options=options, progress=False)
        for s in ("train", "val")
    )
    fields = {"encoder": encoder, "data": data, "folder": folder, **given}
    return Task(train, val, tuple(train.parts), (0,), options, **fields)  # type: ignore[arg-type]


def by_name(found: list[Measurement], part: str = "all") -> dict[str, Measurement]:
    return {m.metric.removeprefix("orbit_"): m for m in found if m.part == part}


@pytest.mark.parametrize(
    ("encoder", "orbits"),
    [(Shifts(), ["shift"]), (Hues(), ["hue"]), (Turns(), ["rotation", "shift"])],
)
def test_what_is_invariant_does_not_move(
    encoder: nn.Module, orbits: list[str], data: ViewDataModule, tmp_path: Path
) -> None:
    task = task_for(encoder, data, tmp_path)
    found = {name: m.values[0] for name, m in by_name(SMALL(task)).items()}
    for name in ("rotation", "shift", "scale", "hue"):
        still = name in orbits
        assert (found[f"{name}_relative_distance"] < 1e-4) == still, name
        assert (found[f"{name}_cosine_distance"] < 1e-7) == still, name
    for name in orbits:
        assert found[f"{name}_consistency"] == found[f"{name}_consensus"] == 1
        reference = found[f"{name}_accuracy_reference"]
        assert found[f"{name}_accuracy"] == found[f"{name}_accuracy_worst"] == reference


def test_a_constant_gets_chance(data: ViewDataModule, tmp_path: Path) -> None:
    found = by_name(SMALL(task_for(Constant(), data, tmp_path)))
    for orbit in ("rotation", "shift", "scale", "hue"):
        for name in ("accuracy", "accuracy_worst", "accuracy_reference"):
            m = found[f"{orbit}_{name}"]
            assert m.values[0] == m.baseline
        assert found[f"{orbit}_confidence"].values[0] == pytest.approx(1 / 3, abs=0.01)
        assert found[f"{orbit}_consistency"].values[0] == 1
        assert found[f"{orbit}_consistency"].baseline == 1  # which is what it is worth
        assert found[f"{orbit}_cosine_distance"].values[0] == 0


def test_distances_are_those_of_numpy(data: ViewDataModule, tmp_path: Path) -> None:
    encoder = Pixels().train()
    found = by_name(SMALL(task_for(encoder, data, tmp_path)))
    assert encoder.training  # given back as it was
    images, _ = some_pictures(data, "val", 6)
    x = (images.double().numpy() - 0.5) / 0.25
    relative = []
    for dy in (-4, 0, 4):
        for dx in (-4, 0, 4):
            moved = np.roll(x, (dy, dx), (-2, -1))
            if (dy, dx) != (0, 0):
                apart = np.linalg.norm((moved - x).reshape(6, -1), axis=1)
                relative.append(apart / np.linalg.norm(x.reshape(6, -1), axis=1))
    measured = found["shift_relative_distance"].values[0]
    assert measured == pytest.approx(np.mean(relative), rel=1e-4)
    flat = x.reshape(6, -1) / np.linalg.norm(x.reshape(6, -1), axis=1, keepdims=True)
    apart = 1 - (flat @ flat.T)[~np.eye(6, dtype=bool)].mean()
    assert found["shift_cosine_distance"].baseline == pytest.approx(apart, rel=1e-4)


def test_what_is_kept_can_be_drawn(data: ViewDataModule, tmp_path: Path) -> None:
    task = task_for(Shifts(), data, tmp_path)
    first = SMALL(task)
    kept = {(a.name, a.part): a for a in read_artifacts(tmp_path)}
    curve = kept["orbit_rotation_cosine_distance", ""]
    assert curve.arrays["y"].shape == curve.arrays["spread"].shape == (2, 4)
    assert curve.meta["series"] == ["all", "inv"]
    assert curve.arrays["x"].tolist() == [0, 90, 180, 270]
    assert (curve.arrays["y"][:, 0] == 0).all()
    off = curve.arrays["y"][0, 1:].mean()
    assert by_name(first)["rotation_cosine_distance"].values[0] == pytest.approx(off, rel=1e-5)
    accuracy = kept["orbit_scale_accuracy", ""]
    assert accuracy.meta["baseline"] == by_name(first)["scale_accuracy"].baseline
    plane = kept["orbit_shift_accuracy", "inv"]
    assert plane.arrays["values"].shape == (3, 3)
    assert plane.arrays["x"].tolist() == [-25, 0, 25]
    gallery = kept["orbit_hue_worst", "all"]
    assert gallery.arrays["images"].shape == (12, 16, 16, 3)
    assert gallery.arrays["images"].dtype == np.uint8
    assert len(gallery.meta["captions"]) == 12
    assert ("orbit_rotation_consensus", "") not in kept
    assert SMALL(task) == first  # the same at every call


def test_without_labels_there_is_consensus(data: ViewDataModule, tmp_path: Path) -> None:
    task = task_for(Shifts(), data, tmp_path)
    bare = dataclasses.replace(task.train, labels=torch.full_like(task.train.labels, -100))
    names = {m.metric for m in SMALL(dataclasses.replace(task, train=bare))}
    assert "orbit_shift_consensus" in names
    assert not any("accuracy" in name or "confidence" in name for name in names)
    kept = {a.name for a in read_artifacts(tmp_path)}
    assert {"orbit_hue_consensus", "orbit_hue_confidence", "orbit_shift_consensus"} <= kept


def test_image_sets_have_pictures_too(tmp_path: Path) -> None:
    module = open_views(str(write_cifar100(tmp_path)), num_workers=0)
    images, label = some_pictures(module, "val", 4)
    assert images.shape == (4, 3, 32, 32)
    assert 0 <= images.min() < images.max() <= 1
    members = module.source.split["val"]
    stored = {
        tuple(module.source.image(i).flatten().tolist()): int(module.source.labels[i])  # type: ignore[attr-defined]
        for i in members.tolist()
    }
    for image, of in zip((255 * images).round().int(), label.tolist(), strict=True):
        assert stored[tuple(image.flatten().tolist())] == of


def test_rows_are_written(data: ViewDataModule, tmp_path: Path) -> None:
    task = task_for(Shifts(), data, tmp_path)
    rows = evaluate(
        task.train, task.val, evaluators=[SMALL], seeds=3, encoder=task.encoder, data=data
    )
    of_one = [row for row in rows if (row.metric, row.part) == ("orbit_hue_accuracy", "inv")]
    assert [row.split for row in of_one] == ["val"]  # closed form: one row, whatever the seeds


def test_what_lacks_is_told(data: ViewDataModule, tmp_path: Path) -> None:
    task = task_for(Constant(), data, tmp_path)
    for lacking in ("encoder", "data"):
        with pytest.raises(NotApplicable, match="only features are at hand"):
            SMALL(dataclasses.replace(task, **{lacking: None}))
    with pytest.raises(NotApplicable, match="cannot be made of object"):
        SMALL(dataclasses.replace(task, data=object()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"orbits": ("rotaton",)}, "choose of rotation, shift, scale, hue"),
        ({"orbits": ()}, "choose of rotation"),
        ({"objects": 0}, "objects is 0: choose 1 or more"),
        ({"shift_points": 4}, "shift_points is 4: choose an odd number"),
        ({"scale": 9.0}, "scale is 9.0"),
        ({"shift": 0.0}, "shift above 0"),
    ],
)
def test_settings_that_make_no_sense_are_told(
    setting: dict[str, object], message: str, data: ViewDataModule, tmp_path: Path
) -> None:
    task = task_for(Constant(), data, tmp_path)
    with pytest.raises(UserError, match=message):
        dataclasses.replace(SMALL, **setting)(task)  # type: ignore[arg-type]


def test_the_defaults_cost_less_than_2500_pictures() -> None:
    d = ImageOrbits()
    points = d.rotation_points + d.shift_points**2 + d.scale_points + d.hue_points
    assert points * d.objects < 2500
