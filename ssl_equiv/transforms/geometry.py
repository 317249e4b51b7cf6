"""Geometric transforms: what moves the points of the picture.

The plane has x to the right, y up, and the picture spans [-1, 1] in both: a point of the picture
goes where the group's ``act`` sends it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO2, Flip, Translation
from ssl_equiv.transforms.base import Size, Transform, where_active
from ssl_equiv.transforms.resample import separable, triangle_weights
from ssl_equiv.transforms.semigroups import Crop

_ATTEMPTS = 10  # torchvision's, after which the largest box of an allowed ratio is taken


class RandomResizedCrop(Transform):
    """A random box, resized to a square by antialiased bilinear interpolation.

    Boxes are whole pixels, distributed as torchvision's.

    Args:
        size: Side of the result, pixels.
        scale: Range of the box's share of the picture's area; uniform.
        ratio: Range of its width over its height; log-uniform.
    """

    factor = "crop"
    group = Crop()
    entries = ("x", "y", "log_width", "log_height")
    num_draws = 2 * _ATTEMPTS + 2

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        if size < 1 or not 0 < scale[0] <= scale[1] <= 1 or not 0 < ratio[0] <= ratio[1]:
            raise UserError(
                f"crop: size {size} must be at least 1, scale {scale} a range within (0, 1], "
                f"ratio {ratio} a range above 0"
            )
        self.size, self.scale, self.ratio = size, scale, ratio

    def output_size(self, image_size: Size) -> Size:
        """The square."""
        return self.size, self.size

    def parameters(self, uniform: Tensor, image_size: Size) -> Tensor:
        """``(B, 4)``."""
        height, width = image_size
        area, ratio = uniform[:, :_ATTEMPTS], uniform[:, _ATTEMPTS : 2 * _ATTEMPTS]
        area = height * width * (self.scale[0] + (self.scale[1] - self.scale[0]) * area)
        low, high = (math.log(end) for end in self.ratio)
        ratio = (low + (high - low) * ratio).exp()
        tried = torch.stack(((area / ratio).sqrt().round(), (area * ratio).sqrt().round()), dim=-1)
        limit = torch.tensor([height, width]).to(uniform)
        fits = ((tried > 0) & (tried <= limit)).all(-1)
        first = fits.to(torch.uint8).argmax(dim=1)
        box = tried[torch.arange(len(tried), device=tried.device), first]  # (B, 2): height, width
        found = fits.any(dim=1, keepdim=True)
        box = torch.where(found, box, torch.tensor(self._largest(image_size)).to(box))
        corner = torch.floor(uniform[:, -2:] * (limit - box + 1))
        corner = torch.where(found, corner, torch.floor((limit - box) / 2))
        centre = (2 * corner + box) / limit - 1
        x, y = centre[:, 1:], -centre[:, :1]
        return torch.cat((x, y, (box / limit).log().flip(1)), dim=1)

    def boxes(self, parameters: Tensor, image_size: Size) -> tuple[Tensor, Tensor]:
        """Corners (top, left) and sizes (height, width), ``(B, 2)`` whole pixels each.

        Exact for float32 elements of pictures up to 4096 pixels.
        """
        limit = torch.tensor(image_size, device=parameters.device, dtype=torch.float64)
        box = (parameters[:, 2:].flip(1).double().exp() * limit).round()
        centre = torch.stack((-parameters[:, 1], parameters[:, 0]), dim=1).double()
        return ((limit * (centre + 1) - box) / 2).round(), box

    def _largest(self, image_size: Size) -> tuple[int, int]:
        height, width = image_size
        if width < self.ratio[0] * height:
            return round(width / self.ratio[0]), width
        if width > self.ratio[1] * height:
            return height, round(height * self.ratio[1])
        return height, width

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        corner, box = (part.to(images) for part in self.boxes(parameters, (height, width)))
        rows = triangle_weights(corner[:, 0], box[:, 0], height, self.size)
        columns = triangle_weights(corner[:, 1], box[:, 1], width, self.size)
        return separable(images, rows, columns)


class RandomFlip(Transform):
    """Mirror images left to right, top to bottom, or both; an exact action of the group.

    Args:
        horizontal: Probability of mirroring left to right.
        vertical: Probability of mirroring top to bottom.
    """

    factor = "flip"
    group = Flip(2)
    entries = ("horizontal", "vertical")
    num_draws = 2

    def __init__(self, horizontal: float = 0.5, vertical: float = 0.0) -> None:
        self.p = (horizontal, vertical)

    def parameters(self, uniform: Tensor, image_size: Size) -> Tensor:
        """Signs, ``(B, 2)``: -1 where mirrored."""
        return 1 - 2 * (uniform < torch.tensor(self.p).to(uniform)).to(uniform)

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        for axis, dim in ((0, -1), (1, -2)):
            images = where_active(
                images, parameters[:, axis] < 0, lambda some, dim=dim: some.flip(dim)
            )
        return images


class QuarterTurn(Transform):
    """Rotate square images by multiples of 90 degrees; an exact action of the cyclic group.

    The element is an angle in (-pi, pi], radians, counter-clockwise.

    Args:
        p: Probability of being applied; each of the three turns is then equally likely.
    """

    factor = "rotation"
    group = SO2()
    entries = ("angle",)
    num_draws = 2

    def __init__(self, p: float = 0.75) -> None:
        self.p = p

    def parameters(self, uniform: Tensor, image_size: Size) -> Tensor:
        """``(B, 1)``."""
        turns = 1 + torch.floor(3 * uniform[:, 1:])
        return self.group.exp(torch.where(uniform[:, :1] < self.p, turns, 0.0) * (math.pi / 2))

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        turns = (parameters[:, 0] * (2 / math.pi)).round().long() % 4
        if images.shape[-1] != images.shape[-2] and bool((turns % 2).any()):
            raise UserError(
                f"quarter turns need square images, got {tuple(images.shape[-2:])}: crop first"
            )
        for number in (1, 2, 3):
            images = where_active(
                images, turns == number, lambda some, k=number: some.rot90(k, (-2, -1))
            )
        return images


class Rotation(Transform):
    """Rotate about the centre, counter-clockwise, bilinear, black outside.

    The element is the angle in (-pi, pi], radians. The action is exact up to interpolation and to
    what leaves the picture.

    Args:
        degrees: Lowest and highest angle, degrees; uniform between.
        p: Probability of being applied.
    """

    factor = "rotation"
    group = SO2()
    entries = ("angle",)
    num_draws = 2

    def __init__(self, degrees: tuple[float, float] = (-180.0, 180.0), p: float = 1.0) -> None:
        if degrees[0] > degrees[1]:
            raise UserError(f"rotation: {degrees} is no range of degrees")
        self.degrees, self.p = degrees, p

    def parameters(self, uniform: Tensor, image_size: Size) -> Tensor:
        """``(B, 1)``."""
        low, high = (math.radians(end) for end in self.degrees)
        angle = low + (high - low) * uniform[:, 1:]
        return self.group.exp(torch.where(uniform[:, :1] < self.p, angle, 0.0))

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        return where_active(images, parameters[:, 0] != 0, _rotate, parameters)


def _rotate(images: Tensor, angle: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    # In pixels from the centre, y down, a result's pixel is looked up at the inverse rotation.
    cosine, sine = angle.double().cos(), angle.double().sin()
    theta = torch.stack((torch.cat((cosine, -sine), 1), torch.cat((sine, cosine), 1)), dim=1)
    half = torch.tensor([width / 2, height / 2], device=images.device, dtype=torch.float64)
    theta = (theta / half.unsqueeze(-1)).to(images)
    y = torch.arange(height, device=images.device, dtype=images.dtype) - (height - 1) / 2
    x = torch.arange(width, device=images.device, dtype=images.dtype) - (width - 1) / 2
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).view(1, -1, 2)
    grid = torch.matmul(points, theta.mT).view(-1, height, width, 2)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


class Shift(Transform):
    """Translate by whole pixels; black comes in, or with ``wrap`` what went out.

    With ``wrap`` an exact action of the torus; without, exact where nothing has left the picture.
    The element is in the plane's unit: half of the picture's width and height.

    Args:
        fraction: Largest shift along x and y, as a fraction of width and height; uniform.
        wrap: Join opposite sides.
        p: Probability of being applied.
    """

    factor = "translation"
    group = Translation(2)
    entries = ("x", "y")
    num_draws = 3

    def __init__(
        self, fraction: tuple[float, float] = (0.125, 0.125), wrap: bool = False, p: float = 1.0
    ) -> None:
        if not (0 <= fraction[0] <= 1 and 0 <= fraction[1] <= 1):
            raise UserError(f"translation: the fractions {fraction} must be within [0, 1]")
        self.fraction, self.wrap, self.p = fraction, wrap, p

    def parameters(self, uniform: Tensor, image_size: Size) -> Tensor:
        """``(B, 2)``."""
        size = torch.tensor([image_size[1], image_size[0]]).to(uniform)
        largest = size * torch.tensor(self.fraction).to(uniform)
        pixels = ((2 * uniform[:, 1:] - 1) * largest).round()
        return torch.where(uniform[:, :1] < self.p, 2 * pixels / size, 0.0)

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        for axis, dim, sign in ((0, -1, 1), (1, -2, -1)):  # y points up, rows count downwards
            size = images.shape[dim]
            pixels = (sign * parameters[:, axis] * (size / 2)).round().long()
            source = torch.arange(size, device=images.device) - pixels.unsqueeze(1)
            view = (len(images), 1, 1, size) if dim == -1 else (len(images), 1, size, 1)
            index = (source % size).view(view).expand_as(images)
            images = images.gather(dim, index)
            if not self.wrap:
                images = images * ((source >= 0) & (source < size)).view(view)
        return images
