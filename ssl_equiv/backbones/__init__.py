"""Image backbones from timm."""

from ssl_equiv.backbones.factory import BackboneConfig, create_backbone, feature_width
from ssl_equiv.backbones.feature_map import as_map, map_shape

__all__ = ["BackboneConfig", "as_map", "create_backbone", "feature_width", "map_shape"]
