"""Changes of pictures against torch and torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from eval.orbit_changes import affine_maps, crops, flips, pixel_shifts
from eval.orbit_images import ImageOrbit
from ssl_equiv.errors import UserError


def picture(height: int = 24, width: int = 30) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def at(orbit: ImageOrbit, point: int, image: Tensor | None = None) -> Tensor:
    return orbit.images(picture() if image is None else image, torch.tensor([point]))


CHANGES = [pixel_shifts(4, 2, True), pixel_shifts(4, 2, False), flips(), affine_maps(6), crops(6)]


@pytest.mark.parametrize("orbit", CHANGES, ids=lambda orbit: orbit.geometry.name)
def test_the_reference_is_the_picture(orbit: ImageOrbit) -> None:
    found = at(orbit, orbit.geometry.reference)
    torch.testing.assert_close(found, picture(), atol=1e-5, rtol=0)
    assert len(orbit.geometry.points) == len(orbit.elements)
    assert found.min() >= 0
    images = picture().expand(len(orbit.elements), -1, -1, -1)
    every = orbit.images(images, torch.arange(len(orbit.elements)))
    for point in range(len(orbit.elements)):  # batches mix points
        torch.testing.assert_close(every[[point]], at(orbit, point), atol=1e-6, rtol=0)


def test_shifts_roll_or_show_the_mirror_image() -> None:
    around = F.pad(picture(), (4,) * 4, mode="reflect")
    for row, column in ((0, 0), (4, 1), (2, 3)):
        up, right = 2 * (row - 2), 2 * (column - 2)
        point = 5 * row + column
        rolled = picture().roll((-up, right), (-2, -1))
        assert torch.equal(at(CHANGES[0], point), rolled)
        cut = around[..., 4 + up : 28 + up, 4 - right : 34 - right]
        assert torch.equal(at(CHANGES[1], point), cut)
    assert CHANGES[0].geometry.points[1] == "-2 px, -4 px"
    assert CHANGES[1].geometry.reference == 12


def test_flips() -> None:
    image = picture()
    expected = [image, image.flip(3), image.flip(2), image.flip(2, 3)]
    for point, wanted in enumerate(expected):
        assert torch.equal(at(flips(), point), wanted)


def test_crops_are_torchvisions() -> None:
    orbit = crops(6)
    for point in range(1, 6):
        left, top, wide, high = (orbit.elements[point].double().numpy() * [30, 24, 30, 24]).tolist()
        # the same at whole pixels: round the element, and crop
        box = [round(top), round(left), max(1, round(high)), max(1, round(wide))]
        element = np.array([box[1] / 30, box[0] / 24, box[3] / 30, box[2] / 24])
        rounded = orbit.act(picture(), torch.from_numpy(element)[None].float())
        wanted = tv.resized_crop(picture(), *box, [24, 30], antialias=True)
        torch.testing.assert_close(rounded, wanted, atol=1e-4, rtol=0)
    assert orbit.geometry.x is not None
    assert orbit.geometry.x[0] == 100
    assert orbit.geometry.x.min() >= 39


def test_affine_maps_are_small_and_never_show_black() -> None:
    orbit = affine_maps(8)
    white = torch.ones(1, 3, 32, 32)
    assert orbit.geometry.x is not None
    assert orbit.geometry.x[0] == 0
    assert 1 < orbit.geometry.x[1:].min() < orbit.geometry.x.max() < 20
    for point in range(8):
        assert at(orbit, point, white).min() > 0.999
    # the least trivial: a picture that is 0 left of its middle moves where the matrix says
    theta = orbit.elements[3].view(2, 3).double()
    places = torch.tensor([[0.0, 0.0, 1.0], [0.5, -0.3, 1.0]], dtype=torch.float64) @ theta.T
    ramp = torch.linspace(-1 + 1 / 64, 1 - 1 / 64, 64).expand(1, 3, 64, 64)  # a pixel's own place
    seen = at(orbit, 3, (ramp + 1) / 2)
    for (x, y), source in zip(((0.0, 0.0), (0.5, -0.3)), places.tolist(), strict=True):
        column, row = round((x + 1) * 32 - 0.5), round((y + 1) * 32 - 0.5)
        assert 2 * seen[0, 0, row, column].item() - 1 == pytest.approx(source[0], abs=0.05)


def test_grids_without_a_middle_are_refused() -> None:
    for largest, step in ((8, 3), (0, 1), (4, 0), (2, 4)):
        with pytest.raises(UserError, match="choose a whole number of steps"):
            pixel_shifts(largest, step, wrap=True)
    with pytest.raises(UserError, match="up to 24 px of pictures of 30 x 24"):
        at(pixel_shifts(24, 8, wrap=False), 0)
