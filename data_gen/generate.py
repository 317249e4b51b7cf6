"""Render a data set: objects in, records out, the same bytes however the work is cut.

Every object is seeded by its identity, so neither the number of processes nor an interruption
changes what is written. ``plan.json`` is written first and the manifest last: a folder with a
plan and no manifest is unfinished, and the same command completes it.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from data_gen.latents import sample_latents
from data_gen.recipe import Recipe
from data_gen.render import EmbreeRenderer
from data_gen.sources import ObjectSource
from data_gen.writers import FolderWriter, RenderedObject, ShardWriter, Writer, array_bytes
from ssl_equiv.data.record import MANIFEST, Manifest, split_objects
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write, make_directory, read_json, write_json

PLAN = "plan.json"
_JPEG_QUALITY = 95


def generate(
    source: ObjectSource,
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    layout: Literal["shards", "folder"] = "shards",
    seed: int = 0,
    val_fraction: float = 0.2,
    objects_per_shard: int = 100,
    num_workers: int | None = None,
    progress: bool = True,
) -> Manifest:
    """Render every object of ``source`` into ``out``; what is finished there is kept.

    Args:
        source: Meshes with their classes.
        recipe: Scene, ranges of the factors, image size, number of views.
        out: Folder of the data set; made where absent.
        layout: ``shards`` (WebDataset) or ``folder`` (the published layout).
        seed: Seed of the latents and the split.
        val_fraction: Share of each class's objects that is for validation, in [0, 1).
        objects_per_shard: Objects in one tar file.
        num_workers: Rendering processes; None takes the cores that this process may use, 0
            renders in this process.
        progress: Show a progress bar.

    Returns:
        The manifest that was written.

    Raises:
        UserError: ``out`` holds another data set or cannot be written, or a mesh is unusable.
    """
    if not 0 <= val_fraction < 1:
        raise UserError(f"val_fraction is {val_fraction}: choose at least 0 and less than 1")
    if objects_per_shard < 1:
        raise UserError(f"objects_per_shard is {objects_per_shard}: choose at least 1")
    if seed < 0 or (num_workers is not None and num_workers < 0):
        raise UserError("seed and num_workers must be 0 or more")
    out = make_directory(out)
    names = ["/".join(source.ref(i)) for i in range(len(source))]
    plan = {
        "recipe": recipe.to_dict(),
        "seed": seed,
        "val_fraction": val_fraction,
        "layout": layout,
        "objects_per_shard": objects_per_shard,
        "num_objects": len(names),
        "source": _describe(source),
        "objects_sha256": hashlib.sha256("\n".join(names).encode()).hexdigest(),
    }
    _claim(out, plan)
    for left in out.rglob(".*.partial"):  # by a run that was killed
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    writer: Writer = (
        ShardWriter(out, len(names), recipe.num_views, objects_per_shard)
        if layout == "shards"
        else FolderWriter(out, len(names), recipe.num_views, 1)
    )
    units = writer.units()
    todo = [u for u in units if not writer.done(u, names[u.start : u.stop])]
    workers = len(os.sched_getaffinity(0)) if num_workers is None else num_workers
    with _Bar(len(names), len(names) - sum(map(len, todo)), recipe.num_views, progress) as bar:
        rendered = _render(source, recipe, seed, [i for unit in todo for i in unit], workers)
        for unit in todo:
            objects = []
            for _ in unit:
                objects.append(next(rendered))
                bar.advance()
            writer.write(objects)
    manifest = Manifest(
        objects=tuple(names),
        num_views=recipe.num_views,
        image_size=recipe.image_size,
        classes=tuple(source.classes),
        schema=recipe.schema,
        split=split_objects(names, val_fraction, seed),
        shards=writer.shards(),
        seed=seed,
        recipe=recipe.to_dict(),
        source=_describe(source),
    )
    if layout == "folder":
        _write_split_files(out, manifest)
    write_json(out / MANIFEST, manifest.to_dict())
    return manifest


def encode_jpeg(image: np.ndarray) -> bytes:
    """An ``(H, W, 3)`` uint8 image as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def object_seed(seed: int, name: str) -> list[int]:
    """Seed words of an object's latents: they depend on its name, not on its place."""
    return [seed, *np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint32).tolist()]


class _Worker:
    """Renders single objects; one renderer a process."""

    def __init__(self, source: ObjectSource, recipe: Recipe, seed: int) -> None:
        self.source, self.recipe, self.seed = source, recipe, seed
        self.renderer = EmbreeRenderer(recipe)

    def __call__(self, index: int) -> RenderedObject:
        class_name, object_id = self.source.ref(index)
        latents = sample_latents(self.recipe, object_seed(self.seed, f"{class_name}/{object_id}"))
        images = self.renderer.render(self.source.load(index), latents)
        return RenderedObject(
            index=index,
            class_name=class_name,
            object_id=object_id,
            label=self.source.classes.index(class_name),
            latents=latents,
            images=[encode_jpeg(image) for image in images],
        )


_worker: _Worker | None = None


def _start_worker(source: ObjectSource, recipe: Recipe, seed: int) -> None:
    global _worker
    _worker = _Worker(source, recipe, seed)


def _work(index: int) -> RenderedObject:
    assert _worker is not None
    return _worker(index)


def _render(
    source: ObjectSource, recipe: Recipe, seed: int, indices: Sequence[int], workers: int
) -> Iterator[RenderedObject]:
    """Rendered objects in the order of ``indices``, a bounded number of them ahead."""
    if workers == 0 or len(indices) <= 1:
        yield from map(_Worker(source, recipe, seed), indices)
        return
    # kernels are compiled once, here, and cached: not by every process at the same time
    EmbreeRenderer(recipe).render(source.load(indices[0]), np.array(recipe.ranges)[None, :, 0])
    # spawn: threads of this process (progress bar, BLAS) must not be copied half way
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(workers, len(indices)), context, _start_worker, (source, recipe, seed)
    ) as pool:
        ahead: deque[Future[RenderedObject]] = deque()
        try:
            for index in indices:
                ahead.append(pool.submit(_work, index))
                if len(ahead) >= 8 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _claim(out: Path, plan: dict[str, Any]) -> None:
    """Write the plan, or check that the folder's own is the same."""
    path = out / PLAN
    if not path.exists():
        if any(not path.name.endswith(".partial") for path in out.iterdir()):
            raise UserError(
                f"{out} is not empty and holds no {PLAN} of the generator: choose another folder"
            )
        write_json(path, plan)
        return
    old = read_json(path)
    different = list(_differences("", old, plan))
    if different:
        shown = "; ".join(different[:3]) + ("; ..." if len(different) > 3 else "")
        raise UserError(
            f"{out} was begun with another plan ({shown}): repeat that command, or choose "
            "another folder"
        )


def _describe(source: ObjectSource) -> dict[str, Any]:
    colors = getattr(source, "class_colors", None)
    return {"kind": type(source).__name__} | ({} if colors is None else {"class_colors": colors})


def _differences(name: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(f"{name}.{key}".lstrip("."), old.get(key), new.get(key))
    elif old != new and old != (list(new) if isinstance(new, tuple) else new):
        yield f"{name} was {old}, now {new}"


def _write_split_files(out: Path, manifest: Manifest) -> None:
    """``{split}_images.npy`` and ``{split}_labels.npy`` as the published code reads them."""
    label = {name: number for number, name in enumerate(manifest.classes)}
    for split, members in manifest.split.items():
        names = [manifest.objects[i] for i in members]
        labels = np.array([label[name.split("/")[0]] for name in names], dtype=np.int64)
        for what, array in (("images", np.array(names)), ("labels", labels)):
            with atomic_write(out / f"{split}_{what}.npy") as file:
                file.write(array_bytes(array))


class _Bar(ExitStack):
    """Progress in objects and images per second; silent where not wanted."""

    def __init__(self, total: int, done: int, views: int, shown: bool) -> None:
        super().__init__()
        self.views = views
        self.bar = Progress(
            TextColumn("rendering"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("objects"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            disable=not shown,
        )
        self.done = 0
        self.task = self.bar.add_task("", total=total, completed=done, rate="")
        self.enter_context(self.bar)

    def advance(self) -> None:
        self.done += 1
        task = self.bar.tasks[0]
        rate = self.done * self.views / task.elapsed if task.elapsed else 0.0
        self.bar.update(self.task, advance=1, rate=f"{rate:.0f} images/s")
