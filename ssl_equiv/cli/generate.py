"""``ssl-equiv generate``: render a multi-view data set."""

from __future__ import annotations

from typing import Any, Literal

from rich import print as show

from data_gen.generate import generate
from data_gen.procedural import CLASSES, DEMO_CLASSES
from data_gen.recipe import Recipe
from data_gen.sources import MeshFolderSource, ObjectSource, ProceduralSource, ShapeNetSource
from ssl_equiv.errors import UserError
from ssl_equiv.parsing import call


def main(args: list[str]) -> None:
    """Run ``ssl-equiv generate`` with command-line arguments ``args``."""
    call(render, args, "generate")


def render(
    out: str,
    objects: str = "procedural",
    num_objects: int = 1000,
    classes: list[str] | Literal["demo"] | None = None,
    class_colors: bool = False,
    recipe: dict[str, Any] = {},  # noqa: B006 (shown by --help, never changed)
    layout: Literal["shards", "folder"] = "shards",
    seed: int = 0,
    val_fraction: float = 0.2,
    objects_per_shard: int = 100,
    num_workers: int | None = None,
) -> None:
    """Render every object from many views into a data set; run again to complete or repeat it.

    Args:
        out: Folder of the data set.
        objects: procedural, shapenet:ROOT, or a folder CLASS/OBJECT.{obj,glb,ply,stl}.
        num_objects: How many procedural objects, the classes in turn.
        classes: Only these classes; "demo" names twelve procedural ones that are easy to tell.
        class_colors: Paint all procedural objects of a class alike, which is easier to learn from.
        recipe: Entries of the scene recipe that differ from 3DIEBench's, such as image_size.
        layout: shards (WebDataset), or folder (the published 3DIEBench layout).
        seed: Seed of objects, latents and split.
        val_fraction: Share of each class's objects that is for validation.
        objects_per_shard: Objects in one shard.
        num_workers: Rendering processes; by default the cores of this process.
    """
    source = open_objects(objects, num_objects, classes, seed, class_colors)
    manifest = generate(
        source,
        Recipe.from_dict(recipe),
        out,
        layout=layout,
        seed=seed,
        val_fraction=val_fraction,
        objects_per_shard=objects_per_shard,
        num_workers=num_workers,
    )
    split = {name: len(members) for name, members in manifest.split.items()}
    show(
        f"{out}: {len(manifest.objects)} objects of {len(manifest.classes)} classes, "
        f"{manifest.num_views} views each ({', '.join(f'{n} {k}' for k, n in split.items())})"
    )


def open_objects(
    objects: str,
    num_objects: int,
    classes: list[str] | Literal["demo"] | None,
    seed: int,
    class_colors: bool,
) -> ObjectSource:
    """The objects that a user names; arguments as :func:`render`'s.

    Raises:
        UserError: there are none.
    """
    kind, _, root = objects.partition(":")
    if objects == "procedural":
        names = DEMO_CLASSES if classes == "demo" else classes or CLASSES
        return ProceduralSource(num_objects, names, seed, class_colors)
    if classes == "demo":
        raise UserError("classes: demo names procedural classes: give a list of your own")
    if kind == "shapenet" and root:
        return ShapeNetSource(root, classes)
    return MeshFolderSource(objects, classes)
