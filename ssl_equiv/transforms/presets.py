"""The papers' augmentations, by class path: ``ssl_equiv.transforms.presets.simclr``.

===================== ====================================== =======================
data                  preset                                 ``size``
===================== ====================================== =======================
CIFAR-100             ``simclr_small``                       32
Tiny-ImageNet         ``simclr_small``                       64
STL-10                ``simclr``, ``moco``                   96
folders, WebDataset   ``simclr``, ``byol``, ``vicreg``        224, of a canvas of 256
===================== ====================================== =======================

EquiMod (arXiv 2211.01244) takes the augmentation of the method it extends, and AugSelf
(arXiv 2111.09613) that of MoCo v2: choose theirs. Every factor is in the batch, so a method
conditions on those that it names. ``actions`` keeps to transforms that equivariant methods have
as actions: crop, jitter and blur (seq-JEPA, arXiv 2505.03176; its strengths were not verified).
"""

from __future__ import annotations

from ssl_equiv.transforms.augmentation import Augmentation
from ssl_equiv.transforms.base import Transform
from ssl_equiv.transforms.blur import GaussianBlur
from ssl_equiv.transforms.colour import ColorJitter, Grayscale, Solarize
from ssl_equiv.transforms.geometry import RandomFlip, RandomResizedCrop


def simclr(size: int = 224, strength: float = 1.0) -> Augmentation:
    """SimCLR on ImageNet (arXiv 2002.05709, appendix A): strong colour distortion and blur.

    Args:
        size: Side of the views, pixels.
        strength: Strength s of the colour distortion.
    """
    return Augmentation([[*_simclr(size, strength), GaussianBlur(p=0.5)]])


def simclr_small(size: int = 32, strength: float = 0.5) -> Augmentation:
    """SimCLR on CIFAR (arXiv 2002.05709, B.9): half the colour distortion, no blur.

    Args:
        size: Side of the views, pixels.
        strength: Strength s of the colour distortion.
    """
    return Augmentation([_simclr(size, strength)])


def moco(size: int = 224) -> Augmentation:
    """MoCo v2 (arXiv 2003.04297), which SimSiam and AugSelf share.

    Args:
        size: Side of the views, pixels.
    """
    crop = RandomResizedCrop(size, scale=(0.2, 1.0))
    jitter = ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8)
    return Augmentation([[crop, RandomFlip(), jitter, Grayscale(0.2), GaussianBlur(p=0.5)]])


def byol(size: int = 224) -> Augmentation:
    """BYOL (arXiv 2006.07733, appendix B): the two views differ in blur and solarization.

    Args:
        size: Side of the views, pixels.
    """
    return Augmentation([_byol(size, 1.0, 0.0), _byol(size, 0.1, 0.2)])


def vicreg(size: int = 224) -> Augmentation:
    """VICReg (arXiv 2105.04906, C.1): BYOL's with the same probabilities for both views.

    Args:
        size: Side of the views, pixels.
    """
    return Augmentation([_byol(size, 0.5, 0.1)])


def actions(size: int = 32, strength: float = 0.5, blur: float = 0.5) -> Augmentation:
    """Crop, jitter and blur alone, with SimCLR's ranges: nothing else differs between views.

    Args:
        size: Side of the views, pixels.
        strength: Strength s of the colour distortion.
        blur: Probability of blur; 0 leaves pictures of 32 pixels sharp.
    """
    crop, _, jitter, _ = _simclr(size, strength)
    return Augmentation([[crop, jitter, GaussianBlur(p=blur)]])


def _simclr(size: int, strength: float) -> list[Transform]:
    jitter = ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength, p=0.8)
    return [RandomResizedCrop(size), RandomFlip(), jitter, Grayscale(0.2)]


def _byol(size: int, blur: float, solarize: float) -> list[Transform]:
    return [
        RandomResizedCrop(size),
        RandomFlip(),
        ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8),
        Grayscale(0.2),
        GaussianBlur(p=blur),
        Solarize(solarize),
    ]
