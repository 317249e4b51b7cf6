"""Features on their way to a cache: chunks that any process writes, and their union."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from eval.cache import FORMAT, META
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write, make_directory, write_json

_CHUNK_BYTES = 64 << 20


class Chunks:
    """Results of a pass on their way to one cache: files of whole objects, written by any process.

    They lie in a folder beside the cache and outlive an interrupted pass. Their names begin with
    a digest of the key, so those of another model or data set are never mixed in.

    Args:
        folder: Where the cache will stand.
        key: What it is computed from.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        self.folder, self.key = folder, dict(key)
        self.place = make_directory(folder.parent / f".{folder.name}.partial")
        self.digest = hashlib.sha256(repr(sorted(key.items())).encode()).hexdigest()[:16]
        self.parts: dict[str, tuple[int, int]] = {}
        self._waiting: list[dict[str, np.ndarray]] = []
        self._bytes = 0

    def files(self) -> list[Path]:
        """Chunks of this key, written by any process."""
        return sorted(self.place.glob(f"{self.digest}-*.npz"))

    def done(self) -> np.ndarray:
        """Indices of the objects that have been written, ``(n,)`` int64."""
        return _indices(self.files())

    def add(
        self,
        features: Tensor,
        actions: Mapping[str, Tensor],
        label: Tensor,
        index: Tensor,
        parts: dict[str, tuple[int, int]],
    ) -> None:
        """Keep the features ``(B, V, D)`` of a batch, and write a chunk now and then."""
        arrays = {"features": features, "label": label, "index": index}
        arrays |= {f"action-{name}": action for name, action in actions.items()}
        self._waiting.append({name: value.cpu().numpy() for name, value in arrays.items()})
        self.parts = parts
        self._bytes += features.nbytes
        if self._bytes >= _CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits, whole or not at all."""
        if not self._waiting:
            return
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        joined = {name: np.concatenate([batch[name] for batch in waiting]) for name in waiting[0]}
        parts = {f"part-{name}": np.array(ends) for name, ends in self.parts.items()}
        with atomic_write(self.place / f"{self.digest}-{uuid.uuid4().hex}.npz") as file:
            np.savez(file, allow_pickle=False, **joined, **parts)

    def remove(self) -> None:
        """Delete the chunks, other keys' leftovers too."""
        for path in self.place.iterdir():
            path.unlink()
        self.place.rmdir()


def publish(
    chunks: Chunks,
    split: str,
    groups: Mapping[str, str],
    class_names: Sequence[str],
    expected: int | None,
) -> None:
    """Join chunks to a cache: each object once, in the order of index.

    Args:
        chunks: What all processes wrote.
        split: Name of the split.
        groups: Name of each factor's group.
        class_names: Name of each label.
        expected: How many objects there must be, or None where unreadable ones were left out.

    Raises:
        UserError: objects are missing, or the folder cannot be written.
    """
    files = chunks.files()
    index = _indices(files)
    unique, first = np.unique(index, return_index=True)
    if len(unique) == 0 or (expected is not None and len(unique) != expected):
        raise UserError(
            f"{chunks.place} holds features of {len(unique)} objects of {expected or 'any'}: all "
            "processes must write to one shared folder"
        )
    folder = make_directory(chunks.folder)
    (folder / META).unlink(missing_ok=True)
    with np.load(files[0], allow_pickle=False) as some:
        names = [name for name in some.files if not name.startswith("part-")]
        parts = {n.removeprefix("part-"): some[n].tolist() for n in some.files if n not in names}
    for name in names:
        target = {"label": "labels"}.get(name, name)
        _join(files, name, first, len(index), folder / f"{target}.npy")
    write_json(
        folder / META,
        {
            "format": FORMAT,
            "split": split,
            "num_objects": len(unique),
            "parts": parts,
            "groups": dict(groups),
            "class_names": list(class_names),
            "key": chunks.key,
        },
    )
    chunks.remove()


def _join(files: Sequence[Path], name: str, first: np.ndarray, total: int, path: Path) -> None:
    """Write rows ``first`` of the concatenated chunks, one chunk in memory at a time."""
    row_of = np.full(total, -1)  # where each stored row goes; -1: seen before
    row_of[first] = np.arange(len(first))
    start = 0
    with atomic_write(path) as file:
        for chunk_path in files:
            chunk = _read(chunk_path, name)
            if start == 0:
                header = {
                    "descr": np.lib.format.dtype_to_descr(chunk.dtype),
                    "fortran_order": False,
                    "shape": (len(first), *chunk.shape[1:]),
                }
                np.lib.format.write_array_header_1_0(file, header)
                origin, shape = file.tell(), chunk.shape[1:]
            if chunk.shape[1:] != shape:
                raise UserError(
                    f"objects differ in their number of views ({chunk.shape[1:]} and {shape} for "
                    f"{name}): make the data set complete"
                )
            row_bytes = chunk.nbytes // len(chunk)
            for row, values in zip(row_of[start : start + len(chunk)], chunk, strict=True):
                if row >= 0:
                    file.seek(origin + int(row) * row_bytes)
                    file.write(np.ascontiguousarray(values).tobytes())
            start += len(chunk)


def _indices(files: Sequence[Path]) -> np.ndarray:
    return np.concatenate([np.empty(0, np.int64), *(_read(path, "index") for path in files)])


def _read(path: Path, name: str) -> np.ndarray:
    """One array of a chunk; the others are not read."""
    with np.load(path, allow_pickle=False) as arrays:
        array: np.ndarray = arrays[name]
    return array
