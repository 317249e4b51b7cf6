"""Cosine distance of predictions and targets (BYOL, arXiv 2006.07733; seq-JEPA, 2505.03176)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cosine_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of ``1 - cos(prediction, target)``, in float32 whatever the autocast state.

    Args:
        prediction: ``(..., D)``.
        target: The same shape; detach it where no gradient is wanted.

    Returns:
        Scalar in [0, 2].
    """
    with torch.autocast(prediction.device.type, enabled=False):
        if prediction.dtype.itemsize < 4:
            prediction = prediction.float()
        similarity = F.cosine_similarity(prediction, target.to(prediction.dtype), dim=-1)
        return 1 - similarity.mean()
