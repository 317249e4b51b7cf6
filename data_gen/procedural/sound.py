"""Things that sound: microphone, telephone, headset, guitar, piano."""

from __future__ import annotations

import numpy as np

from data_gen.procedural.draws import Draws
from data_gen.procedural.model import Model
from data_gen.procedural.primitives import (
    ALONG_X,
    FRONT,
    SIDE,
    box,
    curve,
    cushion,
    cylinder,
    disc,
    ellipsoid,
    extrude,
    oval,
    rod,
    torus,
    tube,
)


def microphone(m: Model, d: Draws) -> None:
    """A microphone on a table stand or a boom, leaning to the front (beside lamp)."""
    r = d.uniform(0.2, 0.28)
    if d.flag():
        m.add(disc(r, 0.06, 20), 0)
    else:
        for i in range(3):
            angle = np.radians(90 + 120 * i)
            m.add(
                rod((0, 0, 0.12), (1.3 * r * np.cos(angle), 1.3 * r * np.sin(angle), 0.02), 0.03), 0
            )
    rise, lean = d.uniform(0.45, 0.85), d.uniform(25, 70)
    m.add(cylinder(0.025, rise, sides=10), 1, (0, 0, 0.03))
    top = (0.0, 0.0, rise)
    if d.flag(0.45):
        far = d.uniform(0.3, 0.55)
        top = (d.side() * 0.05, -far, rise + far * d.uniform(0.2, 0.6))
        m.add(rod((0, 0.24, rise - 0.1), top, 0.022), 1)
        m.add(ellipsoid(0.07, 0.07, 0.07, 10, 7), 3, (0, 0, rise + 0.0))
    handle, head = d.uniform(0.45, 0.65), d.uniform(0.1, 0.14)
    turn = (lean, 0, d.uniform(-25, 25))
    m.add(cylinder(0.05, handle, 0.085, 14).placed((0, 0, -handle * 0.35)), 0, top, turn)
    style, high = d.pick(("ball", "capsule", "box")), handle * 0.6
    m.add(cylinder(head * 0.85, 0.06, sides=16).placed((0, 0, high - 0.02)), 3, top, turn)
    if style == "ball":
        m.add(ellipsoid(head, head, head, 16, 9).placed((0, 0, high + head * 0.75)), 2, top, turn)
    elif style == "capsule":
        m.add(
            ellipsoid(head * 0.85, head * 0.85, head * 1.6, 16, 9).placed((0, 0, high + head)),
            2,
            top,
            turn,
        )
    else:
        m.add(
            cushion(head * 1.6, head * 1.1, head * 2.4, 0.04).placed((0, 0, high + head * 1.1)),
            2,
            top,
            turn,
        )
        for i in range(3):
            m.add(
                box(head * 1.65, head * 1.16, 0.02).placed((0, 0, high + head * (0.6 + 0.5 * i))),
                3,
                top,
                turn,
            )
    m.add(box(0.04, 0.03, 0.1).placed((0, -0.07, high * 0.3)), 3, top, turn)
    m.add(
        tube(
            curve(
                [
                    (0, 0.05, rise * 0.8),
                    (0.02, 0.16, rise * 0.4),
                    (0, r, 0.03),
                    (d.side() * 0.12, r + 0.22, 0.02),
                ],
                10,
            ),
            0.016,
            6,
        ),
        3,
    )


def telephone(m: Model, d: Draws) -> None:
    """A desk telephone: wedge with dial or keys, the receiver across or on the left, a cord."""
    w, deep, h = d.uniform(0.65, 0.85), d.uniform(0.6, 0.8), d.uniform(0.26, 0.4)
    low = d.uniform(0.08, 0.16)
    side_view = [(-deep / 2, 0), (-deep / 2, low), (deep * 0.18, h), (deep / 2, h), (deep / 2, 0)]
    m.add(extrude(side_view, w, 0.04).placed((0, 0, -w / 2)), 0, turn=SIDE)
    slope = float(np.degrees(np.arctan2(h - low, deep * 0.68)))
    across = d.flag(0.6)
    middle = (0.0 if across else w * 0.17, -deep * 0.17, (h + low) / 2)
    size = min(w * (0.32 if across else 0.28), deep * 0.3)
    if d.flag():
        m.add(disc(size, 0.05, 22), 1, middle, (slope, 0, 0))
        m.add(cylinder(size * 0.42, 0.06, sides=14), 2, middle, (slope, 0, 0))
        for i in range(9):
            angle = np.radians(40 + 31 * i)
            at = (size * 0.72 * np.cos(angle), size * 0.72 * np.sin(angle), 0.03)
            m.add(cylinder(size * 0.14, 0.03, sides=8).placed(at), 3, middle, (slope, 0, 0))
    else:
        m.add(box(size * 1.7, size * 1.9, 0.03), 1, middle, (slope, 0, 0))
        for i in range(12):
            at = ((i % 3 - 1) * size * 0.5, (i // 3 - 1.5) * size * 0.42, 0.02)
            m.add(
                box(size * 0.36, size * 0.28, 0.04).placed(at), 3 if i else 2, middle, (slope, 0, 0)
            )
    grip = d.uniform(0.055, 0.075)
    long = w * 0.58 if across else deep * 0.5
    bow = curve(
        [(-long, 0, -0.02), (-long * 0.6, 0, 0.09), (long * 0.6, 0, 0.09), (long, 0, -0.02)], 12
    )
    turn = (0, 0, 0 if across else 90)
    at = (0, deep * 0.34, h + 0.1) if across else (-w * 0.3, -0.02, h + 0.04)
    tip = (0, 0, 0) if across else (slope * 0.6, 0, 0)
    m.add(tube(bow, grip, 8), 2, at, (tip[0], 0, turn[2]))
    for side in (-1, 1):
        cup = disc(grip * 1.6, 0.1, 14).placed((side * long * 0.96, 0, -0.1))
        m.add(cup.placed(turn=turn), 2, at, tip)
    x, steps = -w / 2 - 0.03, np.linspace(0, 1, 40)
    coil = np.stack(
        [
            x - 0.05 + 0.04 * np.cos(steps * 31),
            (0.4 - 0.85 * steps) * deep,
            0.06 + 0.04 * np.sin(steps * 31),
        ],
        1,
    )
    m.add(tube(coil, 0.014, 5), 3)


def headset(m: Model, d: Draws) -> None:
    """Two ear cups on a head band, a microphone boom to the front on the left side."""
    r, h = d.uniform(0.34, 0.42), d.uniform(0.4, 0.55)
    thick = d.uniform(0.025, 0.045)
    angles = np.radians(np.linspace(0, 180, 17))
    band = np.stack([r * np.cos(angles), 0 * angles, h * np.sin(angles)], 1)
    m.add(tube(band, thick, 8).scaled(1, d.uniform(1.2, 2.6), 1), 0)
    m.add(tube(band[4:13] - (0, 0, thick * 1.2), thick * 1.4, 8).scaled(1, 1.6, 1), 3)
    size, deep, flat = d.uniform(0.16, 0.25), d.uniform(0.1, 0.16), d.uniform(0.75, 1.0)
    shape = oval(2 * size * flat, 2.3 * size, 18, d.uniform(2, 3.5))
    for side in (-1, 1):
        cup = extrude(shape, deep, 0.12).placed((0, 0, -deep / 2))
        m.add(cup, 1, (side * (r + deep * 0.3), 0, -0.06), SIDE)
        pad = extrude(shape * 0.85, 0.09, 0.2).placed((0, 0, -0.045))
        m.add(pad, 2, (side * (r - deep * 0.4), 0, -0.06), SIDE)
        m.add(
            disc(size * 0.5, 0.04, 14).placed((0, 0, -0.02)),
            3,
            (side * (r + deep * 0.8), 0, -0.06),
            ALONG_X,
        )
    x, reach = -r - deep * 0.4, d.uniform(0.4, 0.6)
    path = [
        (x, -size * 0.6, -0.1),
        (x - 0.02, -reach * 0.8, -0.24),
        (x + 0.22, -reach - 0.08, -0.34),
    ]
    m.add(tube(curve(path, 9), 0.022, 6), 0)
    m.add(ellipsoid(0.085, 0.06, 0.06, 10, 6), 3, path[-1])
    if d.flag(0.6):
        cord = [(x, 0.02, -size), (x - 0.03, 0.08, -0.5), (x + 0.2, 0.25, -0.62)]
        m.add(tube(curve(cord, 9), 0.018, 6), 2)


def guitar(m: Model, d: Draws) -> None:
    """Acoustic, or electric with horns; pegs on the bass side or both, strings to the front."""
    electric = d.flag()
    upper, lower, long = d.uniform(0.26, 0.33), d.uniform(0.36, 0.44), d.uniform(0.8, 0.95)
    waist = upper * d.uniform(0.6, 0.85)
    right = curve(
        [
            (0, -long / 2),
            (lower * 0.75, -long * 0.45),
            (lower, -long * 0.2),
            (waist, long * 0.12),
            (upper, long * 0.34),
            (upper * 0.55, long * 0.49),
            (0, long / 2),
        ],
        19,
    )
    left = (right * (-1, 1))[::-1]
    if electric or d.flag(0.4):
        cut = np.clip((right[:, 1] / long - 0.26) / 0.2, 0, 1) * np.clip(right[:, 0] / upper, 0, 1)
        right = right - np.outer(cut, (0.02, 0.14))
    if electric:
        horn = np.clip((left[:, 1] / long - 0.2) / 0.3, 0, 1) * np.clip(
            -left[:, 0] / upper - 0.3, 0, 1
        )
        left = left + np.outer(horn, (0, 0.14))
    deep = 0.09 if electric else d.uniform(0.16, 0.24)
    m.add(
        extrude(np.concatenate([right[:-1], left[:-1]]), deep, 0.04).placed((0, 0, -deep / 2)),
        0,
        turn=FRONT,
    )
    y, neck = -deep / 2, d.uniform(0.75, 0.95)
    top = long * 0.42 + neck
    m.add(box(0.1, 0.05, neck + 0.2), 1, (0, y, long * 0.42 + neck / 2 - 0.1))
    for i in range(9):
        m.add(box(0.104, 0.01, 0.012), 2, (0, y - 0.026, top - neck * (i + 0.4) / 9))
    side = -1 if electric else 0
    head = [(-0.08, 0), (0.07, 0), (0.1 + 0.02 * side, 0.28), (-0.1 + 0.06 * side, 0.32)]
    m.add(extrude(head, 0.04).placed((0, 0, -0.02)), 2, (0, y + 0.02, top - 0.01), (98, 0, 0))
    for i in range(6):
        x, z = (-0.13 if i < 3 or electric else 0.13), top + 0.06 + 0.08 * (i % 3)
        if electric:
            z = top + 0.03 + 0.045 * i
        m.add(box(0.07, 0.03, 0.028), 3, (x, y + 0.03, z))
    if electric:
        for z in (-0.16, 0.06):
            m.add(cushion(0.22, 0.03, 0.08, 0.012), 3, (0, y - 0.005, z * long))
        guard = (
            curve([(0.02, 0.2), (0.2, 0.12), (0.24, -0.2), (0.12, -0.34), (-0.06, -0.28)], 10)
            * long
        )
        m.add(extrude(guard, 0.01), 1, (0, y, 0), FRONT)
        for i in range(d.integer(2, 3)):
            m.add(disc(0.03, 0.03, 10), 2, (lower * 0.62, y, -long * (0.2 + 0.09 * i)), FRONT)
    else:
        m.add(cylinder(0.125, 0.012, sides=20), 3, (0, y, long * 0.12), FRONT)
        m.add(torus(0.135, 0.016, 20, 6), 2, (0, y, long * 0.12), FRONT)
        m.add(extrude(oval(0.2, 0.26, 12), 0.012), 2, (0.19, y, 0), FRONT)
    m.add(box(0.26, 0.035, 0.05), 3, (0, y - 0.01, -long * 0.27))
    for i in range(4):
        x = (i - 1.5) * 0.022
        m.add(box(0.006, 0.006, top + long * 0.27), 2, (x, y - 0.034, (top - long * 0.27) / 2))


def piano(m: Model, d: Draws) -> None:
    """An upright, or a grand with its lid up; the keys are at the front."""
    keys = d.integer(12, 18)
    grand = d.flag()
    w, bed_z = d.uniform(1.25, 1.5), d.uniform(0.55, 0.68)
    front = -d.uniform(0.5, 0.6)
    if grand:
        long = d.uniform(1.0, 1.6)
        bend = curve(
            [
                (w / 2, 0.25 * long),
                (w * 0.2, 0.55 * long),
                (-w * 0.05, 0.9 * long),
                (-w * 0.3, long),
                (-w / 2, 0.85 * long),
            ],
            12,
        )
        shape = np.array([(-w / 2, -0.3), (w / 2, -0.3), *bend])
        shape[:, 1] += front + 0.45
        m.add(extrude(shape, 0.28), 0, (0, 0, bed_z))
        lid = shape - (-w / 2, 0)
        m.add(extrude(lid, 0.025), 1, (-w / 2, 0, bed_z + 0.3), (0, -d.uniform(25, 40), 0))
        m.add(
            rod((w * 0.3, front + 0.5, bed_z + 0.28), (w * 0.22, front + 0.5, bed_z + 0.62), 0.014),
            2,
        )
        for at in (
            (-w * 0.42, front + 0.3),
            (w * 0.42, front + 0.3),
            (-w * 0.25, front + long * 1.05),
        ):
            m.add(cylinder(0.04, bed_z + 0.1, 0.065, 10), 0, (*at, 0))
    else:
        tall = d.uniform(1.05, 1.35)
        m.add(box(w, 0.34, tall), 0, (0, front + 0.4, tall / 2))
        m.add(box(w + 0.06, 0.42, 0.04), 1, (0, front + 0.38, tall))
        m.pair(box(0.06, 0.32, bed_z), 0, (w / 2 - 0.03, front + 0.1, bed_z / 2))
        for share in (-0.4, -0.1, 0.15, 0.3):
            beam = box(0.07, 0.06, tall * 0.85)
            m.add(beam, 2, (share * w, front + 0.58, tall * 0.45))
    y, z = front + (0.06 if grand else 0.1), bed_z + 0.06
    m.add(box(w, 0.32, 0.1), 0, (0, y, z - 0.05))
    size = (w - 0.12) / keys
    for i in range(keys):
        x = (i + 0.5) * size - w / 2 + 0.06
        m.add(box(size * 0.9, 0.2, 0.03), 3, (x, y - 0.04, z + 0.012))
        if i % 7 not in (2, 6):
            m.add(box(size * 0.5, 0.12, 0.035), 2, (x + size / 2, y, z + 0.04))
    m.add(
        box(w * 0.4, 0.02, 0.24),
        1,
        (0, front + (0.35 if grand else 0.2), z + (0.36 if grand else 0.24)),
        (-18, 0, 0),
    )
    if d.flag(0.6):
        m.add(cushion(0.5, 0.28, 0.08, 0.03), 2, (0, front - 0.32, bed_z * 0.62))
        m.pair(box(0.05, 0.22, bed_z * 0.6), 0, (0.19, front - 0.32, bed_z * 0.3))


FAMILIES = (microphone, telephone, headset, guitar, piano)
