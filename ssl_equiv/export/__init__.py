"""Backbones out of this package, into the tools that use them."""

from ssl_equiv.export.sources import SIDECAR, Backbone, open_backbone
from ssl_equiv.export.timm_folder import export_timm

__all__ = ["SIDECAR", "Backbone", "export_timm", "open_backbone"]
