"""The multi-view data sets that lie in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from ssl_equiv.data.folder import FolderSource, published_objects
from ssl_equiv.data.record import MANIFEST, Manifest
from ssl_equiv.data.shards import ShardSource
from ssl_equiv.data.source import Source
from ssl_equiv.errors import UserError

__all__ = ["FolderSource", "ShardSource", "Source", "open_source", "published_objects"]


def open_source(root: str | os.PathLike[str]) -> Source:
    """The data set in ``root``: shards where its manifest lists some, else the published folder."""
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"data.root: {root} is not a folder: give a data set's root")
    if (root / MANIFEST).exists() and Manifest.read(root).shards:
        return ShardSource(root)
    return FolderSource(root)
