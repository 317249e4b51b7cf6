from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from data_gen.latents import sample_latents
from data_gen.mesh import Material, Mesh
from data_gen.recipe import Recipe
from data_gen.render import EmbreeRenderer
from data_gen.render.filmic import filmic
from data_gen.scene import rotation_matrix
from ssl_equiv.errors import UserError

pytestmark = pytest.mark.render

RECIPE = Recipe.diebench(image_size=64, num_views=4)
# hues apart from the test's colours; the spot overhead
UPRIGHT = np.array([[0, 0, 0, 0.6, 0, 0, 0.6]])


@pytest.fixture(scope="module")
def renderer() -> EmbreeRenderer:
    return EmbreeRenderer(RECIPE)


@pytest.fixture(scope="module")
def knot() -> Mesh:
    """Something with concavities and no symmetry."""
    ball = trimesh.creation.icosphere(subdivisions=3)
    x, y, z = ball.vertices.T
    bumps = 1 + 0.4 * np.sin(4 * x + 1) * np.cos(3 * y) + 0.2 * np.sin(5 * z)
    return Mesh.plain(ball.vertices * bumps[:, None], ball.faces).normalized()


def colored(mesh: Mesh, color: tuple[float, float, float]) -> Mesh:
    return replace(mesh, materials=(Material(np.array(color, np.float32)),))


def quad(half: float = 0.3, z: float = 0.0) -> Mesh:
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * half + [0, 0, z]
    return Mesh.plain(corners, np.array([[0, 1, 2], [0, 2, 3]]))


def center(image: np.ndarray) -> np.ndarray:
    half = len(image) // 2
    return image[half - 2 : half + 2, half - 2 : half + 2].reshape(-1, 3).mean(axis=0)


def test_a_view_does_not_depend_on_its_neighbours(renderer: EmbreeRenderer, knot: Mesh):
    latents = sample_latents(RECIPE, 0)
    together = renderer.render(knot, latents)
    assert together.shape == (4, 64, 64, 3)
    assert together.dtype == np.uint8
    prepared = EmbreeRenderer(RECIPE).prepare(knot)
    alone = [prepared.render(latent[None])[0] for latent in latents[::-1]]
    np.testing.assert_array_equal(together, alone[::-1])


def test_no_views(renderer: EmbreeRenderer, knot: Mesh):
    assert renderer.render(knot, np.zeros((0, 7))).shape == (0, 64, 64, 3)


@pytest.mark.parametrize("seed", range(6))
def test_latents_turn_and_move_the_object_as_the_groups_say(seed: int):
    """Three specks are seen where the camera projects R (x + t)."""
    recipe = Recipe.diebench_t(image_size=128, num_views=1, lens_mm=40.0)
    latents = sample_latents(recipe, seed)
    specks = np.array([[0.4, 0.1, 0.05], [-0.3, 0.3, 0.2], [0.1, -0.35, -0.3]])
    small = trimesh.creation.icosphere(subdivisions=1, radius=0.02)
    parts = [small.copy().apply_translation(speck) for speck in specks]
    joined = trimesh.util.concatenate(parts)
    mesh = Mesh.plain(joined.vertices, joined.faces)
    mesh = replace(mesh, vertices=mesh.vertices - mesh.bounds.mean(axis=0))
    specks = specks - np.mean(joined.bounds, axis=0)
    renderer = EmbreeRenderer(recipe)
    mask = renderer.prepare(mesh).render_outputs(latents, ["mask"])["mask"]
    world = (specks + latents[0, 7:10]) @ rotation_matrix(latents[0, :3]).T
    expected = renderer.camera.project(world)
    y, x = np.nonzero(mask[0])
    seen = np.stack([x, y], axis=1) + 0.5
    inside = ((expected > 2) & (expected < 126)).all(axis=1) & (world[:, 2] > -0.95)
    assert inside.any()
    for speck in expected[inside]:
        near = np.linalg.norm(seen - speck, axis=1) < 5
        assert near.any()
        np.testing.assert_allclose(seen[near].mean(axis=0), speck, atol=0.6)


def test_mask_is_the_objects_outline(renderer: EmbreeRenderer):
    views = renderer.prepare(quad()).render_outputs(UPRIGHT, ["mask"])
    images, mask = views["image"], views["mask"]
    corners = renderer.camera.project(quad().vertices.astype(np.float64))
    x, y = corners.T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert mask.sum() == pytest.approx(area, rel=0.03)
    red = renderer.render(colored(quad(), (1, 0, 0)), UPRIGHT)
    differs = np.abs(red.astype(int) - images)[0].max(axis=2) > 20
    assert (differs[mask[0]]).all()


def test_both_sides_of_a_face_are_lit_as_the_side_seen(renderer: EmbreeRenderer):
    mesh = quad()
    flipped = replace(mesh, faces=mesh.faces[:, ::-1].copy())
    np.testing.assert_allclose(
        renderer.render(mesh, UPRIGHT).astype(int), renderer.render(flipped, UPRIGHT), atol=1
    )


def test_an_open_surface_has_its_analytic_brightness(renderer: EmbreeRenderer):
    """A level quad under sun, sky and the centred spot."""
    image = renderer.render(colored(quad(), (0.3, 0.3, 0.3)), UPRIGHT)[0]
    color = np.array([0, 0.32, 0.8])  # HSV(0.6, 1, 0.8)
    spot = 500 / (4 * np.pi) / (4**2 + 0.25**2) * color
    linear = 0.3 / np.pi * (1.5 + np.pi * 0.05 + spot)
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(center(image), expected, atol=3)


def test_texture_is_looked_up_upright_and_wraps(renderer: EmbreeRenderer):
    texture = np.zeros((2, 2, 3), np.uint8)
    texture[0, 0], texture[0, 1] = (255, 0, 0), (0, 255, 0)  # top row, v = 1
    texture[1, 0], texture[1, 1] = (0, 0, 255), (255, 255, 255)
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) + 3  # whole periods away
    mesh = quad()
    mesh = replace(
        mesh,
        materials=(Material(np.ones(3, np.float32), np.repeat(np.repeat(texture, 8, 0), 8, 1)),),
        corner_uv=uv[mesh.faces],
    )
    image = renderer.render(mesh, UPRIGHT)[0].astype(int)

    def seen(x: float, y: float) -> np.ndarray:
        column, row = renderer.camera.project(np.array([x, y, 0.0]))
        return image[int(row), int(column)]

    for place, strong in (((-0.15, 0.15), 0), ((0.15, 0.15), 1), ((-0.15, -0.15), 2)):
        color = seen(*place)
        others = [c for c in range(3) if c != strong]
        assert color[strong] > 100
        assert (color[others] < 40).all()
    assert seen(0.15, -0.15).min() > 100


def test_smooth_normals_shade_a_flat_face_unevenly(renderer: EmbreeRenderer):
    mesh = quad()
    normals = np.array([[-2, 0, 1], [2, 0, 1], [2, 0, 1], [-2, 0, 1]], np.float32)
    smooth = replace(mesh, corner_normals=normals[mesh.faces])
    latents = UPRIGHT.copy()
    latents[0, 4:6] = np.pi / 4, 0  # the spot shines from +x
    flat_image, image = (renderer.render(m, latents)[0].astype(float) for m in (mesh, smooth))
    left, right = image[32, 36:40].mean(), image[32, 24:28].mean()  # +x is on the left
    assert right > left + 20
    assert abs(flat_image[32, 36:40].mean() - flat_image[32, 24:28].mean()) < 10
    none = replace(mesh, corner_normals=np.zeros((2, 3, 3), np.float32))
    np.testing.assert_array_equal(renderer.render(none, latents)[0], flat_image)


def test_object_darkens_the_floor_below_the_spot(renderer: EmbreeRenderer):
    speck, plate = quad(0.001), quad()
    empty, image = (renderer.render(m, UPRIGHT)[0].astype(int) for m in (speck, plate))
    column, row = renderer.camera.project(np.array([0.0, 0.0, -1.0])).astype(int)
    assert (image[row, column] < empty[row, column] - 20).any()
    np.testing.assert_allclose(image[:4], empty[:4], atol=8)


def test_what_is_below_the_floor_does_not_show():
    recipe = Recipe.diebench_t(image_size=64, translation=((0, 0), (0, 0), (-2, 2)))
    prepared = EmbreeRenderer(recipe).prepare(quad())
    latents = np.concatenate([UPRIGHT, [[0, 0, -1.2]]], axis=1)
    assert not prepared.render_outputs(latents, ["mask"])["mask"].any()
    latents[0, 9] = -0.8
    assert prepared.render_outputs(latents, ["mask"])["mask"].any()
    latents[0, 9] = 1.8  # beside the camera and out of the picture
    assert prepared.render(latents).shape == (1, 64, 64, 3)


def test_degenerate_and_hostile_triangles_are_harmless(renderer: EmbreeRenderer):
    mesh = quad()
    extra = np.array([[0, 0, 1], [2, 2, 2], [0, 1, 1]], np.int32)
    faces = np.concatenate([extra, mesh.faces])
    hostile = replace(
        mesh,
        faces=faces,
        face_material=np.zeros(len(faces), np.int32),
        corner_uv=np.full((5, 3, 2), np.nan, np.float32),
        corner_normals=np.full((5, 3, 3), np.nan, np.float32),
        materials=(Material(np.ones(3, np.float32), np.full((1, 1, 3), 200, np.uint8)),),
    )
    image = renderer.render(hostile, UPRIGHT)
    plain = renderer.render(colored(mesh, ((200 / 255 + 0.055) / 1.055,) * 3), UPRIGHT)
    assert abs(center(image[0]) - center(plain[0])).max() < 40


def test_a_dense_mesh_looks_as_its_coarse_self(renderer: EmbreeRenderer):
    """Above the limit shadows are traced against a simplified mesh."""
    sphere = trimesh.creation.icosphere(subdivisions=4)
    dense = trimesh.creation.icosphere(subdivisions=6)
    latents = sample_latents(RECIPE, 1)
    images = [
        renderer.render(Mesh.plain(m.vertices, m.faces).normalized(), latents).astype(int)
        for m in (sphere, dense)
    ]
    assert np.abs(images[0] - images[1]).mean() < 0.7


def test_a_high_camera_sees_floor_and_a_low_one_sky(knot: Mesh):
    low = EmbreeRenderer(replace(RECIPE, camera_theta=1.5, lens_mm=20.0))
    image = low.render(knot, UPRIGHT)[0]
    sky = round(255 * (1.055 * 0.05 ** (1 / 2.4) - 0.055))
    assert abs(image[0].astype(int) - sky).max() <= 1
    assert image[-1].max() > sky + 20


def test_filmic_is_its_curve_of_the_same_light(knot: Mesh):
    """Object, edges, floor and sky alike, where the standard view is neither white nor dark."""
    recipe = replace(RECIPE, camera_theta=1.4, lens_mm=25.0)
    latents = sample_latents(RECIPE, 2)
    standard = EmbreeRenderer(recipe).render(knot, latents)
    film = EmbreeRenderer(replace(recipe, view="filmic")).render(knot, latents)
    value = standard / 255.0
    expected = filmic(np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4))
    known = (standard > 40) & (standard < 255)
    assert known.mean() > 0.5
    off = np.abs(film - 255 * expected)[known]
    assert off.max() < 3  # a byte of the standard view is more than one of the filmic
    assert off.mean() < 0.6


def test_filmic_keeps_light_above_one_apart(knot: Mesh):
    """Ten times the light: white in the standard view, still shaded in the filmic one."""
    bright = replace(RECIPE, sun_energy=15.0, light_energy=5000.0, sky=0.5)
    latents = sample_latents(RECIPE, 2)[:1]
    standard, film = (
        EmbreeRenderer(replace(bright, view=view)).render(knot, latents)[0]
        for view in ("standard", "filmic")
    )
    white = (standard == 255).all(axis=-1)
    assert white.sum() > 100
    assert film[white].min() < 235
    assert len(np.unique(film[white][:, 0])) > 10


@pytest.mark.parametrize(
    ("latents", "message"),
    [(np.zeros((2, 10)), "needs .V, 7."), (np.zeros(7), "shape"), (np.full((1, 7), np.nan), "NaN")],
)
def test_bad_latents(renderer: EmbreeRenderer, latents: np.ndarray, message: str):
    with pytest.raises(UserError, match=message):
        renderer.render(quad(), latents)


def test_bad_meshes_are_named(renderer: EmbreeRenderer):
    with pytest.raises(UserError, match=r"cup\.obj.*no faces"):
        renderer.prepare(Mesh.plain(np.zeros((0, 3)), np.zeros((0, 3), int)), "cup.obj")
    with pytest.raises(UserError, match="normalise"):
        renderer.prepare(quad(1e6), "huge.obj")
