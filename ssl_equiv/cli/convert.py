"""``ssl-equiv convert``: the published tarball or folder to shards, and back."""

from __future__ import annotations

from typing import Literal

from rich.console import Console

from data_gen.convert import convert
from ssl_equiv.parsing import call

_SHOWN = 20
"""Objects left out that are listed; the manifest has them all."""


def main(args: list[str]) -> None:
    """Run ``ssl-equiv convert`` with command-line arguments ``args``."""
    source = "A .tar or .tar.gz in the published layout, a published folder, or a data set."
    call(run, args, "convert", {"src": source})


def run(
    src: str,
    *,
    out: str,
    layout: Literal["shards", "folder"] = "shards",
    objects_per_shard: int = 100,
    num_views: int | None = None,
    splits: str | None = None,
    skip_bad: bool = False,
    progress: bool = True,
) -> None:
    """Convert a data set between the published layout and shards; run again to complete it.

    Pictures are copied as they are, and a tarball is read once and never unpacked.

    Args:
        src: A .tar or .tar.gz in the published layout, a published folder, or a data set.
        out: Folder of the new data set.
        layout: shards (WebDataset), or folder (the published 3DIEBench layout).
        objects_per_shard: Objects in one shard.
        num_views: Views of each object; by default those of the first. A tarball in which the
            files of an object do not follow each other needs it.
        splits: Folder with {train,val}_images.npy and, if you like, {train,val}_labels.npy that
            take the place of the data set's own.
        skip_bad: Leave damaged objects out and report them, instead of stopping at the first.
        progress: Show a progress bar.
    """
    done = convert(
        src,
        out,
        layout=layout,
        objects_per_shard=objects_per_shard,
        num_views=num_views,
        splits=splits,
        skip_bad=skip_bad,
        progress=progress,
    )
    manifest = done.manifest
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for name, reason in list(manifest.failed.items())[:_SHOWN]:
        console.print(f"left out {name}: {reason}")
    if len(manifest.failed) > _SHOWN:
        console.print(f"left out {len(manifest.failed) - _SHOWN} more: see failed in manifest.json")
    for note in done.notes:
        console.print(f"note: {note}")
    split = ", ".join(f"{len(members)} {name}" for name, members in manifest.split.items())
    left_out = f", {len(manifest.failed)} left out" if manifest.failed else ""
    console.print(
        f"{out}: {len(manifest.objects)} objects of {len(manifest.classes)} classes, "
        f"{manifest.num_views} views each ({split}){left_out}"
    )
