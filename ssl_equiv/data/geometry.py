"""Depth, normals and masks of rendered views as PNG files that any reader of images opens.

==========  ===========================  =====================  ===============================
output      array                        PNG                    error of encoding and decoding
==========  ===========================  =====================  ===============================
depth       (H, W) float32, inf: nothing 16-bit, 0: nothing     half a unit (of 1e-4, mostly)
normals     (H, W, 3) float32, 0: nothing RGB, 128: nothing     at most 0.4 degrees, then unit
mask        (H, W) bool                  1-bit                  none
==========  ===========================  =====================  ===============================

Depth is along the camera's forward axis in scene units; its PNG names the unit of a grey level in
a text chunk, ``unit``. Normals are in the camera's frame (x right, y down, z forward): a component
n is the byte ``128 + 127 n``.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from ssl_equiv.errors import UserError

OUTPUTS = ("depth", "normals", "mask")
"""What a renderer can give besides the picture."""

_UNITS = tuple(10.0**exponent for exponent in range(-4, 7))
_LEVELS = 65535
_MODES = {"depth": ("I;16", "I;16B", "I"), "normals": ("RGB",), "mask": ("1",)}
_COMPRESSION = 1  # on rendered views a fifth faster than the default, and a tenth larger


def check_output(name: str) -> None:
    """Raise a ``UserError`` unless ``name`` is one of :data:`OUTPUTS`."""
    if name not in OUTPUTS:
        raise UserError(f"unknown output {name!r}: choose from {', '.join(OUTPUTS)}")


def encode(name: str, array: NDArray[Any]) -> bytes:
    """One view's output as PNG bytes.

    A depth beyond the largest grey level is stored as nothing. The unit is 1e-4 where that reaches
    the farthest depth or ten times the nearest, and else the least power of ten that does: only
    what lies ten times as far as the nearest point can be lost, such as floor at the horizon.

    Args:
        name: One of :data:`OUTPUTS`.
        array: ``(H, W)`` or, for normals, ``(H, W, 3)``, as in the module's table.

    Raises:
        UserError: the name is unknown.
        ValueError: the array has the wrong shape.
    """
    check_output(name)
    if array.ndim != (3 if name == "normals" else 2) or (name == "normals" and len(array.T) != 3):
        raise ValueError(f"{name} of shape {array.shape}: give (H, W), or (H, W, 3) for normals")
    text = PngImagePlugin.PngInfo()
    if name == "depth":
        levels, unit = _levels(np.asarray(array, np.float64))
        text.add_text("unit", f"{unit:g}")
        image = Image.fromarray(levels)
    elif name == "normals":
        image = Image.fromarray((np.clip(array, -1, 1) * 127 + 128.5).astype(np.uint8))
    else:
        image = Image.fromarray(np.asarray(array, np.bool_))
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=_COMPRESSION, pnginfo=text)
    return file.getvalue()


def decode(name: str, data: bytes, where: str) -> NDArray[Any]:
    """The array that :func:`encode` made into ``data``.

    Args:
        name: One of :data:`OUTPUTS`.
        data: PNG bytes.
        where: What an error message calls them.

    Raises:
        UserError: the name is unknown, or the bytes are damaged or of another output.
    """
    check_output(name)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.load()
            mode, unit = image.mode, float(image.info.get("unit", _UNITS[0]))
            values = np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{where}: its {name} PNG is damaged: copy or generate it again") from error
    if mode not in _MODES[name] or not unit > 0:
        raise UserError(f"{where} holds no {name} but a PNG of mode {mode}: generate it again")
    if name == "mask":
        return values
    if name == "depth":
        depth = (values * unit).astype(np.float32)
        depth[values == 0] = np.inf
        return depth
    normals = (values.astype(np.float32) - 128) / 127
    length = np.sqrt((normals * normals).sum(axis=2, keepdims=True))
    unit_normals: NDArray[Any] = normals / np.maximum(length, np.float32(1e-6))
    return unit_normals


def _levels(depth: NDArray[np.float64]) -> tuple[NDArray[np.uint16], float]:
    """Grey levels, and the depth of one."""
    known = np.isfinite(depth) & (depth > 0)
    if not known.any():
        return np.zeros(depth.shape, np.uint16), _UNITS[0]
    reach = min(float(depth[known].max()), 10 * float(depth[known].min()))
    unit = next((unit for unit in _UNITS if reach <= _LEVELS * unit), _UNITS[-1])
    levels = np.maximum(np.rint(np.where(known, depth, 0) / unit), known)
    return np.where(levels <= _LEVELS, levels, 0).astype(np.uint16), unit
