"""Orbits of images: known elements acting on pixels, and the features at every point.

No picture is infinite, so each action says what happens at the border:

* ``rotation``: about the centre, bilinear. Around the picture lies its mirror image (``reflect``),
  of which the corners show some; or the picture is cut to its inscribed disc (``disc``), at every
  point of the orbit, the reference included, with the data's mean colour around: nothing enters or
  leaves, but no such picture was trained on.
* ``shift``: by whole pixels, circularly: an exact action; what leaves comes in on the other side.
* ``scale``: about the centre, antialiased bilinear; around a shrunken picture lies its mirror
  image.
* ``hue``: a turn of HSV's hue circle: exact, without a border.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval.orbit_plots import Geometry
from ssl_equiv.data.preprocess import Preprocess
from ssl_equiv.errors import UserError
from ssl_equiv.transforms import ColorJitter, Rotation, Shift
from ssl_equiv.transforms.resample import separable, triangle_weights

Act = Callable[[Tensor, Tensor], Tensor]
Border = Literal["reflect", "disc"]


@dataclass(frozen=True)
class ImageOrbit:
    """T elements and how they act.

    Args:
        geometry: What the points are and how they are drawn.
        elements: ``(T, k)``.
        act: ``(images (B, 3, H, W) in [0, 1], elements (B, k))`` to images of the same shape.
    """

    geometry: Geometry
    elements: Tensor
    act: Act

    def images(self, images: Tensor, points: Tensor) -> Tensor:
        """Each image ``(B, 3, H, W)`` at its own point ``(B,)`` of the orbit."""
        return self.act(images, self.elements[points.cpu()].to(images))


def rotation_orbit(
    points: int, border: Border = "reflect", fill: Sequence[float] = (0.5, 0.5, 0.5)
) -> ImageOrbit:
    """``points`` rotations in the plane, evenly over the circle, from 0.

    Args:
        points: How many.
        border: What is done at the border.
        fill: Colour around a disc, in [0, 1].
    """
    degrees, turn = np.arange(points) * 360 / points, Rotation()

    def reflect(images: Tensor, elements: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        beyond = [(math.hypot(height, width) - size) / 2 for size in (height, width)]
        padded, pads = _mirrored(images, beyond)
        rows, columns = (slice(pad, pad + n) for pad, n in zip(pads, (height, width), strict=True))
        return turn(padded, elements)[..., rows, columns]

    def disc(images: Tensor, elements: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        y = torch.arange(height, device=images.device) - (height - 1) / 2
        x = torch.arange(width, device=images.device) - (width - 1) / 2
        # one pixel less than the picture: interpolation never meets its border
        inside = torch.hypot(x, y[:, None]) <= min(height, width) / 2 - 1
        colour = torch.tensor(list(fill)).to(images).view(-1, 1, 1)
        return torch.where(inside, turn(images, elements), colour)

    elements = torch.from_numpy(np.remainder(degrees + 180, 360) - 180).deg2rad()
    geometry = Geometry(
        "rotation",
        reference=0,
        points=tuple(f"{angle:.0f}°" for angle in degrees),
        x=degrees,
        x_label="rotation in the plane (degrees)",
    )
    return ImageOrbit(geometry, elements[:, None].float(), reflect if border == "reflect" else disc)


def shift_orbit(points: int, fraction: float) -> ImageOrbit:
    """``points`` × ``points`` circular shifts up to ``fraction`` of width and height.

    Raises:
        UserError: ``points`` is even, so that no shift would be zero.
    """
    _check_odd("shift_points", points)
    steps = np.linspace(-fraction, fraction, points)
    x, y = np.meshgrid(steps, steps)
    shift = Shift(wrap=True)  # whose unit is half of the picture
    geometry = Geometry(
        "shift",
        reference=points * points // 2,
        points=tuple(
            f"{100 * a:+.0f} %, {100 * b:+.0f} %" for a, b in zip(x.flat, y.flat, strict=True)
        ),
        plane=(100 * steps, 100 * steps),
        plane_labels=("shift to the right (% of the width)", "shift up (% of the height)"),
    )
    elements = torch.from_numpy(np.stack((x.ravel(), y.ravel()), axis=1))
    return ImageOrbit(geometry, 2 * elements.float(), shift)


def scale_orbit(points: int, largest: float) -> ImageOrbit:
    """``points`` scalings about the centre from ``1/largest`` to ``largest``, evenly in the log.

    Raises:
        UserError: ``points`` is even, so that no scaling would be 1, or ``largest`` is not above 1.
    """
    _check_odd("scale_points", points)
    if not 1 < largest <= 3:
        raise UserError(f"ImageOrbits: scale is {largest}: choose a factor above 1, at most 3")
    half = points // 2
    factors = np.array([largest ** (k / max(1, half)) for k in range(-half, half + 1)])
    geometry = Geometry(
        "scale",
        reference=half,
        points=tuple(f"×{factor:.2f}" for factor in factors),
        x=factors,
        x_label="scale of the picture",
        log_x=True,
    )
    return ImageOrbit(geometry, torch.from_numpy(factors)[:, None].float(), _scale)


def _scale(images: Tensor, factors: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    least = factors.min().item()
    padded, pads = _mirrored(images, [size * (1 / least - 1) / 2 for size in (height, width)])
    weights = []
    for size, pad in zip((height, width), pads, strict=True):
        seen = size / factors[:, 0]
        weights.append(triangle_weights(pad + (size - seen) / 2, seen, size + 2 * pad, size))
    return separable(padded, *weights).clamp_(0, 1)


def _mirrored(images: Tensor, beyond: Sequence[float]) -> tuple[Tensor, list[int]]:
    """Pictures amid their mirror images, and how many rows and columns were added on each side.

    Args:
        images: ``(B, C, H, W)``.
        beyond: How far out rows and columns are looked up, pixels; a mirror shows a pixel less than
            the picture at most.
    """
    pads = [
        min(size - 1, max(0, math.ceil(far)) + 1)
        for size, far in zip(images.shape[-2:], beyond, strict=True)
    ]
    return F.pad(images, (pads[1], pads[1], pads[0], pads[0]), mode="reflect"), pads


def hue_orbit(points: int) -> ImageOrbit:
    """``points`` turns of the hue, evenly over the circle, from 0."""
    turns = np.arange(points) / points
    jitter = ColorJitter(0, 0, 0, 0.5)
    hue = torch.from_numpy(turns - np.ceil(turns - 0.5)).float()  # in (-1/2, 1/2]
    elements = jitter.group.identity((points,))
    elements[:, jitter.entries.index("hue")] = hue
    geometry = Geometry(
        "hue",
        reference=0,
        points=tuple(f"hue +{turn:.2f}" for turn in turns),
        x=turns,
        x_label="turn of the hue (of the whole circle)",
    )
    return ImageOrbit(geometry, elements, jitter)


def _check_odd(name: str, points: int) -> None:
    if points < 1 or points % 2 == 0:
        raise UserError(f"ImageOrbits: {name} is {points}: choose an odd number, to have a middle")


class OrbitEncoder:
    """Features of images at the points of orbits, as the feature pass would make them.

    Args:
        encoder: A module with ``encode``; used in evaluation mode.
        preprocess: Its normalisation.
        precision: As the feature pass', such as ``32-true`` or ``bf16-mixed``.
        device: Where to compute.
        batch_size: Images in a batch, about.
    """

    def __init__(
        self,
        encoder: nn.Module,
        preprocess: Preprocess,
        precision: str,
        device: torch.device,
        batch_size: int,
    ) -> None:
        self.encoder, self.preprocess, self.device = encoder, preprocess, device
        self.batch_size = batch_size
        half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
        self.dtype, self.autocast = half, half is not None

    @torch.no_grad()
    def __call__(self, images: Tensor, orbit: ImageOrbit) -> Tensor:
        """Features ``(N, T, D)`` float32 on the CPU, of images ``(N, 3, H, W)`` in [0, 1]."""
        number, points = len(images), len(orbit.elements)
        which = torch.cartesian_prod(torch.arange(points), torch.arange(number))
        found = []
        with on_device(self.encoder, self.device):
            for some in torch.split(which, self.batch_size):
                seen = orbit.images(images[some[:, 1]].to(self.device), some[:, 0])
                batch = self.preprocess.normalize(255 * seen)
                batch = batch.contiguous(memory_format=torch.channels_last)
                with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.autocast):
                    features = self.encoder.encode(batch).features  # type: ignore[operator]
                found.append(features.float().cpu())
        return torch.cat(found).view(points, number, -1).transpose(0, 1).contiguous()


@contextmanager
def on_device(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Use a model in evaluation mode on a device, then give it back as it was."""
    modes = [(module, module.training) for module in model.modules()]
    home = next((parameter.device for parameter in model.parameters()), device)
    try:
        model.eval().to(device)
        yield
    finally:
        model.to(home)
        for module, training in modes:
            module.training = training
