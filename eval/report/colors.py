"""Colours that say what they are to say to those who see few of them, on light and on dark."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, ListedColormap, to_hex

# after Okabe and Ito (2008), darker on light and lighter on dark: 3:1 against either page
LIGHT = ("#0072b2", "#d55e00", "#00835f", "#b3548c", "#8a6d00", "#2a8fc7", "#6d4bb8", "#6b6b6b")
_MIDDLE = ("#3a87c8", "#e07020", "#129e78", "#cf6fa6", "#c29a10", "#55b5e5", "#8f74d8", "#8c8c8c")
DARK = ("#5aaef0", "#f58a4b", "#35c79d", "#e39cc6", "#e3bb3f", "#9bd8fa", "#b8a0f2", "#b0b0b0")


def _cyclic() -> ListedColormap:
    """A circle in CIELAB, tilted: equal steps of an angle are equal steps of colour.

    Lightness goes along with it (48 to 76), so that half the circle is told from the other half
    without colour too; neither end vanishes on a white page or a black one.
    """
    angle = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    lightness = 62 + 14 * np.cos(angle)
    return ListedColormap(_from_lab(lightness, 46 * np.cos(angle), 46 * np.sin(angle)), "angle")


def _from_lab(lightness: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """sRGB ``(n, 3)`` in [0, 1] of CIELAB colours, white point D65 (IEC 61966-2-1)."""
    y = (lightness + 16) / 116
    f = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    cubed = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    xyz = cubed * np.array([0.95047, 1.0, 1.08883])
    matrix = np.array(
        [
            [3.2404542, -1.5371385, -0.4985314],
            [-0.9692660, 1.8760108, 0.0415560],
            [0.0556434, -0.2040259, 1.0572252],
        ]
    )
    linear = np.clip(xyz @ matrix.T, 0, 1)
    return np.asarray(
        np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    )


ANGLE: Colormap = _cyclic()
VALUE: Colormap = colormaps["viridis"]


def classes(count: int) -> list[str]:
    """Colours of classes, seen on light and on dark: hues, then the same hues lighter."""
    middle = (
        "#3a87c8",
        "#e07020",
        "#129e78",
        "#cf6fa6",
        "#c29a10",
        "#55b5e5",
        "#8f74d8",
        "#8c8c8c",
    )
    if count <= len(middle):
        return list(middle[:count])
    number = np.arange(count)
    hue = 2 * np.pi * (number // 2) / -(-count // 2)
    lightness = np.where(number % 2, 74.0, 52.0)
    chroma = np.where(number % 2, 40.0, 55.0)
    return [to_hex(c) for c in _from_lab(lightness, chroma * np.cos(hue), chroma * np.sin(hue))]


def gradient(colors: Colormap) -> str:
    """A colour map as a CSS gradient from left to right."""
    stops = ", ".join(to_hex(colors(level)) for level in np.linspace(0, 1, 13))
    return f"linear-gradient(to right, {stops})"
