"""Gaussian blur."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_equiv.errors import UserError
from ssl_equiv.transforms.base import Size, Transform, where_active
from ssl_equiv.transforms.resample import gaussian_weights, separable
from ssl_equiv.transforms.semigroups import Blur


class GaussianBlur(Transform):
    """Gaussian blur with reflected borders; its element is sigma, 0 where it was not applied.

    Args:
        kernel: Taps along each axis, odd; None takes a tenth of the image's height (SimCLR),
            made odd.
        sigma: Lowest and highest standard deviation, pixels; uniform between.
        p: Probability of being applied.
    """

    factor = "blur"
    group = Blur()
    entries = ("sigma",)
    num_draws = 2

    def __init__(
        self, kernel: int | None = None, sigma: tuple[float, float] = (0.1, 2.0), p: float = 0.5
    ) -> None:
        if kernel is not None and (kernel < 1 or kernel % 2 == 0):
            raise UserError(f"blur: a kernel of {kernel} taps has no middle: choose an odd number")
        if not 0 < sigma[0] <= sigma[1]:
            raise UserError(f"blur: sigma {sigma} must be a range above 0")
        self.kernel, self.sigma, self.p = kernel, sigma, p

    def parameters(self, uniform: Tensor, image_size: Size) -> Tensor:
        """Sigma, ``(B, 1)``."""
        low, high = self.sigma
        sigma = low + (high - low) * uniform[:, 1:]
        return torch.where(uniform[:, :1] < self.p, sigma, 0.0)

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        sigma = parameters[:, 0]
        return where_active(images, sigma > 0, self._blur, sigma)

    def _blur(self, images: Tensor, sigma: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        kernel = self.kernel or height // 10 // 2 * 2 + 1
        if kernel // 2 >= min(height, width):
            raise UserError(
                f"blur: {kernel} taps reach beyond images of {height}x{width}: lower kernel"
            )
        rows = gaussian_weights(sigma, kernel, height)
        columns = rows if width == height else gaussian_weights(sigma, kernel, width)
        return separable(images, rows, columns)
