from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import trimesh

from data_gen.mesh_sources import SHAPENET_MODEL, MeshFolderSource, ShapeNetSource, safe_name
from data_gen.procedural import DEMO_CLASSES, make
from data_gen.sources import ObjectSource, ProceduralSource, open_objects
from ssl_equiv.errors import UserError


def refs(source: ObjectSource) -> list[tuple[str, str]]:
    return [source.ref(i) for i in range(len(source))]


def wedge(path: Path, height: float = 1.0) -> None:
    """A mesh 4 wide (x), ``height`` high (y), 2 deep (z), away from the origin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    points = np.array([(0, 0, 0), (4, 0, 0), (0, height, 0), (0, 0, 2)]) + 10
    faces = [(0, 1, 2), (0, 2, 3), (0, 3, 1), (1, 3, 2)]
    trimesh.Trimesh(points, faces, process=False).export(path)


@pytest.fixture
def shapenet(tmp_path: Path) -> Path:
    root = tmp_path / "ShapeNetCore.v2"
    for synset, name in (("03", "b"), ("03", "a"), ("02", "c"), ("04", "d")):
        wedge(root / synset / name / SHAPENET_MODEL)
    (root / "taxonomy.json").write_text("{}")
    (root / ".hidden").mkdir()
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "meshes"
    for name in ("cup/two.obj", "cup/one.ply", "bowl/x.glb", "bowl/y.STL"):
        wedge(root / name)
    (root / "cup" / "two.mtl").write_text("")
    (root / "cup" / ".DS_Store").write_text("")
    return root


def test_procedural_takes_the_classes_in_turn() -> None:
    source = ProceduralSource(30, DEMO_CLASSES, seed=5)
    assert len(source) == 30
    assert source.classes == DEMO_CLASSES
    assert len(set(refs(source))) == 30
    assert source.ref(13) == (DEMO_CLASSES[1], "5-00001")
    np.testing.assert_array_equal(source.load(13).vertices, make(DEMO_CLASSES[1], 1, 5).vertices)
    assert refs(ProceduralSource(40, DEMO_CLASSES, seed=5))[:30] == refs(source)
    assert not set(refs(ProceduralSource(30, DEMO_CLASSES, seed=6))) & set(refs(source))


def test_procedural_refuses_nonsense() -> None:
    with pytest.raises(UserError, match="at least 1"):
        ProceduralSource(0)
    with pytest.raises(UserError, match="different names"):
        ProceduralSource(3, ("mug", "mug"))
    with pytest.raises(UserError, match="did you mean 'mug'"):
        ProceduralSource(3, ("mugg",))


def test_shapenet_lists_in_order_and_turns_up(shapenet: Path) -> None:
    source = ShapeNetSource(shapenet)
    assert refs(source) == [("02", "c"), ("03", "a"), ("03", "b"), ("04", "d")]
    assert source.classes == ("02", "03", "04")
    low, high = source.load(0).bounds
    np.testing.assert_allclose(high - low, np.array([4, 2, 1]) / np.sqrt(21), atol=1e-6)
    np.testing.assert_allclose(high + low, 0, atol=1e-6)


def test_shapenet_takes_classes_and_objects(shapenet: Path) -> None:
    assert refs(ShapeNetSource(shapenet, classes=["04", "02"])) == [("02", "c"), ("04", "d")]
    chosen = [("03", "b"), ("02", "c"), ("03", "b")]
    assert refs(ShapeNetSource(shapenet, objects=chosen)) == [("02", "c"), ("03", "b")]
    with pytest.raises(UserError, match="no class '05'"):
        ShapeNetSource(shapenet, classes=["05"])
    with pytest.raises(UserError, match="take the object off the list"):
        ShapeNetSource(shapenet, objects=[("03", "zzz")])


@pytest.mark.parametrize("name", ["..", "a/../../b", "a/b", "a\\b", "", ".", "a\nb", "..hidden"])
def test_names_that_lead_elsewhere_are_refused(shapenet: Path, name: str) -> None:
    with pytest.raises(UserError, match="is refused"):
        ShapeNetSource(shapenet, objects=[("03", name)])
    with pytest.raises(UserError, match="is refused"):
        ShapeNetSource(shapenet, objects=[(name, "a")])


def test_names_that_stay_are_kept() -> None:
    for name in ("1a6f615e8b1b5ae4dbbc9b4c3c26e6a1", "a b", "v1.2", "tasse-ä"):
        assert safe_name(name, Path()) == name


def test_shapenet_says_what_it_leaves_out(shapenet: Path) -> None:
    (shapenet / "03" / "hollow" / "models").mkdir(parents=True)
    with pytest.warns(UserWarning, match="1 folders .* are left out .*hollow"):
        source = ShapeNetSource(shapenet)
    assert len(source) == 4


def test_meshes_of_a_folder(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = MeshFolderSource(folder)
    assert refs(source) == [("bowl", "x"), ("bowl", "y"), ("cup", "one"), ("cup", "two")]
    assert source.classes == ("bowl", "cup")
    sizes = [np.ptp(source.load(i).bounds, axis=0) * np.sqrt(21) for i in range(4)]
    y_up, z_up = (4, 2, 1), (4, 1, 2)
    np.testing.assert_allclose(sizes, [y_up, z_up, z_up, y_up], atol=1e-5)
    size = np.ptp(MeshFolderSource(folder, up="z").load(3).bounds, axis=0)
    np.testing.assert_allclose(size * np.sqrt(21), z_up, atol=1e-5)
    assert refs(MeshFolderSource(folder, classes=["cup"])) == [("cup", "one"), ("cup", "two")]


def test_two_meshes_of_one_name(folder: Path) -> None:
    wedge(folder / "cup" / "two.ply")
    with pytest.raises(UserError, match="rename one"):
        MeshFolderSource(folder)


def test_a_dangerous_file_name(folder: Path) -> None:
    wedge(folder / "cup" / "a..b.ply")
    with pytest.raises(UserError, match="is refused"):
        MeshFolderSource(folder)


@pytest.mark.parametrize("source", [ShapeNetSource, MeshFolderSource])
def test_empty_missing_and_wrong_roots(
    tmp_path: Path, source: type[ShapeNetSource] | type[MeshFolderSource]
) -> None:
    (tmp_path / "class").mkdir()
    (tmp_path / "file").write_text("")
    for root, message in (("", "has no"), ("gone", "cannot list"), ("file", "cannot list")):
        with pytest.raises(UserError, match=message) as caught:
            source(tmp_path / root)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no class 'cup'"):
        source(tmp_path, classes=["cup"])


def test_a_broken_mesh_is_named_when_it_is_loaded(folder: Path) -> None:
    (folder / "cup" / "one.ply").write_text("nothing")
    source = MeshFolderSource(folder)
    with pytest.raises(UserError, match=r"one\.ply"):
        source.load(2)


def test_sources_can_be_sent_to_other_processes(shapenet: Path, folder: Path) -> None:
    for source in (ProceduralSource(3), ShapeNetSource(shapenet), MeshFolderSource(folder)):
        copy = pickle.loads(pickle.dumps(source))
        assert refs(copy) == refs(source)
        np.testing.assert_array_equal(copy.load(1).vertices, source.load(1).vertices)


def test_indices_out_of_range(folder: Path) -> None:
    for source in (ProceduralSource(4), MeshFolderSource(folder)):
        for index in (-1, 4):
            with pytest.raises(IndexError):
                source.ref(index)
            with pytest.raises(IndexError):
                source.load(index)


def test_shapenet_without_its_place() -> None:
    with pytest.raises(UserError, match="say where it lies, as in shapenet:/"):
        open_objects("shapenet:", 1, None, 0, False)
