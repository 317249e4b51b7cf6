"""The projector of VICReg and its descendants."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ssl_equiv.errors import UserError


def projector(in_dim: int, widths: Sequence[int]) -> nn.Sequential:
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
    return nn.Sequential(*layers, nn.Linear(in_dim, widths[-1], bias=False))
