"""Compare the renderer with reference pictures: ``python -m data_gen.compare FILE.npz``.

The file holds, for each of any number of meshes, ``NAME/vertices (N, 3)``, ``NAME/faces (F, 3)``,
``NAME/latents (V, 7 or 10)`` and ``NAME/images (V, S, S, 3)`` uint8: pictures of the mesh in grey
(albedo 0.6), rendered by the reference at these latents. A line for each picture tells the
structural similarity (SSIM, mean over channels) and the mean absolute error in 8-bit steps, over
the whole picture and over object, shadow and remaining floor apart.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_gen.mesh import Mesh
from data_gen.recipe import Recipe
from data_gen.render import EmbreeRenderer
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write

_ARRAYS = ("vertices", "faces", "latents", "images")
_SHADOW_STEP = 2  # 8-bit steps by which a shadow must change the floor to count as one
_GAIN = 8  # of the difference in the side-by-side picture

U8 = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Reference:
    """A mesh of a reference file, with the pictures to match."""

    name: str
    mesh: Mesh
    latents: NDArray[np.float64]
    images: U8


@dataclass(frozen=True, eq=False)
class Comparison:
    """A picture beside its reference.

    Attributes:
        name: ``MESH/VIEW``.
        ssim: Structural similarity, 1 for identical pictures.
        errors: Mean absolute error in 8-bit steps over ``all``, ``object``, ``shadow`` and
            ``floor``; a region that does not show has none.
        image, reference: ``(S, S, 3)``.
    """

    name: str
    ssim: float
    errors: dict[str, float]
    image: U8
    reference: U8

    def __str__(self) -> str:
        parts = [f"{region} {error:.2f}" for region, error in self.errors.items()]
        return f"{self.name:<16} SSIM {self.ssim:.4f}  error {'  '.join(parts)}"


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


def _reference(where: str, name: str, arrays: dict[str, NDArray[np.generic]]) -> Reference:
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
    mesh.check(where)
    return Reference(name, mesh, latents.astype(np.float64), images.astype(np.uint8))


def compare(reference: Reference) -> Iterator[Comparison]:
    """Render the views of a reference and compare each.

    Raises:
        UserError: scikit-image, which measures SSIM, is not installed.
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise UserError("comparing needs scikit-image: pip install 'ssl-equiv[dev]'") from error
    similarity: Callable[..., float] = structural_similarity
    size = reference.images.shape[1]
    make = Recipe.diebench if reference.latents.shape[1] == 7 else Recipe.diebench_t
    renderer = EmbreeRenderer(make(image_size=size))
    images, mask = renderer.prepare(reference.mesh, reference.name).render(
        reference.latents, return_mask=True
    )
    # a speck in the object's place shows the floor as it is without it
    speck = Mesh.plain(np.eye(3) * 1e-4, np.array([[0, 1, 2]]))
    empty = renderer.render(speck, reference.latents)
    changed = np.abs(images.astype(np.int16) - empty).max(axis=3) > _SHADOW_STEP
    for view, (image, target) in enumerate(zip(images, reference.images, strict=True)):
        distance = np.abs(image.astype(np.float64) - target).mean(axis=2)
        regions = {
            "all": np.ones_like(mask[view]),
            "object": mask[view],
            "shadow": changed[view] & ~mask[view],
            "floor": ~changed[view] & ~mask[view],
        }
        errors = {
            name: float(distance[region].mean()) for name, region in regions.items() if region.any()
        }
        ssim = float(similarity(image, target, channel_axis=2, data_range=255))
        yield Comparison(f"{reference.name}/{view}", ssim, errors, image, target)


def side_by_side(comparisons: Sequence[Comparison]) -> U8:
    """One row a picture: ours, the reference, and their difference, eight times over grey."""
    width = max(comparison.image.shape[0] for comparison in comparisons)
    rows = []
    for c in comparisons:
        difference = 128 + _GAIN * (c.image.astype(np.int32) - c.reference)
        row = [c.image, c.reference, np.clip(difference, 0, 255).astype(np.uint8)]
        pad = width - c.image.shape[0]
        rows.append(np.concatenate([np.pad(p, ((0, 0), (0, pad), (0, 0))) for p in row], axis=1))
    return np.concatenate(rows)


def run(path: str, min_ssim: float, picture: str | None) -> bool:
    """Compare all pictures of a file and print a line each; whether all reach ``min_ssim``."""
    if picture is not None and not Path(picture).absolute().parent.is_dir():
        raise UserError(f"the folder of {picture} does not exist: make it or choose another")
    comparisons: list[Comparison] = []
    for reference in read(path):
        for comparison in compare(reference):
            low = "  below the threshold" if comparison.ssim < min_ssim else ""
            print(f"{comparison}{low}", flush=True)
            comparisons.append(comparison)
    scores = [comparison.ssim for comparison in comparisons]
    if picture is not None:
        with atomic_write(picture) as file:
            Image.fromarray(side_by_side(comparisons)).save(file, "PNG")
    verdict = "all at least" if min(scores) >= min_ssim else "not all at least"
    print(
        f"{len(scores)} pictures: SSIM {min(scores):.4f} to {max(scores):.4f}, "
        f"mean {np.mean(scores):.4f}; {verdict} {min_ssim:g}"
    )
    return min(scores) >= min_ssim


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code: 0, 1 below the threshold, 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m data_gen.compare", description=__doc__)
    parser.add_argument("file", help="reference pictures (.npz)")
    parser.add_argument("--min-ssim", type=float, default=0.985, metavar="SSIM")
    parser.add_argument("--picture", metavar="OUT.png", help="write a side-by-side picture")
    options = parser.parse_args(arguments)
    try:
        return 0 if run(options.file, options.min_ssim, options.picture) else 1
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
