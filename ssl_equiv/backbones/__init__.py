"""Image backbones from timm."""

from ssl_equiv.backbones.factory import BackboneConfig, create_backbone

__all__ = ["BackboneConfig", "create_backbone"]
