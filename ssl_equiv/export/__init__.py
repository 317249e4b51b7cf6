"""Backbones out of this package, into the tools that use them."""

from ssl_equiv.export.folder import FORMS, Form, export_folder
from ssl_equiv.export.importers import IMPORTERS, Imported, import_published
from ssl_equiv.export.sources import SIDECAR, Backbone, open_backbone, open_method, start_from

__all__ = [
    "FORMS",
    "IMPORTERS",
    "SIDECAR",
    "Backbone",
    "Form",
    "Imported",
    "export_folder",
    "import_published",
    "open_backbone",
    "open_method",
    "start_from",
]
