"""Look-alikes of the demo's classes: each is its original with something that tells it apart.

They are there so that a linear probe does not saturate: an original and its look-alike share
shape and, where a class has colours of its own, those too. What tells them apart is large enough
to be seen in 64-pixel images, but not from everywhere.
"""

from __future__ import annotations

import numpy as np

from data_gen.procedural import devices, furniture, kitchen, places, road, sound, wheels, worn
from data_gen.procedural.draws import Draws
from data_gen.procedural.model import Model
from data_gen.procedural.primitives import (
    ALONG_X,
    FRONT,
    SIDE,
    box,
    cushion,
    cylinder,
    disc,
    dome,
    extrude,
    rod,
)


def cot(m: Model, d: Draws) -> None:
    """A bed with barred sides, and a mobile over its head."""
    furniture.bed(m, d)
    (x, front, _), (_, back, top) = m.bounds
    low, high, count = top * 0.35, top * d.uniform(0.8, 0.95), d.integer(4, 7)
    for share in np.linspace(0.04, 0.96, count):
        y = front + share * (back - front)
        m.pair(rod((x, y, low), (x, y, high), 0.03), 0)
    m.pair(box(0.07, back - front, 0.07), 0, (x, (front + back) / 2, high))
    arm = back - d.uniform(0.4, 0.6)
    m.add(rod((0, back, top * 0.8), (0, arm, top + 0.45), 0.03), 3)
    m.add(disc(0.2, 0.06, 12), 2, (0, arm, top + 0.36))


def camcorder(m: Model, d: Draws) -> None:
    """A camera with a screen folded out on its left, a handle above and a long eye piece."""
    devices.camera(m, d)
    (_, front, low), (right, back, high) = m.bounds
    w, h = d.uniform(0.4, 0.5), d.uniform(0.3, 0.4)
    m.add(box(w, 0.05, h), 0, (right + w / 2, (front + back) / 2 + 0.1, (low + high) / 2))
    screen = box(w * 0.85, 0.02, h * 0.8)
    m.add(screen, 2, (right + w / 2, (front + back) / 2 + 0.14, (low + high) / 2))
    rise, long = d.uniform(0.1, 0.18), (back - front) * 0.7
    for y in (-0.4 * long, 0.4 * long):
        m.add(rod((0, y, high - 0.1), (0, y, high + rise), 0.035), 3)
    m.add(cushion(0.1, long, 0.09, 0.03), 1, (0, 0, high + rise))
    m.add(cylinder(0.09, 0.34, 0.12, 12), 3, (-0.2, back - 0.05, high * 0.6), (-90, 0, 0))


def patrol_car(m: Model, d: Draws) -> None:
    """A car with a wide bar of lamps on its roof, a bull bar and a stripe along its sides."""
    road.car(m, d)
    (x, front, low), (_, back, top) = m.bounds
    w, at = -x * d.uniform(1.2, 1.5), d.uniform(-0.02, 0.12) * (back - front)
    m.add(box(w, 0.16, 0.05), 3, (0, at, top - 0.01))
    m.add(cushion(w * 0.45, 0.17, 0.13, 0.04), 1, (-w * 0.27, at, top + 0.07))
    m.add(cushion(w * 0.45, 0.17, 0.13, 0.04), 2, (w * 0.27, at, top + 0.07))
    z = low + 0.3 * (top - low)
    m.add(box(-1.5 * x, 0.05, 0.05), 2, (0, front - 0.06, z))
    m.pair(box(0.05, 0.05, 0.22), 2, (x * 0.5, front - 0.06, z))
    m.pair(box(0.03, (back - front) * 0.6, 0.09), 2, (x, 0, low + 0.45 * (top - low)))


def armchair(m: Model, d: Draws) -> None:
    """A chair with padded sides, a thick seat and a pillow for the neck."""
    furniture.chair(m, d)
    (x, front, _), (_, back, top) = m.bounds
    x, deep = max(x, -0.34), min(back, 0.3) - max(front, -0.3)
    seat = min(0.42 * top, 0.5)
    rise, thick = d.uniform(0.22, 0.3), d.uniform(0.1, 0.15)
    m.pair(cushion(thick, deep, rise, 0.04), 1, (x, 0, seat + rise / 2))
    m.pair(cushion(thick * 1.25, deep * 1.04, 0.07, 0.03), 3, (x, 0, seat + rise))
    m.add(cushion(-1.5 * x, deep * 0.8, 0.12, 0.05), 1, (0, -0.02, seat + 0.08))
    m.add(cushion(-1.2 * x, 0.12, 0.14, 0.05), 3, (0, back - 0.08, top - 0.08))


def chapel(m: Model, d: Draws) -> None:
    """A house with a tower and its pointed roof at one end, a cross on the gable."""
    places.house(m, d)
    (left, front, _), (right, back, top) = m.bounds
    side = d.side()
    w, tall = d.uniform(0.26, 0.36), top * d.uniform(1.05, 1.3)
    x, y = (right if side > 0 else left) * 0.72, (front + back) / 2
    m.add(box(w, w, tall), 0, (x, y, tall / 2))
    spire = cylinder(w * 0.8, d.uniform(0.35, 0.6), 0.02, 4).placed(turn=(0, 0, 45))
    m.add(spire, 1, (x, y, tall))
    m.add(disc(w * 0.32, 0.05, 12), 2, (x, y - w / 2, tall * 0.82), FRONT)
    m.add(box(0.05, 0.05, 0.3), 3, (-x * 0.4, y, top + 0.08))
    m.add(box(0.2, 0.05, 0.05), 3, (-x * 0.4, y, top + 0.12))


def game_console(m: Model, d: Draws) -> None:
    """A laptop with a grip on either side, a stick on one and buttons on the other."""
    devices.laptop(m, d)
    (x, front, _), _ = m.bounds
    w, long, thick = d.uniform(0.2, 0.28), -1.6 * front, d.uniform(0.1, 0.16)
    m.pair(cushion(w, long, thick, 0.05), 1, (x - w / 2, 0, 0))
    side = d.side()
    m.add(cylinder(0.045, 0.1, sides=10), 3, (side * (x - w / 2), 0.14 * long, thick / 2 - 0.01))
    m.add(dome(0.08, 0.08, 0.05, 12), 2, (side * (x - w / 2), 0.14 * long, thick / 2 + 0.08))
    for i, j in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        at = (-side * (x - w / 2) + 0.055 * i, 0.14 * long + 0.055 * j, thick / 2 - 0.01)
        m.add(disc(0.035, 0.05, 10), 3 if i else 2, at)
    m.pair(box(w * 0.8, 0.06, 0.08), 2, (x - w / 2, long / 2, 0.02))


def birdhouse(m: Model, d: Draws) -> None:
    """A mailbox with a hole for a door, a perch, a landing board and a steep roof."""
    places.mailbox(m, d)
    (x, front, _), (_, back, top) = m.bounds
    x, y = max(x, -0.28), (front + back) / 2
    eave, rise = d.uniform(0.06, 0.14), d.uniform(0.24, 0.36)
    gable = [(x - eave, -0.05), (-x + eave, -0.05), (0, rise)]
    long = back - front + 0.16
    m.add(extrude(gable, long).placed((0, 0, -long / 2)), 1, (0, y, min(top, 0.4)), FRONT)
    m.add(disc(0.1, 0.07, 14), 3, (0, front + 0.05, 0.2), FRONT)
    m.add(rod((0, front + 0.1, 0.06), (0, front - d.uniform(0.16, 0.26), 0.06), 0.028), 2)
    m.add(box(-2.4 * x, long, 0.05), 3, (0, y, -0.03))


def organ(m: Model, d: Draws) -> None:
    """A piano with a row of pipes behind it, longest at one end, and a board of stops."""
    sound.piano(m, d)
    (x, front, _), (right, back, top) = m.bounds
    count, side = d.integer(6, 9), d.side()
    y, tall, step = min(back, front + 1.2), top * d.uniform(0.7, 0.95), (right - x) / count
    for i in range(count):
        long = tall * (1 - 0.55 * i / count)
        at = (side * (x + (i + 0.5) * step), y, top * 0.35)
        m.add(cylinder(step * 0.4, long, sides=10), 1 if i % 2 else 3, at)
    m.add(box(right - x, 0.16, top * 0.4), 0, (0, y, top * 0.3))
    m.pair(box(0.08, 0.2, 0.3), 2, (x * 0.86, front + 0.5, top * 0.72))


def roller_skate(m: Model, d: Draws) -> None:
    """A shoe on a plate with four wheels, a stop at its toe."""
    worn.shoe(m, d)
    (x, front, _), (_, back, _) = m.bounds
    r, x = d.uniform(0.11, 0.16), min(0.7 * x, -0.1)
    m.add(box(-1.2 * x, (back - front) * 0.8, 0.05), 2, (0, 0, -0.03))
    for y in (front * 0.6, back * 0.6):
        m.pair(cylinder(r, 0.1, sides=14).placed((0, 0, -0.05)), 3, (x, y, -r), ALONG_X)
        m.pair(cylinder(r * 0.4, 0.13, sides=10).placed((0, 0, -0.065)), 2, (x, y, -r), ALONG_X)
        m.add(rod((x, y, -r), (-x, y, -r), 0.03), 2)
    m.add(cylinder(0.08, 0.12, 0.05, 10), 1, (0, front * 0.95, -0.16))


def fax_machine(m: Model, d: Draws) -> None:
    """A telephone with a paper tray standing at its back, a sheet in it, and a side box."""
    sound.telephone(m, d)
    (_, front, _), (right, back, top) = m.bounds
    w, tall = d.uniform(0.5, 0.62), d.uniform(0.4, 0.6)
    lean = -d.uniform(15, 30)
    hinge = (0, back - 0.05, top * 0.45)
    m.add(box(w, 0.05, tall).placed((0, 0, tall / 2)), 1, hinge, (lean, 0, 0))
    sheet = box(w * 0.8, 0.02, tall * 1.15).placed((0, -0.04, tall * 0.62))
    m.add(sheet, 3, hinge, (lean, 0, 0))
    long, side = back - front, d.uniform(0.18, 0.26)
    m.add(box(side, long * 0.85, top * 0.5), 0, (right + side / 2 - 0.02, 0, top * 0.25))
    m.add(box(side * 0.6, long * 0.5, 0.04), 2, (right + side / 2 - 0.02, 0, top * 0.5))


def tank_engine(m: Model, d: Draws) -> None:
    """A steam engine with water tanks along its boiler and a coal bunker behind its cab."""
    wheels.train(m, d)
    (x, front, low), (_, back, top) = m.bounds
    long, tall = (back - front) * d.uniform(0.38, 0.48), (top - low) * d.uniform(0.3, 0.38)
    y, z = front + 0.2 + 0.55 * long, low + 0.58 * (top - low)
    m.pair(box(0.2, long, tall), 0, (x * 0.85, y, z))
    m.pair(box(0.04, long * 0.8, 0.07), 2, (x * 0.85 - 0.11, y, z))
    m.pair(disc(0.06, 0.06, 10), 3, (x * 0.85, y - 0.3 * long, z + tall / 2))
    deep = d.uniform(0.25, 0.4)
    m.add(box(-1.7 * x, deep, tall), 1, (0, back + deep / 2 - 0.03, low + 0.42 * (top - low)))
    heap = dome(-0.7 * x, deep * 0.45, 0.12, 10, 4)
    m.add(heap, 3, (0, back + deep / 2 - 0.03, low + 0.42 * (top - low) + tall / 2))


def sprayer(m: Model, d: Draws) -> None:
    """A watering can with a pump on top and a second, thinner pipe to its tip."""
    kitchen.watering_can(m, d)
    (left, _, _), (_, _, top) = m.bounds
    base, rise = 0.55 * top, d.uniform(0.35, 0.55)
    m.add(cylinder(0.1, 0.3, 0.08, 12), 1, (0.02, 0, base))
    m.add(rod((0.02, 0, base), (0.02, 0, top + rise), 0.03), 2)
    m.add(rod((0.02, -0.22, top + rise), (0.02, 0.22, top + rise), 0.05), 3)
    m.add(rod((0, 0.05, base + 0.2), (left * 0.8, 0.05, top * 0.95), 0.025), 2)
    nozzle = extrude([(-0.08, -0.1), (0.1, 0), (-0.08, 0.1)], 0.1).placed((0, 0, -0.05))
    m.add(nozzle, 3, (left * 0.8, 0.05, top), SIDE)


FAMILIES = (
    cot,
    camcorder,
    patrol_car,
    armchair,
    chapel,
    game_console,
    birdhouse,
    organ,
    roller_skate,
    fax_machine,
    tank_engine,
    sprayer,
)
ORIGINALS = (
    "bed",
    "camera",
    "car",
    "chair",
    "house",
    "laptop",
    "mailbox",
    "piano",
    "shoe",
    "telephone",
    "train",
    "watering_can",
)
