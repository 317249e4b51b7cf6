"""Meshes that a ray tracer chokes on: slivers by the million, and what memory dense ones take."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from data_gen.latents import sample_latents
from data_gen.mesh import Material, Mesh
from data_gen.recipe import Recipe
from data_gen.render import EmbreeRenderer
from data_gen.render.simplify import overlap, widths
from ssl_equiv.errors import UserError

pytestmark = pytest.mark.render

RECIPE = Recipe.diebench(image_size=128, num_views=3)
LATENTS = sample_latents(RECIPE, 0)


@pytest.fixture(scope="module")
def renderer() -> EmbreeRenderer:
    return EmbreeRenderer(RECIPE)


def soup(corners: np.ndarray) -> Mesh:
    """Triangles ``(F, 3, 3)`` that share nothing."""
    return Mesh.plain(corners.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3))


def needles(num: int, width: float = 1e-6) -> np.ndarray:
    """Across a ball of radius 0.3; a third is degenerate to a line or a point."""
    rng = np.random.default_rng(0)
    ends = rng.normal(size=(2, num, 3))
    a, b = 0.3 * ends / np.linalg.norm(ends, axis=-1, keepdims=True)
    c = (a + b) / 2 + rng.normal(size=(num, 3)) * width
    c[: num // 6] = b[: num // 6]
    a[num // 6 : num // 3] = b[num // 6 : num // 3]
    return np.stack([a, b, c], axis=1)


def ball_and(corners: np.ndarray) -> tuple[Mesh, Mesh]:
    """A textured, smooth ball alone, and with other triangles within and beyond it."""
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.25)
    points = ball.vertices[ball.faces]
    texture = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)

    def make(corners: np.ndarray) -> Mesh:
        return replace(
            soup(corners),
            materials=(Material(np.ones(3, np.float32), texture),),
            corner_uv=np.ascontiguousarray(corners[..., :2] * 4, np.float32),
            corner_normals=np.ascontiguousarray(corners, np.float32),
        )

    # specks keep the bounding box, and with it its centre, the same for both
    speck = np.array([[0.3, 0, 0], [0.3, 1e-3, 0], [0.3, 0, 1e-3]])
    specks = [sign * np.roll(speck, axis, axis=1) for axis in range(3) for sign in (-1, 1)]
    points = np.concatenate([points, specks])
    return make(points), make(np.concatenate([corners, points]))


def test_overlap_is_what_rays_meet() -> None:
    """Against lines through random boxes, counted one by one."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(-0.5, 0.5, (300, 3, 3)) * rng.uniform(0.1, 1, (300, 1, 1))
    low, high = corners.min(axis=1), corners.max(axis=1)
    # lines spread evenly over all that meet a sphere around everything
    num, radius = 4000, 1.0
    along = rng.normal(size=(num, 3))
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.cross(along, rng.normal(size=(num, 3)))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    start = across * radius * np.sqrt(rng.uniform(size=(num, 1)))

    def met(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        sides = (np.stack([low, high])[:, None] - start[:, None]) / along[:, None]
        return sides.min(axis=0).max(axis=-1) < sides.max(axis=0).min(axis=-1)

    whole = met(low.min(axis=0)[None], high.max(axis=0)[None]).sum()
    expected = met(low, high).sum() / whole
    mesh = soup(corners)
    assert overlap(mesh.vertices, mesh.faces) == pytest.approx(expected, rel=0.05)


def test_widths_are_the_least_heights() -> None:
    corners = np.random.default_rng(0).normal(size=(50, 3, 3))
    corners[0, 2] = corners[0, 0] * 2 - corners[0, 1]  # on a line
    mesh = soup(corners)
    area = trimesh.triangles.area(corners)
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max(axis=1)
    np.testing.assert_allclose(
        widths(mesh.vertices, mesh.faces), 2 * area / longest, rtol=1e-4, atol=1e-6
    )


def test_an_ordinary_mesh_keeps_its_triangles(renderer: EmbreeRenderer) -> None:
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.5)
    assert len(renderer.prepare(Mesh.plain(ball.vertices, ball.faces)).faces.material) == 20480


def test_invisible_needles_do_not_change_the_picture(renderer: EmbreeRenderer) -> None:
    alone, tangled = ball_and(needles(60_000))
    prepared = renderer.prepare(tangled)
    assert len(prepared.faces.material) == len(alone.faces)
    expected = renderer.render(alone, LATENTS).astype(int)
    images = prepared.render(LATENTS)
    # vertices may have moved by 1/64 of a pixel
    assert np.abs(images - expected).mean() < 0.05
    assert (np.abs(images - expected).max(axis=-1) > 24).mean() < 1e-3


def test_a_disc_of_slivers_stays_a_disc(renderer: EmbreeRenderer) -> None:
    """A fan's triangles are all too thin to be seen; together they are a surface."""

    def disc(num: int) -> Mesh:
        turn = np.linspace(0, 2 * np.pi, num + 1)
        rim = 0.4 * np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=-1)
        return soup(np.stack([rim[:-1], rim[1:], 0 * rim[1:]], axis=1))

    fan = disc(200_000)
    assert overlap(fan.vertices, fan.faces) > 2000
    out, expected = (
        renderer.prepare(mesh).render_outputs(LATENTS, ["mask"]) for mesh in (fan, disc(400))
    )
    assert (out["mask"] != expected["mask"]).mean() < 2e-3
    assert np.abs(out["image"].astype(int) - expected["image"]).mean() < 0.3


def test_hopeless_meshes_are_one_line(renderer: EmbreeRenderer) -> None:
    fat = soup(np.random.default_rng(0).uniform(-0.5, 0.5, (20_000, 3, 3)))
    with pytest.raises(UserError, match=r"hay\.obj: its triangles lie across one another"):
        renderer.prepare(fat, "hay.obj")
    with pytest.raises(UserError, match=r"hay\.obj: no triangle of it is wide enough"):
        renderer.prepare(soup(needles(60_000)), "hay.obj")


@pytest.mark.slow
def test_a_million_slivers_take_bounded_time(renderer: EmbreeRenderer) -> None:
    alone, tangled = ball_and(needles(1_000_000))
    start = time.perf_counter()
    images = renderer.prepare(tangled).render(LATENTS)
    assert time.perf_counter() - start < 60  # a few seconds on a quiet machine
    assert np.abs(images.astype(int) - renderer.render(alone, LATENTS)).mean() < 0.05
    # slivers that lie on a surface are all kept
    rng = np.random.default_rng(0)
    a = rng.normal(size=(1_000_000, 3))
    a *= 0.5 / np.linalg.norm(a, axis=1, keepdims=True)
    b = a + rng.normal(size=a.shape) * 0.005
    short = soup(np.stack([a, b, (a + b) / 2 + rng.normal(size=a.shape) * 1e-6], axis=1))
    start = time.perf_counter()
    prepared = renderer.prepare(short)
    assert prepared.render(LATENTS).shape == (3, 128, 128, 3)
    assert len(prepared.faces.material) == 1_000_000
    assert time.perf_counter() - start < 60


MEASURE = """
import re
from dataclasses import replace
import numpy as np, trimesh
from data_gen.latents import sample_latents
from data_gen.mesh import Material, Mesh
from data_gen.recipe import Recipe
from data_gen.render import EmbreeRenderer
ball = trimesh.creation.icosphere(subdivisions=7)
x, y, z = ball.vertices.T
bumps = 1 + 0.4 * np.sin(4 * x + 1) * np.cos(3 * y)
mesh = Mesh.plain(ball.vertices * bumps[:, None], ball.faces).normalized()
corners = np.ascontiguousarray(mesh.vertices[mesh.faces])
texture = np.zeros((2048, 2048, 3), np.uint8)
mesh = replace(mesh, corner_normals=corners, corner_uv=np.ascontiguousarray(corners[..., :2]),
               materials=(Material(np.ones(3, np.float32), texture),))
recipe = Recipe.diebench()
assert len(mesh.faces) > 300_000 and (recipe.num_views, recipe.image_size) == (50, 256)
EmbreeRenderer(recipe).prepare(mesh).render_outputs(sample_latents(recipe, 0))
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


@pytest.mark.slow
def test_memory_of_300k_triangles_is_bounded() -> None:
    """All outputs of 50 views at 256 px, textured and smooth, in a process of its own.

    VmHWM, since ``ru_maxrss`` of a started process begins at the size of the one that starts it.
    """
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1.5 * 1024**2  # KiB; measured 0.43 GiB
