from __future__ import annotations

import json
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from data_gen.loaders import load_mesh
from data_gen.mesh import GREY, Mesh
from data_gen.procedural import make
from data_gen.textures import paint_corners
from ssl_equiv.errors import UserError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def picture(path: Path) -> Path:
    """2x2: red and green above, blue and white below."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8)).save(path)
    return path


def texel(mesh: Mesh, face: int, corner: int) -> tuple[int, ...]:
    """The texel under a corner: row (1 - v) H from the top."""
    texture = mesh.materials[mesh.face_material[face]].texture
    assert texture is not None
    assert mesh.corner_uv is not None
    u, v = mesh.corner_uv[face, corner]
    height, width = texture.shape[:2]
    return tuple(int(x) for x in texture[int((1 - v) * height) % height, int(u * width) % width])


def corners(mesh: Mesh) -> np.ndarray:
    return mesh.vertices[mesh.faces]


@pytest.fixture
def textured(tmp_path: Path) -> Path:
    """A square in the xz plane, a texel at each corner, below the corner's own middle."""
    picture(tmp_path / "images" / "a picture.png")
    write(
        tmp_path / "models" / "square.mtl",
        "newmtl plain\nKd 0.1 0.2 0.3\nd 0.5\nTr 0.5\n\n"
        "newmtl painted\nKd 0.4 0.5 0.6\nmap_Kd -s 1 1 1 -clamp on ..\\images\\a picture.png\n",
    )
    return write(
        tmp_path / "models" / "square.obj",
        "# a comment\nmtllib square.mtl\n" + SQUARE + "v 0 0 1\n"
        "vt 0.25 0.25\nvt 0.75 0.25\nvt 0.75 0.75\nvt 0.25 0.75\nvn 0 0 2\n"
        "usemtl painted\nf 1/1/1 2/2/1 3/3/1 4/4/1\nusemtl plain\nf 1//1 2//1 5//1\n",
    )


def test_obj_with_materials_and_a_texture(textured: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mesh = load_mesh(textured, up="z")
    assert len(mesh.faces) == 3
    assert [texel(mesh, 0, i) for i in range(3)] == [BLUE, WHITE, GREEN]
    assert [texel(mesh, 1, i) for i in range(3)] == [BLUE, GREEN, RED]
    assert mesh.face_material[0] == mesh.face_material[1] != mesh.face_material[2]
    np.testing.assert_allclose(mesh.materials[mesh.face_material[0]].color, 1)
    plain = mesh.materials[mesh.face_material[2]]
    np.testing.assert_allclose(plain.color, (0.1, 0.2, 0.3), rtol=1e-6)
    assert plain.texture is None
    assert mesh.corner_normals is not None
    np.testing.assert_allclose(mesh.corner_normals, np.full((3, 3, 3), (0, 0, 2)))


def test_y_up_turns_as_in_blender(textured: Path) -> None:
    turned, still = load_mesh(textured), load_mesh(textured, up="z")
    x, y, z = still.vertices.T
    np.testing.assert_array_equal(turned.vertices, np.stack([x, -z, y], axis=1))
    assert turned.corner_normals is not None
    np.testing.assert_allclose(turned.corner_normals[0, 0], (0, -2, 0))


@pytest.mark.parametrize("damage", ["missing", "not an image", "cut short"])
def test_a_lost_texture_leaves_the_colour_and_warns_once(textured: Path, damage: str) -> None:
    image = textured.parent.parent / "images" / "a picture.png"
    if damage == "missing":
        image.unlink()
    else:
        image.write_bytes(b"nothing" if damage == "not an image" else image.read_bytes()[:50])
    with pytest.warns(UserWarning, match=r"square\.obj: texture .*a picture\.png") as caught:
        mesh = load_mesh(textured)
    assert len(caught) == 1
    assert mesh.corner_uv is None
    np.testing.assert_allclose(
        mesh.materials[mesh.face_material[0]].color, (0.4, 0.5, 0.6), rtol=1e-6
    )


def test_a_texture_without_coordinates_is_not_read(tmp_path: Path) -> None:
    write(tmp_path / "m.mtl", "newmtl a\nKd 1 0 0\nmap_Kd gone.png\n")
    path = write(tmp_path / "m.obj", "mtllib m.mtl\n" + SQUARE + "usemtl a\nf 1 2 3\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mesh = load_mesh(path)
    np.testing.assert_allclose(mesh.materials[0].color, (1, 0, 0))


def test_missing_library_and_unknown_material_are_grey(tmp_path: Path) -> None:
    path = write(tmp_path / "m.obj", "mtllib gone.mtl\n" + SQUARE + "usemtl a\nf 1 2 3\n")
    with pytest.warns(UserWarning, match=r"material library gone\.mtl"):
        mesh = load_mesh(path)
    np.testing.assert_allclose(mesh.materials[0].color, GREY.color)


@pytest.mark.parametrize(
    "faces",
    [
        "f 1 2 3\nf 1 3 4",
        "f 1/9 2/9 3/9\nf 1/1 3/3 4/4".replace("9", "2"),
        "f 1//1 2//1 3//1\nf 1//1 3//1 4//1",
        "f 1/1/1 2/2/1 3/3/1\nf 1/1/1 3/3/1 4/4/1",
        "f 1/1/1 2//1 3\nf 1/1 3 4",
        "f 1 2 3 4",
        "f -4 -3 -2 -1",
        "f -4/-4/-1 -3/-3/-1 -2/-2/-1 -1/-1/-1",
        "  f 1  2\t3 # first\n\nf 1 3\\\n 4",
        "l 1 2\nf 1 2\nf 1 2 3\nf 1 3 4\np 1",
    ],
)
def test_every_form_of_faces(tmp_path: Path, faces: str) -> None:
    text = SQUARE + "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nvn 0 0 1\ng group\ns 1\n" + faces
    for newline in ("\n", "\r\n", "\r"):
        path = tmp_path / "m.obj"
        path.write_bytes(text.replace("\n", newline).encode())
        mesh = load_mesh(path, up="z")
        np.testing.assert_array_equal(mesh.faces, [(0, 1, 2), (0, 2, 3)])


def test_relative_indices_count_from_the_face(tmp_path: Path) -> None:
    shifted = "v 5 0 0\nv 6 0 0\nv 6 1 0\n"
    path = write(tmp_path / "m.obj", SQUARE + "f -4 -3 -2\n" + shifted + "f -3 -2 -1\nf 1 -1 2\n")
    mesh = load_mesh(path)
    np.testing.assert_array_equal(mesh.faces, [(0, 1, 2), (4, 5, 6), (0, 6, 1)])


def test_polygons_become_fans_among_triangles(tmp_path: Path) -> None:
    points = "".join(f"v {np.cos(a)} {np.sin(a)} 0\n" for a in np.arange(6))
    path = write(tmp_path / "m.obj", points + "f 1 2 3\nf 1 2 3 4 5 6\nf 4 5 6\n")
    mesh = load_mesh(path)
    expected = [(0, 1, 2), (0, 1, 2), (0, 2, 3), (0, 3, 4), (0, 4, 5), (3, 4, 5)]
    np.testing.assert_array_equal(mesh.faces, expected)


def test_materials_of_many_groups(tmp_path: Path) -> None:
    write(tmp_path / "one.mtl", "newmtl red one\nKd 1 0 0\nnewmtl grey\nKd 0.25\n")
    write(tmp_path / "two.mtl", "newmtl blue\nKd 0 0 7\nnewmtl odd\nKd x y z\n")
    groups = ["red one", "blue", "red one", "odd", "grey"]
    text = "mtllib one.mtl\nmtllib two.mtl\n" + SQUARE + "f 1 2 3\n"
    text += "".join(f"usemtl {name}\nf 1 2 3\n" for name in groups)
    mesh = load_mesh(write(tmp_path / "m.obj", text))
    colors = [mesh.materials[i].color.tolist() for i in mesh.face_material]
    red, blue, grey = [1, 0, 0], [0, 0, 1], GREY.color.tolist()
    assert colors == [grey, red, blue, red, grey, [0.25] * 3]
    assert len(mesh.materials) == 5


def test_obj_vertex_colours(tmp_path: Path) -> None:
    rows = ["v 0 0 0 1 0 0", "v 1 0 0 0 1 0", "v 1 1 0 0 0 1"]
    mesh = load_mesh(write(tmp_path / "m.obj", "\n".join(rows) + "\nf 1 2 3\n"))
    assert [texel(mesh, 0, i) for i in range(3)] == [RED, GREEN, BLUE]


def test_painted_corners_interpolate_linearly() -> None:
    rng = np.random.default_rng(0)
    colors = 0.4 + 0.2 * rng.random((7, 3, 3))
    material, uv = paint_corners(colors)
    assert material.texture is not None
    height, width = material.texture.shape[:2]
    share = rng.dirichlet((1, 1, 1), 7)
    place = np.einsum("fc,fcx->fx", share, uv)
    x, y = place[:, 0] * width - 0.5, (1 - place[:, 1]) * height - 0.5
    column, row = np.floor(x + 1e-4).astype(int), np.floor(y + 1e-4).astype(int)
    fx, fy = (x - column)[:, None], (y - row)[:, None]
    image = material.texture / 255.0
    right, below = np.minimum(column + 1, width - 1), np.minimum(row + 1, height - 1)
    above = (1 - fx) * image[row, column] + fx * image[row, right]
    under = (1 - fx) * image[below, column] + fx * image[below, right]
    expected = np.einsum("fc,fcx->fx", share, colors)
    np.testing.assert_allclose((1 - fy) * above + fy * under, expected, atol=0.01)


def test_obj_agrees_with_trimesh(tmp_path: Path) -> None:
    made = make("teapot", 3)
    assert made.corner_normals is not None
    (tmp_path / "m.obj").write_text(
        trimesh.Trimesh(made.vertices, made.faces, process=False).export(file_type="obj", digits=8)
    )
    mesh = load_mesh(tmp_path / "m.obj", up="z")
    np.testing.assert_allclose(corners(mesh), corners(made), atol=1e-6)


def test_glb_with_texture_transform_and_normals(tmp_path: Path) -> None:
    image = Image.open(picture(tmp_path / "a.png"))
    # uv as trimesh and OBJ count them, v from below
    uv = np.array([(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)])
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=image)
    square = trimesh.Trimesh(
        [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)],
        [(0, 1, 2), (0, 2, 3)],
        vertex_normals=np.full((4, 3), (0, 0, 1.0)),
        visual=trimesh.visual.TextureVisuals(uv=uv, material=material),
        process=False,
    )
    plain = square.copy()
    plain.visual = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=(51, 102, 255, 255))
    )
    scene = trimesh.Scene()
    scene.add_geometry(square, node_name="a")
    scene.add_geometry(plain, node_name="b", transform=np.diag([2.0, 2, 2, 1]))
    path = tmp_path / "m.glb"
    path.write_bytes(scene.export(file_type="glb", include_normals=True))

    mesh = load_mesh(path)
    assert len(mesh.faces) == 4
    textured = [f for f in range(4) if mesh.materials[mesh.face_material[f]].texture is not None]
    assert len(textured) == 2
    for face in textured:
        for corner in range(3):
            x, _, z = corners(mesh)[face, corner]
            expected = {(0, 0): BLUE, (1, 0): WHITE, (1, 1): GREEN, (0, 1): RED}[int(x), int(z)]
            assert texel(mesh, face, corner) == expected
    other = next(f for f in range(4) if f not in textured)
    np.testing.assert_allclose(mesh.materials[mesh.face_material[other]].color, (0.2, 0.4, 1))
    np.testing.assert_allclose(mesh.bounds, [(0, 0, 0), (2, 0, 2)], atol=1e-6)
    assert mesh.corner_normals is not None
    length = np.linalg.norm(mesh.corner_normals, axis=-1, keepdims=True)
    unit = mesh.corner_normals / length
    np.testing.assert_allclose(unit, np.full((4, 3, 3), (0, -1, 0)), atol=1e-6)


def gltf(folder: Path, attributes: dict[str, list[tuple[float, ...]]], material: dict) -> Path:
    """A triangle written by hand, as the specification says, without trimesh."""
    attributes = {"POSITION": [(0, 0, 0), (1, 0, 0), (1, 1, 0)], **attributes}
    arrays = [np.array(rows, "<f4") for rows in attributes.values()]
    (folder / "m.bin").write_bytes(b"".join(array.tobytes() for array in arrays))
    starts = np.cumsum([0, *(array.nbytes for array in arrays)]).tolist()
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [
            {
                "primitives": [
                    {
                        "attributes": {name: i for i, name in enumerate(attributes)},
                        "material": 0,
                    }
                ]
            }
        ],
        "materials": [{"pbrMetallicRoughness": material}],
        "textures": [{"source": 0}],
        "images": [{"uri": "a.png"}],
        "buffers": [{"uri": "m.bin", "byteLength": starts[-1]}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": array.nbytes}
            for start, array in zip(starts, arrays, strict=False)
        ],
        "accessors": [
            {
                "bufferView": i,
                "componentType": 5126,
                "count": 3,
                "type": f"VEC{array.shape[1]}",
                "min": array.min(axis=0).tolist(),
                "max": array.max(axis=0).tolist(),
            }
            for i, array in enumerate(arrays)
        ],
    }
    picture(folder / "a.png")
    return write(folder / "m.gltf", json.dumps(document))


def test_gltf_counts_v_from_above(tmp_path: Path) -> None:
    uv = [(0.25, 0.75), (0.75, 0.75), (0.75, 0.25)]
    mesh = load_mesh(gltf(tmp_path, {"TEXCOORD_0": uv}, {"baseColorTexture": {"index": 0}}))
    assert [texel(mesh, 0, i) for i in range(3)] == [BLUE, WHITE, GREEN]
    assert mesh.corner_normals is None


def test_gltf_vertex_colours_tint_the_material(tmp_path: Path) -> None:
    colors = [(1, 1, 1), (1, 1, 0.5), (0, 1, 0)]
    mesh = load_mesh(gltf(tmp_path, {"COLOR_0": colors}, {"baseColorFactor": [1, 0, 1, 1]}))
    assert texel(mesh, 0, 0) == (255, 0, 255)
    assert texel(mesh, 0, 1) == (255, 0, 188)
    assert texel(mesh, 0, 2) == (0, 0, 0)


def test_glb_vertex_colours_are_linear_light(tmp_path: Path) -> None:
    half = trimesh.Trimesh(
        [(0, 0, 0), (1, 0, 0), (0, 1, 0)],
        [(0, 1, 2)],
        vertex_colors=np.full((3, 4), (128, 0, 255, 255), np.uint8),
        process=False,
    )
    half.export(tmp_path / "m.glb")
    red, green, blue = texel(load_mesh(tmp_path / "m.glb"), 0, 0)
    assert abs(red - 188) <= 1
    assert (green, blue) == (0, 255)


def ply(faces: str = "3 0 1 2\n4 0 1 2 3\n", count: int = 2) -> str:
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    properties += "".join(f"property uchar {color}\n" for color in ("red", "green", "blue"))
    points = "0 0 0 255 0 0\n1 0 0 0 255 0\n1 1 0 0 0 255\n0 1 0.5 255 255 255\n"
    return (
        f"ply\nformat ascii 1.0\nelement vertex 4\n{properties}element face {count}\n"
        f"property list uchar int vertex_indices\nend_header\n{points}{faces}"
    )


def test_ply_with_colours_stays_z_up(tmp_path: Path) -> None:
    mesh = load_mesh(write(tmp_path / "m.ply", ply()))
    assert len(mesh.faces) == 3
    np.testing.assert_allclose(mesh.bounds, [(0, 0, 0), (1, 1, 0.5)])
    expected = {(0, 0): RED, (1, 0): GREEN, (1, 1): BLUE, (0, 1): WHITE}
    for face in range(3):
        for corner in range(3):
            x, y, _ = corners(mesh)[face, corner]
            assert texel(mesh, face, corner) == expected[int(x), int(y)]


def test_ply_with_face_colours(tmp_path: Path) -> None:
    colors = np.array([RED, GREEN, BLUE, WHITE], np.uint8)
    solid = trimesh.creation.box()
    solid = trimesh.Trimesh(solid.vertices, solid.faces[:4], face_colors=colors, process=False)
    solid.export(tmp_path / "m.ply")
    mesh = load_mesh(tmp_path / "m.ply")
    assert [texel(mesh, f, 1) for f in range(4)] == [RED, GREEN, BLUE, WHITE]


def test_stl_is_flat_and_grey(tmp_path: Path) -> None:
    solid = trimesh.creation.icosphere(1)
    solid.export(tmp_path / "m.STL", file_type="stl")
    mesh = load_mesh(tmp_path / "m.STL")
    np.testing.assert_allclose(corners(mesh), solid.vertices[solid.faces], atol=1e-6)
    assert mesh.corner_normals is None
    np.testing.assert_allclose(mesh.materials[0].color, GREY.color)


BROKEN = {
    "no_faces.obj": SQUARE,
    "no_vertices.obj": "f 1 2 3\n",
    "empty.obj": "",
    "nan.obj": "v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n",
    "point.obj": "v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n",
    "range.obj": SQUARE + "f 1 2 9\n",
    "negative.obj": SQUARE + "f -9 1 2\n",
    "zero.obj": SQUARE + "f 0 1 2\n",
    "normal.obj": SQUARE + "f 1//1 2//1 3//1\n",
    "word.obj": SQUARE + "f a b c\n",
    "letters.obj": "v a b c\nv 1 0 0\nv 1 1 0\nf 1 2 3\n",
    "short.obj": "v 1 0\nv 1 0 0\nv 1 1 0\nf 1 2 3\n",
    "garbage.glb": "glTFgarbage",
    "no_faces.ply": ply("", 0),
    "cut.ply": ply()[:-40],
    "empty.ply": "",
    "empty.stl": "",
    "text.stl": "solid nothing\nendsolid\n",
    "unknown.fbx": "x",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_one_line_that_names_them(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, BROKEN[name])
    with pytest.raises(UserError, match=name) as caught:
        load_mesh(path)
    assert "\n" not in str(caught.value)


def test_a_glb_cut_short(tmp_path: Path) -> None:
    whole = trimesh.creation.icosphere(1).export(file_type="glb")
    for length in (4, 20, len(whole) // 2, len(whole) - 8):
        (tmp_path / "cut.glb").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut\.glb"):
            load_mesh(tmp_path / "cut.glb")


def test_an_stl_cut_short(tmp_path: Path) -> None:
    (tmp_path / "cut.stl").write_bytes(b" " * 80 + struct.pack("<I", 500) + b"\0" * 60)
    with pytest.raises(UserError, match=r"cut\.stl"):
        load_mesh(tmp_path / "cut.stl")


@pytest.mark.parametrize("line", ["v 0.5", "v 0.5 1", "vn 0 1"])
def test_an_obj_cut_within_a_line(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "cut.obj", f"vn 0 0 1\n{SQUARE}f 1 2 3\n{line}")
    with pytest.raises(UserError, match=r"cut\.obj is not a sound OBJ.*has fewer than 3 numbers"):
        load_mesh(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.obj").mkdir()
    for name in ("gone.obj", "folder.obj"):
        with pytest.raises(UserError, match=f"{name} does not exist"):
            load_mesh(tmp_path / name)


def test_stl_text_in_another_encoding(tmp_path: Path) -> None:
    solid = trimesh.creation.box((1, 2, 3))
    text = solid.export(file_type="stl_ascii").split("\n", 1)[1]
    for encoding in ("utf-8", "latin-1", "cp1252"):
        (tmp_path / "m.stl").write_bytes(f"solid Würfel\n{text}".encode(encoding))
        mesh = load_mesh(tmp_path / "m.stl")
        np.testing.assert_allclose(corners(mesh), solid.vertices[solid.faces], atol=1e-6)


def test_binary_stl_with_any_header(tmp_path: Path) -> None:
    solid = trimesh.creation.box((1, 2, 3))
    data = solid.export(file_type="stl")
    for header in (b"solid", "Würfel".encode("latin-1"), bytes(range(176, 256))):
        (tmp_path / "m.stl").write_bytes(header.ljust(80) + data[80:])
        mesh = load_mesh(tmp_path / "m.stl")
        np.testing.assert_allclose(corners(mesh), solid.vertices[solid.faces], atol=1e-6)


@pytest.mark.parametrize("length", [40, 84, 1000])
def test_noise_is_no_stl(tmp_path: Path, length: int) -> None:
    (tmp_path / "m.stl").write_bytes(np.random.default_rng(0).bytes(length))
    with pytest.raises(UserError, match=r"m\.stl cannot be read \(it is no STL, neither text"):
        load_mesh(tmp_path / "m.stl")
