"""Rendering speed: images per second at 2k, 24k and 328k triangles, beside Cycles.

    python -m benchmarks.generate [--cycles 2]

A figure is the time to prepare a mesh once, render its views (50, as in 3DIEBench) and encode each
as JPEG, for each of several objects. ``cpu`` figures count processor time, which other programs on
the machine disturb less than the clock.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import time
from dataclasses import dataclass

import numpy as np
import trimesh
from PIL import Image

from benchmarks.common import write
from data_gen.cycles import CyclesRenderer
from data_gen.latents import sample_latents
from data_gen.mesh import Mesh
from data_gen.recipe import Recipe
from data_gen.render import EmbreeRenderer
from ssl_equiv.errors import UserError

CYCLES_IMAGES_PER_SECOND = 0.34
"""Blender 4.2 Cycles, 100 samples and denoiser, same scene and size, 2 cores: one image takes
2.9 s. Measured once on the machine the renderer was developed on; used unless ``--cycles`` measures
it in the same run, which needs Blender's Python module."""

PUBLISHED_IMAGES = 52_472 * 50


@dataclass(frozen=True)
class Case:
    """What is rendered: a bumpy torus of ``2 * rings * segments`` triangles."""

    name: str
    image_size: int
    rings: int
    segments: int


CASES = (
    Case("256px_2k", 256, 36, 28),
    Case("256px_24k", 256, 128, 96),
    Case("256px_328k", 256, 512, 320),
    Case("64px_2k", 64, 36, 28),
)


def bumpy(case: Case, instance: int) -> Mesh:
    """A torus with bumps, the same at any fineness; every instance differs."""
    rng = np.random.default_rng(instance)
    torus = trimesh.creation.torus(
        1.0, rng.uniform(0.3, 0.5), major_sections=case.rings, minor_sections=case.segments
    )
    x, y, z = (torus.vertices * rng.uniform(3, 5, 3)).T
    scale = 1 + 0.15 * np.sin(x) * np.sin(y) * np.cos(z)
    return Mesh.plain(torus.vertices * scale[:, None], torus.faces).normalized()


def render_objects(arguments: tuple[Case, int, int, int]) -> tuple[int, float, float]:
    """Render objects ``first .. first + num - 1``; returns images, seconds, processor seconds."""
    case, first, num, views = arguments
    recipe = Recipe.diebench(image_size=case.image_size, num_views=views)
    renderer = EmbreeRenderer(recipe)
    objects = [(bumpy(case, i), sample_latents(recipe, i)) for i in range(first, first + num)]
    renderer.render(objects[0][0], objects[0][1][:2])  # the kernels' loading is not rendering
    start, cpu_start = time.perf_counter(), time.process_time()
    for mesh, latents in objects:
        for image in renderer.render(mesh, latents):
            Image.fromarray(image).save(io.BytesIO(), "JPEG", quality=95)
    return num * views, time.perf_counter() - start, time.process_time() - cpu_start


def measure(case: Case, processes: int, num: int, views: int) -> dict[str, float | int]:
    """Images per second of ``processes`` that each render ``num`` objects."""
    jobs = [(case, num * process, num, views) for process in range(processes)]
    if processes == 1:
        done = [render_objects(jobs[0])]
    else:
        # spawned: a forked child would share the parent's ray tracing threads' locks
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            done = pool.map(render_objects, jobs, chunksize=1)
    images, seconds, cpu = (sum(column) for column in zip(*done, strict=True))
    return {
        "triangles": len(bumpy(case, 0).faces),
        "processes": processes,
        "images": images,
        "images_per_second": round(sum(n / s for n, s, _ in done), 1),
        "images_per_cpu_second": round(images / cpu, 1),
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu, 3),
    }


def measure_cycles(case: Case, views: int) -> float:
    """Images per second of Cycles on all cores, at the first latents of the first object."""
    recipe = Recipe.diebench(image_size=case.image_size)
    prepared = CyclesRenderer(recipe).prepare(bumpy(case, 0))
    latents = sample_latents(recipe, 0)[:views]
    prepared.render(latents[:1])  # loading kernels and denoiser is not rendering
    start = time.perf_counter()
    prepared.render(latents)
    return round(views / (time.perf_counter() - start), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=3, help="meshes of each size per process")
    parser.add_argument("--views", type=int, default=50, help="views of each mesh")
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument(
        "--cycles", type=int, default=0, metavar="VIEWS", help="views that Cycles renders, too"
    )
    options = parser.parse_args()
    cycles, origin = CYCLES_IMAGES_PER_SECOND, "quoted"
    if options.cycles:
        try:
            cycles, origin = measure_cycles(CASES[1], options.cycles), "measured"
        except UserError as error:
            parser.error(str(error))
    results: dict[str, object] = {
        "cycles_images_per_second": cycles,
        "cycles_origin": origin,
        "cycles_note": f"{options.cycles} views of 24k triangles at 256 pixels, all cores"
        if options.cycles
        else "quoted from a measurement of 2.9 s an image on 2 cores, not measured here",
    }
    columns = ("triangles", "processes", "images/s", "per CPU-s", "x Cycles")
    print(f"{'case':<12}" + "".join(f"{column:>11}" for column in columns))
    for case in CASES:
        for processes in options.processes:
            figures = measure(case, processes, options.objects, options.views)
            speed = float(figures["images_per_second"])
            figures["times_cycles"] = round(speed / cycles)
            if case.image_size == 256:
                per_cpu = float(figures["images_per_cpu_second"])
                figures["core_hours_of_3diebench"] = round(PUBLISHED_IMAGES / per_cpu / 3600, 1)
            else:
                del figures["times_cycles"]  # Cycles' figure is at 256 pixels
            results[f"{case.name}_{processes}p"] = figures
            print(
                f"{case.name:<12}{figures['triangles']:>11}{processes:>11}{speed:>11.1f}"
                f"{figures['images_per_cpu_second']:>11.1f}{figures.get('times_cycles', '-'):>11}",
                flush=True,
            )
    print(f"Cycles at 256 pixels: {cycles} images/s ({origin})")
    print(f"written to {write('generate', results)}")


if __name__ == "__main__":
    main()
