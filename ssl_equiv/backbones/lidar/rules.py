"""Which voxel feeds which through which tap of a sparse convolution's kernel."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_equiv.backbones.lidar.grid import ravel, unravel

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Rules:
    """The pairs (input voxel, output voxel) of every kernel tap of a sparse convolution.

    Within a tap no input and no output occurs twice: adding a tap's products needs no atomics, so
    sums come out the same at every run.

    Args:
        source: Input rows, those of tap 0 first, ascending within a tap, ``(P,)`` int64.
        target: Output rows, likewise.
        counts: Pairs of each tap, in row-major order of the kernel (z, y, x).
        same: The tap that maps every voxel to itself, which has no pairs here; None if none does.
        coordinates: Output voxels, ``(M, 4)`` int64 of batch, z, y, x, sorted.
        shape: Extent of the output, z, y, x.
    """

    source: Tensor
    target: Tensor
    counts: tuple[int, ...]
    same: int | None
    coordinates: Tensor
    shape: Triple

    def taps(self) -> list[tuple[int, Tensor, Tensor]]:
        """Number, input rows and output rows of each tap that has pairs."""
        counts = list(self.counts)
        pairs = zip(*(torch.split(x, counts) for x in (self.source, self.target)), strict=True)
        return [(tap, s, t) for tap, (s, t) in enumerate(pairs) if len(s)]


def submanifold_rules(coordinates: Tensor, shape: Triple, kernel: Triple) -> Rules:
    """Rules of a convolution whose outputs are the voxels that its inputs are.

    (Graham, Engelcke & van der Maaten 2018, "submanifold sparse convolution".) Neighbours are
    found by binary search of sorted voxel numbers, once per row of the kernel along x; opposite
    taps have the same pairs, turned round.

    Args:
        coordinates: Distinct voxels ``(M, 4)`` int64 of batch, z, y, x, sorted.
        shape: Extent along z, y, x.
        kernel: Odd extent of the kernel along z, y, x.
    """
    reach = tuple(extent // 2 for extent in kernel)
    # around every sweep a margin that holds no voxel: no neighbour wraps to the next row
    batches = int(coordinates[-1, 0]) + 1 if len(coordinates) else 1
    padded = (batches, *(e + 2 * r for e, r in zip(shape, reach, strict=True)))
    key = ravel(coordinates + coordinates.new_tensor([0, *reach]), padded)
    row, plane = padded[3], padded[2] * padded[3]
    last = max(len(key) - 1, 0)
    here = torch.arange(len(key), device=key.device)
    middle = kernel[0] * kernel[1] * kernel[2] // 2
    found: list[tuple[Tensor, Tensor]] = []
    taps = list(itertools.product(*(range(-r, r + 1) for r in reach)))[: middle + 1]
    for (dz, dy), columns in itertools.groupby(taps, key=lambda tap: tap[:2]):
        wanted = key + (dz * plane + dy * row - reach[2])
        at = torch.searchsorted(key, wanted)
        for _, _, dx in columns:
            if (dz, dy, dx) == (0, 0, 0):
                break
            hit = key[at.clamp(max=last)] == wanted
            found.append((at[hit], here[hit]))
            at, wanted = at + hit, wanted + 1  # the next one along x stands next, or not at all
    empty = here[:0]
    pairs = [*found, (empty, empty), *(_turned(pair) for pair in reversed(found))]
    return _rules(pairs, middle, coordinates, shape)


def strided_rules(
    coordinates: Tensor, shape: Triple, kernel: Triple, stride: Triple, padding: Triple
) -> Rules:
    """Rules of a convolution whose outputs are all voxels that see an input.

    Args:
        coordinates: Distinct voxels ``(M, 4)`` int64 of batch, z, y, x, sorted.
        shape: Extent along z, y, x.
        kernel: Extent of the kernel along z, y, x.
        stride: Stride along z, y, x.
        padding: Empty cells before and after, along z, y, x.
    """
    extent = output_shape(shape, kernel, stride, padding)
    batches = int(coordinates[-1, 0]) + 1 if len(coordinates) else 1
    seen = [  # of each axis and tap: the output's cell, and where there is one
        [_cells(cells + p - tap, s, past) for tap in range(k)]
        for cells, k, s, p, past in zip(
            coordinates[:, 1:].unbind(1), kernel, stride, padding, extent, strict=True
        )
    ]
    sources, keys = [], []
    for (z, in_z), (y, in_y) in itertools.product(seen[0], seen[1]):
        row, in_row = (coordinates[:, 0] * extent[0] + z) * extent[1] + y, in_z & in_y
        for x, in_x in seen[2]:
            sources.append((in_row & in_x).nonzero()[:, 0])
            keys.append((row * extent[2] + x)[sources[-1]])
    found, target = torch.unique(torch.cat(keys), return_inverse=True)
    pairs = list(zip(sources, target.split([len(s) for s in sources]), strict=True))
    return _rules(pairs, None, unravel(found, (batches, *extent)), extent)


def output_shape(shape: Triple, kernel: Triple, stride: Triple, padding: Triple) -> Triple:
    """Extent of a convolution's output along z, y, x."""
    z, y, x = (
        (extent + 2 * p - k) // s + 1
        for extent, k, s, p in zip(shape, kernel, stride, padding, strict=True)
    )
    return z, y, x


def _cells(shifted: Tensor, stride: int, past: int) -> tuple[Tensor, Tensor]:
    """Cells of an axis whose window begins at ``shifted``, and where such a cell exists."""
    cell = torch.div(shifted, stride, rounding_mode="floor")
    return cell, (cell * stride == shifted) & (cell >= 0) & (cell < past)


def _turned(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The pairs of the opposite tap: rows ascend in step, so both stay sorted."""
    source, target = pair
    return target, source


def _rules(
    pairs: list[tuple[Tensor, Tensor]], same: int | None, coordinates: Tensor, shape: Triple
) -> Rules:
    source, target = (torch.cat(rows) for rows in zip(*pairs, strict=True))
    counts = tuple(len(rows) for rows, _ in pairs)
    return Rules(source, target, counts, same, coordinates, shape)
