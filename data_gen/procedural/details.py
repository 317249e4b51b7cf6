"""Details that several families share: legs, wheels, handles."""

from __future__ import annotations

import math
from itertools import pairwise

from data_gen.procedural.draws import Draws
from data_gen.procedural.model import Model
from data_gen.procedural.primitives import (
    ALONG_X,
    Part,
    Vector,
    box,
    curve,
    cylinder,
    disc,
    lathe,
    rod,
    torus,
    tube,
)

CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))


def legs(
    model: Model, draws: Draws, size: Vector, color: int, base: bool = True, thick: float = 0.04
) -> None:
    """Stand four legs, two sled frames, crossed legs or a star base under (x, y, height)."""
    width, depth, height = size
    style = draws.pick(("square", "round", "splayed", "sled", "star" if base else "square"))
    x, y = width / 2 - thick, depth / 2 - thick
    if style == "star":
        count = draws.integer(4, 6)
        model.add(cylinder(thick * 0.8, height), color)
        for i in range(count):
            angle = 2 * math.pi * (i + 0.5) / count
            foot = (x * math.cos(angle), x * math.sin(angle), thick)
            model.add(rod((0, 0, 2 * thick), foot, thick * 0.8, thick * 0.6), color)
        return
    if style == "sled":
        for side in (-x, x):
            path = [(side, -y, height), (side, -y, 0), (side, y, 0), (side, y, height)]
            for start, end in pairwise(path):
                model.add(rod(start, end, thick / 2), color)
        return
    spread = draws.uniform(1.08, 1.3) if style == "splayed" else 1.0
    for i, j in CORNERS:
        if style == "square":
            model.add(box(thick, thick, height), color, (i * x, j * y, height / 2))
        else:
            foot = (i * x * spread, j * y * spread, 0)
            model.add(rod((i * x, j * y, height), foot, thick * 0.6, thick * 0.4), color)
    if draws.flag(0.4) and style != "splayed":
        bar = box(thick / 2, 2 * y, thick / 2)
        model.pair(bar, color, (x, 0, height * 0.3))


def wheel(
    model: Model, at: Vector, radius: float, width: float, tyre: int = 3, hub: int = 2
) -> None:
    """Hang a wheel with its axle along x."""
    half = width / 2
    profile = [(0.82 * radius, -half), (radius, -half / 2), (radius, half / 2)]
    model.add(lathe([*profile, (0.82 * radius, half)], 18), tyre, at, ALONG_X)
    cap = cylinder(0.55 * radius, 1.16 * width, sides=10).placed((0, 0, -0.58 * width))
    model.add(cap, hub, at, ALONG_X)


def spoked_wheel(
    model: Model, at: Vector, radius: float, thick: float, spokes: int, colors: tuple[int, int]
) -> None:
    """Hang a tyre on spokes, its axle along x; colours of the tyre and of the spokes."""
    model.add(torus(radius - thick, thick, 24, 6), colors[0], at, ALONG_X)
    model.add(
        cylinder(2 * thick, 5 * thick, sides=8).placed((0, 0, -2.5 * thick)), colors[1], at, ALONG_X
    )
    for i in range(spokes):
        angle = 2 * math.pi * i / spokes
        end = (0, radius * math.cos(angle), radius * math.sin(angle))
        model.add(rod((0, 0, 0), end, thick * 0.35, sides=4), colors[1], at)


def ear(height: float, reach: float, thick: float, square: float = 0.0) -> Part:
    """Make a handle like a mug's: in the plane y = 0, both ends at x = 0, reaching to +x."""
    knots = [
        (-0.15 * reach, 0, height / 2),
        (reach * (0.55 + square), 0, height * (0.5 + 0.1 * square)),
        (reach, 0, 0.1 * height),
        (reach * (0.6 + square), 0, -height * (0.35 + 0.1 * square)),
        (-0.15 * reach, 0, -height / 2),
    ]
    return tube(curve(knots, 14), thick)


def knob(model: Model, at: Vector, radius: float, color: int) -> None:
    """Stick a round handle on a front (towards -y)."""
    model.add(disc(radius, radius * 1.2, 10), color, at, (90, 0, 0))
