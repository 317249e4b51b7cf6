from __future__ import annotations

import multiprocessing
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from skimage.metrics import structural_similarity

from data_gen import blender, compare
from data_gen import reference as reference_file
from data_gen.blender import Placement
from data_gen.cycles import CyclesRenderer
from data_gen.latents import sample_latents
from data_gen.mesh import Material, Mesh
from data_gen.procedural import make
from data_gen.recipe import Recipe
from data_gen.render import EmbreeRenderer
from data_gen.render.color import TABLE_STEPS, display_table
from ssl_equiv.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def no_blender(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bpy", None)


@pytest.mark.usefixtures("no_blender")
def test_without_blender_one_line_tells_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(UserError, match=r"pip install 'ssl-equiv\[blender\]' \(Python 3\.11\)"):
        CyclesRenderer(Recipe.diebench())
    for main, arguments in (
        (compare.main, [str(GOLDEN / "cycles_heldout.npz"), "--renderer", "cycles"]),
        (reference_file.main, [str(tmp_path / "out.npz"), "--classes", "car"]),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: --renderer cycles needs Blender's Python module")
        assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_forked_child_is_told_to_spawn(monkeypatch: pytest.MonkeyPatch):
    fake = SimpleNamespace(utils=SimpleNamespace(resource_path=lambda _: "/nowhere"))
    monkeypatch.setitem(sys.modules, "bpy", fake)
    monkeypatch.setattr(blender, "_process", os.getpid() + 1)
    with pytest.raises(UserError, match="spawn"):
        blender.load()


def test_placement_says_what_the_latents_say():
    """Against scipy's rotations and the directions of the scene, worked out by hand."""
    recipe = Recipe.diebench_t(light_r=3.0)
    latent = np.array([0.3, -0.8, 1.1, 1 / 3, 0.6, 2.0, 2 / 3, 0.1, -0.2, 0.3])
    placement = Placement.of(recipe, latent)
    point = np.array([0.2, 0.5, -0.4])
    turn = Rotation.from_euler("xyz", latent[:3])
    np.testing.assert_allclose(
        (placement.object @ [*point, 1])[:3], turn.apply(point + latent[7:]), atol=1e-12
    )
    # the spot stands at its spherical coordinates, is turned only, and shines at the origin
    theta, phi = 0.6, 2.0
    outward = [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)]
    np.testing.assert_allclose(placement.spot[:3, 3], 3.0 * np.array(outward), atol=1e-12)
    np.testing.assert_allclose((placement.spot @ [0, 0, -3.0, 1])[:3], 0, atol=1e-12)
    assert np.linalg.det(placement.spot[:3, :3]) == pytest.approx(1)
    # hue 1/3 is green, 2/3 blue: floor HSV(hue, .6, .6), lamp HSV(hue, 1, .8)
    np.testing.assert_allclose(placement.floor_color, [0.24, 0.6, 0.24], atol=1e-6)
    np.testing.assert_allclose(placement.spot_color, [0, 0, 0.8], atol=1e-6)


def test_corner_normals_are_turned_outward_and_filled():
    corners = np.array([[[0, 0, 0], [2, 0, 0], [0, 2, 0]]], np.float64)
    given = np.array([[[0, 0.6, 0.8], [0, 0.6, -0.8], [0, 0, 0]]])
    np.testing.assert_allclose(
        blender._normals(corners, given), [[0, 0.6, 0.8], [0, -0.6, 0.8], [0, 0, 1]], atol=1e-6
    )


# bytes that Blender 4.2.23 wrote under Filmic; not among the curve's knots
FILMIC = {2**-12: 0.46, 2**-8: 13.14, 2**-5: 53.30, 2**-2: 143.88, 1.0: 205.84, 2.0: 227.53}
FILMIC |= {4.0: 242.09, 8.0: 250.70, 0.0: 0.0}


def test_filmic_is_blenders_curve():
    table = display_table("filmic")
    assert (np.diff(table) >= 0).all()
    assert table[-1] > 254.9
    for light, byte in FILMIC.items():
        assert table[round(light * TABLE_STEPS)] == pytest.approx(byte, abs=0.15), light


def test_standard_is_srgb():
    table = display_table("standard")
    assert len(table) == TABLE_STEPS + 1
    assert table[[0, -1]].tolist() == [0, 255]
    # 18% grey shows as 118 in sRGB
    assert table[round(0.18 * TABLE_STEPS)] == pytest.approx(117.7, abs=0.1)


@pytest.mark.slow
class TestWithBlender:
    """What needs Blender's Python module."""

    @pytest.fixture(autouse=True)
    def _blender(self) -> None:
        pytest.importorskip("bpy")

    def test_golden_pictures_are_ours(self):
        """The files' own renderer: what is left is noise."""
        for file, views in (("cycles_reference", 1), ("cycles_heldout", 10)):
            for reference in reference_file.read(GOLDEN / f"{file}.npz"):
                few = replace(
                    reference, latents=reference.latents[:views], images=reference.images[:views]
                )
                for comparison in compare.compare(few, "cycles"):
                    assert comparison.ssim >= 0.995, str(comparison)

    def test_filmic_curve_is_measured_again(self, tmp_path: Path):
        """Grey and coloured ramps through Blender's own view transform."""
        rng = np.random.default_rng(0)
        light = rng.uniform(0, 1, (4096, 3)) * 2.0 ** rng.uniform(-8, 3, (4096, 1))
        light[:1024] = light[:1024, :1]
        shown = filmic_bytes(light, tmp_path / "ramp.png")
        table = display_table("filmic")
        ours = table[np.round(light * TABLE_STEPS).astype(int)]
        # a byte is rounded; the table's step is a third of one where the curve is steepest
        assert np.abs(shown - ours).max() < 0.85

    @pytest.mark.parametrize(
        "changes", [{}, {"view": "filmic"}, {"background": (0.8, 0.3, 0.2)}], ids=str
    )
    def test_looks_like_embree(self, changes: dict[str, object]):
        recipe = Recipe.diebench(image_size=96, num_views=2, **changes)
        mesh, latents = make("car", 0), sample_latents(recipe, 7)
        ours, theirs = (
            renderer(recipe).render(mesh, latents) for renderer in (EmbreeRenderer, CyclesRenderer)
        )
        for image, target in zip(ours, theirs, strict=True):
            assert structural_similarity(image, target, channel_axis=2, data_range=255) > 0.985

    def test_textures_lie_where_embree_lays_them(self):
        texture = np.zeros((8, 8, 3), np.uint8)
        texture[:4, :4], texture[4:, 4:], texture[:4, 4:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
        corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * 0.4
        mesh = Mesh.plain(corners, np.array([[0, 1, 2], [0, 2, 3]]))
        uv = np.array([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]], np.float32)
        mesh = replace(
            mesh, materials=(Material(np.array([1, 0.8, 0.5], np.float32), texture),), corner_uv=uv
        )
        recipe = Recipe.diebench(image_size=64)
        latents = np.array([[0, 0, 0.4, 0.6, 0, 0, 0.6]])
        views = EmbreeRenderer(recipe).prepare(mesh).render_outputs(latents, ["mask"])
        theirs = CyclesRenderer(recipe).render(mesh, latents)[0]
        difference = np.abs(views["image"][0].astype(float) - theirs)[views["mask"][0]]
        assert np.median(difference) < 2
        # some 90 where the texture is upside down, 10 where texels are interpolated in linear light
        assert difference.mean() < 6

    def test_meshes_in_turn_leave_nothing_behind(self, capfd: pytest.CaptureFixture[str]):
        recipe = Recipe.diebench(image_size=32)
        latents = sample_latents(recipe, 0)[:1]
        renderer = CyclesRenderer(recipe, samples=4)
        first, second = renderer.prepare(make("car", 0)), renderer.prepare(make("mug", 0))
        alone = first.render(latents)
        other = second.render(latents)
        assert (alone != other).any()
        np.testing.assert_array_equal(first.render(latents), alone)
        import bpy

        assert len(bpy.data.meshes) == 2  # the floor's and the object's
        assert capfd.readouterr() == ("", "")

    def test_a_spawned_child_renders_what_its_parent_renders(self):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            before = pool.apply(tiny_picture)
        here = tiny_picture()
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            after = pool.apply(tiny_picture)
        np.testing.assert_array_equal(before, here)
        np.testing.assert_array_equal(after, here)

    def test_degenerate_faces_are_harmless(self):
        mesh = make("mug", 0)
        broken = replace(
            mesh,
            faces=np.concatenate([mesh.faces, [[0, 0, 1], [2, 2, 2]]]).astype(np.int32),
            face_material=np.concatenate([mesh.face_material, [0, 0]]).astype(np.int32),
            corner_normals=None,
        )
        whole = replace(mesh, corner_normals=None)
        recipe = Recipe.diebench(image_size=32)
        latents = sample_latents(recipe, 0)[:1]
        renderer = CyclesRenderer(recipe, samples=16)
        difference = renderer.render(broken, latents).astype(int) - renderer.render(whole, latents)
        assert np.abs(difference).mean() < 0.5


def tiny_picture() -> np.ndarray:
    recipe = Recipe.diebench(image_size=32)
    return CyclesRenderer(recipe, samples=4).render(make("car", 0), sample_latents(recipe, 0)[:1])


def filmic_bytes(light: np.ndarray, path: Path) -> np.ndarray:
    """``(N, 3)`` linear light as Blender's Filmic view writes it."""
    import bpy
    from PIL import Image

    pixels = np.ones((len(light), 4), np.float32)
    pixels[:, :3] = light
    image = bpy.data.images.new("ramp", len(light), 1, float_buffer=True)
    image.colorspace_settings.name = "Linear Rec.709"
    image.pixels.foreach_set(pixels.ravel())
    scene = bpy.context.scene
    scene.display_settings.display_device = "sRGB"
    scene.view_settings.view_transform, scene.view_settings.look = "Filmic", "None"
    scene.render.dither_intensity = 0
    output = scene.render.image_settings
    output.file_format, output.color_mode, output.color_depth = "PNG", "RGB", "8"
    image.save_render(str(path), scene=scene)
    bpy.data.images.remove(image)
    return np.asarray(Image.open(path))[0].astype(float)
