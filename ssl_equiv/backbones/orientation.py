"""Turn and mirror images to an orientation of their own, whatever the one they came in.

Of the quarter turns and mirror images of an image, that one is taken which has the largest
*score*, a function that changes with the orientation but not under circular shifts: correlations of
three pixels at unequal distances, summed over the image. Two orientations of one image then come to
the same image, up to a shift, which anchoring takes away. A symmetric image has equal scores, and
any choice gives the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_equiv.errors import UserError

# places of the second and third pixel: no turn or mirror image of the pair is the pair
_TRIPLES = (((0, 1), (2, 0)), ((1, 3), (-2, 1)))


def orient(x: Tensor, turns: bool = True, flips: bool = True) -> Tensor:
    """Every image in the orientation of its largest score.

    Args:
        x: ``(B, C, H, W)``; square where there are turns.
        turns: Choose among the four quarter turns.
        flips: Choose among left and right too.

    Returns:
        As ``x``; equal, up to a circular shift, for all orientations and shifts of an image.

    Raises:
        UserError: images that are not square cannot be turned.
    """
    if turns and x.shape[2] != x.shape[3]:
        raise UserError(
            f"images of {x.shape[2]} x {x.shape[3]} px cannot be turned by 90°: use square ones, "
            "or leave turns out"
        )
    quarters, mirrors = (range(4) if turns else (0,)), ((False, True) if flips else (False,))
    elements = [(quarter, mirror) for mirror in mirrors for quarter in quarters]
    gray = x.detach().float()
    weight = torch.linspace(0.7, 1.3, x.shape[1], device=x.device)  # channels unlike each other
    gray = (gray * weight.view(1, -1, 1, 1)).sum(dim=1)
    scores = torch.stack([_score(gray, *element) for element in elements], dim=1)
    place = torch.arange(x.shape[2] * x.shape[3], device=x.device).view(x.shape[2:])
    sources = torch.stack(
        [
            (place.flip(1) if mirror else place).rot90(quarter).flatten()
            for quarter, mirror in elements
        ]
    )
    source = sources[scores.argmax(dim=1)][:, None].expand(-1, x.shape[1], -1)
    return x.flatten(2).gather(2, source).view(x.shape)


def _score(gray: Tensor, quarter: int, mirror: bool) -> Tensor:
    """Score ``(B,)`` of the image mirrored, then turned; the pixels are turned back instead."""
    total = gray.new_zeros(gray.shape[0], dtype=torch.float64)
    for triple in _TRIPLES:
        product = gray
        for row, column in triple:
            for _ in range(quarter):  # where a place was before a quarter turn
                row, column = column, -row
            product = product * gray.roll((-row, column if mirror else -column), (1, 2))
        total = total + product.sum(dim=(1, 2), dtype=torch.float64)
    return total
