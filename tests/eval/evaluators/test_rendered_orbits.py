"""Orbits of stored views with known elements."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from eval.artifacts import read_artifacts
from eval.evaluators.rendered_orbits import RenderedOrbits
from eval.features import extract
from eval.protocol import Measurement, NotApplicable, Task
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.errors import UserError
from ssl_equiv.representation import Representation
from tests.conftest import jpeg, write_folder
from tests.data.image_files import write_cifar100

GRID = [(x, y, 0.0) for x in (-60, 0, 60) for y in (-120, 0, 120)]
TURNS = [(10.0, 20.0, z) for z in (-90, 0, 90, 180)]


class Thumbnails(nn.Module):
    """Every fourth pixel."""

    def encode(self, images: Tensor) -> Representation:
        features = images[..., ::4, ::4].flatten(1)
        return Representation(features, {"half": (0, features.shape[1] // 2)})


def write_orbits(
    root: Path, degrees: list[tuple[float, ...]], classes: list[str], objects: int = 3
) -> str:
    """Objects ``CLASS/objO`` whose views are at these Euler angles."""
    for c, o in np.ndindex(len(classes), objects):
        folder = root / classes[c] / f"obj{o}"
        folder.mkdir(parents=True)
        nuisance = np.random.default_rng(100 * c + o).uniform(0, 0.7, 4)
        for v, angles in enumerate(degrees):
            (folder / f"image_{v}.jpg").write_bytes(jpeg(7 * v + 100 * o + 10000 * c))
            np.save(folder / f"latent_{v}.npy", np.concatenate([np.radians(angles), nuisance]))
    return str(root)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ViewDataModule:
    """Objects 00/obj0, ... of three classes."""
    root = write_folder(tmp_path_factory.mktemp("train"), objects=10, views=3)
    return ViewDataModule(str(root), num_workers=0, batch_size=16)


@pytest.fixture
def task(trained: ViewDataModule, tmp_path: Path) -> Task:
    encoder, options = Thumbnails(), {"accelerator": "cpu"}
    train, val = (
        extract(encoder, trained, tmp_path, split=s, trainer_options=options, progress=False)
        for s in ("train", "val")
    )
    parts = tuple(train.parts)
    return Task(train, val, parts, (0,), options, encoder=encoder, data=trained, folder=tmp_path)


def by_name(found: list[Measurement], part: str = "all") -> dict[str, Measurement]:
    return {m.metric.removeprefix("orbit_rendered_"): m for m in found if m.part == part}


def renamed(root: str) -> str:
    """The same with other objects' names: the model was trained on none of them."""
    for folder in sorted(Path(root).glob("*/obj*")):
        folder.rename(folder.parent / f"new{folder.name}")
    return root


def test_a_grid_of_tilts_is_a_map_on_the_sphere(
    task: Task, trained: ViewDataModule, tmp_path: Path
) -> None:
    root = renamed(write_orbits(tmp_path / "tilts", GRID, ["00", "01", "02"]))
    found = RenderedOrbits(root)(task)
    assert {m.split for m in found} == {"tilts"}
    kept = {(a.name, a.part): a for a in read_artifacts(tmp_path)}
    sphere = kept["orbit_tilts_rendered_rotation_cosine_distance_sphere", "half"]
    up = Rotation.from_euler("xyz", GRID, degrees=True).apply([0, 0, 1])
    directions, values = sphere.arrays["directions"], sphere.arrays["values"]
    nearest = (up @ directions.T).argmax(axis=1)
    np.testing.assert_allclose(directions[nearest], up, atol=1e-5)
    # the values, from the pictures themselves
    views = ViewDataModule(root, preprocess=trained.preprocess, num_workers=0)
    images = (
        next(iter(views.all_views_dataloader("train", 99))).images,
        next(iter(views.all_views_dataloader("val", 99))).images,
    )
    pixels = trained.preprocess.normalize(torch.cat(images)).flatten(0, 1)
    features = Thumbnails().encode(pixels)["half"].view(9, 9, -1).double()
    unit = features / features.norm(dim=-1, keepdim=True)
    expected = (1 - (unit * unit[:, [4]]).sum(dim=-1)).mean(dim=0).numpy()
    np.testing.assert_allclose(values[nearest], expected, atol=1e-5)
    measured = by_name(found, "half")["rotation_cosine_distance"].values[0]
    assert measured == pytest.approx(np.delete(expected, 4).mean(), rel=1e-4)
    gallery = kept["orbit_tilts_rendered_rotation_worst", "all"]
    assert "up to (+0.0, +0.0, +1.0), 0° away" in gallery.meta["captions"][1]
    assert gallery.arrays["images"].shape == (12, 16, 16, 3)


def test_turns_about_an_axis_are_a_curve(task: Task, tmp_path: Path) -> None:
    root = renamed(write_orbits(tmp_path / "turns", TURNS, ["00", "01"]))
    found = by_name(RenderedOrbits(root, factor="rotation", reference=0)(task))
    curve = {a.name: a for a in read_artifacts(tmp_path)}["orbit_turns_rendered_rotation_accuracy"]
    assert np.abs(curve.arrays["x"]).max() == pytest.approx(180, abs=90)
    assert curve.arrays["x"].shape == (4,)
    mean = found["rotation_accuracy"].values[0]
    assert mean == pytest.approx(curve.arrays["y"][0].mean())
    assert 0 <= found["rotation_accuracy_worst"].values[0] <= mean <= 1


def test_training_objects_are_left_out(task: Task, trained: ViewDataModule, tmp_path: Path) -> None:
    root = write_orbits(tmp_path / "known", TURNS, ["00", "01", "02"], objects=10)
    held_out = len(trained.source.split["val"])
    RenderedOrbits(root)(task)
    (cache,) = tmp_path.glob("known-orbit-*")
    assert np.load(cache / "index.npy").shape == (held_out,)
    RenderedOrbits(root, objects=2)(task)
    assert sorted(
        len(np.load(cache / "index.npy")) for cache in tmp_path.glob("known-orbit-*")
    ) == [2, held_out]
    names = {trained.source.objects[i] for i in trained.source.split["train"].tolist()}
    for folder in sorted(Path(root).glob("*/obj*")):
        if f"{folder.parent.name}/{folder.name}" not in names:
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
    with pytest.raises(UserError, match=r"are training objects of .* another seed"):
        RenderedOrbits(root)(task)


def test_classes_go_by_name(task: Task, tmp_path: Path) -> None:
    # 02 alone is known, where it is class 2 of 3, and is here class 1 of 2
    root = renamed(write_orbits(tmp_path / "classes", TURNS, ["02", "99"]))
    always_2 = torch.full_like(task.train.labels, 2)
    always_2[:2] = torch.tensor([0, 1])
    train = dataclasses.replace(task.train, labels=always_2)
    found = by_name(RenderedOrbits(root)(dataclasses.replace(task, train=train)))
    assert found["rotation_accuracy"].baseline == 1  # of those whose class is known
    unknown = write_orbits(tmp_path / "unknown", TURNS, ["98", "99"])
    names = set(by_name(RenderedOrbits(unknown)(task)))
    assert "rotation_consensus" in names
    assert not any("accuracy" in name for name in names)


def test_nothing_is_left_behind_without_a_folder(task: Task, tmp_path: Path) -> None:
    root = renamed(write_orbits(tmp_path / "bare", TURNS, ["00", "01"]))
    before = sorted(tmp_path.iterdir())
    kept = RenderedOrbits(root)(task)
    found = RenderedOrbits(root)(dataclasses.replace(task, folder=None))
    assert found == kept
    assert [p.name for p in sorted(tmp_path.iterdir()) if p not in before] == [
        "artifacts",
        *(p.name for p in tmp_path.glob("bare-orbit-*")),
    ]


def test_what_is_no_orbit_is_told(task: Task, tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="only features are at hand"):
        RenderedOrbits("DIR")(dataclasses.replace(task, encoder=None))
    with pytest.raises(UserError, match="not a folder"):
        RenderedOrbits(str(tmp_path / "nowhere"))(task)
    with pytest.raises(UserError, match="objects and clusters must be at least 1"):
        RenderedOrbits("DIR", objects=0)(task)
    drawn = renamed(str(write_folder(tmp_path / "drawn", objects=3, views=3)))
    with pytest.raises(UserError, match="is no orbit: one factor should vary"):
        RenderedOrbits(drawn)(task)
    with pytest.raises(UserError, match="no factor 'translation'"):
        RenderedOrbits(drawn, factor="translation")(task)
    pictures = write_cifar100(tmp_path / "pictures")
    with pytest.raises(UserError, match="one view, which is no orbit"):
        RenderedOrbits(str(pictures))(task)
