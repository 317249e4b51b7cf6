"""Devices: lamp, clock, camera, laptop."""

from __future__ import annotations

import numpy as np

from data_gen.procedural.draws import Draws
from data_gen.procedural.model import Model
from data_gen.procedural.primitives import (
    ALONG_X,
    FRONT,
    box,
    circle,
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


def lamp(m: Model, d: Draws) -> None:
    """A desk lamp: base, jointed or bent arm to the front, tilted shade, a switch in front."""
    r, thick = d.uniform(0.22, 0.34), d.uniform(0.02, 0.035)
    if d.flag():
        m.add(disc(r, 0.08, 20), 0)
    else:
        m.add(cushion(2 * r, 1.6 * r, 0.08, 0.03), 0, (0, 0, 0.04))
    m.add(disc(0.05, 0.05, 10), 2, (d.side() * r * 0.5, -r * 0.45, 0.07))
    back, rise = d.uniform(0.05, 0.3), d.uniform(0.5, 0.8)
    reach, top = d.uniform(0.4, 0.75), d.uniform(0.9, 1.3)
    elbow, tip = (0, back, rise), (0, back - reach, top)
    if d.flag(0.6):
        m.add(rod((0, 0.05, 0.06), elbow, thick), 1)
        m.add(rod(elbow, tip, thick), 1)
        m.add(disc(thick * 2, 0.1, 12).placed((0, 0, -0.05)), 3, elbow, ALONG_X)
        m.add(disc(thick * 2, 0.1, 12).placed((0, 0, -0.05)), 3, tip, ALONG_X)
    else:
        path = [
            (0, 0.05, 0.06),
            (0, back * 0.8, rise * 0.8),
            (0, back - reach * 0.3, top * 1.05),
            tip,
        ]
        m.add(tube(curve(path, 14), thick), 1)
    mouth, deep, tilt = d.uniform(0.2, 0.34), d.uniform(0.25, 0.4), d.uniform(15, 50)
    knee = d.pick(((0.45, 0.5), (0.9, 0.25), (0.8, 0.55), (0.55, 0.8)))  # bell, dome, cup, trumpet
    shade = curve([(0.07, 0), (mouth * knee[0], -deep * knee[1]), (mouth, -deep)], 7)
    shade = np.concatenate([[(0.0, 0.0)], shade, shade[::-1] - (0.02, 0.005), [(0.0, -0.03)]])
    at, turn = tip, (-tilt, d.uniform(-15, 15), 0)
    m.add(lathe(shade, 20).placed((0, 0, 0.03)), 0 if d.flag() else 2, at, turn)
    m.add(ellipsoid(0.085, 0.085, 0.1, 12, 7).placed((0, 0, -deep * 0.55)), 3, at, turn)
    m.add(cylinder(0.06, 0.1, 0.05, 12), 1, at, turn)


def clock(m: Model, d: Draws) -> None:
    """Alarm clock, mantel clock or tower-shaped long-case clock; the face looks to the front."""
    style = d.pick(("alarm", "mantel", "long"))
    r = d.uniform(0.3, 0.4)
    if style == "alarm":
        m.add(disc(r + 0.06, 0.28, 24).placed((0, 0, -0.14)), 0, turn=FRONT)
        m.pair(dome(0.15, 0.15, 0.13, 14), 1, (0.2, 0, r + 0.08), (0, 28, 0))
        m.pair(rod((0.14, 0, -r * 0.8), (0.28, 0, -r - 0.16), 0.04, 0.03), 1)
        m.add(tube(curve([(-0.12, 0, r + 0.1), (0, 0, r + 0.34), (0.12, 0, r + 0.1)], 9), 0.02), 3)
    elif style == "mantel":
        w, foot = r * d.uniform(2.5, 3.6), d.uniform(0.08, 0.16)
        outline = circle(15, 0, 180) * (r + 0.08, r + 0.08)
        low = [(-w / 2, -r * 0.6), (-w / 2, -r - 0.05), (w / 2, -r - 0.05), (w / 2, -r * 0.6)]
        m.add(
            extrude(np.concatenate([outline, low]), 0.26, 0.02).placed((0, 0, -0.12)), 0, turn=FRONT
        )
        m.add(box(w + 0.1, 0.4, foot), 1, (0, 0, -r - 0.05 - foot / 2))
        m.add(ellipsoid(0.07, 0.07, 0.1, 10, 6), 1, (0, 0, r + 0.12))
    else:
        tall, w = d.uniform(1.0, 1.5), 2 * r + 0.12
        m.add(box(w, 0.3, w), 0, (0, 0, 0))
        m.add(box(w * 0.72, 0.24, tall), 0, (0, 0.02, -w / 2 - tall / 2 + 0.02))
        m.add(box(w * 1.02, 0.32, 0.2), 1, (0, 0, -w / 2 - tall))
        m.add(
            extrude([(-w * 0.58, 0), (w * 0.58, 0), (0, 0.26)], 0.34).placed((0, 0, -0.17)),
            1,
            (0, 0, w / 2),
            FRONT,
        )
        m.add(box(w * 0.44, 0.02, tall * 0.75), 3, (0, -0.1, -w / 2 - tall * 0.48))
        swing = d.uniform(-10, 10)
        m.add(
            box(0.03, 0.03, tall * 0.5).placed((0, 0, -tall * 0.25)),
            2,
            (0, -0.12, -w / 2),
            (0, swing, 0),
        )
        m.add(
            disc(0.085, 0.03, 12).placed(turn=FRONT).placed((0, 0, -tall * 0.55)),
            2,
            (0, -0.11, -w / 2),
            (0, swing, 0),
        )
    front = -0.15
    m.add(cylinder(r, 0.03, sides=28), 2, (0, front + 0.02, 0), FRONT)
    for i in range(12):
        tick = box(0.05 if i else 0.12, 0.02, 0.07).placed((0, 0, r * 0.86))
        m.add(tick.placed(turn=(0, 30.0 * i, 0)), 3, (0, front - 0.015, 0))
    minute = d.integer(0, 59)
    for length, angle, thick in (
        (0.5, d.integer(0, 11) * 30 + minute / 2, 0.05),
        (0.78, minute * 6, 0.032),
    ):
        hand = (
            box(thick, 0.02, length * r)
            .placed((0, 0, length * r * 0.42))
            .placed(turn=(0, angle, 0))
        )
        m.add(hand, 3, (0, front - 0.03, 0))
    m.add(disc(0.035, 0.06, 10), 1, (0, front, 0), FRONT)


def camera(m: Model, d: Draws) -> None:
    """A body with grip and shutter on its right, lens to the front, prism or range finder."""
    w, h, deep = d.uniform(0.8, 1.05), d.uniform(0.5, 0.68), d.uniform(0.24, 0.36)
    m.add(cushion(w, deep, h, 0.06), 0)
    m.add(cushion(w * 1.005, deep * 1.01, h * d.uniform(0.35, 0.6), 0.04), 1, (0, 0, -h * 0.04))
    m.add(cushion(0.16, deep * 1.45, h * 0.92, 0.06), 1, (-w / 2 + 0.1, -deep * 0.15, -0.01))
    r, long = d.uniform(0.19, 0.26), d.uniform(0.16, 0.6)
    x = d.uniform(0.0, 0.12)
    at = (x, -deep / 2 + 0.02, -0.02)
    steps = [
        (r * 1.06, 0),
        (r * 1.06, 0.06),
        (r * 0.92, 0.08),
        (r * 0.92, long * 0.6),
        (r, long * 0.65),
    ]
    m.add(lathe([*steps, (r, long), (r * 0.8, long), (r * 0.6, long - 0.06)], 22), 3, at, FRONT)
    m.add(cylinder(r * 0.95, 0.05, sides=22), 2, (x, at[1] - long * 0.3, -0.02), FRONT)
    m.add(dome(r * 0.62, r * 0.62, 0.06, 16, 4), 2, (x, at[1] - long + 0.05, -0.02), FRONT)
    if d.flag(0.6):
        prism = [(-0.2, 0), (0.2, 0), (0.11, 0.17), (-0.11, 0.17)]
        m.add(
            extrude(prism, deep * 0.95, 0.03).placed((0, 0, -deep * 0.45)),
            0,
            (x, 0, h / 2 - 0.02),
            FRONT,
        )
        m.add(box(0.16, 0.05, 0.08), 3, (x, deep * 0.5, h / 2 + 0.05))
    else:
        m.add(box(0.2, 0.03, 0.1), 3, (w * 0.36, -deep / 2 - 0.005, h * 0.36))
        m.add(cushion(0.26, deep * 0.6, 0.1, 0.02), 0, (x, 0, h / 2 + 0.03))
    m.add(disc(0.055, 0.06, 12), 2, (-w / 2 + 0.12, -deep * 0.2, h / 2 - 0.01))
    m.add(disc(0.1, 0.07, 14), 3, (-w / 2 + 0.28, 0, h / 2 - 0.01))
    m.add(box(w * 0.5, 0.02, h * 0.6), 3, (0, deep / 2 + 0.005, -0.02))
    if d.flag(0.4):
        m.add(cushion(0.28, 0.16, 0.16, 0.03), 1, (x, 0, h / 2 + 0.3))
        m.add(box(0.2, 0.03, 0.1), 2, (x, -0.08, h / 2 + 0.3))
        m.add(box(0.08, 0.08, 0.16), 3, (x, 0, h / 2 + 0.17))
    if d.flag(0.5):
        strap = [
            (-w / 2, 0, h * 0.3),
            (-w * 0.62, 0.1, -h * 0.2),
            (0, 0.3, -h * 0.62),
            (w * 0.62, 0.1, -h * 0.2),
            (w / 2, 0, h * 0.3),
        ]
        m.add(tube(curve(strap, 18), 0.025, 6), 2)


def laptop(m: Model, d: Draws) -> None:
    """A hinged screen with windows on it, rows of keys, a touch pad; the user is at -y."""
    w, deep, thick = d.uniform(0.95, 1.25), d.uniform(0.62, 0.85), d.uniform(0.03, 0.06)
    m.add(cushion(w, deep, thick, 0.014), 0, (0, 0, 0))
    rows, columns = d.integer(4, 5), d.integer(9, 12)
    step_x, step_y = w * 0.86 / columns, deep * 0.46 / rows
    for i in range(rows):
        for j in range(columns):
            if i == 0 and 3 <= j < columns - 3:
                continue
            at = ((j - columns / 2 + 0.5) * step_x, deep * 0.02 + (i - 0.3) * step_y, thick / 2)
            m.add(box(step_x * 0.82, step_y * 0.78, 0.016), 3, at)
    m.add(
        box(step_x * (columns - 6), step_y * 0.78, 0.016),
        2,
        (0, deep * 0.02 - 0.3 * step_y, thick / 2),
    )
    m.add(box(w * 0.3, deep * 0.24, 0.008), 2, (d.uniform(-0.1, 0.1) * w, -deep * 0.34, thick / 2))
    tilt, high = -d.uniform(2, 38), deep * d.uniform(0.9, 1.05)
    hinge = (0, deep / 2, thick * 0.4)
    m.add(cushion(w, 0.028, high, 0.013).placed((0, 0, high / 2)), 0, hinge, (tilt, 0, 0))
    m.add(box(w * 0.93, 0.01, high * 0.84).placed((0, -0.014, high * 0.53)), 1, hinge, (tilt, 0, 0))
    for i in range(d.integer(2, 4)):
        size, tall = w * d.uniform(0.2, 0.42), high * d.uniform(0.16, 0.38)
        x, z = (
            d.uniform(-0.46, 0.46) * (w * 0.9 - size),
            high * 0.53 + d.uniform(-0.48, 0.48) * (high * 0.8 - tall),
        )
        m.add(
            box(size, 0.004, tall).placed((x, -0.021 - 0.003 * i, z)),
            (2, 3, 0)[i % 3],
            hinge,
            (tilt, 0, 0),
        )
    m.add(box(w * 0.9, 0.006, high * 0.06).placed((0, -0.02, high * 0.13)), 3, hinge, (tilt, 0, 0))
    m.add(
        disc(0.07, 0.02, 14).placed(turn=(-90, 0, 0)).placed((0, 0.008, high * 0.5)),
        2,
        hinge,
        (tilt, 0, 0),
    )
    m.add(rod((-w * 0.4, deep / 2, thick * 0.3), (w * 0.4, deep / 2, thick * 0.3), 0.022), 3)


FAMILIES = (lamp, clock, camera, laptop)
