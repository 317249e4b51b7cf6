"""The pictures of the pages: ``python -m docs.make_pictures [data] [concepts] [notebooks]``.

``data`` renders those of the pages on data; ``concepts`` pretrains for a minute and draws those of
concepts.md and of the README; ``notebooks`` executes the notebooks, keeps their outputs in
them and copies the pictures of cells tagged ``picture=NAME``.
"""

from __future__ import annotations

import base64
import sys
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
from ssl_equiv.files import atomic_write

ROOT = Path(__file__).parents[1]
CLASSES = ("airplane", "telephone", "bookshelf", "train", "bicycle", "mug", "bus", "camera")
PICTURES_OF_NOTEBOOKS = {
    "what_does_equivariance_look_like": ("equivariance_orbits", "equivariance_rings"),
    "bring_your_own_objects": ("own_objects",),
}
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


def data() -> None:
    """Render the pictures of the pages on data."""
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


def concepts() -> None:
    """Pretrain a small network and draw what it has learnt."""
    from docs.concept_pictures import draw_all  # draws with what only this needs

    draw_all(ROOT / "docs" / "images")


def notebooks() -> None:
    """Execute the notebooks in place, and copy the pictures that the pages show."""
    import nbformat
    from nbclient import NotebookClient

    for name in PICTURES_OF_NOTEBOOKS:
        path = ROOT / "notebooks" / f"{name}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, kernel_name="python3", record_timing=False).execute()
        with atomic_write(path) as file:
            file.write((nbformat.writes(notebook).rstrip() + "\n").encode())
        for picture, content in pictures_of(path).items():
            (ROOT / "docs" / "images" / f"{picture}.jpg").write_bytes(content)


def pictures_of(path: Path) -> dict[str, bytes]:
    """The JPEG output of each cell of a notebook that is tagged ``picture=NAME``, by its name."""
    import nbformat

    found = {}
    for cell in nbformat.read(path, as_version=4).cells:
        for tag in cell.metadata.get("tags", ()):
            if tag.startswith("picture="):
                shown = [
                    o.data["image/jpeg"] for o in cell.outputs if "image/jpeg" in o.get("data", {})
                ]
                found[tag.removeprefix("picture=")] = base64.b64decode(shown[-1])
    return found


def main() -> None:
    """Make the pictures that are named, or all."""
    known = {"data": data, "concepts": concepts, "notebooks": notebooks}
    for name in sys.argv[1:] or known:
        known[name]()


if __name__ == "__main__":
    main()
