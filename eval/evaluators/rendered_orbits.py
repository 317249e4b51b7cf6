"""Orbits of rendered objects: a data set whose views differ by known elements of one factor."""

from __future__ import annotations

import hashlib
import logging
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from eval.cache import FeatureSet
from eval.features import extract
from eval.orbit_elements import geometry_of, varying_factor
from eval.orbit_predictor import follow_predictor
from eval.orbits import fit_classifiers, follow, report
from eval.processes import once
from eval.protocol import Evaluator, Measurement, NotApplicable, Task
from ssl_equiv.data.draws import Draw
from ssl_equiv.data.images import open_views
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RenderedOrbits(Evaluator):
    """Distance, accuracy, confidence and consensus along orbits of rendered objects.

    ``orbit_rendered_rotation_accuracy_worst``, ...; the rows' split is the folder's name. For a
    method with a predictor of these actions also its error, ``..._predictor_error``. Objects
    that the model may have been trained on (of the same names as the training objects) are left
    out; all others are judged, whatever their split.

    Args:
        data: Folder of a data set whose views are a grid, or a path, of one factor, such as
            ``configs/data/orbit_so3.yaml`` makes.
        factor: The factor that varies; by default it is found.
        objects: Objects, at most; a fixed choice.
        reference: Number of the view that others are compared with; by default that nearest to the
            identity on a grid, the first on a path.
        worst: How many of the worst points are shown, beside their references.
        classifier_views: Training views that the classifier learns from, at most.
        clusters: Clusters that stand for classes where there are no labels.
    """

    data: str
    factor: str | None = None
    objects: int = 64
    reference: int | None = None
    worst: int = 6
    classifier_views: int = 20_000
    clusters: int = 10

    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``."""
        if task.encoder is None or task.data is None:
            raise NotApplicable(
                "rendered orbits need the network, but only features are at hand: give evaluate() "
                "encoder and data, or leave RenderedOrbits out"
            )
        if self.objects < 1 or self.worst < 0 or self.classifier_views < 2 or self.clusters < 1:
            raise UserError(
                "RenderedOrbits: objects and clusters must be at least 1, worst 0, "
                "classifier_views 2"
            )
        data = open_views(
            self.data,
            batch_size=task.data.batch_size,
            preprocess=task.data.preprocess,
            num_workers=task.data.num_workers,
            skip_bad_images=task.data.skip_bad_images,
        )
        split = self._choose(data, task.data)
        return self._judge(task, data, split, self._features(task, data, split))

    @once
    def _judge(
        self, task: Task, data: ViewDataModule, split: str, views: FeatureSet
    ) -> list[Measurement]:
        """Figures of the orbits' features, which all processes have made."""
        factor = varying_factor(views, self.factor, self.data)
        geometry = geometry_of(views, factor, self.reference)
        label = _labels(views, task.train)
        classifiers = fit_classifiers(task, self.classifier_views, self.clusters)
        pseudo = next(iter(classifiers.values())).pseudo
        clusters = [f"cluster {k}" for k in range(self.clusters)]
        along = {
            part: follow(
                views.features, task.train.columns(part), geometry.reference, label, classifier
            )
            for part, classifier in classifiers.items()
        }
        dataset = data.all_views_dataloader(split).dataset

        def pictures(i: int, points: Sequence[int]) -> list[np.ndarray]:
            images = dataset.__getitems__([Draw(0, int(views.index[i]))]).images[0, list(points)]
            return list(images.permute(0, 2, 3, 1).numpy())

        place = Path(self.data).resolve().name
        what, prefix = f"rendered orbits of {factor} ({place})", f"orbit_{_slug(place)}_"
        found = report(
            task,
            along,
            geometry,
            what,
            clusters if pseudo else task.train.class_names,
            pictures,
            self.worst,
            split=place,
            prefix=prefix,
        )
        return found + follow_predictor(task, views, geometry, what, place, prefix)

    def _choose(self, data: ViewDataModule, trained: ViewDataModule) -> str:
        """Make a split of the objects to be judged, and name it."""
        source, of_training = data.source, trained.source
        known = {of_training.objects[i] for i in of_training.split["train"].tolist()}
        stored = np.unique(np.concatenate(list(source.split.values())))
        unseen = np.array([i for i in stored.tolist() if source.objects[i] not in known], np.int64)
        if len(unseen) == 0:
            raise UserError(
                f"{self.data}: all of its {len(stored)} objects are training objects of "
                f"{of_training.root}: generate the orbits with another seed"
            )
        if len(unseen) < len(stored):
            log.info(
                "%s: %d of %d objects are training objects: left out",
                self.data,
                len(stored) - len(unseen),
                len(stored),
            )
        # at random: objects of regular places may all be of one class
        order = np.random.default_rng(0).permutation(len(unseen))[: self.objects]
        chosen = np.sort(unseen[order])
        split = f"orbit-{hashlib.sha256(chosen.tobytes()).hexdigest()[:8]}"
        source.split[split] = chosen
        return split

    def _features(self, task: Task, data: ViewDataModule, split: str) -> FeatureSet:
        precision = str(task.train.key.get("precision", "32-true"))
        with tempfile.TemporaryDirectory() as scratch:
            views = extract(
                task.encoder,  # type: ignore[arg-type]
                data,
                task.folder or scratch,
                split=split,
                name=_slug(Path(self.data).resolve().name),
                trainer_options={**task.trainer_options, "precision": precision},
                progress=task.progress,
            )
            if views.num_views < 2:
                raise UserError(f"{self.data}: its objects have one view, which is no orbit")
            if dict(views.parts) != dict(task.train.parts):
                raise UserError(
                    f"the training features have the parts {dict(task.train.parts)}, those of "
                    f"{self.data} {dict(views.parts)}: extract both with the same model"
                )
            # a scratch folder's mapped file goes with it
            return FeatureSet(**{**vars(views), "features": views.features.clone()})


def _labels(views: FeatureSet, train: FeatureSet) -> torch.Tensor:
    """The training classes of the orbits' objects, by name; -1 where the name is unknown."""
    number = {name: label for label, name in enumerate(train.class_names)}
    of_class = torch.tensor([number.get(name, -1) for name in (*views.class_names, "")])
    known = (views.labels >= 0) & (views.labels < len(views.class_names))
    return torch.where(known, of_class[torch.where(known, views.labels, -1)], -1)


def _slug(name: str) -> str:
    return re.sub(r"\W", "_", name)
