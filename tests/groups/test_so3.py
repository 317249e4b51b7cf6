"""SO(3): the published relative rotations, uniform sampling, and distances that keep digits."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.transform import Rotation

from ssl_equiv.groups import SO3
from ssl_equiv.groups.conversions import canonical_quat, euler_xyz_to_quat, quat_to_euler_xyz

from .cases import assert_canonical, generator

GOLDEN = Path(__file__).parents[1] / "golden" / "relative_rotation.npz"
GROUP = SO3()


def test_relative_rotations_are_the_published_targets() -> None:
    golden = {k: torch.from_numpy(v) for k, v in np.load(GOLDEN, allow_pickle=False).items()}
    g1, g2 = euler_xyz_to_quat(golden["euler_1"]), euler_xyz_to_quat(golden["euler_2"])
    relative = GROUP.relative(g1, g2)
    # The published sign is not canonical; it follows scipy's product.
    torch.testing.assert_close(relative, canonical_quat(golden["quat_xyzw"]))
    torch.testing.assert_close(GROUP.matrix(relative), golden["matrix"])
    torch.testing.assert_close(quat_to_euler_xyz(relative), golden["euler_rel"])


def test_log_distance_and_action_agree_with_scipy() -> None:
    r, s = (Rotation.random(100_000, rng=np.random.default_rng(seed)) for seed in (0, 1))
    g, h = (torch.from_numpy(rotation.as_quat(canonical=True)) for rotation in (r, s))
    rotvec = torch.from_numpy(r.as_rotvec())
    torch.testing.assert_close(GROUP.log(g), rotvec, atol=1e-12, rtol=0)
    torch.testing.assert_close(GROUP.exp(rotvec), g, atol=1e-12, rtol=0)
    angle = torch.from_numpy((r.inv() * s).magnitude())
    torch.testing.assert_close(GROUP.distance(g, h), angle, atol=1e-12, rtol=0)
    relative = torch.from_numpy((r.inv() * s).as_quat(canonical=True))
    torch.testing.assert_close(GROUP.relative(g, h), relative, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-6, 1e-3, 1.0, math.pi - 1e-3, math.pi - 1e-5])
def test_distance_keeps_its_digits(angle: float, dtype: torch.dtype) -> None:
    axis = torch.tensor([0.6, 0.0, -0.8], dtype=dtype)
    distance = GROUP.distance(GROUP.identity(dtype=dtype), GROUP.exp(angle * axis))
    eps = torch.finfo(dtype).eps
    assert distance.item() == pytest.approx(angle, rel=4 * eps, abs=0)


def test_a_half_turn_is_at_distance_pi_whatever_its_sign() -> None:
    half_turn = torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    one = GROUP.identity(dtype=torch.float64)
    for sign in (1, -1):
        assert GROUP.distance(one, sign * half_turn).item() == pytest.approx(math.pi)
        assert GROUP.log(sign * half_turn).tolist() == pytest.approx([0, math.pi, 0])
    assert GROUP.distance(half_turn, -half_turn).item() == 0


def test_unranged_samples_are_haar_uniform() -> None:
    count = 50_000
    g = GROUP.sample((count,), generator=generator(7), dtype=torch.float64)
    rotvec = GROUP.log(g).numpy()
    angle = np.linalg.norm(rotvec, axis=-1)
    assert stats.kstest(angle, lambda x: (x - np.sin(x)) / np.pi).pvalue > 0.01
    for axis in (rotvec / angle[:, None]).T:  # coordinates of a uniform direction are uniform
        assert stats.kstest(axis, stats.uniform(-1, 2).cdf).pvalue > 0.01
    # First and second moments of a Haar matrix: 0, and 1/3 on the diagonal.
    rows = GROUP.matrix(g).flatten(-2)
    assert rows.mean(0).abs().max() < 5 * (1 / 3 / count) ** 0.5
    covariance = rows.mT @ rows / count
    assert (covariance - torch.eye(9) / 3).abs().max() < 0.01


def test_ranged_samples_have_uniform_euler_angles() -> None:
    low, high = [-math.pi / 2, -0.5, 0.0], [math.pi / 2, 0.25, 1.0]
    g = GROUP.sample((20_000,), generator=generator(3), low=low, high=high, dtype=torch.float64)
    assert_canonical(GROUP, g[:100])
    for angle, a, b in zip(quat_to_euler_xyz(g).T.numpy(), low, high, strict=True):
        assert stats.kstest(angle, stats.uniform(a, b - a).cdf).pvalue > 0.01


def test_a_thousand_products_stay_on_the_group() -> None:
    step = GROUP.sample((64,), generator=generator())
    g, exact = step, step.double()
    for _ in range(999):
        g, exact = GROUP.compose(g, step), GROUP.compose(exact, step.double())
    assert (g.norm(dim=-1) - 1).abs().max() < 1e-4
    assert GROUP.distance(g.double() / g.double().norm(dim=-1, keepdim=True), exact).max() < 1e-3
