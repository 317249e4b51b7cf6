"""Backbones out of this package, into the tools that use them."""

from ssl_equiv.export.importers import IMPORTERS, Imported, import_published
from ssl_equiv.export.sources import SIDECAR, Backbone, open_backbone, open_method, start_from
from ssl_equiv.export.timm_folder import export_timm

__all__ = [
    "IMPORTERS",
    "SIDECAR",
    "Backbone",
    "Imported",
    "export_timm",
    "import_published",
    "open_backbone",
    "open_method",
    "start_from",
]
