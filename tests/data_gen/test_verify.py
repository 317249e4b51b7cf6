from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_gen.generate import generate
from data_gen.mesh_sources import MeshFolderSource
from data_gen.recipe import Recipe
from data_gen.sources import ProceduralSource
from data_gen.verify import verify
from ssl_equiv import cli
from ssl_equiv.data.geometry import decode
from ssl_equiv.data.record import MANIFEST, index_name
from ssl_equiv.data.sources import open_source
from ssl_equiv.errors import UserError
from tests.data_gen.stored import SMALL, digest, meshes

pytestmark = pytest.mark.render

OPTIONS = {"num_workers": 0, "progress": False, "objects_per_shard": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``meshes``, and of these ``shards`` and ``folder``, with all outputs."""
    root = tmp_path_factory.mktemp("made")
    source = MeshFolderSource(meshes(root / "meshes", 4, ("broken",)))
    for layout in ("shards", "folder"):
        outputs = ("depth", "normals", "mask")
        generate(source, SMALL, root / layout, layout=layout, outputs=outputs, **OPTIONS)  # type: ignore[arg-type]
    return root


@pytest.fixture(params=["shards", "folder"])
def data(request: pytest.FixtureRequest, made: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(made / request.param, tmp_path / request.param))


def lines(root: Path) -> dict[str, str]:
    """Of every check that is wrong, what it says."""
    told: list[str] = []
    right = verify(root, show=told.append)
    wrong = [line.removeprefix("WRONG ").split(": ", 1) for line in told if line[:5] == "WRONG"]
    assert right == (not wrong)
    assert len(told) == 7 or any(line.startswith("skip") for line in told)
    return dict(wrong)


def change(path: Path, **entries: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def test_what_was_generated_is_right(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = digest(made)
    for layout in ("shards", "folder"):
        assert cli.main(["generate", "--verify", str(made / layout)]) == 0
        told = capsys.readouterr().out.splitlines()
        assert [line.split(":")[0] for line in told] == [
            "ok    counts",
            "ok    checksums",
            "ok    manifest",
            "ok    descriptions",
            "ok    latents",
            "ok    meshes",
            "ok    pictures",
        ]
        assert told[0].endswith(
            "4 objects of 3 views with depth, normals, mask, 1 recorded as failed"
        )
        assert "32 files of 4 objects made again, 32 the same byte for byte" in told[-1]
    assert digest(made) == before


def test_exit_codes(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "plan.json").unlink()  # not needed
    change(data / MANIFEST, split={"train": [0, 1], "val": [2]})
    with pytest.raises(SystemExit) as caught:
        cli.main(["generate", "--verify", str(data)])
    assert caught.value.code == 1
    assert "the splits do not hold every rendered object once" in capsys.readouterr().out
    (data / MANIFEST).unlink()
    assert cli.main(["generate", "--verify", str(data)]) == 2
    assert "manifest.json does not exist" in capsys.readouterr().err
    assert cli.main(["generate", "--verify", str(data / "nothing")]) == 2
    assert cli.main(["generate"]) == 2
    assert "--out is missing" in capsys.readouterr().err


def test_a_changed_byte(data: Path) -> None:
    path = data / "shard-000001.tar" if data.name == "shards" else data / "cup/m2/normals_1.png"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 if data.name == "folder" else 3000] ^= 1
    path.write_bytes(raw)
    wrong = lines(data)
    assert path.name in wrong["checksums"]
    assert wrong.keys() <= {"checksums", "pictures"}


def test_what_is_cut_short_or_missing(data: Path) -> None:
    if data.name == "shards":
        path = data / "shard-000001.tar"
        path.write_bytes(path.read_bytes()[:7000])
        (data / index_name("shard-000000.tar")).unlink()
        wrong = lines(data)
        assert "shard-000001.tar has 7000 bytes" in wrong["counts"]
        assert "shard-000000.index.npy is missing" in wrong["counts"]
        assert "000003.000.jpg" in wrong["checksums"] or "000003.001.jpg" in wrong["checksums"]
        assert "cannot be read" in wrong["descriptions"]
        with pytest.raises(UserError, match=r"shard-000001\.tar has 7000 bytes, not"):
            open_source(data)
        path.unlink()
        assert "shard-000001.tar is missing" in lines(data)["counts"]
    else:
        (data / "cup/m1/image_2.jpg").write_bytes(b"")
        (data / "cup/m2/depth_0.png").unlink()
        (data / "cup/m3/image_9.jpg").touch()
        shutil.rmtree(data / "cup/m0")
        wrong = lines(data)
        for told in ("cup/m0 is missing", "m2/depth_0.png is missing", "image_9.jpg is too much"):
            assert told in wrong["counts"]
        assert "cup/m1/image_2.jpg lacks" in wrong["checksums"]
        assert "1 objects cannot be read" in wrong["descriptions"]


def test_another_seed_or_recipe(data: Path) -> None:
    manifest = json.loads((data / MANIFEST).read_text())
    change(data / MANIFEST, seed=5)
    wrong = lines(data)
    assert "cup/m0 has other latents than recipe and seed give" in wrong["latents"]
    change(data / MANIFEST, seed=0, recipe=manifest["recipe"] | {"sun_energy": 2.0})
    wrong = lines(data)
    assert wrong.keys() == {"manifest", "pictures"}
    assert "recipe.sun_energy was 1.5, now 2.0" in wrong["manifest"]
    assert "mean absolute error" in wrong["pictures"]
    change(data / MANIFEST, recipe=manifest["recipe"] | {"camera_r": 2.6})
    assert "depth" in lines(data)["pictures"]


def test_descriptions_that_contradict_the_manifest(data: Path) -> None:
    manifest = json.loads((data / MANIFEST).read_text())
    change(data / MANIFEST, failed={"cup/broken": "another reason"})
    assert "cup/broken is described with failed" in lines(data)["descriptions"]
    change(data / MANIFEST, failed={}, split={"train": [0, 1, 2, 3, 4], "val": []})
    assert {"counts", "descriptions"} <= lines(data).keys()
    names = list(manifest["objects"])
    names[1], names[2] = names[2], names[1]
    change(data / MANIFEST, objects=names, **{k: manifest[k] for k in ("failed", "split")})
    assert "cup/m1 is described with" in lines(data)["descriptions"]


def test_meshes_that_changed_or_went(data: Path, made: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(made / "meshes", tmp_path / "meshes"))
    source = json.loads((data / MANIFEST).read_text())["source"]
    change(data / MANIFEST, source=source | {"root": str(root)})
    assert lines(data) == {}
    mesh = root / "cup" / "m3.obj"
    mesh.write_bytes(mesh.read_bytes().replace(b"v 4", b"v 3"))
    (root / "cup" / "m2.obj").unlink()
    wrong = lines(data)
    assert "the mesh of cup/m3 is not the file that was rendered" in wrong["meshes"]
    assert "cup/m2 has no mesh any more" in wrong["meshes"]
    assert "of cup/m3 differs" in wrong["pictures"]
    shutil.rmtree(root)
    told: list[str] = []
    assert verify(data, show=told.append)
    assert told[-1].startswith("skip  meshes: not compared, and no picture rendered again: cannot")


def test_a_manifest_that_contradicts_its_recipe_or_plan(data: Path) -> None:
    raw = json.loads((data / MANIFEST).read_text())
    latents = [{**raw["latents"][0], "name": "pose"}, *raw["latents"][1:]]
    for changed, told in (
        ({"image_size": 64}, "image_size is not what recipe and source give"),
        ({"latents": latents}, "latents is not what"),
        ({"classes": ["cup", "pan"]}, "classes is not what"),
        ({"renderer": {"name": "cycles"}}, "by plan.json renderer was embree, now cycles"),
        ({"renderer": {}}, "by plan.json renderer was embree"),
        ({"source": raw["source"] | {"up": "z"}}, "by plan.json source.up was None, now z"),
        ({"outputs": ["depth", "mask"]}, "by plan.json outputs was"),
    ):
        change(data / MANIFEST, **raw | changed)
        assert told in lines(data)["manifest"]


def test_a_manifest_that_is_malformed_is_one_line(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = json.loads((data / MANIFEST).read_text())
    shard = {"name": "../x.tar", "first": 0, "objects": 5, "bytes": 1, "sha256": ""}
    wrong: tuple[dict[str, Any], ...] = (
        *({"num_objects": 7}, {"classes": []}, {"source": None}, {"split": {"train": ["a"]}}),
        *({"split": {"train": [True]}}, {"shards": [shard]}, {"split": {"train": 3}}),
    )
    for changed in wrong:
        change(data / MANIFEST, **raw | changed)
        assert cli.main(["generate", "--verify", str(data)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_shard_too_many(made: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(made / "shards", tmp_path / "shards"))
    shutil.copy(data / "shard-000000.tar", data / "shard-000002.tar")
    assert lines(data) == {"counts": "shard-000002.tar is too much"}


def test_a_background_that_changed_or_went(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "images"
    place.mkdir()
    Image.new("RGB", (40, 40), (200, 10, 10)).save(place / "a.png")
    monkeypatch.chdir(tmp_path)
    recipe = Recipe.from_dict({**SMALL.to_dict(), "background": "images"})
    generate(ProceduralSource(2), recipe, tmp_path / "out", **OPTIONS)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "out" / MANIFEST).read_text())["recipe"]["background"] == str(
        place
    )
    monkeypatch.chdir("/")
    assert lines(tmp_path / "out") == {}
    Image.new("RGB", (40, 40), (10, 200, 10)).save(place / "a.png")
    assert "is not the one of plan.json" in lines(tmp_path / "out")["pictures"]
    shutil.rmtree(place)
    told: list[str] = []
    assert verify(tmp_path / "out", show=told.append)
    assert told[-1].startswith("skip  pictures: not rendered again: recipe: background")


def test_textures_that_came_or_changed(
    tmp_path: Path,
    recwarn: pytest.WarningsRecorder,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = meshes(tmp_path / "meshes", 1)
    (root / "cup" / "painted.mtl").write_text("newmtl red\nKd 0.8 0.1 0.1\nmap_Kd gone.png\n")
    (root / "cup" / "painted.obj").write_text(
        "mtllib painted.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nvt 0 0\nvt 1 0\nvt 0 1\n"
        "usemtl red\nf 1/1 3/2 2/3\nf 1/1 2/2 4/3\nf 1/1 4/2 3/3\nf 2/1 3/2 4/3\n"
    )
    out = tmp_path / "out"
    monkeypatch.chdir(tmp_path)  # where the meshes lie is not told
    made = generate(MeshFolderSource("meshes"), SMALL, out, **{**OPTIONS, "num_workers": 1})  # type: ignore[arg-type]
    assert made.manifest is not None
    text = (
        "mesh cup/painted.obj: texture cup/gone.png missing or unreadable; plain colours stand in"
    )
    assert made.manifest.warnings == {"cup/painted": [text]}
    assert not recwarn.list
    assert "Warning" not in capfd.readouterr().err
    assert lines(out) == {}
    Image.new("RGB", (4, 4)).save(root / "cup" / "gone.png")
    assert "gone.png of cup/painted was missing when it was rendered" in lines(out)["meshes"]
    (root / "cup" / "painted.mtl").write_text("newmtl red\nKd 0.1 0.1 0.1\n")
    assert "painted.mtl of cup/painted is not what was rendered" in lines(out)["meshes"]


def test_other_arithmetic_is_within_its_margin(tmp_path: Path) -> None:
    """Pictures that are as close as another processor's pass, though no byte is the same."""
    generate(ProceduralSource(2), SMALL, tmp_path, layout="folder", **OPTIONS)  # type: ignore[arg-type]
    for path in tmp_path.rglob("*.jpg"):
        Image.open(io.BytesIO(path.read_bytes())).save(path, "JPEG", quality=98)
    for path in tmp_path.rglob("object.json"):
        path.unlink()
    told: list[str] = []
    assert not verify(tmp_path, show=told.append)  # what is told of objects is gone
    assert told[-1].startswith("ok    pictures: 4 files of 2 objects made again, 0 the same")
    assert "2 objects have no object.json" in told[1]


def test_outputs_can_be_read(made: Path) -> None:
    shards, folder = open_source(made / "shards"), open_source(made / "folder")
    plain = Recipe.from_dict(SMALL.to_dict())
    for name in ("depth", "normals", "mask"):
        stored = shards.read_output(2, [2, 0], name)
        assert stored == folder.read_output(2, [2, 0], name)
        array = decode(name, stored[0], "here")
        assert array.shape[:2] == (plain.image_size, plain.image_size)
    mask = decode("mask", shards.read_output(2, [1], "mask")[0], "here")
    depth = decode("depth", shards.read_output(2, [1], "depth")[0], "here")
    assert 0 < mask.mean() < 0.5
    assert np.abs(depth[mask] - plain.camera_r).max() < 0.6  # the object stands at the origin
    for source in (shards, folder):
        with pytest.raises(UserError, match="has no output 'albedo'"):
            source.read_output(2, [0], "albedo")
        with pytest.raises(UserError, match="has no views"):
            source.read_output(0, [0], "mask")
