"""Render a data set: objects in, records out, the same bytes however the work is cut.

Every object is seeded by its identity, so neither the number of processes, nor that of jobs, nor
an interruption changes what is written. ``plan.json`` is written first and the manifest last, by
whichever job finds nothing left to do.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data_gen.folder_writer import FolderWriter
from data_gen.plan import PLAN, accept_repaired, claim, objects_digest
from data_gen.pool import render_objects
from data_gen.progress import Bar
from data_gen.recipe import Recipe
from data_gen.render.background import background_digest
from data_gen.shard_writer import ShardWriter
from data_gen.sources import ObjectSource
from data_gen.work import Job, RenderedObject, make_renderer
from data_gen.writers import Writer, array_bytes
from ssl_equiv import __version__
from ssl_equiv.data.geometry import check_output
from ssl_equiv.data.record import MANIFEST, Manifest, split_objects
from ssl_equiv.data.splits import SPLIT_FILES
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write, make_directory, write_json

_FAILURES = (0.01, 5)  # share of the objects that may fail, and the number that always may
_SHAPES_BYTES = {"embree": ("embreex", "numba", "numpy", "pillow"), "cycles": ("bpy", "pillow")}


@dataclass(frozen=True)
class Outcome:
    """What a run left behind.

    Attributes:
        objects: Objects of the data set.
        left: Those that other jobs have not written yet.
        failed: ``class/object`` of those known to have failed, and why.
        manifest: What was written once nothing was left; else None.
    """

    objects: int
    left: int
    failed: dict[str, str]
    manifest: Manifest | None


def generate(
    source: ObjectSource,
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    layout: Literal["shards", "folder"] = "shards",
    seed: int = 0,
    val_fraction: float = 0.2,
    objects_per_shard: int = 100,
    renderer: Literal["embree", "cycles"] = "embree",
    outputs: Sequence[str] = (),
    num_workers: int | None = None,
    shard: str | None = None,
    max_failures: float | None = None,
    retry_failed: bool = False,
    progress: bool = True,
) -> Outcome:
    """Render every object of ``source`` into ``out``; what is finished there is kept.

    An object that cannot be rendered keeps its index, without views and in no split; the manifest
    tells why, and of the others what was missing, such as textures.

    Args:
        source: Meshes with their classes.
        recipe: Scene, distributions of the factors, image size, number of views.
        out: Folder of the data set; made where absent.
        layout: ``shards`` (WebDataset) or ``folder`` (the published layout).
        seed: Seed of the latents and the split.
        val_fraction: Share of each class's objects that is for validation, in [0, 1).
        objects_per_shard: Objects in one tar file.
        renderer: What draws.
        outputs: What to store beside each view: any of ``depth``, ``normals``, ``mask``.
        num_workers: Rendering processes; None takes the cores that this process may use, 0
            renders in this process.
        shard: ``i/n``: only the share i of n, counted from 0, of the tar files (or of the objects
            in the folder layout). Jobs with different i may run at the same time.
        max_failures: How many objects may fail before the run stops: a whole number (1.0 is one
            object), or below 1 a share of all; by default 1%, but at least 5; never all of them.
        retry_failed: Render again what holds objects that failed; their meshes may have changed.
        progress: Show a progress bar.

    Raises:
        UserError: ``out`` holds another data set, is written by another run or cannot be written;
            too many objects failed; an option is out of range.
    """
    _check(val_fraction, objects_per_shard, seed, num_workers, max_failures)
    for name in outputs:
        check_output(name)
    share, shares = parse_shard(shard)
    names = ["/".join(source.ref(i)) for i in range(len(source))]
    if layout == "folder":
        _check_classes(source.classes)
    if isinstance(recipe.background, str):  # the manifest must tell it from everywhere
        place = Path(recipe.background).expanduser().resolve()
        recipe = replace(recipe, background=str(place))
    job = Job(source, recipe, seed, renderer, tuple(dict.fromkeys(outputs)))
    if renderer == "cycles":  # an extra that may be missing: told before the folder is begun
        make_renderer(renderer, recipe, job.outputs)
    plan = _plan(job, names, val_fraction, layout, objects_per_shard)
    allowed = allowed_failures(max_failures, len(names))
    workers = len(os.sched_getaffinity(0)) if num_workers is None else num_workers
    out = make_directory(out)
    writer: Writer
    if layout == "shards":
        writer = ShardWriter(out, len(names), recipe.num_views, objects_per_shard, job.outputs)
    else:
        writer = FolderWriter(out, len(names), recipe.num_views, 1, job.outputs, records=True)
    accept_repaired(plan, writer, names, source)
    with claim(out, plan, shared=shares > 1) as held:
        units = writer.units()
        mine, failed = [], dict[str, str]()
        for unit in units[share::shares]:
            members = names[unit.start : unit.stop]
            known = writer.failures(unit, members) if writer.done(unit, members) else None
            if known is None or (known and retry_failed):
                mine.append(unit)
            else:
                failed |= known
        if mine:
            (out / MANIFEST).unlink(missing_ok=True)  # until it is true again
        todo = [index for unit in mine for index in unit]
        total = sum(map(len, units[share::shares]))
        with (
            Bar(total, total - len(todo), recipe.num_views, progress) as bar,
            closing(render_objects(job, todo, workers)) as rendered,
        ):
            watched = _watch(rendered, bar, failed, allowed, len(names))
            for unit in mine:
                writer.write(islice(watched, len(unit)))
        left = [u for u in units if not writer.present(u, names[u.start : u.stop])]
        if left:
            return Outcome(len(names), sum(map(len, left)), failed, None)
        told: dict[str, dict[str, Any]] = {}
        for unit in units:
            told |= writer.descriptions(unit, names[unit.start : unit.stop])
        failed = {name: told[name]["failed"] for name in names if "failed" in told[name]}
        warned = {name: told[name]["warnings"] for name in names if "warnings" in told[name]}
        _check_failures(failed, allowed, len(names))
        manifest = _manifest(job, names, writer, val_fraction, failed, warned)
        if layout == "folder":
            write_split_files(out, manifest)
        write_json(out / MANIFEST, manifest.to_dict())
        if held.last():
            held.sweep()
    return Outcome(len(names), 0, manifest.failed, manifest)


def parse_shard(text: str | None) -> tuple[int, int]:
    """``i/n`` as two numbers, 0 <= i < n; None is the whole, 0 of 1."""
    if text is None:
        return 0, 1
    share, slash, shares = text.partition("/")
    if not (slash and share.isdecimal() and shares.isdecimal() and int(share) < int(shares)):
        raise UserError(
            f"shard is {text!r}: give I/N with I from 0 to N-1, for example "
            "--shard $SLURM_ARRAY_TASK_ID/16 in a job of --array=0-15"
        )
    return int(share), int(shares)


def allowed_failures(max_failures: float | None, objects: int) -> int:
    """How many of so many objects may fail: never all of them."""
    if max_failures is None:
        share, least = _FAILURES
        allowed = max(least, math.ceil(share * objects))
    else:
        allowed = math.ceil(max_failures * (objects if max_failures < 1 else 1))
    return min(allowed, objects - 1)


def write_split_files(out: Path, manifest: Manifest) -> None:
    """``{split}_images.npy`` and ``{split}_labels.npy`` as the published code reads them."""
    label = {name: number for number, name in enumerate(manifest.classes)}
    for split, members in manifest.split.items():
        names = [manifest.objects[i] for i in members]
        labels = np.array([label[name.split("/")[0]] for name in names], dtype=np.int64)
        for what, array in (("images", np.array(names, dtype=str)), ("labels", labels)):
            with atomic_write(out / f"{split}_{what}.npy") as file:
                file.write(array_bytes(array))


def _check(
    val_fraction: float,
    objects_per_shard: int,
    seed: int,
    num_workers: int | None,
    max_failures: float | None,
) -> None:
    if not 0 <= val_fraction < 1:
        raise UserError(f"val_fraction is {val_fraction}: choose at least 0 and less than 1")
    if objects_per_shard < 1:
        raise UserError(f"objects_per_shard is {objects_per_shard}: choose at least 1")
    if seed < 0 or (num_workers is not None and num_workers < 0):
        raise UserError("seed and num_workers must be 0 or more")
    if max_failures is not None and not (
        0 <= max_failures < 1 or (1 <= max_failures < math.inf and max_failures % 1 == 0)
    ):
        raise UserError(
            f"max_failures is {max_failures}: give a share below 1, or a whole number of objects"
        )


def _check_classes(classes: Iterable[str]) -> None:
    """Classes are folders, beside files whose names they must not take."""
    if taken := {PLAN, MANIFEST, *SPLIT_FILES} & set(classes):
        raise UserError(
            f"the class {min(taken)!r} has the name of a file of the data set: rename its folder, "
            "or take --layout shards"
        )


def _plan(
    job: Job, names: list[str], val_fraction: float, layout: str, objects_per_shard: int
) -> dict[str, Any]:
    """What the data set's bytes depend on; not where the meshes lie."""
    described = {key: value for key, value in job.source.describe().items() if key != "root"}
    return {
        "version": __version__,
        "recipe": job.recipe.to_dict(),
        "background_sha256": background_digest(job.recipe),
        "renderer": job.renderer,
        "outputs": list(job.outputs),
        "seed": job.seed,
        "val_fraction": val_fraction,
        "layout": layout,
        "objects_per_shard": objects_per_shard,
        "num_objects": len(names),
        "source": described,
        "objects_sha256": objects_digest(names),
        "meshes": job.source.content(),
    }


def _manifest(
    job: Job,
    names: list[str],
    writer: Writer,
    val_fraction: float,
    failed: dict[str, str],
    warned: dict[str, list[str]],
) -> Manifest:
    split = split_objects(names, val_fraction, job.seed)
    return Manifest(
        objects=tuple(names),
        num_views=job.recipe.num_views,
        image_size=job.recipe.image_size,
        classes=tuple(job.source.classes),
        schema=job.recipe.schema,
        split={k: [i for i in indices if names[i] not in failed] for k, indices in split.items()},
        shards=writer.shards(),
        seed=job.seed,
        recipe=job.recipe.to_dict(),
        source=job.source.describe(),
        renderer={
            "name": job.renderer,
            "ssl-equiv": __version__,
            **{package: version(package) for package in _SHAPES_BYTES[job.renderer]},
        },
        outputs=job.outputs,
        failed=failed,
        warnings=warned,
    )


def _watch(
    rendered: Iterable[RenderedObject],
    bar: Bar,
    failed: dict[str, str],
    allowed: int,
    objects: int,
) -> Iterator[RenderedObject]:
    """The objects as they come; stops the run when too many have failed."""
    for item in rendered:
        if item.failed is not None:
            failed[item.name] = item.failed
            _check_failures(failed, allowed, objects)
        bar.advance(len(failed))
        yield item


def _check_failures(failed: dict[str, str], allowed: int, objects: int) -> None:
    if len(failed) > allowed:
        first = "; ".join(f"{name}: {reason}" for name, reason in islice(failed.items(), 3))
        raise UserError(
            f"{len(failed)} of {objects} objects failed, more than the {allowed} that may "
            f"(--max_failures): {first}{'; ...' if len(failed) > 3 else ''}"
        )
