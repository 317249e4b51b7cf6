"""A million SO(3) elements, float32, one core, beside scipy's Rotation (float64, one core).

``python -m benchmarks.groups``; the target is under 0.2 s each for sampling and composing.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from benchmarks.common import timed, write
from ssl_equiv.groups import SE3, SO3, Group

COUNT = 1_000_000
BOX = {"low": -1.57, "high": 1.57}


def ours(group: Group) -> dict[str, dict[str, float]]:
    generator = torch.Generator().manual_seed(0)
    g, h = (group.sample((COUNT,), generator=generator) for _ in range(2))
    points = torch.randn(COUNT, 1, 3, generator=generator)
    return {
        "sample": timed(lambda: group.sample((COUNT,), generator=generator)),
        "compose": timed(lambda: group.compose(g, h)),
        "inverse": timed(lambda: group.inverse(g)),
        "relative": timed(lambda: group.relative(g, h)),
        "matrix": timed(lambda: group.matrix(g)),
        "log": timed(lambda: group.log(g)),
        "distance": timed(lambda: group.distance(g, h)),
        "act": timed(lambda: group.act(g, points)),
    }


def scipys() -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(0)
    g, h = (Rotation.random(COUNT, rng=rng) for _ in range(2))
    points = rng.standard_normal((COUNT, 3))
    angles = rng.uniform(BOX["low"], BOX["high"], (COUNT, 3))
    return {
        "sample": timed(lambda: Rotation.random(COUNT, rng=rng)),
        "sample_euler_box": timed(lambda: Rotation.from_euler("xyz", angles)),
        "compose": timed(lambda: g * h),
        "inverse": timed(lambda: g.inv()),
        "relative": timed(lambda: g.inv() * h),
        "matrix": timed(lambda: g.as_matrix()),
        "log": timed(lambda: g.as_rotvec()),
        "distance": timed(lambda: (g.inv() * h).magnitude()),
        "act": timed(lambda: g.apply(points)),
    }


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    so3 = ours(SO3())
    so3["sample_euler_box"] = timed(lambda: SO3().sample((COUNT,), generator=generator, **BOX))
    results = {"count": COUNT, "SO3": so3, "SE3": ours(SE3("base")), "scipy": scipys()}
    for name, rows in results.items():
        if isinstance(rows, dict):
            print(f"{name}, ms for {COUNT:,}, wall (processor):")
            for row, took in rows.items():
                print(f"  {row:16} {took['median'] * 1e3:5.0f} ({took['cpu'] * 1e3:.0f})")
    print(write("groups", results))


if __name__ == "__main__":
    main()
