"""Blocks of a grid of cells: what a masked model sees and what it predicts (I-JEPA, 2301.08243)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

Range = tuple[float, float]


def block_size(
    uniform: tuple[float, float], grid: tuple[int, int], scale: Range, aspect: Range
) -> tuple[int, int]:
    """Height and width of a block in cells, at least one, and at most the grid's.

    Args:
        uniform: Two numbers in [0, 1) that choose scale and aspect.
        grid: Height and width of the grid, cells.
        scale: Share of the grid's cells, smallest and largest.
        aspect: Height over width, smallest and largest.
    """
    share, ratio = (
        low + u * (high - low) for u, (low, high) in zip(uniform, (scale, aspect), strict=True)
    )
    area = share * grid[0] * grid[1]
    height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
    return min(max(height, 1), grid[0]), min(max(width, 1), grid[1])


def place_blocks(uniform: Tensor, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Blocks at uniform places within a grid.

    Args:
        uniform: Numbers in [0, 1) that choose row and column, ``(..., 2)``.
        size: Height and width of the blocks, cells.
        grid: Height and width of the grid, cells.

    Returns:
        Masks ``(..., *grid)``, True inside the block.
    """
    inside = []
    for axis in (0, 1):
        first = (uniform[..., axis, None] * (grid[axis] - size[axis] + 1)).floor()
        cell = torch.arange(grid[axis], device=uniform.device)
        inside.append((cell >= first) & (cell < first + size[axis]))
    return inside[0][..., :, None] & inside[1][..., None, :]


def context_and_targets(
    uniform: Tensor,
    sizes: tuple[float, ...],
    grid: tuple[int, int],
    targets: int = 4,
    target_scale: Range = (0.15, 0.2),
    target_aspect: Range = (0.75, 1.5),
    context_scale: Range = (0.85, 1.0),
) -> tuple[Tensor, Tensor]:
    """The multi-block masks of I-JEPA (arXiv 2301.08243, Sec. 3 and Fig. 4).

    Sizes are those of a whole batch, places those of each image.

    Args:
        uniform: Numbers in [0, 1) for places, ``(B, 2 (targets + 1))``.
        sizes: Three numbers in [0, 1): scale and aspect of targets, scale of the context.
        grid: Height and width of the grid, cells.
        targets: Number of target blocks.
        target_scale: Shares of the grid that a target block has.
        target_aspect: Its height over width.
        context_scale: Shares of the grid that the context has before the targets are taken out.

    Returns:
        Masks ``(B, *grid)`` of the context, and of the union of the targets, which is disjoint.
    """
    places = torch.unflatten(uniform, 1, (targets + 1, 2))
    size = block_size((sizes[0], sizes[1]), grid, target_scale, target_aspect)
    target = place_blocks(places[:, 1:], size, grid).any(dim=1)
    size = block_size((sizes[2], 0.0), grid, context_scale, (1.0, 1.0))
    return place_blocks(places[:, 0], size, grid) & ~target, target
