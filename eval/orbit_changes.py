"""What pictures undergo in use: ordinary shifts, flips, affine maps and crops.

Unlike the orbits of :mod:`eval.orbit_images` most of these are no group actions: something leaves
the picture and something else enters. All are given by fixed elements, the first or the middle one
of which changes nothing.

* ``circular_shift`` and ``cropped_shift``: by whole pixels, over a square grid; what enters is what
  left on the other side, or the picture's mirror image.
* ``flip``: left to right, upside down, both.
* ``affine``: small rotations, scalings, shears and shifts at once, bilinear; around the picture
  lies its mirror image.
* ``crop``: a part of the picture, antialiased, resized to the whole.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eval.orbit_images import ImageOrbit
from eval.orbit_plots import Geometry
from ssl_equiv.backbones.anchoring import roll
from ssl_equiv.errors import UserError
from ssl_equiv.transforms.resample import separable, triangle_weights

_TURN, _ZOOM, _SHEAR, _MOVE = 15.0, 1.2, 10.0, 0.08  # degrees, factor, degrees, of the width
_LEAST_AREA, _ASPECT = 0.4, 4 / 3


def pixel_shifts(largest: int, step: int, wrap: bool) -> ImageOrbit:
    """Shifts along both axes from ``-largest`` to ``largest`` pixels in steps.

    Args:
        largest: Pixels; a multiple of ``step``.
        step: Pixels.
        wrap: What leaves enters on the other side; else the mirror image does.

    Raises:
        UserError: the grid would have no middle, or would reach out of a picture's mirror image.
    """
    if step < 1 or largest < step or largest % step:
        raise UserError(
            f"Robustness: shifts of up to {largest} px in steps of {step}: choose a whole number "
            "of steps, 1 or more"
        )
    steps = np.arange(-largest, largest + 1, step)
    x, y = np.meshgrid(steps, steps)

    def act(images: Tensor, elements: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if largest >= min(height, width):
            raise UserError(
                f"Robustness: shifts of up to {largest} px of pictures of {width} x {height}: "
                "choose fewer pixels"
            )
        shifts = torch.stack([-elements[:, 1], elements[:, 0]], dim=1).round().long()
        if wrap:
            return roll(images, shifts)
        padded = F.pad(images, (largest,) * 4, mode="reflect")
        inner = slice(largest, largest + height), slice(largest, largest + width)
        return roll(padded, shifts)[(..., *inner)]

    geometry = Geometry(
        "circular_shift" if wrap else "cropped_shift",
        reference=x.size // 2,
        points=tuple(f"{a:+d} px, {b:+d} px" for a, b in zip(x.flat, y.flat, strict=True)),
        plane=(steps.astype(np.float64), steps.astype(np.float64)),
        plane_labels=("shift to the right (pixels)", "shift up (pixels)"),
    )
    elements = torch.from_numpy(np.stack((x.ravel(), y.ravel()), axis=1))
    return ImageOrbit(geometry, elements.float(), act)


def flips() -> ImageOrbit:
    """The picture as it is, mirrored left to right, upside down, and both."""

    def act(images: Tensor, elements: Tensor) -> Tensor:
        for axis, column in ((3, 0), (2, 1)):
            flipped = elements[:, column].view(-1, 1, 1, 1) > 0.5
            images = torch.where(flipped, images.flip(axis), images)
        return images

    ends = np.array([0.0, 1.0])
    geometry = Geometry(
        "flip",
        reference=0,
        points=("as found", "mirrored left to right", "upside down", "turned by 180°"),
        plane=(ends, ends),
        plane_labels=("mirrored left to right", "upside down"),
    )
    return ImageOrbit(geometry, torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]]), act)


def affine_maps(number: int) -> ImageOrbit:
    """``number`` affine maps, the first the identity; always the same.

    Rotations within ±15°, scalings by 1/1.2 to 1.2, shears within ±10° and shifts within ±8% of the
    width and height.
    """
    low, high = [-1.0] * 5, [1.0] * 5
    drawn = np.random.default_rng(0).uniform(low, high, (number, 5))
    drawn[0] = 0
    matrices = []
    for turn, zoom, shear, right, up in drawn:
        angle, slope = math.radians(_TURN * turn), math.tan(math.radians(_SHEAR * shear))
        c, s = math.cos(angle) / _ZOOM**zoom, math.sin(angle) / _ZOOM**zoom
        linear = np.array([[c, -s], [s, c]]) @ np.array([[1, slope], [0, 1]])
        # grids are looked up the other way round, in units of half of the picture
        matrices.append(np.column_stack([linear, 2 * _MOVE * np.array([-right, up])]))
    theta = np.stack(matrices)
    # how far the picture's points move: root mean square over the square of side 2
    apart = theta - np.eye(2, 3)
    moved = np.sqrt((apart[..., :2] ** 2).sum((1, 2)) / 3 + (apart[..., 2] ** 2).sum(1))

    def act(images: Tensor, elements: Tensor) -> Tensor:
        grid = F.affine_grid(elements.view(-1, 2, 3), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    geometry = Geometry(
        "affine",
        reference=0,
        points=tuple(
            f"turned {_TURN * a:+.0f}°, ×{_ZOOM**b:.2f}, sheared {_SHEAR * c:+.0f}°"
            for a, b, c, *_ in drawn
        ),
        x=50 * moved,
        x_label="how far points of the picture move (% of its width)",
    )
    return ImageOrbit(geometry, torch.from_numpy(theta.reshape(number, 6)).float(), act)


def crops(number: int) -> ImageOrbit:
    """``number`` crops of 40% to 100% of the area, the first the whole; always the same."""
    random = np.random.default_rng(0)
    area = np.linspace(1, _LEAST_AREA, number)
    aspect = _ASPECT ** random.uniform(-1, 1, number)
    wide, high = (np.minimum(np.sqrt(area * a), 1.0) for a in (aspect, 1 / aspect))
    wide[0] = high[0] = 1
    place = random.uniform(0, 1, (2, number))
    elements = np.stack([place[0] * (1 - wide), place[1] * (1 - high), wide, high], axis=1)

    def act(images: Tensor, elements: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        left, top, wide, high = elements.unbind(1)
        rows = triangle_weights(top * height, high * height, height, height)
        columns = triangle_weights(left * width, wide * width, width, width)
        return separable(images, rows, columns).clamp_(0, 1)

    geometry = Geometry(
        "crop",
        reference=0,
        points=tuple(
            f"{100 * w:.0f}% × {100 * h:.0f}% of it" for w, h in zip(wide, high, strict=True)
        ),
        x=100 * wide * high,
        x_label="part of the picture that is seen (%)",
    )
    return ImageOrbit(geometry, torch.from_numpy(elements).float(), act)
