"""Furniture: chair, stool, bench, sofa, bed, table, bookshelf."""

from __future__ import annotations

import numpy as np

from data_gen.procedural.details import CORNERS, knob, legs
from data_gen.procedural.draws import Draws
from data_gen.procedural.model import Model
from data_gen.procedural.primitives import (
    FRONT,
    arc,
    box,
    circle,
    curve,
    cushion,
    cylinder,
    disc,
    extrude,
    oval,
    rod,
    tube,
)


def chair(m: Model, d: Draws) -> None:
    """Four legs, sled or swivel base; panel, slatted, barred or oval back; arms or none."""
    w, depth = d.uniform(0.42, 0.6), d.uniform(0.42, 0.56)
    seat, rise, thick = d.uniform(0.36, 0.52), d.uniform(0.4, 0.75), d.uniform(0.03, 0.09)
    legs(m, d, (w, depth, seat), 0, thick=d.uniform(0.035, 0.06))
    m.add(cushion(w, depth, thick, 0.02), 1, (0, 0, seat + thick / 2))
    m.add(box(w * 0.88, depth * 0.88, 0.05), 3, (0, 0, seat - 0.02))
    lean, back = -d.uniform(4, 16), d.pick((1, 2))
    hinge = (0.0, depth / 2 - 0.03, seat + thick)
    style = d.pick(("panel", "slats", "bars", "oval"))
    if style == "panel":
        m.add(
            cushion(w * 0.95, 0.05, rise, 0.02).placed((0, 0, rise / 2)), back, hinge, (lean, 0, 0)
        )
    elif style == "oval":
        pad = extrude(oval(w * 0.95, rise * 0.7, 16, d.uniform(2, 4)), 0.05, 0.1).placed(turn=FRONT)
        m.add(pad.placed((0, 0.02, rise * 0.65)), back, hinge, (lean, 0, 0))
        m.pair(rod((w * 0.3, 0, 0), (w * 0.3, 0, rise * 0.6), 0.018), 0, hinge, (lean, 0, 0))
    else:
        m.pair(box(0.04, 0.04, rise).placed((w / 2 - 0.02, 0, rise / 2)), 0, hinge, (lean, 0, 0))
        count = d.integer(2, 5)
        for i in range(count):
            step = (i + 0.7) / count
            if style == "slats":
                slat = box(w - 0.04, 0.025, rise * 0.5 / count).placed((0, 0, rise * step))
            else:
                slat = box(0.6 * w / count, 0.025, rise).placed(
                    (w * (step - 0.7 + 0.2 / count) * 0.9, 0, rise / 2)
                )
            m.add(slat, 2, hinge, (lean, 0, 0))
        m.add(box(w, 0.045, 0.07).placed((0, 0, rise)), 0, hinge, (lean, 0, 0))
    if d.flag(0.4):
        height = d.uniform(0.16, 0.26)
        m.pair(box(0.05, depth * 0.9, 0.03), 3, (w / 2, 0, seat + height))
        m.pair(box(0.035, 0.035, height), 0, (w / 2, -depth * 0.38, seat + height / 2))


def stool(m: Model, d: Draws) -> None:
    """A high round seat with a low bent back and a foot ring (beside chair)."""
    r, height = d.uniform(0.17, 0.24), d.uniform(0.55, 0.85)
    thick = d.uniform(0.04, 0.09)
    feet = d.integer(3, 4)
    spread = d.uniform(1.0, 1.5)
    pillar = d.flag(0.35)
    if pillar:
        m.add(disc(r * spread * 0.9, 0.04), 0)
        m.add(cylinder(0.03, height), 0)
    else:
        for i in range(feet):
            angle = 2 * np.pi * (i + 0.5) / feet
            way = np.array([np.cos(angle), np.sin(angle)]) * r
            m.add(rod((*way * 0.8, height), (*way * spread, 0), 0.025, 0.018), 0)
    ring, rest = r * (0.8 if pillar else 0.75 + spread * 0.22), height * d.uniform(0.25, 0.4)
    front = np.insert(circle(13, 180.0, 180.0) * ring, 2, rest, axis=1)
    m.add(tube(front, 0.017, 6), 2)
    m.pair(rod((0, 0, rest), (ring, 0, rest), 0.017, sides=6), 2)
    m.add(disc(r, thick, 20), 1, (0, 0, height))
    back, sweep = d.uniform(0.2, 0.4), d.uniform(110, 190)
    top = height + thick + back
    low = top - 0.7 * back
    band = [(r * 0.95, low), (r * 1.08, low), (r * 1.12, top), (r * 0.99, top)]
    m.add(arc(band, 90 - sweep / 2, sweep, 10), 3, (0, 0, 0))
    for angle in np.radians([90 - sweep / 3, 90 + sweep / 3]):
        way = np.array([np.cos(angle), np.sin(angle)]) * r
        m.add(rod((*way * 0.9, height + thick / 2), (*way * 1.04, top - 0.05), 0.015), 0)


def bench(m: Model, d: Draws) -> None:
    """A long seat of planks on two frames, with a slatted back and often arms (beside chair)."""
    w, depth, seat = d.uniform(1.1, 1.7), d.uniform(0.38, 0.5), d.uniform(0.36, 0.46)
    planks, gap = d.integer(2, 5), 0.02
    size = depth / planks
    for i in range(planks):
        m.add(box(w, size - gap, 0.035), 1, (0, (i + 0.5) * size - depth / 2, seat))
    rise, rows, lean = d.uniform(0.32, 0.5), d.integer(1, 4), -d.uniform(5, 18)
    hinge = (0, depth / 2, seat)
    for i in range(rows):
        plank = box(w, 0.03, 0.75 * rise / rows).placed((0, 0, rise * (i + 0.8) / rows))
        m.add(plank, 1 if d.flag(0.7) else 3, hinge, (lean, 0, 0))
    plate = box(0.2, 0.06, 0.1).placed((d.uniform(-0.3, 0.3) * w, 0, rise * 0.82))
    m.add(plate, 3, hinge, (lean, 0, 0))
    x = w * d.uniform(0.36, 0.48)
    iron = d.flag()
    for side in (-x, x):
        post = box(0.05, 0.04, rise * 1.05).placed((side, 0.03, rise / 2))
        m.add(post, 0, hinge, (lean, 0, 0))
        if iron:
            bow = [
                (side, -depth / 2, 0),
                (side, -depth * 0.35, seat * 0.8),
                (side, depth * 0.35, seat * 0.8),
            ]
            m.add(tube(curve([*bow, (side, depth / 2 + 0.05, 0)], 12), 0.03), 0)
        else:
            m.add(box(0.09, depth * 0.9, seat), 0, (side, 0, seat / 2 - 0.02))
    if d.flag(0.6):
        m.pair(box(0.05, depth, 0.035), 2, (x, 0, seat + 0.22))
        m.pair(box(0.04, 0.04, 0.22), 0, (x, -depth * 0.4, seat + 0.11))


def sofa(m: Model, d: Draws) -> None:
    """Upholstered seat for two to four, arms of several shapes, a chaise on one side or none."""
    seats = d.integer(1, 4)
    w, depth, seat = 0.3 + 0.5 * seats, d.uniform(0.75, 0.95), d.uniform(0.3, 0.42)
    arm, arm_top, back = d.uniform(0.1, 0.24), d.uniform(0.5, 0.68), d.uniform(0.7, 0.95)
    foot = d.uniform(0.04, 0.14)
    m.add(cushion(w, depth, seat - foot - 0.1, 0.04), 0, (0, 0, (seat - 0.1 + foot) / 2))
    m.add(
        cushion(w, 0.22, back - foot, 0.08), 0, (0, depth / 2 - 0.06, (back + foot) / 2), (-6, 0, 0)
    )
    round_arm = d.flag()
    for side in (-1, 1):
        at = (side * (w + arm) / 2, 0, (arm_top + foot) / 2)
        m.add(cushion(arm, depth, arm_top - foot, 0.03), 0, at)
        if round_arm:
            roll = cylinder(arm * 0.62, depth * 1.03, sides=14)
            m.add(roll, 2, (at[0], -depth * 0.515, arm_top), (-90, 0, 0))
        for y in (-1, 1):
            m.add(cylinder(0.02, foot + 0.05, 0.035, 8), 3, (at[0], y * (depth / 2 - 0.08), 0))
    size = w / seats
    for i in range(seats):
        x = (i + 0.5) * size - w / 2
        m.add(cushion(size * 0.97, depth * 0.85, 0.16, 0.05), 1, (x, -0.08, seat))
        m.add(
            cushion(size * 0.95, 0.16, back - seat, 0.06),
            1,
            (x, depth / 2 - 0.2, (seat + back) / 2 + 0.06),
            (-12, 0, 0),
        )
    side = d.side()
    if seats > 1 and d.flag(0.4):
        long = d.uniform(0.4, 0.7)
        x = side * (w - size) / 2
        m.add(
            cushion(size, long, seat - foot - 0.1, 0.04),
            0,
            (x, -(depth + long) / 2, (seat - 0.1 + foot) / 2),
        )
        m.add(cushion(size * 0.97, long, 0.16, 0.05), 1, (x, -(depth + long) / 2, seat))
    m.add(
        cushion(0.34, 0.12, 0.34, 0.055),
        2,
        (side * w * 0.32, 0.08, seat + 0.24),
        (-25, 0, 20 * side),
    )


def bed(m: Model, d: Draws) -> None:
    """Mattress on a frame, head board, pillows, a blanket turned down; the head is at the back."""
    w, long = d.uniform(0.85, 1.7), d.uniform(1.8, 2.1)
    deck, thick, head = d.uniform(0.2, 0.4), d.uniform(0.16, 0.3), d.uniform(0.75, 1.25)
    m.add(box(w + 0.08, long + 0.06, 0.14), 0, (0, 0, deck - 0.05))
    for i, j in CORNERS:
        m.add(box(0.08, 0.08, deck), 0, (i * w / 2, j * long / 2, deck / 2))
    m.add(cushion(w, long, thick, 0.06), 3, (0, 0, deck + thick / 2))
    top = deck + thick
    cover = long * d.uniform(0.5, 0.72)
    m.add(
        cushion(w + 0.06, cover, thick * 0.9, 0.05),
        1,
        (0, -(long - cover) / 2 - 0.02, top - thick * 0.36),
    )
    m.add(cushion(w + 0.07, 0.24, 0.06, 0.03), 2, (0, cover - long / 2 - 0.1, top + 0.1 * thick))
    pillows = 2 if w > 1.2 else 1
    for i in range(pillows):
        x = (i + 0.5) * w / pillows - w / 2
        m.add(
            cushion(0.78 * w / pillows, 0.38, 0.16, 0.075),
            2,
            (x, long / 2 - 0.28, top + 0.07),
            (14, 0, 0),
        )
    style = d.pick(("panel", "arch", "bars"))
    if style == "bars":
        for i in range(6):
            m.add(
                rod(
                    (w * (i / 5 - 0.5), long / 2, deck), (w * (i / 5 - 0.5), long / 2, head), 0.025
                ),
                0,
            )
        m.add(box(w + 0.1, 0.06, 0.08), 0, (0, long / 2, head))
    else:
        shape = (
            circle(9, 0, 180)
            if style == "arch"
            else [(1, 0), (1, 0.9), (0.9, 1), (-0.9, 1), (-1, 0.9), (-1, 0)]
        )
        shape = np.asarray(shape) * (w / 2 + 0.05, head - deck)
        m.add(extrude(shape, 0.07, 0.03), 0, (0, long / 2 + 0.05, deck), FRONT)
    if d.flag():
        m.add(
            cushion(w + 0.1, 0.07, d.uniform(0.2, 0.4), 0.02), 0, (0, -long / 2 - 0.04, deck + 0.1)
        )


def table(m: Model, d: Draws) -> None:
    """A desk: top, legs, drawers under one side, a rail at the back and a few things on top."""
    w, depth, height = d.uniform(0.9, 1.6), d.uniform(0.5, 0.85), d.uniform(0.62, 0.82)
    thick, side = d.uniform(0.03, 0.07), d.side()
    legs(m, d, (w * 0.96, depth * 0.94, height), 0, base=False, thick=d.uniform(0.045, 0.08))
    power = d.pick((3.0, 5.0, 40.0))
    m.add(extrude(oval(w, depth, 28, power), thick), 1, (0, 0, height))
    drawers, chest = d.integer(1, 4), w * d.uniform(0.26, 0.4)
    row = d.uniform(0.13, 0.16)
    x = side * (w / 2 - chest / 2 - 0.09)
    m.add(box(chest, depth * 0.86, drawers * row), 0, (x, 0, height - drawers * row / 2))
    for i in range(drawers):
        z = height - (i + 0.5) * row
        m.add(box(chest * 0.92, 0.03, row * 0.86), 2, (x, -depth * 0.43 - 0.01, z))
        knob(m, (x, -depth * 0.43 - 0.02, z), 0.022, 3)
    rail = d.uniform(0.05, 0.3)
    m.add(
        box(w * (0.6 if power < 4 else 0.88), 0.03, rail),
        2,
        (0, depth / 2 - 0.06, height + thick + rail / 2),
    )
    z = height + thick
    m.add(box(0.2, 0.27, 0.05), 3, (-side * w * 0.28, -0.02, z + 0.025), (0, 0, d.uniform(-40, 40)))
    if d.flag():
        m.add(cylinder(0.05, 0.11, sides=10), 2, (side * w * 0.3, 0.02, z))


def bookshelf(m: Model, d: Draws) -> None:
    """Open boards with books of many sizes in uneven rows, closed at the back."""
    w, depth, shelves = d.uniform(0.55, 1.1), d.uniform(0.22, 0.34), d.integer(3, 5)
    row, thick = d.uniform(0.27, 0.36), 0.03
    height = shelves * row
    m.pair(box(thick, depth, height + 0.08), 0, (w / 2, 0, height / 2))
    m.add(box(w, 0.015, height), 1, (0, depth / 2, height / 2))
    for i in range(shelves + 1):
        m.add(box(w + 0.04 * (i == shelves), depth, thick), 0, (0, 0, i * row))
    for i in range(shelves):
        x, end = -w / 2 + 0.03, w / 2 - d.uniform(0.04, 0.5 * w)
        while x < end:
            size, tall = d.uniform(0.035, 0.085), row * d.uniform(0.55, 0.85)
            book = box(size * 0.94, depth * d.uniform(0.6, 0.8), tall)
            m.add(book, d.pick((1, 2, 3)), (x + size / 2, -0.04, i * row + tall / 2))
            x += size
    if d.flag(0.6):
        m.add(disc(0.07, 0.16, 12), 2, (d.side() * w * 0.3, 0, height))
    if d.flag(0.5):
        m.add(box(w * 0.96, 0.02, row * 0.95), 3, (0, -depth / 2, row / 2))
        m.pair(box(0.02, 0.04, 0.12), 2, (0.04, -depth / 2 - 0.01, row / 2))


FAMILIES = (chair, stool, bench, sofa, bed, table, bookshelf)
