"""Files of points as plain numbers: ``.bin``, SemanticKITTI's ``.label``, ``.npy`` of flow."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_equiv.data.lidar.text import read_bytes
from ssl_equiv.errors import UserError
from ssl_equiv.files import load_array


def read_bin(path: Path, columns: int = 4, intensity_scale: float = 1.0) -> Tensor:
    """Points ``(N, 4)`` float32 of a file of float32 rows: x, y, z, intensity, and what follows.

    Args:
        path: The file.
        columns: Floats a point: 4 in KITTI's files, 5 in nuScenes'.
        intensity_scale: What the file's intensities are divided by; they are cut to [0, 1].

    Raises:
        UserError: the size is no multiple of a point's, there are no points, or a number is not
            finite.
    """
    data = read_bytes(path)
    if len(data) % (4 * columns):
        other = 9 - columns
        hint = (
            f"it may have {other} floats a point, as {'nuScenes' if other == 5 else 'KITTI'}"
            if len(data) % (4 * other) == 0
            else "it is cut short: copy it again"
        )
        raise UserError(
            f"{path} has {len(data)} bytes, no multiple of {4 * columns} ({columns} floats a "
            f"point): {hint}"
        )
    rows = np.frombuffer(data, "<f4").reshape(-1, columns)
    return checked(rows[:, :4].astype(np.float32), path, intensity_scale)


def checked(points: np.ndarray, path: Path | str, intensity_scale: float = 1.0) -> Tensor:
    """Points ``(N, 4)`` float32 in memory of their own, if there are some and all are finite.

    Raises:
        UserError: there are none, or a number is not finite, or farther than 10 km.
    """
    if len(points) == 0:
        raise UserError(f"{os.fspath(path)} has no points: leave the sweep out, or copy it again")
    bad = ~np.isfinite(points).all(axis=1)
    if bad.any():
        raise UserError(
            f"{os.fspath(path)} has {bad.sum()} points with NaN or infinite numbers, the first is "
            f"number {int(bad.argmax())}: remove them, or write the file again"
        )
    if np.abs(points[:, :3]).max() > 1e4:
        raise UserError(
            f"{os.fspath(path)} has points farther than 10 km: it does not hold x, y, z, intensity "
            "in metres; write it so"
        )
    found = torch.from_numpy(points)
    found[:, 3] = (found[:, 3] / intensity_scale).clamp(0, 1)
    return found


def read_labels(path: Path, num_points: int) -> tuple[np.ndarray, np.ndarray]:
    """SemanticKITTI's ``.label``: class ids and instances of each point, ``(N,)`` int64 each.

    Raises:
        UserError: it is missing, or for another number of points.
    """
    data = read_bytes(path)
    if len(data) != 4 * num_points:
        raise UserError(
            f"{path} has labels for {len(data) / 4:g} points, its sweep has {num_points}: they do "
            "not belong together; copy both again"
        )
    packed = np.frombuffer(data, "<u4")
    return (packed & 0xFFFF).astype(np.int64), (packed >> 16).astype(np.int64)


def read_flow(path: Path, num_points: int) -> Tensor:
    """Flow ``(N, 3)`` float32 of a ``.npy`` file.

    Raises:
        UserError: it is missing, or for another number of points.
    """
    flow = load_array(path)
    if flow.shape != (num_points, 3) or flow.dtype.kind != "f":
        raise UserError(
            f"{path} is {flow.dtype} {flow.shape}, flow of its sweep would be ({num_points}, 3) "
            "floats: they do not belong together; make it again"
        )
    return torch.from_numpy(flow.astype(np.float32))
