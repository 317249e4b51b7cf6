"""Maps of the features: views as points of the plane, by PCA and by t-SNE."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from torch import Tensor

from eval.artifacts import Artifact
from eval.cache import FeatureSet
from eval.evaluators.views import Views, draw_views
from eval.processes import once
from eval.protocol import Evaluator, Measurement, NotApplicable, Task
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO3, Circle, Group
from ssl_equiv.groups.conversions import quat_to_euler_xyz

Method = Literal["pca", "tsne"]
_TITLES = {"pca": "PCA", "tsne": "t-SNE"}
_CAPTIONS = {
    "pca": (
        "Each point is a view, at the two directions in which the features vary most: {share:.0%} "
        "of their variance. Distances can be read."
    ),
    "tsne": (
        "Each point is a view; neighbours here are neighbours among the features. Read which "
        "points lie together, not distances between groups, nor sizes of groups."
    ),
}
_CLASS = "Groups of one colour: the features tell classes apart."
_ANGLE = (
    "A colour that runs along a line or circle: the features follow the factor. Colours all mixed: "
    "they ignore it, or it is hidden by what varies more."
)
_COMPONENTS = 50  # what t-SNE is given, as its authors do
_FEWEST = 5
_CONSTANT = 1e-6  # deviations of less, as a share of the largest feature, are rounding


@dataclass(frozen=True)
class FeatureMaps(Evaluator):
    """2-D maps of a sample of views, coloured by class and by an angle.

    Keeps scatters ``pca_class``, ``tsne_rotation``, ... of each part, and measures ``pca_share``:
    the share of the variance that the PCA map shows. Rotations are coloured by their turn about
    the vertical axis, hues and plane rotations by themselves.

    Args:
        views: Views in a map, at most; drawn once, the same for every model and part.
        methods: Kinds of maps.
        factors: Factors to colour by; by default the data's first that is an angle, if any.
        perplexity: Neighbours that t-SNE looks at, about; lowered where there are few views.
        iterations: Steps of t-SNE.
    """

    views: int = 1000
    methods: tuple[Method, ...] = ("pca", "tsne")
    factors: tuple[str, ...] | None = None
    perplexity: float = 30.0
    iterations: int = 500

    @once
    def __call__(self, task: Task) -> list[Measurement]:
        """Map every part of ``task``; parts of the same columns share their maps.

        Raises:
            NotApplicable: there are too few views.
            UserError: a factor is unknown or no angle.
        """
        found = []
        for split, features in task.judged():
            drawn = draw_views(features, self.views)
            if len(drawn) < _FEWEST:
                raise NotApplicable(
                    f"the {features.split} features are of {len(drawn)} views: maps need "
                    f"{_FEWEST} or more"
                )
            colours = list(self._colours(features, drawn))
            made: dict[tuple[int, int], tuple[float, dict[Method, np.ndarray]]] = {}
            for part in task.parts:
                first, past = columns = features.columns(part)
                if columns not in made:
                    made[columns] = self._maps(drawn.features[:, first:past])
                share, maps = made[columns]
                baseline = min(1.0, 2 / (past - first))
                found.append(Measurement("pca_share", part, (share,), baseline, split))
                for method, points in maps.items():
                    for name, colour, meta in colours:
                        task.keep(_scatter(method, points, share, name, colour, meta, part, split))
        return found

    def _maps(self, sample: Tensor) -> tuple[float, dict[Method, np.ndarray]]:
        """The share of variance of two components, and points ``(n, 2)`` by method."""
        x = sample.numpy()
        maps: dict[Method, np.ndarray] = {}
        if x.std(axis=0).max() <= _CONSTANT * np.abs(x).max():  # one point, and rounding
            return 1.0, {"pca": np.zeros((len(x), 2))} if "pca" in self.methods else maps
        pca = PCA(min(_COMPONENTS, *x.shape), random_state=0).fit(x)
        components = pca.transform(x)
        for method in self.methods:
            points = components[:, :2] if method == "pca" else self._tsne(components)
            maps[method] = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))  # one column
        return float(pca.explained_variance_ratio_[:2].sum()), maps

    def _tsne(self, components: np.ndarray) -> np.ndarray:
        start = np.pad(components, ((0, 0), (0, max(0, 2 - components.shape[1]))))[:, :2]
        points: np.ndarray = TSNE(
            perplexity=min(self.perplexity, (len(components) - 1) / 3),
            init=1e-4 * start / start[:, 0].std(),
            max_iter=self.iterations,
            random_state=0,
        ).fit_transform(components)
        return points

    def _colours(
        self, features: FeatureSet, drawn: Views
    ) -> Iterator[tuple[str, np.ndarray, dict[str, Any]]]:
        """Name, colour ``(n,)`` and meta of each colouring."""
        meta = {
            "color_kind": "class",
            "color_label": "class",
            "classes": list(features.class_names),
        }
        yield "class", drawn.label.numpy(), meta
        known = [name for name, group in features.groups.items() if _angle(group) is not None]
        for name in known[:1] if self.factors is None else self.factors:
            group, label = features.group(name), _angle(features.group(name))
            if label is None:
                raise UserError(
                    f"{name} is of {group.name}, which has no angle to colour by: the data have "
                    f"{', '.join(known) or 'no factor with one'}"
                )
            radians = _radians(group, features.actions[name][drawn.owner, drawn.number])
            meta = {"color_kind": "angle", "color_label": f"{name}{label}"}
            yield name, radians.numpy().astype(np.float32), meta


def _angle(group: Group) -> str | None:
    """What is said of a factor's angle after its name; None where it has none."""
    if isinstance(group, SO3):
        return " about the vertical axis"
    return "" if isinstance(group, Circle) else None


def _radians(group: Group, elements: Tensor) -> Tensor:
    if isinstance(group, Circle):
        return elements[..., 0] * (2 * math.pi / group.turn)
    return quat_to_euler_xyz(elements)[..., 2]


def _scatter(
    method: Method,
    points: np.ndarray,
    share: float,
    name: str,
    colour: np.ndarray,
    meta: Mapping[str, Any],
    part: str,
    split: str,
) -> Artifact:
    suffix = f"_{re.sub(r'[^A-Za-z0-9]', '_', split)}" if split else ""
    caption = f"{_CAPTIONS[method].format(share=share)} {_CLASS if name == 'class' else _ANGLE}"
    return Artifact(
        kind="scatter",
        name=f"{method}_{name}{suffix}",
        part=part,
        title=f"{_TITLES[method]} of {part}{f' ({split})' if split else ''}, by {name}",
        arrays={"points": points.astype(np.float32), "color": colour},
        caption=caption,
        meta=meta,
    )
