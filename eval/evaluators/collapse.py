"""Collapse and geometry: how many directions features use, and how views lie to each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eval.artifacts import Artifact
from eval.cache import FeatureSet
from eval.evaluators.views import draw_views
from eval.geometry import Alignment, Spectrum, Spread, uniformity
from eval.processes import once
from eval.protocol import Evaluator, Measurement, NotApplicable, Task
from ssl_equiv.errors import UserError

_VIEWS = 8192  # at a time
_FLOOR = 1e-8  # of the largest deviation: below is rounding

_ALL_ONE = {
    "rankme": 1.0,
    "effective_rank": 1.0,
    "participation_ratio": 1.0,
    "dead_columns": 1.0,
    "spread": 0.0,
    "uniformity": 0.0,
}
"""What features get that are all one."""


@dataclass(frozen=True)
class Collapse(Evaluator):
    """RankMe, effective rank, spectrum, spread, dead columns, alignment and uniformity.

    Keeps a curve ``spectrum`` of each part. Alignment is left out where objects have one view.

    Args:
        views: Views whose pairs give uniformity, drawn once; all others are of all views.
        t: Sharpness of uniformity.
    """

    views: int = 2000
    t: float = 2.0

    @once
    def __call__(self, task: Task) -> list[Measurement]:
        """Judge every part of ``task``.

        Raises:
            NotApplicable: there is one view in all.
            UserError: uniformity of one view is asked for.
        """
        if self.views < 2:
            raise UserError(f"a sample of {self.views} views asked for: take 2 or more")
        found = []
        spectra: dict[str, dict[str, np.ndarray]] = {part: {} for part in task.parts}
        for split, features in task.judged():
            if features.num_objects * features.num_views < 2:
                raise NotApplicable(
                    f"the {features.split} features are of one view: collapse is about two or more"
                )
            for part in task.parts:
                values, baselines, deviations = self._judge(features, part)
                spectra[part][split or features.split] = deviations
                found += [
                    Measurement(name, part, (value,), baselines[name], split)
                    for name, value in values.items()
                ]
        for part, by_split in spectra.items():
            task.keep(_curve(part, by_split))
        return found

    def _judge(
        self, features: FeatureSet, part: str
    ) -> tuple[dict[str, float], dict[str, float], np.ndarray]:
        """Figures, their baselines, and the deviations along the principal components."""
        first, past = features.columns(part)
        width = past - first
        alone = {"sync_on_compute": False}  # the other processes have no part in it
        spectrum, spread = Spectrum(width, **alone), Spread(width, **alone)
        aligned = Alignment(width, **alone) if features.num_views > 1 else None
        metrics = [spectrum, spread] if aligned is None else [spectrum, spread, aligned]
        for some in _batches(features):
            for metric in metrics:
                metric.update(some[..., first:past])
        figures = spectrum.compute()
        deviations = figures.pop("deviations").reshape(-1).numpy()
        sample = draw_views(features, self.views).features[:, first:past]
        figures |= {"spread": spread.compute(), "uniformity": uniformity(sample, self.t)}
        baselines = dict(_ALL_ONE)
        if aligned is not None:
            pairs = aligned.compute()
            figures["alignment"] = pairs["alignment"]
            baselines["alignment"] = pairs["strangers"].item()
        return {name: value.item() for name, value in figures.items()}, baselines, deviations


def _batches(features: FeatureSet) -> Iterator[Tensor]:
    yield from torch.split(features.features, max(1, _VIEWS // features.num_views))


def _curve(part: str, spectra: dict[str, np.ndarray]) -> Artifact:
    shares = [values / max(values[0], 1e-300) for values in spectra.values()]
    return Artifact(
        kind="curve",
        name="spectrum",
        part=part,
        title=f"Spectrum of {part}",
        arrays={
            "x": np.arange(1, len(shares[0]) + 1),
            "y": np.stack([share.clip(_FLOOR) for share in shares]),
        },
        caption=(
            "Standard deviation along each principal component, as a share of the largest. A line "
            "that falls off a cliff has collapsed to the components before it; the flatter the "
            "line, the more directions are used."
        ),
        meta={
            "series": list(spectra),
            "x_label": "principal component",
            "y_label": "deviation / largest",
            "log_y": True,
        },
    )
