"""What crops, blurs, switches and colour jitter have of an algebra: no inverses.

A picture that was cropped, blurred or made grey cannot be brought back, so ``inverse`` is a
TypeError. Methods that condition on what changed from one view to another take the difference of
the parameters (AugSelf, arXiv 2111.09613; seq-JEPA, arXiv 2505.03176): that is ``relative`` here.
"""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor

from ssl_equiv.groups import Group


class Semigroup(Group):
    """Elements without inverses, whose ``relative`` is the difference of their parameters."""

    invertible = False
    log_dim = 0
    point_dim = 2
    default_range = (0.0, 1.0)

    def relative(self, g1: Tensor, g2: Tensor) -> Tensor:
        """``g2 - g1``, entry by entry: what changed, not an element."""
        self._check(g1, g2)
        return g2 - g1

    def _act(self, g: Tensor, points: Tensor) -> Tensor:
        """Most change what is seen at a point and leave the point where it is."""
        return points + torch.zeros_like(g[..., None, :1])


class Crop(Semigroup):
    """A box of the picture, stretched over the whole: ``(x, y, log width, log height)``.

    The plane has x to the right and y up and the picture spans [-1, 1] in both; (x, y) is the
    box's centre, width and height are fractions of the picture's. ``act`` says where points of the
    picture go, ``matrix`` is that map, ``(..., 3, 3)``. A crop of a crop is a crop.
    """

    name = "Crop"
    dim = range_dim = 4
    identity_element = (0.0, 0.0, 0.0, 0.0)

    def _compose(self, g: Tensor, h: Tensor) -> Tensor:
        centre = h[..., :2] + h[..., 2:].exp() * g[..., :2]
        return torch.cat((centre, g[..., 2:] + h[..., 2:]), dim=-1)

    def _matrix(self, g: Tensor) -> Tensor:
        scale = (-g[..., 2:]).exp()
        matrix = torch.diag_embed(torch.cat((scale, torch.ones_like(scale[..., :1])), dim=-1))
        matrix[..., :2, 2] = -g[..., :2] * scale
        return matrix

    def _act(self, g: Tensor, points: Tensor) -> Tensor:
        return (points - g[..., None, :2]) * (-g[..., None, 2:]).exp()


class Blur(Semigroup):
    """A Gaussian blur by its standard deviation, ``(..., 1)``, pixels; 0 does nothing.

    Variances add, up to the truncation of kernels: ``compose`` is the root of the sum of squares.
    """

    name = "Blur"
    dim = range_dim = 1
    identity_element = (0.0,)

    def _compose(self, g: Tensor, h: Tensor) -> Tensor:
        return torch.hypot(g, h)

    def _matrix(self, g: Tensor) -> Tensor:
        one = torch.ones_like(g)
        rows = torch.cat((one, g.square()), -1), torch.cat((torch.zeros_like(one), one), -1)
        return torch.stack(rows, dim=-2)


class Switch(Semigroup):
    """Something done (1) or not (0), ``(..., 1)``, that done twice is as done once."""

    name = "Switch"
    dim = range_dim = 1
    identity_element = (0.0,)

    def _compose(self, g: Tensor, h: Tensor) -> Tensor:
        return torch.maximum(g, h)

    def _matrix(self, g: Tensor) -> Tensor:
        return (1 - g).unsqueeze(-1)

    def _from_range(self, drawn: Tensor) -> Tensor:
        return drawn.round()


class Jitter(Semigroup):
    """Parameters of a colour jitter, ``(..., 8)``: not even ``compose``, for two are not one.

    Factors of brightness, contrast and saturation (1 does nothing), the turn of the hue in
    [-1/2, 1/2] (0 does nothing), and the place 0 .. 3 of each of these four in their order.
    """

    name = "Jitter"
    dim = range_dim = 8
    identity_element = (1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 2.0, 3.0)

    def _compose(self, g: Tensor, h: Tensor) -> Tensor:
        self._nothing("compose")

    def _matrix(self, g: Tensor) -> Tensor:
        self._nothing("matrix")

    def _from_range(self, drawn: Tensor) -> Tensor:
        self._nothing("uniform sample: draw from a ColorJitter")

    def _nothing(self, what: str) -> NoReturn:
        raise TypeError(f"{self.name} has no {what}")
