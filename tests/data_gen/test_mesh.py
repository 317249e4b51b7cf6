from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data_gen.mesh import Material, Mesh
from ssl_equiv.errors import UserError

TRIANGLE = Mesh.plain(np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]]))


def test_normalized_centres_the_box_and_makes_its_diagonal_one():
    mesh = replace(TRIANGLE, vertices=TRIANGLE.vertices * 7 + 3).normalized()
    low, high = mesh.bounds
    np.testing.assert_allclose(low + high, 0, atol=1e-6)
    assert np.linalg.norm(high - low) == pytest.approx(1)


def test_normalized_ignores_vertices_without_faces():
    stray = np.concatenate([TRIANGLE.vertices, [[100, 100, 100]]]).astype(np.float32)
    assert np.abs(replace(TRIANGLE, vertices=stray).normalized().bounds).max() < 1


def test_normalized_refuses_a_point():
    with pytest.raises(UserError, match="zero size"):
        replace(TRIANGLE, vertices=np.ones((3, 3), np.float32)).normalized()


def test_a_good_mesh_passes_degenerate_triangles_included():
    TRIANGLE.check("good")
    faces = np.array([[0, 1, 2], [0, 0, 1], [1, 1, 1]], np.int32)
    replace(TRIANGLE, faces=faces, face_material=np.zeros(3, np.int32)).check("degenerate")


GREY = TRIANGLE.materials[0]
BAD = {
    "no faces": {"faces": np.zeros((0, 3), np.int32), "face_material": np.zeros(0, np.int32)},
    "NaN": {"vertices": np.full((3, 3), np.nan, np.float32)},
    "infinite": {"vertices": np.array([[0, 0, 0], [np.inf, 0, 0], [0, 1, 0]], np.float32)},
    "zero size": {"vertices": np.ones((3, 3), np.float32)},
    "vertex that does not exist": {"faces": np.array([[0, 1, 3]], np.int32)},
    "material that does not exist": {"face_material": np.array([1], np.int32)},
    "face_material has shape": {"face_material": np.zeros(2, np.int32)},
    "corner_uv has shape": {"corner_uv": np.zeros((1, 3, 3), np.float32)},
    "corner_normals has shape": {"corner_normals": np.zeros((2, 3, 3), np.float32)},
    "no material": {"materials": ()},
    "colour": {"materials": (Material(np.array([0, np.nan, 0], np.float32)),)},
    "texture": {"materials": (replace(GREY, texture=np.zeros((2, 2), np.uint8)),)},
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_mesh_is_named_with_its_fault(what: str):
    with pytest.raises(UserError, match=what) as error:
        replace(TRIANGLE, **BAD[what]).check("cup.obj")
    assert "cup.obj" in str(error.value)
    assert "\n" not in str(error.value)
