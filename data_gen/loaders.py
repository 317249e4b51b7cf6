"""Mesh files (OBJ, glTF, PLY, STL) as ``Mesh``."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import trimesh
from numpy.typing import NDArray

from data_gen.mesh import GREY, Material, Mesh
from data_gen.obj import load_obj
from data_gen.textures import paint_corners, texture_bytes
from ssl_equiv.errors import UserError

SUFFIXES = (".obj", ".glb", ".gltf", ".ply", ".stl")
_Y_UP = (".obj", ".glb", ".gltf")


def load_mesh(path: str | Path, up: Literal["y", "z"] | None = None) -> Mesh:
    """Read a mesh file, z up, in its own position and size (see ``Mesh.normalized``).

    Colours come from materials and textures, or else from vertex or face colours; a file with
    neither is grey. Corners are smooth where the file has normals, and flat elsewhere.

    Args:
        path: An ``.obj``, ``.glb``, ``.gltf``, ``.ply`` or ``.stl`` file.
        up: The file's upward axis. The default is y for OBJ and glTF, z for PLY and STL, the
            habits of these formats. y-up is turned as Blender's importers do: (x, -z, y).

    Raises:
        UserError: The file is missing, unreadable, not a mesh, or cannot be rendered (no faces,
            NaN, zero size).
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"mesh {path} has an unknown format: use one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UserError(f"mesh {path} does not exist: check the path")
    mesh = load_obj(path) if suffix == ".obj" else _load_with_trimesh(path)
    mesh.check(str(path))
    if (up or ("y" if suffix in _Y_UP else "z")) == "y":
        mesh = _turned_up(mesh)
    return mesh


def _turned_up(mesh: Mesh) -> Mesh:
    """Turn y-up to z-up: (x, y, z) to (x, -z, y)."""
    vertices, normals = (
        None if a is None else np.stack([a[..., 0], -a[..., 2], a[..., 1]], axis=-1)
        for a in (mesh.vertices, mesh.corner_normals)
    )
    assert vertices is not None
    return Mesh(vertices, mesh.faces, mesh.face_material, mesh.materials, mesh.corner_uv, normals)


def _load_with_trimesh(path: Path) -> Mesh:
    try:
        source = _stl(path) if path.suffix.lower() == ".stl" else path
        kind = path.suffix.lower().lstrip(".")
        scene = trimesh.load_scene(source, file_type=kind, process=False, maintain_order=True)
        pieces = list(_pieces(scene, linear=path.suffix.lower() in (".glb", ".gltf")))
    except Exception as error:  # its parsers raise whatever a damaged file leads them to
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(
            f"mesh {path} cannot be read ({reason}): export it again or leave it out"
        ) from error
    if not pieces:
        raise UserError(f"mesh {path}: it has no faces; leave it out or export it with triangles")
    return _joined(pieces)


def _stl(path: Path) -> BytesIO:
    """The file for trimesh, which reads text in UTF-8 alone.

    Raises:
        ValueError: it is neither of the two forms of STL.
    """
    data = path.read_bytes()
    # binary: 80 bytes of anything, the number of triangles, 50 bytes for each
    if len(data) >= 84 and len(data) == 84 + 50 * int.from_bytes(data[80:84], "little"):
        return BytesIO(bytes(80) + data[80:])
    if not data.lstrip().lower().startswith(b"solid") or b"vertex" not in data.lower():
        raise ValueError("it is no STL, neither text nor binary of the size that it states")
    return BytesIO(data.decode(errors="replace").encode())


def _pieces(scene: trimesh.Scene, linear: bool) -> Iterator[Mesh]:
    """Yield the scene's triangle meshes, placed, each with one material."""
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        geometry = scene.geometry[name]
        if not isinstance(geometry, trimesh.Trimesh) or not len(geometry.faces):
            continue
        faces = np.asarray(geometry.faces)
        material, uv = _material(geometry.visual, faces, linear)
        turn, normals = transform[:3, :3], None
        if "vertex_normals" in geometry._cache:  # given in the file; the property would make them
            turned = np.asarray(geometry.vertex_normals) @ np.linalg.pinv(turn)
            normals = turned[faces].astype(np.float32)
        yield Mesh(
            (np.asarray(geometry.vertices) @ turn.T + transform[:3, 3]).astype(np.float32),
            faces.astype(np.int32),
            np.zeros(len(faces), np.int32),
            (material,),
            uv,
            normals,
        )


def _material(
    visual: Any, faces: NDArray[np.integer], linear: bool
) -> tuple[Material, NDArray[np.float32] | None]:
    """Read a trimesh visual; ``linear`` says that its vertex colours are linear light (glTF)."""
    if visual.kind == "face":
        return paint_corners(np.repeat(_unit(visual.face_colors)[:, None], 3, axis=1))
    if visual.kind == "vertex":
        colors = _unit(visual.vertex_colors)[faces]
        return paint_corners(_srgb(colors) if linear else colors)
    material = getattr(visual, "material", None)
    if material is None:
        return GREY, None
    if isinstance(material, trimesh.visual.material.SimpleMaterial):
        image = material.image
        factor = None if image else material.diffuse
    else:
        image, factor = material.baseColorTexture, material.baseColorFactor
    color = np.ones(3, np.float32) if factor is None else _unit(factor)
    if image is not None and visual.uv is not None:
        uv = np.asarray(visual.uv)[faces].astype(np.float32)  # v from below, as in OBJ
        return Material(color, texture_bytes(image)), uv
    tints = visual.vertex_attributes.get("color")
    if tints is not None:  # glTF: vertex colours times the material's
        return paint_corners(_srgb(_unit(tints)[faces] * color))
    return Material(color), None


def _unit(colors: Any) -> NDArray[np.float32]:
    """RGB of colours in [0, 1], from bytes or other whole numbers or already so."""
    values = np.asarray(colors)[..., :3]
    top = np.iinfo(values.dtype).max if np.issubdtype(values.dtype, np.integer) else 1
    return (values / top).astype(np.float32)


def _srgb(linear: NDArray[np.floating]) -> NDArray[np.floating]:
    """Encode linear light in [0, 1] (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def _joined(pieces: list[Mesh]) -> Mesh:
    """Join meshes; where only some have texture coordinates or normals, the others get zeros."""
    first = np.cumsum([0] + [len(piece.vertices) for piece in pieces])

    def corners(arrays: list[NDArray[np.float32] | None], width: int) -> NDArray[np.float32] | None:
        if all(array is None for array in arrays):
            return None
        return np.concatenate(
            [
                np.zeros((len(piece.faces), 3, width), np.float32) if array is None else array
                for array, piece in zip(arrays, pieces, strict=True)
            ]
        )

    return Mesh(
        vertices=np.concatenate([piece.vertices for piece in pieces]),
        faces=np.concatenate(
            [piece.faces + np.int32(n) for piece, n in zip(pieces, first, strict=False)]
        ),
        face_material=np.repeat(np.arange(len(pieces)), [len(p.faces) for p in pieces]).astype(
            np.int32
        ),
        materials=tuple(piece.materials[0] for piece in pieces),
        corner_uv=corners([piece.corner_uv for piece in pieces], 2),
        corner_normals=corners([piece.corner_normals for piece in pieces], 3),
    )
