"""Rendered objects as the published 3DIEBench folder, with a record beside each."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from data_gen.work import RenderedObject
from data_gen.writers import Writer, array_bytes, description
from ssl_equiv.data.record import (
    Shard,
)
from ssl_equiv.errors import UserError
from ssl_equiv.files import (
    read_json,
    writing,
)

RECORD = "object.json"
"""In the folder layout: an object's description and its files' CRC-32."""


class FolderWriter(Writer):
    """The published layout: ``CLASS/OBJECT/image_{i}.jpg`` and ``latent_{i}.npy``.

    Args:
        records: Write ``object.json`` beside them: the description, and every file's CRC-32.
    """

    def __init__(
        self,
        root: Path,
        num_objects: int,
        num_views: int,
        unit: int,
        outputs: Sequence[str] = (),
        records: bool = False,
    ) -> None:
        super().__init__(root, num_objects, num_views, unit, outputs)
        self.records = records

    def present(self, unit: range, names: Sequence[str]) -> bool:
        """Whether all of the unit's folders are there: they appear when they are whole."""
        return all((self.root / name).is_dir() for name in names)

    def done(self, unit: range, names: Sequence[str]) -> bool:
        """Whether all of the unit's files are there, with the record's checksums if there is one,
        and else none of them empty.
        """
        return all(self._done(self.root / name) for name in names)

    def _done(self, folder: Path) -> bool:
        if not self.records:
            paths = [folder / name for name in self.files()]
            return all(path.is_file() and path.stat().st_size > 0 for path in paths)
        try:
            record = read_json(folder / RECORD)
            wanted = [] if "failed" in record else self.files()
            return sorted(record["crc32"]) == sorted(wanted) and not damaged_files(folder, record)
        except (UserError, TypeError, KeyError):
            return False

    def descriptions(self, unit: range, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """See :meth:`Writer.descriptions`."""
        return {name: read_json(self.root / name / RECORD) for name in names}

    def files(self) -> list[str]:
        """Names of an object's files."""
        views = range(self.num_views)
        both = [name for v in views for name in (f"image_{v}.jpg", f"latent_{v}.npy")]
        return both + [f"{output}_{view}.png" for output in self.outputs for view in views]

    def write(self, objects: Iterable[RenderedObject]) -> None:
        """Write each object's folder under a temporary name, then rename it."""
        for item in objects:
            final = self.root / item.class_name / item.object_id
            with writing(final):
                final.parent.mkdir(parents=True, exist_ok=True)
                temporary = Path(tempfile.mkdtemp(".partial", f".{final.name}.", dir=final.parent))
                try:
                    for name, data in self._contents(item).items():
                        (temporary / name).write_bytes(data)
                    # mkdtemp makes private folders, as mkstemp makes private files
                    temporary.chmod(final.parent.stat().st_mode)
                    if final.exists():  # damaged, else it would not be written
                        shutil.rmtree(final)
                    _rename(temporary, final)
                finally:  # gone by now, unless something failed
                    shutil.rmtree(temporary, ignore_errors=True)

    def _contents(self, item: RenderedObject) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        for view, image in enumerate(item.images):
            files[f"image_{view}.jpg"] = image
            files[f"latent_{view}.npy"] = array_bytes(item.latents[view])
        for output, images in item.outputs.items():
            files |= {f"{output}_{view}.png": image for view, image in enumerate(images)}
        if self.records:
            sums = {name: zlib.crc32(data) for name, data in files.items()}
            files[RECORD] = description(item, crc32=sums)
        return files

    def shards(self) -> tuple[Shard, ...]:
        """None."""
        return ()


def _rename(folder: Path, final: Path) -> None:
    try:
        os.replace(folder, final)
    except OSError as error:
        # another run of the same job was quicker; its bytes are the same
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def damaged_files(folder: Path, record: dict[str, Any]) -> list[str]:
    """Files of an object's folder that are missing or lack the checksum of its record."""
    found = []
    for name, checksum in record["crc32"].items():
        try:
            if zlib.crc32((folder / name).read_bytes()) != checksum:
                found.append(name)
        except OSError:
            found.append(name)
    return found
