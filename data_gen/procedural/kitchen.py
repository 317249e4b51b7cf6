"""Vessels and taps: mug, teacup, teapot, pitcher, bottle, watering can, pan, faucet.

Mug, teacup, teapot, pitcher and watering can are look-alikes. Handles point to the right (+x)
and spouts to the left; labels and taps face the front.
"""

from __future__ import annotations

import numpy as np

from data_gen.procedural.details import ear
from data_gen.procedural.draws import Draws
from data_gen.procedural.model import Model
from data_gen.procedural.primitives import (
    Array,
    Part,
    arc,
    box,
    curve,
    cushion,
    cylinder,
    disc,
    dome,
    ellipsoid,
    lathe,
    rod,
    torus,
    tube,
)


def _cup(profile: Array, wall: float, sides: int = 20) -> Part:
    """Hollow out an outer profile (radius, z), from the foot up to the rim."""
    inner = profile[::-1] - (wall, 0.0)
    inner[-1, 1] += wall
    foot, floor = (0.0, profile[0, 1]), (0.0, inner[-1, 1])
    return lathe(np.concatenate([[foot], profile, inner, [floor]]), sides)


def _band(profile: Array, low: float, high: float, thick: float) -> Array:
    """Cut a loop that lies on an outer profile between two heights, for stripes and labels."""
    z = np.linspace(low, high, 4)
    r = np.interp(z, profile[:, 1], profile[:, 0])
    return np.concatenate([np.stack([r + thick, z], 1), np.stack([r - thick, z], 1)[::-1]])


def mug(m: Model, d: Draws) -> None:
    """Straight, tapered or bellied; a band, a badge opposite the handle, a drink inside."""
    r, h = d.uniform(0.34, 0.46), d.uniform(0.75, 1.1)
    foot, belly = d.uniform(0.75, 1.05), d.uniform(0.95, 1.18)
    profile = curve([(r * foot, 0), (r * belly, h * 0.35), (r, h * 0.7), (r, h)], 9)
    m.add(_cup(profile, 0.04), 0)
    grip = ear(
        h * d.uniform(0.5, 0.72), d.uniform(0.28, 0.42), d.uniform(0.04, 0.06), d.pick((0, 0.35))
    )
    m.add(grip, d.pick((0, 1)), (r * 0.98, 0, h * 0.52))
    m.add(cylinder(r * 0.86, 0.02, sides=20), 3, (0, 0, h * d.uniform(0.7, 0.9)))
    if d.flag():
        low = d.uniform(0.1, 0.5) * h
        m.add(lathe(_band(profile, low, low + d.uniform(0.1, 0.35) * h, 0.012), 20, hollow=True), 2)
    low = d.uniform(0.2, 0.4) * h
    badge = _band(profile, low, low + 0.35 * h, 0.02)
    m.add(arc(badge, d.uniform(130, 190), d.uniform(40, 70), 6), 1)


def teacup(m: Model, d: Draws) -> None:
    """A low flaring cup with a small handle on a saucer, a spoon beside it (beside mug)."""
    r, h = d.uniform(0.36, 0.46), d.uniform(0.36, 0.52)
    profile = curve(
        [(r * 0.45, 0), (r * d.uniform(0.6, 0.95), h * 0.3), (r * 0.95, h * 0.7), (r * 1.05, h)], 9
    )
    m.add(_cup(profile, 0.03).placed((0, 0, 0.06)), 0)
    m.add(ear(h * 0.66, d.uniform(0.24, 0.34), 0.035), 1, (r * 0.92, 0, 0.06 + h * 0.58))
    m.add(cylinder(r * 0.86, 0.02, sides=20), 3, (0, 0, h * 0.75))
    plate, long = r * d.uniform(1.45, 1.75), d.uniform(1.25, 1.6)
    dish = np.array([(plate * 0.5, 0), (plate * 0.75, 0.03), (plate, 0.11)])
    shift = -plate * (
        long - 1
    )  # the cup stands at one end of an oval saucer, a biscuit at the other
    m.add(_cup(dish, 0.035, 24).scaled(long, 1, 1), d.pick((0, 1)), (shift, 0, 0))
    biscuit = (
        disc(0.15, 0.05, 12) if d.flag() else cushion(0.2, 0.3, 0.06, 0.025).placed((0, 0, 0.03))
    )
    m.add(biscuit, 2, (shift - plate * (long - 0.42), 0.08, 0.09), (0, 16, 0))
    if d.flag(0.7):
        band = _band(profile, 0.55 * h, 0.8 * h, 0.01)
        m.add(lathe(band, 20, hollow=True), 2, (0, 0, 0.06))
    if d.flag(0.7):
        at = (-0.3, -plate * 0.72, 0.12)
        m.add(ellipsoid(0.11, 0.07, 0.03, 10, 6), 3, at)
        m.add(rod((0, 0, 0.02), (0.6, d.uniform(-0.1, 0.2), 0.06), 0.018), 3, at)


def teapot(m: Model, d: Draws) -> None:
    """A round or tall body, curved spout to the left, handle to the right, lid with a knob."""
    r, h = d.uniform(0.4, 0.52), d.uniform(0.55, 1.0)
    shoulder = d.uniform(0.5, 0.95)
    profile = curve([(r * 0.6, 0), (r, h * 0.35), (r * shoulder, h * 0.75), (r * 0.5, h)], 11)
    m.add(lathe(profile, 22), 0)
    m.add(disc(r * 0.62, 0.05, 20), 1, (0, 0, -0.03))
    m.add(dome(r * 0.5, r * 0.5, d.uniform(0.08, 0.2), 18), 1, (0, 0, h))
    m.add(ellipsoid(0.07, 0.07, 0.075, 10, 6), 2, (0, 0, h + 0.19))
    reach = r + d.uniform(0.28, 0.42)
    spout = [(-r * 0.8, 0, h * 0.25), (-r * 1.15, 0, h * 0.35), (-reach * 0.95, 0, h * 0.75)]
    path = curve([*spout, (-reach * 1.12, 0, h * d.uniform(0.92, 1.1))], 10)
    m.add(tube(path, np.linspace(0.13, 0.055, 10), 10), 0)
    if d.flag(0.65):
        m.add(ear(h * 0.66, d.uniform(0.3, 0.45), 0.045), 1, (r * 0.9, 0, h * 0.5))
    else:
        bail = [
            (r * 0.75, 0, h * 0.75),
            (r * 0.6, 0, h + 0.35),
            (-r * 0.6, 0, h + 0.35),
            (-r * 0.75, 0, h * 0.75),
        ]
        m.add(tube(curve(bail, 14), 0.035), 1)
    if d.flag(0.6):
        low = d.uniform(0.2, 0.5) * h
        m.add(lathe(_band(profile, low, low + 0.15 * h, 0.012), 22, hollow=True), 3)


def pitcher(m: Model, d: Draws) -> None:
    """A tall open jug with a lip to the left and a large handle (beside mug and teapot)."""
    r, h = d.uniform(0.28, 0.38), d.uniform(0.95, 1.35)
    neck = d.uniform(0.55, 0.9)
    profile = curve(
        [(r * 0.7, 0), (r * 1.1, h * 0.28), (r * neck, h * 0.72), (r * neck * 1.15, h)], 11
    )
    body = _cup(profile, 0.035)
    pull = np.clip((body.points[:, 2] / h - 0.8) / 0.2, 0, 1) * np.clip(
        -body.points[:, 0] / r, 0, 1
    )
    body.points[:, 0] -= d.uniform(0.5, 0.75) * r * pull**2
    body.points[:, 2] += 0.1 * pull
    m.add(body, 0)
    grip = ear(h * d.uniform(0.5, 0.65), d.uniform(0.28, 0.42), 0.045, d.pick((0, 0.3)))
    m.add(grip, 1, (r * (neck + 0.02), 0, h * 0.62))
    m.add(torus(r * 0.72, 0.035, 20, 6), 2, (0, 0, 0.02))
    m.add(cylinder(r * neck * 0.93, 0.02, sides=18), 3, (0, 0, h * d.uniform(0.68, 0.8)))
    if d.flag(0.7):
        low = d.uniform(0.12, 0.35) * h
        m.add(lathe(_band(profile, low, low + d.uniform(0.05, 0.2) * h, 0.012), 20, hollow=True), 2)


def bottle(m: Model, d: Draws) -> None:
    """A body with shoulders and a label in front; a trigger spray, a pump or a cork and a bow."""
    r, h = d.uniform(0.18, 0.27), d.uniform(0.6, 0.95)
    neck, top = d.uniform(0.06, 0.09), d.pick(("trigger", "pump", "handle"))
    rise = d.uniform(0.15, 0.45)
    profile = curve(
        [
            (r * 0.96, 0),
            (r, h * 0.1),
            (r, h * 0.75),
            (r * 0.8, h * 0.92),
            (neck, h + rise * 0.7),
            (neck, h + rise),
        ],
        15,
    )
    flat = d.uniform(0.65, 1.0)
    m.add(lathe(profile, 20).scaled(1, flat, 1), 0)
    label = arc(_band(profile, 0.15 * h, d.uniform(0.5, 0.72) * h, 0.012), -160, 140, 10)
    m.add(label.scaled(1, flat, 1), 1)
    z = h + rise
    m.add(disc(neck * 1.35, 0.11, 14), 2, (0, 0, z - 0.03))
    if top == "trigger":
        m.add(cushion(0.12, 0.42, 0.14, 0.04), 2, (0, -0.08, z + 0.17))
        m.add(cylinder(0.05, 0.12, sides=10), 2, (0, 0, z + 0.06))
        m.add(disc(0.045, 0.08, 10), 3, (0, -0.28, z + 0.19), (90, 0, 0))
        m.add(tube(curve([(0, -0.16, z + 0.12), (0, -0.2, z), (0, -0.14, z - 0.15)], 7), 0.025), 3)
    elif top == "pump":
        m.add(cylinder(0.03, 0.22, sides=8), 3, (0, 0, z + 0.05))
        m.add(disc(0.075, 0.07, 12), 3, (0, 0, z + 0.22))
        spout = [(0, 0, z + 0.26), (0, -0.2, z + 0.27), (0, -0.3, z + 0.22)]
        m.add(tube(curve(spout, 7), 0.028), 3)
    else:
        m.add(disc(neck * 1.15, 0.14, 12), 3, (0, 0, z + 0.06))
        m.add(ear(h * 0.55, d.uniform(0.16, 0.26), 0.035), 2, (r * 0.85, 0, h * 0.82), (0, -8, 0))


def watering_can(m: Model, d: Draws) -> None:
    """A bucket with a long straight spout, a rose at its tip and a bow (beside teapot)."""
    r, h = d.uniform(0.3, 0.4), d.uniform(0.45, 0.75)
    profile = curve([(r, 0), (r * d.uniform(0.85, 1), h * 0.5), (r * d.uniform(0.7, 0.95), h)], 6)
    m.add(_cup(profile, 0.03), 0)
    m.add(arc(_band(profile, 0.8 * h, h, 0.01) * (0.98, 1.0), 90, 179, 8), 0)
    tip = (-r - d.uniform(0.45, 0.75), 0, h * d.uniform(1.0, 1.35))
    m.add(rod((-r * 0.8, 0, h * 0.18), tip, 0.09, 0.045, 10), 1)
    slope = np.degrees(np.arctan2(tip[0] + r * 0.8, tip[2] - h * 0.18))
    m.add(cylinder(0.05, 0.14, 0.14, 12), 2, tip, (0, slope, 0))
    m.add(rod((-r * 0.85, 0, h * 0.85), np.multiply(tip, 0.75).tolist(), 0.02), 3)
    if d.flag():
        m.add(ear(h * 0.85, d.uniform(0.28, 0.4), 0.04), 3, (r * 0.9, 0, h * 0.55))
        m.add(disc(r * 0.95, 0.03, 20), 1, (0, 0, h * 0.97))
    else:
        bow = [
            (-r * 0.5, 0, h),
            (0, 0, h * 1.45 + 0.15),
            (r * 1.25, 0, h * 1.2),
            (r * 0.95, 0, h * 0.3),
        ]
        m.add(tube(curve(bow, 14), 0.04), 3)
    m.add(torus(r * 1.0, 0.025, 20, 6), 2, (0, 0, 0.02))


def pan(m: Model, d: Draws) -> None:
    """A frying pan or a saucepan with a long handle; a fried egg in it or a lid aside."""
    r, deep = d.uniform(0.42, 0.55), d.pick((0.1, 0.14, 0.3, 0.42))
    flare = d.uniform(1.0, 1.18)
    m.add(_cup(np.array([(r * 0.86, 0), (r * 0.95, 0.02), (r * flare, deep)]), 0.03, 24), 0)
    long, lift = d.uniform(0.6, 0.95), d.uniform(0.02, 0.22)
    path = [(r * 0.95, 0, deep * 0.8), (r + 0.2, 0, deep + 0.02), (r + long, 0, deep + lift)]
    m.add(tube(curve(path, 8), (0.025, 0.03, 0.035, 0.05, 0.055, 0.055, 0.055, 0.04), 8), 1)
    m.add(torus(0.05, 0.018, 12, 6), 3, (r + long + 0.04, 0, deep + lift))
    m.add(cylinder(r * 0.84, 0.012, sides=24), 2, (0, 0, 0.035))
    if deep < 0.2:
        for i in range(d.integer(1, 2)):
            x, y = (i - 0.5) * 0.34, d.uniform(-0.15, 0.15)
            m.add(disc(0.19, 0.03, 12).scaled(1, d.uniform(0.75, 1.1), 1), 3, (x, y, 0.045))
            m.add(dome(0.085, 0.085, 0.06, 10, 4), 1, (x + 0.02, y, 0.07))
    else:
        if d.flag():
            at, turn = (-r * 0.25, 0, deep + 0.1), (0, -d.uniform(10, 25), 0)
            m.add(dome(r, r, 0.12, 24, 5), 3, at, turn)
            m.add(ellipsoid(0.06, 0.06, 0.05, 10, 6).placed((0, 0, 0.16)), 1, at, turn)
        m.add(cylinder(r * 0.9, 0.02, sides=24), 2, (0, 0, deep * 0.6))
        m.add(box(0.1, 0.16, 0.03), 1, (-r * flare - 0.04, 0, deep * 0.8))


def faucet(m: Model, d: Draws) -> None:
    """A tap: goose neck or straight spout to the front, one lever or two crosses."""
    rise, reach = d.uniform(0.5, 0.95), d.uniform(0.45, 0.75)
    thick = d.uniform(0.05, 0.08)
    m.add(disc(0.17, 0.06, 18), 1)
    m.add(cylinder(0.105, 0.3, 0.085, 16), 0, (0, 0, 0.05))
    if d.flag(0.6):
        path = [
            (0, 0, 0.3),
            (0, 0, rise),
            (0, -reach * 0.45, rise + 0.28),
            (0, -reach, rise),
            (0, -reach, rise - 0.2),
        ]
    else:
        path = [
            (0, 0, 0.3),
            (0, -0.05, rise * 0.7),
            (0, -reach * 0.5, rise * 0.85),
            (0, -reach, rise * 0.8),
            (0, -reach - 0.04, rise * 0.62),
        ]
    m.add(tube(curve(path, 16), thick, 10), 0)
    end = path[-1]
    m.add(cylinder(thick * 1.3, 0.09, sides=12), 2, (0, end[1], end[2] - 0.06))
    if d.flag(0.6):
        side = d.side()
        m.add(rod((0, 0, 0.22), (side * 0.2, 0, 0.24), 0.06), 0)
        m.add(
            rod(
                (side * 0.2, 0, 0.22),
                (side * d.uniform(0.3, 0.42), 0.02, d.uniform(0.4, 0.6)),
                0.035,
                0.05,
            ),
            3,
        )
    else:
        x = d.uniform(0.3, 0.42)
        m.add(rod((-x, 0, 0.14), (x, 0, 0.14), 0.055), 0)
        m.pair(cylinder(0.075, 0.22, 0.06, 12), 0, (x, 0, 0))
        for place, color in ((-x, 2), (x, 3)):
            turn = (0, 0, d.uniform(0, 90))
            m.add(box(0.22, 0.055, 0.05), color, (place, 0, 0.26), turn)
            m.add(box(0.055, 0.22, 0.05), color, (place, 0, 0.26), turn)


FAMILIES = (mug, teacup, teapot, pitcher, bottle, watering_can, pan, faucet)
