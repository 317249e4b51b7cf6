"""One picture: the floor first, then the object at one ray a pixel, then more where edges are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data_gen.render import edges, floor, indirect, probes, shade, spot, surface
from data_gen.render.color import hsv
from data_gen.render.rays import AXIS, F32, I32, LIGHT, U8, UP, Hits, Rays
from data_gen.scene import rotation_matrix, spherical

if TYPE_CHECKING:
    from data_gen.render.embree import PreparedMesh

_UNDERSIDE = 0.6
"""Share of the open floor's light that the object's underside gets, seen from its shadow."""

_PER_PI = np.float32(1 / math.pi)


class View:
    """A view of a mesh in the making.

    Args:
        prepared: The mesh.
        latent: ``(L,)``, columns as in the recipe's schema.
    """

    def __init__(self, prepared: PreparedMesh, latent: NDArray[np.float64]) -> None:
        self.prepared = prepared
        self.renderer = renderer = prepared.renderer
        self.recipe = recipe = renderer.recipe
        self.size = recipe.image_size
        background = renderer.background
        self.backdrop = None if background is None else background.picture(latent)
        camera = renderer.camera
        turn = rotation_matrix(latent[:3]).T  # object frame = turn @ world - shift
        shift = latent[7:10] if len(latent) > 7 else np.zeros(3)
        light = spherical(recipe.light_r, latent[4], latent[5])
        axis = -light / recipe.light_r
        up = turn[:, 2]
        rows = [
            turn @ camera.position - shift,
            turn @ camera.right,
            turn @ camera.down,
            turn @ camera.forward,
            up,
            turn @ light - shift,
            turn @ axis,
            np.array([up @ shift - recipe.floor_z, 0, 0]),
        ]
        self.frame: F32 = np.stack(rows).astype(np.float32)
        self.turn, self.shift = turn.astype(np.float32), shift.astype(np.float32)
        self.light = light.astype(np.float32)
        # The lamp's disc faces what it lights, which from there is nearly one direction. That
        # makes spherical coordinates' other two axes its basis.
        theta, phi = latent[4], latent[5]
        across = np.array([-math.sin(phi), math.cos(phi), 0.0])
        along = spherical(1.0, theta + math.pi / 2, phi)
        basis = np.stack([across, along]) * recipe.light_radius
        self.lamp_basis = (basis @ turn.T).astype(np.float32)
        self.floor_albedo = hsv(latent[3], recipe.floor_saturation, recipe.floor_value)
        self.colour = hsv(latent[6], recipe.light_saturation, recipe.light_value)
        # radiance of the floor where neither the object nor the spot reaches it
        self.floor_open = self.floor_albedo * (renderer.open_table[-1] * _PER_PI)

    def render(self, image: U8) -> tuple[I32, Hits]:
        """Write ``image (H, W, 3)``; returns the hits of rays through pixels' centres, and the
        picture indices of these pixels.
        """
        r, size = self.renderer, self.size
        self.grid = self._floor_grid()
        if self.backdrop is not None:
            image[:] = r.shown_texels[self.backdrop]
        else:
            floor.paint(self.grid, r.spacing, r.curve, image)
            if r.horizon is not None:
                image[r.horizon] = r.shown(np.full(3, self.recipe.sky, np.float32))
        self.box = surface.screen_box(self.prepared.vertices, self.frame, r.focal, size)
        x0, y0, x1, y1 = self.box
        if x0 >= x1 or y0 >= y1:
            return np.empty(0, np.int32), Hits.empty(0)
        rows, cols = np.arange(y0, y1, dtype=np.int32), np.arange(x0, x1, dtype=np.int32)
        pixels = (rows[:, None] * size + cols).ravel()
        hits = self._trace(pixels, r.centre)
        if len(hits.rays) == 0:
            return hits.rays, hits
        self._set_probes(pixels, hits)
        light = self._irradiance(pixels, r.centre, hits)
        radiance = hits.albedo * (light * _PER_PI)
        edges.write_hits(pixels, hits.rays, radiance, r.bytes, image)
        found = np.empty(len(pixels), np.int32)
        contrast = r.quality.contrast
        n = edges.find_edges(pixels, hits.rays, radiance, self.box, size, contrast, found)
        if n:
            self._smooth_edges(found[:n], pixels, hits, light, image)
        return pixels[hits.rays], hits

    def _lamp(self, disc: F32) -> F32:
        """Points ``(patterns, K, 3)`` of the lamp, in the object's frame."""
        points: F32 = disc @ self.lamp_basis + self.frame[LIGHT]
        return points

    def _floor_grid(self) -> F32:
        """Radiance of the floor ``(G, G, 3)`` at the points of the fine grid."""
        r, p = self.renderer, self.prepared
        grid = np.empty_like(r.points)
        bare = np.empty(grid.shape[:2], np.float32)
        axis = -self.light / np.float32(self.recipe.light_r)
        spot.normal_irradiance(r.points.reshape(-1, 3), self.light, axis, r.spot, bare.ravel())
        lamp = self._lamp(r.floor_disc)
        rays = Rays.empty(bare.size * lamp.shape[1])
        n = floor.spot_shadow_rays(
            r.points,
            self.turn,
            self.shift,
            self.frame[LIGHT],
            r.radius,
            p.ball,
            lamp,
            rays,
        )
        spot_rays = rays.first(n)
        overhead = np.ascontiguousarray(r.overhead @ self.turn.T)
        rays = Rays.empty(r.coarse_points.shape[0] ** 2 * len(overhead))
        n = floor.overhead_shadow_rays(
            r.coarse_points, self.turn, self.shift, p.ball, overhead, rays
        )
        overhead_rays = rays.first(n)
        floor.radiance_grid(
            r.points,
            r.step,
            bare,
            self.light,
            spot_rays.owners,
            p.occluded(spot_rays),
            lamp.shape[1],
            overhead_rays.owners,
            p.occluded(overhead_rays),
            r.overhead_weights,
            _UNDERSIDE * p.mean_albedo * self.floor_open,
            self.floor_albedo,
            self.colour,
            grid,
        )
        return grid

    def _trace(self, pixels: I32, offsets: F32) -> Hits:
        """Trace the camera's rays through the offsets ``(K, 2)`` of pixels."""
        r, p = self.renderer, self.prepared
        rays = Rays.empty(len(pixels) * len(offsets))
        surface.camera_rays(pixels, offsets, self.frame, r.focal, self.size, rays)
        met = p.meet(rays)
        hits = Hits.empty(len(rays.owners))
        n = surface.collect(
            met["primID"],
            met["u"],
            met["v"],
            met["tfar"],
            met["Ng"],
            rays.directions,
            self.frame,
            p.faces,
            r.linear,
            hits,
        )
        return hits.take(slice(n))

    def _set_probes(self, pixels: I32, hits: Hits) -> None:
        """Choose probes among the hits of one ray a pixel and measure the light around them."""
        r, p, block = self.renderer, self.prepared, self.renderer.quality.block
        x0, y0, x1, y1 = self.box
        self.slots = np.empty((-(-(y1 - y0) // block), -(-(x1 - x0) // block), 2), np.int32)
        count = probes.place_probes(
            pixels[hits.rays],
            hits,
            self.box,
            self.size,
            block,
            r.footprint,
            self.frame,
            self.slots,
        )
        around = np.ascontiguousarray(r.around @ self.turn.T)
        rays = Rays.empty(count * len(around))
        self.probes, self.probed = np.empty(count, np.int32), hits
        n = probes.probe_rays(self.slots, hits, around, p.lift, self.probes, rays)
        rays = rays.first(n)
        met = p.meet_far(rays)
        prim, across, far = met["primID"], met["Ng"], met["tfar"]
        ground_rays, ground = self._ground_seen(prim, far, rays)
        lit = Rays.empty(n)
        lamp = self._lamp(r.floor_disc)[0]
        lit = lit.first(probes.bounce_rays(prim, across, far, rays, lamp, p.lift, lit))
        self.coefficients = np.empty((count, 32), np.float32)
        indirect.probe_coefficients(
            prim,
            across,
            rays,
            lit,
            p.occluded(lit),
            self._bare_spot(lit.origins),
            ground_rays,
            ground,
            self.probes,
            hits.normal,
            around,
            r.num_up,
            r.solid,
            r.sky,
            self.floor_open,
            self.colour,
            self.frame,
            p.far_material,
            p.means,
            r.open_table,
            self.coefficients,
        )

    def _bare_spot(self, points: F32) -> F32:
        """Irradiance ``(n,)`` of the spot at points that face it, nothing standing in the way."""
        out = np.empty(len(points), np.float32)
        spot.normal_irradiance(points, self.frame[LIGHT], self.frame[AXIS], self.renderer.spot, out)
        return out

    def _ground_seen(self, prim: I32, far: F32, rays: Rays) -> tuple[I32, F32]:
        """Which of the probes' rays meet the floor, and the radiance ``(m, 3)`` they see there."""
        r, n = self.renderer, len(prim)
        which = np.empty(n, np.int32)
        points, seen_at = np.empty((n, 3), np.float32), np.empty((n, 2), np.float32)
        m = probes.floor_meetings(
            prim,
            far,
            rays,
            r.num_up,
            len(r.around),
            self.frame,
            r.focal,
            self.size,
            which,
            points,
            seen_at,
        )
        points = points[:m]
        # outside of the picture: the floor without the object's shadow
        to_light = self.frame[LIGHT] - points
        slant = (to_light @ self.frame[UP]) / np.sqrt((to_light * to_light).sum(axis=1))
        lit = self.floor_albedo * self.colour * _PER_PI
        ground = self.floor_open + (self._bare_spot(points) * slant)[:, None] * lit
        floor.look_up(self.grid, r.spacing, seen_at[:m], ground)
        return which[:m], ground

    def _irradiance(self, pixels: I32, offsets: F32, hits: Hits) -> F32:
        """Irradiance ``(n, 3)`` on hits of rays through the offsets ``(K, 2)`` of pixels."""
        r, num = self.renderer, len(hits.rays)
        out = np.empty((num, 3), np.float32)
        indirect.gather(
            pixels,
            offsets,
            hits,
            self.box,
            self.size,
            r.quality.block,
            r.footprint,
            self.frame,
            self.slots,
            self.probes,
            self.probed,
            self.coefficients,
            self.floor_open,
            r.open_table,
            out,
        )
        bare = self._bare_spot(hits.position)
        free, traced = np.zeros(num, np.int32), np.zeros(num, np.int32)

        def trace(chosen: I32, disc: F32) -> None:
            rays = Rays.empty(len(chosen) * disc.shape[1])
            n = shade.spot_rays(
                chosen,
                pixels,
                len(offsets),
                self.size,
                hits,
                bare,
                self.frame,
                r.radius,
                self._lamp(disc),
                self.prepared.lift,
                rays,
            )
            rays = rays.first(n)
            shade.count_free(rays.owners, self.prepared.occluded(rays), free, traced)

        chosen = np.arange(num, dtype=np.int32)
        if len(offsets) > 1:
            trace(chosen, r.edge_disc)
        else:
            n = shade.every_other(pixels, hits.rays, self.size, chosen)
            trace(chosen[:n], r.object_disc)
            n = shade.find_penumbra(
                pixels,
                hits,
                bare,
                self.frame,
                r.radius,
                free,
                traced,
                self.box,
                self.size,
                chosen,
            )
            trace(chosen[:n], r.penumbra_disc)
        shade.light_up(hits, bare, self.frame, r.radius, self.colour, free, traced, out)
        return out

    def _smooth_edges(self, at: I32, pixels: I32, hits: Hits, light: F32, image: U8) -> None:
        """Give pixels at edges the mean of several samples."""
        r = self.renderer
        samples = self._trace(at, r.offsets)
        sample_light = np.empty_like(samples.position)
        rest = np.empty(len(samples.rays), np.int32)
        n = edges.borrow(
            at,
            r.offsets,
            samples,
            pixels[hits.rays],
            hits,
            light,
            self.box,
            self.size,
            r.footprint,
            self.frame,
            sample_light,
            rest,
        )
        if n:
            rest = rest[:n]
            sample_light[rest] = self._irradiance(at, r.offsets, samples.take(rest))
        radiance = samples.albedo * (sample_light * _PER_PI)
        behind = self._behind(at)
        edges.write_edges(at, len(r.offsets), samples.rays, radiance, behind, r.bytes, image)

    def _behind(self, pixels: I32) -> F32:
        """Radiance ``(n, 3)`` of the background at the centres of pixels."""
        r = self.renderer
        if self.backdrop is not None:
            return r.linear[self.backdrop.reshape(-1, 3)[pixels]]
        centres = np.stack([pixels % self.size, pixels // self.size], axis=1)
        out = np.empty((len(pixels), 3), np.float32)
        floor.look_up(self.grid, r.spacing, centres.astype(np.float32) + np.float32(0.5), out)
        if r.horizon is not None:
            out[r.horizon.ravel()[pixels]] = self.recipe.sky
        return out
