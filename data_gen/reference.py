"""Files of reference pictures: ``python -m data_gen.reference OUT.npz`` has Cycles make one.

A file holds, for each of any number of meshes, ``NAME/vertices (N, 3)``, ``NAME/faces (F, 3)``,
``NAME/latents (V, 7 or 10)`` and ``NAME/images (V, S, S, 3)`` uint8: pictures of the mesh at these
latents. Further entries may be missing: ``NAME/colors (F, 3)`` linear RGB of the faces (grey, 0.6),
``NAME/normals (F, 3, 3)`` of the faces' corners (flat shading), ``NAME/view`` of the recipe
(``standard``). All else is 3DIEBench's recipe, or 3DIEBench-T's where latents have 10 columns.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_gen.cycles import CyclesRenderer
from data_gen.latents import sample_latents
from data_gen.mesh import GREY, Material, Mesh
from data_gen.mesh_sources import MeshFolderSource
from data_gen.procedural import CLASSES
from data_gen.recipe import Recipe
from data_gen.render.surface import faces_of
from data_gen.sources import ObjectSource, ProceduralSource
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write

_ARRAYS = ("vertices", "faces", "latents", "images")


@dataclass(frozen=True, eq=False)
class Reference:
    """A mesh of a reference file, with the pictures to match.

    Attributes:
        name: What it is called in the file.
        mesh: A material for each colour, no textures.
        latents: ``(V, L)`` float64.
        images: ``(V, S, S, 3)`` uint8.
        view: Of the recipe.
    """

    name: str
    mesh: Mesh
    latents: NDArray[np.float64]
    images: NDArray[np.uint8]
    view: str = "standard"

    @property
    def recipe(self) -> Recipe:
        """What the pictures show."""
        make = Recipe.diebench if self.latents.shape[1] == 7 else Recipe.diebench_t
        return make(image_size=self.images.shape[1], num_views=len(self.images), view=self.view)


def read(path: str | Path) -> list[Reference]:
    """Read a reference file.

    Raises:
        UserError: it is missing, damaged, or not laid out as the module describes.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} is not a readable .npz of plain arrays: copy or make it again"
        ) from error
    names = sorted({key.rpartition("/")[0] for key in arrays})
    if not names:
        raise UserError(f"{path} holds no arrays: give NAME/{{{','.join(_ARRAYS)}}}")
    return [_reference(f"{path}: {name or '(no name)'}", name, arrays) for name in names]


def write(path: str | Path, references: Sequence[Reference]) -> None:
    """Write a reference file, whole or not at all, from meshes as :func:`storable` makes them."""
    arrays: dict[str, Any] = {}
    for reference in references:
        mesh = reference.mesh
        entries: dict[str, Any] = {
            "vertices": mesh.vertices,
            "faces": mesh.faces,
            "latents": reference.latents,
            "images": reference.images,
        }
        if any(not np.array_equal(material.color, GREY.color) for material in mesh.materials):
            colors = np.stack([material.color for material in mesh.materials])
            entries["colors"] = colors[mesh.face_material]
        if mesh.corner_normals is not None:
            entries["normals"] = mesh.corner_normals
        if reference.view != "standard":
            entries["view"] = np.array(reference.view)
        arrays |= {f"{reference.name}/{key}": value for key, value in entries.items()}
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)


def storable(mesh: Mesh, grey: bool = False) -> Mesh:
    """A mesh as a file can hold it: textures become their mean, on request all becomes grey."""
    materials = tuple(Material(color) for color in faces_of(mesh)[1])
    if grey:
        materials = (GREY,) * len(materials)
    return replace(mesh, materials=materials, corner_uv=None)


def _reference(where: str, name: str, arrays: Mapping[str, NDArray[Any]]) -> Reference:
    missing = [key for key in _ARRAYS if f"{name}/{key}" not in arrays]
    if missing:
        raise UserError(f"{where} lacks {', '.join(missing)}: give NAME/{{{','.join(_ARRAYS)}}}")
    vertices, faces, latents, images = (arrays[f"{name}/{key}"] for key in _ARRAYS)
    for key, array, kinds in (("vertices", vertices, "f"), ("faces", faces, "iu")):
        if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in kinds:
            raise UserError(f"{where}/{key} is {array.dtype} of shape {array.shape}: give (N, 3)")
    if latents.ndim != 2 or latents.shape[1] not in (7, 10) or latents.dtype.kind != "f":
        raise UserError(f"{where}/latents has shape {latents.shape}: give (V, 7) or (V, 10) floats")
    if len(latents) == 0:
        raise UserError(f"{where} holds no pictures: give at least one view")
    views = len(latents)
    size = images.shape[1] if images.ndim == 4 else 0
    if images.shape != (views, size, size, 3) or images.dtype != np.uint8 or size < 8:
        raise UserError(
            f"{where}/images is {images.dtype} of shape {images.shape}: "
            f"give ({views}, S, S, 3) uint8, one for each latent vector, S >= 8"
        )
    if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise UserError(f"{where}/faces names a vertex that does not exist: export it again")
    mesh = Mesh.plain(vertices.astype(np.float32), faces.astype(np.int32))
    num = len(faces)
    for key, shape in (("colors", (num, 3)), ("normals", (num, 3, 3))):
        if f"{name}/{key}" not in arrays:
            continue
        array = arrays[f"{name}/{key}"]
        if array.shape != shape or array.dtype.kind != "f":
            raise UserError(f"{where}/{key} has shape {array.shape}: give {shape} floats")
        array = np.asarray(array, np.float32)
        if key == "colors":
            colors, material = np.unique(array, axis=0, return_inverse=True)
            mesh = replace(
                mesh,
                materials=tuple(Material(color) for color in colors),
                face_material=material.reshape(-1).astype(np.int32),
            )
        else:
            mesh = replace(mesh, corner_normals=array)
    mesh.check(where)
    view = arrays.get(f"{name}/view", np.array("standard"))
    if view.shape != () or str(view) not in ("standard", "filmic"):
        raise UserError(f"{where}/view is {view}: give 'standard' or 'filmic'")
    return Reference(name, mesh, latents.astype(np.float64), images.astype(np.uint8), str(view))


def make(
    source: ObjectSource, recipe: Recipe, seed: int = 0, grey: bool = False, samples: int = 100
) -> list[Reference]:
    """Have Cycles render every object of a source at latents drawn from a recipe.

    Raises:
        UserError: Blender's Python module is not installed, or an object cannot be rendered.
    """
    renderer = CyclesRenderer(recipe, samples)
    references = []
    for index in range(len(source)):
        name = "-".join(source.ref(index))
        mesh = storable(source.load(index), grey)
        latents = sample_latents(recipe, (seed, index))
        images = renderer.prepare(mesh, name).render(latents)
        references.append(Reference(name, mesh, latents, images, recipe.view))
        print(f"{name}: {len(images)} pictures", flush=True)
    return references


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code: 0, or 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m data_gen.reference", description=__doc__)
    parser.add_argument("out", metavar="OUT.npz")
    parser.add_argument("--objects", default="procedural", help="procedural, or a folder of meshes")
    parser.add_argument("--classes", nargs="+", metavar="CLASS", help="by default all")
    parser.add_argument("--num-objects", type=int, help="procedural ones; one a class by default")
    parser.add_argument("--views", type=int, default=2, help="of each object")
    parser.add_argument("--image-size", type=int, default=256, metavar="PIXELS")
    parser.add_argument("--translation", action="store_true", help="3DIEBench-T's recipe")
    parser.add_argument("--view", default="standard", help="standard or filmic")
    parser.add_argument("--grey", action="store_true", help="paint every object grey")
    parser.add_argument("--seed", type=int, default=0, help="of objects and latents")
    parser.add_argument("--samples", type=int, default=100, help="paths a pixel")
    parser.add_argument("--add", action="store_true", help="to what the file holds")
    options = parser.parse_args(arguments)
    try:
        references = read(options.out) if options.add else []
        source: ObjectSource
        if options.objects == "procedural":
            classes = options.classes or CLASSES
            number = len(classes) if options.num_objects is None else options.num_objects
            source = ProceduralSource(number, classes, options.seed)
        else:
            source = MeshFolderSource(options.objects, options.classes)
        recipe = (Recipe.diebench_t if options.translation else Recipe.diebench)(
            image_size=options.image_size, num_views=options.views, view=options.view
        )
        made = make(source, recipe, options.seed, options.grey, options.samples)
        names = {reference.name for reference in made}
        kept = [reference for reference in references if reference.name not in names]
        write(options.out, [*kept, *made])
        return 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
