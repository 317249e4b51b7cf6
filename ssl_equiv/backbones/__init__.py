"""Image backbones: timm's, and the shift-equivariant ones, which importing this registers there."""

from ssl_equiv.backbones import shift_registry as _registered
from ssl_equiv.backbones.factory import BackboneConfig, create_backbone, feature_width
from ssl_equiv.backbones.feature_map import as_map, freeze_behind_map, map_shape

__all__ = [
    "BackboneConfig",
    "as_map",
    "create_backbone",
    "feature_width",
    "freeze_behind_map",
    "map_shape",
]
del _registered
