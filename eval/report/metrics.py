"""What the names of metrics tell: where they belong, their unit, and which way is better."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", ""]
GROUPS = (
    "Invariant",
    "Equivariant",
    "Detection",
    "Equivariance error",
    "Orbits",
    "Sequence",
    "Collapse and geometry",
    "Other",
)

PUBLISHED = " (as published)"
"""How the title of a metric in the published convention ends."""
# the first pattern found in a name tells its group
_GROUPS = (
    (r"_ap(11|40)_|_centre_a", "Detection"),
    (r"_length\d+|^path_|^aggregate|scanpath|num_views", "Sequence"),
    (r"orbit|nero|consensus", "Orbits"),
    (
        r"equivariance|^consistency|composition|inverse|identity|linear_map|predictor_error"
        r"|known_action",
        "Equivariance error",
    ),
    (
        r"rankme|(^|_)rank|participation|alignment|uniformity|spectrum|spread|dead|isotropy"
        r"|condition|pca|tsne|collapse|strangers|variance",
        "Collapse and geometry",
    ),
    (
        r"r2|degrees|mrr|hits?_|(^|_)h_?(at_?)?\d|(^|_)pre(_|$)|rmse|mae|distance_(mean|median)",
        "Equivariant",
    ),
    (
        r"top_?\d|knn|accuracy|shot|nmi|(^|_)ari|purity|retriev|(^|_)map(_|$)|precision|recall"
        r"|mutual|rand_|cluster|miou",
        "Invariant",
    ),
)
# and its direction; the constant "" is told for what is neither good nor bad by itself
_BETTER: tuple[tuple[str, Better], ...] = (
    (r"_centre_a[tso]e$", "lower"),
    (r"_ap(11|40)_|_centre_ap", "higher"),
    (r"spread|pca_share|strangers|confidence|distance(?!_me)|moves", ""),
    (
        r"^consistency|error|distance_me|degrees|rmse|mae|(^|_)pre(_|$)|alignment|uniformity|dead|loss|inconsisten|gap"
        r"|composition|inverse|identity|drop|violation|residual",
        "lower",
    ),
    (
        r"r2|top_?\d|miou|knn|accuracy|shot|nmi|(^|_)ari|purity|retriev|(^|_)map(_|$)|precision|recall"
        r"|mutual|rand_|mrr|hits?_|(^|_)h_?(at_?)?\d|rankme|(^|_)rank|participation|consisten"
        r"|consensus|share_correct|(^|_)worst_case",
        "higher",
    ),
)
_UNITS = ((r"degrees", "°"), (r"percent", "%"))
_WORDS = (
    (r"_(3d|bev|image)_ap(11|40)_", lambda m: f" AP {m[1].replace('3d', '3D')} R{m[2]} "),
    (r"_centre_ap_(\S+)m$", r" AP within \1 m of the centre"),
    (r"_centre_ap$", " AP by centre distance"),
    (r"_centre_ate$", " translation error, m"),
    (r"_centre_ase$", " scale error"),
    (r"_centre_aoe$", " orientation error, rad"),
    (r"(^|_)top_?(\d+)", r"\1top-\2"),
    (r"(^|_)r2(?=_|$)", r"\1R²"),
    (r"_per_dim", " per dim."),
    (r"(degrees|distance)_(mean|median)", r"error, \2"),
    (r"(^|_)h(\d+)(?=_|$)", r"\1H@\2"),
    (r"(^|_)pre(?=_|$)", r"\1PRE"),
    (r"_length(\d+)", r", length \1"),
    (r"_k(\d+)", r", k = \1"),
    (r"few_shot_(.*)_n(\d+)", r"\2-shot \1"),
    (r"\bmrr\b|(?<=_)mrr", "MRR"),
    (r"\bnmi\b|(?<=_)nmi", "NMI"),
    (r"\bari\b|(?<=_)ari", "ARI"),
    (r"knn", "k-NN"),
    (r"miou", "mIoU"),
    (r"rankme", "RankMe"),
    (r"(?<![a-z])mlp", "MLP"),
    (r"_published", PUBLISHED),
)
_MEASURED = re.compile(
    r"(?P<subject>\w+?)_(?:r2_\w+?|(?:degrees|distance)_me\w+?|accuracy\w*?|confidence|consistency"
    r"|consensus|(?:cosine|relative)_distance|predictor_error)(?P<published>_published)?"
)
# the figures to look at first, in this order, as many as there are
HEADLINE = (
    r"top1",
    r"knn_top1_k20",
    r"rotation_r2_pooled",
    r"rotation_r2_per_dim",
    r"rotation_degrees_median",
    r"yaw_r2_pooled",
    r"points_miou",
    r"equivariance_error_yaw_90",
    r"mean_3d_ap40_moderate",
    r"car_3d_ap40_moderate",
    r"mean_centre_ap",
    r"predictor_mrr",
    r"predictor_error_vs_identity",
    r"linear_map_error_vs_identity",
    r"orbit_\w*rotation\w*_consistency",
    r"rankme",
)


@dataclass(frozen=True)
class Metric:
    """What a metric's name tells.

    Args:
        name: As in ``results.json``.
        title: For people.
        group: One of :data:`GROUPS`.
        better: Which way is better; "" where neither is, or it is not known.
        unit: "" where it has none.
    """

    name: str
    title: str
    group: str
    better: Better
    unit: str

    @property
    def heading(self) -> str:
        """Title, unit and arrow."""
        arrow = {"higher": " ↑", "lower": " ↓", "": ""}[self.better]
        return f"{self.title}{f' [{self.unit}]' if self.unit else ''}{arrow}"


def describe(name: str) -> Metric:
    """What a metric's name tells; an unknown one is of the group ``Other``."""
    lower = name.lower()
    title = name
    for pattern, words in _WORDS:
        title = re.sub(pattern, words, title)
    return Metric(
        name,
        " ".join(title.replace("_", " ").split()),
        _first(_GROUPS, lower, "Other"),
        _first(_BETTER, lower, ""),
        _first(_UNITS, lower, ""),
    )


def _first(rules: Iterable[tuple[str, str]], name: str, otherwise: str):  # type: ignore[no-untyped-def]
    return next((found for pattern, found in rules if re.search(pattern, name)), otherwise)


def subject(name: str) -> str:
    """What a metric is of: ``rotation`` of ``rotation_r2_pooled``; "" where the name tells none."""
    found = _MEASURED.fullmatch(name)
    if found is None:
        return ""
    what = found["subject"].replace("_", " ")
    return what + PUBLISHED if found["published"] else what


def headline(names: Iterable[str], most: int = 7) -> list[str]:
    """The metrics to look at first; the first few where none is known."""
    names = list(names)
    found = [name for pattern in HEADLINE for name in names if re.fullmatch(pattern, name)]
    return list(dict.fromkeys(found))[:most] or names[:most]


def told(value: float, metric: Metric, spread: float | None = None) -> str:
    """A figure as people read it: three decimals, fewer where they would tell nothing."""
    if value != value:
        return "not a number"
    size = max(abs(value), 0.0 if spread is None or spread != spread else abs(spread))
    if size in (float("inf"), 0.0):
        return f"{value:.0f}"
    if size < 1e-3 or size >= 1e6:
        return f"{value:.2e}"
    decimals = 1 if metric.unit == "°" else 3 if size < 10 else 2 if size < 100 else 1
    return f"{value:.{decimals}f}"
