from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from data_gen.mesh import Material, Mesh
from data_gen.procedural import CLASSES, DEMO_CLASSES, LOOK_ALIKES, make
from data_gen.procedural.draws import Draws, palette
from data_gen.procedural.primitives import cylinder
from ssl_equiv.errors import UserError

EVERY = (*CLASSES, *LOOK_ALIKES)
DIGEST = """
import hashlib
from data_gen.procedural import CLASSES, LOOK_ALIKES, make
digest = hashlib.sha256()
for name in (*CLASSES, *LOOK_ALIKES):
    for instance in (0, 7):
        mesh = make(name, instance, 3)
        for array in (mesh.vertices, mesh.faces, mesh.face_material, mesh.corner_normals):
            digest.update(array.tobytes())
        for material in mesh.materials:
            digest.update(material.color.tobytes())
print(digest.hexdigest())
"""


def corners(mesh: Mesh) -> np.ndarray:
    return mesh.vertices[mesh.faces].astype(np.float64)


def normals(mesh: Mesh) -> np.ndarray:
    a, b, c = np.moveaxis(corners(mesh), 1, 0)
    return np.cross(b - a, c - a)


def areas(mesh: Mesh) -> np.ndarray:
    return np.linalg.norm(normals(mesh), axis=1) / 2


def colors(mesh: Mesh) -> np.ndarray:
    return np.array([material.color for material in mesh.materials])[mesh.face_material]


def scatter(mesh: Mesh, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of the surface, evenly by area, and their colours."""
    cumulative = np.cumsum(areas(mesh))
    place = (np.arange(count) + 0.5) / count * cumulative[-1]
    face = np.minimum(np.searchsorted(cumulative, place), len(cumulative) - 1)
    u, v = np.random.default_rng(seed).random((2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    a, b, c = np.moveaxis(corners(mesh)[face], 1, 0)
    return a + u * (b - a) + v * (c - a), colors(mesh)[face]


# every rotation of the cube, and steps of 30 degrees about the vertical
ROTATIONS = np.concatenate(
    [
        [r for r in Rotation.create_group("O").as_matrix() if not np.allclose(r, np.eye(3))],
        [Rotation.from_euler("z", a, degrees=True).as_matrix() for a in range(30, 360, 30)],
    ]
)


def asymmetry(mesh: Mesh) -> float:
    """Least mean distance to the nearest point of like colour after a rotation, above noise."""
    (a, color_a), (b, color_b) = scatter(mesh, 900, 0), scatter(mesh, 900, 1)
    tree = cKDTree(np.concatenate([a, 0.15 * color_a], axis=1))
    turned = np.stack([b, *(b @ r.T for r in ROTATIONS)])
    tint = np.broadcast_to(0.15 * color_b, turned.shape)
    still, *rest = tree.query(np.concatenate([turned, tint], axis=-1))[0].mean(axis=1)
    return float(min(rest) - still)


@pytest.mark.parametrize("name", EVERY)
def test_every_class_makes_sound_meshes(name: str) -> None:
    for instance in range(4):
        mesh = make(name, instance)
        mesh.check(name)
        assert 120 <= len(mesh.faces) <= 6000
        low, high = mesh.bounds
        np.testing.assert_allclose((low + high) / 2, 0, atol=1e-5)
        assert np.linalg.norm(high - low) == pytest.approx(1, abs=1e-5)
        assert len(mesh.materials) == 4
        assert len(set(mesh.face_material)) >= 3
        assert mesh.corner_normals is not None
        length = np.linalg.norm(mesh.corner_normals, axis=-1)
        np.testing.assert_allclose(length, 1, atol=1e-3)
        flat = normals(mesh) / (2 * areas(mesh)[:, None])
        agree = np.einsum("fi,fai->fa", flat, mesh.corner_normals)
        assert np.average(agree > 0.5, axis=0, weights=areas(mesh)).min() > 0.98


@pytest.mark.parametrize("name", EVERY)
def test_faces_turn_outwards(name: str) -> None:
    step = (np.arange(40) + 0.5) / 40 - 0.5
    flat_grid = np.stack([*np.meshgrid(step, step), np.full((40, 40), 2.0)], axis=-1)
    for instance in range(2):
        mesh = make(name, instance)
        scene = rtcore_scene.EmbreeScene()
        TriangleMesh(scene, mesh.vertices, mesh.faces)
        outside, inside = 0, 0
        for angles in ((0, 0, 0), (90, 0, 0), (0, 90, 0), (180, 20, 0), (-60, 0, 30), (60, 80, 0)):
            matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
            origins = (flat_grid.reshape(-1, 3) @ matrix.T).astype(np.float32)
            rays = np.tile(-matrix[:, 2], (len(origins), 1)).astype(np.float32)
            hit = scene.run(origins, rays, query="INTERSECT")
            facing = normals(mesh)[hit[hit >= 0]] @ matrix[:, 2]
            outside += int((facing > 0).sum())
            inside += int((facing < 0).sum())
        assert outside > 200
        assert inside < 0.003 * outside


@pytest.mark.parametrize("name", EVERY)
def test_no_rotation_leaves_it_alike(name: str) -> None:
    assert min(asymmetry(make(name, instance)) for instance in (0, 1)) > 0.003


def test_the_asymmetry_measure_finds_symmetry() -> None:
    part = cylinder(0.3, 0.7, sides=48)
    faces = np.concatenate([part.quads[:, [0, 1, 2]], part.quads[:, [0, 2, 3]]])
    mesh = Mesh(
        (part.points - (0, 0, 0.35)).astype(np.float32),
        faces.astype(np.int32),
        np.zeros(len(faces), np.int32),
        (Material(np.ones(3, np.float32)),),
    )
    assert asymmetry(mesh) < 0.001


@pytest.mark.parametrize("name", EVERY)
def test_instances_differ_in_shape(name: str) -> None:
    meshes = [make(name, instance) for instance in range(5)] + [make(name, 0, seed=1)]
    for i, one in enumerate(meshes):
        for other in meshes[:i]:
            if one.vertices.shape == other.vertices.shape:
                assert np.abs(one.vertices - other.vertices).max() > 0.01


def test_the_same_bytes_in_every_process() -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", DIGEST]
        digests.add(subprocess.check_output(command, env=environment, text=True))
    assert len(digests) == 1


def test_what_was_made_once_is_made_again() -> None:
    """Changes here change every data set: they belong into the change log."""
    draws = Draws("chair", 3, 0)
    np.testing.assert_allclose([draws.random() for _ in range(3)], GOLDEN_DRAWS, rtol=0, atol=1e-15)
    np.testing.assert_allclose(palette(Draws("mug", 0, 0))[:2], GOLDEN_PALETTE, atol=1e-4)
    for name, (faces, spread) in GOLDEN_MESHES.items():
        mesh = make(name, 1)
        assert len(mesh.faces) == faces
        assert np.abs(mesh.vertices).mean() == pytest.approx(spread, abs=1e-5)


def test_colour_does_not_tell_the_class() -> None:
    features = np.array(
        [
            [np.average(colors(mesh), axis=0, weights=areas(mesh)) for mesh in meshes]
            for meshes in ([make(name, i) for i in range(12)] for name in CLASSES)
        ]
    )
    centres = features[:, :8].mean(axis=1)
    guess = ((features[:, 8:, None] - centres) ** 2).sum(axis=-1).argmin(axis=-1)
    accuracy = (guess == np.arange(len(CLASSES))[:, None]).mean()
    assert accuracy < 3.5 / len(CLASSES)


def test_palettes_can_be_told_apart_and_are_exchangeable() -> None:
    palettes = np.array([palette(Draws("any", i)) for i in range(400)])
    bright = np.sort(palettes.max(axis=-1), axis=-1)
    assert np.diff(bright, axis=-1).min() > 0.1
    means = palettes.mean(axis=0)
    assert np.abs(means - means.mean(axis=0)).max() < 0.06


def test_classes() -> None:
    assert len(CLASSES) == len(set(CLASSES)) >= 24
    assert len(DEMO_CLASSES) == 12
    assert set(DEMO_CLASSES) <= set(CLASSES)
    assert set(LOOK_ALIKES.values()) == set(DEMO_CLASSES)
    assert not set(LOOK_ALIKES) & set(CLASSES)  # the whole corpus is as it was


def test_look_alikes_share_their_originals_class_colors() -> None:
    def colors(name: str) -> np.ndarray:
        materials = make(name, 0, class_colors=True).materials
        return np.array([material.color for material in materials])

    for name, original in LOOK_ALIKES.items():
        np.testing.assert_array_equal(colors(name), colors(original))
    assert not np.array_equal(colors("cot"), colors("camera"))


def test_an_unknown_class_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'teapot'"):
        make("tea_pot", 0)
    with pytest.raises(UserError, match="count from 0"):
        make("chair", -1)


GOLDEN_DRAWS = [0.8741704884204248, 0.9976943945186612, 0.8772724382703672]
GOLDEN_PALETTE = [[0.6870, 0.8403, 0.1230], [0.6173, 0.3163, 0.6284]]
GOLDEN_MESHES = {"airplane": (760, 0.095829), "chair": (360, 0.149086), "teapot": (1680, 0.117155)}
