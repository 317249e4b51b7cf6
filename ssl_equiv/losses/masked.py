"""Regression of the masked cells of a feature map (I-JEPA, arXiv 2301.08243)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import layer_norm

from ssl_equiv.precision import in_float32


@in_float32
def masked_regression(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over masked cells, of each image first, then of the batch.

    Targets are normalised over their channels (LayerNorm without affine), as in the published
    I-JEPA, so that a shrinking target cannot shrink the loss. In float32 under autocast too.

    Args:
        prediction: ``(B, D, h, w)``.
        target: The same shape, without gradient.
        mask: Cells that count, ``(B, h, w)`` bool; an image without one adds nothing.

    Returns:
        Scalar >= 0.
    """
    x, y = (m.movedim(1, -1) for m in (prediction, target))
    error = (x - layer_norm(y, y.shape[-1:])).square().mean(dim=-1)
    of_image = (error * mask).sum(dim=(1, 2)) / mask.sum(dim=(1, 2)).clamp_min(1)
    return of_image.mean()
