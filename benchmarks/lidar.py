"""Voxelisation, encoders and training steps on simulated sweeps of a 64-beam sensor.

``python -m benchmarks.lidar`` writes ``benchmarks/results/lidar.json``:

* voxelisation in points a second, beside other ways to find the same voxels;
* forward, and forward with backward, of each encoder, with the share of its parts and the growth
  of the process's peak memory, each in a process of its own;
* a whole step of E-SSL3D, with the share of its parts;
* with ``--device cuda`` the same there, and beside them the voxel network through spconv where that
  is installed.

``--tiny`` takes small sweeps and grids: to see that it runs, not how fast.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import peak_mib, timed, write
from data_gen.lidar.live import SimulatedSource
from ssl_equiv.backbones.lidar import BevConfig, EncoderConfig, create_encoder, spconv_path
from ssl_equiv.backbones.lidar.encoder import LidarEncoder, Voxels
from ssl_equiv.backbones.lidar.grid import Grid, by_voxel, ravel, voxelize
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.data.lidar.module import LidarDataModule
from ssl_equiv.memory import keep_freed_memory
from ssl_equiv.methods import ESSL3D
from ssl_equiv.points import PointBatch

THREADS = 2
ENCODERS = {
    "pillars (PointPillars, KITTI)": EncoderConfig(),
    "voxels (SECOND, KITTI)": EncoderConfig(
        "voxels", (0.0, -40.0, -3.0, 70.4, 40.0, 1.0), (0.05, 0.05, 0.1)
    ),
}
TINY_BEV = BevConfig((1,), (1,), (16,), (1,), (16,))
TINY = {
    "pillars (tiny)": EncoderConfig("pillars", (0, -16, -3, 32, 16, 1), (1, 1, 4), (16,), TINY_BEV),
    "voxels (tiny)": EncoderConfig(
        "voxels", (0, -16, -3, 32, 16, 1), (0.5, 0.5, 0.1), (4, 4, 8, 8, 8, 8), TINY_BEV
    ),
}
Run = Callable[[], object]


def sweeps(size: int, tiny: bool) -> LidarBatch:
    """Pairs of views with the sweep before and its flow."""
    recipe = {"beams": 8, "azimuths": 90} if tiny else {"beams": 64, "azimuths": 1900}
    source = SimulatedSource(2 * size, 2, recipe=recipe, val_fraction=0.5)
    data = LidarDataModule(source=source, batch_size=size, num_workers=0, flow="truth")
    data.trainer = SimpleNamespace(global_rank=0, world_size=1, strategy=_Host())  # type: ignore[assignment]
    batch: LidarBatch = next(iter(data.train_dataloader()))
    return batch


class _Host:
    root_device = torch.device("cpu")


def keys_of(clouds: PointBatch, grid: Grid) -> Tensor:
    """The number of each inside point's voxel."""
    coordinates, voxel = voxelize(clouds.points, clouds.batch_index, grid)
    return ravel(coordinates, (clouds.size, *grid.shape))[voxel[voxel >= 0]]


def by_sorting(key: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct numbers and each one's place, by a sort and a running sum."""
    ordered, order = torch.sort(key)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    place = torch.empty_like(order)
    place[order] = first.cumsum(0) - 1
    return ordered[first], place


def by_counting(key: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """The same, by a table of all cells."""
    occupied = torch.bincount(key, minlength=cells) > 0
    return occupied.nonzero()[:, 0], (occupied.cumsum(0) - 1)[key]


def voxelisation(config: EncoderConfig, tiny: bool, repeats: int) -> dict[str, Any]:
    """Points a second of the whole function, and of the search for distinct voxels alone."""
    torch.set_num_threads(THREADS)
    clouds, grid = sweeps(2, tiny).current, Grid(config.range, config.voxel_size)
    number = len(clouds.points)
    key = keys_of(clouds, grid)
    cells = clouds.size * grid.shape[0] * grid.shape[1] * grid.shape[2]
    ways: dict[str, Run] = {
        "unique int32": lambda: torch.unique(key.int(), return_inverse=True),
        "unique int64": lambda: torch.unique(key, return_inverse=True),
        "sort int32": lambda: by_sorting(key.int()),
    }
    if cells < 2**27:
        ways["count in a table"] = lambda: by_counting(key, cells)
    whole = timed(lambda: voxelize(clouds.points, clouds.batch_index, grid), repeats)
    return {
        "points": number,
        "inside": len(key),
        "voxels": int(key.unique().numel()),
        "points_per_s": number / whole["median"],
        "ms": 1000 * whole["median"],
        "search_only_points_per_s": {
            name: len(key) / timed(way, repeats)["median"] for name, way in ways.items()
        },
    }


def encoder(config: EncoderConfig, tiny: bool, device: str, repeats: int) -> dict[str, Any]:
    """Milliseconds of two sweeps' way through an encoder."""
    torch.set_num_threads(THREADS)
    keep_freed_memory()  # as training does
    torch.manual_seed(0)
    clouds = sweeps(2, tiny).current.to(device)
    network = create_encoder(config).to(device)
    before = peak(device)
    upstream = torch.randn_like(network(clouds).map)

    def both() -> None:
        network.zero_grad()
        network(clouds).map.backward(upstream)

    with torch.no_grad():
        forward = median_ms(lambda: network(clouds), device, repeats)
        shares = parts(network, clouds, device, repeats)
    training = median_ms(both, device, repeats)
    return {
        "sweeps": clouds.size,
        "points": len(clouds.points),
        "parameters": sum(p.numel() for p in network.parameters()),
        "forward_ms": forward,
        "forward_backward_ms": training,
        "forward_parts_ms": shares,
        "peak_growth_mib": peak(device) - before,
    }


def parts(network: LidarEncoder, clouds: PointBatch, device: str, repeats: int) -> dict[str, float]:
    """Milliseconds of each part of a forward pass."""
    coordinates, voxel = voxelize(clouds.points, clouds.batch_index, network.grid)
    order, counts = by_voxel(voxel, len(coordinates))
    points, voxels = clouds.points[order], Voxels(coordinates, counts)
    flat = network.flat_map(points, voxels, clouds.size)
    each: dict[str, Run] = {
        "voxelise": lambda: by_voxel(
            voxelize(clouds.points, clouds.batch_index, network.grid)[1], len(coordinates)
        ),
        "points or voxels to a map": lambda: network.flat_map(points, voxels, clouds.size),
        "two-dimensional network": lambda: network.backbone_2d(flat),
    }
    return {name: median_ms(run, device, repeats) for name, run in each.items()}


def step(config: EncoderConfig, tiny: bool, device: str, repeats: int) -> dict[str, Any]:
    """Milliseconds of a step of E-SSL3D on two sweeps, without loading them."""
    torch.set_num_threads(THREADS)
    keep_freed_memory()  # as training does
    torch.manual_seed(0)
    batch, method = sweeps(2, tiny).to(device), ESSL3D(config).to(device)
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], 1e-4)
    before = peak(device)

    def loss() -> Tensor:
        seen = method.observe(batch)
        return method.total(method.terms(method.encode_batch(seen), seen))

    def whole() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        method.target.update(torch.nn.ModuleList([method.backbone, method.projector]), 0, 1000)

    seen = method.observe(batch)
    with torch.no_grad():
        views = method.encode_batch(seen)
        each: dict[str, Run] = {
            "encode two views": lambda: method.encode_batch(seen),
            "flow (target's encoder, warp, heads)": lambda: method._flow(views[0], seen),  # type: ignore[arg-type]
            "contrast": lambda: method.contrast(
                views,  # type: ignore[arg-type]
                seen,
                method.points,
                method.temperature,
            ),
            "views made again": lambda: method.observe(batch),
        }
        shares = {name: median_ms(run, device, repeats) for name, run in each.items()}
    return {
        "sweeps": len(batch),
        "step_ms": median_ms(whole, device, repeats),
        "forward_parts_ms": shares,
        "peak_growth_mib": peak(device) - before,
    }


def median_ms(run: Run, device: str, repeats: int) -> float:
    """Median milliseconds of a call, finished on its device."""

    def finished() -> None:
        run()
        if device != "cpu":
            torch.cuda.synchronize()

    return 1000 * timed(finished, repeats, warmup=1)["median"]


def peak(device: str) -> float:
    """Peak memory so far, MiB: the process's, or what was allocated on the GPU."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    return peak_mib()


def alone(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """A measurement in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=4)
    options = parser.parse_args()
    configs = TINY if options.tiny else ENCODERS
    common = (options.tiny, options.device, options.repeats)
    # our own convolutions everywhere, and spconv's beside them
    own = {name: replace(config, spconv=False) for name, config in configs.items()}
    sections: dict[str, tuple[Callable[..., dict[str, Any]], dict[str, EncoderConfig], Any]] = {
        "voxelisation": (voxelisation, configs, (options.tiny, options.repeats)),
        "encoders": (encoder, own, common),
        "steps": (step, own, common),
    }
    if options.device != "cpu" and spconv_path.installed():
        voxels = {name: config for name, config in configs.items() if config.kind == "voxels"}
        sections["spconv"] = (encoder, voxels, common)
    results: dict[str, Any] = {
        "setting": {"threads": THREADS, "device": options.device, "tiny": options.tiny}
    }
    for section, (function, asked, arguments) in sections.items():
        for name, config in asked.items():
            found = alone(function, config, *arguments)
            results.setdefault(section, {})[name] = found
            print(f"{section}, {name}: {json.dumps(found)}", flush=True)
    path = write("lidar_tiny" if options.tiny else "lidar", results)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
