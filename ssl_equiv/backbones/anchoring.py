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
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ssl_equiv.errors import UserError

Layout = Literal["NCHW", "NHWC"]
Period = int | tuple[int, int]
# Norms that agree to this part are equal: sums over shifted maps differ by rounding. Pixels are
# summed in float64, so two phases are on both sides of the border with a chance of about 1e-8.
_TIE = 1e-6
_FEW = 4  # channels, as of an image, that are summed one by one
_CACHED = 2**18  # numbers of maps that are worked on at a time, on a CPU
_GOLDEN = (math.sqrt(5) - 1) / 2


def anchor(
    x: Tensor, period: Period, layout: Layout = "NCHW", smoothing: int = 0
) -> tuple[Tensor, Tensor]:
    """Roll each map so that its strongest phase comes to offset (0, 0).

    Args:
        x: Maps, ``(B, C, H, W)`` or ``(B, H, W, C)``.
        period: p of both axes, or of height and width; these are multiples of it.
        layout: Where the channels are.
        smoothing: How often squared norms of neighbouring phases are averaged, (1 2 1)/4 along both
            axes. 0 is the paper's; with 2 a shift by a fraction of a pixel seldom makes a phase far
            away the strongest. Circular shifts are followed exactly all the same.

    Returns:
        The rolled maps and the offsets ``(B, 2)`` int64; ``roll(rolled, offsets)`` gives ``x``.

    Raises:
        UserError: H or W is no multiple of the period (the nearest sizes are told).
    """
    offsets = anchor_offsets(x, period, layout, smoothing)
    return roll(x, -offsets, layout), offsets


def anchor_offsets(
    x: Tensor,
    period: Period,
    layout: Layout = "NCHW",
    smoothing: int = 0,
    energy: Tensor | None = None,
) -> Tensor:
    """Offset (row, column) of each map's strongest phase, ``(B, 2)`` int64 in [0, p).

    Sums are of float32 at least, outside autocast. Arguments and errors as of :func:`anchor`.

    Args:
        x: The maps.
        period: p.
        layout: Where the channels are.
        smoothing: Of the phases' norms.
        energy: The squared norm of each pixel, ``(B, H, W)`` float32, where it is at hand.
    """
    x, energy = x.detach(), None if energy is None else energy.detach()
    if not torch.is_autocast_enabled(x.device.type):
        return _offsets(x, period, layout, smoothing, energy)
    with torch.autocast(x.device.type, enabled=False):
        return _offsets(x, period, layout, smoothing, energy)


def phase_norms(x: Tensor, period: Period, layout: Layout = "NCHW") -> Tensor:
    """The ℓ2 norm of each phase over channels and positions, ``(B, p p)``: phase r p + c."""
    energy = _energy(x, layout)
    return _phase_sums(energy, _checked(energy, period)).sqrt()


def roll(x: Tensor, shifts: Tensor, layout: Layout = "NCHW") -> Tensor:
    """``torch.roll`` over height and width by shifts ``(B, 2)`` of each map's own."""
    if layout == "NCHW" and x.is_contiguous(memory_format=torch.channels_last):
        return roll(x.permute(0, 2, 3, 1), shifts, "NHWC").permute(0, 3, 1, 2)
    if layout == "NHWC":
        there, back = (_sources(x.shape[1], x.shape[2], s) for s in (shifts, -shifts))
        return take(x.flatten(1, 2), there, back).view(x.shape)
    if _records(x):
        rolled: Tensor = _Roll.apply(x, shifts)
        return rolled
    return _roll(x, shifts)


def take(x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
    """Put the rows of each ``x (B, N, C)`` into another order: ``x[b, index[b, n]]``.

    Args:
        x: Rows.
        index: A permutation for each, ``(B, N)`` int64.
        inverse: The permutation back.
    """
    if _records(x):
        taken: Tensor = _Take.apply(x, index, inverse)
        return taken
    return _take(x, index)


def _records(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_compiling()


class _Roll(torch.autograd.Function):
    """Rolling back is the gradient of rolling: cheaper than the scatter of a gather's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shifts: Tensor) -> Tensor:
        ctx.save_for_backward(shifts)
        return _roll(x, shifts)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        (shifts,) = ctx.saved_tensors
        return roll(upstream[0], -shifts), None


class _Take(torch.autograd.Function):
    """As :class:`_Roll`, of rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(index, inverse)
        return _take(x, index)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = ctx.saved_tensors
        return take(upstream[0], inverse, index), None, None


def _roll(x: Tensor, shifts: Tensor) -> Tensor:
    if _may_look(x):
        return _moved(x, shifts)
    source = _sources(x.shape[-2], x.shape[-1], shifts)[:, None].expand(-1, x.shape[1], -1)
    return x.flatten(2).gather(2, source).view(x.shape)


def _moved(x: Tensor, shifts: Tensor) -> Tensor:
    """:func:`_roll` where the host holds the maps: copies of whole blocks, faster than a gather."""
    (height, width), out = x.shape[-2:], torch.empty_like(x, memory_format=torch.contiguous_format)
    for one, rolled, (row, column) in zip(x, out, shifts.tolist(), strict=True):
        row, column = row % height, column % width
        rolled[:, row:, column:] = one[:, : height - row, : width - column]
        rolled[:, :row, column:] = one[:, height - row :, : width - column]
        rolled[:, row:, :column] = one[:, : height - row, width - column :]
        rolled[:, :row, :column] = one[:, height - row :, width - column :]
    return out


def _take(x: Tensor, index: Tensor) -> Tensor:
    batch, rows, channels = x.shape  # a row's channels lie together: they move as one
    index = index + torch.arange(batch, device=x.device)[:, None] * rows
    return x.reshape(-1, channels).index_select(0, index.flatten()).view(x.shape)


def _sources(height: int, width: int, shifts: Tensor) -> Tensor:
    """The pixel that comes to each place, row-major, ``(B, H W)`` int64."""
    rows = (torch.arange(height, device=shifts.device) - shifts[:, :1]) % height
    columns = (torch.arange(width, device=shifts.device) - shifts[:, 1:]) % width
    return (rows[:, :, None] * width + columns[:, None, :]).flatten(1)


def _offsets(
    x: Tensor, period: Period, layout: Layout, smoothing: int, energy: Tensor | None
) -> Tensor:
    period = _checked(x if layout == "NCHW" else x.permute(0, 3, 1, 2), period)
    if period == (1, 1):
        return torch.zeros(x.shape[0], 2, dtype=torch.int64, device=x.device)
    if energy is None:
        sums = _in_parts(lambda part: _phase_sums(_energy(part, layout), period), x)
    else:
        sums = _in_parts(lambda part: _phase_sums(part, period), energy)
    norms = _smoothed(sums, period, smoothing)
    largest = norms.amax(dim=1, keepdim=True)
    tied = norms >= largest * (1 - _TIE)
    if _may_look(x) and int(tied.sum()) == x.shape[0]:  # each map has one strongest phase
        chosen = norms.argmax(dim=1)
    else:
        second = _phase_sums(_fingerprint(_projection(x, layout)), period)
        if smoothing:  # phases between two may tie, though nothing of their own is there
            second = _around(second.view(-1, *period)).flatten(1)
        chosen = second.masked_fill(~tied, -math.inf).argmax(dim=1)
    return torch.stack([chosen // period[1], chosen % period[1]], dim=1)


def _in_parts(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function(x)``; on a CPU for some maps at a time: what it makes between stays cached."""
    size = max(1, _CACHED // max(1, math.prod(x.shape[1:])))
    if not _may_look(x) or x.shape[0] <= size:
        return function(x)
    return torch.cat([function(part) for part in torch.split(x, size)])


def _may_look(x: Tensor) -> bool:
    """Values may steer the program: elsewhere that would wait for a device or break a graph."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _energy(x: Tensor, layout: Layout) -> Tensor:
    """Squared norm of each pixel over its channels, ``(B, H, W)`` float32."""
    if layout == "NHWC":
        norm: Tensor = torch.linalg.vector_norm(x, dim=-1, dtype=torch.float32)
        return norm.square()
    x = x.float()
    if x.shape[1] > _FEW:  # channels far apart: vector_norm would crawl
        return x.square().sum(dim=1)
    energy = x[:, 0].square()
    for channel in x.unbind(1)[1:]:
        energy = torch.addcmul(energy, channel, channel)
    return energy


def _projection(x: Tensor, layout: Layout) -> Tensor:
    """One signed number a pixel, its channels in generic proportions, ``(B, H, W)`` float32."""
    channels, x = x.shape[1 if layout == "NCHW" else -1], x.float()  # sums overflow in float16
    weight = torch.arange(1, channels + 1, device=x.device, dtype=torch.float32)
    weight = 0.5 + (weight * _GOLDEN) % 1  # unlike each other, none near 0
    if layout == "NCHW":
        return (weight @ x.flatten(2)).view(x.shape[0], *x.shape[2:])
    return x @ weight


def _fingerprint(u: Tensor) -> Tensor:
    """Each pixel times a generic, direction-sensitive average of the whole map around it."""
    return u * _around(u) + u.square() * u


def _around(u: Tensor) -> Tensor:
    """A generic average of the whole map around each place, ``(B, H, W)``."""
    rows, columns = (_circulant(u, size, base) for size, base in ((u.shape[1], 1), (u.shape[2], 2)))
    return rows @ u @ columns


def _circulant(like: Tensor, size: int, base: int) -> Tensor:
    """Weights of every pair of places by their distance around the circle, ``(size, size)``."""
    place = torch.arange(size, device=like.device)
    distance = ((place[:, None] - place) % size).to(like)
    # no two distances share a weight, nor the two axes: transposed maps would tie
    weight: Tensor = ((distance + base) * _GOLDEN * base) % 1
    return weight


def _phase_sums(per_pixel: Tensor, period: tuple[int, int]) -> Tensor:
    """Sum over the pixels of each phase, ``(B, p p)``, in float64 where the device has it."""
    (batch, height, width), (p, q) = per_pixel.shape, period
    if per_pixel.device.type != "mps":
        per_pixel = per_pixel.double()
    rows = per_pixel.view(batch, height // p, p, width).sum(dim=1)
    return rows.view(batch, p, width // q, q).sum(dim=2).flatten(1)


def _smoothed(sums: Tensor, period: tuple[int, int], times: int) -> Tensor:
    grid = sums.view(-1, *period)  # a torus: the last phase is a neighbour of the first
    for _ in range(times):
        for axis in (1, 2):
            grid = 0.5 * grid + 0.25 * (grid.roll(1, axis) + grid.roll(-1, axis))
    return grid.flatten(1)


def _checked(maps: Tensor, period: Period) -> tuple[int, int]:
    p, q = (period, period) if isinstance(period, int) else period
    if min(p, q) < 1:
        raise UserError(f"anchoring has period {period}: it must be 1 or more")
    height, width = maps.shape[-2:]
    if height % p or width % q:
        fits = [max(1, round(size / of)) * of for size, of in ((height, p), (width, q))]
        blocks = str(p) if p == q else f"{p} x {q}"
        raise UserError(
            f"a map of {height} x {width} does not divide into blocks of {blocks}: use "
            f"{fits[0]} x {fits[1]}"
        )
    return p, q
