"""What a rendering process does: an object in, its encoded views out.

Nothing here imports torch: such a process starts quickly and stays small.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from PIL import Image

from data_gen.latents import sample_latents
from data_gen.mesh import Mesh
from data_gen.recipe import Recipe
from data_gen.sources import ObjectSource
from ssl_equiv.data.geometry import encode
from ssl_equiv.errors import UserError

RENDERERS = ("embree", "cycles")
TOLD = ("mesh_sha256", "named_sha256", "warnings")
"""What a description may tell of the files that an object was read from."""
_JPEG_QUALITY = 95
_VIEWS_AT_ONCE = 8  # pictures and outputs of so many views are held before they are encoded


@dataclass(frozen=True)
class RenderedObject:
    """One object as it is stored.

    Args:
        index: Position in the data set.
        class_name: Its class.
        object_id: Its name within the class.
        label: Class number.
        latents: ``(V, L)`` float64.
        images: V encoded JPEG files; none where the object failed.
        outputs: V encoded PNG files of each further output.
        told: What else its description says: ``mesh_sha256``, the digest of the mesh file,
            ``named_sha256``, those of the files that it names, ``warnings`` of its loader.
        failed: Why the object could not be rendered, or None.
    """

    index: int
    class_name: str
    object_id: str
    label: int
    latents: np.ndarray
    images: Sequence[bytes]
    outputs: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    failed: str | None = None

    @property
    def name(self) -> str:
        """``class/object``."""
        return f"{self.class_name}/{self.object_id}"


class Renderer(Protocol):
    """What draws a recipe's scene."""

    def prepare(self, mesh: Mesh, name: str = ...) -> Any:
        """What all views of a mesh share; its ``render(latents)`` gives ``(V, H, W, 3)`` uint8, and
        where outputs are drawn its ``render_outputs(latents, outputs)`` a dictionary of these and
        of ``image``.
        """
        ...


@dataclass(frozen=True)
class Job:
    """All that an object's bytes depend on.

    Args:
        source: The objects.
        recipe: Scene and distributions.
        seed: Seed of the latents.
        renderer: One of ``RENDERERS``.
        outputs: What is stored beside each view.
    """

    source: ObjectSource
    recipe: Recipe
    seed: int
    renderer: str = "embree"
    outputs: tuple[str, ...] = ()


def make_renderer(name: str, recipe: Recipe, outputs: Sequence[str] = ()) -> Renderer:
    """The renderer of a recipe's scene by its name; raises UserError where it cannot be had."""
    if name == "cycles":
        if outputs:
            raise UserError("outputs: cycles draws pictures alone: take --renderer embree")
        from data_gen.cycles import CyclesRenderer

        return CyclesRenderer(recipe)
    from data_gen.render import EmbreeRenderer

    return EmbreeRenderer(recipe)


class ObjectRenderer:
    """Renders single objects of a job; what goes wrong with one is recorded in its place.

    Raises:
        UserError: the renderer cannot be had, or not for this recipe.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.renderer = job, make_renderer(job.renderer, job.recipe, job.outputs)

    def __call__(self, index: int) -> RenderedObject:
        """The object, or its failure."""
        try:
            return self.render(index)
        except UserError as error:
            return failure(self.job, index, str(error))
        except Exception as error:  # a loader's or a renderer's own: whatever a mesh leads it to
            return failure(self.job, index, f"{type(error).__name__}: {error}")

    def render(self, index: int, views: Sequence[int] | None = None) -> RenderedObject:
        """The object, or some of its views.

        Raises:
            UserError: it cannot be rendered.
        """
        job = self.job
        class_name, object_id = job.source.ref(index)
        name = f"{class_name}/{object_id}"
        latents = sample_latents(job.recipe, object_seed(job.seed, name))
        if views is not None:
            latents = latents[list(views)]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            mesh = job.source.load(index)
        told: dict[str, Any] = {}
        if digests := job.source.digests(index):
            (_, told["mesh_sha256"]), *named = digests.items()
            told |= {"named_sha256": dict(named)} if named else {}
        if texts := [str(w.message) for w in caught if issubclass(w.category, UserWarning)]:
            told["warnings"] = [_one_line(job, text) for text in dict.fromkeys(texts)]
        prepared = self.renderer.prepare(mesh, name)
        found: dict[str, list[bytes]] = {what: [] for what in ("image", *job.outputs)}
        for first in range(0, len(latents), _VIEWS_AT_ONCE):
            some = latents[first : first + _VIEWS_AT_ONCE]
            if job.outputs:
                arrays = prepared.render_outputs(some, job.outputs)
            else:
                arrays = {"image": prepared.render(some)}
            for what, files in found.items():
                for array in arrays[what]:
                    files.append(encode_jpeg(array) if what == "image" else encode(what, array))
        return RenderedObject(
            index=index,
            class_name=class_name,
            object_id=object_id,
            label=job.source.classes.index(class_name),
            latents=latents,
            images=found.pop("image"),
            outputs=found,
            told=told,
        )

    def warm(self) -> None:
        """Compile the kernels, which are then cached for all processes."""
        if self.job.renderer != "embree":
            return
        corners = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
        faces = np.array([(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)])
        latents = sample_latents(self.job.recipe, 0)[:1]
        mesh = Mesh.plain(corners, faces).normalized()
        self.renderer.prepare(mesh).render(latents)


def encode_jpeg(image: np.ndarray) -> bytes:
    """An ``(H, W, 3)`` uint8 image as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def object_seed(seed: int, name: str) -> list[int]:
    """Seed words of an object's latents: they depend on its name, not on its place."""
    return [seed, *np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint32).tolist()]


def failure(job: Job, index: int, reason: str) -> RenderedObject:
    """The record of an object that could not be rendered."""
    class_name, object_id = job.source.ref(index)
    return RenderedObject(
        index=index,
        class_name=class_name,
        object_id=object_id,
        label=job.source.classes.index(class_name),
        latents=np.empty((0, len(job.recipe.ranges))),
        images=[],
        outputs={name: [] for name in job.outputs},
        failed=_one_line(job, reason),
    )


def _one_line(job: Job, text: str) -> str:
    """A message as it is stored: one line, which does not tell where the meshes lie."""
    root = job.source.describe().get("root")
    return " ".join((text.replace(f"{root}/", "") if root else text).split())
