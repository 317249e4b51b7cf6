"""Image backbones from timm."""

from ssl_equiv.backbones.factory import BackboneConfig, create_backbone
from ssl_equiv.backbones.feature_map import as_map, map_shape

__all__ = ["BackboneConfig", "as_map", "create_backbone", "map_shape"]
