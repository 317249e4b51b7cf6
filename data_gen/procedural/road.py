"""Motor vehicles: car, van, bus, truck. They drive towards -y, and are look-alikes."""

from __future__ import annotations

import numpy as np

from data_gen.procedural.details import wheel
from data_gen.procedural.draws import Draws
from data_gen.procedural.model import Model
from data_gen.procedural.primitives import (
    ALONG_Y,
    SIDE,
    Array,
    box,
    cushion,
    cylinder,
    disc,
    ellipsoid,
    extrude,
    lathe,
)


def _shell(m: Model, outline: Array, width: float, color: int, bevel: float = 0.06) -> None:
    """Extrude a side view (y, z) to a body centred on x = 0."""
    m.add(extrude(outline, width, bevel).placed((0, 0, -width / 2)), color, turn=SIDE)


def _axles(m: Model, places: list[float], track: float, radius: float, width: float) -> None:
    for y in places:
        for side in (-1, 1):
            wheel(m, (side * (track - width * 0.3), y, radius), radius, width)


def _lamps(m: Model, y: float, x: float, z: float, size: float, color: int) -> None:
    m.pair(disc(size, 0.05, 10), color, (x, y + 0.03, z), (90, 0, 0))


def car(m: Model, d: Draws) -> None:
    """Saloon, hatchback, coupé, estate or pick-up; roof rack, spoiler or taxi sign."""
    long, w, r = d.uniform(1.7, 2.2), d.uniform(0.78, 0.92), d.uniform(0.15, 0.2)
    low, belt = r * 0.75, r + d.uniform(0.24, 0.34)
    f, b = -long / 2, long / 2
    nose = belt - d.uniform(0.02, 0.12)
    style = d.pick(("saloon", "hatchback", "estate", "pickup", "coupe"))
    tail = belt - (0.0 if style != "coupe" else 0.03)
    body = [
        (f, low),
        (f - 0.02, nose * 0.75),
        (f + 0.08, nose),
        (f * 0.45, belt),
        (b * 0.5, belt),
        (b - 0.05, tail),
    ]
    _shell(m, np.array([*body, (b, tail * 0.7), (b - 0.03, low)]), w, 0)
    roof = belt + d.uniform(0.26, 0.36) * (0.8 if style == "coupe" else 1)
    front, top = f * d.uniform(0.38, 0.5), f * d.uniform(0.05, 0.2)
    rear, foot = {
        "saloon": (0.38, 0.62),
        "hatchback": (0.6, 0.82),
        "estate": (0.84, 0.95),
        "pickup": (0.12, 0.18),
        "coupe": (0.2, 0.8),
    }[style]
    glass = np.array(
        [(front, belt - 0.03), (top, roof - 0.02), (b * rear, roof - 0.02), (b * foot, belt - 0.03)]
    )
    _shell(m, glass, w * 0.9, 3, 0.1)
    lid = np.array(
        [
            (top - 0.03, roof - 0.04),
            (top, roof + 0.01),
            (b * rear, roof + 0.01),
            (b * rear + 0.03, roof - 0.04),
        ]
    )
    _shell(m, lid, w * 0.84, 1)
    if style == "pickup":
        m.add(box(w * 0.8, b * 0.7, 0.02), 3, (0, b * 0.58, belt + 0.005))
        m.pair(box(0.05, b * 0.76, 0.1), 0, (w * 0.43, b * 0.58, belt + 0.03))
        m.add(box(w * 0.85, 0.05, 0.1), 0, (0, b * 0.94, belt + 0.03))
    _axles(m, [f * 0.62, b * 0.6], w / 2, r, 0.15)
    _lamps(m, f - 0.01, w * 0.34, nose * 0.78, 0.06, 2)
    m.add(box(w * 0.4, 0.04, 0.07), 3, (0, f - 0.01, nose * 0.72))
    m.add(box(w * 0.96, 0.08, 0.07), 1, (0, f, low + 0.03))
    m.pair(box(0.12, 0.04, 0.07), 1, (w * 0.36, b - 0.01, tail * 0.8))
    extra = d.pick(("rack", "sign", "spoiler", "none"))
    if extra == "rack" and style != "pickup":
        m.add(cushion(w * 0.6, b * 0.5, 0.1, 0.03), 2, (0, (top + b * rear) / 2, roof + 0.07))
    elif extra == "sign":
        m.add(box(0.22, 0.1, 0.09), 2, (0, (top + b * rear) / 2, roof + 0.05))
    elif extra == "spoiler":
        m.add(box(w * 0.85, 0.14, 0.03), 2, (0, b - 0.08, tail + 0.14), (12, 0, 0))
        m.pair(box(0.03, 0.08, 0.14), 2, (w * 0.3, b - 0.1, tail + 0.06))


def van(m: Model, d: Draws) -> None:
    """One box with a short sloping nose; glazed or closed sides, a sliding door (beside bus)."""
    long, w, r = d.uniform(1.8, 2.4), d.uniform(0.82, 0.95), d.uniform(0.16, 0.2)
    f, b, low = -long / 2, long / 2, r * 0.8
    top, belt, rake = d.uniform(0.95, 1.3), d.uniform(0.5, 0.58), d.uniform(0.25, 0.5)
    outline = [
        (f, low),
        (f - 0.02, belt - 0.1),
        (f + 0.12, belt),
        (f + 0.12 + rake, top),
        (b - 0.04, top),
        (b, belt),
        (b, low),
    ]
    _shell(m, np.array(outline), w, 0, 0.05)
    slope = np.degrees(np.arctan2(rake, top - belt))
    middle = (0, f + 0.1 + rake / 2, (top + belt) / 2)
    m.add(box(w * 0.8, 0.05, (top - belt) * 0.85), 3, middle, (-slope, 0, 0))
    panes = d.integer(1, 4)
    start, space = f + 0.25 + rake * 0.8, (long - 0.35 - rake * 0.8) / 4
    for i in range(panes):
        m.pair(
            box(0.05, space * 0.84, (top - belt) * 0.55),
            3,
            (w * 0.48, start + space * (i + 0.5), belt + (top - belt) * 0.48),
        )
    m.add(box(0.34, 0.26, 0.05), 2, (0.1, f + 0.36 + rake, top + 0.02))
    stripe = d.uniform(0.06, 0.2)
    m.pair(box(0.05, long * 0.9, stripe), 1, (w * 0.482, 0, belt - 0.04 - stripe / 2))
    side = d.side()
    m.add(
        box(0.05, space * 1.3, (top - low) * 0.75),
        2,
        (side * w * 0.485, start + space * 3, (top + low) / 2),
    )
    if d.flag(0.4):
        m.add(cushion(w * 0.7, long * 0.45, 0.14, 0.04), 1, (0, 0.15, top + 0.06))
    if d.flag(0.4):
        for y in (0.0, 0.35):
            m.add(box(w * 0.9, 0.04, 0.06), 3, (0, y, top + 0.03))
        m.pair(box(0.04, long * 0.55, 0.04), 2, (w * 0.25, 0.2, top + 0.08))
    _axles(m, [f * 0.66, b * 0.62], w / 2, r, 0.15)
    _lamps(m, f - 0.01, w * 0.36, belt - 0.14, 0.06, 2)
    m.add(box(w * 0.98, 0.08, 0.1), 1, (0, f, low + 0.05))
    m.add(box(w * 0.6, 0.03, (top - belt) * 0.4), 3, (0, b, top * 0.8))


def bus(m: Model, d: Draws) -> None:
    """A long box with many windows and doors on the right; one or two decks (beside van)."""
    long, w, r = d.uniform(2.4, 3.4), d.uniform(0.72, 0.85), d.uniform(0.14, 0.18)
    decks, f, low = 1 + d.flag(0.35), -long / 2, r * 0.8
    story, round_ = d.uniform(0.6, 0.72), d.uniform(0.03, 0.15)
    top = low + 0.12 + story * decks
    m.add(cushion(w, long, top - low, round_), 0, (0, 0, (top + low) / 2))
    count = d.integer(5, 9)
    space = long * 0.94 / count
    for deck in range(decks):
        z = low + 0.12 + story * (deck + 0.62)
        for i in range(count):
            y = f + long * 0.03 + (i + 0.5) * space
            m.pair(box(0.04, space * 0.85, story * 0.42), 3, (w * 0.49, y, z))
        m.add(box(w * 0.86, 0.04, story * 0.52), 3, (0, f, z - 0.02))
        m.add(box(w * 0.7, 0.04, story * 0.35), 3, (0, -f, z + 0.02))
        m.pair(box(0.03, long * 0.95, d.uniform(0.04, 0.12)), 1, (w * 0.492, 0, z - story * 0.38))
    for place in (0.6, count - 3.4 if d.flag() else count * 0.55):
        m.add(
            box(0.05, space * 0.8, story * 0.98),
            2,
            (w * 0.492, f + (place + 0.5) * space, low + 0.1 + story * 0.45),
        )
    m.add(box(w * 0.6, 0.06, 0.11), 2, (0, f, top - 0.08))
    nose = d.uniform(0.05, 0.3)
    m.add(cushion(w * 0.97, 2 * nose, 0.3, 0.05), 0, (0, f, low + 0.17))
    if d.flag():
        m.add(
            cushion(w * 0.6, long * d.uniform(0.15, 0.3), 0.1, 0.03),
            1,
            (0, long * d.uniform(0.1, 0.25), top + 0.04),
        )
    _axles(m, [f * 0.62, -f * d.uniform(0.5, 0.66)], w / 2, r, 0.14)
    _lamps(m, f - nose - 0.01, w * 0.38, low + 0.18, 0.05, 2)
    m.add(box(w * 1.01, 0.08, 0.09), 1, (0, f - nose, low + 0.04))


def truck(m: Model, d: Draws) -> None:
    """A cab, flat or with a bonnet, and a box, tank or load of logs behind it (beside van)."""
    w, r = d.uniform(0.75, 0.88), d.uniform(0.17, 0.22)
    bonnet, cab_top = d.flag() * d.uniform(0.35, 0.5), d.uniform(0.95, 1.15)
    long = d.uniform(1.3, 2.0)
    f = -1.0
    m.add(box(w * 0.6, long + bonnet + 0.65, 0.1), 3, (0, f + (long + bonnet + 0.65) / 2, r + 0.08))
    y, belt = f + bonnet, r + 0.38
    outline = [(y, r), (y - 0.01, belt), (y + 0.1, cab_top), (y + 0.55, cab_top), (y + 0.55, r)]
    _shell(m, np.array(outline), w, 0, 0.05)
    if bonnet:
        m.add(
            cushion(w * 0.72, bonnet + 0.1, belt - r, 0.05), 0, (0, f + bonnet / 2, (belt + r) / 2)
        )
    slope = np.degrees(np.arctan2(0.1, cab_top - belt))
    m.add(
        box(w * 0.84, 0.04, (cab_top - belt) * 0.75),
        3,
        (0, y + 0.045, (cab_top + belt) / 2),
        (-slope, 0, 0),
    )
    m.pair(box(0.04, 0.3, 0.3), 3, (w * 0.49, y + 0.3, cab_top - 0.24))
    m.add(box(w * 0.5, 0.05, 0.2), 2, (0, f - 0.01, r + 0.16))
    _lamps(m, f - 0.02, w * 0.33 - bonnet * 0.1, r + 0.1, 0.055, 2)
    m.add(box(w, 0.1, 0.1), 1, (0, f, r * 0.9))
    m.add(cylinder(0.04, 0.5, sides=8), 2, (d.side() * w * 0.42, y + 0.62, cab_top - 0.25))
    start, load = y + 0.65, d.pick(("box", "tank", "logs", "tipper"))
    middle = start + long / 2
    if load == "box":
        high = d.uniform(0.75, 1.15)
        m.add(box(w, long, high), 1, (0, middle, r + 0.14 + high / 2))
        m.pair(box(0.02, long * 0.7, high * 0.4), 2, (w / 2, middle, r + 0.2 + high / 2))
    elif load == "tank":
        m.add(
            lathe([(0.3, 0), (0.4, 0.08), (0.4, long - 0.08), (0.3, long)], 18),
            1,
            (0, start, r + 0.54),
            ALONG_Y,
        )
        for i in range(2):
            m.add(
                cylinder(0.415, 0.08, sides=18),
                2,
                (0, start + long * (0.25 + 0.45 * i), r + 0.54),
                ALONG_Y,
            )
        m.add(cylinder(0.1, 0.1, sides=10), 0, (0, middle, r + 0.9))
    elif load == "logs":
        for i, (x, z) in enumerate([(-0.28, 0), (0, 0), (0.28, 0), (-0.14, 0.24), (0.14, 0.24)]):
            m.add(cylinder(0.135, long, sides=10), 1 + i % 2, (x, start, r + 0.27 + z), ALONG_Y)
    else:
        bed = np.array([(0, 0), (0.1, 0.45), (long, 0.45), (long, 0.05)])
        bed += (start, r + 0.18)
        _shell(m, bed, w, 1, 0.02)
        m.add(ellipsoid(w * 0.42, long * 0.42, 0.22, 12, 7), 2, (0, middle + 0.05, r + 0.64))
    rears = [start + long * 0.72, start + long * 0.72 - 2.2 * r]
    _axles(m, [f + 0.3, *rears[: d.integer(1, 2)]], w / 2, r, 0.16)


FAMILIES = (car, van, bus, truck)
