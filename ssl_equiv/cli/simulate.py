"""``ssl-equiv simulate``: LiDAR sweeps of streets in motion, as KITTI writes them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from data_gen.lidar.generate import generate
from data_gen.lidar.job import Job, Layout
from data_gen.lidar.recipe import LidarRecipe
from ssl_equiv.parsing import call


def main(args: list[str]) -> None:
    """Run ``ssl-equiv simulate`` with command-line arguments ``args``."""
    names = [field.name for field in fields(LidarRecipe)]
    call(simulate, args, "simulate", entries={"recipe": names})


def simulate(
    out: str,
    sequences: int = 20,
    sweeps: int = 10,
    beams: int = 32,
    azimuths: int = 720,
    recipe: dict[str, Any] = {},  # noqa: B006 (shown by --help, never changed)
    layout: Layout = "kitti",
    seed: int = 0,
    val_fraction: float = 0.25,
    num_workers: int | None = None,
    progress: bool = True,
) -> None:
    """Simulate a LiDAR data set with boxes, classes, poses and exact flow; run again to continue.

    Args:
        out: Folder of the data set; preview.png in it shows sweeps from above.
        sequences: Scenes.
        sweeps: Turns of the sensor in each, one after another.
        beams: Lasers, one above the other.
        azimuths: Shots of each in a turn.
        recipe: Further entries of the recipe, such as ego_speed or range_noise (docs/lidar_data.md
            tells all).
        layout: kitti (the object benchmark), or semantic_kitti (sequences, without boxes).
        seed: Seed of everything; the same bytes from any number of processes.
        val_fraction: Share of the sequences that is for validation.
        num_workers: Processes; by default the cores of this one.
        progress: Show a progress bar.
    """
    told = LidarRecipe.from_dict({"beams": beams, "azimuths": azimuths, **recipe})
    job = Job(told, sequences, sweeps, seed, val_fraction, layout)
    made = generate(job, out, num_workers, progress)
    kept = f", {sequences - made} of them were there already" if made < sequences else ""
    held_out = len(job.validation)
    print(
        f"{out}: {sequences * sweeps} sweeps of {sequences} sequences{kept}; "
        f"{(sequences - held_out) * sweeps} to train, {held_out * sweeps} to validate"
    )
