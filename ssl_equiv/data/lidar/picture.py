"""Sweeps from above: points by height, boxes with their headings, flow as streaks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ssl_equiv.boxes import Boxes, box_corners

PALETTE = ("#4fa3ff", "#b48cff", "#7a6bff", "#ffb000", "#ff8f5e", "#3ddc84", "#ff5ea8", "#c8c8c8")
"""Colours of the classes, in turn."""
_GROUND, _LOW, _HIGH = (70, 74, 82), (96, 132, 150), (236, 222, 160)
_SUPER = 2  # drawn larger and made smaller: lines without steps


def birds_eye(
    points: np.ndarray,
    boxes: Boxes | None = None,
    predicted: Boxes | None = None,
    flow: np.ndarray | None = None,
    names: Sequence[str] = (),
    reach: float = 45.0,
    size: int = 640,
    title: str = "",
) -> Image.Image:
    """A square picture of a sweep, forward upwards.

    Args:
        points: ``(N, 3+)``, sensor's frame.
        boxes: Annotations, drawn as lines coloured by class; a tick shows the heading.
        predicted: Detections, drawn in white with their score.
        flow: ``(N, 3)``; streaks where points move more than 0.1 m otherwise than the median of
            all does, five times as long as the motion.
        names: Of the classes, for a legend.
        reach: Metres from the middle to a side.
        size: Pixels of a side.
        title: Written in a corner.
    """
    side, scale = size * _SUPER, size * _SUPER / (2 * reach)
    canvas = Image.new("RGB", (side, side), (18, 19, 22))
    draw = ImageDraw.Draw(canvas)

    def pixels(xy: np.ndarray) -> np.ndarray:
        found: np.ndarray = side / 2 + scale * np.stack((-xy[..., 1], -xy[..., 0]), axis=-1)
        return found

    for radius in range(10, int(reach) + 1, 10):
        r = radius * scale
        draw.ellipse([side / 2 - r] * 2 + [side / 2 + r] * 2, outline=(34, 36, 41))
    points = np.asarray(points)
    _scatter(canvas, pixels(points[:, :2]), points[:, 2])
    if flow is not None:
        _streaks(draw, points, np.asarray(flow), pixels)
    if boxes is not None:
        for label, corners in zip(boxes.labels.tolist(), _outlines(boxes), strict=True):
            _outline(draw, pixels(corners), PALETTE[label % len(PALETTE)], 2 * _SUPER)
    if predicted is not None:
        scores = [None] * len(predicted) if predicted.scores is None else predicted.scores.tolist()
        for score, corners in zip(scores, _outlines(predicted), strict=True):
            _outline(draw, pixels(corners), "#ffffff", _SUPER)
            if score is not None:
                place = tuple(pixels(corners[1]))
                draw.text(place, f"{score:.2f}", fill="#ffffff", font_size=10 * _SUPER)
    _write(draw, boxes, names, title)
    return canvas.resize((size, size), Image.Resampling.LANCZOS)


def _scatter(canvas: Image.Image, at: np.ndarray, height: np.ndarray) -> None:
    array = np.asarray(canvas).copy()
    low, high = np.percentile(height, (5, 98)) if len(height) else (0.0, 1.0)
    # the lowest are ground: dark; what stands on it goes from blue to yellow
    rise = np.clip((height - low - 0.4) / max(high - low - 0.4, 0.5), 0, 1)[:, None]
    colour = (1 - rise) * np.array(_LOW) + rise * np.array(_HIGH)
    colour[height < low + 0.4] = _GROUND
    order = np.argsort(height)  # the highest on top
    at, colour = at[order].astype(int), colour[order].astype(np.uint8)
    for dx in range(_SUPER):
        for dy in range(_SUPER):
            x, y = at[:, 0] + dx, at[:, 1] + dy
            inside = (x >= 0) & (y >= 0) & (x < array.shape[1]) & (y < array.shape[0])
            array[y[inside], x[inside]] = colour[inside]
    canvas.paste(Image.fromarray(array))


def _streaks(draw: ImageDraw.ImageDraw, points: np.ndarray, flow: np.ndarray, pixels) -> None:  # type: ignore[no-untyped-def]
    known = np.isfinite(flow).all(axis=1)
    points, flow = points[known, :3], flow[known]
    if len(flow) == 0:
        return
    # what stands still moves alike to the sensor: the rigid motion that fits best is left out
    own = flow - _rigid(points[:, :2], flow[:, :2])
    fast = np.hypot(own[:, 0], own[:, 1]) > 0.1
    start = pixels(points[fast][:, :2])
    end = pixels((points[fast] + 5 * own[fast])[:, :2])
    for a, b in zip(start.tolist(), end.tolist(), strict=True):
        draw.line([*a, *b], fill=(255, 92, 64), width=_SUPER)


def _rigid(xy: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The planar rigid motion that most points share, as flow ``(N, 3)``; z is zero."""
    weight = np.ones(len(xy))
    fitted = np.zeros_like(flow)
    for _ in range(5):  # reweighted least squares: movers lose their weight
        design = np.column_stack((xy, np.ones(len(xy))))
        weighted = design * weight[:, None]
        fitted = design @ np.linalg.lstsq(weighted, flow * weight[:, None], rcond=None)[0]
        weight = 1 / (0.05 + np.linalg.norm(flow - fitted, axis=1))
    return np.column_stack((fitted, np.zeros(len(xy))))


def _outlines(boxes: Boxes) -> np.ndarray:
    """Bottom corners ``(M, 4, 2)``."""
    found: np.ndarray = box_corners(boxes.values)[:, :4, :2].detach().cpu().numpy()
    return found


def _outline(draw: ImageDraw.ImageDraw, corners: np.ndarray, colour: str, width: int) -> None:
    ring = [tuple(corner) for corner in corners.tolist()]
    draw.line([*ring, ring[0]], fill=colour, width=width)
    front, middle = (corners[0] + corners[3]) / 2, corners.mean(axis=0)
    ahead = front + 0.3 * (front - middle)
    draw.line([*middle.tolist(), *ahead.tolist()], fill=colour, width=width)


def _write(
    draw: ImageDraw.ImageDraw, boxes: Boxes | None, names: Sequence[str], title: str
) -> None:
    y = 6 * _SUPER
    if title:
        draw.text((8 * _SUPER, y), title, fill="#ffffff", font_size=12 * _SUPER)
        y += 18 * _SUPER
    found = [] if boxes is None else sorted(set(boxes.labels.tolist()))
    for label in found if names else []:
        colour = PALETTE[label % len(PALETTE)]
        draw.text((8 * _SUPER, y), names[label], fill=colour, font_size=11 * _SUPER)
        y += 15 * _SUPER
