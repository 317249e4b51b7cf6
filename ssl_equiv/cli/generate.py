"""``ssl-equiv generate``: render a multi-view data set."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import yaml

from data_gen.generate import Outcome, generate
from data_gen.overlap import rotation_overlap
from data_gen.preview import write_preview
from data_gen.recipe import Recipe
from data_gen.sources import open_objects
from data_gen.verify import verify as check
from ssl_equiv.data.record import MANIFEST, Manifest
from ssl_equiv.errors import UserError
from ssl_equiv.parsing import call


def main(args: list[str]) -> None:
    """Run ``ssl-equiv generate`` with command-line arguments ``args``."""
    if "--overlap" in args:  # two words, as people write it; the parser's own form is a list
        at = args.index("--overlap") + 1
        args = [*args[:at], json.dumps(args[at : at + 2]), *args[at + 2 :]]
    call(render, args, "generate", entries={"recipe": [field.name for field in fields(Recipe)]})


def render(
    out: str | None = None,
    objects: str = "procedural",
    num_objects: int = 1000,
    classes: list[str] | Literal["demo"] | None = None,
    class_colors: bool = False,
    recipe: dict[str, Any] = {},  # noqa: B006 (shown by --help, never changed)
    outputs: list[Literal["depth", "normals", "mask"]] = [],  # noqa: B006
    renderer: Literal["embree", "cycles"] = "embree",
    layout: Literal["shards", "folder"] = "shards",
    seed: int = 0,
    val_fraction: float = 0.2,
    objects_per_shard: int = 100,
    num_workers: int | None = None,
    shard: str | None = None,
    max_failures: float | None = None,
    retry_failed: bool = False,
    verify: str | None = None,
    preview: str | None = None,
    overlap: list[str] | None = None,
) -> None:
    """Render every object from many views into a data set; run again to complete or repeat it.

    Args:
        out: Folder of the data set.
        objects: procedural, shapenet:ROOT, or a folder CLASS/OBJECT.{obj,glb,ply,stl}.
        num_objects: How many procedural objects, the classes in turn.
        classes: Only these classes; "demo" names twelve procedural ones that are easy to tell.
        class_colors: Paint all procedural objects of a class alike, which is easier to learn from.
        recipe: Entries of the scene recipe that differ from 3DIEBench's, such as image_size.
        outputs: What to store beside each view, as PNG: any of depth, normals, mask.
        renderer: embree, or cycles (Blender, the reference: a thousand times slower).
        layout: shards (WebDataset), or folder (the published 3DIEBench layout).
        seed: Seed of objects, latents and split.
        val_fraction: Share of each class's objects that is for validation.
        objects_per_shard: Objects in one shard.
        num_workers: Rendering processes; by default the cores of this process.
        shard: I/N renders share I of N, I from 0, beside jobs with the other shares: in a SLURM
            array of 16, --array=0-15 and --shard $SLURM_ARRAY_TASK_ID/16. The last one out writes
            the manifest; the same command without --shard completes what is missing.
        max_failures: Objects that may fail before the run stops: a whole number (1.0 is one), or a
            share below 1; by default 1% but at least 5, and never all. They keep their index,
            without views.
        retry_failed: Render the shards again that hold objects which failed.
        verify: Check the data set in this folder instead: counts, checksums, latents, meshes, and
            a sample that is rendered again. Exit code 1 where something does not match.
        preview: Render only a contact sheet of this data set, with its latents drawn on it and
            the cost of the whole, into this PNG file.
        overlap: Tell instead how far the rotations of two recipes overlap: two configurations or
            data sets, as in --overlap A B.
    """
    modes = {"verify": verify, "preview": preview, "overlap": overlap}
    asked = [name for name, value in modes.items() if value is not None]
    if len(asked) > 1:
        raise UserError(f"--{asked[0]} and --{asked[1]} are two tasks: ask for one at a time")
    if overlap is not None:
        if len(overlap) != 2:
            raise UserError("--overlap takes two configurations or data sets: --overlap A B")
        first, second = map(_read_recipe, overlap)
        print(rotation_overlap(first, second))
        return
    if verify is not None:
        if not check(verify):
            raise SystemExit(1)
        return
    if preview is not None:
        source = open_objects(objects, num_objects, classes, seed, class_colors)
        write_preview(preview, source, Recipe.from_dict(recipe), seed, renderer=renderer)
        print(f"{preview}: views of the data set as it would be")
        return
    if out is None:
        raise UserError("--out is missing: name the folder of the data set")
    source = open_objects(objects, num_objects, classes, seed, class_colors)
    outcome = generate(
        source,
        Recipe.from_dict(recipe),
        out,
        layout=layout,
        seed=seed,
        val_fraction=val_fraction,
        objects_per_shard=objects_per_shard,
        renderer=renderer,
        outputs=outputs,
        num_workers=num_workers,
        shard=shard,
        max_failures=max_failures,
        retry_failed=retry_failed,
    )
    print(f"{out}: {_summary(outcome, shard)}")


def _read_recipe(path: str) -> Recipe:
    """The recipe of a configuration file or of a data set."""
    if (Path(path) / MANIFEST).is_file():
        return Recipe.from_dict(Manifest.read(path).recipe)
    try:
        config = yaml.safe_load(Path(path).read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{path} is neither a configuration nor a data set ({reason}): name a YAML file of "
            "configs/data or a folder with a manifest.json"
        ) from error
    if not isinstance(config, dict) or not isinstance(config.get("recipe"), dict):
        raise UserError(f"{path} has no entry recipe: name a configuration of ssl-equiv generate")
    return Recipe.from_dict(config["recipe"])


def _summary(outcome: Outcome, shard: str | None) -> str:
    failed = f"; {len(outcome.failed)} failed" if outcome.failed else ""
    manifest = outcome.manifest
    if manifest is None:
        return (
            f"share {shard} is done{failed}; {outcome.left} of {outcome.objects} objects are left "
            "to other jobs, of which the last one writes the manifest"
        )
    split = {name: len(members) for name, members in manifest.split.items()}
    if failed:
        failed += f" (in no split; 'failed' in {MANIFEST} tells why)"
    if manifest.warnings:
        failed += f"; {len(manifest.warnings)} lack textures or the like ('warnings' in {MANIFEST})"
    return (
        f"{outcome.objects} objects of {len(manifest.classes)} classes, {manifest.num_views} views "
        f"each ({', '.join(f'{n} {k}' for k, n in split.items())}){failed}"
    )
