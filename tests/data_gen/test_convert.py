from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset

from data_gen import convert as module
from data_gen.archive import ArchiveReader
from data_gen.convert import Conversion, convert
from data_gen.folder_writer import RECORD
from data_gen.generate import generate
from data_gen.mesh_sources import MeshFolderSource
from data_gen.verify import verify
from ssl_equiv.data.draws import Draw
from ssl_equiv.data.record import MANIFEST, Manifest, index_name
from ssl_equiv.data.sources import open_source
from ssl_equiv.data.views import Preprocess, ViewDataset
from ssl_equiv.errors import UserError
from tests.conftest import jpeg, write_folder
from tests.data_gen.stored import SMALL, meshes

VIEWS = 3
Files = dict[str, bytes]


def go(src: Path, out: Path, **options: object) -> Conversion:
    arguments = {"objects_per_shard": 2, "progress": False, **options}
    return convert(src, out, **arguments)  # type: ignore[arg-type]


def npy(array: object, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=allow_pickle)
    return buffer.getvalue()


def content(root: Path) -> Files:
    """Every file but the plan and the manifest."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in ("plan.json", MANIFEST)
    }


def tar_of(path: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """7 objects: 00/obj0 .. 02/obj1 and 02/extra, with split and label files."""
    root = write_folder(tmp_path / "src", classes=3, objects=2, views=VIEWS)
    (root / "02" / "obj0").rename(root / "02" / "zzz")
    write_splits(root, ["02/zzz", "00/obj0", "01/obj1"], ["00/obj1", "01/obj0", "02/obj1"], "012")
    return root


def write_splits(root: Path, train: list[str], val: list[str], order: str) -> None:
    for split, names in (("train", train), ("val", val)):
        np.save(root / f"{split}_images.npy", np.array(names))
        labels = np.array([order.index(name.strip("./").split("/")[-2][1]) for name in names])
        np.save(root / f"{split}_labels.npy", labels)


def assert_same_objects(root: Path, files: Files) -> None:
    """Every image and latent vector of the data set is the file's."""
    source = open_source(root)
    wanted = {name.rpartition("/")[0] for name in files if "/image_" in name}
    assert set(source.objects) == wanted
    for index, name in enumerate(source.objects):
        images, latents = source.read(index, range(VIEWS))
        assert images == [files[f"{name}/image_{v}.jpg"] for v in range(VIEWS)]
        assert [npy(row) for row in latents] == [
            files[f"{name}/latent_{v}.npy"] for v in range(VIEWS)
        ]


def batch(root: Path) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    source = open_source(root)
    train = ViewDataset(source, Preprocess(), source.split["train"], num_views=2, seed=5)
    views = train.__getitems__([Draw(3, int(i)) for i in train.objects])
    return views.images, dict(views.actions), views.label, views.index


def test_folder_to_shards_and_back(folder: Path, tmp_path: Path) -> None:
    done = go(folder, tmp_path / "shards")
    assert done.manifest.objects == tuple(sorted(done.manifest.objects))
    assert_same_objects(tmp_path / "shards", content(folder))
    go(tmp_path / "shards", tmp_path / "back", layout="folder")
    back = content(tmp_path / "back")
    assert {name: data for name, data in back.items() if Path(name).name != RECORD} == content(
        folder
    )
    wanted = batch(folder)
    for root in (tmp_path / "shards", tmp_path / "back"):
        images, actions, label, index = batch(root)
        assert torch.equal(images, wanted[0])
        assert all(torch.equal(actions[name], wanted[1][name]) for name in wanted[1])
        assert torch.equal(label, wanted[2])
        assert torch.equal(index, wanted[3])


@pytest.mark.render
def test_a_converted_set_can_be_verified(tmp_path: Path) -> None:
    generated = {"num_workers": 0, "progress": False, "objects_per_shard": 2}
    meshes(tmp_path / "meshes", 3)
    painted = tmp_path / "meshes" / "cup" / "m1.obj"
    painted.write_text("mtllib gone.mtl\n" + painted.read_text())
    source = MeshFolderSource(tmp_path / "meshes")
    for layout in ("shards", "folder"):
        generate(source, SMALL, tmp_path / layout, layout=layout, **generated)  # type: ignore[arg-type]
    go(tmp_path / "shards", tmp_path / "to-folder", layout="folder")
    go(tmp_path / "folder", tmp_path / "to-shards")
    go(tmp_path / "to-folder", tmp_path / "back")
    assert content(tmp_path / "to-folder") == content(tmp_path / "folder")
    assert content(tmp_path / "to-shards") == content(tmp_path / "shards")
    assert content(tmp_path / "back") == content(tmp_path / "shards")
    for name in ("to-folder", "to-shards", "back"):
        assert list(Manifest.read(tmp_path / name).warnings) == ["cup/m1"]
        told: list[str] = []
        assert verify(tmp_path / name, show=told.append)
        assert len(told) == 7
        assert all(line.startswith("ok ") for line in told)
        assert told[5].endswith("SHA-256 of 3 files and 1 that they name")
    painted.write_text(painted.read_text() + "# changed\n")
    assert not verify(tmp_path / "back", show=told.append)


def test_what_a_published_folder_can_be_verified_for(folder: Path, tmp_path: Path) -> None:
    told: list[str] = []
    go(folder, tmp_path / "out", layout="folder")
    assert verify(tmp_path / "out", show=told.append)
    assert told[1].startswith(f"ok    checksums: CRC-32 of {6 * 2 * VIEWS} files")
    assert told[2].startswith("skip  pictures: nothing to compare with")
    (tmp_path / "out" / "02" / "zzz" / "latent_1.npy").write_bytes(b"x")
    assert not verify(tmp_path / "out", show=told.append)
    for path in (tmp_path / "out").rglob(RECORD):
        path.unlink()
    told.clear()
    verify(tmp_path / "out", show=told.append)
    assert told[1].startswith("skip  checksums: CRC-32 of 0 files; 6 objects have no object.json")


def test_shards_to_folder_and_back(folder: Path, tmp_path: Path) -> None:
    go(folder, tmp_path / "shards")
    # an order of objects and classes that sorting does not give
    np.save(folder / "train_labels.npy", np.array([0, 2, 1]))
    np.save(folder / "val_labels.npy", np.array([2, 1, 0]))
    files = content(folder)
    archive = tar_of(tmp_path / "a.tar", reversed(files.items()))
    first = go(archive, tmp_path / "first")
    assert first.manifest.classes == ("02", "01", "00")
    go(tmp_path / "first", tmp_path / "folder", layout="folder")
    second = go(tmp_path / "folder", tmp_path / "second")
    assert content(tmp_path / "second") == content(tmp_path / "first")
    assert second.manifest.objects == first.manifest.objects
    labels = (batch(tmp_path / name)[2:] for name in ("first", "folder"))
    for one, other in zip(*labels, strict=True):
        assert torch.equal(one, other)


ORDERS: dict[str, Callable[[list[str]], list[str]]] = {
    "sorted": sorted,
    "backwards": lambda names: sorted(names, reverse=True),
    "shuffled objects": lambda names: sorted(
        names, key=lambda n: (hash_of(n.rpartition("/")[0]), hash_of(n))
    ),
    "views first": lambda names: sorted(names, key=lambda n: (n.rpartition("_")[2][0], n)),
    "shuffled": lambda names: sorted(names, key=hash_of),
}


def hash_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
@pytest.mark.parametrize("order", ORDERS)
def test_a_tarball_in_any_order(folder: Path, tmp_path: Path, order: str, ending: str) -> None:
    files = content(folder)
    names = ORDERS[order](list(files))
    archive = tar_of(tmp_path / f"a{ending}", [(f"./x/data/{n}", files[n]) for n in names])
    apart = order in ("views first", "shuffled")
    done = go(archive, tmp_path / "out", num_views=VIEWS if apart else None)
    assert_same_objects(tmp_path / "out", files)
    assert done.manifest.source["from"] == archive.name
    assert done.manifest.source["bytes"] == archive.stat().st_size
    assert any("waited" in note for note in done.notes) == apart
    named = {s: [done.manifest.objects[i] for i in m] for s, m in done.manifest.split.items()}
    assert named["train"] == ["02/zzz", "00/obj0", "01/obj1"]
    # descriptions, which were written before the labels were known
    tars = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))
    for i, record in enumerate(webdataset.WebDataset(tars, shardshuffle=False)):
        described = json.loads(record["json"])
        name = done.manifest.objects[i]
        assert f"{described['class']}/{described['object']}" == name
        assert done.manifest.classes[described["label"]] == described["class"]
        assert record["002.jpg"] == files[f"{name}/image_2.jpg"]
    if order == "sorted":
        go(folder, tmp_path / "direct")
        assert content(tmp_path / "direct") == content(tmp_path / "out")
    for index in (tmp_path / "out").glob("*.index.npy"):
        index.unlink()
    assert_same_objects(tmp_path / "out", files)  # the shards' SHA-256 fit as well


def test_what_waits_goes_to_disk(folder: Path, tmp_path: Path) -> None:
    files = content(folder)
    names = ORDERS["views first"](list(files))
    archive = tar_of(tmp_path / "a.tar", [(name, files[name]) for name in names])
    reader = ArchiveReader(archive, VIEWS, spill=tmp_path, memory=2000)
    found = {item.name: item for item in reader.read(set())}
    assert len(found) == 6
    for name, item in found.items():
        assert item.images == [files[f"{name}/image_{v}.jpg"] for v in range(VIEWS)]  # type: ignore[union-attr]
    assert "MB of them on disk" in reader.notes()[0]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("tmp")]


def test_one_object_at_a_time_is_held(tmp_path: Path) -> None:
    def many() -> Iterable[tuple[str, bytes]]:
        picture, latent = jpeg(0), npy(np.zeros(7))
        for i in range(300):
            yield f"c/o{i:03d}/image_0.jpg", picture
            yield f"c/o{i:03d}/latent_0.npy", latent

    archive = tar_of(tmp_path / "a.tar", many())
    reader = ArchiveReader(archive, None, spill=tmp_path)
    for _ in reader.read(set()):
        assert len(reader._waiting) <= 2
    assert reader.progress()[0] == archive.stat().st_size


def test_interleaved_objects_need_the_number_of_views(folder: Path, tmp_path: Path) -> None:
    files = content(folder)
    names = ORDERS["views first"](list(files))
    # latent_0 right after image_0: an object of one view by all appearances
    names = sorted(names, key=lambda n: (n.rpartition("_")[2][0], n.rpartition("/")[0]))
    archive = tar_of(tmp_path / "a.tar", [(name, files[name]) for name in names])
    with pytest.raises(UserError, match=r"image_1\.jpg comes after the 1 views .* --num_views"):
        go(archive, tmp_path / "out")
    assert not (tmp_path / "out" / MANIFEST).exists()
    go(archive, tmp_path / "other", num_views=VIEWS)
    assert_same_objects(tmp_path / "other", files)


def cut_jpeg(files: Files) -> None:
    files["01/obj0/image_1.jpg"] = files["01/obj0/image_1.jpg"][:-100]


def not_jpeg(files: Files) -> None:
    files["01/obj0/image_1.jpg"] = b"GIF89a" + bytes(100)


def pickled(files: Files) -> None:
    files["01/obj0/latent_2.npy"] = npy(np.array([{}], dtype=object), allow_pickle=True)


def missing(files: Files) -> None:
    del files["01/obj0/image_1.jpg"]


def nan(files: Files) -> None:
    files["01/obj0/latent_0.npy"] = npy(np.full(7, np.nan))


def unequal(files: Files) -> None:
    files["01/obj0/latent_1.npy"] = npy(np.zeros(10))


def size(files: Files) -> None:
    files["01/obj0/image_0.jpg"] = jpeg(0, 24)


def more(files: Files) -> None:
    files["01/obj0/image_3.jpg"] = jpeg(0)
    files["01/obj0/latent_3.npy"] = npy(np.zeros(7))


@pytest.mark.parametrize("kind", ["tar", "folder"])
@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut_jpeg, r"01/obj0/image_1\.jpg is not a whole JPEG image \(it is cut short\)"),
        (not_jpeg, r"01/obj0/image_1\.jpg is not a JPEG image"),
        (pickled, r"01/obj0/latent_2\.npy: it holds pickled objects"),
        (missing, r"01/obj0 lacks image_1\.jpg"),
        (nan, r"01/obj0/latent_0\.npy holds numbers that are not finite"),
        (unequal, r"01/obj0/latent_1\.npy holds 10 numbers where others hold 7"),
        (size, r"01/obj0/image_0\.jpg has 24x24 pixels where 16x16"),
        (more, r"01/obj0 holds image_3\.jpg where others have 3 views"),
    ],
)
def test_damage_is_named_and_can_be_left_out(
    folder: Path, tmp_path: Path, harm: Callable[[Files], None], message: str, kind: str
) -> None:
    files = content(folder)
    harm(files)
    if kind == "tar":
        src = tar_of(tmp_path / "a.tar", sorted(files.items()))
    else:
        src = tmp_path / "harmed"
        for name, data in files.items():
            (src / name).parent.mkdir(parents=True, exist_ok=True)
            (src / name).write_bytes(data)
    with pytest.raises(UserError, match=message) as error:
        go(src, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert "--skip_bad true" in str(error.value)
    assert not (tmp_path / "out" / MANIFEST).exists()
    done = go(src, tmp_path / "out", skip_bad=True)  # the same folder: it goes on
    assert list(done.manifest.failed) == ["01/obj0"]
    whole = {name: data for name, data in files.items() if not name.startswith("01/obj0")}
    assert_same_objects(tmp_path / "out", whole)
    assert sorted(i for m in done.manifest.split.values() for i in m) == [0, 1, 2, 3, 4]
    assert Manifest.read(tmp_path / "out").failed == done.manifest.failed


@pytest.mark.parametrize("name", ["../01/obj0/image_0.jpg", "/etc/01/x/image_0.jpg", "a/../../b"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    archive = tar_of(tmp_path / "a.tar", [(name, jpeg(0))])
    with pytest.raises(UserError, match="leads out of it: such an archive is refused"):
        go(archive, tmp_path / "out", skip_bad=True)
    assert not list((tmp_path / "out").iterdir())


def test_a_link_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("00/obj/image_0.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(UserError, match=r"image_0\.jpg is a link or a device"):
        go(tmp_path / "a.tar", tmp_path / "out")


@pytest.mark.parametrize("packed", [False, True])
def test_a_tarball_cut_anywhere(folder: Path, tmp_path: Path, packed: bool) -> None:
    files = content(folder)
    whole = tar_of(tmp_path / "a.tar", [(name, files[name]) for name in sorted(files)])
    data = whole.read_bytes()
    with tarfile.open(whole) as tar:
        starts = [member.offset for member in tar]  # cut between members is the hard one
    data = gzip.compress(data, mtime=0) if packed else data
    cuts = [len(data) // 3, len(data) // 2] if packed else [starts[12], starts[12] + 100]
    for number, cut in enumerate(cuts):
        part = tmp_path / f"part{number}.tar"
        part.write_bytes(data[:cut])
        out = tmp_path / f"out{number}"
        with pytest.raises(UserError, match=r"is damaged or cut short after (\d\d/|its)"):
            go(part, out, skip_bad=True)
        assert not (out / MANIFEST).exists()
    if not packed:
        harmed = bytearray(data)
        harmed[starts[9] : starts[9] + 512] = b"x" * 512
        (tmp_path / "harmed.tar").write_bytes(harmed)
        with pytest.raises(UserError, match="is damaged or cut short after"):
            go(tmp_path / "harmed.tar", tmp_path / "harmed", skip_bad=True)


class Kill(BaseException):
    pass


@pytest.mark.parametrize("layout", ["shards", "folder"])
@pytest.mark.parametrize("kind", ["tar", "folder"])
def test_an_interrupted_conversion_completes_to_the_same_bytes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, layout: str
) -> None:
    files = content(folder)
    src = folder
    if kind == "tar":
        names = ORDERS["shuffled objects"](list(files))
        src = tar_of(tmp_path / "a.tar", [(name, files[name]) for name in names])
    go(src, tmp_path / "whole", layout=layout)
    original = module._shown
    read = []
    for stop in (1, 3, 1):

        def interrupted(reader, items, shown, stop=stop):  # type: ignore[no-untyped-def]
            for number, item in enumerate(original(reader, items, shown)):
                if number == stop:
                    raise Kill
                read.append(item.name)
                yield item

        monkeypatch.setattr(module, "_shown", interrupted)
        with pytest.raises(Kill):
            go(src, tmp_path / "cut", layout=layout)
        assert not (tmp_path / "cut" / MANIFEST).exists()
    (tmp_path / "cut" / ".shard-000001.tar.x.partial").touch()
    monkeypatch.setattr(module, "_shown", original)
    go(src, tmp_path / "cut", layout=layout)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert (tmp_path / "cut" / MANIFEST).read_bytes() == (
        tmp_path / "whole" / MANIFEST
    ).read_bytes()
    if layout == "folder":
        assert len(set(read)) == len(read)  # what was there was not written again


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["shards", "folder"])
def test_a_killed_conversion_completes_to_the_same_bytes(tmp_path: Path, layout: str) -> None:
    src = write_folder(tmp_path / "src", classes=4, objects=100, views=VIEWS)
    archive = tar_of(tmp_path / "a.tar", sorted(content(src).items(), key=lambda f: hash_of(f[0])))
    go(archive, tmp_path / "whole", layout=layout, num_views=VIEWS)
    command = (
        "from tests.data_gen.test_convert import *; import sys; "
        "go(Path(sys.argv[1]), Path(sys.argv[2]), layout=sys.argv[3], num_views=VIEWS)"
    )
    out = tmp_path / "cut"
    arguments = [sys.executable, "-c", command, str(archive), str(out), layout]
    kills = 0
    for number in range(2):
        process = subprocess.Popen(arguments, cwd=Path(__file__).parents[2])
        while process.poll() is None and len(
            list(out.glob("*/*" if layout == "folder" else "*"))
        ) < (20 + 40 * number):
            time.sleep(0.001)
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
        assert not (out / MANIFEST).exists()
    assert kills == 2
    subprocess.run(arguments, cwd=Path(__file__).parents[2], check=True)
    assert content(out) == content(tmp_path / "whole")
    assert (out / MANIFEST).read_bytes() == (tmp_path / "whole" / MANIFEST).read_bytes()


def test_a_damaged_shard_is_written_again(folder: Path, tmp_path: Path) -> None:
    go(folder, tmp_path / "out")
    want = content(tmp_path / "out")
    path = tmp_path / "out" / "shard-000001.tar"
    path.write_bytes(path.read_bytes()[:5000])
    go(folder, tmp_path / "out")
    assert content(tmp_path / "out") == want


def test_a_foreign_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("x")
    with pytest.raises(UserError, match=r"is not empty and holds no plan\.json"):
        go(folder, out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    go(folder, tmp_path / "one")
    with pytest.raises(UserError, match=r"was begun with another plan .*objects_per_shard was 2"):
        go(folder, tmp_path / "one", objects_per_shard=3)
    with pytest.raises(UserError, match="lies in the data set to convert"):
        go(folder, folder / "inside")


def test_what_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no archive " * 200)
    (tmp_path / "empty").mkdir()
    other = tar_of(tmp_path / "other.tar", [("README", b"hello")])
    for src, message in (
        (tmp_path / "absent.tar", "does not exist"),
        (tmp_path / "text.tar", r"is not a \.tar or \.tar\.gz archive"),
        (tmp_path / "empty", "holds no SYNSET/OBJ folders"),
        (other, r"holds no SYNSET/OBJ/image_0\.jpg"),
    ):
        with pytest.raises(UserError, match=message):
            go(src, tmp_path / "out")
        assert not list((tmp_path / "out").glob("*"))  # nothing stands in the way of the next try


def test_splits_of_another_place(folder: Path, tmp_path: Path) -> None:
    files = {name: data for name, data in content(folder).items() if "/" in name}
    archive = tar_of(tmp_path / "a.tar", [*sorted(files.items()), ("README.md", b"x")])
    alone = go(archive, tmp_path / "alone")
    assert any("no split files: a fifth" in note for note in alone.notes)
    assert any("1 other files were left out: README.md" in note for note in alone.notes)
    other = tmp_path / "splits"
    other.mkdir()
    write_splits(other, ["/root/02/zzz/", "./01/obj1"], ["00/obj1", "02/obj1"], "201")
    np.save(other / "train_labels.npy", np.array([0, 0]))  # two classes of one label
    with pytest.raises(UserError, match=r"gives 01/obj1 the label 0 of the class 02"):
        go(archive, tmp_path / "wrong", splits=other)
    np.save(other / "train_labels.npy", np.array([0, 2]))
    done = go(archive, tmp_path / "out", splits=other)
    named = {s: [done.manifest.objects[i] for i in m] for s, m in done.manifest.split.items()}
    assert named == {"train": ["02/zzz", "01/obj1"], "val": ["00/obj1", "02/obj1"]}
    assert done.manifest.classes == ("02", "00", "01")
    assert any("2 objects are in no split: 00/obj0, 01/obj0" in note for note in done.notes)
    assert any("the label files set the order" in note for note in done.notes)
    np.save(other / "val_images.npy", np.array(["00/obj1", "02/gone"]))
    with pytest.raises(UserError, match=r"02/gone: the split val in .* names it"):
        go(archive, tmp_path / "third", splits=other)
    done = go(archive, tmp_path / "third", splits=other, skip_bad=True)
    assert list(done.manifest.failed) == ["02/gone"]


def test_latents_keep_their_type(tmp_path: Path) -> None:
    files: Files = {}
    for v in range(2):
        files[f"c/o/image_{v}.jpg"] = jpeg(v)
        files[f"c/o/latent_{v}.npy"] = npy(np.arange(10, dtype=np.float32) + v)
    archive = tar_of(tmp_path / "a.tar", files.items())
    go(archive, tmp_path / "shards")
    go(tmp_path / "shards", tmp_path / "folder", layout="folder")
    back = content(tmp_path / "folder")
    assert {name: back[name] for name in files} == files
    assert "translation" in open_source(tmp_path / "folder").schema.groups


def test_a_manifest_in_the_archive_names_the_latents(folder: Path, tmp_path: Path) -> None:
    go(folder, tmp_path / "one", layout="folder")
    raw = json.loads((tmp_path / "one" / MANIFEST).read_text())
    raw["latents"] = [{"name": "pose", "group": "Translation(7)", "columns": list(range(7))}]
    raw["recipe"] = {"note": "mine"}
    (tmp_path / "one" / MANIFEST).write_text(json.dumps(raw))
    files = {**content(tmp_path / "one"), MANIFEST: (tmp_path / "one" / MANIFEST).read_bytes()}
    archive = tar_of(tmp_path / "a.tar", files.items())
    done = go(archive, tmp_path / "out")
    assert list(done.manifest.schema.groups) == ["pose"]
    assert done.manifest.recipe == {"note": "mine"}
    assert list(open_source(tmp_path / "out").schema.groups) == ["pose"]


def test_the_index_is_that_of_the_shards(folder: Path, tmp_path: Path) -> None:
    go(folder, tmp_path / "out")
    path = tmp_path / "out" / "shard-000000.tar"
    table = np.load(path.with_name(index_name(path.name)))
    assert table.shape == (2, 1 + VIEWS, 3)
    offset, length, _ = table[1, 2].tolist()
    data = path.read_bytes()[offset : offset + length]
    assert data == (folder / "00" / "obj1" / "image_1.jpg").read_bytes()
