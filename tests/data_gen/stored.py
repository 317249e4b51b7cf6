"""What the tests of stored data sets share."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import trimesh

from data_gen.recipe import Recipe

SMALL = Recipe.from_dict({"num_views": 3, "image_size": 32})


def digest(root: Path) -> dict[str, str]:
    """SHA-256 of every file below ``root``."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def wedge(path: Path, height: float = 1.0) -> None:
    """A mesh of four triangles."""
    path.parent.mkdir(parents=True, exist_ok=True)
    points = np.array([(0, 0, 0), (4, 0, 0), (0, height, 0), (0, 0, 2)])
    faces = [(0, 1, 2), (0, 2, 3), (0, 3, 1), (1, 3, 2)]
    trimesh.Trimesh(points, faces, process=False).export(path)


def meshes(root: Path, good: int = 5, bad: tuple[str, ...] = ()) -> Path:
    """A mesh folder of ``good`` wedges ``cup/m0`` ... and of files that are no meshes."""
    for i in range(good):
        wedge(root / "cup" / f"m{i}.obj", 1 + i)
    for name in bad:
        (root / "cup" / f"{name}.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    return root


def shapenet(root: Path) -> Path:
    """A ShapeNetCore v2 tree of five objects of two synsets, two of them textured."""
    for i, (synset, name) in enumerate([("02", "a"), ("02", "b"), ("03", "a"), ("03", "c")]):
        wedge(root / synset / name / "models" / "model_normalized.obj", 1 + i)
    folder = root / "03" / "painted" / "models"
    folder.mkdir(parents=True)
    (folder / "model_normalized.mtl").write_text("newmtl red\nKd 0.8 0.1 0.1\n")
    (folder / "model_normalized.obj").write_text(
        "mtllib model_normalized.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nusemtl red\n"
        "f 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
    )
    return root
