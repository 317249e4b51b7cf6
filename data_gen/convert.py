"""Conversion between the published tarball, the published folder, and shards.

Images are copied byte by byte and latent vectors keep their type; nothing is rendered, decoded or
unpacked. As in :mod:`data_gen.generate`, ``plan.json`` comes first and the manifest last: a folder
without a manifest is unfinished, and the same command completes it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from data_gen.archive import ArchiveReader
from data_gen.generate import write_split_files
from data_gen.plan import PLAN, claim
from data_gen.stored import Damaged, FolderReader, Reader, ShardReader, StoredObject
from data_gen.targets import FolderTarget, ShardTarget, Target
from ssl_equiv.data.record import MANIFEST, Manifest, split_objects
from ssl_equiv.data.splits import Splits, read_splits
from ssl_equiv.errors import UserError
from ssl_equiv.files import make_directory, write_json


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes:
        manifest: Of the new data set.
        notes: What else the user should know, a line each.
    """

    manifest: Manifest
    notes: list[str]


def convert(
    src: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    layout: Literal["shards", "folder"] = "shards",
    objects_per_shard: int = 100,
    num_views: int | None = None,
    splits: str | os.PathLike[str] | None = None,
    skip_bad: bool = False,
    progress: bool = True,
) -> Conversion:
    """Convert a data set; what a run that was interrupted finished is kept.

    The objects of a folder are sorted (or in its manifest's order), those of shards keep their
    order, and those of a tarball stand in the order in which it makes them whole; in the folder
    layout they are sorted. Split and label files beside the data are honoured; without any, the
    rule of :class:`ssl_equiv.data.sources.FolderSource` holds.

    Args:
        src: A ``.tar`` or ``.tar.gz`` of the published layout, a published folder, or a data set
            of shards.
        out: Folder of the new data set; made where absent.
        layout: ``shards`` (WebDataset) or ``folder`` (the published layout).
        objects_per_shard: Objects in one tar file.
        num_views: Views of each object; None takes those of the first. A tarball in which the
            files of an object do not follow each other needs it.
        splits: Folder with split and label files that take the place of the data set's own.
        skip_bad: Leave damaged objects out and report them, instead of stopping at the first.
        progress: Show a progress bar.

    Raises:
        UserError: an object is damaged, ``src`` is no data set, its split or label files
            contradict it, or ``out`` holds something else or cannot be written.
    """
    if objects_per_shard < 1 or (num_views is not None and num_views < 1):
        raise UserError("objects_per_shard and num_views must be 1 or more")
    src, out = Path(src), Path(out)
    if src.resolve() == out.resolve() or src.resolve() in out.resolve().parents:
        raise UserError(f"{out} lies in the data set to convert: choose another folder")
    given = None if splits is None else _given_splits(Path(splits))
    reader = _open(src, num_views, out)
    classes = None if reader.names is None else _classes(reader.names, reader, given)
    plan = {
        "convert": reader.description,
        "objects": _digest(reader.names),
        "classes": _digest(classes),
        "layout": layout,
        "objects_per_shard": objects_per_shard,
        "num_views": num_views,
    }
    with claim(make_directory(out), plan):
        try:
            return _convert(
                reader, out, layout, objects_per_shard, classes, given, skip_bad, progress
            )
        except UserError:
            if [p.name for p in out.iterdir() if not p.name.startswith(".")] == [PLAN]:
                (out / PLAN).unlink()  # nothing came of it: it stands in no one's way
            raise


def _convert(
    reader: Reader,
    out: Path,
    layout: Literal["shards", "folder"],
    objects_per_shard: int,
    classes: tuple[str, ...] | None,
    given: Splits | None,
    skip_bad: bool,
    progress: bool,
) -> Conversion:
    (out / MANIFEST).unlink(missing_ok=True)
    target = (ShardTarget if layout == "shards" else FolderTarget)(out, objects_per_shard)
    failed = {} if reader.manifest is None else dict(reader.manifest.failed)
    items = _shown(reader, _unfinished(reader, target, layout == "shards"), progress)
    target.write(_usable(items, failed, skip_bad), classes)
    checker, old = reader.checker, reader.manifest
    if not (checker.num_views and checker.image_size and checker.schema):
        why = next(iter(failed.values()))
        raise UserError(f"{reader.description['from']} holds no usable object: {why}")
    if classes is None:
        classes = _classes((*target.names, *failed), reader, given)
    names, shards = target.finish(reader.names, checker.num_views, classes)
    split, notes = _split(names, failed, reader, given, skip_bad)
    manifest = Manifest(
        objects=names,
        num_views=checker.num_views,
        image_size=checker.image_size,
        classes=classes,
        schema=checker.schema,
        split=split,
        shards=shards,
        seed=old.seed if old else 0,
        recipe=old.recipe if old else {},
        source={"kind": "converted", **reader.description} | ({"of": old.source} if old else {}),
        renderer=old.renderer if old else {},
        failed=failed,
        warnings={n: told for n, told in old.warnings.items() if n in set(names)} if old else {},
    )
    if layout == "folder":
        write_split_files(out, manifest)
    write_json(out / MANIFEST, manifest.to_dict())
    return Conversion(manifest, [*reader.notes(), *notes, *_labels_note(reader, given)])


def _open(src: Path, num_views: int | None, out: Path) -> Reader:
    if src.is_dir():
        if (src / MANIFEST).exists() and Manifest.read(src).shards:
            return ShardReader(src)
        return FolderReader(src, num_views)
    if not src.is_file():
        raise UserError(f"{src} does not exist: name a .tar, a .tar.gz, or a data set's folder")
    return ArchiveReader(src, num_views, spill=out)


def _given_splits(folder: Path) -> Splits:
    found = read_splits(folder)
    if found is None:
        raise UserError(f"splits: {folder} holds no train_images.npy and val_images.npy")
    return found


def _digest(names: Sequence[str] | None) -> str | None:
    return None if names is None else hashlib.sha256("\n".join(names).encode()).hexdigest()


def _classes(names: Sequence[str], reader: Reader, given: Splits | None) -> tuple[str, ...]:
    """Class names in the order of their labels."""
    splits = given or reader.splits
    if reader.manifest is not None:
        if splits is not None:
            splits.check_order(reader.manifest.classes, MANIFEST)
        return reader.manifest.classes
    found = {name.split("/")[0] for name in names}
    return tuple(sorted(found)) if splits is None else splits.class_order(found)


def _usable(
    items: Iterator[StoredObject | Damaged], failed: dict[str, str], skip_bad: bool
) -> Iterator[StoredObject]:
    """The whole objects; damaged ones go to ``failed``, or stop the work."""
    for item in items:
        if isinstance(item, StoredObject):
            yield item
        elif skip_bad:
            failed[item.name] = item.reason
        else:
            raise UserError(f"{item.reason}; --skip_bad true leaves such objects out")


def _unfinished(reader: Reader, target: Target, ordered: bool) -> Iterator[StoredObject | Damaged]:
    """What is still to be written."""
    done = set(target.done)
    place = {name: i for i, name in enumerate(reader.names or ())}
    last = max(place.get(name, 0) for name in done) if ordered and done else 0
    if done:
        reader.checker.num_views = reader.checker.num_views or target.num_views
    # one of them is read again: it tells what the others must be like
    for item in reader.read(done - set(target.done[:1])):
        if item.name in done:
            if isinstance(item, Damaged):
                raise UserError(f"{item.reason}; it was whole when this conversion began")
            continue
        if isinstance(item, StoredObject) and place.get(item.name, last) < last:
            raise UserError(
                f"{item.name} was mended since this conversion began and its place is taken: "
                "convert into another folder"
            )
        yield item


def _shown(
    reader: Reader, items: Iterator[StoredObject | Damaged], shown: bool
) -> Iterator[StoredObject | Damaged]:
    """The items, with a progress bar."""
    with Progress(
        TextColumn("converting"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        disable=not shown,
    ) as bar:
        task = bar.add_task("", total=None, amount="")
        for item in items:
            done, total, unit = reader.progress()
            amount = (
                f"{done / 1e9:.2f}/{total / 1e9:.2f} GB" if unit == "bytes" else f"{done}/{total}"
            )
            bar.update(task, completed=done, total=total, amount=amount)
            yield item


def _split(
    names: tuple[str, ...],
    failed: dict[str, str],
    reader: Reader,
    given: Splits | None,
    skip_bad: bool,
) -> tuple[dict[str, list[int]], list[str]]:
    """Indices of every split's objects, and what is odd about them; may add to ``failed``."""
    splits, old = given or reader.splits, reader.manifest
    if splits is not None:
        members, where = splits.members, splits.where
    elif old is not None:
        members = {s: [old.objects[i] for i in indices] for s, indices in old.split.items()}
        where = MANIFEST
    else:
        note = "no split files: a fifth of each class, by a hash of the names, is for validation"
        return split_objects(names, 0.2, seed=0), [note]
    place = {name: i for i, name in enumerate(names)}
    for split, listed in members.items():
        absent = [name for name in listed if name not in place and name not in failed]
        reason = f"the split {split} in {where} names it, but it is not there"
        if absent and not skip_bad:
            more = f" ({len(absent)} such names)" if len(absent) > 1 else ""
            raise UserError(
                f"{absent[0]}: {reason}{more}: complete the data or give other --splits; "
                "--skip_bad true goes on without"
            )
        failed.update(dict.fromkeys(absent, reason))
    indices = {s: [place[n] for n in listed if n in place] for s, listed in members.items()}
    notes = []
    counts = np.bincount([i for chosen in indices.values() for i in chosen], minlength=len(names))
    for what, which in (("in no split", counts == 0), ("in more than one split", counts > 1)):
        odd = np.flatnonzero(which).tolist()
        if odd:
            shown = ", ".join(names[i] for i in odd[:3]) + (", ..." if len(odd) > 3 else "")
            notes.append(f"{len(odd)} objects are {what}: {shown}")
    return indices, notes


def _labels_note(reader: Reader, given: Splits | None) -> list[str]:
    splits = given or reader.splits
    if splits is None or splits.labels is None:
        return []
    numbers = [splits.labels[name] for name in splits.class_order(splits.labels)]
    if numbers != list(range(len(numbers))):
        return [
            f"the label files number {len(numbers)} classes {numbers[0]} to {numbers[-1]}: they "
            f"are numbered from 0 in the same order"
        ]
    alike = list(splits.class_order(splits.labels)) == sorted(splits.labels)
    how = "agree with the sorted class names" if alike else "set the order of the classes"
    return [f"the label files {how}"]
