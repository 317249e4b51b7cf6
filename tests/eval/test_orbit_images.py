"""Actions on pictures against torch, torchvision and colorsys."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from eval.orbit_images import ImageOrbit, hue_orbit, rotation_orbit, scale_orbit, shift_orbit
from ssl_equiv.errors import UserError


def picture(height: int = 24, width: int = 24) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def at(orbit: ImageOrbit, point: int, image: Tensor | None = None) -> Tensor:
    return orbit.images(picture() if image is None else image, torch.tensor([point]))


ORBITS = [rotation_orbit(8), shift_orbit(5, 0.25), scale_orbit(5, 1.5), hue_orbit(6)]


@pytest.mark.parametrize("orbit", ORBITS, ids=lambda orbit: orbit.geometry.name)
@pytest.mark.parametrize("width", [24, 17])
def test_the_reference_is_the_picture(orbit: ImageOrbit, width: int) -> None:
    image = picture(24, width)
    torch.testing.assert_close(at(orbit, orbit.geometry.reference, image), image, atol=1e-6, rtol=0)
    assert len(orbit.geometry.points) == len(orbit.elements)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_exact(turns: int) -> None:
    expected = picture().rot90(turns, (-2, -1))
    torch.testing.assert_close(at(rotation_orbit(4), turns), expected, atol=1e-5, rtol=0)
    disc = at(rotation_orbit(4, "disc", (0.2, 0.4, 0.6)), turns)
    torch.testing.assert_close(disc[..., 5:19, 5:19], expected[..., 5:19, 5:19], atol=1e-5, rtol=0)
    torch.testing.assert_close(disc[0, :, 0, 0], torch.tensor([0.2, 0.4, 0.6]))


def test_the_disc_is_the_same_at_every_angle() -> None:
    orbit = rotation_orbit(16, "disc", (9.0, 9.0, 9.0))  # a colour that no picture has
    discs = [at(orbit, point)[0, 0] < 8 for point in range(16)]
    assert all((disc == discs[0]).all() for disc in discs)
    # nothing of the black around the picture gets in
    white = torch.ones(1, 3, 24, 24)
    assert all((at(orbit, point, white) > 0.999).all() for point in range(16))


def test_corners_show_the_mirror_image() -> None:
    white = torch.ones(1, 3, 24, 24)
    orbit = rotation_orbit(16)
    assert all((at(orbit, point, white) > 0.999).all() for point in range(16))


def test_shifts_are_rolls() -> None:
    orbit = shift_orbit(5, 0.25)  # by 0, 3 and 6 of 24 pixels
    for row, column in ((0, 0), (1, 4), (4, 2)):
        up, right = 3 * (row - 2), 3 * (column - 2)
        expected = picture().roll((-up, right), (-2, -1))
        torch.testing.assert_close(at(orbit, 5 * row + column), expected)
    assert orbit.geometry.points[5 * 1 + 4] == "+25 %, -12 %"


def test_scales_are_antialiased_crops_and_paddings() -> None:
    orbit = scale_orbit(3, 2.0)
    larger = tv.resized_crop(picture(), 6, 6, 12, 12, [24, 24], antialias=True)
    torch.testing.assert_close(at(orbit, 2), larger, atol=1e-5, rtol=0)
    around = F.pad(picture(), (12,) * 4, mode="reflect")
    smaller = F.interpolate(around, (24, 24), mode="bilinear", antialias=True)
    torch.testing.assert_close(at(orbit, 0), smaller, atol=1e-5, rtol=0)


def test_hues_are_those_of_colorsys() -> None:
    orbit, image = hue_orbit(6), picture()
    for point in range(6):
        found = at(orbit, point)[0, :, 3, 5].tolist()
        h, s, v = colorsys.rgb_to_hsv(*image[0, :, 3, 5].tolist())
        np.testing.assert_allclose(found, colorsys.hsv_to_rgb((h + point / 6) % 1, s, v), atol=1e-5)


def test_orbits_without_a_middle_are_refused() -> None:
    with pytest.raises(UserError, match="shift_points is 6: choose an odd number"):
        shift_orbit(6, 0.25)
    with pytest.raises(UserError, match="scale_points is 4"):
        scale_orbit(4, 1.5)
    with pytest.raises(UserError, match=r"scale is 0\.5"):
        scale_orbit(3, 0.5)
