"""Other things on wheels: train, bicycle, motorcycle, scooter. They head towards -y."""

from __future__ import annotations

import numpy as np

from data_gen.procedural.details import spoked_wheel, wheel
from data_gen.procedural.draws import Draws
from data_gen.procedural.model import Model
from data_gen.procedural.primitives import (
    ALONG_X,
    ALONG_Y,
    FRONT,
    box,
    curve,
    cushion,
    cylinder,
    disc,
    dome,
    ellipsoid,
    extrude,
    lathe,
    rod,
    tube,
)


def train(m: Model, d: Draws) -> None:
    """A steam engine: boiler, chimney, domes, cab at the back, cow catcher, coupled wheels."""
    long, r, w = d.uniform(1.2, 1.8), d.uniform(0.24, 0.32), 0.66
    drive, f = d.uniform(0.2, 0.28), -0.9
    axis = 2 * drive * 0.75 + r + 0.08
    m.add(box(w, long + 0.75, 0.1), 3, (0, f + (long + 0.75) / 2, axis - r - 0.02))
    m.add(cylinder(r, long, sides=20), 0, (0, f + 0.05, axis), ALONG_Y)
    m.add(disc(r * 0.8, 0.08, 18), 1, (0, f + 0.06, axis), FRONT)
    m.add(disc(0.07, 0.1, 10), 2, (0, f + 0.05, axis + r + 0.06), FRONT)
    for share in (0.28, 0.5, 0.72):
        m.add(cylinder(r * 1.03, 0.04, sides=20), 2, (0, f + long * share, axis), ALONG_Y)
    high, flare = d.uniform(0.25, 0.45), d.uniform(0.8, 1.9)
    m.add(
        lathe([(0.09, 0), (0.09, high * 0.5), (0.09 * flare, high), (0.06, high)], 14),
        3,
        (0, f + 0.2, axis + r * 0.9),
    )
    for i in range(d.integer(1, 2)):
        m.add(dome(0.12, 0.12, 0.2, 12), 1, (0, f + long * (0.42 + 0.26 * i), axis + r * 0.9))
    y, top = f + long + 0.32, axis + r + d.uniform(0.25, 0.4)
    m.add(box(w, 0.6, top - axis + r), 1, (0, y, (top + axis - r) / 2))
    m.add(cushion(w * 1.2, 0.78, 0.07, 0.03), 2, (0, y, top + 0.02))
    m.pair(box(0.03, 0.34, 0.26), 3, (w / 2, y, top - 0.22))
    catcher = [(-w / 2, 0), (w / 2, 0), (0.1, -0.26), (-0.1, -0.26)]
    m.add(extrude(catcher, axis - r - 0.08), 2, (0, f + 0.12, 0.05))
    count = d.integer(2, 3)
    for i in range(count):
        spot = f + long + 0.45 - (i + 0.3) * 2.15 * drive
        for side in (-1, 1):
            wheel(m, (side * w * 0.44, spot, drive), drive, 0.09, tyre=1, hub=3)
    spot = f + 0.3
    for side in (-1, 1):
        wheel(m, (side * w * 0.44, spot, drive * 0.6), drive * 0.6, 0.09, tyre=1, hub=3)
        m.add(
            box(0.04, 2.15 * drive * (count - 1) + 0.3, 0.05),
            2,
            (side * w * 0.54, f + long + 0.4 - 2.15 * drive * count / 2, drive * 1.05),
        )
        m.add(cylinder(0.09, 0.3, sides=10), 0, (side * w * 0.5, spot + 0.15, drive * 1.3), ALONG_Y)


def bicycle(m: Model, d: Draws) -> None:
    """Frame of several cuts, drop or straight bars, saddle, chain on the right; basket or rack."""
    r, base = d.uniform(0.3, 0.36), d.uniform(0.95, 1.1)
    thick = d.uniform(0.022, 0.034)
    small = r * d.pick((1.0, 1.0, 0.75))
    spoked_wheel(m, (0, -base / 2, small), small, 0.028, d.integer(6, 10), (3, 2))
    spoked_wheel(m, (0, base / 2, r), r, 0.028, d.integer(6, 10), (3, 2))
    crank, seat = (0, 0.06, r * 0.95), (0, 0.26, d.uniform(0.72, 0.82))
    head, low = (0, -base / 2 + 0.2, 0.78), (0, -base / 2 + 0.17, 0.62)
    m.add(rod(crank, seat, thick), 0)
    m.add(rod(crank, low, thick * 1.2), 0)
    step = d.flag(0.4)
    m.add(rod(low if step else head, (0, 0.13, 0.5) if step else (0, 0.24, 0.7), thick), 0)
    m.pair(rod((0.04, base / 2, r), (0.02, crank[1], crank[2]), thick * 0.6), 0)
    m.pair(rod((0.04, base / 2, r), (0.02, 0.24, 0.68), thick * 0.6), 0)
    m.pair(rod((0.045, -base / 2, small), (0.03, low[1], low[2]), thick * 0.7), 1)
    m.add(rod(low, (0, head[1] + 0.04, 0.9), thick * 1.1), 1)
    m.add(rod(seat, (0, 0.28, seat[2] + 0.08), thick * 0.7), 2)
    m.add(ellipsoid(0.09, 0.17, 0.04, 12, 7), 3, (0, 0.27, seat[2] + 0.1), (-5, 0, 0))
    y, z = head[1] + 0.04, 0.9
    if d.flag(0.4):
        m.pair(
            tube(
                curve(
                    [
                        (0, y, z),
                        (0.2, y, z),
                        (0.22, y - 0.18, z - 0.02),
                        (0.22, y - 0.12, z - 0.15),
                    ],
                    10,
                ),
                0.022,
            ),
            2,
        )
    else:
        sweep = d.uniform(-0.02, 0.16)
        m.pair(
            tube(curve([(0, y, z), (0.14, y, z + sweep), (0.28, y + sweep, z + sweep)], 7), 0.022),
            2,
        )
        m.pair(rod((0.2, y + sweep * 0.6, z + sweep), (0.31, y + sweep, z + sweep), 0.035), 3)
    m.add(disc(0.1, 0.03, 14), 2, (0.04, crank[1], crank[2]), ALONG_X)
    m.add(rod((0.06, crank[1], crank[2]), (0.06, -0.06, crank[2] - 0.13), 0.018), 3)
    m.add(rod((-0.06, crank[1], crank[2]), (-0.06, 0.18, crank[2] + 0.13), 0.018), 3)
    m.add(box(0.12, 0.08, 0.03), 3, (0.12, -0.06, crank[2] - 0.14))
    m.add(box(0.12, 0.08, 0.03), 3, (-0.12, 0.18, crank[2] + 0.14))
    extra = d.pick(("basket", "rack", "none"))
    if extra == "basket":
        m.add(
            extrude([(-0.14, -0.1), (0.14, -0.1), (0.14, 0.1), (-0.14, 0.1)], 0.22),
            1,
            (0, -base / 2 - 0.02, 0.72),
        )
    elif extra == "rack":
        m.add(box(0.16, 0.36, 0.03), 1, (0, base / 2 - 0.02, 2 * r + 0.08))
        m.add(cushion(0.22, 0.24, 0.16, 0.03), 1, (0, base / 2, 2 * r + 0.17))


def motorcycle(m: Model, d: Draws) -> None:
    """Fat wheels, tank, engine, seat, exhaust on the right; screen, bags or a side car."""
    r, base, fat = d.uniform(0.27, 0.33), d.uniform(1.05, 1.35), d.uniform(0.06, 0.09)
    for y in (-base / 2, base / 2):
        m.add(
            lathe(
                [(r * 0.6, -fat), (r * 0.9, -fat), (r, 0), (r * 0.9, fat), (r * 0.6, fat)],
                20,
                hollow=True,
            ),
            3,
            (0, y, r),
            ALONG_X,
        )
        m.add(
            cylinder(r * 0.62, fat * 1.2, sides=14).placed((0, 0, -fat * 0.6)),
            2,
            (0, y, r),
            ALONG_X,
        )
    bars = (0.0, -base / 2 + d.uniform(0.22, 0.4), d.uniform(0.82, 1.0))
    m.pair(rod((0.1, -base / 2, r), (0.09, bars[1], bars[2]), 0.03), 2)
    m.add(ellipsoid(0.15, 0.3, 0.15, 14, 8), 0, (0, -0.12, 0.72), (-8, 0, 0))
    m.add(cushion(0.24, 0.4, 0.3, 0.04), 2, (0, -0.05, 0.42))
    m.pair(cylinder(0.09, 0.2, sides=10), 3, (0.06, -0.12, 0.42), (30, 20, 0))
    m.add(cushion(0.24, d.uniform(0.45, 0.65), 0.11, 0.05), 3, (0, 0.34, 0.66), (6, 0, 0))
    m.add(rod((0, -0.05, 0.66), (0, base / 2 - 0.1, 0.58), 0.06), 0)
    m.pair(rod((0.1, base / 2, r), (0.08, 0.1, 0.4), 0.03), 0)
    guard = np.radians(np.linspace(20, 160, 9))
    for y in (-base / 2, base / 2):
        path = np.stack(
            [0 * guard, y + (r + 0.05) * np.cos(guard), r + (r + 0.05) * np.sin(guard)], 1
        )
        m.add(tube(path, fat * 0.9, 6).scaled(1.4, 1, 1), 1)
    m.pair(
        tube(
            curve(
                [
                    (0, bars[1], bars[2]),
                    (0.2, bars[1], bars[2] + 0.08),
                    (0.38, bars[1] + 0.14, bars[2] + 0.02),
                ],
                8,
            ),
            0.028,
        ),
        3,
    )
    m.add(disc(0.11, 0.12, 14), 1, (0, bars[1] - 0.02, bars[2] - 0.12), FRONT)
    m.add(
        tube(
            curve(
                [
                    (0.14, -0.2, 0.4),
                    (0.17, -0.1, 0.2),
                    (0.17, 0.3, 0.22),
                    (0.17, base / 2 + 0.25, 0.3),
                ],
                10,
            ),
            np.linspace(0.035, 0.065, 10),
            8,
        ),
        2,
    )
    extra = d.pick(("screen", "bags", "none", "box"))
    if extra == "screen":
        m.add(cushion(0.4, 0.03, 0.34, 0.014), 1, (0, bars[1] - 0.05, bars[2] + 0.18), (-25, 0, 0))
    elif extra == "bags":
        m.pair(cushion(0.14, 0.4, 0.26, 0.05), 1, (0.2, base / 2 + 0.02, 0.55))
    elif extra == "box":
        m.add(cushion(0.36, 0.3, 0.26, 0.04), 1, (0, base / 2 + 0.1, 0.82))


def scooter(m: Model, d: Draws) -> None:
    """A kick scooter: a low deck, a tall post at the front with a bar, two small wheels."""
    long, w, r = d.uniform(0.65, 0.9), d.uniform(0.14, 0.2), d.uniform(0.07, 0.13)
    z, f = r + 0.03, -long / 2
    m.add(cushion(w, long, 0.05, 0.024), 0, (0, 0.05, z))
    m.add(box(w * 0.7, long * 0.7, 0.02), 1, (0, 0.08, z + 0.025))
    lean, high = d.uniform(0.04, 0.16), d.uniform(0.75, 1.05)
    foot, top = (0, f - 0.14, r), (0, f - 0.14 + lean + 0.06, high)
    m.add(rod((0, f + 0.1, z), (0, f - 0.1, z + 0.16), 0.035), 0)
    m.add(rod((0, f - 0.13, r + 0.05), top, 0.03, 0.024), 2)
    m.pair(rod((0.045, *foot[1:]), (0.04, f - 0.12, 2 * r + 0.06), 0.016), 2)
    for y in (foot[1], long / 2 + 0.1):
        m.add(
            lathe([(r * 0.6, -0.025), (r, -0.02), (r, 0.02), (r * 0.6, 0.025)], 16),
            3,
            (0, y, r),
            ALONG_X,
        )
        m.add(cylinder(r * 0.45, 0.07, sides=10).placed((0, 0, -0.035)), 2, (0, y, r), ALONG_X)
    m.add(box(0.09, 0.2, 0.02), 1, (0, long / 2 + 0.08, 2 * r + 0.03), (15, 0, 0))
    bar = d.uniform(0.18, 0.28)
    m.pair(rod((0, *top[1:]), (bar, top[1] + 0.03, top[2] + d.uniform(0, 0.08)), 0.022), 2)
    m.pair(
        rod(
            (bar * 0.6, top[1] + 0.02, top[2] + 0.02),
            (bar * 1.1, top[1] + 0.03, top[2] + 0.04),
            0.035,
        ),
        3,
    )
    extra = d.pick(("board", "lamp", "seat", "none"))
    if extra == "board":
        m.add(cushion(0.24, 0.03, 0.3, 0.014), 1, (0, top[1] - 0.08, high * 0.72))
    elif extra == "lamp":
        m.add(disc(0.06, 0.08, 12), 1, (0, top[1] - 0.02, high * 0.88), FRONT)
    elif extra == "seat":
        m.add(rod((0, long * 0.3, z), (0, long * 0.33, 0.5), 0.02), 2)
        m.add(ellipsoid(0.09, 0.14, 0.04, 12, 6), 3, (0, long * 0.33, 0.52))


FAMILIES = (train, bicycle, motorcycle, scooter)
