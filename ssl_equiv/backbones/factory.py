"""Any timm model as a backbone."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Any

import timm
from torch import nn

from ssl_equiv.errors import UserError


@dataclass(frozen=True)
class BackboneConfig:
    """Which backbone.

    Args:
        name: timm model name, as in ``timm.list_models()``.
        cifar_stem: For ResNets on small images: a 3x3 stem with stride 1 and no max-pooling
            (SimCLR, arXiv 2002.05709, B.9).
        pretrained: Start from timm's weights (downloads them).
        options: Further arguments of ``timm.create_model``, such as ``drop_path_rate``.
    """

    name: str = "resnet18"
    cifar_stem: bool = False
    pretrained: bool = False
    options: dict[str, Any] = field(default_factory=dict)


def create_backbone(config: BackboneConfig) -> nn.Module:
    """A timm model without classifier: ``(B, 3, H, W) -> (B, D)``, see
    :func:`feature_width`.

    Raises:
        UserError: timm has no such model (the nearest names are told), or it refuses an option.
    """
    if not timm.is_model(config.name):
        close = difflib.get_close_matches(config.name, timm.list_models(), 3)
        hint = f"did you mean {' or '.join(close)}?" if close else "see timm.list_models()"
        raise UserError(f"backbone.name: timm has no model {config.name!r}: {hint}")
    try:
        model: Any = timm.create_model(
            config.name, pretrained=config.pretrained, num_classes=0, **config.options
        )
    except TypeError as error:
        raise UserError(f"backbone.options: timm's {config.name} refuses them: {error}") from error
    if config.cifar_stem:
        if not isinstance(getattr(model, "conv1", None), nn.Conv2d):
            raise UserError(
                f"backbone.cifar_stem: {config.name} has no single stem convolution; use a "
                "ResNet such as resnet18, or leave it out"
            )
        old = model.conv1
        model.conv1 = nn.Conv2d(
            old.in_channels, old.out_channels, kernel_size=3, padding=1, bias=False
        )
        model.maxpool = nn.Identity()
    module: nn.Module = model
    return module


def feature_width(backbone: nn.Module) -> int:
    """D, the width of the features that a backbone makes of an image.

    That is not timm's ``num_features`` where layers stand between the pooling and the classifier,
    as in MobileNetV3 or VGG: the classifier, and so a representation, has ``head_hidden_size``.
    """
    width: Any = getattr(backbone, "head_hidden_size", None) or backbone.num_features
    return int(width)
