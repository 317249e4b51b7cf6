"""Orbits of held-out pictures: rotation in the plane, shifts, scale, hue."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from eval.orbit_images import (
    Border,
    ImageOrbit,
    OrbitEncoder,
    hue_orbit,
    rotation_orbit,
    scale_orbit,
    shift_orbit,
)
from eval.orbits import fit_classifiers, follow, report
from eval.processes import once
from eval.protocol import Evaluator, Measurement, NotApplicable, Task
from ssl_equiv.data.draws import Draw
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.data.views import ViewDataset
from ssl_equiv.errors import UserError

log = logging.getLogger(__name__)
Name = Literal["rotation", "shift", "scale", "hue"]
_WHAT = {
    "rotation": "rotations in the plane",
    "shift": "circular shifts",
    "scale": "scalings",
    "hue": "turns of the hue",
}


@dataclass(frozen=True)
class ImageOrbits(Evaluator):
    """Distance, accuracy, confidence and consensus along orbits of held-out pictures.

    ``orbit_rotation_accuracy_worst``, ... The defaults encode 2,496 pictures. Only validation
    objects are judged: other sets are at hand as features alone.

    Args:
        orbits: Which.
        objects: Validation objects, one view each, at most; a fixed choice.
        rotation_points: Angles.
        border: What rotated pictures show in the corners: their mirror image, or, at every angle, a
            plain colour around the inscribed disc.
        shift_points: Shifts along each axis, odd.
        shift: Largest shift, a fraction of width and height.
        scale_points: Scales, odd.
        scale: Largest scale; the least is its inverse.
        hue_points: Hues.
        worst: How many of the worst points are shown, beside their references.
        classifier_views: Training views that the classifier learns from, at most.
        clusters: Clusters that stand for classes where there are no labels.
        batch_size: Pictures in a batch.
    """

    orbits: tuple[Name, ...] = ("rotation", "shift", "scale", "hue")
    objects: int = 32
    rotation_points: int = 16
    border: Border = "reflect"
    shift_points: int = 7
    shift: float = 0.25
    scale_points: int = 5
    scale: float = 1.5
    hue_points: int = 8
    worst: int = 6
    classifier_views: int = 20_000
    clusters: int = 10
    batch_size: int = 256

    @once
    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``."""
        need_pictures(task, "ImageOrbits")
        self._check()
        orbits = self._orbits(task.data.preprocess.mean)  # type: ignore[union-attr]
        return judge_pictures(
            task,
            orbits,
            _WHAT,
            objects=self.objects,
            worst=self.worst,
            classifier_views=self.classifier_views,
            clusters=self.clusters,
            batch_size=self.batch_size,
        )

    def _orbits(self, mean: Sequence[float]) -> list[ImageOrbit]:
        made = {
            "rotation": lambda: rotation_orbit(self.rotation_points, self.border, mean),
            "shift": lambda: shift_orbit(self.shift_points, self.shift),
            "scale": lambda: scale_orbit(self.scale_points, self.scale),
            "hue": lambda: hue_orbit(self.hue_points),
        }
        return [made[name]() for name in self.orbits]

    def _check(self) -> None:
        unknown = set(self.orbits) - set(_WHAT)
        if unknown or not self.orbits:
            raise UserError(
                f"ImageOrbits: orbits is {list(self.orbits)}: choose of {', '.join(_WHAT)}"
            )
        for name in ("objects", "rotation_points", "hue_points", "clusters", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"ImageOrbits: {name} is {getattr(self, name)}: choose 1 or more")
        if self.worst < 0 or self.classifier_views < 2 or not 0 < self.shift <= 0.5:
            raise UserError(
                "ImageOrbits: worst must be at least 0, classifier_views at least 2, shift above 0 "
                "and at most 0.5"
            )


def need_pictures(task: Task, name: str) -> None:
    """Refuse a task without network and pictures.

    Args:
        task: What is to be judged.
        name: Of the evaluator, for the message.

    Raises:
        NotApplicable: it has not both.
    """
    if task.encoder is None or task.data is None:
        raise NotApplicable(
            f"{name} needs the network and the pictures, but only features are at hand: give "
            f"evaluate() encoder and data, or leave {name} out"
        )
    if not isinstance(task.data, ViewDataModule):
        raise NotApplicable(
            f"{name}: orbits of pictures cannot be made of {type(task.data).__name__}: leave "
            f"{name} out"
        )


def judge_pictures(
    task: Task,
    orbits: Sequence[ImageOrbit],
    what: Mapping[str, str],
    *,
    objects: int,
    worst: int,
    classifier_views: int,
    clusters: int,
    batch_size: int,
) -> list[Measurement]:
    """Figures and drawings of every part along orbits of held-out pictures.

    Args:
        task: With encoder and data.
        orbits: What is done to the pictures.
        what: Each orbit in words, by its name.
        objects: Validation objects, one view each, at most; a fixed choice.
        worst: How many of the worst points are shown.
        classifier_views: Training views that the classifier learns from, at most.
        clusters: Clusters that stand for classes where there are no labels.
        batch_size: Pictures in a batch.

    Raises:
        UserError: features are not finite.
    """
    assert task.encoder is not None
    assert task.data is not None
    images, label = some_pictures(task.data, task.val.split, objects)
    accelerator = task.trainer_options.get("accelerator", "auto")
    cuda = torch.cuda.is_available() and accelerator in ("auto", "gpu", "cuda")
    encode = OrbitEncoder(
        task.encoder,
        task.data.preprocess,
        str(task.train.key.get("precision", "32-true")),
        torch.device("cuda" if cuda else "cpu"),
        batch_size,
    )
    classifiers = fit_classifiers(task, classifier_views, clusters)
    pseudo = next(iter(classifiers.values())).pseudo
    numbered = [f"cluster {k}" for k in range(clusters)]
    names = numbered if pseudo else task.train.class_names
    found = []
    for orbit in orbits:
        geometry = orbit.geometry
        features = encode(images, orbit)
        if not torch.isfinite(features).all():
            raise UserError(
                f"features along the orbit {geometry.name} are not finite: the model is "
                "damaged, or its precision too low; use another checkpoint or precision"
            )
        along = {
            part: follow(features, task.train.columns(part), geometry.reference, label, classifier)
            for part, classifier in classifiers.items()
        }

        def pictures(i: int, points: Sequence[int], orbit: ImageOrbit = orbit) -> list[np.ndarray]:
            seen = orbit.images(images[i].expand(len(points), -1, -1, -1), torch.tensor(points))
            return list((255 * seen).round().byte().permute(0, 2, 3, 1).numpy())

        found += report(task, along, geometry, what[geometry.name], names, pictures, worst)
    return found


def some_pictures(data: ViewDataModule, split: str, objects: int) -> tuple[Tensor, Tensor]:
    """One view of some objects of a split, the same at every call.

    Returns:
        Pictures ``(N, 3, H, W)`` float in [0, 1], not normalised, and labels ``(N,)``.

    Raises:
        NotApplicable: the data are no colour pictures.
        UserError: there is no such split, or a picture cannot be read.
    """
    dataset = data.all_views_dataloader(split).dataset
    if isinstance(dataset, ViewDataset):
        dataset.num_views = 1  # drawn by the data's seed
    members = np.sort(data.source.split[split])
    # at random: objects of regular places may all be of one class
    chosen = np.random.default_rng(0).permutation(len(members))[:objects]
    batch = dataset.__getitems__([Draw(0, int(i)) for i in members[np.sort(chosen)]])
    images = batch.images
    if images.ndim != 5 or images.shape[2] != 3:
        raise NotApplicable(
            f"orbits of pictures need colour pictures, but the data are {tuple(images.shape[2:])}: "
            "leave ImageOrbits and Robustness out"
        )
    first = images[:, 0]
    floats = first if first.is_floating_point() else first.float() / 255
    return floats.contiguous(), batch.label
