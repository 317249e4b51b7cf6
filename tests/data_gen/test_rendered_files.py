"""From mesh files to pictures: every format shows the same three coloured cubes in their places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from data_gen.loaders import load_mesh
from data_gen.mesh import Mesh
from data_gen.recipe import Recipe
from data_gen.render import EmbreeRenderer
from data_gen.scene import rotation_matrix

pytestmark = pytest.mark.render

# z up, in the scene's unit; the sides are hues that the white parts of the light leave apart
CENTRES = np.array([[0.3, 0, 0], [0, 0.25, 0], [0, 0, 0.35]])
COLORS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
TO_Y_UP = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], float)
RECIPE = Recipe.diebench(image_size=96, light_saturation=0.0)
LATENTS = np.array([[0, 0, 0, 0.6, 0, 0, 0.6], [0.5, -0.4, 0.9, 0.6, 0.3, 2, 0.6]])


def cubes() -> list[trimesh.Trimesh]:
    return [trimesh.creation.box((0.15,) * 3).apply_translation(place) for place in CENTRES]


def obj(path: Path, turn: np.ndarray | None = None) -> None:
    lines, first = ["mtllib cubes.mtl"], 1
    for index, cube in enumerate(cubes()):
        vertices = cube.apply_transform(np.eye(4) if turn is None else turn).vertices
        lines += [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in vertices] + [f"usemtl m{index}"]
        lines += ["f " + " ".join(str(i + first) for i in face) for face in cube.faces]
        first += len(vertices)
    path.write_text("\n".join(lines))
    (path.parent / "cubes.mtl").write_text(
        "".join(
            f"newmtl m{i}\nKd {c[0] // 255} {c[1] // 255} {c[2] // 255}\n"
            for i, c in enumerate(COLORS)
        )
    )


def obj_y_up(path: Path) -> None:
    obj(path, TO_Y_UP)


def glb_materials(path: Path) -> None:
    """One cube of the file, placed three times by its nodes."""
    scene = trimesh.Scene()
    for index, place in enumerate(CENTRES):
        cube = trimesh.creation.box((0.15,) * 3)
        factor = (*COLORS[index].tolist(), 255)
        material = trimesh.visual.material.PBRMaterial(baseColorFactor=factor)
        cube.visual = trimesh.visual.TextureVisuals(material=material)
        move = trimesh.transformations.translation_matrix(place)
        scene.add_geometry(cube, node_name=f"n{index}", transform=TO_Y_UP @ move)
    path.write_bytes(scene.export(file_type="glb"))


def glb_texture(path: Path) -> None:
    image = Image.fromarray(COLORS[None].repeat(4, axis=0).repeat(4, axis=1))
    parts = []
    for index, cube in enumerate(cubes()):
        uv = np.full((len(cube.vertices), 2), [(index + 0.5) / 3, 0.5])
        material = trimesh.visual.material.PBRMaterial(baseColorTexture=image)
        cube.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
        parts.append(cube.apply_transform(TO_Y_UP))
    path.write_bytes(trimesh.Scene(parts).export(file_type="glb"))


def colored(per: str) -> trimesh.Trimesh:
    parts = cubes()
    for part, color in zip(parts, COLORS, strict=True):
        count = len(part.vertices) if per == "vertex_colors" else len(part.faces)
        setattr(part.visual, per, np.tile([*color, 255], (count, 1)).astype(np.uint8))
    return trimesh.util.concatenate(parts)


def glb_vertex_colors(path: Path) -> None:
    path.write_bytes(colored("vertex_colors").apply_transform(TO_Y_UP).export(file_type="glb"))


def ply_vertex_colors(path: Path) -> None:
    colored("vertex_colors").export(path)


def ply_face_colors(path: Path) -> None:
    colored("face_colors").export(path)


WRITERS: list[tuple[Callable[[Path], None], str, str | None]] = [
    (obj, "a.obj", "z"),
    (obj_y_up, "a.obj", None),
    (glb_materials, "a.glb", None),
    (glb_texture, "a.glb", None),
    (glb_vertex_colors, "a.glb", None),
    (ply_vertex_colors, "a.ply", None),
    (ply_face_colors, "a.ply", None),
]


@pytest.fixture(scope="module")
def renderer() -> EmbreeRenderer:
    return EmbreeRenderer(RECIPE)


@pytest.fixture(scope="module")
def expected(renderer: EmbreeRenderer, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    path = tmp_path_factory.mktemp("expected") / "a.obj"
    obj(path)
    return renderer.render(load_mesh(path, up="z"), LATENTS).astype(int)


@pytest.mark.parametrize(
    ("write", "name", "up"), WRITERS, ids=lambda value: getattr(value, "__name__", "")
)
def test_every_format_shows_the_cubes_in_colour_and_place(
    renderer: EmbreeRenderer,
    expected: np.ndarray,
    tmp_path: Path,
    write: Callable[[Path], None],
    name: str,
    up: str | None,
) -> None:
    write(tmp_path / name)
    mesh = load_mesh(tmp_path / name, up=up)  # type: ignore[arg-type]
    images = renderer.render(mesh, LATENTS)
    centre = (np.min(CENTRES, axis=0) + np.max(CENTRES, axis=0)) / 2
    for image, latent in zip(images, LATENTS, strict=True):
        world = (CENTRES - centre) @ rotation_matrix(latent[:3]).T
        for channel, (column, row) in enumerate(renderer.camera.project(world).astype(int)):
            color = image[row, column].astype(int)
            others = [c for c in range(3) if c != channel]
            assert color[channel] > color[others].max() + 40
    assert np.abs(images - expected).mean() < 0.2


def test_stl_has_the_cubes_shape(renderer: EmbreeRenderer, tmp_path: Path) -> None:
    whole = trimesh.util.concatenate(cubes())
    whole.export(tmp_path / "a.stl")
    masks = [
        renderer.prepare(mesh).render_outputs(LATENTS, ["mask"])["mask"]
        for mesh in (load_mesh(tmp_path / "a.stl"), Mesh.plain(whole.vertices, whole.faces))
    ]
    np.testing.assert_array_equal(*masks)
