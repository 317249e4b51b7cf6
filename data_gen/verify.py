"""Whether a stored data set is what its manifest says: whole, undamaged, and rendered as told.

Every check prints one line: ok, WRONG, or skip where what it needs is gone, such as the meshes,
which counts as no mismatch.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_gen.latents import sample_latents
from data_gen.layouts import Description, Layout, Stored, layout_of
from data_gen.plan import PLAN
from data_gen.recipe import Recipe
from data_gen.render.background import background_digest
from data_gen.sources import ObjectSource, open_described
from data_gen.verify_manifest import contradictions
from data_gen.work import RENDERERS, Job, ObjectRenderer, object_seed
from ssl_equiv.data.geometry import decode
from ssl_equiv.data.record import MANIFEST, Manifest, split_objects
from ssl_equiv.data.sources import open_source
from ssl_equiv.errors import UserError
from ssl_equiv.files import read_json

_SAME = 1e-9  # of latents drawn again: mathematical libraries differ in the last bits
_LEVELS = 1.0  # mean absolute error, of 255, that another machine's arithmetic may make
_SHARE = 0.02  # of an output's pixels that it may change


@dataclass(frozen=True)
class Check:
    """A check's result.

    Attributes:
        name: What was checked.
        told: What was compared.
        wrong: What does not match, a line each.
        skipped: Whether there was nothing to compare with.
    """

    name: str
    told: str
    wrong: list[str] = field(default_factory=list)
    skipped: bool = False

    def __str__(self) -> str:
        if not self.wrong:
            return f"{'skip ' if self.skipped else 'ok   '} {self.name}: {self.told}"
        more = f"; and {len(self.wrong) - 3} more" if len(self.wrong) > 3 else ""
        return f"WRONG {self.name}: {'; '.join(self.wrong[:3])}{more}"


def verify(
    root: str | Path,
    *,
    num_objects: int = 8,
    num_views: int = 2,
    show: Callable[[str], object] = print,
) -> bool:
    """Check a data set of either layout.

    Args:
        root: Its folder.
        num_objects: Objects to render again, the same at every call.
        num_views: Views of each.
        show: Receives one line a check.

    Returns:
        Whether everything matches.

    Raises:
        UserError: ``root`` is no data set with a manifest.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: give a data set's root")
    manifest = Manifest.read(root)
    right = True
    for check in _checks(root, manifest, num_objects, num_views):
        show(str(check))
        right &= not check.wrong
    return right


def _checks(root: Path, manifest: Manifest, num_objects: int, num_views: int) -> Iterator[Check]:
    layout = layout_of(root, manifest)
    plan = read_json(root / PLAN) if (root / PLAN).is_file() else {}
    yield _counts(manifest, plan, layout)
    wrong, told, sums = layout.damage()
    yield Check("checksums", told, wrong, skipped=not sums)
    known = manifest.renderer.get("name") in RENDERERS
    if known or "renderer" in plan:
        yield Check("manifest", "as its recipe and plan tell", list(contradictions(manifest, plan)))
    if not known:
        told = f"nothing to compare with: {MANIFEST} names no renderer of this package"
        yield Check("pictures", told, skipped=True)
        return
    recipe = Recipe.from_dict(manifest.recipe)
    told_of, checks = _objects(manifest, recipe, layout)
    yield from checks
    try:
        source = open_described(manifest.source, manifest.objects)
    except UserError as error:
        told = f"not compared, and no picture rendered again: {error}"
        yield Check("meshes", told, skipped=True)
        return
    place = {"/".join(source.ref(i)): i for i in range(len(source))}
    yield _meshes(source, place, told_of)
    try:
        background = background_digest(recipe)
    except UserError as error:
        yield Check("pictures", f"not rendered again: {error}", skipped=True)
        return
    if plan.get("background_sha256", background) != background:
        changed = f"the background {recipe.background} is not the one of {PLAN}"
        yield Check("pictures", "", [changed])
        return
    yield _pictures(root, manifest, recipe, source, place, num_objects, num_views)


def _counts(manifest: Manifest, plan: dict[str, Any], layout: Layout) -> Check:
    """Everything is there once, and no split holds what failed."""
    wrong = layout.counts()
    members = sorted(index for indices in manifest.split.values() for index in indices)
    rest = [i for i, name in enumerate(manifest.objects) if name not in manifest.failed]
    if members != rest:
        wrong.append("the splits do not hold every rendered object once")
    if "val_fraction" in plan:
        split = split_objects(manifest.objects, plan["val_fraction"], manifest.seed)
        drawn = {name: [i for i in indices if i in set(rest)] for name, indices in split.items()}
        if drawn != manifest.split:
            wrong.append(f"the splits are not those that seed and val_fraction of {PLAN} give")
    told = f"{len(rest)} objects of {manifest.num_views} views"
    if manifest.outputs:
        told += f" with {', '.join(manifest.outputs)}"
    failed = f", {len(manifest.failed)} recorded as failed" if manifest.failed else ""
    return Check("counts", told + failed, wrong)


def _objects(
    manifest: Manifest, recipe: Recipe, layout: Layout
) -> tuple[dict[str, Description], list[Check]]:
    """What is told of objects of files, by name, and the checks of descriptions and latents."""
    files, told, drawn = {}, Check("descriptions", ""), Check("latents", "")
    seen = 0
    for stored in layout.objects():
        name = manifest.objects[stored.index]
        seen += 1
        told.wrong.extend(_misdescribed(manifest, name, stored))
        if "mesh_sha256" in stored.description:
            files[name] = stored.description
        if stored.latents is not None:
            again = sample_latents(recipe, object_seed(manifest.seed, name))
            if stored.latents.shape != again.shape:
                drawn.wrong.append(f"{name} has latents of shape {stored.latents.shape}")
            elif not np.abs(stored.latents - again).max() <= _SAME:
                drawn.wrong.append(f"{name} has other latents than recipe and seed give")
    if seen < (total := len(manifest.objects)):
        told.wrong.append(f"{total - seen} objects cannot be read")
    return files, [
        Check("descriptions", f"of {seen} objects", told.wrong),
        Check("latents", f"drawn again for {seen - len(manifest.failed)} objects", drawn.wrong),
    ]


def _misdescribed(manifest: Manifest, name: str, stored: Stored) -> Iterator[str]:
    class_name, _, object_id = name.partition("/")
    wanted: Description = {"index": stored.index, "class": class_name, "object": object_id}
    if class_name in manifest.classes:
        wanted["label"] = manifest.classes.index(class_name)
    if name in manifest.failed:
        wanted["failed"] = manifest.failed[name]
    if name in manifest.warnings:
        wanted["warnings"] = manifest.warnings[name]
    for key in sorted({*wanted, "failed", "label", "warnings"}):
        found = stored.description.get(key)
        if found != wanted.get(key):
            yield f"{name} is described with {key} {found!r}, not {wanted.get(key)!r}"


def _meshes(
    source: ObjectSource, place: dict[str, int], described: dict[str, Description]
) -> Check:
    """Every mesh file is the one that was rendered, and so are the files that it names."""
    if not described:
        if place and source.digests(0):
            return Check("meshes", "the data set does not tell their checksums", skipped=True)
        return Check("meshes", "made by a program, there are no files")
    wrong, others = [], 0
    for name, description in described.items():
        before = description.get("named_sha256", {})
        others += len(before)
        try:
            if name not in place:
                wrong.append(f"{name} has no mesh any more")
                continue
            (_, mesh), *named = source.digests(place[name]).items()
        except UserError as error:
            wrong.append(str(error))
            continue
        now = dict(named)
        if mesh != description["mesh_sha256"]:
            wrong.append(f"the mesh of {name} is not the file that was rendered")
        for file, digest in before.items():
            if now.get(file) != digest:
                how = "is missing" if now.get(file) is None else "is not what was rendered"
                how = "was missing when it was rendered" if digest is None else how
                wrong.append(f"{file} of {name} {how}")
    more = f" and {others} that they name" if others else ""
    return Check("meshes", f"SHA-256 of {len(described)} files{more}", wrong)


def _pictures(
    root: Path,
    manifest: Manifest,
    recipe: Recipe,
    source: ObjectSource,
    place: dict[str, int],
    num_objects: int,
    num_views: int,
) -> Check:
    """A sample rendered again has the same bytes, or on another machine nearly the same pixels."""
    rng = np.random.default_rng(manifest.seed)
    rendered = [i for i, name in enumerate(manifest.objects) if name not in manifest.failed]
    chosen = rng.choice(rendered, min(num_objects, len(rendered)), replace=False)
    views = min(num_views, manifest.num_views)
    wrong: list[str] = []
    same, compared, worst = 0, 0, 0.0
    try:
        stored = open_source(root)
        name = manifest.renderer["name"]
        job = Job(source, recipe, manifest.seed, name, manifest.outputs)
        render = ObjectRenderer(job).render
    except UserError as error:
        return Check("pictures", "", [str(error)])
    for index in sorted(chosen.tolist()):
        name = manifest.objects[index]
        which = sorted(rng.choice(manifest.num_views, views, replace=False).tolist())
        if name not in place:
            continue  # told above
        try:
            again = render(place[name], which)
            for what in ("image", *manifest.outputs):
                if what == "image":
                    before, after = stored.read(index, which)[0], again.images
                else:
                    before, after = stored.read_output(index, which, what), again.outputs[what]
                for view, old, new in zip(which, before, after, strict=True):
                    compared += 1
                    old = bytes(old)
                    if old == new:
                        same += 1
                        continue
                    apart, limit = _difference(what, old, new, stored.name_of(index, view))
                    worst = max(worst, apart / limit)
                    if not apart <= limit:
                        wrong.append(f"{what} {view} of {name} differs: {_told(what, apart)}")
        except UserError as error:
            wrong.append(str(error))
    told = f"{compared} files of {len(chosen)} objects made again, {same} the same byte for byte"
    if same < compared:
        told += f", the others within {100 * worst:.0f}% of what another machine may change"
    return Check("pictures", told, wrong)


def _difference(what: str, old: bytes, new: bytes, where: str) -> tuple[float, float]:
    """How far two files are apart, and how far they may be."""
    if what == "image":
        try:
            arrays = [np.asarray(Image.open(io.BytesIO(data)), np.float64) for data in (old, new)]
        except OSError as error:
            raise UserError(f"{where} is not a readable image") from error
        if arrays[0].shape != arrays[1].shape:
            return float("inf"), _LEVELS
        return float(np.abs(arrays[0] - arrays[1]).mean()), _LEVELS
    first, second = (decode(what, data, where) for data in (old, new))
    if first.shape != second.shape:
        return float("inf"), _SHARE
    near = first == second if what == "mask" else np.isclose(first, second, atol=0.02)
    return float(1 - near.mean()), _SHARE


def _told(what: str, apart: float) -> str:
    if what == "image":
        return f"mean absolute error {apart:.2f} of 255"
    return f"{100 * apart:.1f}% of its pixels"
