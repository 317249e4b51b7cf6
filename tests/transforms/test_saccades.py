from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from ssl_equiv.errors import UserError
from ssl_equiv.transforms.saccades import (
    foveal_patches,
    keyed_uniform,
    sample_fixations,
    spectral_residual,
)


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def test_spectral_residual_by_the_papers_lines() -> None:
    image = np.random.default_rng(0).random((64, 64)) * 0.1
    image[40:48, 10:18] += 1
    image -= image.mean()
    spectrum = np.fft.fft2(image)
    log = np.log(np.abs(spectrum) + 1e-6 * np.abs(spectrum).max())
    residual = log - ndimage.uniform_filter(log, 3, mode="wrap")
    power = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    want = ndimage.gaussian_filter(power, 2.5, mode="mirror", truncate=8 / 2.5)
    have = spectral_residual(torch.from_numpy(image).float().expand(1, 3, 64, 64))[0].numpy()
    np.testing.assert_allclose(have, want / want.sum(), rtol=2e-3)


def test_what_stands_out_is_salient() -> None:
    image = 0.02 * torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    image[..., 60:68, 20:28] = 1
    saliency = spectral_residual(image)[0]
    row, column = divmod(int(saliency.argmax()), 64)
    assert abs(row - 64 * 64 / 96) < 6
    assert abs(column - 24 * 64 / 96) < 6


def test_a_constant_image_is_salient_everywhere_alike() -> None:
    for value in (0.0, 0.37, 255.0):
        saliency = spectral_residual(torch.full((2, 3, 50, 70), value))
        torch.testing.assert_close(saliency, torch.full((2, 64, 64), 1 / 4096))


def test_fixations_are_drawn_in_proportion_to_saliency() -> None:
    saliency = torch.tensor([[[1.0, 3.0], [0.0, 4.0]]]).expand(4000, 2, 2)
    fixations = sample_fixations(saliency, uniform(4000, 1), (0.1, 0.1), 0.0)[:, 0]
    share = [
        (fixations == torch.tensor(xy)).all(dim=1).float().mean().item()
        for xy in ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5))
    ]
    np.testing.assert_allclose(share, [1 / 8, 3 / 8, 0, 4 / 8], atol=0.03)


def test_inhibition_of_return() -> None:
    saliency = torch.rand(200, 16, 16, generator=torch.Generator().manual_seed(0)) + 0.1
    free = sample_fixations(saliency, uniform(200, 4), (0.25, 0.25), 0.0)
    apart = sample_fixations(saliency, uniform(200, 4), (0.25, 0.25), 0.5)

    def nearest(f: torch.Tensor) -> torch.Tensor:
        return (torch.cdist(f, f) + 9 * torch.eye(4)).amin(dim=(1, 2))

    assert nearest(apart).min() > 0.5
    assert nearest(free).min() < 0.2
    assert torch.equal(free[:, 0], apart[:, 0])


def test_where_all_is_inhibited_it_looks_again() -> None:
    for saliency in (torch.ones(3, 4, 4), torch.zeros(3, 4, 4)):
        fixations = sample_fixations(saliency, uniform(3, 5), (0.2, 0.2), 9.0)
        assert torch.isfinite(fixations).all()
        assert fixations.abs().max() <= 0.8


def test_patches_are_the_pixels_around_their_centres() -> None:
    images = torch.randn(3, 2, 20, 30)
    fixations = 2 * uniform(3, 50, 2).float() - 1
    patches, centres = foveal_patches(images, fixations, 7)
    assert patches.shape == (3, 50, 2, 7, 7)
    for item in range(3):
        for number in range(50):
            x, y = ((centres[item, number] + 1) * torch.tensor([30.0, 20.0]) / 2).tolist()
            left, top = round(x - 3.5), round(y - 3.5)
            assert (left, top) == pytest.approx((x - 3.5, y - 3.5), abs=1e-4)
            cut = images[item, :, top : top + 7, left : left + 7]
            assert torch.equal(patches[item, number], cut)
    inside = (fixations.abs() <= torch.tensor([1 - 7 / 30, 1 - 7 / 20])).all(dim=-1)
    error = (centres - fixations).abs() * torch.tensor([30.0, 20.0]) / 2
    assert inside.any()
    assert error[inside].max() <= 0.5 + 1e-4


def test_sampled_patches_stay_inside() -> None:
    saliency = torch.zeros(1, 8, 8)
    saliency[0, 0, 7] = 1
    fixation = sample_fixations(saliency, uniform(1, 1), (0.5, 0.25), 0.0)
    assert fixation.tolist() == [[[0.75, -0.5]]]
    _, centre = foveal_patches(torch.zeros(1, 1, 32, 64), fixation, 16)
    torch.testing.assert_close(centre, fixation)


def test_patches_larger_than_the_image() -> None:
    with pytest.raises(UserError, match=r"lower model\.patch"):
        sample_fixations(torch.ones(1, 4, 4), uniform(1, 1), (1.5, 0.5), 0.0)
    with pytest.raises(UserError, match="of 9 pixels from images of 8x20"):
        foveal_patches(torch.zeros(1, 1, 8, 20), torch.zeros(1, 1, 2), 9)


def test_keyed_numbers_are_uniform_and_keyed() -> None:
    index = torch.arange(5000)
    first = keyed_uniform(index, 4, seed=7)
    assert torch.equal(first[[3, 9]], keyed_uniform(torch.tensor([3, 9]), 4, seed=7))
    columns = [first, keyed_uniform(index, 4, seed=8), keyed_uniform(index, 4, seed=7 + 2**32)]
    table = torch.cat(columns, dim=1)
    assert table.min() >= 0
    assert table.max() < 1
    for column in table.T:
        counts = torch.histc(column.float(), 20, 0, 1)
        assert ((counts - 250).square() / 250).sum() < 45  # chi squared, 19 degrees: p < 0.001
    correlation = torch.corrcoef(table.T) - torch.eye(12)
    assert correlation.abs().max() < 0.06
