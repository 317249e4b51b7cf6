"""Hue, as it is and as the papers treat it."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_equiv.groups.so2 import Circle
from ssl_equiv.groups.vector import Translation


class Hue(Circle):
    """The hue circle, HSV's h in [0, 1): red 0, green 1/3, blue 2/3. Unit: turns."""

    name = "Hue"
    turn = 1.0
    default_range = (0.0, 1.0)

    def _wrap(self, g: Tensor) -> Tensor:
        wrapped = torch.remainder(g, 1.0)
        # The remainder of a tiny negative number rounds up to 1.
        return torch.where(wrapped >= 1, wrapped - 1, wrapped)

    def _log(self, g: Tensor) -> Tensor:
        return g - torch.ceil(g - 0.5)


class HueDifference(Translation):
    """Hues as plain numbers: ``relative`` is their difference, in (-1, 1), without wrapping.

    What SIE and its successors condition on and regress (arXiv 2302.10283): red at 0 and red at 1
    are far apart. ``sample`` is uniform in [0, 1] without a range.
    """

    default_range = (0.0, 1.0)

    def __init__(self) -> None:
        super().__init__(1)
        self.name = "HueDifference"
