"""Adaptive polyphase anchoring: put a map where its own content says, whatever its shift was.

A map of period p has p² *phases*: the pixels ``(p i + r, p j + c)`` of each offset ``(r, c)``.
Rolling the map circularly so that the phase of largest ℓ2 norm comes to offset (0, 0) makes
whatever reads it in p × p blocks (patches, windows, strided convolutions) equivariant to circular
shifts: two shifted copies are rolled to maps that differ by whole blocks (Rojas-Gomez et al.,
"Making vision transformers truly shift-equivariant", arXiv 2305.16316).

Two phases of equal norm are told apart by a second figure, a generic function of the map around
each phase that does not change when the map is shifted. What it cannot tell apart either is
symmetric (constant and periodic maps), and then any choice gives the same rolled map.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from ssl_equiv.errors import UserError

Layout = Literal["NCHW", "NHWC"]
# Norms that agree to this part are equal: sums over shifted maps differ by rounding. Pixels are
# summed in float64, so two phases are on both sides of the border with a chance of about 1e-8.
_TIE = 1e-6
_GOLDEN = (math.sqrt(5) - 1) / 2


def anchor(x: Tensor, period: int, layout: Layout = "NCHW") -> tuple[Tensor, Tensor]:
    """Roll each map so that its strongest phase comes to offset (0, 0).

    Args:
        x: Maps, ``(B, C, H, W)`` or ``(B, H, W, C)``.
        period: p, of both axes; H and W are multiples of it.
        layout: Where the channels are.

    Returns:
        The rolled maps and the offsets ``(B, 2)`` int64; ``roll(rolled, offsets)`` gives ``x``.

    Raises:
        UserError: H or W is no multiple of the period (the nearest sizes are told).
    """
    offsets = anchor_offsets(x, period, layout)
    return roll(x, -offsets, layout), offsets


@torch.no_grad()
def anchor_offsets(x: Tensor, period: int, layout: Layout = "NCHW") -> Tensor:
    """Offset (row, column) of each map's strongest phase, ``(B, 2)`` int64 in [0, period).

    Arguments and errors as of :func:`anchor`.
    """
    with torch.autocast(x.device.type, enabled=False):
        return _offsets(x.detach(), period, layout)


def phase_norms(x: Tensor, period: int, layout: Layout = "NCHW") -> Tensor:
    """The ℓ2 norm of each phase over channels and positions, ``(B, p p)``: phase r p + c."""
    energy = _energy(x, layout)
    return _phase_sums(energy, _checked(energy, period)).sqrt()


def roll(x: Tensor, shifts: Tensor, layout: Layout = "NCHW") -> Tensor:
    """``torch.roll`` over height and width by shifts ``(B, 2)`` of each map's own."""
    if layout == "NCHW" and x.is_contiguous(memory_format=torch.channels_last):
        return roll(x.permute(0, 2, 3, 1), shifts, "NHWC").permute(0, 3, 1, 2)
    if torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_compiling():
        rolled: Tensor = _Roll.apply(x, shifts, layout)
        return rolled
    return _roll(x, shifts, layout)


class _Roll(torch.autograd.Function):
    """Rolling back is the gradient of rolling: cheaper than the scatter of a gather's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shifts: Tensor, layout: Layout) -> Tensor:
        ctx.save_for_backward(shifts)
        ctx.layout = layout
        return _roll(x, shifts, layout)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (shifts,) = ctx.saved_tensors
        return roll(upstream[0], -shifts, ctx.layout), None, None


def _roll(x: Tensor, shifts: Tensor, layout: Layout) -> Tensor:
    if layout == "NCHW":
        source = _sources(x.shape[-2], x.shape[-1], shifts)[:, None].expand(-1, x.shape[1], -1)
        return x.flatten(2).gather(2, source).view(x.shape)
    batch, height, width, channels = x.shape  # a pixel's channels lie together: whole rows move
    source = _sources(height, width, shifts)
    source = source + torch.arange(batch, device=x.device)[:, None] * (height * width)
    return x.reshape(-1, channels).index_select(0, source.flatten()).view(x.shape)


def _sources(height: int, width: int, shifts: Tensor) -> Tensor:
    """The pixel that comes to each place, row-major, ``(B, H W)`` int64."""
    rows = (torch.arange(height, device=shifts.device) - shifts[:, :1]) % height
    columns = (torch.arange(width, device=shifts.device) - shifts[:, 1:]) % width
    return (rows[:, :, None] * width + columns[:, None, :]).flatten(1)


def _offsets(x: Tensor, period: int, layout: Layout) -> Tensor:
    energy = _energy(x, layout)
    period = _checked(energy, period)
    if period == 1:
        return torch.zeros(len(x), 2, dtype=torch.int64, device=x.device)
    norms = _phase_sums(energy, period)
    tied = norms >= norms.amax(dim=1, keepdim=True) * (1 - _TIE)
    second = _phase_sums(_fingerprint(_projection(x, layout)), period)
    chosen = second.masked_fill(~tied, -math.inf).argmax(dim=1)
    return torch.stack([chosen // period, chosen % period], dim=1)


def _energy(x: Tensor, layout: Layout) -> Tensor:
    """Squared norm of each pixel over its channels, ``(B, H, W)`` float32."""
    if layout == "NCHW":  # few channels, far apart: vector_norm would crawl
        return x.float().square().sum(dim=1)
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, dtype=torch.float32)
    return norm.square()


def _projection(x: Tensor, layout: Layout) -> Tensor:
    """One signed number a pixel, its channels in generic proportions, ``(B, H, W)`` float32."""
    channels = x.shape[1] if layout == "NCHW" else x.shape[-1]
    weight = torch.arange(1, channels + 1, device=x.device, dtype=torch.float32)
    weight = (0.5 + (weight * _GOLDEN) % 1).to(x.dtype)  # unlike each other, none near 0
    if layout == "NCHW":
        return torch.einsum("bchw,c->bhw", x, weight).float()
    return (x @ weight).float()


def _fingerprint(u: Tensor) -> Tensor:
    """Each pixel times a generic, direction-sensitive average of the whole map around it."""
    rows, columns = (_circulant(u, size, base) for size, base in ((u.shape[1], 1), (u.shape[2], 2)))
    return u * (rows @ u @ columns) + u.square() * u


def _circulant(like: Tensor, size: int, base: int) -> Tensor:
    """Weights of every pair of places by their distance around the circle, ``(size, size)``."""
    place = torch.arange(size, device=like.device)
    distance = ((place[:, None] - place) % size).to(like)
    # no two distances share a weight, nor the two axes: transposed maps would tie
    weight: Tensor = ((distance + base) * _GOLDEN * base) % 1
    return weight


def _phase_sums(per_pixel: Tensor, period: int) -> Tensor:
    """Sum over the pixels of each phase, ``(B, p p)``, in float64 where the device has it."""
    batch, height, width = per_pixel.shape
    if per_pixel.device.type != "mps":
        per_pixel = per_pixel.double()
    blocks = per_pixel.view(batch, height // period, period, width // period, period)
    return blocks.sum(dim=(1, 3)).flatten(1)


def _checked(energy: Tensor, period: int) -> int:
    height, width = energy.shape[-2:]
    if period < 1:
        raise UserError(f"anchoring has period {period}: it must be 1 or more")
    if height % period or width % period:
        nearest = [max(1, round(size / period)) * period for size in (height, width)]
        raise UserError(
            f"a map of {height} x {width} does not divide into blocks of {period}: use "
            f"{nearest[0]} x {nearest[1]}"
        )
    return period
