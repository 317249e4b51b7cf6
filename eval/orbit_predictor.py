"""A method's own predictor along orbits: is a view's embedding where the predictor says it is?"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from eval.cache import FeatureSet
from eval.orbit_metrics import cosine_distance, mean_off_reference
from eval.orbit_plots import Figure, Geometry, drawings
from eval.predictor import PART, OwnPredictor
from eval.protocol import Measurement, NotApplicable, Task

STILL = "unmoved"


def predictor_error(task: Task, views: FeatureSet, reference: int) -> tuple[Tensor, Tensor] | None:
    """Cosine distance of each view's embedding from what the predictor makes of the reference's.

    Args:
        task: Whose method is judged.
        views: Features of N objects at T points of their orbits.
        reference: Number of the reference point.

    Returns:
        The distance, and that from the reference's embedding itself, ``(N, T)`` each; None where
        the method has no predictor of these actions.
    """
    try:
        own = OwnPredictor(replace(task, train=views, val=views, others={}))
    except NotApplicable:
        return None
    every = torch.arange(views.num_objects)[:, None], torch.arange(views.num_views)
    embedding, elements = own.embed(views, *every), own.elements(views, *every)
    start = elements[:, [reference]].expand_as(elements)
    moved = own.move(embedding[:, reference], own.group.relative(start, elements))
    pairs = torch.stack((embedding, moved), dim=2)
    return cosine_distance(pairs, 0)[..., 1], cosine_distance(embedding, reference)


def follow_predictor(
    task: Task, views: FeatureSet, geometry: Geometry, what: str, split: str, prefix: str
) -> list[Measurement]:
    """Keep the predictor's error along an orbit and give its mean; arguments as ``report``'s."""
    found = predictor_error(task, views, geometry.reference)
    if found is None:
        return []
    error, still = found
    figure = Figure(
        "predictor_error",
        "cosine distance from the prediction",
        "How far a view's embedding is from what the method's predictor makes of the reference's, "
        "told the action (0: exact).",
        {PART: error.numpy()},
    )
    beside = replace(figure, values={PART: error.numpy(), STILL: still.numpy()})
    for artifact in drawings(geometry, figure, what, prefix):
        if artifact.kind == "curve":
            (artifact,) = drawings(replace(geometry, directions=None), beside, what, prefix)
            text = f" {STILL.capitalize()}: from the reference's own embedding."
            artifact = replace(artifact, caption=artifact.caption + text)
        task.keep(artifact)
    mean, floor = (
        mean_off_reference(values, geometry.reference).mean().item() for values in (error, still)
    )
    name = f"orbit_{geometry.name}_predictor_error"
    return [Measurement(name, PART, (mean,), floor, split)]
