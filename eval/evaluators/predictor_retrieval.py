"""Does the method's predictor find the view that an action leads to?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eval.cache import FeatureSet
from eval.predictor import PART, OwnPredictor
from eval.processes import once
from eval.protocol import Evaluator, Measurement, Task
from eval.ranks import (
    chance_pose_error,
    chance_scores,
    nearest,
    pose_error,
    retrieval_ranks,
    retrieval_scores,
)
from eval.targets import Convention
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO3

_CHUNK = 16  # objects at a time


@dataclass(frozen=True)
class PredictorRetrieval(Evaluator):
    """MRR, H@k and PRE: ``predictor_mrr``, ``predictor_h1``, ``predictor_h5``, ``predictor_pre``.

    From a start view's embedding the predictor makes that of another view, of which the relative
    action is told; the other view is then looked for among the object's views. With the suffix
    ``_published`` as SIE does (arXiv 2302.10283): the start is the object's first view, which
    stays among the candidates and is a target too. Without it the start is any view, and neither
    a target nor a candidate: what is moved has to be moved. PRE looks for the nearest embedding
    among all views of all objects and compares poses; only rotations have one.

    Args:
        objects: Objects that are judged, None for all. PRE gets smaller with the number of views
            to choose from: the papers' figure needs all.
        starts: Start views of each object, None for all.
        ks: k of the hit rates.
        pose_queries: Predictions that PRE is taken over, None for all.
        convention: Sign of the quaternions that the predictor is told: that of its training.
        seed: Seed of the choices.
    """

    objects: int | None = 100
    starts: int | None = 5
    ks: tuple[int, ...] = (1, 5)
    pose_queries: int | None = 1024
    convention: Convention = "canonical"
    seed: int = 0

    @once
    def __call__(self, task: Task) -> list[Measurement]:
        """Judge the predictor; parts are not looked at."""
        given = {"objects": self.objects, "starts": self.starts, "ks": min(self.ks, default=1)}
        for name, value in {**given, "pose_queries": self.pose_queries}.items():
            if value is not None and value < 1:
                raise UserError(f"PredictorRetrieval: {name} is {value}: choose 1 or more")
        predictor = OwnPredictor(task, self.convention)
        found = []
        for split, views in task.judged():
            space = self._space(predictor, views)
            for suffix in ("", "_published"):
                scores, chance = self._judge(space, suffix == "_published")
                found += [
                    Measurement(
                        f"predictor_{name}{suffix}", PART, (score,), chance.get(name), split
                    )
                    for name, score in scores.items()
                ]
        return found

    def _space(self, predictor: OwnPredictor, views: FeatureSet) -> _Space:
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(views.num_objects, generator=generator)
        objects, every = order[: self.objects, None], torch.arange(views.num_views)
        rotations = [f for f in predictor.factors if isinstance(views.groups[f], SO3)]
        return _Space(
            predictor,
            predictor.embed(views, objects, every),
            predictor.elements(views, objects, every),
            views.actions[rotations[0]][objects, every] if rotations else None,
        )

    def _judge(self, space: _Space, published: bool) -> tuple[dict[str, float], dict[str, float]]:
        """Scores and what chance gets."""
        generator = torch.Generator().manual_seed(self.seed)
        num_objects, num_views = space.elements.shape[:2]
        pairs = self._pairs(num_objects, num_views, published, generator)
        values = space.scores(pairs, self.ks, published)
        chance = chance_scores(num_views - (0 if published else 1), self.ks)
        if space.quats is not None:
            chosen = torch.randperm(pairs.shape[1:].numel(), generator=generator)
            chosen = pairs.flatten(1)[:, chosen[: self.pose_queries]]
            values["pre"] = space.pose_error(chosen, space.quats, published)
            chance["pre"] = chance_pose_error(space.quats)
        return values, chance

    def _pairs(
        self, num_objects: int, num_views: int, published: bool, generator: torch.Generator
    ) -> Tensor:
        """Objects, start views and target views ``(3, N, S, T)``, of a row's one start."""
        objects = torch.arange(num_objects)[:, None, None]
        if published:
            starts = torch.zeros(num_objects, 1, 1, dtype=torch.int64)
            targets = torch.arange(num_views).expand(num_objects, 1, num_views)
        else:
            keys = torch.rand(num_objects, num_views, generator=generator)
            starts = keys.argsort(dim=1)[:, : self.starts, None]
            targets = (starts + torch.arange(1, num_views)) % num_views
        return torch.stack([x.expand(targets.shape) for x in (objects, starts, targets)])


@dataclass(frozen=True)
class _Space:
    """What is searched: embeddings ``(N, V, E)`` of N objects' views, their elements ``(N, V, K)``
    of the predictor's group and their rotations ``(N, V, 4)``, if it is told any."""

    predictor: OwnPredictor
    embedding: Tensor
    elements: Tensor
    quats: Tensor | None

    def scores(self, pairs: Tensor, ks: tuple[int, ...], published: bool) -> dict[str, float]:
        """MRR and hit rates of pairs ``(3, N, S, T)``."""
        ranks = []
        for some in torch.split(pairs, _CHUNK, dim=1):
            objects, start, target = some
            moved = self.predictor.move(
                self.embedding[objects[..., 0], start[..., 0]].flatten(0, 1),
                self._actions(some).flatten(0, 1),
            )
            found = retrieval_ranks(
                moved.view(len(objects), -1, moved.shape[-1]),
                self.embedding[objects[:, 0, 0]],
                target.flatten(1),
                None if published else start.flatten(1),
            )
            ranks.append(found.flatten())
        return {
            name: score.item() for name, score in retrieval_scores(torch.cat(ranks), ks).items()
        }

    def pose_error(self, pairs: Tensor, quats: Tensor, published: bool) -> float:
        """PRE of pairs ``(3, Q)``, the views' rotations being ``quats (N, V, 4)``."""
        objects, start, target = pairs
        moved = self.predictor.move_once(self.embedding[objects, start], self._actions(pairs))
        own = None if published else objects * quats.shape[1] + start
        found = nearest(moved, self.embedding.flatten(0, 1), own)
        return pose_error(quats[objects, target], quats.flatten(0, 1)[found]).item()

    def _actions(self, pairs: Tensor) -> Tensor:
        objects, start, target = pairs
        return self.predictor.group.relative(
            self.elements[objects, start], self.elements[objects, target]
        )
