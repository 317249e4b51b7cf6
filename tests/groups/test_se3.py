"""SE(3): both frames against 4x4 matrices, and the exponential against the matrix exponential."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from ssl_equiv.groups import SE3, SO3
from ssl_equiv.groups.conversions import euler_xyz_to_quat
from ssl_equiv.groups.se3 import Frame

from .cases import assert_canonical, generator

FRAMES: tuple[Frame, ...] = ("object", "base")
every_frame = pytest.mark.parametrize("frame", FRAMES)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(-np.pi / 2, np.pi / 2, (50, 3)), rng.uniform(-0.5, 0.5, (50, 3))


def reference(euler: np.ndarray, translation: np.ndarray, frame: Frame) -> np.ndarray:
    """The 4x4 product of the factors, M = T R or M = R T."""
    r, t = (np.tile(np.eye(4), (len(euler), 1, 1)) for _ in range(2))
    r[:, :3, :3] = Rotation.from_euler("xyz", euler).as_matrix()
    t[:, :3, 3] = translation
    return t @ r if frame == "object" else r @ t


@every_frame
def test_relative_poses_are_those_of_the_matrices(frame: Frame) -> None:
    group = SE3(frame)
    poses, matrices = [], []
    for seed in (0, 1):
        euler, translation = scene(seed)
        quat = euler_xyz_to_quat(torch.from_numpy(euler))
        poses.append(group.pose(-quat, torch.from_numpy(translation)))
        assert_canonical(group, poses[-1])
        matrices.append(reference(euler, translation, frame))
    np.testing.assert_allclose(group.matrix(poses[0]), matrices[0], atol=1e-14)
    expected = np.linalg.inv(matrices[0]) @ matrices[1]
    np.testing.assert_allclose(group.matrix(group.relative(*poses)), expected, atol=1e-13)


@every_frame
def test_factors_undoes_pose(frame: Frame) -> None:
    group = SE3(frame)
    euler, translation = scene(0)
    quat, moved = euler_xyz_to_quat(torch.from_numpy(euler)), torch.from_numpy(translation)
    for got, expected in zip(group.factors(group.pose(quat, moved)), (quat, moved), strict=True):
        torch.testing.assert_close(got, expected)


@every_frame
def test_ranges_hold_for_the_scene_s_factors(frame: Frame) -> None:
    group = SE3(frame)
    low = {"rotation": -0.3, "translation": [-0.5, 0.0, 0.25]}
    high = {"rotation": 0.3, "translation": [0.5, 0.0, 0.5]}
    g = group.sample((500,), generator=generator(), low=low, high=high)
    _, translation = group.factors(g)
    assert (translation >= torch.tensor(low["translation"]) - 1e-6).all()
    assert (translation <= torch.tensor(high["translation"]) + 1e-6).all()
    assert group.rotation_distance(g, group.identity()).max() < 0.6


def hat(v: torch.Tensor) -> torch.Tensor:
    """The 4x4 matrix of a twist."""
    x, y, z, *u = v.tolist()
    rows = [[0, -z, y, u[0]], [z, 0, -x, u[1]], [-y, x, 0, u[2]], [0, 0, 0, 0]]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-3, 0.0999, 0.1001, 1.0, 3.1, math.pi, 5.0])
def test_exp_is_the_matrix_exponential(angle: float) -> None:
    axis = torch.tensor([2.0, -1.0, 2.0]) / 3
    v = torch.cat((axis * angle, torch.tensor([0.3, -1.0, 2.0]))).double()
    expected = torch.linalg.matrix_exp(hat(v))
    torch.testing.assert_close(SE3().matrix(SE3().exp(v)), expected, atol=1e-13, rtol=0)


def test_distances_are_a_rotation_s_and_a_translation_s() -> None:
    group = SE3()
    g, h = (group.sample((50,), generator=generator(i)) for i in range(2))
    rotation, translation = group.rotation_distance(g, h), group.translation_distance(g, h)
    torch.testing.assert_close(rotation, SO3().distance(g[:, :4], h[:, :4]))
    torch.testing.assert_close(translation, (g[:, 4:] - h[:, 4:]).norm(dim=-1))
    torch.testing.assert_close(group.distance(g, h), torch.hypot(rotation, translation))


def test_an_unknown_frame_is_an_error() -> None:
    with pytest.raises(ValueError, match="frame is 'object' or 'base', got 'camera'"):
        SE3("camera")  # type: ignore[arg-type]
