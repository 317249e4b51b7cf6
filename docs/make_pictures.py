"""Render the pictures of the pages on data: ``python -m docs.make_pictures``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from data_gen.latents import sample_latents
from data_gen.lidar.preview import sheet as sweeps_from_above
from data_gen.lidar.recipe import LidarRecipe
from data_gen.lidar.simulate import simulate
from data_gen.recipe import Recipe
from data_gen.render import EmbreeRenderer
from data_gen.sources import ProceduralSource
from data_gen.work import object_seed

ROOT = Path(__file__).parents[1]
CLASSES = ("airplane", "telephone", "bookshelf", "train", "bicycle", "mug", "bus", "camera")
GAP = 4


def recipe_of(name: str, **changes: object) -> Recipe:
    """The recipe of a configuration, for pictures of this page's size."""
    entries = yaml.safe_load((ROOT / "configs" / "data" / f"{name}.yaml").read_text())["recipe"]
    return Recipe.from_dict({**entries, "image_size": 160, **changes})


def tiled(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> Image.Image:
    """Pictures ``(S, S, 3)`` in rows, on white."""
    size = rows[0][0].shape[0]
    height, width = len(rows) * (size + GAP) - GAP, len(rows[0]) * (size + GAP) - GAP
    sheet = np.full((height, width, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            top, left = y * (size + GAP), x * (size + GAP)
            sheet[top : top + size, left : left + size] = picture
    return Image.fromarray(sheet)


def views(recipe: Recipe, index: int, number: int) -> NDArray[np.uint8]:
    """The first views of an object of the set."""
    source = ProceduralSource(len(CLASSES), CLASSES)
    latents = sample_latents(recipe, object_seed(0, "/".join(source.ref(index))))[:number]
    return EmbreeRenderer(recipe).render(source.load(index), latents)


def save(name: str, sheet: Image.Image) -> None:
    """Write a picture of the page."""
    sheet.save(ROOT / "docs" / "images" / f"{name}.jpg", quality=90)


def main() -> None:
    """Render every picture."""
    sweeps = [next(simulate(LidarRecipe(), 0, sequence, 1)) for sequence in range(4)]
    save("lidar_sweeps", sweeps_from_above(sweeps, 480))
    for name in ("3diebench", "3diebench_t", "3diebench_ood_published", "3diebench_ood"):
        recipe = recipe_of(name)
        pictures = [views(recipe, index, 1)[0] for index in range(len(CLASSES))]
        save(name, tiled([pictures[:4], pictures[4:]]))
    orbit, path = views(recipe_of("orbit"), 6, 36), views(recipe_of("trajectory"), 7, 24)
    save("orbit_and_trajectory", tiled([list(orbit[:32:4]), list(path[:24:3])]))
    recipe = recipe_of("3diebench", image_size=160)
    source = ProceduralSource(len(CLASSES), CLASSES)
    latents = sample_latents(recipe, object_seed(0, "/".join(source.ref(7))))[:1]
    found = (
        EmbreeRenderer(recipe)
        .prepare(source.load(7))
        .render_outputs(latents, ["depth", "normals", "mask"])
    )
    near, far = found["depth"][0].min(), found["depth"][0].max()
    depth = np.repeat(((far - found["depth"][0]) / (far - near))[..., None], 3, axis=2)
    normals = (found["normals"][0] + 1) / 2
    mask = np.repeat(found["mask"][0][..., None], 3, axis=2)
    bytes_of = [(255 * picture).astype(np.uint8) for picture in (depth, normals, mask)]
    film = EmbreeRenderer(recipe_of("3diebench", view="filmic")).render(source.load(7), latents)
    plain = recipe_of("3diebench", background=[1.0, 1.0, 1.0])
    white = EmbreeRenderer(plain).render(source.load(7), latents)
    save("outputs", tiled([[found["image"][0], *bytes_of, film[0], white[0]]]))


if __name__ == "__main__":
    main()
