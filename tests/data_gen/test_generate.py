from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_gen.generate import generate
from data_gen.recipe import Recipe
from data_gen.sources import ProceduralSource
from ssl_equiv import cli
from ssl_equiv.data.record import split_objects
from ssl_equiv.data.sources import open_source
from ssl_equiv.errors import UserError
from tests.data_gen.stored import digest

pytestmark = pytest.mark.render

CLASSES = ("chair", "mug", "lamp")
SMALL = Recipe.from_dict({"num_views": 3, "image_size": 32})


def make(root: Path, **options: object) -> None:
    arguments = {"num_workers": 0, "progress": False, "objects_per_shard": 4, **options}
    generate(ProceduralSource(9, CLASSES), SMALL, root, **arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "data"
    make(root)
    return root


def test_what_is_written_can_be_read(made: Path) -> None:
    source = open_source(made)
    assert source.classes == CLASSES
    assert source.num_views == 3
    assert {len(members) for members in source.split.values()} == {6, 3}
    images, latents = source.read(8, [0, 2])
    assert all(image[:2] == b"\xff\xd8" for image in images)
    low, high = np.array(SMALL.ranges).T
    assert ((latents >= low) & (latents <= high)).all()


@pytest.mark.slow
def test_processes_do_not_change_the_bytes(made: Path, tmp_path: Path) -> None:
    make(tmp_path / "two", num_workers=2)
    assert digest(tmp_path / "two") == digest(made)


def test_shard_size_does_not_change_the_objects(made: Path, tmp_path: Path) -> None:
    make(tmp_path / "other", objects_per_shard=2)
    one, other = open_source(made), open_source(tmp_path / "other")
    for index in range(9):
        (images, latents), (images2, latents2) = (s.read(index, [0, 1, 2]) for s in (one, other))
        assert images == images2
        np.testing.assert_array_equal(latents, latents2)


def test_both_layouts_hold_the_same(made: Path, tmp_path: Path) -> None:
    make(tmp_path / "folder", layout="folder")
    shards, folder = open_source(made), open_source(tmp_path / "folder")
    place = {name: i for i, name in enumerate(folder.objects)}
    for index, name in enumerate(shards.objects):
        assert shards.read(index, [1])[0] == folder.read(place[name], [1])[0]
    for split in ("train", "val"):
        names = {shards.objects[i] for i in shards.split[split]}
        assert names == {folder.objects[i] for i in folder.split[split]}


@pytest.mark.parametrize("layout", ["shards", "folder"])
def test_what_is_damaged_is_rendered_again(tmp_path: Path, layout: str) -> None:
    make(tmp_path, layout=layout)
    want = digest(tmp_path)
    if layout == "shards":
        path = tmp_path / "shard-000001.tar"
        path.write_bytes(path.read_bytes()[:5000])
        index = tmp_path / "shard-000000.index.npy"
        index.write_bytes(index.read_bytes()[:-20])
    else:
        next(tmp_path.glob("mug/*/image_1.jpg")).unlink()
    (tmp_path / ".plan.json.x.partial").touch()
    make(tmp_path, layout=layout)
    assert digest(tmp_path) == want


def test_split_is_per_class_and_follows_the_names() -> None:
    names = [f"{'ab'[i % 2]}/{i}" for i in range(40)]
    split = split_objects(names, 0.25, seed=0)
    assert sorted(split["train"] + split["val"]) == list(range(40))
    for name in "ab":
        assert sum(names[i].startswith(name) for i in split["val"]) == 5
    held_out = {names[i] for i in split["val"]}
    backwards = split_objects(names[::-1], 0.25, seed=0)
    assert {names[::-1][i] for i in backwards["val"]} == held_out
    assert split_objects(names, 0.25, seed=1) != split


def test_a_folder_of_another_plan_or_of_someone_else(made: Path, tmp_path: Path) -> None:
    before = digest(made)
    with pytest.raises(UserError, match=r"was begun with another plan .*seed was 0, now 1"):
        make(made, seed=1)
    assert digest(made) == before
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UserError, match=r"is not empty and holds no plan\.json"):
        make(tmp_path)


def test_bad_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "x")]
    for args, message in (
        (["--recipe", "{image_sise: 3}"], "unknown entry 'image_sise': did you mean 'image_size'"),
        (["--classes", "[chiar]"], "no procedural class 'chiar': did you mean 'chair'"),
        (["--objects", str(tmp_path)], "has no meshes"),
        (["--objects", "shapenet:" + str(tmp_path)], "name the root of ShapeNetCore v2"),
        (["--num-objects", "many"], "num_objects: expected int, got many"),
        (["--val_fraction", "1.5"], "val_fraction is 1.5: choose at least 0 and less than 1"),
        (["--objects_per_shard", "0"], "objects_per_shard is 0: choose at least 1"),
    ):
        assert cli.main(["generate", *out, *args]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_a_broken_mesh_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    (tmp_path / "meshes" / "cup").mkdir(parents=True)
    for name in ("one", "two"):
        (tmp_path / "meshes" / "cup" / f"{name}.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    args = ["--objects", str(tmp_path / "meshes"), "--out", str(tmp_path / "out")]
    assert cli.main(["generate", *args, "--num_workers", workers]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "one.obj" in line
    assert not list((tmp_path / "out").glob("shard*"))
