"""Compare a renderer with reference pictures: ``python -m data_gen.compare FILE.npz``.

``data_gen.reference`` describes the file. A line for each picture tells the structural similarity
(SSIM, mean over channels) and the mean absolute error in 8-bit steps, over the whole picture and
over object, shadow and remaining floor apart.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_gen.cycles import CyclesRenderer
from data_gen.mesh import Mesh
from data_gen.reference import Reference, read
from data_gen.render import EmbreeRenderer
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write

_SHADOW_STEP = 2  # 8-bit steps by which a shadow must change the floor to count as one
_GAIN = 8  # of the difference in the side-by-side picture

U8 = NDArray[np.uint8]


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
        return f"{self.name:<20} SSIM {self.ssim:.4f}  error {'  '.join(parts)}"


def compare(reference: Reference, renderer: str = "embree") -> Iterator[Comparison]:
    """Render the views of a reference and compare each.

    Args:
        reference: What to match.
        renderer: ``embree``, or ``cycles`` to see whether Blender still makes these pictures.

    Raises:
        UserError: scikit-image, which measures SSIM, is not installed; or Blender is not.
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise UserError("comparing needs scikit-image: pip install 'ssl-equiv[dev]'") from error
    similarity: Callable[..., float] = structural_similarity
    recipe = reference.recipe
    embree = EmbreeRenderer(recipe)
    prepared = embree.prepare(reference.mesh, reference.name)
    views = prepared.render_outputs(reference.latents, ["mask"])
    images, mask = views["image"], views["mask"]
    # a speck in the object's place shows the floor as it is without it
    speck = Mesh.plain(np.eye(3) * 1e-4, np.array([[0, 1, 2]]))
    empty = embree.render(speck, reference.latents)
    changed = np.abs(images.astype(np.int16) - empty).max(axis=3) > _SHADOW_STEP
    if renderer == "cycles":
        images = CyclesRenderer(recipe).render(reference.mesh, reference.latents)
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


def run(path: str, min_ssim: float, picture: str | None, renderer: str = "embree") -> bool:
    """Compare all pictures of a file and print a line each; whether all reach ``min_ssim``."""
    if picture is not None and not Path(picture).absolute().parent.is_dir():
        raise UserError(f"the folder of {picture} does not exist: make it or choose another")
    comparisons: list[Comparison] = []
    for reference in read(path):
        for comparison in compare(reference, renderer):
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
    parser.add_argument("--renderer", choices=["embree", "cycles"], default="embree")
    options = parser.parse_args(arguments)
    try:
        good = run(options.file, options.min_ssim, options.picture, options.renderer)
        return 0 if good else 1
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
