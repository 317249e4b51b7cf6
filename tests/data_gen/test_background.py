"""What stands behind the object: its bytes, its blending, which image a view gets, bad files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from data_gen.latents import sample_latents
from data_gen.mesh import Mesh
from data_gen.recipe import Recipe
from data_gen.render import EmbreeRenderer
from data_gen.render.background import Background, background_digest
from ssl_equiv.errors import UserError

pytestmark = pytest.mark.render

SIZE = 64
RECIPE = Recipe.diebench(image_size=SIZE, num_views=4)
LATENTS = sample_latents(RECIPE, 0)


def to_linear(image: np.ndarray) -> np.ndarray:
    value = np.asarray(image, np.float64) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def random_image(seed: int, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def renderer(background: Any, **changes: Any) -> EmbreeRenderer:
    return EmbreeRenderer(replace(RECIPE, background=background, **changes))


@pytest.fixture(scope="module")
def ball() -> Mesh:
    solid = trimesh.creation.icosphere(subdivisions=4, radius=0.5)
    return Mesh.plain(solid.vertices, solid.faces)


@pytest.fixture(scope="module")
def inner(ball: Mesh) -> np.ndarray:
    """Pixels ``(H, W)`` with nothing but object around them: the same in every view."""
    mask = EmbreeRenderer(RECIPE).prepare(ball).render_outputs(LATENTS, ["mask"])["mask"][0]
    core = mask.copy()
    for axis in (0, 1):
        for step in (-2, -1, 1, 2):
            core &= np.roll(mask, step, axis)
    return core


@pytest.fixture(scope="module")
def outer(ball: Mesh) -> np.ndarray:
    """Pixels without object near them."""
    mask = EmbreeRenderer(RECIPE).prepare(ball).render_outputs(LATENTS, ["mask"])["mask"][0]
    near = mask.copy()
    for axis in (0, 1):
        for step in (-2, -1, 1, 2):
            near |= np.roll(mask, step, axis)
    return ~near


def test_every_byte_comes_out_as_it_went_in(ball: Mesh, outer: np.ndarray, tmp_path: Path) -> None:
    """All 256 bytes, behind and beside the object, at its edges too where no sample meets it."""
    bytes_ = np.arange(256).repeat(16).reshape(SIZE, SIZE)
    image = np.stack([bytes_, bytes_[::-1], bytes_.T], axis=-1).astype(np.uint8)
    path = str(save(tmp_path / "all.png", image))
    for view in renderer(path).render(ball, LATENTS):
        np.testing.assert_array_equal(view[outer], image[outer])
    # an object that fills the picture's box but hardly a pixel of it
    rng = np.random.default_rng(0)
    dust = rng.uniform(-0.4, 0.4, (60, 1, 3)) + rng.normal(size=(60, 3, 3)) * 1e-5
    specks = Mesh.plain(dust.reshape(-1, 3), np.arange(180).reshape(60, 3))
    for view in renderer(path).render(specks, LATENTS):
        assert (view != image).any(axis=-1).mean() < 0.05


@pytest.mark.parametrize("color", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.2, 0.5, 0.8)])
def test_a_colour_is_exact(
    ball: Mesh, outer: np.ndarray, color: tuple[float, float, float]
) -> None:
    expected = np.round(np.array(color) * 255).astype(np.uint8)
    for view in renderer(color).render(ball, LATENTS):
        assert (view[outer] == expected).all()


def test_the_object_is_lit_as_above_the_floor(ball: Mesh, inner: np.ndarray) -> None:
    floor = EmbreeRenderer(RECIPE).render(ball, LATENTS)
    images = renderer((0.9, 0.1, 0.4)).render(ball, LATENTS)
    assert inner.sum() > 200
    np.testing.assert_array_equal(images[:, inner], floor[:, inner])


def test_edges_blend_in_linear_light(ball: Mesh, inner: np.ndarray, outer: np.ndarray) -> None:
    """An edge pixel is a c + (1 - a) b: black and white backgrounds give a, a third agrees."""
    grey = 0.5
    black, white, other = (
        to_linear(renderer((v, v, v)).render(ball, LATENTS[:1])[0]) for v in (0.0, 1.0, grey)
    )
    share = 1 - (white - black)  # of the object
    edge = ~inner & ~outer & (share > 0.1).all(-1) & (share < 0.9).all(-1)
    assert edge.sum() > 30
    np.testing.assert_allclose(share[..., 0][edge], share[..., 1][edge], atol=0.02)
    level = to_linear(np.array(round(grey * 255)))
    np.testing.assert_allclose(other[edge], (black + (1 - share) * level)[edge], atol=0.01)


def test_an_image_is_cropped_to_its_middle_and_resized(ball: Mesh, tmp_path: Path) -> None:
    wide, tall = np.zeros((40, 100, 3), np.uint8), np.zeros((100, 40, 3), np.uint8)
    wide[:, :30], wide[:, 70:] = (255, 0, 0), (0, 0, 255)  # cut off
    wide[:20, 30:70], wide[20:, 30:70] = (0, 255, 0), (255, 255, 255)
    tall[:30], tall[70:] = (255, 0, 0), (0, 0, 255)
    tall[30:50], tall[50:70] = (0, 255, 0), (255, 255, 255)
    for name, image in (("wide.png", wide), ("tall.png", tall)):
        view = renderer(str(save(tmp_path / name, image))).render(ball, LATENTS[:1])[0]
        # a filter's width away from the seams
        assert (view[6:10, 6:-6] == (0, 255, 0)).all()
        assert (view[-10:-6, 6:-6] == 255).all()


def test_the_cameras_note_of_upright_is_kept_to(ball: Mesh, tmp_path: Path) -> None:
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[:, : SIZE // 2] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    view = renderer(str(tmp_path / "a.png")).render(ball, LATENTS[:1])[0]
    assert view[:4].min() == 255
    assert view[-4:].max() == 0


def folder_of(root: Path, num: int) -> Path:
    """Images of one grey level each, the first in a folder of its own."""
    for i in range(num):
        place = root / ("sub" if i == 0 else ".") / f"{i:02d}.png"
        save(place, np.full((8, 8, 3), 10 * i, np.uint8))
    return root


def test_a_views_image_depends_on_its_latents_alone(ball: Mesh, tmp_path: Path) -> None:
    recipe = replace(RECIPE, background=str(folder_of(tmp_path, 12)))
    latents = np.concatenate([sample_latents(recipe, seed) for seed in range(30)])
    together = EmbreeRenderer(recipe).render(ball, latents)
    levels = together[:, 0, 0, 0]
    alone = EmbreeRenderer(recipe).prepare(ball)
    for index in (7, 3, 99, 0):
        np.testing.assert_array_equal(alone.render(latents[index : index + 1])[0], together[index])
    # another mesh, and latents read back from a file in another byte order
    box = trimesh.creation.box((0.3, 0.3, 0.3))
    again = EmbreeRenderer(recipe).render(
        Mesh.plain(box.vertices, box.faces), latents[::-1].astype(">f8")
    )
    np.testing.assert_array_equal(again[::-1, 0, 0, 0], levels)
    counts = np.unique(levels, return_counts=True)[1]
    assert len(counts) == 12  # every image is used, none much more than others
    assert counts.max() < 25


@pytest.mark.parametrize(
    "moving",
    [
        {"grid": {"rotation_z": 6, "light_phi": 3}},
        {"trajectory": {"keyframes": 3, "columns": ["rotation_x", "light_hue"]}, "num_views": 9},
        {"rotation": "uniform", "grid": {"light_phi": 11}},
        {
            "rotation": {"far_from": [[-1, 1]] * 3, "at_least": 0.5},
            "trajectory": {"keyframes": 3, "columns": ["light_theta"]},
        },
    ],
)
def test_a_path_has_one_image(moving: dict[str, Any], tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 12)
    recipe = Recipe.diebench(image_size=8, background=str(folder), **moving)
    background = Background(recipe)
    found = []
    for seed in range(60):
        latents = sample_latents(recipe, seed)
        levels = {int(background.picture(latent)[0, 0, 0]) for latent in latents}
        assert len(levels) == 1
        found += levels
    assert len(set(found)) > 8  # objects have different ones


def test_a_path_on_which_all_moves_chooses_no_image(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 3)
    path = {"trajectory": {"keyframes": 3}}
    Background(Recipe.diebench(background=str(folder / "01.png"), **path))
    recipe = Recipe.diebench(background=str(folder), **path)
    for refuse in (Background, background_digest):
        with pytest.raises(UserError, match=r"every latent column moves: .* leave one"):
            refuse(recipe)


def test_more_images_than_are_kept_in_memory(
    ball: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, background=str(folder_of(tmp_path, 12)))
    latents = np.concatenate([sample_latents(recipe, seed) for seed in range(5)])
    expected = EmbreeRenderer(recipe).render(ball, latents)
    monkeypatch.setattr("data_gen.render.background._CACHE", 3 * SIZE * SIZE * 3)
    np.testing.assert_array_equal(EmbreeRenderer(recipe).render(ball, latents), expected)


def test_outputs_behind_the_object_are_empty(ball: Mesh) -> None:
    plain = EmbreeRenderer(RECIPE).prepare(ball).render_outputs(LATENTS)
    out = renderer((0.2, 0.4, 0.6)).prepare(ball).render_outputs(LATENTS)
    mask = plain["mask"]
    np.testing.assert_array_equal(out["mask"], mask)
    np.testing.assert_array_equal(out["depth"][mask], plain["depth"][mask])
    np.testing.assert_array_equal(out["normals"][mask], plain["normals"][mask])
    assert np.isinf(out["depth"][~mask]).all()
    assert not out["normals"][~mask].any()


def test_it_hides_the_sky_and_serves_views_without_the_object(ball: Mesh) -> None:
    recipe = Recipe.diebench_t(
        image_size=SIZE, camera_theta=1.5, lens_mm=20.0, background=(0.2, 0.4, 0.6)
    )
    latents = np.concatenate([LATENTS[:1], [[0, 0, -1.9]]], axis=1)
    latents[:, :3] = 0
    image = EmbreeRenderer(recipe).render(ball, latents)[0]
    assert (image == (51, 102, 153)).all()


def test_filmic_shows_the_background_as_light(ball: Mesh, outer: np.ndarray) -> None:
    """As Blender: white paper is light 1, which the curve shows well below white."""
    image = renderer((1.0, 1.0, 1.0), view="filmic").render(ball, LATENTS[:1])[0]
    assert len(np.unique(image[outer])) == 1
    assert 195 < image[outer][0, 0] < 215


def test_bad_backgrounds_are_one_line(tmp_path: Path) -> None:
    text = tmp_path / "notes.png"
    text.write_text("no image")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(save(tmp_path / "whole.jpg", random_image(0)).read_bytes()[:400])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").write_text("none")
    for name, message in (
        ("gone.png", r"gone\.png does not exist: give"),
        ("empty", "empty holds no image"),
        ("notes.png", r"notes\.png is not a readable image"),
        ("cut.jpg", r"cut\.jpg is not a readable image"),
    ):
        with pytest.raises(UserError, match=rf"^recipe: background .*{message}") as caught:
            renderer(str(tmp_path / name))
        assert "\n" not in str(caught.value)
    for name in ("gone.png", "empty", "notes.png"):
        with pytest.raises(UserError, match=name):
            background_digest(replace(RECIPE, background=str(tmp_path / name)))


def test_a_damaged_image_in_a_folder_is_named(ball: Mesh, tmp_path: Path) -> None:
    save(tmp_path / "00.png", random_image(0))
    bad = tmp_path / "01.png"
    bad.write_bytes(save(tmp_path / "whole.png", random_image(1)).read_bytes()[:500])
    (tmp_path / "whole.png").unlink()
    latents = np.concatenate([sample_latents(RECIPE, seed) for seed in range(5)])
    with pytest.raises(UserError, match=r"01\.png is not a readable image"):
        renderer(str(tmp_path)).render(ball, latents)
    with pytest.raises(UserError, match=r"01\.png is not a readable image"):
        background_digest(replace(RECIPE, background=str(tmp_path)))  # before any rendering


def test_the_digest_tells_contents_apart(tmp_path: Path) -> None:
    def digest(background: Any) -> str | None:
        return background_digest(replace(RECIPE, background=background))

    assert digest(None) is None
    assert digest((0.0, 0.0, 0.0)) is None
    folder = folder_of(tmp_path / "a", 3)
    first = digest(str(folder))
    assert first is not None
    assert len(first) == 64
    assert digest(str(folder_of(tmp_path / "elsewhere", 3))) == first
    (folder / "notes.txt").write_text("no image, not counted")
    (folder / "._01.png").write_text("another program's")
    assert digest(str(folder)) == first
    save(folder / "01.png", random_image(0))
    assert digest(str(folder)) != first
    one = digest(str(folder / "01.png"))
    assert one is not None
    assert one != first
