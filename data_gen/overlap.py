"""How far the rotations of two recipes overlap: is a test set out of distribution, or does it only
look so in Euler angles?
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from data_gen.distributions import F64
from data_gen.latents import sample_latents
from data_gen.recipe import Recipe


@dataclass(frozen=True)
class Overlap:
    """What two distributions of rotations have in common.

    Attributes:
        shared: Overlap coefficient ∫ min(p, q) in [0, 1]: 1 for one and the same distribution.
            ``None`` where one of them has no density (fixed values, choices, grids, paths).
        second_in_first: Share of the second's rotations that the first can draw.
        first_in_second: Share of the first's rotations that the second can draw.
        nearest: Degrees from rotations of the second to the nearest of the first's: the
            median, the 95th percentile and the greatest.
        own: The same from the first's rotations to its other ones: what no distance looks like.
    """

    shared: float | None
    second_in_first: float | None
    first_in_second: float | None
    nearest: tuple[float, float, float]
    own: tuple[float, float, float]

    def __str__(self) -> str:
        def share(value: float | None) -> str:
            return "unknown (no density)" if value is None else f"{100 * value:.1f} %"

        def degrees(values: tuple[float, float, float]) -> str:
            return "median {:.1f}, 95 % {:.1f}, greatest {:.1f} degrees".format(*values)

        return "\n".join(
            [
                f"in common (overlap coefficient)     {share(self.shared)}",
                f"second's rotations the first draws  {share(self.second_in_first)}",
                f"first's rotations the second draws  {share(self.first_in_second)}",
                f"second's to the nearest of first's  {degrees(self.nearest)}",
                f"first's to its own nearest          {degrees(self.own)}",
            ]
        )


def rotation_overlap(first: Recipe, second: Recipe, seed: int = 0, draws: int = 20_000) -> Overlap:
    """Compare the rotations of two recipes by ``draws`` of each.

    Both Euler triples of a rotation are counted, so two recipes with different angles and the same
    rotations overlap fully.
    """
    angles = [_draw(recipe, draws, (seed, place)) for place, recipe in enumerate((first, second))]
    shared = None
    second_in_first: float | None = None
    first_in_second: float | None = None
    if not any(r.grid or r.trajectory for r in (first, second)):
        p, q = (_both(first, second, euler) for euler in angles)
        if p is not None and q is not None:
            # ∫ min(p, q) as a mean over the draws of either, each weighted by its own density
            ratios = [np.minimum(1, p[1] / p[0]), np.minimum(1, q[0] / q[1])]
            shared = float(np.mean(ratios))
            second_in_first = float(np.mean(q[0] > 0))
            first_in_second = float(np.mean(p[1] > 0))
    quaternions = [Rotation.from_euler("xyz", euler).as_quat() for euler in angles]
    tree = KDTree(np.concatenate([quaternions[0], -quaternions[0]]))
    return Overlap(
        shared,
        second_in_first,
        first_in_second,
        nearest=_degrees(tree, quaternions[1], 1),
        own=_degrees(tree, quaternions[0], 2),
    )


def _draw(recipe: Recipe, draws: int, seed: tuple[int, ...]) -> F64:
    objects = -(-draws // recipe.num_views)
    drawn = [sample_latents(recipe, (*seed, i))[:, :3] for i in range(objects)]
    return np.concatenate(drawn)[:draws]


def _both(first: Recipe, second: Recipe, euler: F64) -> tuple[F64, F64] | None:
    p, q = first.rotation.density(euler), second.rotation.density(euler)
    return None if p is None or q is None else (p, q)


def _degrees(tree: KDTree, quaternions: F64, neighbour: int) -> tuple[float, float, float]:
    chord = tree.query(quaternions, k=[neighbour])[0][:, 0]
    angle = np.degrees(4 * np.arcsin(np.clip(chord / 2, 0, 1)))
    median, most, greatest = np.percentile(angle, [50, 95, 100])
    return float(median), float(most), float(greatest)
