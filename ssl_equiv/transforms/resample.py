"""Separable resampling with a matrix of its own for each image of a batch."""

from __future__ import annotations

import torch
from torch import Tensor


def separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """``rows @ image @ columns^T`` for every channel.

    Args:
        images: ``(B, C, H, W)``.
        rows: ``(B, S, H)``.
        columns: ``(B, T, W)``.

    Returns:
        ``(B, C, S, T)``.
    """
    batch, channels, height, width = images.shape
    across = torch.bmm(images.reshape(batch, channels * height, width), columns.mT)
    across = across.view(batch, channels, height, -1)
    result = images.new_empty(batch, channels, rows.shape[1], columns.shape[1])
    for channel in range(channels):  # one product of all would copy ``rows`` for each channel
        torch.bmm(rows, across[:, channel], out=result[:, channel])
    return result


def triangle_weights(first: Tensor, length: Tensor, size: int, out: int) -> Tensor:
    """Antialiased bilinear interpolation of an interval of pixels, ``(B, out, size)``.

    What ``torch.nn.functional.interpolate(mode="bilinear", antialias=True)`` does to
    the pixels ``first .. first + length - 1``: a triangle as wide as the larger of an input and an
    output pixel, cut at the interval's ends and normalised.

    Args:
        first: First pixel of the interval, ``(B,)``.
        length: Its length, ``(B,)``, at least 1.
        size: Pixels of the image along this axis.
        out: Pixels that the interval is resized to.
    """
    scale = (length / out).view(-1, 1, 1)
    pixel = torch.arange(size, device=first.device, dtype=scale.dtype) + 0.5
    pixel = pixel - first.view(-1, 1, 1)  # from the interval's own start, as exactly as may be
    outside = (pixel < 0) | (pixel > length.view(-1, 1, 1))
    pixel = pixel.masked_fill(outside, torch.inf)
    centre = scale * (torch.arange(out, device=first.device, dtype=scale.dtype).view(-1, 1) + 0.5)
    # the triangle upside down, in place: its sign falls out with the sum
    weights = torch.sub(pixel, centre).abs_().mul_(1 / scale.clamp_min(1)).clamp_max_(1).sub_(1)
    return weights.div_(weights.sum(-1, keepdim=True))


def gaussian_weights(sigma: Tensor, kernel: int, size: int) -> Tensor:
    """A Gaussian filter with reflected borders as a matrix, ``(B, size, size)``.

    Args:
        sigma: Standard deviations, ``(B,)`` pixels, above 0.
        kernel: Taps, odd.
        size: Pixels of the image along this axis, more than half of ``kernel``.
    """
    offset = torch.arange(kernel, device=sigma.device) - kernel // 2
    taps = torch.softmax(-0.5 * (offset / sigma.unsqueeze(-1)).square(), dim=-1)
    taps = taps.masked_fill(taps < 1e-20, 0)  # the least would be subnormal, and slow
    source = (torch.arange(size, device=sigma.device).unsqueeze(-1) + offset).abs()
    source = torch.where(source >= size, 2 * (size - 1) - source, source)  # (size, kernel)
    batch = len(sigma)
    weights = taps.new_zeros(batch, size, size)
    index = source.expand(batch, -1, -1)
    return weights.scatter_add_(2, index, taps.unsqueeze(1).expand(-1, size, -1))
