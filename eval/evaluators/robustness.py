"""What shifts, flips, affine maps and crops of held-out pictures do to a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from eval.evaluators.image_orbits import judge_pictures, need_pictures
from eval.orbit_changes import affine_maps, crops, flips, pixel_shifts
from eval.orbit_images import ImageOrbit
from eval.processes import once
from eval.protocol import Evaluator, Measurement, Task
from ssl_equiv.errors import UserError

Change = Literal["circular_shift", "cropped_shift", "flip", "affine", "crop"]
_WHAT = {
    "circular_shift": "circular shifts",
    "cropped_shift": "ordinary shifts",
    "flip": "flips",
    "affine": "affine maps",
    "crop": "crops",
}


@dataclass(frozen=True)
class Robustness(Evaluator):
    """Accuracy, consistency and worst-case accuracy of pictures that are moved a little.

    Metrics as of ``ImageOrbits``: ``orbit_cropped_shift_accuracy_worst``, ... The defaults encode
    6,336 pictures.

    Args:
        changes: Which.
        objects: Validation objects, one view each, at most; a fixed choice.
        pixels: Largest shift along each axis.
        step: Pixels between shifts.
        draws: Affine maps, and crops.
        worst: How many of the worst points are shown, beside their references.
        classifier_views: Training views that the classifier learns from, at most.
        clusters: Clusters that stand for classes where there are no labels.
        batch_size: Pictures in a batch.
    """

    changes: tuple[Change, ...] = ("circular_shift", "cropped_shift", "flip", "affine", "crop")
    objects: int = 32
    pixels: int = 8
    step: int = 2
    draws: int = 16
    worst: int = 6
    classifier_views: int = 20_000
    clusters: int = 10
    batch_size: int = 256

    @once
    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``."""
        need_pictures(task, "Robustness")
        return judge_pictures(
            task,
            self._orbits(),
            _WHAT,
            objects=self.objects,
            worst=self.worst,
            classifier_views=self.classifier_views,
            clusters=self.clusters,
            batch_size=self.batch_size,
        )

    def _orbits(self) -> list[ImageOrbit]:
        if set(self.changes) - set(_WHAT) or not self.changes:
            raise UserError(
                f"Robustness: changes is {list(self.changes)}: choose of {', '.join(_WHAT)}"
            )
        for name in ("objects", "clusters", "batch_size", "draws"):
            if getattr(self, name) < 1:
                raise UserError(f"Robustness: {name} is {getattr(self, name)}: choose 1 or more")
        if self.worst < 0 or self.classifier_views < 2:
            raise UserError("Robustness: worst must be at least 0, and classifier_views at least 2")
        made: dict[str, Callable[[], ImageOrbit]] = {
            "circular_shift": lambda: pixel_shifts(self.pixels, self.step, wrap=True),
            "cropped_shift": lambda: pixel_shifts(self.pixels, self.step, wrap=False),
            "flip": flips,
            "affine": lambda: affine_maps(self.draws),
            "crop": lambda: crops(self.draws),
        }
        return [made[name]() for name in self.changes]
