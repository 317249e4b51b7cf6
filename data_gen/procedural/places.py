"""Buildings and outdoor things: house, lighthouse, windmill, crane, mailbox."""

from __future__ import annotations

import numpy as np

from data_gen.procedural.details import CORNERS
from data_gen.procedural.draws import Draws
from data_gen.procedural.model import Model
from data_gen.procedural.primitives import (
    ALONG_Y,
    FRONT,
    SIDE,
    box,
    circle,
    cushion,
    cylinder,
    disc,
    dome,
    ellipsoid,
    extrude,
    lathe,
    rod,
    torus,
)


def _window(m: Model, x: float, y: float, z: float, w: float, h: float) -> None:
    m.add(box(w, 0.04, h), 2, (x, y, z))
    m.add(box(w * 0.78, 0.05, h * 0.8), 3, (x, y, z))
    m.add(box(w * 0.06, 0.06, h), 2, (x, y, z))


def house(m: Model, d: Draws) -> None:
    """One or two storeys, pitched roof, door to the front, a chimney and a garage on one side."""
    w, deep, story = d.uniform(0.9, 1.4), d.uniform(0.75, 1.0), d.uniform(0.42, 0.52)
    floors, side = d.integer(1, 2), d.side()
    h, pitch = story * floors, d.uniform(0.3, 0.6)
    m.add(box(w, deep, h), 0, (0, 0, h / 2))
    eave = d.uniform(0.05, 0.14)
    if d.flag():
        roof = [(-deep / 2 - eave, -0.02), (deep / 2 + eave, -0.02), (0, pitch)]
        m.add(extrude(roof, w + 2 * eave).placed((0, 0, -w / 2 - eave)), 1, (0, 0, h), SIDE)
    else:
        roof = [(-w / 2 - eave, -0.02), (w / 2 + eave, -0.02), (0, pitch)]
        m.add(extrude(roof, deep + 2 * eave).placed((0, 0, -deep / 2 - eave)), 1, (0, 0, h), FRONT)
    m.add(box(0.13, 0.13, pitch + 0.15), 2, (side * w * 0.28, deep * 0.18, h + pitch / 2 + 0.05))
    door = -side * w * d.uniform(0.05, 0.3)
    front = -deep / 2
    m.add(box(0.2, 0.05, 0.36), 3, (door, front, 0.18))
    m.add(box(0.34, 0.2, 0.06), 2, (door, front - 0.08, 0.02))
    if d.flag():
        m.add(box(0.4, 0.26, 0.04), 1, (door, front - 0.1, 0.44), (12, 0, 0))
        for x in (-0.17, 0.17):
            m.add(cylinder(0.02, 0.44, sides=8), 2, (door + x, front - 0.2, 0))
    panes = d.integer(2, 4)
    for floor in range(floors):
        for i in range(panes):
            x = ((i + 0.5) / panes - 0.5) * w
            if floor or abs(x - door) > 0.2 + 0.3 * w / panes:
                _window(m, x, front, story * (floor + 0.58), 0.5 * w / panes, story * 0.42)
            if i % 2:
                _window(m, x, -front, story * (floor + 0.58), 0.5 * w / panes, story * 0.42)
    if d.flag(0.65):
        wing, tall = d.uniform(0.4, 0.6), story * 0.85
        x = side * (w + wing) / 2
        m.add(box(wing, deep * 0.8, tall), 0, (x, 0, tall / 2))
        m.add(box(wing + 0.06, deep * 0.86, 0.06), 1, (x, 0, tall), (0, side * 6, 0))
        m.add(box(wing * 0.7, 0.04, tall * 0.7), 3, (x, -deep * 0.4, tall * 0.36))
    else:
        at = (side * (w / 2 + 0.24), front + 0.1, 0)
        m.add(cylinder(0.04, 0.3, sides=8), 3, at)
        m.add(ellipsoid(0.17, 0.17, d.uniform(0.2, 0.3), 10, 7), 2, (at[0], at[1], 0.45))


def lighthouse(m: Model, d: Draws) -> None:
    """A banded tower with gallery and lantern, door to the front, keeper's hut on one side."""
    r, h = d.uniform(0.24, 0.32), d.uniform(1.1, 1.7)
    neck, bands = d.uniform(0.55, 0.75), d.integer(3, 6)
    for i in range(bands):
        low, high = (r * (1 - (1 - neck) * (i + j) / bands) for j in (0, 1))
        m.add(cylinder(low, h / bands, high, 18), (0, 1)[i % 2], (0, 0, h * i / bands))
    m.add(disc(r * 1.7, 0.08, 18), 2, (0, 0, -0.06))
    top = r * neck
    m.add(cylinder(top * 1.15, 0.06, top * 1.5, 18), 2, (0, 0, h))
    m.add(torus(top * 1.42, 0.015, 18, 6), 3, (0, 0, h + 0.16))
    for angle in np.radians(np.arange(0, 360, 45)):
        x, y = 1.42 * top * np.cos(angle), 1.42 * top * np.sin(angle)
        m.add(rod((x, y, h + 0.04), (x, y, h + 0.16), 0.012, sides=4), 3)
    m.add(cylinder(top * 0.8, 0.24, sides=12), 3, (0, 0, h + 0.05))
    m.add(dome(top * 0.95, top * 0.95, d.uniform(0.1, 0.24), 14), 1, (0, 0, h + 0.29))
    m.add(box(0.18, 0.1, 0.3), 3, (0, -r * 0.97, 0.15))
    for i in range(d.integer(2, 3)):
        z = h * (0.45 + 0.2 * i)
        m.add(box(0.09, 0.08, 0.13), 3, (0, -r * (1 - (1 - neck) * z / h) + 0.015, z))
    side, w, tall = d.side(), d.uniform(0.42, 0.6), d.uniform(0.24, 0.34)
    x = side * (r + w / 2 - 0.04)
    m.add(box(w, 0.42, tall), 0, (x, 0.02, tall / 2 - 0.02))
    roof = extrude([(-0.26, 0), (0.26, 0), (0, 0.2)], w + 0.06).placed((0, 0, -w / 2 - 0.03))
    m.add(roof, 2, (x, 0.02, tall - 0.03), SIDE)
    m.add(box(w * 0.3, 0.04, tall * 0.45), 3, (x, -0.19, tall * 0.55))


def windmill(m: Model, d: Draws) -> None:
    """A tapered mill with a cap, four or more sails to the front, door, gallery or none."""
    r, h, sides = d.uniform(0.3, 0.4), d.uniform(0.85, 1.25), d.pick((6, 8, 18))
    top = r * d.uniform(0.5, 0.72)
    m.add(cylinder(r, h, top, sides), 0)
    m.add(disc(r * 1.25, 0.07, 18), 3, (0, 0, -0.05))
    if d.flag():
        m.add(dome(top * 1.12, top * 1.25, top * d.uniform(0.8, 1.2), 16), 1, (0, 0, h))
    else:
        roof = [(-top * 1.3, 0), (top * 1.3, 0), (0, top * d.uniform(1.0, 1.5))]
        m.add(extrude(roof, 2.4 * top).placed((0, 0, -1.2 * top)), 1, (0, 0, h - 0.02), FRONT)
    hub = (0, -top * 1.25 - 0.08, h + top * 0.32)
    m.add(cylinder(0.045, top + 0.2, sides=10), 3, (0, hub[1] - 0.04, hub[2]), ALONG_Y)
    count, reach = d.pick((4, 4, 3, 6)), d.uniform(0.65, 0.9)
    start, width = d.uniform(0, 90), d.uniform(0.12, 0.2)
    for i in range(count):
        turn = (0, start + 360 * i / count, 0)
        m.add(box(0.035, 0.03, reach).placed((0, 0, reach / 2)), 3, hub, turn)
        sheet = box(width, 0.015, reach * 0.74).placed((width * 0.55, 0, reach * 0.6), (0, 0, 12))
        m.add(sheet, 2, hub, turn)
    m.add(box(0.2, 0.06, 0.32), 3, (0, -r * 0.97, 0.16))
    for z in (0.55, 0.8):
        m.add(box(0.11, 0.08, 0.13), 3, (0, -(r + (top - r) * z) + 0.01, z * h - 0.02))
    if d.flag():
        z = h * d.uniform(0.35, 0.5)
        m.add(disc((r + top) / 2 * 1.35, 0.04, 18), 1, (0, 0, z))
    m.add(rod((0, top * 0.8, h + 0.1), (0, r + 0.45, 0.02), 0.022), 3)
    side = d.side()
    m.add(box(0.36, 0.32, 0.26), 1, (side * (r + 0.12), 0.05, 0.12))


def crane(m: Model, d: Draws) -> None:
    """A tower crane: lattice mast, jib to the front, counterweight behind, cab, hook and load."""
    h, w = d.uniform(1.0, 1.5), d.uniform(0.1, 0.15)
    jib, tail = d.uniform(0.8, 1.2), d.uniform(0.3, 0.45)
    m.add(box(0.5, 0.5, 0.1), 3, (0, 0, 0.05))
    for i, j in CORNERS:
        m.add(box(0.03, 0.03, h), 0, (i * w / 2, j * w / 2, h / 2))
    count = d.integer(5, 8)
    for i in range(count):
        a, b = h * i / count, h * (i + 1) / count
        ends = (-w / 2, w / 2) if i % 2 else (w / 2, -w / 2)
        for y in (-w / 2, w / 2):
            m.add(rod((ends[0], y, a), (ends[1], y, b), 0.011, sides=4), 0)
            m.add(rod((y, ends[0], a), (y, ends[1], b), 0.011, sides=4), 0)
    peak = h + d.uniform(0.22, 0.4)
    m.add(rod((0, 0, h), (0, 0, peak), 0.045, 0.02, 6), 0)
    m.add(box(w * 1.5, w * 1.5, 0.06), 2, (0, 0, h))
    m.pair(rod((0.05, tail, h + 0.04), (0.05, -jib, h + 0.04), 0.018, sides=6), 1)
    m.add(rod((0, 0.0, h + 0.16), (0, -jib, h + 0.1), 0.018, sides=6), 1)
    for i in range(9):
        y = -jib * i / 9
        m.pair(rod((0.05, y, h + 0.04), (0, y - jib / 18, h + 0.14), 0.01, sides=4), 1)
        m.pair(rod((0, y - jib / 18, h + 0.14), (0.05, y - jib / 9, h + 0.04), 0.01, sides=4), 1)
    m.add(rod((0, 0, peak), (0, -jib * 0.75, h + 0.12), 0.009, sides=4), 3)
    m.add(rod((0, 0, peak), (0, tail, h + 0.06), 0.009, sides=4), 3)
    m.add(box(0.2, 0.2, d.uniform(0.16, 0.3)), 3, (0, tail - 0.08, h - 0.02))
    m.add(cushion(0.17, 0.22, 0.22, 0.03), 2, (d.side() * (w / 2 + 0.09), -0.08, h - 0.1))
    y, drop = -jib * d.uniform(0.5, 0.9), d.uniform(0.3, 0.65) * h
    m.add(box(0.14, 0.12, 0.05), 3, (0, y, h + 0.02))
    m.add(rod((0, y, h), (0, y, h - drop), 0.01, sides=5), 3)
    load = d.pick(("crate", "beam", "pipe"))
    if load == "crate":
        m.add(box(0.22, 0.22, 0.2), 2, (0, y, h - drop - 0.08), (0, 0, 30))
    elif load == "beam":
        m.add(box(0.5, 0.07, 0.07), 2, (0, y, h - drop - 0.03), (0, 0, d.uniform(-40, 40)))
    else:
        m.add(cylinder(0.08, 0.36, sides=12), 2, (0, y - 0.18, h - drop - 0.07), ALONG_Y)


def mailbox(m: Model, d: Draws) -> None:
    """A vaulted or gabled box on a post, door to the front, a flag on its right side."""
    w, long, wall = d.uniform(0.32, 0.48), d.uniform(0.6, 0.85), d.uniform(0.12, 0.26)
    post, z = d.uniform(0.7, 1.2), 0.0
    if d.flag(0.65):
        roof = circle(11, 0, 180) * (w / 2, w / 2 * d.uniform(0.8, 1.2)) + (0, wall)
    else:
        roof = np.array([(w * 0.56, wall), (0, wall + w * 0.55), (-w * 0.56, wall)])
    outline = np.concatenate([[(-w / 2, 0), (w / 2, 0)], roof])
    m.add(extrude(outline, long).placed((0, 0, -long / 2)), 0, (0, 0, z), FRONT)
    middle = outline.mean(axis=0)
    m.add(extrude(middle + (outline - middle) * 1.05, 0.05), 1, (0, -long / 2, z), FRONT)
    m.add(box(0.06, 0.06, 0.05), 3, (0, -long / 2 - 0.07, wall * 1.2))
    x, up = w / 2 + 0.02, d.flag()
    if up:
        m.add(box(0.02, 0.04, 0.3), 2, (x, -long * 0.1, wall * 0.6 + 0.13))
        m.add(box(0.025, 0.18, 0.12), 2, (x, -long * 0.1 + 0.07, wall * 0.6 + 0.28))
    else:
        m.add(box(0.02, 0.3, 0.04), 2, (x, 0.05, wall * 0.6))
        m.add(box(0.025, 0.12, 0.18), 2, (x, 0.2, wall * 0.6 + 0.06))
    m.add(box(w * 1.1, long * 0.8, 0.04), 3, (0, 0, -0.02))
    if d.flag():
        m.add(box(0.12, 0.12, post), 3, (0, 0.05, -post / 2))
    else:
        m.add(lathe([(0.14, -post), (0.06, -post + 0.08), (0.05, -0.05)], 12), 3, (0, 0.05, 0))
    m.add(rod((0, 0.05, -post * 0.55), (0, long * 0.38, -0.03), 0.03), 3)
    if d.flag(0.4):
        m.add(box(0.3, 0.04, 0.16), 1, (d.side() * 0.08, 0.0, -post * 0.35))
    if d.flag(0.5):
        m.add(cushion(0.4, 0.4, 0.1, 0.04), 1, (0, 0.05, -post))


FAMILIES = (house, lighthouse, windmill, crane, mailbox)
