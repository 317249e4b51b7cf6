"""Group elements acting on images, batched; each transform returns the element it applied."""

from __future__ import annotations

from ssl_equiv.transforms.augmentation import Augmentation
from ssl_equiv.transforms.base import Compose, Transform
from ssl_equiv.transforms.blur import GaussianBlur
from ssl_equiv.transforms.colour import ColorJitter, Grayscale, Solarize
from ssl_equiv.transforms.geometry import (
    QuarterTurn,
    RandomFlip,
    RandomResizedCrop,
    Rotation,
    Shift,
)
from ssl_equiv.transforms.semigroups import Blur, Crop, Jitter, Switch

__all__ = [
    "Augmentation",
    "Blur",
    "ColorJitter",
    "Compose",
    "Crop",
    "GaussianBlur",
    "Grayscale",
    "Jitter",
    "QuarterTurn",
    "RandomFlip",
    "RandomResizedCrop",
    "Rotation",
    "Shift",
    "Solarize",
    "Switch",
    "Transform",
]
