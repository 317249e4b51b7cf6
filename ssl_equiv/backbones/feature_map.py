"""The spatial map before a backbone's pooling, whatever the architecture."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ssl_equiv.errors import UserError

_TRIAL = 64  # pixels of a dry run, where any will do


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
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, edge, edge)


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
    freeze_behind_map(model, made)
    return made.shape[1], made.shape[2], made.shape[3]


def freeze_behind_map(backbone: nn.Module, made: Tensor | None = None) -> list[str]:
    """Freeze the parameters that no gradient of the map reaches, such as a pooling head's.

    Without it several processes wait for gradients that never come, and weight decay shrinks what
    nothing trains.

    Args:
        backbone: A timm model, in training mode.
        made: Its map of some images; by default a dry run makes it.

    Returns:
        Names of what is frozen.
    """
    if made is None:
        model: Any = backbone
        fixed = getattr(getattr(model, "patch_embed", None), "img_size", None)
        images = torch.zeros(1, 3, *(fixed or (_TRIAL, _TRIAL)))
        made = as_map(model, model.eval().forward_features(images))
        model.train()
    if not made.requires_grad:  # a model that is made without gradients, to be looked at
        return []
    trained = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
    reached = torch.autograd.grad(made.sum(), list(trained.values()), allow_unused=True)
    behind = [name for name, gradient in zip(trained, reached, strict=True) if gradient is None]
    for name in behind:
        trained[name].requires_grad_(False)
    return behind
