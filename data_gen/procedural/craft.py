"""Air, sea and space: airplane, helicopter, sailboat, ship, rocket. All head towards -y."""

from __future__ import annotations

import numpy as np

from data_gen.procedural.draws import Draws
from data_gen.procedural.model import Model
from data_gen.procedural.primitives import (
    ALONG_X,
    ALONG_Y,
    FRONT,
    SIDE,
    Array,
    Part,
    box,
    curve,
    cushion,
    cylinder,
    disc,
    dome,
    ellipsoid,
    extrude,
    hull,
    lathe,
    loft,
    rod,
    tube,
    wing,
)


def airplane(m: Model, d: Draws) -> None:
    """Airliner with two or four engines, or a propeller plane with high or low wings."""
    long, r = d.uniform(1.8, 2.4), d.uniform(0.13, 0.2)
    f, b = -long / 2, long / 2
    jet = d.flag(0.6)
    nose = 0.1 if jet else 0.0
    sections = [
        (f, -0.03, 0.08, 0.08),
        (f + 0.12, -0.01, 1.3 * r, 1.3 * r),
        (f + 0.35, 0, 2 * r, 2 * r),
    ]
    sections += [(b * 0.35, 0, 2 * r, 2 * r), (b * 0.8, 0.05, r, 1.1 * r), (b, 0.09, 0.05, 0.1)]
    m.add(hull(sections, 16), 0)
    span, sweep = d.uniform(0.85, 1.25), d.uniform(0.25, 0.6) if jet else d.uniform(-0.05, 0.1)
    z = r * (0.85 if not jet and d.flag() else -0.5)
    chord, y = d.uniform(0.42, 0.6), f * d.uniform(0.1, 0.25)
    rise = d.uniform(0.03, 0.16)
    m.pair(
        wing(
            (0, y, z),
            (span, y + sweep, z + rise),
            chord,
            d.uniform(0.3, 0.6) if jet else 0.75,
            0.11,
        ),
        1,
    )
    m.pair(
        wing(
            (0, b * 0.85, 0.06), (span * 0.36, b * 0.85 + sweep * 0.5, 0.1), chord * 0.55, 0.55, 0.1
        ),
        1,
    )
    high = d.uniform(0.35, 0.52)
    m.add(wing((0, b * 0.78, 0.05), (0, b * 0.95, high + 0.1), chord * 0.75, 0.5, 0.1), 2)
    if jet:
        pod = lathe([(0.05, 0), (0.1, 0.02), (0.105, 0.15), (0.06, 0.34)], 14)
        for share in (0.33, 0.62)[: d.integer(1, 2)]:
            at = (span * share, y + sweep * share - chord * 0.55, z + rise * share - 0.12)
            m.pair(pod, 2, at, ALONG_Y)
        m.add(box(1.12 * r, 0.14, 0.07), 3, (0, f + 0.24, r * 0.62), (35, 0, 0))
    else:
        m.add(cylinder(r * 0.75, 0.16, sides=14), 3, (0, f - 0.02, 0), ALONG_Y)
        m.add(dome(0.07, 0.07, 0.14, 10), 2, (0, f, 0), FRONT)
        blades = d.integer(2, 4)
        for i in range(blades):
            blade = box(0.09, 0.02, 0.42).placed((0, 0, 0.24), (0, 0, 25))
            m.add(blade.placed(turn=(0, 20 + 360 * i / blades, 0)), 2, (0, f - 0.05, 0))
        m.add(ellipsoid(r * 0.75, 0.3, r * 0.8, 14, 8), 3, (0, f * 0.35, r * 0.75))
        m.pair(rod((0.08, y, z - 0.1), (0.24, y - 0.05, -r - 0.2), 0.02), 3)
        m.pair(disc(0.09, 0.06, 12).placed((0, 0, -0.03)), 3, (0.25, y - 0.05, -r - 0.22), ALONG_X)
    count = d.integer(5, 9)
    for i in range(count):
        spot = f + 0.5 + (b * 0.4 - f - 0.5) * i / count
        m.pair(box(0.02, 0.07, 0.07), 3, (r * 0.985, spot, r * 0.25))
    m.pair(box(0.02, long * 0.6, 0.03), 2, (r * 0.985, -nose, -0.02))


def helicopter(m: Model, d: Draws) -> None:
    """A glazed cabin, thin tail with a side rotor, main rotor of two to five blades, skids."""
    r, long = d.uniform(0.26, 0.36), d.uniform(0.8, 1.15)
    cabin = d.uniform(0.5, 0.7)
    m.add(ellipsoid(r, cabin, r * 1.05, 16, 10), 0, (0, 0, 0))
    m.add(ellipsoid(r * 0.8, cabin * 0.5, r * 0.78, 16, 9), 3, (0, -cabin * 0.54, 0.08))
    m.add(
        rod((0, cabin * 0.5, r * 0.25), (0, cabin + long * 0.85, r * 0.4), r * 0.42, 0.045, 12), 0
    )
    tail = cabin + long * 0.85
    m.add(wing((0, tail - 0.12, 0.02), (0, tail + 0.08, r + 0.28), 0.24, 0.6, 0.14), 1)
    m.pair(wing((0, tail - 0.2, 0.14), (0.28, tail - 0.16, 0.14), 0.18, 0.7, 0.14), 1)
    side = d.side()
    for i in range(2):
        m.add(box(0.02, 0.05, 0.42), 2, (side * 0.07, tail, r * 0.45), (20 + 90 * i, 0, 0))
    m.add(cushion(r * 0.9, cabin * 0.9, 0.16, 0.06), 1, (0, cabin * 0.2, r))
    m.add(cylinder(0.035, 0.28, sides=8), 2, (0, 0.02, r))
    m.add(disc(0.09, 0.07, 12), 2, (0, 0.02, r + 0.24))
    blades, reach, start = d.integer(2, 5), d.uniform(0.9, 1.3), d.uniform(0, 90)
    for i in range(blades):
        blade = box(reach, 0.1, 0.02).placed((reach / 2, 0, 0), (8, 0, 0))
        m.add(blade, 2, (0, 0.02, r + 0.28), (0, -d.uniform(0, 2), start + 360 * i / blades))
    x, z = r * 0.95, -r - d.uniform(0.14, 0.24)
    skid = [
        (x, -cabin * 0.9, z + 0.1),
        (x, -cabin * 0.65, z),
        (x, cabin * 0.6, z),
        (x, cabin * 0.8, z),
    ]
    m.pair(tube(curve(skid, 9), 0.028), 3)
    for y in (-0.3, 0.3):
        m.pair(rod((r * 0.5, y * cabin, -r * 0.75), (x, y * cabin, z), 0.02), 3)
    m.pair(box(0.03, cabin * 0.5, r * 0.7), 1, (r * 0.98, cabin * 0.1, -0.05))


def _boat(long: float, width: float, deep: float, sheer: float) -> Part:
    """A hull whose deck lies at z = 0 amidships; the bow is at -y."""
    y = np.array([-0.5, -0.42, -0.25, 0.0, 0.25, 0.5])
    beam = np.array([0.02, 0.38, 0.8, 1.0, 0.97, 0.75]) * width / 2
    rise = np.array([1.0, 0.75, 0.35, 0.05, 0.0, 0.12]) * sheer
    keel = np.array([0.6, 0.8, 0.95, 1.0, 0.95, 0.75]) * deep
    shape = np.array([(1, 0), (0.95, -0.35), (0.7, -0.75), (0.12, -1), (-0.12, -1), (-0.7, -0.75)])
    shape = np.concatenate([shape, [(-0.95, -0.35), (-1, 0)]])
    rings = np.empty((len(y), len(shape), 3))
    rings[..., 0] = beam[:, None] * shape[:, 0]
    rings[..., 1] = y[:, None] * long + np.array([0.04 * long, *[0] * 5])[:, None] * -shape[:, 1]
    rings[..., 2] = rise[:, None] + keel[:, None] * shape[:, 1]
    return loft(rings)


def sailboat(m: Model, d: Draws) -> None:
    """A hull with mast, boom, main sail set to one side, jib, cabin, rudder."""
    long, w, deep = d.uniform(1.2, 1.7), d.uniform(0.36, 0.52), d.uniform(0.22, 0.34)
    m.add(_boat(long, w, deep, 0.14), 0)
    m.add(_boat(long * 1.01, w * 1.03, 0.06, 0.14), 1, (0, 0, 0.01))
    mast, y = d.uniform(1.3, 1.9), -long * d.uniform(0.06, 0.14)
    m.add(rod((0, y, -0.05), (0, y, mast), 0.026, 0.016), 3)
    swing, foot = d.side() * d.uniform(12, 35), d.uniform(0.4, 0.52) * long
    m.add(rod((0, 0, 0.22), (0, foot * 1.05, 0.22), 0.018).placed(turn=(0, 0, swing)), 3, (0, y, 0))
    main = np.array([(0.03, 0.26), (foot, 0.26), (foot * 0.62, mast * 0.6), (0.03, mast - 0.06)])
    sail = extrude(main, 0.02).placed((0, 0, -0.01)).placed(turn=SIDE)
    sail.points[:, 0] += swing / 150 * np.sin(np.pi * np.clip(sail.points[:, 1] / foot, 0, 1))
    m.add(sail, 2, (0, y, 0), (0, 0, swing))
    if d.flag(0.8):
        bow = -long * 0.5
        jib = np.array([(bow, 0.2), (y - 0.06, 0.24), (y - 0.05, mast * d.uniform(0.6, 0.85))])
        m.add(extrude(jib, 0.02), d.pick((1, 2)), (0.01, 0, 0), SIDE)
    if d.flag(0.7):
        m.add(cushion(w * 0.5, long * 0.26, 0.18, 0.05), 1, (0, long * 0.1, 0.07))
        m.pair(box(0.02, long * 0.16, 0.06), 3, (w * 0.25, long * 0.1, 0.1))
    m.add(box(0.03, 0.16, deep * 1.2), 3, (0, long * 0.5, -deep * 0.5))
    m.add(rod((0, long * 0.5, 0.1), (0, long * 0.34, 0.16), 0.014), 3)
    if d.flag():
        m.add(extrude([(0, 0), (0.2, 0.05), (0, 0.1)], 0.015), 1, (0, y, mast - 0.06), SIDE)


def ship(m: Model, d: Draws) -> None:
    """A steamer, a freighter with containers, or a tug: hull, bridge, funnels (beside sailboat)."""
    kind = d.pick(("steamer", "freighter", "tug"))
    long = d.uniform(1.2, 1.4) if kind == "tug" else d.uniform(1.8, 2.4)
    w, deep = d.uniform(0.4, 0.52), d.uniform(0.24, 0.36)
    m.add(_boat(long, w, deep, 0.2), 0)
    m.add(_boat(long * 0.95, w * 0.93, deep * 0.6, 0.0), 1, (0, long * 0.02, -deep * 0.5))
    m.add(_boat(long * 0.94, w * 0.9, 0.05, 0.16), 2, (0, 0.02, 0.035))
    if kind == "steamer":
        decks, z, size = d.integer(2, 3), 0.04, long * 0.62
        for i in range(decks):
            m.add(
                cushion(w * (0.8 - 0.1 * i), size, 0.13, 0.03),
                2 if i % 2 else 1,
                (0, 0.05, z + 0.08),
            )
            m.pair(box(0.02, size * 0.85, 0.045), 3, (w * (0.4 - 0.05 * i), 0.05, z + 0.09))
            z, size = z + 0.13, size * 0.86
        for i in range(d.integer(1, 4)):
            at = (0, -size * 0.3 + i * 0.21, z)
            m.add(cylinder(0.07, 0.3, 0.065, 12), 0, at, (-10, 0, 0))
            m.add(cylinder(0.075, 0.07, sides=12).placed((0, 0, 0.22)), 3, at, (-10, 0, 0))
    else:
        y = long * (0.34 if kind == "freighter" else 0.0)
        for i in range(3):
            m.add(box(w * (0.72 - 0.08 * i), 0.3 - 0.05 * i, 0.16), 1, (0, y, 0.1 + 0.16 * i))
        m.add(box(w * 0.6, 0.03, 0.08), 3, (0, y - 0.11, 0.45))
        m.add(cylinder(0.075, 0.34, 0.065, 12), 3, (0, y + 0.2, 0.05))
        m.add(cylinder(0.08, 0.08, sides=12), 2, (0, y + 0.2, 0.25))
        if kind == "freighter":
            for i in range(5):
                for j in (-1, 0, 1):
                    high = 0.12 * d.integer(1, 3)
                    y = long * (0.11 * i - 0.28)
                    crate = box(w * 0.24, long * 0.1, high)
                    m.add(crate, d.pick((1, 2, 3)), (j * w * 0.26, y, 0.05 + high / 2))
        else:
            for i in range(4):
                m.pair(disc(0.08, 0.05, 10), 3, (w * 0.42, -long * 0.2 + 0.18 * i, -0.03), ALONG_X)
    m.add(rod((0, -long * 0.34, 0.05), (0, -long * 0.36, d.uniform(0.4, 0.7)), 0.014), 3)
    m.add(box(0.02, 0.14, 0.09), 2, (0, long * 0.46, 0.28))
    m.add(rod((0, long * 0.5, 0), (0, long * 0.5, 0.34), 0.012), 3)


def _fin(chord: float, span: float, drop: float) -> Array:
    return np.array([(0, chord), (0, 0), (span, -drop), (span, chord * 0.35 - drop)])


def rocket(m: Model, d: Draws) -> None:
    """A stage with a pointed or round nose, fins, a port hole in front, one booster on a side."""
    r, h, tip = d.uniform(0.16, 0.26), d.uniform(1.0, 1.6), d.uniform(0.35, 0.6)
    waist = d.uniform(0.75, 1.0)
    body = curve([(r * 0.85, 0), (r * 1.05, h * 0.3), (r * waist, h)], 7)
    m.add(lathe(body, 20), 0)
    nose = curve([(r * waist, h), (r * waist * 0.72, h + tip * 0.55), (0.02, h + tip)], 7)
    m.add(lathe(nose, 20), 1)
    m.add(cylinder(r * 0.7, 0.16, r * 0.4, 16), 3, (0, 0, -0.15))
    fins, chord = d.integer(3, 4), d.uniform(0.35, 0.6)
    span, drop = d.uniform(0.2, 0.4), d.uniform(-0.02, 0.3)
    for i in range(fins):
        plate = extrude(_fin(chord, span, drop), 0.04).placed((r * 0.8, 0, -0.02))
        m.add(plate.placed(turn=FRONT), 1, turn=(0, 0, 90 + 180 / fins + 360 * i / fins))
    z = h * d.uniform(0.62, 0.78)
    for i in range(d.integer(1, 2)):
        port = (0, -r * 0.9, z - 0.34 * i)
        m.add(disc(r * 0.55, 0.08, 16), 2, port, FRONT)
        m.add(disc(r * 0.4, 0.1, 14), 3, port, FRONT)
    band = h * d.uniform(0.15, 0.3)
    m.add(cylinder(r * 1.07, d.uniform(0.04, 0.12), sides=20), 2, (0, 0, band))
    side, width = d.side(), r * d.uniform(0.4, 0.55)
    x = side * (r + width * 0.9)
    m.add(cylinder(width, h * 0.55, sides=14), 3, (x, 0, 0))
    m.add(cylinder(width, 0.28, 0.01, 14), 2, (x, 0, h * 0.55))
    m.add(cylinder(width * 0.8, 0.12, width * 0.5, 12), 1, (x, 0, -0.1))
    if d.flag(0.5):
        count = 4
        for i in range(count):
            m.add(box(r * 0.5, 0.03, 0.1), 3, (0, r * 1.0, h * (0.2 + 0.17 * i)))


FAMILIES = (airplane, helicopter, sailboat, ship, rocket)
