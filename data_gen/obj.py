"""Wavefront OBJ files.

trimesh reads OBJ too, but loses what matters here: it passes over missing textures in silence,
takes relative indices for absolute ones, keeps one material library, rounds colours to bytes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_gen.mesh import Mesh
from data_gen.mtl import load_materials
from data_gen.textures import paint_corners
from ssl_equiv.errors import UserError

_NEWLINE, _SPACE, _HASH, _SLASH = b"\n #/"


def load_obj(path: Path) -> Mesh:
    """Read an OBJ file with its materials, in the axes of the file.

    Polygons become fans of triangles. Corners without ``vn`` are shaded flat. Of materials only
    ``Kd`` and ``map_Kd`` count; a texture that is missing or unreadable leaves the plain ``Kd``
    and gives one warning a file. Vertex colours (sRGB, after the coordinates) count where the
    file uses no material.

    Raises:
        UserError: The file cannot be read, or is not consistent.
    """
    try:
        lines = _Lines(path.read_bytes())
        return _build(lines, path)
    except OSError as error:
        raise UserError(f"mesh {path} cannot be read ({error.strerror}): check the path") from error
    except (ValueError, IndexError) as error:
        raise UserError(
            f"mesh {path} is not a sound OBJ file ({error}): export it again or leave it out"
        ) from error


class _Lines:
    """The lines of an OBJ file by statement, found without a loop over them.

    Attributes:
        v, vt, vn, f: Numbers of the lines of these statements, ascending.
        usemtl, mtllib: (line number, argument) of these.
    """

    def __init__(self, data: bytes):
        for old, new in ((b"\r\n", b"\n"), (b"\r", b"\n"), (b"\\\n", b"  "), (b"\t", b" ")):
            if old in data:
                data = data.replace(old, new)
        if b"\n " in data or data[:1] == b" ":
            data = b"\n".join(line.lstrip() for line in data.split(b"\n"))
        self._data = data = data + b"\n  "  # every line has three bytes that can be looked at
        text = np.frombuffer(data, np.uint8)
        self._end = np.flatnonzero(text == _NEWLINE)
        self._start = np.concatenate([[0], self._end[:-1] + 1])
        first, second, third = (text[self._start + i] for i in range(3))
        spaced = third == _SPACE
        self.v = np.flatnonzero((first == ord("v")) & (second == _SPACE))
        self.vt = np.flatnonzero((first == ord("v")) & (second == ord("t")) & spaced)
        self.vn = np.flatnonzero((first == ord("v")) & (second == ord("n")) & spaced)
        self.f = np.flatnonzero((first == ord("f")) & (second == _SPACE))
        self.usemtl = self._arguments(b"usemtl ", (first == ord("u")) & (second == ord("s")))
        self.mtllib = self._arguments(b"mtllib ", (first == ord("m")) & (second == ord("t")))

    def _arguments(self, key: bytes, candidates: NDArray[np.bool_]) -> list[tuple[int, str]]:
        found = []
        for line in np.flatnonzero(candidates):
            text = self._data[self._start[line] : self._end[line]]
            if text.startswith(key):
                found.append((int(line), text[len(key) :].decode(errors="replace").strip()))
        return found

    def text(self, lines: NDArray[np.int64], key: bytes) -> bytes:
        """Return these lines, all of one statement, without their key and comments."""
        last = np.flatnonzero(np.diff(lines, append=-1) != 1)  # of each run of such lines
        first = np.concatenate([[0], last[:-1] + 1])
        runs = zip(self._start[lines[first]], self._end[lines[last]], strict=True)
        text = b"\n" + b"\n".join(self._data[start:end] for start, end in runs)
        if _HASH in text:
            text = b"\n".join(line.partition(b"#")[0] for line in text.split(b"\n"))
        return text.replace(b"\n" + key, b"\n" + b" " * len(key))


def _build(lines: _Lines, path: Path) -> Mesh:
    if not len(lines.v):
        raise ValueError("it has no vertices")
    points = _rows(lines, lines.v, b"v ", 3)
    uvs, normals = _rows(lines, lines.vt, b"vt ", 2), _rows(lines, lines.vn, b"vn ", 3)
    corners, face = _corners(lines)
    of_v, of_vt, of_vn = np.moveaxis(corners, -1, 0)

    names, face_material = _material_of_faces(lines, face)
    libraries = [name for _, name in lines.mtllib]
    materials = load_materials(path, libraries, names, textured=len(uvs) > 0)
    corner_uv = None
    if any(material.texture is not None for material in materials):
        corner_uv = np.where(of_vt[..., None] >= 0, uvs[of_vt], 0).astype(np.float32)
    elif points.shape[1] >= 6 and not lines.usemtl and len(face):
        colors = points[of_v, 3:6]
        paint, corner_uv = paint_corners(colors / (255 if colors.max() > 1 else 1))
        materials = (paint,)
    corner_normals = None
    if (of_vn >= 0).any():
        # a zero normal means flat shading
        corner_normals = np.where(of_vn[..., None] >= 0, normals[of_vn], 0).astype(np.float32)
    return Mesh(
        vertices=points[:, :3].astype(np.float32),
        faces=of_v.astype(np.int32),
        face_material=face_material.astype(np.int32),
        materials=materials,
        corner_uv=corner_uv,
        corner_normals=corner_normals,
    )


def _tokens(text: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the words of a text start, and how many each line (after its newline) has."""
    codes = np.frombuffer(text, np.uint8)
    ink = codes > _SPACE
    starts = np.flatnonzero(ink[1:] & ~ink[:-1]) + 1  # a text begins with a newline
    lines = np.flatnonzero(codes == _NEWLINE)
    return starts, np.diff(np.searchsorted(starts, lines), append=len(starts))


def _rows(lines: _Lines, of: NDArray[np.int64], key: bytes, columns: int) -> NDArray[np.float64]:
    """Parse rows of numbers ``(N, columns)``, vertices with colours ``(N, 6 or more)``."""
    if not len(of):
        return np.zeros((0, columns))
    text = lines.text(of, key)
    _, counts = _tokens(text)
    width = int(counts[0])
    if width >= columns and (counts == width).all():
        values = np.fromstring(text, sep=" ").reshape(-1, width)
        return values if key == b"v " else values[:, :columns]
    rows = [row.split()[:columns] for row in text.split(b"\n")[1:]]
    if key == b"vt ":
        rows = [[*row, b"0"][:2] for row in rows]  # v may be left out
    if any(len(row) < columns for row in rows):
        raise ValueError(f"a line '{key.decode()}...' has fewer than {columns} numbers")
    return np.array([[float(value) for value in row] for row in rows])


def _corners(lines: _Lines) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Triangulate: ``(T, 3, 3)`` indices of v, vt, vn (-1: none), ``(T,)`` line of the face."""
    if not len(lines.f):
        return np.zeros((0, 3, 3), np.int64), np.zeros(0, np.int64)
    text = lines.text(lines.f, b"f ")
    starts, sizes = _tokens(text)
    refs = _references(text, starts)
    statements = (lines.v, lines.vt, lines.vn)
    negative = refs < 0
    if negative.any():  # -1 is the last one before the face
        before = np.stack([np.searchsorted(which, lines.f) for which in statements], axis=-1)
        refs = np.where(negative, refs + np.repeat(before, sizes, axis=0), refs - 1)
        lost = bool((negative & (refs < 0)).any())
    else:
        refs -= 1
        lost = False
    if lost or refs[:, 0].min() < 0 or (refs >= [len(which) for which in statements]).any():
        raise ValueError("a face names a vertex, texture coordinate or normal that is not there")

    if (sizes == 3).all():
        return refs.reshape(-1, 3, 3), lines.f
    triangles = np.maximum(sizes - 2, 0)
    face = np.repeat(np.arange(len(sizes)), triangles)
    step = np.arange(len(face)) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    first = (np.cumsum(sizes) - sizes)[face]
    return refs[np.stack([first, first + step + 1, first + step + 2], axis=-1)], lines.f[face]


def _references(text: bytes, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Parse corners ``v``, ``v/vt``, ``v//vn``, ``v/vt/vn`` to ``(N, 3)``; 0 where absent."""
    codes, count = np.frombuffer(text, np.uint8), len(starts)
    slashes = np.flatnonzero(codes == _SLASH)
    of_corner = np.bincount(np.searchsorted(starts, slashes, side="right") - 1, minlength=count)
    empty = int((np.diff(slashes) == 1).sum())
    each = int(of_corner[0])
    columns = {(0, 0): [0], (1, 0): [0, 1], (2, count): [0, 2], (2, 0): [0, 1, 2]}.get(
        (each, empty)
    )
    if columns is not None and (of_corner == each).all():
        values = np.fromstring(text.replace(b"/", b" "), dtype=np.int64, sep=" ")
        if len(values) == count * len(columns):
            refs = np.zeros((count, 3), np.int64)
            refs[:, columns] = values.reshape(count, len(columns))
            return refs
    parts = [[*corner.split(b"/"), b"", b""][:3] for corner in text.split()]
    return np.array([[int(part or 0) for part in row] for row in parts])


def _material_of_faces(
    lines: _Lines, face: NDArray[np.int64]
) -> tuple[list[str | None], NDArray[np.int64]]:
    """Names of the materials in use, and each triangle's index among them."""
    names: list[str | None] = list(dict.fromkeys([None, *(name for _, name in lines.usemtl)]))
    place = {name: index for index, name in enumerate(names)}
    changes = np.array([-1, *(line for line, _ in lines.usemtl)])
    active = np.array([0, *(place[name] for _, name in lines.usemtl)])
    used, of_face = np.unique(
        active[np.searchsorted(changes, face, side="right") - 1], return_inverse=True
    )
    return [names[i] for i in used] or [None], of_face
