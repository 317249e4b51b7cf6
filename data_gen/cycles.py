"""The reference renderer: the same scene, objects and latents through Blender's Cycles.

It takes seconds for a picture where ``data_gen.render`` takes milliseconds, and is there to check
it. Blender's Python module is an extra: ``pip install 'ssl-equiv[blender]'``, Python 3.11.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_gen import blender
from data_gen.blender import Placement
from data_gen.mesh import Mesh
from data_gen.recipe import Recipe
from data_gen.render.background import Background
from ssl_equiv.errors import UserError

# Blender keeps one scene for the whole process: whose it is, and who may change it
_lock = threading.Lock()
_shown: CyclesMesh | None = None


class CyclesRenderer:
    """Renders the views of a recipe's scene with Cycles on the CPU, denoised, seed fixed.

    Any number of renderers and meshes may be used in turn; Blender's scene is made anew when
    another mesh is to be shown. It belongs to the process: threads wait for each other, and a
    forked child must not use what its parent used (spawned ones may).

    Args:
        recipe: The scene and what varies in it.
        samples: Paths traced for each pixel.

    Raises:
        UserError: Blender's Python module is not installed, or the recipe's background cannot be
            read.
    """

    def __init__(self, recipe: Recipe, samples: int = 100) -> None:
        if samples < 1:
            raise UserError(f"samples is {samples}: trace at least 1 path for each pixel")
        blender.load()
        self.recipe, self.samples = recipe, samples
        self.background = None if recipe.background is None else Background(recipe)

    def prepare(self, mesh: Mesh, name: str = "mesh") -> CyclesMesh:
        """Check a mesh; as ``EmbreeRenderer.prepare``.

        Raises:
            UserError: the mesh cannot be rendered; the message calls it ``name``.
        """
        mesh.check(name)
        return CyclesMesh(self, mesh)

    def render(self, mesh: Mesh, latents: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Render the views ``latents (V, L)`` of ``mesh``: ``(V, H, W, 3)`` uint8 sRGB.

        Raises:
            UserError: the mesh cannot be rendered, or the latents do not fit the recipe.
        """
        return self.prepare(mesh).render(latents)


class CyclesMesh:
    """A mesh that Cycles can show."""

    def __init__(self, renderer: CyclesRenderer, mesh: Mesh) -> None:
        self.renderer, self.mesh = renderer, mesh

    def render(self, latents: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Render views.

        Args:
            latents: ``(V, L)``, columns as in the recipe's schema.

        Returns:
            ``(V, H, W, 3)`` uint8 sRGB.

        Raises:
            UserError: the latents do not fit the recipe or are not finite.
        """
        global _shown
        recipe, background = self.renderer.recipe, self.renderer.background
        latents = np.asarray(latents, np.float64)
        width = len(recipe.ranges)
        if latents.ndim != 2 or latents.shape[1] != width:
            raise UserError(f"latents have shape {latents.shape}: this recipe needs (V, {width})")
        if not np.isfinite(latents).all():
            raise UserError("latents are NaN or infinite: draw them again")
        size = recipe.image_size
        images = np.empty((len(latents), size, size, 3), np.uint8)
        with _lock, tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "view.png"
            if _shown is not self:
                _shown = None
                blender.show(recipe, self.mesh, self.renderer.samples)
                _shown = self
            for image, latent in zip(images, latents, strict=True):
                backdrop = None if background is None else background.picture(latent)
                blender.render(Placement.of(recipe, latent), backdrop, path)
                with Image.open(path) as picture:
                    image[:] = np.asarray(picture)
        return images
