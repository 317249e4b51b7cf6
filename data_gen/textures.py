"""Textures: images read to sRGB bytes, and vertex colours written as textures."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_gen.mesh import Material

MAX_SIZE = 2048
"""Longer sides are scaled down to this: views of 256 px show no more, and memory stays bounded."""


def texture_bytes(image: Image.Image) -> NDArray[np.uint8]:
    """Return an image as ``(H, W, 3)`` uint8 sRGB, row 0 at the top; transparency is dropped."""
    if max(image.size) > MAX_SIZE:
        image = image.copy()
        image.thumbnail((MAX_SIZE, MAX_SIZE))
    return np.array(image.convert("RGB"))


def read_texture(path: Path) -> NDArray[np.uint8]:
    """Read an image file as ``texture_bytes``; raises ``OSError`` where that cannot be done."""
    try:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            return texture_bytes(image)
    except OSError:
        raise
    except Exception as error:  # damaged files make Pillow raise SyntaxError, struct.error, ...
        raise OSError(f"not a readable image ({error})") from error


def paint_corners(colors: NDArray[np.floating]) -> tuple[Material, NDArray[np.float32]]:
    """Make a texture of colours given at the corners of faces.

    Each face gets a block of 2x2 texels whose bilinear interpolation is the linear one of its
    three corners, so a renderer needs no vertex colours.

    Args:
        colors: ``(F, 3, 3)`` sRGB in [0, 1] of each face's corners.

    Returns:
        The material and ``(F, 3, 2)`` texture coordinates.
    """
    count = len(colors)
    columns = math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    a, b, c = np.moveaxis(np.clip(colors, 0, 1), 1, 0)
    blocks = np.zeros((rows * columns, 2, 2, 3), np.float32)
    blocks[:count, 0, 0], blocks[:count, 0, 1], blocks[:count, 1, 0] = a, b, c
    blocks[:count, 1, 1] = np.clip(b + c - a, 0, 1)
    blocks[count:] = blocks[:count].mean(axis=(0, 1, 2))
    image = blocks.reshape(rows, columns, 2, 2, 3).swapaxes(1, 2).reshape(2 * rows, 2 * columns, 3)

    row, column = np.divmod(np.arange(count), columns)
    corner = np.array([(0.5, 0.5), (1.5, 0.5), (0.5, 1.5)])  # texel centres, x to the right, y down
    uv = np.stack([column, row], axis=-1)[:, None] * 2 + corner
    uv /= (2 * columns, 2 * rows)
    uv[..., 1] = 1 - uv[..., 1]
    texture = np.round(image * 255).astype(np.uint8)
    return Material(np.ones(3, np.float32), texture), uv.astype(np.float32)
