"""The renderer: one Embree tree per mesh, rays turned into the object's frame for every view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from data_gen.mesh import Mesh
from data_gen.recipe import Recipe
from data_gen.render import ambient, floor, simplify, spot, surface
from data_gen.render.background import Background
from data_gen.render.color import TABLE_STEPS, display_table, texel_table
from data_gen.render.outputs import Geometry, Outputs
from data_gen.render.rays import F32, I32, Rays
from data_gen.render.sampling import interleaved_disc, pixel_offsets
from data_gen.render.view import View
from data_gen.scene import Camera
from ssl_equiv.data.geometry import OUTPUTS
from ssl_equiv.errors import UserError

_DENSE = 60_000  # faces above which shadows are traced against a coarser mesh
_CELLS = 112  # cells of that mesh along the object's diameter, where pixels are no finer
_SHARP_SUN = 0.5  # angle of a sun whose shadow needs the fine grid
_LARGEST = 1e4  # radius that single precision can serve


@dataclass(frozen=True)
class Quality:
    """How many rays go where; the defaults are what the tests and benchmarks measure.

    Attributes:
        edge_samples: Samples of a pixel at an edge; all others get one.
        contrast: Step in the square root of a channel that makes an edge within the object.
        floor_spot_rays: Rays to the lamp from a point of the floor's fine grid (four patterns of
            so many interleave).
        overhead_rays: Rays to sun and sky from a point of the floor's coarse grid.
        penumbra_rays: Further rays to the lamp from a pixel that is neither lit nor dark.
        sun, sky, ground: Directions around a probe.
        block: Pixels along the side of a probe's block.
        fine, coarse: Cells of the floor's grids across the picture.
    """

    edge_samples: int = 8
    contrast: float = 0.08
    floor_spot_rays: int = 8
    overhead_rays: int = 64
    penumbra_rays: int = 8
    sun: int = 16
    sky: int = 8
    ground: int = 24
    block: int = 5
    fine: int = 64
    coarse: int = 16


class EmbreeRenderer:
    """Renders the views of a recipe's scene.

    What does not depend on the object is computed once here. Rendering is single-threaded and
    deterministic: a view's bytes depend on its mesh, its latents and the recipe alone, whatever
    views are rendered with it. It keeps no state between views, so threads may share a renderer;
    processes scale better.

    Args:
        recipe: The scene and what varies in it.
        quality: Numbers of rays.

    Raises:
        UserError: the recipe's background cannot be read.
    """

    def __init__(self, recipe: Recipe, quality: Quality | None = None) -> None:
        self.recipe = recipe
        self.quality = quality = quality or Quality()
        self.camera = Camera.of(recipe)
        # the kernels count in single precision
        self.focal = np.float32(self.camera.focal)
        self.footprint = np.float32(1 / self.camera.focal)
        self.radius = np.float32(recipe.light_radius)
        # floor
        self.spacing = max(2, math.ceil(recipe.image_size / quality.fine))
        self.points = floor.grid_points(self.camera, recipe.floor_z, self.spacing)
        cells = len(self.points) - 1
        step = 1 if recipe.sun_angle < _SHARP_SUN else max(1, round(cells / quality.coarse))
        self.step = max(s for s in range(1, step + 1) if cells % s == 0)
        self.coarse_points = np.ascontiguousarray(self.points[:: self.step, :: self.step])
        self.horizon = floor.horizon_mask(self.camera)
        self.overhead, self.overhead_weights = floor.overhead_directions(
            recipe, quality.overhead_rays
        )
        # lamp
        self.spot = spot.spot_constants(recipe)
        self.floor_disc = interleaved_disc(quality.floor_spot_rays, 4)
        self.object_disc = interleaved_disc(1, 4)
        self.penumbra_disc = interleaved_disc(quality.penumbra_rays, 4)
        self.edge_disc = interleaved_disc(1, 8)
        # light from all around
        self.around, self.solid, self.num_up = ambient.directions(
            recipe, quality.sun, quality.sky, quality.ground
        )
        self.sky = ambient.sky_radiance(recipe, self.around)
        self.open_table = ambient.open_irradiance(recipe)
        # pixels and bytes
        self.centre = np.zeros((1, 2), np.float32)
        self.offsets = pixel_offsets(quality.edge_samples)
        self.curve = display_table(recipe.view)
        self.bytes = np.round(self.curve).astype(np.uint8)
        self.linear = texel_table()
        # background
        self.background = None if recipe.background is None else Background(recipe)
        self.shown_texels = self.shown(self.linear)

    def shown(self, light: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Bytes of linear light under the recipe's view, any shape."""
        entries = np.rint(light * np.float32(TABLE_STEPS)).astype(np.int64)
        shown: NDArray[np.uint8] = self.bytes[np.minimum(entries, len(self.bytes) - 1)]
        return shown

    @cached_property
    def behind(self) -> Geometry:
        """Depth and normals where the object is not: the floor's, or nothing's."""
        if self.background is not None:
            return Geometry.of_nothing(self.recipe.image_size)
        return Geometry.of_floor(self.camera, self.recipe.floor_z)

    def prepare(self, mesh: Mesh, name: str = "mesh") -> PreparedMesh:
        """Build what all views of a mesh share.

        Args:
            mesh: Shown at its own scale, centred on its bounding box.
            name: What an error message calls it.

        Raises:
            UserError: the mesh cannot be rendered.
        """
        mesh.check(name)
        low, high = mesh.bounds
        if float(np.abs([low, high]).max()) > _LARGEST:
            raise UserError(f"mesh {name}: it reaches {_LARGEST:g} units far; normalise it first")
        return PreparedMesh(self, mesh, name)

    def render(self, mesh: Mesh, latents: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Render the views ``latents (V, L)`` of ``mesh``: ``(V, H, W, 3)`` uint8 sRGB.

        Raises:
            UserError: the mesh cannot be rendered, or the latents do not fit the recipe.
        """
        return self.prepare(mesh).render(latents)


class PreparedMesh:
    """A mesh with its ray tracing tree, ready for any number of views.

    Attributes:
        renderer: Where the scene is described.
        vertices: ``(3, N)``, the bounding box centred on the origin.
        faces: The surface for the kernels; ``means (M, 3)`` albedo of its materials and
            ``mean_albedo (3,)`` of all of it.
        ball: ``(4,)`` centre and radius of a sphere around it.
        lift: Distance from the surface at which rays to the lights start.
        far_material: Material of each face of the mesh that casts shadows.
    """

    def __init__(self, renderer: EmbreeRenderer, mesh: Mesh, name: str) -> None:
        self.renderer = renderer
        pixel = renderer.recipe.camera_r / renderer.camera.focal
        low, high = mesh.bounds
        vertices = np.ascontiguousarray(mesh.vertices - (low + high) / 2, np.float32)
        faces = np.ascontiguousarray(mesh.faces, np.int32)
        radius = math.sqrt(float((vertices * vertices).sum(axis=1).max()))
        self.vertices = np.ascontiguousarray(vertices.T)
        self.ball = np.array([0, 0, 0, radius * 1.001], np.float32)
        self.lift = np.float32(1e-4 * radius)
        self.faces, self.means = surface.faces_of(mesh)
        vertices, faces, kept = simplify.untangle(vertices, faces, pixel, name)
        if kept is not None:
            self.faces = self.faces.take(kept)
        self.mean_albedo = surface.mean_albedo(vertices, faces, self.faces.material, self.means)
        self._scene = _scene(vertices, faces)
        # shadows and bounced light blur: on a dense mesh they are traced against a coarser one
        self._far_scene, self.far_material = self._scene, self.faces.material
        if len(faces) > _DENSE:
            cell = min(1.25 * pixel, 2 * radius / _CELLS)
            vertices, coarse, which = simplify.cluster(vertices, faces, cell)
            if 2 * len(coarse) < len(faces):
                self._far_scene = _scene(vertices, coarse)
                self.far_material = np.ascontiguousarray(self.faces.material[which])
                self.lift = np.float32(0.75 * cell)

    def render(self, latents: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Render the views ``latents (V, L)``: ``(V, H, W, 3)`` uint8 sRGB.

        Raises:
            UserError: the latents do not fit the recipe or are not finite.
        """
        return self.render_outputs(latents, ())["image"]

    def render_outputs(
        self, latents: NDArray[np.floating], outputs: Sequence[str] = OUTPUTS
    ) -> dict[str, NDArray[Any]]:
        """Render views, and tell what the same rays know besides colours.

        The object hides what is behind it; its part below the floor does not show. Where the
        recipe has a background, the floor's place counts as empty.

        Args:
            latents: ``(V, L)``, columns as in the recipe's schema.
            outputs: Any of ``depth``, ``normals``, ``mask``.

        Returns:
            ``image (V, H, W, 3)`` uint8 sRGB and, as asked, at the centres of pixels:
            ``depth (V, H, W)`` float32, along the camera's forward axis, of object or floor,
            infinite where there is nothing; ``normals (V, H, W, 3)`` float32, unit vectors in the
            camera's frame (x right, y down, z forward) on the side that is seen, the object's as
            it is shaded, 0 where there is nothing; ``mask (V, H, W)`` bool, where the object is.

        Raises:
            UserError: the latents do not fit the recipe or are not finite, an output is unknown,
                or the background of a view cannot be read.
        """
        recipe = self.renderer.recipe
        latents = np.asarray(latents, np.float64)
        width = len(recipe.ranges)
        if latents.ndim != 2 or latents.shape[1] != width:
            raise UserError(f"latents have shape {latents.shape}: this recipe needs (V, {width})")
        if not np.isfinite(latents).all():
            raise UserError("latents are NaN or infinite: draw them again")
        size = recipe.image_size
        images = np.empty((len(latents), size, size, 3), np.uint8)
        asked = Outputs(outputs, len(latents), self.renderer.behind)
        for index, latent in enumerate(latents):
            view = View(self, latent)
            asked.add(index, *view.render(images[index]), view.frame)
        return {"image": images, **asked.arrays}

    def meet(self, rays: Rays) -> dict[str, NDArray[Any]]:
        """Where rays first meet the mesh: Embree's ``primID`` (-1 for nowhere), barycentric ``u``
        and ``v``, distance ``tfar`` and face normal ``Ng``.
        """
        return _meet(self._scene, rays)

    def meet_far(self, rays: Rays) -> dict[str, NDArray[Any]]:
        """As :meth:`meet`, on the mesh that casts shadows; faces index ``far_material``."""
        return _meet(self._far_scene, rays)

    def occluded(self, rays: Rays) -> I32:
        """Whether anything stands in the way of rays: ``(n,)``, -1 where nothing does."""
        if len(rays.owners) == 0:
            return np.empty(0, np.int32)
        blocked: I32 = self._far_scene.run(rays.origins, rays.directions, query="OCCLUDED")
        return blocked


def _meet(scene: EmbreeScene, rays: Rays) -> dict[str, NDArray[Any]]:
    met: dict[str, NDArray[Any]] = scene.run(
        rays.origins, rays.directions, query="INTERSECT", output=True
    )
    return met


def _scene(vertices: F32, faces: I32) -> EmbreeScene:
    scene = EmbreeScene()
    TriangleMesh(
        scene, np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32)
    )
    return scene
