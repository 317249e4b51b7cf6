"""The projector of VICReg and its descendants."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssl_equiv.errors import UserError


class Projector(nn.Sequential):
    """Layers one after the other, which can take the views of a step together."""

    def each(self, views: Sequence[Tensor]) -> list[Tensor]:
        """The embedding ``(B, E)`` of each view ``(B, D)``, as if they came one by one.

        BatchNorm sees one view at a time, as the papers' code; matrix products take all views:
        weights are read once, and their gradient is one product in place of a sum of several.
        """
        sizes = [len(view) for view in views]
        x = torch.cat(list(views))
        for layer in self:
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                x = torch.cat([layer(view) for view in torch.split(x, sizes)])
            else:
                x = layer(x)
        return list(torch.split(x, sizes))


def projector(in_dim: int, widths: Sequence[int]) -> Projector:
    """[Linear, BatchNorm, ReLU] for every width but the last, then Linear without bias.

    Args:
        in_dim: Width of the representation.
        widths: Widths of the layers; the last is the embedding's.

    Returns:
        Module ``(N, in_dim) -> (N, widths[-1])``.

    Raises:
        UserError: no widths, or one below 1.
    """
    if not widths or min(widths) < 1:
        raise UserError(
            f"a projector of widths {list(widths)}: give one at least, each 1 or more (they are "
            "shared out to the parts of the representation)"
        )
    layers: list[nn.Module] = []
    for width in widths[:-1]:
        layers += [nn.Linear(in_dim, width), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        in_dim = width
    return Projector(*layers, nn.Linear(in_dim, widths[-1], bias=False))
