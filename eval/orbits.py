"""Figures along orbits: what moves, what is recognised, and where the model breaks.

Every kind of orbit, of pictures or of rendered objects, is judged here by the same figures, from
the features at its points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eval.artifacts import Artifact
from eval.orbit_classifier import Classifier, fit_classifier
from eval.orbit_metrics import (
    consensus_class,
    cosine_distance,
    mean_off_reference,
    orbit_accuracy,
    orbit_consensus,
    orbit_consistency,
    relative_distance,
    worst_case_accuracy,
)
from eval.orbit_plots import Figure, Geometry, drawings, gallery
from eval.protocol import Measurement, Task

Pictures = Callable[[int, Sequence[int]], list[np.ndarray]]
"""The pictures ``(H, W, 3)`` uint8 of an object at some points of its orbit."""


@dataclass(frozen=True)
class Along:
    """What was found along the orbits of N objects, T points each, of one part.

    Args:
        cosine: Cosine distance from the reference, ``(N, T)``.
        relative: Euclidean distance from it over its norm, ``(N, T)``.
        apart: Mean cosine and relative distance of two objects' references: what far is.
        probabilities: Of the classes, ``(N, T, C)``.
        predicted: The likeliest class, ``(N, T)``.
        target: The true class, or, without labels, the consensus, ``(N,)``; of an object that
            alone has no label, the consensus too.
        labelled: Which objects have a label that the classifier knows, ``(N,)``.
        chance: Share of pairs of random predictions that agree.
        constant: Accuracy of always answering the most frequent training class.
    """

    cosine: Tensor
    relative: Tensor
    apart: tuple[float, float]
    probabilities: Tensor
    predicted: Tensor
    target: Tensor
    labelled: Tensor
    chance: float
    constant: float

    @property
    def confidence(self) -> Tensor:
        """Probability of the target, ``(N, T)``."""
        index = self.target[:, None, None].expand(*self.predicted.shape, 1)
        return self.probabilities.gather(-1, index).squeeze(-1)


def fit_classifiers(task: Task, views: int, clusters: int) -> dict[str, Classifier]:
    """One classifier a part, for all orbits; arguments as :func:`fit_classifier`."""
    return {part: fit_classifier(task.train, part, views, clusters) for part in task.parts}


def follow(
    features: Tensor,
    columns: tuple[int, int],
    reference: int,
    label: Tensor,
    classifier: Classifier,
) -> Along:
    """Judge the features along orbits.

    Args:
        features: ``(N, T, D)`` at the points of N objects' orbits.
        columns: First and past-last column of the part.
        reference: Number of the reference point.
        label: Class of each object, ``(N,)``; negative where unknown.
        classifier: Of this part.
    """
    features = features[..., columns[0] : columns[1]]
    probabilities = classifier.log_probabilities(features).exp()
    predicted = probabilities.argmax(dim=-1)
    labelled = (label >= 0) & (not classifier.pseudo)
    shares = torch.bincount(predicted.flatten()).double() / predicted.numel()
    constant = label[labelled] == classifier.frequency.argmax()
    references = features[:, reference]
    return Along(
        cosine=cosine_distance(features, reference),
        relative=relative_distance(features, reference),
        apart=_apart(references),
        probabilities=probabilities,
        predicted=predicted,
        target=torch.where(labelled, label, consensus_class(probabilities)),
        labelled=labelled,
        chance=shares.square().sum().item(),
        constant=constant.double().mean().item() if len(constant) else 0.0,
    )


def _apart(references: Tensor) -> tuple[float, float]:
    """Mean distances of two different objects, the second as the reference of the first."""
    number = len(references)
    if number < 2:
        return 0.0, 0.0
    some = references[:64]
    n = len(some)
    # as if all objects were points of one orbit, and each in turn its reference
    cosine, relative = (
        sum(distance(some[None], i).sum().item() for i in range(n)) / (n * (n - 1))
        for distance in (cosine_distance, relative_distance)
    )
    return cosine, relative


def measurements(
    along: Mapping[str, Along], geometry: Geometry, split: str = ""
) -> list[Measurement]:
    """Figures of each part: ``orbit_rotation_accuracy``, ...

    ``accuracy`` (mean over the orbit), ``accuracy_reference``, ``accuracy_worst`` (share of objects
    that are right everywhere on the orbit) and ``confidence`` are of objects with labels.
    """
    found = []
    for part, of in along.items():
        r = geometry.reference
        figures: dict[str, tuple[Tensor, float | None]] = {}
        if of.labelled.any():
            predicted, label = of.predicted[of.labelled], of.target[of.labelled]
            figures = {
                "accuracy": (orbit_accuracy(predicted, label), of.constant),
                "accuracy_reference": (orbit_accuracy(predicted[:, [r]], label), of.constant),
                "accuracy_worst": (worst_case_accuracy(predicted, label), of.constant),
                "confidence": (of.confidence[of.labelled].double().mean(dim=-1), None),
            }
        figures |= {
            "consistency": (orbit_consistency(of.predicted), of.chance),
            "consensus": (orbit_consensus(of.probabilities), None),
            "cosine_distance": (mean_off_reference(of.cosine, r), of.apart[0]),
            "relative_distance": (mean_off_reference(of.relative, r), of.apart[1]),
        }
        found += [
            Measurement(
                f"orbit_{geometry.name}_{name}", part, (values.mean().item(),), baseline, split
            )
            for name, (values, baseline) in figures.items()
        ]
    return found


def figures_of(along: Mapping[str, Along], geometry: Geometry) -> list[Figure]:
    """What is drawn: distances, and accuracy and confidence, or consensus where labels lack."""
    some = next(iter(along.values()))
    of = geometry.points[geometry.reference]
    found = [
        Figure(
            "cosine_distance",
            "cosine distance",
            f"How far features move from those at {of}: 0 is invariant.",
            {part: a.cosine.numpy() for part, a in along.items()},
        ),
        Figure(
            "relative_distance",
            "relative distance",
            f"Distance of features from those at {of}, over their norm: 0 is invariant.",
            {part: a.relative.numpy() for part, a in along.items()},
            on_maps=False,
        ),
    ]
    if some.labelled.any():
        kept = some.labelled
        right = {
            part: (a.predicted == a.target[:, None])[kept].double().numpy()
            for part, a in along.items()
        }
        sure = {part: a.confidence[kept].numpy() for part, a in along.items()}
        found += [
            Figure(
                "accuracy",
                "accuracy",
                "Share of objects whose class a linear classifier of the features gets right.",
                right,
                share=True,
                baseline=some.constant,
            ),
            Figure("confidence", "confidence", "Probability given to the right class.", sure),
        ]
    else:
        agree = {
            part: (a.predicted == a.target[:, None]).double().numpy() for part, a in along.items()
        }
        sure = {part: a.confidence.numpy() for part, a in along.items()}
        found += [
            Figure(
                "consensus",
                "consensus",
                "Share of objects given the class that their orbit as a whole is given.",
                agree,
                share=True,
            ),
            Figure("confidence", "confidence", "Probability of the orbit's consensus class.", sure),
        ]
    return found


def report(
    task: Task,
    along: Mapping[str, Along],
    geometry: Geometry,
    what: str,
    class_names: Sequence[str],
    pictures: Pictures,
    worst: int,
    split: str = "",
    prefix: str = "orbit_",
) -> list[Measurement]:
    """Keep all that is drawn of one kind of orbit, and give its figures.

    Args:
        task: Where artifacts go.
        along: What was found, by part.
        geometry: The orbit.
        what: The orbit in words, for titles.
        class_names: Names of the classes that are predicted.
        pictures: Gives the objects' pictures.
        worst: How many of the worst points are shown.
        split: What was judged.
        prefix: Before the artifacts' names.
    """
    if task.folder is not None:
        for figure in figures_of(along, geometry):
            for artifact in drawings(geometry, figure, what, prefix):
                task.keep(artifact)
        if worst:
            part = "all" if "all" in along else next(iter(along))
            of = along[part]
            task.keep(worst_points(of, geometry, what, class_names, pictures, worst, part, prefix))
    return measurements(along, geometry, split)


def worst_points(
    along: Along,
    geometry: Geometry,
    what: str,
    class_names: Sequence[str],
    pictures: Pictures,
    number: int,
    part: str,
    prefix: str = "orbit_",
) -> Artifact:
    """The points of least confidence, one an object, each beside its reference."""
    confidence, r = along.confidence, geometry.reference
    if along.labelled.any():
        confidence = confidence.masked_fill(~along.labelled[:, None], torch.inf)
    least, at = confidence.min(dim=1)
    images: list[np.ndarray] = []
    captions = []
    for i in least.argsort()[: min(number, int(least.isfinite().sum()))].tolist():
        true = class_names[int(along.target[i])]
        told = f"true {true}" if along.labelled[i] else f"consensus {true}"
        images += pictures(i, [int(at[i]), r])
        for point in (int(at[i]), r):
            predicted = class_names[int(along.predicted[i, point])]
            captions.append(
                f"{geometry.points[point]}: {told}, predicted {predicted}, "
                f"confidence {along.confidence[i, point].item():.2f}"
            )
    return gallery(geometry, images, captions, what, part, prefix)
