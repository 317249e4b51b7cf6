"""What a simulating process does: a sequence's number in, its files out.

Nothing here imports torch: such a process starts quickly and stays small.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data_gen.lidar.kitti import object_files, sequence_files
from data_gen.lidar.recipe import LidarRecipe
from data_gen.lidar.simulate import simulate
from ssl_equiv import __version__
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write, writing

Layout = Literal["kitti", "semantic_kitti"]
DONE = "done"
"""Folder with an empty file for each finished sequence."""


@dataclass(frozen=True)
class Job:
    """All that a data set's bytes depend on.

    Args:
        recipe: Sensor and streets.
        sequences: How many.
        sweeps: Of each.
        seed: Seed of everything.
        val_fraction: Share of the sequences that is for validation.
        layout: ``kitti`` (object benchmark) or ``semantic_kitti``.
    """

    recipe: LidarRecipe
    sequences: int
    sweeps: int
    seed: int = 0
    val_fraction: float = 0.25
    layout: Layout = "kitti"

    def __post_init__(self) -> None:
        if self.sequences < 1 or self.sweeps < 1:
            raise UserError("sequences and sweeps must be at least 1")
        if not 0 <= self.val_fraction < 1:
            raise UserError(
                f"val_fraction is {self.val_fraction}: choose at least 0 and less than 1"
            )
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}: choose 0 or more")
        if self.sequences > 100 and self.layout == "semantic_kitti":
            raise UserError(f"{self.sequences} sequences: SemanticKITTI's names end with 99")

    @property
    def validation(self) -> list[int]:
        """Sequences for validation: drawn, one at least where there are two and a share."""
        number = round(self.val_fraction * self.sequences)
        if self.val_fraction > 0 and self.sequences > 1:
            number = min(max(number, 1), self.sequences - 1)
        order = np.random.default_rng([self.seed, self.sequences]).permutation(self.sequences)
        return sorted(order[:number].tolist())

    def to_dict(self) -> dict[str, Any]:
        """Plain data that tells all of it."""
        return {
            "version": __version__,
            "simulator": 1,
            "recipe": self.recipe.to_dict(),
            "sequences": self.sequences,
            "sweeps": self.sweeps,
            "seed": self.seed,
            "val_fraction": self.val_fraction,
            "validation": self.validation,
            "layout": self.layout,
        }


def write_sequence(job: Job, out: Path, sequence: int) -> int:
    """Simulate a sequence and let all its files appear; returns its number."""
    sweeps = list(simulate(job.recipe, job.seed, sequence, job.sweeps))
    files: dict[str, bytes] = {}
    if job.layout == "kitti":
        for place, sweep in enumerate(sweeps):
            number, last = sequence * job.sweeps + place, place + 1 == job.sweeps
            files |= object_files(sweep, number, job.recipe.surround, last)
    else:
        files = sequence_files(sweeps, sequence, job.recipe.period)
    with writing(out):
        temporary = Path(tempfile.mkdtemp(dir=out, prefix=".sequence.", suffix=".partial"))
        try:
            for number, (name, data) in enumerate(files.items()):
                (temporary / str(number)).write_bytes(data)
                (out / name).parent.mkdir(parents=True, exist_ok=True)
            for number, name in enumerate(files):
                os.replace(temporary / str(number), out / name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    with atomic_write(out / DONE / f"{sequence:06d}"):
        pass
    return sequence
