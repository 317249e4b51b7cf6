"""Cosine distance of predictions and targets (BYOL, arXiv 2006.07733; seq-JEPA, 2505.03176)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ssl_equiv.precision import in_float32


@in_float32
def cosine_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of ``1 - cos(prediction, target)``, in float32 whatever the autocast state.

    Args:
        prediction: ``(..., D)``.
        target: The same shape; detach it where no gradient is wanted.

    Returns:
        Scalar in [0, 2].
    """
    return 1 - F.cosine_similarity(prediction, target, dim=-1).mean()
