"""Saccades over an image: saliency, fixations with inhibition of return, foveal patches.

Everything is batched, on the device of the images, and without state. Positions are ``(x, y)`` of
a patch's centre in [-1, 1], the image's borders, y downwards: elements of ``Translation(2)``, so
that a saccade is the relative element of two fixations.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from ssl_equiv.errors import UserError


def spectral_residual(images: Tensor, side: int = 64, sigma: float = 2.5) -> Tensor:
    """Saliency by the spectral residual (Hou & Zhang, CVPR 2007).

    What the log amplitude spectrum has beyond its local 3x3 mean is kept, with the phase, and the
    power of its inverse transform smoothed.

    Args:
        images: ``(B, C, H, W)``, any scale; channels are averaged to one.
        side: Side of the image that is analysed, pixels; the paper's 64.
        sigma: Deviation of the smoothing Gaussian, pixels of that image; the authors' code's 2.5.

    Returns:
        ``(B, side, side)`` float32, >= 0, each map with sum 1; uniform for a constant image.
    """
    with torch.autocast(images.device.type, enabled=False):
        grey = images.float().mean(dim=1, keepdim=True)
        grey = F.interpolate(grey, (side, side), mode="bilinear", antialias=True)
        spectrum = torch.fft.fft2(grey - grey.mean(dim=(-2, -1), keepdim=True))
        amplitude = spectrum.abs()
        floor = 1e-6 * amplitude.amax(dim=(-2, -1), keepdim=True) + 1e-20
        log = torch.log(amplitude + floor)
        # frequencies are periodic: so is their local mean
        residual = log - F.avg_pool2d(F.pad(log, (1, 1, 1, 1), mode="circular"), 3, stride=1)
        whitened = torch.polar(torch.exp(residual), torch.angle(spectrum))
        power = torch.fft.ifft2(whitened).abs().square()
        size = 2 * math.ceil(3 * sigma) + 1
        smooth = gaussian_blur(power, [size, size], [sigma, sigma])[:, 0]
        rounding = 1e-6 * side**2 * grey.abs().amax(dim=(-2, -1))
        some = (amplitude.amax(dim=(-2, -1)) > rounding)[..., None]
        smooth = torch.where(some, smooth, 1.0)
        saliency: Tensor = smooth / smooth.sum(dim=(-2, -1), keepdim=True)
        return saliency


def sample_fixations(
    saliency: Tensor, uniform: Tensor, patch: tuple[float, float], inhibition: float
) -> Tensor:
    """Fixations drawn one after another in proportion to saliency, with inhibition of return.

    Around each fixation a disc is emptied, so that later ones go elsewhere. Patches stay inside
    the image. Where nothing is left to look at, the inhibition is lifted.

    Args:
        saliency: ``(B, h, w)``, >= 0.
        uniform: Random numbers in [0, 1), ``(B, N)``; equal ones give equal fixations.
        patch: Height and width of a patch as shares of the image's, in (0, 1].
        inhibition: Radius of the emptied disc, in units of half the image; 0 for none.

    Returns:
        ``(B, N, 2)`` positions of patch centres, float32, each the centre of a cell of the map or,
        at the border, as near to it as the patch allows.

    Raises:
        UserError: a patch is larger than the image, or saliency is negative or not finite.
    """
    if max(patch) > 1 or min(patch) <= 0:
        raise UserError(
            f"a foveal patch of {patch[0]:.2f} x {patch[1]:.2f} of the image: lower model.patch"
        )
    height, width = saliency.shape[1:]
    x, y = (
        (2 * torch.arange(n, device=saliency.device, dtype=torch.float32) + 1) / n - 1
        for n in (width, height)
    )
    cells = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
    reach = cells.new_tensor([1 - patch[1], 1 - patch[0]])
    # a cell so near the border that its patch would leave the image stands for the patch inside
    cells = cells.clamp(-reach, reach).view(-1, 2)
    weight = saliency.double().flatten(1)
    free = torch.ones_like(weight)
    chosen = []
    for number in uniform.double().unbind(dim=1):
        left = weight * free
        some = left.sum(dim=1, keepdim=True) > 0
        left = torch.where(some, left, weight)
        left = torch.where(left.sum(dim=1, keepdim=True) > 0, left, 1.0)  # an all-black map
        cumulative = left.cumsum(dim=1)
        drawn = torch.searchsorted(cumulative, number[:, None] * cumulative[:, -1:], right=True)
        drawn = drawn.clamp_max(weight.shape[1] - 1)
        fixation = cells[drawn.squeeze(1)]
        chosen.append(fixation)
        free = free * ((cells - fixation[:, None]).norm(dim=-1) > inhibition)
    return torch.stack(chosen, dim=1)


def foveal_patches(images: Tensor, fixations: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Square patches around fixations, cut at whole pixels.

    Args:
        images: ``(B, C, H, W)``.
        fixations: Centres, ``(B, N, 2)`` in [-1, 1].
        size: Side of a patch, pixels.

    Returns:
        Patches ``(B, N, C, size, size)`` and the centres ``(B, N, 2)`` that they really have.

    Raises:
        UserError: the image is smaller than a patch.
    """
    batch, _, height, width = images.shape
    if size > min(height, width):
        raise UserError(
            f"foveal patches of {size} pixels from images of {height}x{width}: lower model.patch"
        )
    extent = fixations.new_tensor([width, height])
    corner = (((fixations + 1) * extent - size) / 2).round().long()
    corner = corner.clamp_min(0).minimum((extent - size).long())
    pixel = torch.arange(size, device=images.device)
    columns, rows = (corner[..., axis, None] + pixel for axis in (0, 1))  # (B, N, size) each
    item = torch.arange(batch, device=images.device)[:, None, None, None]
    patches = images.movedim(1, -1)[item, rows[..., :, None], columns[..., None, :]]
    return patches.movedim(-1, 2), (2 * corner + size) / extent - 1


def keyed_uniform(index: Tensor, count: int, seed: int) -> Tensor:
    """Uniform numbers that depend on each sample's index and the seed alone.

    A step over N processes so draws for each sample what one process would have drawn.

    Args:
        index: Identity of each sample, ``(B,)`` integers.
        count: Numbers for each.
        seed: Any integer; another one for each step.

    Returns:
        ``(B, count)`` float64 in [0, 1).
    """
    words = (seed & _MASK, (seed >> 32) & _MASK)
    key = torch.zeros_like(index, dtype=torch.int64)
    for word in (index.long() & _MASK, *words):
        key = _mix((key + 0x9E3779B9 + word) & _MASK)
    counter = torch.arange(count, device=index.device)
    return _mix((_mix(key)[:, None] + 0x9E3779B9 * (1 + counter)) & _MASK).double() / 2**32


_MASK = 0xFFFFFFFF


def _mix(x: Tensor) -> Tensor:
    """The 32-bit finaliser of MurmurHash3, on int64 tensors that hold 32 bits."""
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) & _MASK
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) & _MASK
    return x ^ (x >> 16)
