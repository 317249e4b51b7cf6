"""Small things to judge."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_equiv.representation import Representation


class Network(nn.Module):
    """One layer; counts the images it encodes, and fails where it is told to."""

    def __init__(self, seed: int = 0, width: int = 6, fail_after: int | None = None) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=4),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(generator=generator)
        self.encoded, self.fail_after = 0, fail_after

    def encode(self, images: Tensor) -> Representation:
        assert not self.training
        self.encoded += len(images)
        if self.fail_after is not None and self.encoded > self.fail_after:
            raise RuntimeError("power cut")
        features = self.net(images)
        return Representation(features, {"inv": (0, 2), "equi": (2, features.shape[1])})
