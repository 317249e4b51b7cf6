"""A contact sheet of a data set that is not rendered yet: what hours of rendering would give.

The pictures are views of the data set itself, byte for byte, with their latents drawn on them; the
header tells the recipe's ranges and what the whole set would cost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from data_gen.overlay import (
    AXES,
    FAINT,
    INK,
    LINE,
    PAPER,
    SMOOTH,
    draw_axes,
    draw_lamp,
    draw_strip,
    fitting,
    font_of,
)
from data_gen.recipe import Recipe
from data_gen.scene import Camera
from data_gen.sources import ObjectSource
from data_gen.work import Job, ObjectRenderer, RenderedObject, failure
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write

_SIDE = 224  # pixels at which pictures are shown, about
_NAMES = 132  # pixels of the column of names
_GAP = 10
_TITLE, _HEADER_LINE = 50, 23


@dataclass(frozen=True)
class Cost:
    """What rendering takes, measured on some objects.

    Attributes:
        per_object: Seconds to load and prepare an object, in one process.
        per_view: Seconds to render and encode a view, in one process.
        view_bytes: Mean bytes of an encoded picture.
    """

    per_object: float
    per_view: float
    view_bytes: float

    def seconds(self, objects: int, views: int) -> float:
        """Seconds for a whole data set in one process."""
        return objects * (self.per_object + views * self.per_view)


def contact_sheet(
    source: ObjectSource,
    recipe: Recipe,
    seed: int = 0,
    num_objects: int = 8,
    num_views: int = 6,
    renderer: str = "embree",
) -> Image.Image:
    """Some views of some objects, each with its latents drawn on it.

    Objects and views are spread evenly over the data set. On a picture stand the object's axes at
    its centre (x red, y green, z blue) and, in a dial seen from above with the camera below, where
    the lamp stands; below it the Euler angles, the hues of floor and lamp, and the translation.

    Args:
        source: Objects.
        recipe: Scene and distributions.
        seed: Seed of the data set, which fixes the views.
        num_objects: Rows, at most.
        num_views: Columns, at most.
        renderer: What renders them: ``embree`` or ``cycles``.

    Raises:
        UserError: there is nothing to show, or the renderer cannot be had.
    """
    if num_objects < 1 or num_views < 1:
        raise UserError("preview: show at least one object and one view")
    if len(source) == 0:
        raise UserError("preview: there are no objects")
    views = _spread(recipe.num_views, num_views)
    indices = _spread(len(source), num_objects)
    objects, cost = _render(Job(source, recipe, seed, renderer), indices, views)
    side = _shown_side(recipe.image_size)
    strip = LINE * (3 if recipe.translation is not None else 2) + 4
    width = max(_NAMES + (side + _GAP) * len(views) + _GAP, 900)
    header = _header(source, recipe, seed, len(indices), len(views), cost)
    top = _TITLE + _HEADER_LINE * len(header) + _GAP
    height = top + (side + strip + _GAP) * len(indices) + _GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 12), "Preview", INK, font_of(26, bold=True))
    for number, (what, told) in enumerate(header):
        y = _TITLE + _HEADER_LINE * number
        draw.text((_GAP, y), what, FAINT, font_of(15))
        draw.text((_NAMES, y), told, INK, font_of(15))
    camera = Camera.of(recipe)
    for row, item in enumerate(objects):
        y = top + (side + strip + _GAP) * row
        _draw_name(draw, (_GAP, y), *item.name.split("/", 1))
        if item.failed is not None:
            draw.text(
                (_NAMES, y), fitting(item.failed, width - _NAMES, font_of(13)), AXES[0], font_of(13)
            )
        for column, (data, latents) in enumerate(zip(item.images, item.latents, strict=True)):
            x = _NAMES + (side + _GAP) * column
            sheet.paste(_picture(data, latents, recipe, camera, side), (x, y))
            draw_strip(draw, (x, y + side + 4), latents, recipe, side)
    return sheet


def write_preview(
    path: str | os.PathLike[str],
    source: ObjectSource,
    recipe: Recipe,
    seed: int = 0,
    num_objects: int = 8,
    num_views: int = 6,
    renderer: str = "embree",
) -> None:
    """Write :func:`contact_sheet` as PNG, whole or not at all.

    Raises:
        UserError: as :func:`contact_sheet`, or ``path`` is no ``.png`` or cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise UserError(f"preview: {os.fspath(path)} should end in .png")
    sheet = contact_sheet(source, recipe, seed, num_objects, num_views, renderer)
    with atomic_write(path) as file:
        sheet.save(file, "PNG")


def _spread(total: int, count: int) -> list[int]:
    """At most ``count`` of ``range(total)``, evenly spread, the first and the last among them."""
    return sorted(set(np.linspace(0, total - 1, min(total, count)).round().astype(int).tolist()))


def _render(
    job: Job, indices: Sequence[int], views: Sequence[int]
) -> tuple[list[RenderedObject], Cost | None]:
    """The objects, and their cost, which is unknown where all of them fail."""
    start = ObjectRenderer(job)
    start.warm()
    objects, ones, alls, sizes = [], 0.0, 0.0, []
    for index in indices:
        try:
            times = [time.perf_counter()]
            start.render(index, views[:1])  # tells the share of loading and preparing
            times.append(time.perf_counter())
            objects.append(start.render(index, views))
            times.append(time.perf_counter())
        except Exception as error:  # a loader's or a renderer's own, as when generating
            objects.append(failure(job, index, str(error) or type(error).__name__))
            continue
        ones += times[1] - times[0]
        alls += times[2] - times[1]
        sizes += [len(image) for image in objects[-1].images]
    if not sizes:
        return objects, None
    drawn = len(sizes) / len(views)
    per_view = alls / len(sizes)
    if len(views) > 1:
        per_view = min(max((alls - ones) / (drawn * (len(views) - 1)), 0.1 * per_view), per_view)
    per_object = max(alls / drawn - len(views) * per_view, 0.0)
    return objects, Cost(per_object, per_view, float(np.mean(sizes)))


def _header(
    source: ObjectSource, recipe: Recipe, seed: int, rows: int, columns: int, cost: Cost | None
) -> list[tuple[str, str]]:
    total = len(source) * recipe.num_views
    low_high = dict(zip(recipe.columns, recipe.ranges, strict=True))

    def angles(*names: str) -> str:
        low, high = zip(*(np.degrees(low_high[n]).round().tolist() for n in names), strict=True)
        return _ranges(list(zip(names, low, high, strict=True)), "°")

    def numbers(*names: str) -> str:
        return _ranges([(n, *low_high[n]) for n in names], "")

    axes = ("x", "y", "z")
    rotation = angles(*(f"rotation_{axis}" for axis in axes))
    if recipe.rotation.columns is None:
        rotation += ", drawn jointly"
    if recipe.translation is not None:
        rotation += f"      translation {numbers(*(f'translation_{axis}' for axis in axes))}"
    lines = [
        (
            "shown",
            f"{rows} of {len(source):,} objects, {columns} of {recipe.num_views} views, "
            f"{recipe.image_size} × {recipe.image_size} px, seed {seed}",
        ),
        ("rotation", rotation),
        (
            "light",
            f"polar angle θ {angles('light_theta')}, azimuth φ {angles('light_phi')}, "
            f"hue {numbers('light_hue')}      floor hue {numbers('floor_hue')}",
        ),
    ]
    if recipe.grid is not None:
        lines.append(("grid", ", ".join(map(str, recipe.grid))))
    if recipe.trajectory is not None:
        lines.append(("path", ", ".join(recipe.path_columns)))
    if cost is None:
        return [*lines, ("whole set", "all objects shown have failed")]
    cores = len(os.sched_getaffinity(0))
    seconds = cost.seconds(len(source), recipe.num_views)
    rate = total / seconds
    lines.append(
        (
            "whole set",
            f"{total:,} pictures: about {_duration(seconds / cores)} on the {cores} cores here "
            f"({_duration(seconds)} in one process, {rate:.0f} pictures/s), about "
            f"{_size(total * cost.view_bytes)} ({cost.view_bytes / 1e3:.1f} kB a picture)",
        )
    )
    return lines


def _ranges(items: Sequence[tuple[str, float, float]], unit: str) -> str:
    """Ranges of columns; those of several axes are told once where they are alike."""
    several = len(items) > 1
    if several and len({item[1:] for item in items}) == 1:
        items = [("x, y, z", *items[0][1:])]
    told = []
    for name, low, high in items:
        text = f"{_number(low)}{unit}" if low == high else f"{_number(low)} … {_number(high)}{unit}"
        told.append(f"{name.rpartition('_')[2]} {text}" if several else text)
    return ",  ".join(told)


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _size(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def _shown_side(size: int) -> int:
    """Pixels at which a picture is shown: a whole multiple of its own where one is near."""
    multiple = size * max(1, round(_SIDE / size))
    return multiple if 0.85 * _SIDE <= multiple <= 1.3 * _SIDE else _SIDE


def _picture(
    data: bytes, latents: np.ndarray, recipe: Recipe, camera: Camera, side: int
) -> Image.Image:
    """A view at its size on the sheet, with axes and lamp."""
    with Image.open(BytesIO(data)) as encoded:
        image = encoded.convert("RGB")
    whole = side % image.width == 0
    image = image.resize(
        (side, side), Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS
    )
    overlay = Image.new("RGBA", (side * SMOOTH,) * 2, (0, 0, 0, 0))
    draw = ImageDraw.Draw(overlay)
    draw_axes(draw, latents, recipe, camera, side * SMOOTH)
    draw_lamp(draw, latents, recipe, camera, side * SMOOTH)
    overlay = overlay.resize((side, side), Image.Resampling.LANCZOS)
    return Image.alpha_composite(image.convert("RGBA"), overlay).convert("RGB")


def _draw_name(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], class_name: str, object_id: str
) -> None:
    x, y = place
    room = _NAMES - 2 * _GAP
    for text, font, color in (
        (class_name, font_of(15, bold=True), INK),
        (object_id, font_of(12), FAINT),
    ):
        draw.text((x, y), fitting(text, room, font), color, font)
        y += LINE + 2
