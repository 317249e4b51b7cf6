"""Latents as they are drawn: axes and lamp on a picture, numbers and hues below it."""

from __future__ import annotations

import colorsys
import functools
import math
import os

import numpy as np
from PIL import ImageDraw, ImageFont

from data_gen.recipe import Recipe
from data_gen.scene import Camera, rotation_matrix, spherical

Color = tuple[int, int, int]

PAPER: Color = (250, 250, 248)
INK: Color = (34, 36, 42)
FAINT: Color = (120, 124, 132)
AXES: tuple[Color, Color, Color] = ((226, 62, 62), (48, 160, 72), (64, 116, 240))
LINE = 19
"""Pixels from one line of small text to the next."""
SMOOTH = 3
"""Samples along a side of a pixel of what is drawn on a picture."""
_AXIS_LENGTH = 0.42  # of the diagonal of the object's bounding box


def draw_axes(
    draw: ImageDraw.ImageDraw, latents: np.ndarray, recipe: Recipe, camera: Camera, side: int
) -> None:
    """The object's axes at its centre, on a picture of ``side`` pixels."""
    rotation = rotation_matrix(latents[:3])
    centre = rotation @ latents[7:10] if recipe.translation is not None else np.zeros(3)
    tips = centre + _AXIS_LENGTH * rotation.T
    scale = side / camera.size
    (x0, y0), *ends = (camera.project(np.stack([centre, *tips])) * scale).tolist()
    width = 2.5 * SMOOTH
    font = font_of(13 * SMOOTH, bold=True)
    far_first = np.argsort(-((tips - camera.position) @ camera.forward))
    for axis in far_first.tolist():
        x, y = ends[axis]
        draw.line((x0, y0, x, y), (255, 255, 255, 200), round(width + 2 * SMOOTH))
        _arrow(draw, (x0, y0), (x, y), (255, 255, 255, 200), 7.5 * SMOOTH, SMOOTH)
        draw.line((x0, y0, x, y), AXES[axis], round(width))
        _arrow(draw, (x0, y0), (x, y), AXES[axis], 7.5 * SMOOTH, 0)
        length = math.hypot(x - x0, y - y0) or 1.0
        reach = 10 * SMOOTH / length if length > 1 else 0.0
        place = (x + (x - x0) * reach, y + (y - y0) * reach)
        draw.text(
            place,
            "xyz"[axis],
            AXES[axis],
            font,
            anchor="mm",
            stroke_width=2 * SMOOTH // 2,
            stroke_fill=(255, 255, 255),
        )
    r = 3 * SMOOTH
    draw.ellipse((x0 - r, y0 - r, x0 + r, y0 + r), (255, 255, 255), INK, SMOOTH)


def _arrow(
    draw: ImageDraw.ImageDraw,
    start: tuple[float, float],
    end: tuple[float, float],
    color: tuple[int, ...],
    size: float,
    border: float,
) -> None:
    """The head of an arrow; an axis that points at the camera has none."""
    (x0, y0), (x, y) = start, end
    length = math.hypot(x - x0, y - y0)
    if length < size:
        return
    dx, dy = (x - x0) / length, (y - y0) / length
    back, half = size + border, size / 2 + border
    x, y = x + dx * border, y + dy * border
    corners = [
        (x, y),
        (x - dx * back - dy * half, y - dy * back + dx * half),
        (x - dx * back + dy * half, y - dy * back - dx * half),
    ]
    draw.polygon(corners, color)


def draw_lamp(
    draw: ImageDraw.ImageDraw, latents: np.ndarray, recipe: Recipe, camera: Camera, side: int
) -> None:
    """A dial in the upper right corner, seen from above, the camera below it."""
    theta, phi = float(latents[4]), float(latents[5])
    r = 17 * SMOOTH
    cx, cy = side - r - 5 * SMOOTH, r + 5 * SMOOTH
    draw.ellipse((cx - r, cy - r, cx + r, cy + r), (20, 22, 28, 150), (255, 255, 255, 220), SMOOTH)
    away = np.cross([0.0, 0.0, 1.0], camera.right)  # horizontal, from the camera to the object
    direction = spherical(1.0, math.pi / 2, phi)
    share = theta / max(abs(bound) for bound in (*recipe.ranges[4], 1e-9))
    reach = (r - 5 * SMOOTH) * share
    x, y = cx + reach * float(direction @ camera.right), cy - reach * float(direction @ away)
    draw.line((cx, cy, x, y), (255, 255, 255, 220), round(1.5 * SMOOTH))
    dot = 4.5 * SMOOTH
    color = _hsv(latents[6], recipe.light_saturation, 1.0)
    draw.ellipse((x - dot, y - dot, x + dot, y + dot), color, (255, 255, 255), SMOOTH)


def draw_strip(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    latents: np.ndarray,
    recipe: Recipe,
    side: int,
) -> None:
    """What stands below a picture: angles, hues, lamp, translation."""
    x, y = place
    font = font_of(13)
    third = side / 3
    for axis, angle in enumerate(np.degrees(latents[:3]).tolist()):
        text = f"{'xyz'[axis]} {round(angle):+d}°".replace("-", "−")
        draw.text((x + third * axis, y), text, AXES[axis], font_of(13, bold=True))
    y += LINE
    for text, hue, saturation, value, left in (
        ("floor", latents[3], recipe.floor_saturation, recipe.floor_value, 0.0),
        ("light", latents[6], recipe.light_saturation, recipe.light_value, 0.27 * side),
    ):
        box = (x + left, y + 2, x + left + 13, y + 15)
        draw.rectangle(box, _hsv(hue, saturation, value), INK)
        draw.text((x + left + 18, y), text, INK, font)
    theta, phi = (round(math.degrees(float(angle))) for angle in latents[4:6])
    draw.text((x + 0.54 * side, y), f"θ {theta}°  φ {phi}°", INK, font)
    if recipe.translation is not None:
        moved = "  ".join(f"{value:+.2f}" for value in latents[7:10].tolist())
        draw.text((x, y + LINE), f"moved  {moved}".replace("-", "−"), INK, font)


def fitting(text: str, room: float, font: ImageFont.FreeTypeFont) -> str:
    """The text, cut where it does not fit."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"{text}…") > room:
        text = text[:-1]
    return f"{text}…"


def _hsv(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = colorsys.hsv_to_rgb(float(hue) % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


@functools.cache
def font_of(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(os.path.join(matplotlib.get_data_path(), "fonts", "ttf", name), size)
