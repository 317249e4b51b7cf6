"""Colour: HSV as Blender reads it (linear), and tables between linear light and bytes."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

from data_gen.render.filmic import BRIGHTEST, filmic

TABLE_STEPS = 16383
"""Steps of a display table to a unit of linear light: a step is less than half a byte. A table
ends where its curve is white; light x shows as entry ``min(x * TABLE_STEPS, len(table) - 1)``."""


def hsv(hue: float, saturation: float, value: float) -> NDArray[np.float32]:
    """Linear RGB ``(3,)`` of an HSV colour; the hue is a circle of length 1."""
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value), np.float32)


def srgb_to_linear(value: NDArray[np.floating]) -> NDArray[np.floating]:
    """Linear light of sRGB values in [0, 1] (IEC 61966-2-1)."""
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(value: NDArray[np.floating]) -> NDArray[np.floating]:
    """sRGB values in [0, 1] of linear light, clipped to [0, 1] (IEC 61966-2-1)."""
    value = np.clip(value, 0.0, 1.0)
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)


def display_table(view: str = "standard") -> NDArray[np.float32]:
    """``(N,)`` float32: display values in [0, 255] of linear light ``i / TABLE_STEPS``.

    Args:
        view: A recipe's: ``standard``, plain sRGB, is white from 1 on, ``filmic`` from 16 on.
    """
    curve, end = {"standard": (linear_to_srgb, 1.0), "filmic": (filmic, BRIGHTEST)}[view]
    light = np.linspace(0.0, end, round(end * TABLE_STEPS) + 1)
    return (curve(light) * 255).astype(np.float32)


def texel_table() -> NDArray[np.float32]:
    """``(256,)`` float32: the linear light of an sRGB byte."""
    return srgb_to_linear(np.arange(256) / 255).astype(np.float32)
