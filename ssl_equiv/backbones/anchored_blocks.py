"""The blocks of anchored maps: rolling and cutting in one gather, pasting and rolling back in one.

A layer that reads blocks copies its map into their order anyway; a copy from elsewhere costs no
more, so anchoring is almost free there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_equiv.backbones.anchoring import take


class Blocks:
    """Cut maps into blocks from an offset of their own on, around the border, and paste them back.

    Args:
        offsets: Row and column where the first block begins, ``(B, 2)`` int64.
        grid: Height and width of the maps, multiples of those of a block.
        side: Height and width of a block.
    """

    def __init__(self, offsets: Tensor, grid: tuple[int, int], side: tuple[int, int]) -> None:
        (height, width), (p, q), device = grid, side, offsets.device
        self.size = p * q
        place = [torch.arange(size, device=device) for size in grid]
        # place of each token in the rolled map, and from there in the sequence of blocks
        rows = ((place[0] - offsets[:, :1]) % height)[:, :, None]
        columns = ((place[1] - offsets[:, 1:]) % width)[:, None]
        block = torch.div(rows, p, rounding_mode="floor") * (width // q)
        block = block + torch.div(columns, q, rounding_mode="floor")
        self._to = (block * self.size + rows % p * q + columns % q).flatten(1)
        # and the other way round
        rows = ((place[0] + offsets[:, :1]) % height)[:, :, None]
        columns = ((place[1] + offsets[:, 1:]) % width)[:, None]
        cut = (rows * width + columns).view(-1, height // p, p, width // q, q)
        self._from = cut.transpose(2, 3).flatten(1)

    def cut(self, x: Tensor) -> Tensor:
        """Maps ``(B, N, C)``, row-major, to blocks ``(B N / size, size, C)``."""
        return take(x, self._from, self._to).view(-1, self.size, x.shape[-1])

    def paste(self, blocks: Tensor) -> Tensor:
        """Blocks back to maps ``(B, N, C)``."""
        return take(blocks.view(*self._to.shape, -1), self._to, self._from)


def norm_and_energy(norm: nn.Module, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """A norm's output, and the squared norm of each token, which LayerNorm finds on its way.

    Args:
        norm: Any norm over the last dimension.
        x: Tokens ``(..., C)``.

    Returns:
        ``(..., C)``, and ``(...)`` float32 without a gradient, or None where it is not at hand.
    """
    if type(norm) is not nn.LayerNorm or x.dtype != torch.float32:
        made: Tensor = norm(x)
        return made, None
    made, mean, inverse = torch.native_layer_norm(
        x, list(norm.normalized_shape), norm.weight, norm.bias, norm.eps
    )
    with torch.no_grad():
        variance = (inverse.detach().square().reciprocal() - norm.eps).clamp_min(0)
        energy = x.shape[-1] * (variance + mean.detach().square())
    return made, energy.squeeze(-1)
