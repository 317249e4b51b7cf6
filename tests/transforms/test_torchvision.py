"""Every transform against torchvision's functional form, image by image, at the same parameters."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from ssl_equiv.transforms import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    QuarterTurn,
    RandomFlip,
    RandomResizedCrop,
    Rotation,
    Shift,
    Solarize,
    Transform,
    presets,
)

BATCH = 24
JITTER = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
Reference = Callable[[Tensor, Tensor], Tensor]


def pictures(height: int = 48, width: int = 48, *, smooth: bool = False) -> Tensor:
    """Float images that have grey pixels, black, white and pure colours among others."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(BATCH, 3, height, width, generator=generator)
    if smooth:
        images = torch.nn.functional.interpolate(images[:, :, :6, :6], (height, width))
    corners = torch.tensor([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)]).float()
    images[:, :, 0, :8] = corners.T
    images[:, :, 1] = images[:, :1, 1]
    return images


def flip(image: Tensor, sign: Tensor) -> Tensor:
    image = F.horizontal_flip(image) if sign[0] < 0 else image
    return F.vertical_flip(image) if sign[1] < 0 else image


def jitter(image: Tensor, parameters: Tensor) -> Tensor:
    if image.dtype == torch.uint8 and len(parameters[:4].unique()) > 2:  # more than one step
        floats = jitter(F.to_dtype(image, torch.float32, scale=True), parameters)
        return floats.mul(255).round().to(torch.uint8)  # torchvision's own cuts off each time
    for kind in parameters[4:].argsort().tolist():
        image = JITTER[kind](image, parameters[kind].item())
    return image


def shift(image: Tensor, move: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    pixels = [round(move[0].item() * width / 2), round(-move[1].item() * height / 2)]
    return F.affine(image, 0.0, pixels, 1.0, [0.0, 0.0])


def rotate(image: Tensor, angle: Tensor) -> Tensor:
    return F.rotate(image, math.degrees(angle.item()), F.InterpolationMode.BILINEAR)


def blur(image: Tensor, sigma: Tensor) -> Tensor:
    return F.gaussian_blur(image, [7, 7], sigma.tolist()) if sigma > 0 else image


def gray(image: Tensor, done: Tensor) -> Tensor:
    return F.rgb_to_grayscale(image, 3) if done > 0 else image


def solarize(image: Tensor, done: Tensor) -> Tensor:
    return F.solarize(image, 0.5 if image.is_floating_point() else 128) if done > 0 else image


# transform, reference, largest difference of floats and of uint8 levels
CASES: dict[str, tuple[Transform, Reference, float, int]] = {
    "flip": (RandomFlip(0.5, 0.5), flip, 0, 0),
    "quarter turn": (
        QuarterTurn(),
        lambda x, g: x.rot90(round(2 * g.item() / math.pi), (1, 2)),
        0,
        0,
    ),
    "rotation": (Rotation(p=0.9), rotate, 1e-5, 1),
    "translation": (Shift((0.6, 0.3)), shift, 0, 0),
    "jitter": (ColorJitter(0.8, 0.8, 0.8, 0.5, p=0.9), jitter, 1e-5, 1),
    "brightness": (ColorJitter(0.5, 0, 0, 0, p=1), jitter, 1e-5, 1),
    "contrast": (ColorJitter(0, 0.5, 0, 0, p=1), jitter, 1e-5, 1),
    "saturation": (ColorJitter(0, 0, 0.5, 0, p=1), jitter, 1e-5, 1),
    "hue": (ColorJitter(0, 0, 0, 0.5, p=1), jitter, 1e-5, 1),
    "grayscale": (Grayscale(0.5), gray, 1e-6, 1),
    "blur": (GaussianBlur(7, p=0.8), blur, 1e-5, 1),
    "solarize": (Solarize(0.5), solarize, 0, 0),
}


@pytest.mark.parametrize("kind", [torch.float32, torch.uint8])
@pytest.mark.parametrize("name", CASES)
def test_it_is_torchvisions(name: str, kind: torch.dtype) -> None:
    transform, reference, floats, levels = CASES[name]
    images = pictures()
    if kind == torch.uint8:
        images = (images * 255).round().to(torch.uint8)
    before = images.clone()
    parameters = transform.sample(images, torch.Generator().manual_seed(1))
    assert parameters.shape == (BATCH, len(transform.entries)) == (BATCH, transform.group.dim)
    found = transform(images, parameters)
    assert torch.equal(images, before)
    assert found.dtype == kind
    want = torch.stack([reference(x, p) for x, p in zip(images, parameters, strict=True)])
    assert (found.double() - want.double()).abs().max() <= (
        levels if kind == torch.uint8 else floats
    )
    assert (found.double() - images.double()).abs().max() > 0.1  # something was done


@pytest.mark.parametrize("kind", [torch.float32, torch.uint8])
@pytest.mark.parametrize(("height", "width", "size"), [(48, 48, 32), (48, 48, 64), (37, 53, 24)])
def test_crops_are_torchvisions(height: int, width: int, size: int, kind: torch.dtype) -> None:
    images = pictures(height, width)
    if kind == torch.uint8:
        images = (images * 255).round().to(torch.uint8)
    transform = RandomResizedCrop(size)
    parameters = transform.sample(images, torch.Generator().manual_seed(1))
    corners, boxes = transform.boxes(parameters, (height, width))
    assert torch.equal(corners, corners.round())
    want = torch.stack(
        [
            F.resized_crop(x, *c.int().tolist(), *b.int().tolist(), [size, size], antialias=True)
            for x, c, b in zip(images, corners, boxes, strict=True)
        ]
    )
    found = transform(images, parameters)
    limit = 1 if kind == torch.uint8 else 1e-5
    assert (found.double() - want.double()).abs().max() <= limit


@pytest.mark.parametrize("image_size", [(48, 48), (20, 200), (200, 20)])
def test_crops_are_distributed_as_torchvisions(image_size: tuple[int, int]) -> None:
    transform = RandomResizedCrop(32, scale=(0.2, 1.0))
    uniform = torch.rand(
        4000, transform.num_draws, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    ours = torch.cat(transform.boxes(transform.parameters(uniform, image_size), image_size), dim=1)
    torch.manual_seed(0)
    theirs_of = v2.RandomResizedCrop(32, scale=(0.2, 1.0))
    image = torch.empty(3, *image_size)
    drawn = [theirs_of.make_params([image]) for _ in range(4000)]
    keys = ("top", "left", "height", "width")
    theirs = torch.tensor([[p[key] for key in keys] for p in drawn]).double()
    for column in range(4):
        mine, other = ours[:, column].sort()[0], theirs[:, column].sort()[0]
        points = torch.cat((mine, other))
        gap = torch.searchsorted(mine, points, right=True) - torch.searchsorted(
            other, points, right=True
        )
        assert gap.abs().max() / 4000 < 0.044  # Kolmogorov-Smirnov, p = 0.001


@pytest.mark.parametrize("name", ["simclr", "simclr_small", "moco", "byol", "vicreg", "actions"])
def test_a_preset_is_torchvisions_one_after_another(name: str) -> None:
    augmentation = getattr(presets, name)(size=40)
    images = pictures(56, 48, smooth=True)
    uniform = torch.rand(
        BATCH, 2, augmentation.num_draws, generator=torch.Generator().manual_seed(0)
    )
    elements = augmentation.parameters(uniform.double(), (56, 48))
    found = augmentation.apply(images, elements)
    blurs = {"blur": lambda x, s: F.gaussian_blur(x, [5, 5], s.tolist()) if s > 0 else x}
    by_factor = {"flip": flip, "jitter": jitter, "grayscale": gray, "solarize": solarize, **blurs}
    crop = augmentation.pipelines[0].transforms[0]
    corners, boxes = crop.boxes(elements["crop"].flatten(0, 1), (56, 48))
    for row in range(BATCH):
        for view in range(2):
            place = corners[2 * row + view].int().tolist() + boxes[2 * row + view].int().tolist()
            image = F.resized_crop(images[row], *place, [40, 40], antialias=True)
            for factor in list(elements)[1:]:
                # solarization jumps at its threshold: both sides must be on the same one
                image = by_factor[factor](image, elements[factor][row, view])
            difference = (found[row, view] - image).abs()
            if elements.get("solarize", torch.zeros(BATCH, 2, 1))[row, view] > 0:
                difference = difference[(image - 0.5).abs() > 1e-4]
            assert difference.max() <= 1e-5
