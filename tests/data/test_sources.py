from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import webdataset

from data_gen.shard_writer import ShardWriter
from data_gen.work import RenderedObject
from ssl_equiv.data.fewer_views import FewerViews
from ssl_equiv.data.record import DIEBENCH, MANIFEST, Manifest, index_name
from ssl_equiv.data.sources import FolderSource, ShardSource, open_source
from ssl_equiv.errors import UserError
from ssl_equiv.files import write_json
from tests.conftest import jpeg, write_folder

VIEWS = 4


def objects(count: int) -> list[RenderedObject]:
    rng = np.random.default_rng(0)
    return [
        RenderedObject(
            index=i,
            class_name=f"c{i % 2}",
            object_id=f"o{i}",
            label=i % 2,
            latents=rng.uniform(-1, 1, (VIEWS, 7)),
            images=[jpeg(100 * i + v) for v in range(VIEWS)],
        )
        for i in range(count)
    ]


def write_shards(root: Path, count: int = 5, per_shard: int = 2) -> list[RenderedObject]:
    made = objects(count)
    writer = ShardWriter(root, count, VIEWS, per_shard)
    for unit in writer.units():
        writer.write(made[unit.start : unit.stop])
    manifest = Manifest(
        objects=tuple(f"{o.class_name}/{o.object_id}" for o in made),
        num_views=VIEWS,
        image_size=16,
        classes=("c0", "c1"),
        schema=DIEBENCH,
        split={"train": list(range(count - 1)), "val": [count - 1]},
        shards=writer.shards(),
        seed=0,
        recipe={},
        source={},
    )
    write_json(root / MANIFEST, manifest.to_dict())
    return made


@pytest.fixture
def shards(tmp_path: Path) -> tuple[Path, list[RenderedObject]]:
    return tmp_path, write_shards(tmp_path)


def test_shards_hold_what_was_written(shards: tuple[Path, list[RenderedObject]]) -> None:
    root, made = shards
    source = open_source(root)
    assert isinstance(source, ShardSource)
    assert source.labels.tolist() == [0, 1, 0, 1, 0]
    for item in made:
        images, latents = source.read(item.index, [3, 1])
        assert images == [item.images[3], item.images[1]]
        np.testing.assert_array_equal(latents, item.latents[[3, 1]])


def test_shards_are_plain_webdataset(shards: tuple[Path, list[RenderedObject]]) -> None:
    root, made = shards
    paths = sorted(str(path) for path in root.glob("*.tar"))
    records = list(webdataset.WebDataset(paths, shardshuffle=False))
    assert [r["__key__"] for r in records] == [f"{o.index:06d}" for o in made]
    assert records[3]["002.jpg"] == made[3].images[2]


def test_an_absent_index_is_read_from_the_tar(shards: tuple[Path, list[RenderedObject]]) -> None:
    root, made = shards
    for path in root.glob("*.index.npy"):
        path.unlink()
    images, _ = open_source(root).read(4, [2])
    assert images == [made[4].images[2]]


def test_damage_without_an_index_is_found(shards: tuple[Path, list[RenderedObject]]) -> None:
    root, _ = shards
    path = root / "shard-000000.tar"
    (root / index_name(path.name)).unlink()
    data = path.read_bytes()
    path.write_bytes(data[:700] + bytes(500) + data[1200:])
    with pytest.raises(UserError, match=r"shard-000000\.tar does not match its checksum"):
        open_source(root).read(0, [0])


def test_equal_objects_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_shards(tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_open_maps_do_not_travel_to_other_processes(
    shards: tuple[Path, list[RenderedObject]],
) -> None:
    root, made = shards
    source = open_source(root)
    source.read(0, [0])
    copy = pickle.loads(pickle.dumps(source))
    assert copy.read(1, [1])[0] == [made[1].images[1]]


def test_a_changed_byte_is_found(shards: tuple[Path, list[RenderedObject]]) -> None:
    root, _ = shards
    path = root / "shard-000001.tar"
    table = np.load(root / index_name(path.name))
    data = bytearray(path.read_bytes())
    data[table[0, 2, 0] + 5] ^= 1  # object 2, view 1
    path.write_bytes(data)
    source = open_source(root)
    source.read(2, [0])
    with pytest.raises(
        UserError, match=r"shard-000001\.tar:000002\.001\.jpg does not match its ch"
    ):
        source.read(2, [1])


@pytest.mark.parametrize("how", ["cut", "missing"])
def test_an_incomplete_shard_is_found_at_once(
    shards: tuple[Path, list[RenderedObject]], how: str
) -> None:
    root, _ = shards
    path = root / "shard-000002.tar"
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.unlink()
    with pytest.raises(UserError, match=r"shard-000002\.tar (has \d+ bytes, not|is missing)"):
        open_source(root)


def test_published_folder(folder_dataset: Path) -> None:
    source = open_source(folder_dataset)
    assert isinstance(source, FolderSource)
    assert source.classes == ("00", "01", "02")
    assert len(source.objects) == 18
    assert source.num_views == 5
    assert source.schema == DIEBENCH
    both = np.concatenate([source.split["train"], source.split["val"]])
    assert sorted(both.tolist()) == list(range(18))
    images, latents = source.read(7, [4, 0])
    folder = folder_dataset / source.objects[7]
    assert images[0] == (folder / "image_4.jpg").read_bytes()
    np.testing.assert_array_equal(latents[1], np.load(folder / "latent_0.npy"))


def test_published_split_files_are_honoured(tmp_path: Path) -> None:
    write_folder(tmp_path, objects=3)
    np.save(tmp_path / "train_images.npy", np.array(["00/obj0", "01/obj2", "02/obj1"]))
    np.save(tmp_path / "val_images.npy", np.array(["some/prefix/00/obj1"]))
    source = open_source(tmp_path)
    names = {s: [source.objects[i] for i in source.split[s]] for s in source.split}
    assert names == {"train": ["00/obj0", "01/obj2", "02/obj1"], "val": ["00/obj1"]}


def test_a_split_of_absent_objects(tmp_path: Path) -> None:
    write_folder(tmp_path, objects=2)
    np.save(tmp_path / "train_images.npy", np.array(["00/gone"]))
    np.save(tmp_path / "val_images.npy", np.array(["00/obj1"]))
    with pytest.raises(UserError, match="names 00/gone, which is not in"):
        open_source(tmp_path)


def test_half_a_split_and_odd_ones(tmp_path: Path) -> None:
    write_folder(tmp_path, objects=2)
    np.save(tmp_path / "train_images.npy", np.array(["00/obj0"]))
    with pytest.raises(UserError, match=r"val_images\.npy is missing beside the other split file"):
        open_source(tmp_path)
    np.save(tmp_path / "val_images.npy", np.array("00/obj1"))
    with pytest.raises(UserError, match="is not a list of SYNSET/OBJ names"):
        open_source(tmp_path)


def test_fingerprint_follows_the_content(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", objects=2)
    before = open_source(tmp_path / "a").fingerprint
    assert open_source(tmp_path / "a").fingerprint == before
    shutil.rmtree(tmp_path / "a" / "00" / "obj1")
    assert open_source(tmp_path / "a").fingerprint != before


def test_a_folders_fingerprint_is_of_its_content(tmp_path: Path) -> None:
    """A copy with other time stamps has the same; an object in the middle counts, and the bytes
    of the first and the last."""
    write_folder(tmp_path / "a", objects=4)
    before = open_source(tmp_path / "a").fingerprint
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)
    for path in (tmp_path / "b").rglob("*"):
        os.utime(path, (1, 1))
    assert open_source(tmp_path / "b").fingerprint == before
    folders = sorted(p for p in (tmp_path / "b").glob("*/*") if p.is_dir())
    edits = [folders[1] / "image_0.jpg", folders[0] / "latent_1.npy", folders[-1] / "image_1.jpg"]
    for edit in edits:
        content = edit.read_bytes()
        longer = edit.name == "image_0.jpg"
        edit.write_bytes(content + b"x" if longer else content[:-1] + bytes([content[-1] ^ 1]))
        assert open_source(tmp_path / "b").fingerprint != before, edit
        edit.write_bytes(content)
    assert open_source(tmp_path / "b").fingerprint == before


@pytest.mark.parametrize(
    ("latent", "message"),
    [
        (np.zeros(8), r"latent_0.npy holds latents of shape \(8,\), not \(..., 7\)"),
        (np.full(7, np.nan), "latent_0.npy holds latents that are not finite"),
        (np.array([{}], dtype=object), "latent_0.npy: it holds pickled objects"),
    ],
)
def test_bad_latents(tmp_path: Path, latent: np.ndarray, message: str) -> None:
    write_folder(tmp_path, objects=2)
    source = open_source(tmp_path)
    np.save(tmp_path / source.objects[1] / "latent_0.npy", latent, allow_pickle=True)
    with pytest.raises(UserError, match=message):
        source.read(1, [0])


def test_no_data_set_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no manifest\.json and no SYNSET/OBJ"):
        open_source(tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        open_source(tmp_path / "absent")
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(UserError, match="is not readable JSON"):
        open_source(tmp_path)


def test_fewer_views_are_the_first(shards: tuple[Path, list[RenderedObject]]) -> None:
    root, made = shards
    whole = open_source(root)
    fewer = FewerViews(whole, 2)
    assert fewer.num_views == 2
    assert fewer.fingerprint != whole.fingerprint != FewerViews(whole, 3).fingerprint
    assert fewer.labels.tolist() == whole.labels.tolist()
    images, latents = fewer.read(1, [0, 1])
    assert images == made[1].images[:2]
    np.testing.assert_array_equal(latents, made[1].latents[:2])
    assert fewer.name_of(1, 1) == whole.name_of(1, 1)
    for views in (0, VIEWS + 1):
        with pytest.raises(UserError, match=f"choose from 1 to {VIEWS}"):
            FewerViews(whole, views)
