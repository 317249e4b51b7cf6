"""Depth, normals and masks against closed forms, trimesh, and each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage
import trimesh

from data_gen.latents import sample_latents
from data_gen.mesh import Mesh
from data_gen.recipe import Recipe
from data_gen.render import EmbreeRenderer
from data_gen.scene import Camera, rotation_matrix
from ssl_equiv.data.geometry import OUTPUTS
from ssl_equiv.errors import UserError

pytestmark = pytest.mark.render

RECIPE = Recipe.diebench_t(image_size=64, num_views=5)
STILL = np.array([[0, 0, 0, 0.6, 0, 0, 0.6, 0, 0, 0]])


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


def smooth_ball(subdivisions: int = 5) -> Mesh:
    """A ball of radius 0.5 with its true normals at the corners."""
    ball = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.5)
    mesh = Mesh.plain(ball.vertices, ball.faces)
    return replace(mesh, corner_normals=mesh.vertices[mesh.faces])


def pixel_rays(camera: Camera) -> np.ndarray:
    """World directions of depth 1 through the centres of pixels, ``(H, W, 3)``."""
    ticks = np.arange(camera.size) + 0.5
    return camera.rays(np.stack(np.meshgrid(ticks, ticks), axis=-1))


def in_camera(camera: Camera, vectors: np.ndarray) -> np.ndarray:
    return vectors @ np.stack([camera.right, camera.down, camera.forward]).T


def in_object(camera: Camera, depth: np.ndarray, latent: np.ndarray) -> np.ndarray:
    """Points of the object's frame that a depth map shows, ``(H, W, 3)``."""
    world = camera.position + depth[..., None] * pixel_rays(camera)
    return world @ rotation_matrix(latent[:3]) - latent[7:10]


def angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Degrees between unit vectors."""
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=-1) / 2, 0, 1)))


@pytest.mark.parametrize("asked", [(), ("depth",), ("mask", "normals"), OUTPUTS])
def test_the_picture_is_the_same_whatever_else_is_asked(
    renderer: EmbreeRenderer, knot: Mesh, asked: tuple[str, ...]
) -> None:
    latents = sample_latents(RECIPE, 0)
    prepared = renderer.prepare(knot)
    out = prepared.render_outputs(latents, asked)
    assert set(out) == {"image", *asked}
    np.testing.assert_array_equal(out["image"], prepared.render(latents))
    all_of_them = prepared.render_outputs(latents)
    for name in asked:
        np.testing.assert_array_equal(out[name], all_of_them[name])
        assert out[name].shape[:3] == (5, 64, 64)


def test_a_ball_has_its_analytic_depth_and_normals(renderer: EmbreeRenderer) -> None:
    latents = STILL.copy()
    latents[0, 7:10] = 0.2, -0.3, 0.1
    out = renderer.prepare(smooth_ball()).render_outputs(latents)
    camera = renderer.camera
    rays, start = pixel_rays(camera), camera.position - latents[0, 7:10]
    a, b, c = (rays * rays).sum(-1), rays @ start, start @ start - 0.25
    inside = b * b - a * c
    depth = (-b - np.sqrt(np.maximum(inside, 0))) / a
    mask = out["mask"][0]
    # the mesh lies within its ball: outlines may differ by a pixel here and there
    assert (mask != (inside > 0)).sum() <= 3
    core = inside > 0.02
    assert mask[core].all()
    assert core.sum() > 500
    np.testing.assert_allclose(out["depth"][0][core], depth[core], atol=1e-3)
    normals = (start + depth[..., None] * rays) / 0.5
    assert angle(out["normals"][0][core], in_camera(camera, normals)[core]).max() < 0.5


@pytest.mark.parametrize("seed", range(3))
def test_a_boxs_depth_and_normals_are_those_of_its_sides(
    renderer: EmbreeRenderer, seed: int
) -> None:
    half = np.array([0.4, 0.25, 0.15])
    box = trimesh.creation.box(2 * half)
    latents = sample_latents(RECIPE, seed)
    out = renderer.prepare(Mesh.plain(box.vertices, box.faces)).render_outputs(latents)
    for view, latent in enumerate(latents):
        # slabs, in the object's frame (Kay and Kajiya 1986)
        turn = rotation_matrix(latent[:3])
        start = renderer.camera.position @ turn - latent[7:10]
        rays = pixel_rays(renderer.camera) @ turn
        sides = (np.stack([-half, half])[:, None, None] - start) / rays
        near, far = sides.min(axis=0), sides.max(axis=0)
        axis, enter = near.argmax(axis=-1), near.max(axis=-1)
        normals = -np.eye(3)[axis] * np.sign(np.take_along_axis(rays, axis[..., None], -1))
        normals = in_camera(renderer.camera, normals @ turn.T)
        floor = (-1 - renderer.camera.position[2]) / pixel_rays(renderer.camera)[..., 2]
        hit = (enter < far.min(axis=-1)) & (enter < floor)
        mask = out["mask"][view]
        assert (mask != hit).sum() <= 2  # a ray through an edge may go either way
        both = mask & hit
        np.testing.assert_allclose(out["depth"][view][both], enter[both], atol=2e-5)
        turned = angle(out["normals"][view][both], normals[both]) > 0.01
        assert turned.sum() <= 2


def test_the_floor_has_its_analytic_depth_and_normal(renderer: EmbreeRenderer, knot: Mesh) -> None:
    out = renderer.prepare(knot).render_outputs(sample_latents(RECIPE, 1))
    camera = renderer.camera
    expected = (-1 - camera.position[2]) / pixel_rays(camera)[..., 2]
    up = in_camera(camera, np.array([0.0, 0.0, 1.0]))
    for depth, normals, mask in zip(out["depth"], out["normals"], out["mask"], strict=True):
        np.testing.assert_allclose(depth[~mask], expected[~mask], rtol=1e-6)
        np.testing.assert_allclose(normals[~mask], np.broadcast_to(up, (64, 64, 3))[~mask], 1e-5)
        assert (depth <= expected + 1e-5).all()  # nothing is seen below the floor


def test_the_sky_is_infinitely_far() -> None:
    recipe = replace(RECIPE, camera_theta=1.5, lens_mm=20.0)
    renderer = EmbreeRenderer(recipe)
    out = renderer.prepare(smooth_ball(2)).render_outputs(STILL)
    sky = (pixel_rays(renderer.camera)[..., 2] >= 0) & ~out["mask"][0]
    assert sky[0].all()
    np.testing.assert_array_equal(np.isinf(out["depth"][0]), sky)
    np.testing.assert_array_equal((out["normals"][0] == 0).all(axis=-1), sky)


def test_depth_lies_on_the_mesh(renderer: EmbreeRenderer, knot: Mesh) -> None:
    """Where a pixel's depth leads to is a point of the surface, by trimesh's closest point."""
    latents = sample_latents(RECIPE, 2)
    out = renderer.prepare(knot).render_outputs(latents, ("depth", "mask"))
    solid = trimesh.Trimesh(knot.vertices - knot.bounds.mean(axis=0), knot.faces, process=False)
    points = np.concatenate(
        [
            in_object(renderer.camera, depth, latent)[mask]
            for depth, mask, latent in zip(out["depth"], out["mask"], latents, strict=True)
        ]
    )
    some = points[:: max(1, len(points) // 500)]
    _, distance, _ = trimesh.proximity.closest_point_naive(solid, some)
    assert distance.max() < 1e-5


def test_flat_normals_are_those_of_the_depth(renderer: EmbreeRenderer) -> None:
    """Where three neighbours lie on one face, their points span its plane."""
    solid = trimesh.creation.icosphere(subdivisions=1, radius=0.5)
    prepared = renderer.prepare(Mesh.plain(solid.vertices, solid.faces))
    out = prepared.render_outputs(STILL)
    points = in_object(renderer.camera, out["depth"][0], STILL[0])
    across = np.cross(points[:-1, 1:] - points[:-1, :-1], points[1:, :-1] - points[:-1, :-1])
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    normals = out["normals"][0]
    here = normals[:-1, :-1]
    same = out["mask"][0][:-1, :-1] & (angle(here, normals[:-1, 1:]) < 0.01)
    same &= angle(here, normals[1:, :-1]) < 0.01
    assert same.sum() > 200
    # right x down points away from the camera
    found = in_camera(renderer.camera, -across)[same]
    assert angle(here[same], found).max() < 1


def test_two_views_agree_on_what_both_see(renderer: EmbreeRenderer, knot: Mesh) -> None:
    """A point seen in one view, moved to another, is never in front of what that one shows."""
    latents = sample_latents(RECIPE, 3)
    latents[:, :3] *= 0.2  # much is seen in both
    camera = renderer.camera
    out = renderer.prepare(knot).render_outputs(latents)
    agreed, tested = 0, 0
    for first, second in ((0, 1), (1, 2), (3, 4)):
        points = in_object(camera, out["depth"][first], latents[first])[out["mask"][first]]
        world = (points + latents[second, 7:10]) @ rotation_matrix(latents[second, :3]).T
        column, row = np.floor(camera.project(world)).astype(int).T
        depth = (world - camera.position) @ camera.forward
        inside = (row >= 0) & (row < 64) & (column >= 0) & (column < 64) & (world[:, 2] > -1)
        # at an outline the pixel's own centre may show what is behind: look around it
        around = scipy.ndimage.minimum_filter(out["depth"][second], 3)
        assert (depth[inside] > around[row[inside], column[inside]] - 0.01).all()
        shown = out["depth"][second][row[inside], column[inside]]
        agreed += int((np.abs(depth[inside] - shown) < 0.03).sum())  # a pixel is 0.03 wide
        tested += int(inside.sum())
    assert tested > 500
    assert agreed > 0.7 * tested


@pytest.mark.parametrize("smooth", [False, True])
def test_normals_are_unit_and_face_the_camera(
    renderer: EmbreeRenderer, knot: Mesh, smooth: bool
) -> None:
    if smooth:  # of a coarse mesh: at its outline they turn away from the camera
        solid = trimesh.creation.icosphere(subdivisions=1, radius=0.5)
        knot = Mesh.plain(solid.vertices, solid.faces)
        knot = replace(knot, corner_normals=knot.vertices[knot.faces])
    out = renderer.prepare(knot).render_outputs(sample_latents(RECIPE, 4), ("normals",))
    rays = in_camera(renderer.camera, pixel_rays(renderer.camera))
    np.testing.assert_allclose(np.linalg.norm(out["normals"], axis=-1), 1, atol=1e-5)
    assert ((out["normals"] * rays).sum(axis=-1) < 1e-5).all()


def test_both_sides_of_a_face_have_the_normal_of_the_side_seen(renderer: EmbreeRenderer) -> None:
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * 0.3
    plate = Mesh.plain(corners, np.array([[0, 1, 2], [0, 3, 2]]))  # one face up, one down
    out = renderer.prepare(plate).render_outputs(STILL, ("normals", "mask"))
    up = in_camera(renderer.camera, np.array([0.0, 0.0, 1.0]))
    seen = out["normals"][0][out["mask"][0]]
    np.testing.assert_allclose(seen, np.broadcast_to(up, seen.shape), atol=1e-5)


def test_degenerate_faces_leave_finite_outputs(renderer: EmbreeRenderer) -> None:
    ball = smooth_ball(2)
    rng = np.random.default_rng(0)
    slivers = rng.normal(size=(300, 1, 3)) * 0.2 + rng.normal(size=(300, 3, 3)) * [0.3, 1e-9, 0]
    slivers[:100, 2] = slivers[:100, 1]  # no area at all
    vertices = np.concatenate([ball.vertices, slivers.reshape(-1, 3)]).astype(np.float32)
    faces = np.concatenate([ball.faces, len(ball.vertices) + np.arange(900).reshape(300, 3)])
    mesh = Mesh.plain(vertices, faces)
    normals = np.full((len(faces), 3, 3), np.nan, np.float32)
    for corner_normals in (None, normals):
        hostile = replace(mesh, corner_normals=corner_normals).normalized()
        out = renderer.prepare(hostile).render_outputs(sample_latents(RECIPE, 5))
        assert np.isfinite(out["depth"]).all()
        np.testing.assert_allclose(np.linalg.norm(out["normals"], axis=-1), 1, atol=1e-4)


def test_a_view_without_the_object(renderer: EmbreeRenderer) -> None:
    latents = STILL.copy()
    latents[0, 9] = -1.9  # below the floor
    out = renderer.prepare(smooth_ball(2)).render_outputs(latents)
    assert not out["mask"].any()
    assert np.isfinite(out["depth"]).all()


def test_an_unknown_output_is_named(renderer: EmbreeRenderer) -> None:
    with pytest.raises(UserError, match=r"'albedo'.*depth, normals, mask"):
        renderer.prepare(smooth_ball(1)).render_outputs(STILL, ["albedo"])
