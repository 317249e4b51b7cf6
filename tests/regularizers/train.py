"""``tests.methods.train`` with both regularizers; same arguments."""

from __future__ import annotations

import sys

import torch

from ssl_equiv.methods import Method
from ssl_equiv.regularizers import Regularizer, SoftEquivariance, SpatialEquivariance
from tests.methods import train
from tests.methods.tiny import tiny


def regularizers(method: str) -> list[Regularizer]:
    """Those that suit the method: one that encodes single images follows no relative element."""
    factors = {"fixation": "Translation(2)"} if method == "PLS" else {"rotation": "SO3"}
    spatial = SpatialEquivariance(actions=("rotation", "flip", "shift", "scale"), share=1.0)
    return [spatial] if method == "ConvIJEPA" else [SoftEquivariance(factors), spatial]


def regularized(name: str) -> Method:
    """A tiny method with regularizers."""
    method = tiny(name)
    method.regularize(regularizers(name))
    for weight in method.regularizers.parameters():
        if not weight.requires_grad:  # a predictor's, which else moves nothing in its first steps
            torch.nn.init.normal_(weight, std=0.1)
    return method


if __name__ == "__main__":
    train.tiny = regularized
    train.main(*sys.argv[1:])
