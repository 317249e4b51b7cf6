"""Group elements as classes: which bin of its range an element lies in."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_equiv.errors import UserError


@dataclass(frozen=True)
class Bins:
    """Equal bins of a range.

    Args:
        low: Lower end.
        high: Upper end.
        count: Number of bins.
    """

    low: float
    high: float
    count: int

    def __post_init__(self) -> None:
        if not (self.low < self.high and self.count >= 2):
            raise UserError(
                f"{self.count} bins from {self.low} to {self.high}: choose low < high and 2 or more"
            )

    def label(self, values: Tensor, name: str) -> Tensor:
        """The bin of each value, int64 of the same shape.

        Raises:
            UserError: a value lies outside the range.
        """
        share = (values - self.low) / (self.high - self.low)
        if bool(((share < -1e-4) | (share > 1 + 1e-4)).any()):
            low, high = values.min().item(), values.max().item()
            raise UserError(
                f"the data's {name} goes from {low:.4g} to {high:.4g}, outside the classes' "
                f"{self.low:.4g} to {self.high:.4g}: set model.{name}.low and .high to the range "
                "of the data module"
            )
        return (share * self.count).floor().clamp(0, self.count - 1).long()


class TransformClassifier(nn.Module):
    """From pooled features, the bin of each axis of an element (E-SSL, arXiv 2111.00899).

    The mean over thousands of cells is nearly the same for every view: what tells the element is a
    tenth of it. The hidden layer is normalised over the batch, which takes away what all views
    share; without that the classes are not learnt within hundreds of steps.

    Args:
        dim: Width of the features.
        axes: Entries of an element.
        bins: Bins of each.
        hidden: Width of the hidden layer.
    """

    def __init__(self, dim: int, axes: int, bins: Bins, hidden: int = 256) -> None:
        super().__init__()
        self.axes, self.bins = axes, bins
        self.net = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, axes * bins.count),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``(N, axes, bins)`` of features ``(N, D)``."""
        logits: Tensor = self.net(features)
        return logits.view(len(logits), self.axes, self.bins.count)

    def loss(self, features: Tensor, elements: Tensor, name: str) -> Tensor:
        """Cross-entropy of features ``(N, D)`` and elements ``(N, axes)``: ``(N,)``."""
        labels = self.bins.label(elements, name)
        logits = self(features).float() if features.dtype.itemsize < 4 else self(features)
        return F.cross_entropy(logits.movedim(1, 2), labels, reduction="none").mean(dim=1)
