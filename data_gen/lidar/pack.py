"""Any LiDAR data set as shards of pairs of sweeps."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from data_gen.plan import claim
from ssl_equiv import __version__
from ssl_equiv.data.lidar.shards import BOXES, FLOW, INFO, MANIFEST, PREVIOUS, record
from ssl_equiv.data.lidar.source import LidarSource
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write, make_directory, write_json


def pack(
    source: LidarSource,
    out: str | os.PathLike[str],
    every: int = 1,
    sweeps_per_shard: int = 200,
    skip_bad_sweeps: bool = False,
    progress: bool = True,
) -> dict[str, str]:
    """Write shards; a run that was stopped continues with the same arguments.

    Args:
        source: What is packed.
        out: Folder of the shards; made where absent.
        every: Take each sequence's every n-th sweep; the one before it comes along all the same.
        sweeps_per_shard: Records in one tar file.
        skip_bad_sweeps: Leave out sweeps that cannot be read, instead of stopping.
        progress: Show a progress bar.

    Returns:
        The sweeps that were left out, with the reasons.

    Raises:
        UserError: ``out`` holds something else or cannot be written, a sweep cannot be read, or
            an option is out of range.
    """
    if every < 1 or sweeps_per_shard < 1:
        raise UserError("every and sweeps_per_shard must be at least 1")
    out = make_directory(out)
    chosen = np.flatnonzero(source.frame % every == 0)
    if len(chosen) == 0:
        raise UserError(
            f"{source.root} has no sweep whose number is a multiple of {every}: lower --every"
        )
    plan = {
        "version": __version__,
        "fingerprint": source.fingerprint,
        "every": every,
        "sweeps_per_shard": sweeps_per_shard,
        "skip_bad_sweeps": skip_bad_sweeps,
    }
    failed: dict[str, str] = {}
    with claim(out, plan):
        parts = [chosen[k : k + sweeps_per_shard] for k in range(0, len(chosen), sweeps_per_shard)]
        names = [f"shard-{number:06d}.tar" for number in range(len(parts))]
        todo = [(n, p) for n, p in zip(names, parts, strict=True) if not (out / n).exists()]
        if todo:
            (out / MANIFEST).unlink(missing_ok=True)  # until it is true again
        for name, part in track(todo, "packing", disable=not progress):
            failed |= _write(source, out / name, part, skip_bad_sweeps)
        if not (out / MANIFEST).exists():
            write_json(out / MANIFEST, _manifest(source, out, names, chosen))
    return failed


def key(source: LidarSource, index: int) -> str:
    """A record's name: its sequence and frame."""
    return f"{source.sequence[index]:06d}_{source.frame[index]:010d}"


def _write(
    source: LidarSource, path: Path, indices: np.ndarray, skip_bad_sweeps: bool
) -> dict[str, str]:
    failed = {}
    with atomic_write(path) as file, tarfile.open(fileobj=file, mode="w") as tar:
        for index in indices.tolist():
            try:
                members = record(source, index)
            except UserError as error:
                if not skip_bad_sweeps:
                    raise
                failed[source.name_of(index)] = str(error)
                continue
            for name, data in members.items():
                entry = tarfile.TarInfo(f"{key(source, index)}.{name}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return failed


def _manifest(
    source: LidarSource, out: Path, names: Sequence[str], chosen: np.ndarray
) -> dict[str, Any]:
    held, order = set[str](), list[str]()
    for name in names:
        with tarfile.open(out / name, "r:") as tar:
            for entry in tar.getnames():
                record_key, _, member = entry.partition(".")
                held.add(member)
                if member == INFO:
                    order.append(record_key)
    if not order:
        raise UserError(f"{source.root}: no sweep could be read")
    place = {name: number for number, name in enumerate(order)}
    split = {
        name: [place[k] for i in members.tolist() if (k := key(source, i)) in place]
        for name, members in source.split.items()
    }
    return {
        "version": __version__,
        "from": source.kind,
        "classes": source.classes,
        "point_classes": source.point_classes,
        "split": split,
        "has_boxes": BOXES in held,
        "has_poses": source.has_poses,
        "has_flow": FLOW in held,
        "pairs": PREVIOUS in held,
        "shards": [{"name": name, "bytes": (out / name).stat().st_size} for name in names],
    }
