"""The scene of a recipe in Blender: everything that touches Blender's Python module."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_gen.mesh import Material, Mesh
from data_gen.recipe import Recipe
from data_gen.render.color import hsv
from data_gen.scene import Camera, rotation_matrix, spherical
from ssl_equiv.errors import UserError

_FLOOR_HALF = 500.0  # what lies further has no part in any picture
_VIEWS = {"standard": "Standard", "filmic": "Filmic"}

F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

_process: int | None = None  # the one that Blender's threads belong to


@dataclass(frozen=True, eq=False)
class Placement:
    """What a latent vector sets in the scene.

    Attributes:
        object, spot: ``(4, 4)`` matrices from own to world coordinates. The spot shines along
            its -z, as Blender's lights do.
        floor_color, spot_color: ``(3,)`` linear RGB.
    """

    object: F64
    spot: F64
    floor_color: NDArray[np.float32]
    spot_color: NDArray[np.float32]

    @classmethod
    def of(cls, recipe: Recipe, latent: F64) -> Placement:
        """Read a latent vector ``(L,)``, columns as in the recipe's schema."""
        turn = rotation_matrix(latent[:3])
        shift = latent[7:10] if len(latent) > 7 else np.zeros(3)
        theta, phi = latent[4], latent[5]
        outward = spherical(1.0, theta, phi)
        across = np.array([-np.sin(phi), np.cos(phi), 0.0])
        spot = _matrix(np.stack([across, np.cross(outward, across), outward], axis=1))
        spot[:3, 3] = recipe.light_r * outward
        return cls(
            _matrix(turn, turn @ shift),
            spot,
            hsv(latent[3], recipe.floor_saturation, recipe.floor_value),
            hsv(latent[6], recipe.light_saturation, recipe.light_value),
        )


def load() -> Any:
    """Blender's module.

    Raises:
        UserError: it is not installed, or this process was forked from one that used it.
    """
    global _process
    try:
        import bpy
    except ImportError as error:
        raise UserError(
            "--renderer cycles needs Blender's Python module: "
            "pip install 'ssl-equiv[blender]' (Python 3.11)"
        ) from error
    # Blender puts folders of its own first, where a spawned child would find another "bpy"
    own = bpy.utils.resource_path("LOCAL")
    sys.path.sort(key=lambda path: path.startswith(own))
    _process = _process or os.getpid()
    if _process != os.getpid():
        raise UserError("Blender was used before this process was forked: start it with spawn")
    return bpy


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Blender, which writes to the process's standard output, from the terminal."""
    kept = os.dup(1)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def show(recipe: Recipe, mesh: Mesh, samples: int) -> None:
    """Empty Blender's memory and set up a recipe's scene with a mesh in it.

    Args:
        recipe: The scene.
        mesh: Shown with its bounding box centred.
        samples: Paths traced for each pixel.
    """
    bpy = load()
    with _quiet():
        bpy.ops.wm.read_factory_settings(use_empty=True)
        _set_output(bpy, recipe, samples)
        _set_stage(bpy, recipe)
        _add_mesh(bpy, mesh)
        if recipe.background is not None:
            _add_backdrop(bpy, recipe.image_size)


def render(placement: Placement, backdrop: U8 | None, path: Path) -> None:
    """Render a view of what :func:`show` has set up into a PNG file.

    Args:
        placement: What the view's latent vector says.
        backdrop: ``(H, W, 3)`` sRGB, where the recipe has a background.
        path: The file.
    """
    bpy = load()
    objects = bpy.data.objects
    objects["object"].matrix_world = placement.object.T
    objects["spot"].matrix_world = placement.spot.T
    objects["spot"].data.color = placement.spot_color.tolist()
    surface = objects["floor"].data.materials[0].node_tree.nodes["surface"]
    surface.inputs["Color"].default_value = (*placement.floor_color.tolist(), 1.0)
    if backdrop is not None:
        _set_pixels(bpy.data.images["backdrop"], backdrop)
    bpy.context.scene.render.filepath = str(path)
    with _quiet():
        bpy.ops.render.render(write_still=True)


def _set_output(bpy: Any, recipe: Recipe, samples: int) -> None:
    """How pictures are computed and written."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device, cycles.seed, cycles.samples = "CPU", 0, samples
    cycles.use_adaptive_sampling = False
    cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
    cycles.max_bounces = cycles.diffuse_bounces = 3
    cycles.glossy_bounces = cycles.transmission_bounces = 0
    cycles.volume_bounces = cycles.transparent_max_bounces = 0
    scene.render.resolution_x = scene.render.resolution_y = recipe.image_size
    scene.render.resolution_percentage = 100
    scene.render.dither_intensity = 0.0
    scene.render.use_persistent_data = True  # the tree of a mesh serves all its views
    output = scene.render.image_settings
    output.file_format, output.color_mode, output.color_depth = "PNG", "RGB", "8"
    output.compression = 0
    scene.display_settings.display_device = "sRGB"
    scene.view_settings.view_transform = _VIEWS[recipe.view]
    scene.view_settings.look = "None"


def _set_stage(bpy: Any, recipe: Recipe) -> None:
    """Sky, camera, lights and floor."""
    scene, camera = bpy.context.scene, Camera.of(recipe)
    world = scene.world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (1, 1, 1, 1)
    world.node_tree.nodes["Background"].inputs["Strength"].default_value = recipe.sky

    lens = bpy.data.cameras.new("camera")
    lens.lens, lens.sensor_width, lens.sensor_fit = recipe.lens_mm, recipe.sensor_mm, "HORIZONTAL"
    lens.clip_start, lens.clip_end = 1e-3, 4 * _FLOOR_HALF
    axes = np.stack([camera.right, -camera.down, -camera.forward], axis=1)
    scene.camera = _add(bpy, "camera", lens)
    scene.camera.matrix_world = _matrix(axes, camera.position).T

    sun = bpy.data.lights.new("sun", "SUN")
    sun.energy, sun.angle = recipe.sun_energy, recipe.sun_angle
    _add(bpy, "sun", sun).visible_camera = False
    spot = bpy.data.lights.new("spot", "SPOT")
    spot.energy, spot.shadow_soft_size = recipe.light_energy, recipe.light_radius
    spot.spot_size, spot.spot_blend = recipe.light_cone, recipe.light_blend
    _add(bpy, "spot", spot).visible_camera = False

    far, z = _FLOOR_HALF, recipe.floor_z
    corners = [(-far, -far, z), (far, -far, z), (far, far, z), (-far, far, z)]
    floor = bpy.data.meshes.new("floor")
    floor.from_pydata(corners, [], [(0, 1, 2, 3)])
    floor.materials.append(_diffuse(bpy, "floor", np.ones(3)))
    _add(bpy, "floor", floor)


def _add_backdrop(bpy: Any, size: int) -> None:
    """Have Blender's compositor lay the picture over an image, in linear light."""
    scene = bpy.context.scene
    bpy.data.objects["floor"].is_holdout = True  # hides what is below it, and then is not there
    scene.render.film_transparent = scene.use_nodes = True
    nodes, links = scene.node_tree.nodes, scene.node_tree.links
    nodes.clear()
    names = ("Image", "RLayers", "AlphaOver", "Composite")
    image, layers, over, output = (nodes.new(f"CompositorNode{name}") for name in names)
    image.image = bpy.data.images.new("backdrop", size, size, alpha=False)
    links.new(image.outputs["Image"], over.inputs[1])
    links.new(layers.outputs["Image"], over.inputs[2])
    links.new(over.outputs["Image"], output.inputs["Image"])


def _add_mesh(bpy: Any, mesh: Mesh) -> None:
    """Put the object into the scene, its bounding box centred, every face with its own corners."""
    low, high = mesh.bounds
    corners = (mesh.vertices - (low + high) / 2)[mesh.faces]  # (F, 3, 3)
    num = len(corners)
    data = bpy.data.meshes.new("object")
    data.vertices.add(3 * num)
    data.vertices.foreach_set("co", np.asarray(corners, np.float32).ravel())
    data.loops.add(3 * num)
    data.loops.foreach_set("vertex_index", np.arange(3 * num, dtype=np.int32))
    data.polygons.add(num)
    data.polygons.foreach_set("loop_start", np.arange(0, 3 * num, 3, dtype=np.int32))
    for index, material in enumerate(mesh.materials):
        textured = material if mesh.corner_uv is not None else Material(material.color)
        data.materials.append(_diffuse(bpy, f"material {index}", textured.color, textured.texture))
    data.polygons.foreach_set("material_index", np.asarray(mesh.face_material, np.int32))
    if mesh.corner_uv is not None:
        layer = data.uv_layers.new()
        layer.uv.foreach_set("vector", np.asarray(mesh.corner_uv, np.float32).ravel())
    data.update(calc_edges=True)
    if mesh.corner_normals is not None:
        data.shade_smooth()
        data.normals_split_custom_set(_normals(corners, mesh.corner_normals))
    else:
        data.shade_flat()
    _add(bpy, "object", data)


def _normals(corners: NDArray[np.floating], given: NDArray[np.floating]) -> NDArray[np.float32]:
    """``(3 F, 3)`` unit normals on the side of the flat ones, which stand in for zero ones."""
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, None]
    smooth = np.nan_to_num(np.asarray(given, np.float64), posinf=0.0, neginf=0.0)
    length = np.linalg.norm(smooth, axis=2, keepdims=True)
    smooth = np.where(length > 1e-6, smooth, flat)
    smooth = np.where((smooth * flat).sum(axis=2, keepdims=True) < 0, -smooth, smooth)
    length = np.linalg.norm(smooth, axis=2, keepdims=True)
    return np.asarray(smooth / np.maximum(length, 1e-30), np.float32).reshape(-1, 3)


def _diffuse(
    bpy: Any,
    name: str,
    color: NDArray[np.floating],
    texture: U8 | None = None,
) -> Any:
    """A diffuse material of a linear colour ``(3,)``, which tints the texture if there is one."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    output, surface = nodes.new("ShaderNodeOutputMaterial"), nodes.new("ShaderNodeBsdfDiffuse")
    surface.name = "surface"
    links.new(surface.outputs["BSDF"], output.inputs["Surface"])
    surface.inputs["Color"].default_value = (*map(float, color), 1.0)
    if texture is not None:
        height, width = texture.shape[:2]
        image = bpy.data.images.new(name, width, height, alpha=False)
        _set_pixels(image, texture)
        image.pack()
        texel, tint = nodes.new("ShaderNodeTexImage"), nodes.new("ShaderNodeVectorMath")
        texel.image, tint.operation = image, "MULTIPLY"
        tint.inputs[1].default_value = tuple(map(float, color))
        links.new(texel.outputs["Color"], tint.inputs[0])
        links.new(tint.outputs["Vector"], surface.inputs["Color"])
    return material


def _set_pixels(image: Any, values: U8) -> None:
    """Fill an image of Blender's, whose first row is the lowest, with ``(H, W, 3)`` bytes."""
    pixels = np.ones((*values.shape[:2], 4), np.float32)
    pixels[..., :3] = values[::-1] / np.float32(255)
    image.pixels.foreach_set(pixels.ravel())
    image.update()


def _add(bpy: Any, name: str, data: Any) -> Any:
    """Put something into the scene."""
    item = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(item)
    return item


def _matrix(turn: F64, shift: F64 | None = None) -> F64:
    """The ``(4, 4)`` matrix of a turn ``(3, 3)`` and a shift ``(3,)``."""
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    if shift is not None:
        matrix[:3, 3] = shift
    return matrix
