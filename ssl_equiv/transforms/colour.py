"""Colour transforms, the whole batch at once, each image with its own strength and order."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_equiv.errors import UserError
from ssl_equiv.transforms.base import Size, Transform, where_active
from ssl_equiv.transforms.semigroups import Jitter, Switch

_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(4)
_LUMA = (0.2989, 0.587, 0.114)


class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue in random order (torchvision's ColorJitter).

    The element is that of :class:`~ssl_equiv.transforms.semigroups.Jitter`: four strengths, then
    each one's place in the order.

    Args:
        brightness: Factor uniform in [max(0, 1 - brightness), 1 + brightness].
        contrast: As brightness.
        saturation: As brightness.
        hue: Turn uniform in [-hue, hue], at most 1/2.
        p: Probability of being applied.
    """

    factor = "jitter"
    group = Jitter()
    entries = (
        "brightness",
        "contrast",
        "saturation",
        "hue",
        "brightness_place",
        "contrast_place",
        "saturation_place",
        "hue_place",
    )
    num_draws = 9

    def __init__(
        self, brightness: float, contrast: float, saturation: float, hue: float, p: float = 0.8
    ) -> None:
        strengths = (brightness, contrast, saturation)
        if min(strengths) < 0 or not 0 <= hue <= 0.5:
            raise UserError(f"jitter: {strengths} must be at least 0, hue {hue} within [0, 0.5]")
        self.strengths, self.hue, self.p = strengths, hue, p

    def parameters(self, uniform: Tensor, image_size: Size) -> Tensor:
        """``(B, 8)``."""
        low = torch.tensor([*(max(0.0, 1 - s) for s in self.strengths), -self.hue]).to(uniform)
        high = torch.tensor([*(1 + s for s in self.strengths), self.hue]).to(uniform)
        strength = low + (high - low) * uniform[:, 1:5]
        place = uniform[:, 5:].argsort(dim=1).to(uniform)
        drawn = torch.cat((strength, place), dim=1)
        return torch.where(uniform[:, :1] < self.p, drawn, self.group.identity().to(uniform))

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        identity = self.group.identity(device=parameters.device)[:4]
        active = (parameters[:, :4] != identity).any(dim=1)
        return where_active(images, active, _jitter, parameters)


def _jitter(images: Tensor, parameters: Tensor) -> Tensor:
    _three_channels(images, "jitter")
    strength, luma = parameters[:, :4], torch.tensor(_LUMA).to(images)
    order = parameters[:, 4:].argsort(dim=1)  # order[:, k]: what is done k-th
    for kind in order.unbind(1):
        factor = strength.gather(1, kind.unsqueeze(1)).view(-1, 1, 1, 1)
        # Brightness goes towards black and contrast towards the mean grey: one line does both,
        # and leaves the rows whose turn the others are.
        contrast = (kind == _CONTRAST).view(-1, 1, 1, 1)
        ratio = torch.where(contrast | (kind == _BRIGHTNESS).view(-1, 1, 1, 1), factor, 1.0)
        gray = (images.mean((-2, -1)) * luma).sum(1).view(-1, 1, 1, 1)
        images.mul_(ratio).add_(gray * (1 - ratio) * contrast).clamp_(0, 1)
        images = where_active(images, kind == _SATURATION, _saturate, factor)
        images = where_active(images, (kind == _HUE) & (strength[:, _HUE] != 0), _turn_hue, factor)
    return images


def _saturate(images: Tensor, factor: Tensor) -> Tensor:
    away = _gray(images).unsqueeze(1) * (1 - factor)
    return torch.mul(images, factor).add_(away).clamp_(0, 1)


class Grayscale(Transform):
    """Luma ``0.2989 R + 0.587 G + 0.114 B`` in all three channels; the element is 1 or 0.

    Args:
        p: Probability of being applied.
    """

    factor = "grayscale"
    group = Switch()
    entries = ("grayscale",)
    num_draws = 1

    def __init__(self, p: float = 0.2) -> None:
        self.p = p

    def parameters(self, uniform: Tensor, image_size: Size) -> Tensor:
        """``(B, 1)``."""
        return (uniform < self.p).to(uniform)

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        _three_channels(images, "grayscale")
        return where_active(
            images, parameters[:, 0] > 0, lambda some: some.copy_(_gray(some).unsqueeze(1))
        )


class Solarize(Transform):
    """Values from the threshold on become 1 minus themselves; the element is 1 or 0.

    Args:
        p: Probability of being applied.
        threshold: In [1/2, 1], where doing it twice is doing it once.
    """

    factor = "solarize"
    group = Switch()
    entries = ("solarize",)
    num_draws = 1

    def __init__(self, p: float = 0.2, threshold: float = 0.5) -> None:
        if not 0.5 <= threshold <= 1:
            raise UserError(f"solarize: the threshold {threshold} must be within [0.5, 1]")
        self.p, self.threshold = p, threshold

    def parameters(self, uniform: Tensor, image_size: Size) -> Tensor:
        """``(B, 1)``."""
        return (uniform < self.p).to(uniform)

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        return where_active(
            images,
            parameters[:, 0] > 0,
            lambda some: torch.where(some >= self.threshold, 1 - some, some),
        )


def _gray(images: Tensor) -> Tensor:
    """Luma, ``(B, H, W)``, in new memory."""
    red, green, blue = images.unbind(1)
    return red.mul(_LUMA[0]).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])


def _turn_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn HSV's hue by ``shift (B, 1, 1, 1)`` turns; value and saturation stay.

    Both ways through HSV in closed form, without branches. With value v, chroma c,
    ``q = (v - R)/c`` and ``e = (G - B)/c`` the hue in sixths of a turn is
    ``sign(e) 3 q + (1 - 2 q) e``: red is the largest channel where q = 0, the smallest where q = 1,
    and else |e| = 1. Back, at distance d on the circle of 6 from a channel's own hue, that channel
    is ``v - c · clamp(d - 1, 0, 1)``.
    """
    red, green, blue = images.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    inverse = chroma.clamp_min(1e-12).reciprocal_()  # where chroma is zero, so is what it divides
    q = torch.sub(value, red).mul_(inverse)
    e = torch.sub(green, blue).mul_(inverse)
    hue = torch.addcmul(e, q, e, value=-2).add_(q.copysign_(e), alpha=3).add_(shift[:, 0], alpha=6)
    hue = hue.add_(torch.mul(hue, 1 / 6).round_(), alpha=-6)  # in [-3, 3]
    opposite = torch.tensor([3.0, 1.0, -1.0], device=images.device, dtype=images.dtype)
    distance = torch.add(hue.unsqueeze(1), opposite.view(3, 1, 1)).abs_().sub_(3).abs_()
    distance.clamp_(1, 2)
    base = (value + chroma).unsqueeze(1)
    return torch.addcmul(base, chroma.unsqueeze(1), distance, value=-1, out=distance)


def _three_channels(images: Tensor, name: str) -> None:
    if images.shape[1] != 3:
        raise UserError(f"{name} needs RGB images, got {images.shape[1]} channels: leave it out")
