"""Contrastive loss over a batch (SimCLR, Chen et al. 2020, arXiv 2002.05709)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_equiv.errors import UserError
from ssl_equiv.precision import in_float32


def check_temperature(temperature: float) -> None:
    """Raise UserError unless a temperature is above 0."""
    if not temperature > 0:
        raise UserError(f"model.temperature is {temperature}: choose a number above 0")


@in_float32
def info_nce(x: Tensor, y: Tensor, temperature: float = 0.1) -> Tensor:
    """The normalised, temperature-scaled cross-entropy of SimCLR (Eq. 1), mean over 2N anchors.

    Each of the 2N embeddings shall be nearest to its partner among the 2N - 1 others. Computed in
    float32 whatever the autocast state.

    Args:
        x: Embeddings of the global batch's first views, ``(N, D)``.
        y: Those of the second views, row i the partner of ``x``'s row i.
        temperature: Divides the cosines.

    Returns:
        Scalar.
    """
    both = F.normalize(torch.cat([x, y]), dim=1)
    cosines = both @ both.T / temperature
    cosines.fill_diagonal_(float("-inf"))  # nobody is its own negative
    partner = torch.arange(len(both), device=x.device).roll(len(x))
    return F.cross_entropy(cosines, partner)
