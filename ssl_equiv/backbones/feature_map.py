"""The spatial map before a backbone's pooling, whatever the architecture."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ssl_equiv.errors import UserError


def as_map(backbone: nn.Module, features: Tensor) -> Tensor:
    """What ``backbone.forward_features`` gave as ``(B, C, H, W)``.

    Tokens lose the class token and registers; they must be those of square images.

    Args:
        backbone: A timm model.
        features: ``(B, C, H, W)``, ``(B, H, W, C)`` where the model says so, or tokens
            ``(B, N, C)``.

    Raises:
        UserError: the tokens make no square.
    """
    if features.ndim == 4:
        last = getattr(backbone, "output_fmt", "NCHW") == "NHWC"
        return features.permute(0, 3, 1, 2) if last else features
    tokens = features[:, getattr(backbone, "num_prefix_tokens", 0) :]
    edge = round(tokens.shape[1] ** 0.5) if features.ndim == 3 else 0
    if edge == 0 or edge * edge != tokens.shape[1]:
        raise UserError(
            f"{type(backbone).__name__} gives features {tuple(features.shape)}, which are neither "
            "a map nor the tokens of a square image: choose a backbone with a feature map"
        )
    return tokens.transpose(1, 2).reshape(len(tokens), -1, edge, edge)


def map_shape(backbone: nn.Module, image_size: int) -> tuple[int, int, int]:
    """Channels, height and width of the map of square images, found by a dry run.

    Parameters that stand behind the map, such as the norm of a pooling head, get no gradient from
    losses on it: they are frozen, so that several processes do not wait for their gradients.

    Args:
        backbone: A timm model, in training mode.
        image_size: Side of the images, pixels.

    Raises:
        UserError: the backbone takes no images of that size, or has no map.
    """
    model: Any = backbone
    try:
        images = torch.zeros(1, 3, image_size, image_size)
        # evaluation mode leaves BatchNorm's statistics as they are
        made = as_map(model, model.eval().forward_features(images))
    except (AssertionError, RuntimeError) as error:
        raise UserError(
            f"{type(model).__name__} takes no images of {image_size} px ({error}): set "
            "model.image_size to what it takes, or model.backbone.options.img_size"
        ) from error
    finally:
        model.train()
    if made.requires_grad:  # not where a model is made without gradients, to be looked at
        trained = [p for p in model.parameters() if p.requires_grad]
        reached = torch.autograd.grad(made.sum(), trained, allow_unused=True)
        for parameter, gradient in zip(trained, reached, strict=True):
            parameter.requires_grad_(gradient is not None)
    return made.shape[1], made.shape[2], made.shape[3]
