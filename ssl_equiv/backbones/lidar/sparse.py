"""Sparse convolution of voxels in plain PyTorch: gather, multiply, scatter, one kernel tap a time.

It is exact, deterministic on every device and needs no compiled extension; only occupied voxels
cost anything. Weights have the layout of spconv 2: ``(out, kz, ky, kx, in)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ssl_equiv.backbones.lidar import spconv_path
from ssl_equiv.backbones.lidar.rules import (
    Rules,
    Triple,
    output_shape,
    strided_rules,
    submanifold_rules,
)

_BLOCK = 2**18  # numbers of a result that are added up at a time


@dataclass(frozen=True)
class SparseMap:
    """Features of the occupied voxels of B sweeps.

    Args:
        features: ``(M, C)``.
        coordinates: Distinct voxels ``(M, 4)`` int64 of batch, z, y, x, sorted.
        shape: Extent along z, y, x.
        size: B.
        rules: What convolutions of one key share, by key; filled as they are made.
    """

    features: Tensor
    coordinates: Tensor
    shape: Triple
    size: int
    rules: dict[str, Any] = field(default_factory=dict)

    def with_features(self, features: Tensor) -> SparseMap:
        """The same voxels with other features."""
        return replace(self, features=features)

    def dense(self) -> Tensor:
        """``(B, C, D, H, W)``, zero where there is no voxel."""
        batch, z, y, x = self.coordinates.unbind(1)
        dense = self.features.new_zeros(self.size, *self.shape, self.features.shape[1])
        return dense.index_put((batch, z, y, x), self.features).permute(0, 4, 1, 2, 3)


class SparseConv3d(nn.Module):
    """A convolution whose outputs are the voxels that see an occupied one.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Extent along z, y, x, or one for all.
        stride: Stride, likewise.
        padding: Padding, likewise.
        key: Convolutions of one key on one map share the rules.
    """

    submanifold = False
    spconv = True
    """Let spconv do it where it can."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | Triple = 3,
        stride: int | Triple = 1,
        padding: int | Triple = 0,
        key: str = "",
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = map(_triple, (kernel, stride, padding))
        self.key = key
        self.weight = nn.Parameter(torch.empty(out_channels, *self.kernel, in_channels))
        # as torch's convolutions: uniform, ±1/sqrt(fan in)
        bound = 1 / math.sqrt(in_channels * math.prod(self.kernel))
        nn.init.uniform_(self.weight, -bound, bound)

    def output_shape(self, shape: Triple) -> Triple:
        """Extent of the output along z, y, x."""
        return output_shape(shape, self.kernel, self.stride, self.padding)

    def make_rules(self, voxels: SparseMap) -> Rules:
        """The rules on voxels that have none of this key."""
        return strided_rules(
            voxels.coordinates, voxels.shape, self.kernel, self.stride, self.padding
        )

    def forward(self, voxels: SparseMap) -> SparseMap:
        """The convolved map."""
        if self.spconv and spconv_path.usable(voxels.features):
            return spconv_path.convolve(self, voxels)
        rules = voxels.rules.get(self.key) if self.key else None
        if rules is None:
            rules = self.make_rules(voxels)
            if self.key:
                voxels.rules[self.key] = rules
        features = sparse_convolution(voxels.features, self.weight, rules)
        return replace(voxels, features=features, coordinates=rules.coordinates, shape=rules.shape)

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        out, *_, into = self.weight.shape
        return f"{into}, {out}, kernel={self.kernel}, stride={self.stride}, key={self.key!r}"


class SubMConv3d(SparseConv3d):
    """A convolution whose outputs are the voxels that its inputs are; stride 1, centred.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Odd extent along z, y, x, or one for all.
        key: Convolutions of one key on one map share the rules.
    """

    submanifold = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int | Triple = 3, key: str = ""
    ) -> None:
        z, y, x = _triple(kernel)
        super().__init__(in_channels, out_channels, kernel, 1, (z // 2, y // 2, x // 2), key)

    def make_rules(self, voxels: SparseMap) -> Rules:
        """The rules on voxels that have none of this key."""
        return submanifold_rules(voxels.coordinates, voxels.shape, self.kernel)


class SparseSequential(nn.Sequential):
    """Layers one after the other: sparse ones take the map, all others its features ``(M, C)``."""

    def forward(self, voxels: SparseMap) -> SparseMap:
        """The map after all layers."""
        for layer in self:
            if isinstance(layer, (SparseConv3d, SparseSequential)):
                voxels = layer(voxels)
            else:
                voxels = voxels.with_features(layer(voxels.features))
        return voxels


def sparse_convolution(features: Tensor, weight: Tensor, rules: Rules) -> Tensor:
    """Sum over taps k of ``W_k x`` of the voxel that tap k finds.

    Args:
        features: ``(M_in, C_in)``.
        weight: ``(C_out, kz, ky, kx, C_in)``.
        rules: Who feeds whom.

    Returns:
        ``(M_out, C_out)``, differentiable in features and weight; under autocast in its precision.
    """
    kind = features.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        features, weight = features.to(dtype), weight.to(dtype)
    taps_KIO = weight.flatten(1, 3).permute(1, 2, 0)
    out: Tensor = _Convolution.apply(features, taps_KIO, rules)
    return out


class _Convolution(torch.autograd.Function):
    """With a backward of its own: what is gathered is gathered again, not kept."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, taps_KIO: Tensor, rules: Rules) -> Tensor:
        ctx.save_for_backward(features, taps_KIO)
        ctx.rules = rules
        return _multiply(features, taps_KIO, rules, len(rules.coordinates))

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, taps_KIO = ctx.saved_tensors
        grad, rules = upstream[0].contiguous(), ctx.rules
        of_features = of_taps = None
        if ctx.needs_input_grad[0]:
            of_features = _multiply(grad, taps_KIO.mT, rules, len(features), backwards=True)
        if ctx.needs_input_grad[1]:
            of_taps = taps_KIO.new_zeros(taps_KIO.shape)
            if rules.same is not None:
                torch.mm(features.T, grad, out=of_taps[rules.same])
            for tap, source, target in rules.taps():
                gathered = features.index_select(0, source)
                torch.mm(gathered.T, grad.index_select(0, target), out=of_taps[tap])
        return of_features, of_taps, None


def _multiply(
    x: Tensor, taps_KIO: Tensor, rules: Rules, rows: int, backwards: bool = False
) -> Tensor:
    """Rows of the result: the sum of products over the pairs of all taps."""
    single = torch.promote_types(x.dtype, torch.float32)  # of half precision, sums in single
    width = taps_KIO.shape[2]
    if rules.same is not None:
        out = (x @ taps_KIO[rules.same]).to(single)
    else:
        out = x.new_zeros(rows, width, dtype=single)
    pairs = [(t, end, start) if backwards else (t, start, end) for t, start, end in rules.taps()]
    # a processor's cache holds some rows through all taps; both ends of a tap's pairs ascend
    size = max(1, _BLOCK // width) if x.device.type == "cpu" else max(1, rows)
    edges = range(0, rows + size, size)
    cuts = [_cuts(end, edges) for _, _, end in pairs]
    for number, first in enumerate(edges[:-1]):
        block = out[first : first + size]
        for (tap, start, end), cut in zip(pairs, cuts, strict=True):
            some = slice(cut[number], cut[number + 1])
            if some.start == some.stop:
                continue
            # no row occurs twice in a tap: read, add, write back is the fastest sum, a fixed one
            place = end[some] - first
            sums, of_tap = block.index_select(0, place), x.index_select(0, start[some])
            if single == x.dtype:
                sums.addmm_(of_tap, taps_KIO[tap])
            else:
                sums += of_tap @ taps_KIO[tap]
            block.index_copy_(0, place, sums)
    return out.to(x.dtype)


def _cuts(rows: Tensor, edges: range) -> list[int]:
    """Where ascending ``rows`` pass each edge."""
    if len(edges) == 2:  # without waiting for the device
        return [0, len(rows)]
    return torch.searchsorted(rows, torch.tensor(edges, device=rows.device)).tolist()


def _triple(value: int | Sequence[int]) -> Triple:
    z, y, x = (value,) * 3 if isinstance(value, int) else value
    return z, y, x
