"""Views rendered in the loader's processes as they are asked for: no disk, no end of views."""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data_gen.latents import sample_latents
from data_gen.recipe import Recipe
from data_gen.render import EmbreeRenderer, PreparedMesh
from data_gen.render.background import background_digest
from data_gen.sources import open_objects
from data_gen.work import encode_jpeg, object_seed
from ssl_equiv import __version__
from ssl_equiv.data.draws import Draw, choose_views
from ssl_equiv.data.record import split_objects
from ssl_equiv.data.sources import Source
from ssl_equiv.errors import UserError

_TREE = 200  # bytes that Embree keeps for a triangle, about
_DRAWINGS = 64  # of latents, that a process keeps: a rotation far from others takes a while to draw


class LiveSource(Source):
    """A data set that is never stored: ``data.source`` in place of ``data.root``.

    Objects, latents and split are those that ``ssl-equiv generate`` makes of the same arguments.
    With fresh views, view ``v`` of an object is view ``v mod num_views`` of its ``v //
    num_views``-th drawing of latents; the first drawing is what is stored, and epoch e takes its
    views from the e-th. So every view is a pure function of seed and number, and a resumed run
    sees what it would have seen.

    An object that cannot be rendered is an error when it is met, or skipped with
    ``data.skip_bad_images``; a generated data set leaves such objects out of its splits.

    Args:
        objects: procedural, shapenet:ROOT, or a folder CLASS/OBJECT.{obj,glb,ply,stl}.
        num_objects: How many procedural objects, the classes in turn.
        classes: Only these classes; "demo" names twelve procedural ones.
        class_colors: Paint all procedural objects of a class alike.
        recipe: Entries of the scene recipe that differ from 3DIEBench's, such as image_size.
        seed: Seed of objects, latents and split.
        val_fraction: Share of each class's objects that is for validation, in [0, 1).
        views: ``stored`` repeats in every epoch the views that a generated data set holds;
            ``fresh`` draws new ones in each.
        jpeg: Encode as a generated data set does, for the very same pixels; without, they are
            free of its artefacts and come faster.
        cache_mib: Memory of each loader process for meshes that are ready to render.

    Raises:
        UserError: an argument is out of place, there are no objects, or the recipe's background
            cannot be read.
    """

    _process: int | None
    _renderer: EmbreeRenderer | None
    _ready: OrderedDict[int, tuple[PreparedMesh, int]]
    _used: int
    _drawn: OrderedDict[tuple[int, int], np.ndarray]

    def __init__(
        self,
        objects: str = "procedural",
        num_objects: int = 1000,
        classes: list[str] | Literal["demo"] | None = None,
        class_colors: bool = False,
        recipe: dict[str, Any] = {},  # noqa: B006 (shown by --print_config, never changed)
        seed: int = 0,
        val_fraction: float = 0.2,
        views: Literal["stored", "fresh"] = "fresh",
        jpeg: bool = True,
        cache_mib: int = 256,
    ) -> None:
        if not 0 <= val_fraction < 1:
            raise UserError(f"val_fraction is {val_fraction}: choose at least 0 and less than 1")
        if seed < 0 or cache_mib < 0:
            raise UserError("data.source: seed and cache_mib must be 0 or more")
        if views not in ("stored", "fresh"):
            raise UserError(f"data.source: views is {views!r}: choose 'stored' or 'fresh'")
        self.recipe = Recipe.from_dict(recipe)
        self._background = background_digest(self.recipe)
        self.meshes = open_objects(objects, num_objects, classes, seed, class_colors)
        self.seed, self.views, self.jpeg = seed, views, jpeg
        self.root = Path(objects)
        self.schema = self.recipe.schema
        self.classes = tuple(self.meshes.classes)
        self.objects = tuple("/".join(self.meshes.ref(i)) for i in range(len(self.meshes)))
        self.num_views, self.image_size = self.recipe.num_views, self.recipe.image_size
        self.paths = self.recipe.trajectory is not None
        held = split_objects(self.objects, val_fraction, seed)
        self.split = {name: np.array(i, dtype=np.int64) for name, i in held.items()}
        self._limit = cache_mib << 20
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        own: dict[str, Any] = {"_process": None, "_renderer": None}
        return {**self.__dict__, **own, "_ready": OrderedDict(), "_drawn": OrderedDict()}

    @property
    def fingerprint(self) -> str:
        """Digest of all that the views depend on: of mesh files the names and sizes, of the
        background's files the contents as they were when this was made.
        """
        said = {
            "version": __version__,
            "recipe": self.recipe.to_dict(),
            "background_sha256": self._background,
            "source": self.meshes.describe(),
            "content": self.meshes.content(),
            "seed": self.seed,
            "views": self.views,
            "jpeg": self.jpeg,
            "split": {name: members.tolist() for name, members in self.split.items()},
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def name_of(self, index: int, view: int) -> str:
        """The object and the number of its view."""
        return f"view {view} of {self.objects[index]} ({self.root}, rendered on the fly)"

    def choose(
        self, seed: int, draws: Sequence[Draw], num_views: int, consecutive: bool = False
    ) -> np.ndarray:
        """See :meth:`Source.choose`; fresh views have numbers of their epoch's drawing."""
        views = choose_views(seed, draws, self.num_views, num_views, consecutive)
        if self.views == "fresh":
            views = views + self.num_views * np.array([draw.epoch for draw in draws])[:, None]
        return views

    def latents(self, index: int, views: Sequence[int]) -> np.ndarray:
        """Latent vectors of an object's views, ``(len(views), L)`` float64."""
        drawing, place = np.divmod(np.array(views), self.num_views)
        drawn = {number: self._drawing(index, number) for number in set(drawing.tolist())}
        return np.stack([drawn[d][p] for d, p in zip(drawing.tolist(), place, strict=True)])

    def _drawing(self, index: int, number: int) -> np.ndarray:
        """One drawing of an object's latents; the last used are kept."""
        key = index, number
        if key not in self._drawn:
            words = object_seed(self.seed, self.objects[index])
            # the stored views are the first drawing, whose seed names no number
            seed = [*words, number] if number else words
            self._drawn[key] = sample_latents(self.recipe, seed)
            if len(self._drawn) > _DRAWINGS:
                self._drawn.popitem(last=False)
        self._drawn.move_to_end(key)
        return self._drawn[key]

    def read(
        self, index: int, views: Sequence[int]
    ) -> tuple[Sequence[bytes | np.ndarray], np.ndarray]:
        """See :meth:`Source.read`."""
        latents = self.latents(index, views)
        images = self._prepared(index).render(latents)
        return [encode_jpeg(image) for image in images] if self.jpeg else list(images), latents

    def _prepared(self, index: int) -> PreparedMesh:
        """An object ready to render; the last used are kept, up to the limit."""
        if self._process != os.getpid():  # nothing of Embree is carried over a fork
            self._forget()
        if self._renderer is None:
            self._renderer = EmbreeRenderer(self.recipe)
        if index in self._ready:
            self._ready.move_to_end(index)
            return self._ready[index][0]
        prepared = self._renderer.prepare(self.meshes.load(index), self.objects[index])
        size = _num_bytes(prepared)
        if size <= self._limit:
            self._ready[index] = prepared, size
            self._used += size
            while self._used > self._limit:
                self._used -= self._ready.popitem(last=False)[1][1]
        return prepared

    def _forget(self) -> None:
        self._process, self._renderer = os.getpid(), None
        self._ready, self._used, self._drawn = OrderedDict(), 0, OrderedDict()


def _num_bytes(prepared: PreparedMesh) -> int:
    arrays = (prepared.vertices, prepared.far_material, *prepared.faces)
    held = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
    return held + _TREE * len(prepared.faces.material)
