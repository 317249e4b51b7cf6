"""Sweeps simulated in the loader's processes as they are asked for: no disk."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_gen.lidar.job import Job
from data_gen.lidar.kitti import CALIBRATION
from data_gen.lidar.recipe import LidarRecipe
from data_gen.lidar.simulate import Simulation
from ssl_equiv.boxes import Boxes, virtual_camera
from ssl_equiv.data.lidar.names import (
    KITTI_CLASSES,
    SEMANTIC_KITTI_CLASSES,
    semantic_kitti_classes,
)
from ssl_equiv.data.lidar.source import LidarSource, every
from ssl_equiv.data.lidar.sweep import Sweep, counted

_SCENES = 16  # that a process keeps


class SimulatedSource(LidarSource):
    """A data set that is never stored: ``data.source`` in place of ``data.root``.

    Sweeps, boxes, flow and split are those that ``ssl-equiv simulate`` writes for the same
    arguments; sweeps are made in about 20 ms each.

    Args:
        sequences: Scenes.
        sweeps: Turns of the sensor in each, one after another.
        recipe: Entries of the recipe that differ from its defaults, such as beams.
        seed: Seed of everything.
        val_fraction: Share of the sequences that is for validation.

    Raises:
        UserError: an argument is out of place.
    """

    kind = "simulated"
    has_boxes = has_poses = has_flow = True

    def __init__(
        self,
        sequences: int = 200,
        sweeps: int = 2,
        recipe: dict[str, Any] = {},  # noqa: B006 (shown by --print_config, never changed)
        seed: int = 0,
        val_fraction: float = 0.1,
    ) -> None:
        self.job = Job(LidarRecipe.from_dict(recipe), sequences, sweeps, seed, val_fraction)
        self.root = Path(f"simulated_{seed}")
        self.classes, self.point_classes = list(KITTI_CLASSES), list(SEMANTIC_KITTI_CLASSES)
        number = np.arange(sequences * sweeps)
        self.sequence, self.frame = number // sweeps, number % sweeps
        pairs = zip(self.sequence, self.frame, strict=True)
        self.names = every(f"sequence {sequence}, sweep {frame}" for sequence, frame in pairs)
        val = np.isin(self.sequence, self.job.validation)
        self.split = {"train": np.flatnonzero(~val), "val": np.flatnonzero(val)}

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_scene"}

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all that the sweeps depend on."""
        return hashlib.sha256(json.dumps(self.job.to_dict()).encode()).hexdigest()

    @cached_property
    def _scene(self) -> Any:
        job = self.job

        @lru_cache(maxsize=_SCENES)
        def scene(sequence: int) -> Simulation:
            return Simulation(job.recipe, job.seed, sequence, job.sweeps)

        return scene

    def sweep(self, index: int, boxes: bool = True, flow: bool = True) -> Sweep:
        """A sweep, simulated."""
        frame = int(self.frame[index])
        made = self._scene(int(self.sequence[index])).sweep(frame)
        surround = self.job.recipe.surround
        camera = virtual_camera() if surround else CALIBRATION.camera
        points = torch.from_numpy(made.points)
        found = None
        if boxes:
            values = np.array([a.box for a in made.annotations]).reshape(-1, 7)
            labels = [KITTI_CLASSES.index(a.class_name) for a in made.annotations]
            annotated = Boxes.make(
                torch.from_numpy(values),
                np.array(labels, np.int64),
                np.array([a.instance for a in made.annotations], np.int64),
                occlusion=np.array([a.occlusion for a in made.annotations], np.int64),
            )
            found = counted(annotated, points, camera)
            if not surround:
                found = found[found.truncation < 1]
        last = frame + 1 == self.job.sweeps
        return Sweep(
            points,
            self.name_of(index),
            found,
            torch.from_numpy(semantic_kitti_classes(made.semantic)),
            torch.from_numpy(np.where(made.instance > 0, made.instance, -1)),
            made.pose,
            torch.from_numpy(made.flow) if flow and not last else None,
            camera,
        )
