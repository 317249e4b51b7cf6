"""``.ply`` and ``.pcd`` files of points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import njit
from torch import Tensor

from ssl_equiv.data.lidar.files import checked
from ssl_equiv.data.lidar.text import read_bytes
from ssl_equiv.errors import UserError

_PLY_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2"},
    **{"uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"},
}
_INTENSITY = ("intensity", "reflectance", "reflectivity", "i", "scalar_intensity", "remission")
_BIG, _LITTLE = ">", "<"


def read_cloud(path: Path, intensity_scale: float = 1.0) -> Tensor:
    """Points ``(N, 4)`` float32 of a ``.ply`` or ``.pcd`` file: x, y, z, intensity in [0, 1].

    The intensity is the first property of a name such as ``intensity``; without one it is 0.
    Points of a ``.pcd`` without coordinates (NaN: no return) are left out.

    Raises:
        UserError: the file is damaged, of an unknown kind, or holds no points.
    """
    data = read_bytes(path)
    try:
        rows = _ply(data, path) if path.suffix == ".ply" else _pcd(data, path)
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged or cut short ({reason}): copy it again") from error
    names = rows.dtype.names or ()
    if missing := [axis for axis in "xyz" if axis not in names]:
        raise UserError(f"{path} has no {missing[0]} (it has {', '.join(names)}): write x, y, z")
    bright = next((name for name in names if name.lower() in _INTENSITY), None)
    points = np.zeros((len(rows), 4), np.float32)
    for column, name in enumerate((*"xyz", bright)):
        if name is not None:
            points[:, column] = rows[name]
    if path.suffix == ".pcd":
        points = points[~np.isnan(points[:, :3]).any(axis=1)]
    return checked(points, path, intensity_scale)


def _ply(data: bytes, path: Path) -> np.ndarray:
    """The vertices, as rows with named properties."""
    head, mark, body = data.partition(b"end_header")
    if not data.startswith(b"ply") or not mark:
        raise ValueError("no header of a PLY file")
    body = body[body.index(b"\n") + 1 :]
    layout, fields, count, element = "", list[tuple[str, str]](), 0, ""
    for line in head.decode().splitlines():
        word, *rest = line.split() or [""]
        if word == "format":
            layout = rest[0]
        elif word == "element":
            if element == "" and rest[0] != "vertex":
                raise UserError(f"{path} lists {rest[0]} before its points: write points first")
            element = rest[0]
            count = int(rest[1]) if element == "vertex" else count
        elif word == "property" and element == "vertex":
            if rest[0] == "list":
                raise UserError(f"{path}: points with lists are not read: write plain properties")
            fields.append((rest[1], _PLY_TYPES[rest[0]]))
    if layout == "ascii":
        return _table(body.decode().split("\n")[:count], fields, count)
    order = _BIG if layout == "binary_big_endian" else _LITTLE
    kind = np.dtype([(name, order + code) for name, code in fields])
    return np.frombuffer(body, kind, count)


def _pcd(data: bytes, path: Path) -> np.ndarray:
    """The points, as rows with named fields."""
    head = dict[str, list[str]]()
    start = 0
    while "DATA" not in head:
        end = data.index(b"\n", start)
        key, *rest = data[start:end].decode().split() or [""]
        head[key.upper()] = rest
        start = end + 1
    names, count = head["FIELDS"], int(head["POINTS"][0])
    repeats = [int(word) for word in head.get("COUNT", ["1"] * len(names))]
    codes = [_pcd_code(t, s) for t, s in zip(head["TYPE"], head["SIZE"], strict=True)]
    fields = [
        (name if repeat == 1 else f"{name}_{k}", code)
        for name, code, repeat in zip(names, codes, repeats, strict=True)
        for k in range(repeat)
    ]
    fields = [(f"_{k}" if name.startswith("_") else name, c) for k, (name, c) in enumerate(fields)]
    kind = np.dtype([(name, _LITTLE + code) for name, code in fields])
    body, layout = data[start:], head["DATA"][0]
    if layout == "ascii":
        return _table(body.decode().split("\n")[:count], fields, count)
    if layout == "binary":
        return np.frombuffer(body, kind, count)
    if layout != "binary_compressed":
        raise UserError(f"{path} is {layout!r}: write it as ascii, binary or binary_compressed")
    small, large = np.frombuffer(body, "<u4", 2).tolist()
    packed = np.frombuffer(body, np.uint8, small, offset=8)
    plain = np.zeros(large, np.uint8)
    if lzf(packed, plain) != large or large != count * kind.itemsize:
        raise ValueError("its compressed data do not have the size that they should")
    rows, at = np.zeros(count, kind), 0
    for name in kind.names or ():  # column after column
        width = kind[name].itemsize * count
        rows[name] = plain[at : at + width].view(kind[name])
        at += width
    return rows


def _pcd_code(kind: str, size: str) -> str:
    return {"F": "f", "I": "i", "U": "u"}[kind.upper()] + str(int(size))


def _table(lines: list[str], fields: list[tuple[str, str]], count: int) -> np.ndarray:
    """Rows of text as rows with named fields."""
    table = np.array([line.split()[: len(fields)] for line in lines], np.float64)
    if table.shape != (count, len(fields)):
        raise ValueError(f"{count} points with {len(fields)} numbers each were announced")
    rows = np.zeros(count, np.dtype([(name, "f8") for name, _ in fields]))
    for column, (name, _) in enumerate(fields):
        rows[name] = table[:, column]
    return rows


@njit(cache=True)
def lzf(packed: np.ndarray, plain: np.ndarray) -> int:
    """Decompress LZF bytes into ``plain``; the number of bytes written, -1 if they do not fit.

    A control byte below 32 announces so many literals and one; another a copy of bytes that were
    written before: 3 bits of length (7: a byte more), 13 bits of distance.
    """
    at = out = 0
    while at < len(packed):
        control = int(packed[at])
        at += 1
        if control < 32:
            length = control + 1
            if at + length > len(packed) or out + length > len(plain):
                return -1
            plain[out : out + length] = packed[at : at + length]
            at += length
        else:
            length = control >> 5
            if length == 7:
                if at >= len(packed):
                    return -1
                length += int(packed[at])
                at += 1
            if at >= len(packed):
                return -1
            source = out - ((control & 31) << 8) - int(packed[at]) - 1
            at += 1
            length += 2
            if source < 0 or out + length > len(plain):
                return -1
            for k in range(length):  # it may overlap what it writes
                plain[out + k] = plain[source + k]
        out += length
    return out
