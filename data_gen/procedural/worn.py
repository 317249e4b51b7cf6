"""Things worn and carried: cap, shoe, umbrella."""

from __future__ import annotations

import numpy as np

from data_gen.procedural.draws import Draws
from data_gen.procedural.model import Model
from data_gen.procedural.primitives import (
    arc,
    circle,
    curve,
    cushion,
    cylinder,
    disc,
    dome,
    ellipsoid,
    extrude,
    grid,
    hull,
    loft,
    rod,
    tube,
)


def cap(m: Model, d: Draws) -> None:
    """A baseball cap: crown of panels, peak to the front, badge, button, strap behind."""
    r, long, h = d.uniform(0.4, 0.46), d.uniform(0.46, 0.54), d.uniform(0.36, 0.52)
    m.add(dome(r, long, h, 24, 7), 0)
    panel = circle(7, 4, 80) * (1.012, h * 1.012 / r)
    panel = np.concatenate([panel, panel[::-1] * 0.97])
    count = d.pick((3, 4))
    for i in range(count if d.flag(0.6) else 1):
        sweep = 180 / count
        m.add(
            arc(panel * (r, r), 270 - sweep / 2 + 2 * sweep * i, sweep, 7).scaled(1, long / r, 1), 1
        )
    reach, bend = d.uniform(0.42, 0.62), d.uniform(0.02, 0.14)
    across = np.linspace(-1, 1, 13)
    x = across * r * 0.94
    back, front = (
        -long * np.sqrt(1 - (0.94 * across) ** 2) * 0.96,
        -reach * np.sqrt(1 - across**2) ** 0.7,
    )
    z = 0.03 - bend * across**2
    edge = np.stack([x, back + front, z - 0.04 * (1 - across**2)], 1)
    root = np.stack([x, back, z], 1)
    thick = np.array([0, 0, 0.022])
    peak = np.stack([root + thick, edge + thick, edge - thick, root - thick], axis=1)
    peak[[0, -1], 1:3] = peak[[0, -1]][:, [0, 3]] + (0, -0.01, 0)
    m.add(loft(peak), 2)
    m.add(ellipsoid(0.045, 0.045, 0.03, 10, 6), 2, (0, 0, h))
    slope = float(np.degrees(np.arctan2(h, long))) - 12
    badge = disc(d.uniform(0.09, 0.15), 0.04, 14) if d.flag() else cushion(0.24, 0.18, 0.04, 0.015)
    m.add(badge, 3, (d.uniform(-0.05, 0.05), -long * 0.86, h * 0.45), (slope + 30, 0, 0))
    m.add(cushion(r * 0.8, 0.05, 0.07, 0.02), 3, (0, long * 0.97, 0.05))
    m.add(cylinder(r * 0.99, 0.05, sides=24).scaled(1, long / r, 1), d.pick((0, 3)), (0, 0, -0.02))


def shoe(m: Model, d: Draws) -> None:
    """A low shoe, a trainer or a boot with laces; the toe is to the front, the sole below."""
    long, w, sole = d.uniform(0.95, 1.15), d.uniform(0.34, 0.42), d.uniform(0.05, 0.12)
    heel, shaft = d.uniform(0.0, 0.14), d.pick((0.32, 0.36, 0.55, 0.85))
    y = np.linspace(-0.5, 0.5, 9) * long
    width = np.array([0.45, 0.85, 1.0, 0.98, 0.88, 0.8, 0.8, 0.82, 0.6]) * w
    lift = np.clip((y / long - 0.1) / 0.4, 0, 1) * heel
    step = np.stack([y, sole / 2 + lift, width * 1.06, np.full(9, sole)], 1)
    m.add(hull(step, 14, 6.0), 1)
    if heel > 0.04:
        m.add(
            cushion(w * 0.75, long * 0.26, sole + heel, 0.03),
            1,
            (0, long * 0.34, (sole + heel) / 2),
        )
    tall = np.array([0.1, 0.2, 0.24, 0.28, 0.34, 0.4, 0.42, 0.42, 0.36])
    upper = np.stack([y * 0.98, sole + lift + tall / 2 - 0.03, width * 0.97, tall], 1)
    m.add(hull(upper, 16, 2.6), 0)
    base = sole + heel + 0.22
    leg = [
        (w * 0.4, long * 0.2, base),
        (w * 0.38, long * 0.24, base + shaft * 0.3),
        (w * 0.42, long * 0.25, base + shaft * 0.6),
    ]
    rings = [circle(18) * (r, r * 1.35) + (0, at) for r, at, _ in leg]
    walls = np.stack(
        [np.insert(ring, 2, z, axis=1) for ring, (_, _, z) in zip(rings, leg, strict=True)]
    )
    top = walls[-1] * (0.8, 1, 1)
    top[:, 1] = leg[-1][1] + (top[:, 1] - leg[-1][1]) * 0.8
    inner = np.stack([top, top * (0.9, 1, 1) - (0, 0, shaft * 0.3)])
    ends = [
        points.mean(axis=0, keepdims=True).repeat(18, 0)[None] for points in (walls[0], inner[-1])
    ]
    m.add(grid(np.concatenate([ends[0], walls, inner, ends[1]])), 0)
    m.add(
        ellipsoid(w * 0.4, long * 0.16, 0.13, 14, 8), 2, (0, -long * 0.33, sole + 0.1), (-8, 0, 0)
    )
    tongue = cushion(w * 0.42, 0.3 * long, 0.06, 0.025)
    slope = 32 + 14 * (shaft > 0.5)
    m.add(tongue, 3, (0, -long * 0.08, sole + 0.34 + heel * 0.4), (slope, 0, 0))
    for i in range(d.integer(3, 5)):
        spot = (0, -long * 0.2 + 0.085 * i, sole + 0.26 + heel * 0.3 + 0.075 * i * slope / 36)
        m.add(cushion(w * 0.62, 0.04, 0.035, 0.015), 2, spot, (slope, 0, 12 * (-1) ** i))
    side = d.side()
    m.add(
        extrude([(-0.2, 0), (-0.14, 0.1), (0.05, 0.14), (0.16, 0.05)], 0.03).placed(
            turn=(90, 0, 90)
        ),
        3,
        (side * w * 0.42 - 0.015, 0.0, sole + 0.08),
    )
    m.add(
        tube(
            curve(
                [
                    (0, long * 0.47, base),
                    (0, long * 0.56, base + 0.12),
                    (0, leg[-1][1] + w * 0.5, base + shaft * 0.55),
                ],
                7,
            ),
            0.022,
            6,
        ),
        2,
    )


def umbrella(m: Model, d: Draws) -> None:
    """An open umbrella: panels in two colours on two sides, ribs, a shaft with a crook."""
    panels, r, h = d.integer(6, 10), d.uniform(0.6, 0.85), d.uniform(0.26, 0.5)
    scallop = d.uniform(0.0, 0.07)
    first = d.integer(2, panels // 2)
    slope = circle(7, 12, 78)[::-1] * (r, h)
    section = np.concatenate([slope, slope[::-1] - (0.0, 0.018)])
    for i in range(panels):
        gore = arc(section, 360 * i / panels, 360 / panels, 5)
        out = np.hypot(gore.points[:, 0], gore.points[:, 1]) / r
        angle = (
            np.degrees(np.arctan2(gore.points[:, 1], gore.points[:, 0])) % 360
        ) * panels / 360 - i
        gore.points[:, 2] += scallop * np.sin(np.pi * np.clip(angle, 0, 1)) * out**3
        m.add(gore, 0 if i < first else 1)
    for i in range(panels):
        turn = (0, 0, 360 * i / panels)
        m.add(tube(np.insert(slope, 1, 0, axis=1) - (0, 0, 0.025), 0.01, 4), 3, turn=turn)
    m.add(rod((0, 0, h * 0.95), (0, 0, h + 0.12), 0.022, 0.01), 2)
    long, hook = d.uniform(0.9, 1.15), d.uniform(0.1, 0.16)
    m.add(rod((0, 0, h), (0, 0, h - long), 0.022), 3)
    z = h - long
    bend = [
        (0, 0, z + 0.14),
        (0, 0, z),
        (0, -hook * 0.3, z - hook),
        (0, -hook * 1.2, z - hook * 1.2),
        (0, -hook * 2, z - hook * 0.6),
        (0, -hook * 2, z - hook * 0.1),
    ]
    m.add(tube(curve(bend, 16), 0.038), 2)
    m.add(cushion(0.06, 0.1, 0.05, 0.02), 3, (0, -0.03, z + 0.2))


FAMILIES = (cap, shoe, umbrella)
