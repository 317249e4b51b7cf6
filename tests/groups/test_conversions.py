"""Every conversion against scipy, at the seams, and through its gradient."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from ssl_equiv.groups import conversions as c

COUNT = 100_000
FIRST, SECOND = (Rotation.random(COUNT, rng=np.random.default_rng(seed)) for seed in (0, 1))
QUAT, QUAT_2 = (torch.from_numpy(r.as_quat(canonical=True)) for r in (FIRST, SECOND))
MATRIX = torch.from_numpy(FIRST.as_matrix())
EULER = torch.from_numpy(FIRST.as_euler("xyz"))
VECTOR = np.random.default_rng(2).standard_normal((COUNT, 3))
ROTATED = torch.from_numpy(FIRST.apply(VECTOR))
COMPOSED = torch.from_numpy((FIRST * SECOND).as_quat(canonical=True))
INVERSE = torch.from_numpy(FIRST.inv().as_quat(canonical=True))
COLUMNS = torch.cat((MATRIX[..., 0], MATRIX[..., 1]), dim=-1)
AGREEMENT = [
    (c.canonical_quat, (-QUAT,), QUAT),
    (c.euler_xyz_to_quat, (EULER,), QUAT),
    (c.quat_to_matrix, (QUAT,), MATRIX),
    (c.quat_to_matrix, (-QUAT,), MATRIX),
    (c.matrix_to_quat, (MATRIX,), QUAT),
    (c.matrix_to_rot6d, (MATRIX,), COLUMNS),
    (c.rot6d_to_matrix, (COLUMNS,), MATRIX),
    (c.rot6d_to_matrix, (COLUMNS * 3.0,), MATRIX),
    (c.quat_conjugate, (QUAT,), INVERSE),
    (c.quat_rotate, (QUAT, torch.from_numpy(VECTOR)), ROTATED),
    (lambda p, q: c.canonical_quat(c.quat_multiply(p, q)), (QUAT, QUAT_2), COMPOSED),
]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-6), (torch.float64, 1e-14)])
@pytest.mark.parametrize(("conversion", "inputs", "expected"), AGREEMENT)
def test_agrees_with_scipy(
    conversion: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    expected: Tensor,
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    got = conversion(*(x.to(dtype) for x in inputs))
    assert got.dtype == dtype
    error = (got.double() - expected).abs()
    if expected.shape[-1] == 4:  # a quaternion with w near 0 may fall on either side
        error = torch.minimum(error.amax(-1), (got.double() + expected).abs().amax(-1))
    assert error.max() < tolerance


def test_euler_angles_agree_with_scipy() -> None:
    got = c.quat_to_euler_xyz(QUAT)
    assert (got - EULER).abs().max() < 1e-9  # conditioned by the nearest gimbal lock
    assert (c.quat_to_euler_xyz(-QUAT) - EULER).abs().max() < 1e-9
    again = c.quat_to_matrix(c.euler_xyz_to_quat(c.quat_to_euler_xyz(QUAT.float())))
    assert (again.double() - MATRIX).abs().max() < 5e-6


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gimbal_lock_is_read_as_scipy_does(sign: int, dtype: torch.dtype) -> None:
    angles = torch.tensor([[0.3, sign * math.pi / 2, -1.1], [2.0, sign * math.pi / 2, 3.0]])
    quat = c.euler_xyz_to_quat(angles.double()).to(dtype).requires_grad_()
    euler = c.quat_to_euler_xyz(quat)
    with pytest.warns(UserWarning, match="[Gg]imbal"):
        expected = Rotation.from_quat(quat.detach().double().numpy()).as_euler("xyz")
    torch.testing.assert_close(
        c.quat_to_matrix(c.euler_xyz_to_quat(euler)), c.quat_to_matrix(quat), atol=2e-6, rtol=0
    )
    if dtype == torch.float64:
        np.testing.assert_allclose(euler.detach().numpy(), expected, atol=1e-7)
    (gradient,) = torch.autograd.grad(euler.sum(), quat)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("sign", [1, -1])
def test_an_exact_gimbal_lock_has_finite_gradients(sign: int) -> None:
    quat = torch.tensor([0.0, sign * 0.5**0.5, 0.0, 0.5**0.5], requires_grad=True)
    euler = c.quat_to_euler_xyz(quat)
    torch.testing.assert_close(euler, torch.tensor([0.0, sign * math.pi / 2, 0.0]))
    for angle in euler:
        (gradient,) = torch.autograd.grad(angle, quat, retain_graph=True)
        assert gradient.isfinite().all()


SEAMS = [
    ([0.0, 0.0, 0.0, -1.0], [0, 0, 0, 1]),
    ([0.6, 0.0, 0.8, -0.0], [0.6, 0, 0.8, 0]),
    ([-0.6, 0.0, 0.8, 0.0], [0.6, 0, -0.8, 0]),
    ([-0.6, 0.0, 0.8, -0.0], [0.6, 0, -0.8, 0]),
    ([-0.0, -0.6, 0.8, 0.0], [0, 0.6, -0.8, 0]),
    ([0.0, -0.0, -1.0, 0.0], [0, 0, 1, 0]),
    ([0.0, 0.0, -1.0, 0.0], [0, 0, 1, 0]),
    ([0.0, -0.0, 1.0, -0.0], [0, 0, 1, 0]),
]


@pytest.mark.parametrize(("quat", "expected"), SEAMS)
def test_canonical_sign_at_half_turns(quat: list[float], expected: list[float]) -> None:
    got = c.canonical_quat(torch.tensor(quat))
    assert torch.equal(got, torch.tensor(expected, dtype=torch.float32))
    matrix = c.quat_to_matrix(torch.tensor(quat, dtype=torch.float64))
    torch.testing.assert_close(c.matrix_to_quat(matrix), torch.tensor(expected).double())


ROTATIONS = [
    [0.0, 0.0, 0.0],
    [1e-9, -2e-9, 1e-9],
    [1e-4, 2e-4, -3e-4],
    [0.4, -0.7, 1.2],
    [math.pi - 1e-7, 1e-8, 0.0],
    [0.1, -0.2, math.pi - 1e-4],
    [0.3, math.pi / 2 - 1e-4, 0.2],
]


@pytest.mark.parametrize("euler", ROTATIONS)
def test_round_trips_have_the_identity_as_their_derivative(euler: list[float]) -> None:
    def through_everything(angles: Tensor) -> Tensor:
        matrix = c.quat_to_matrix(c.euler_xyz_to_quat(angles))
        matrix = c.rot6d_to_matrix(c.matrix_to_rot6d(matrix))
        return c.quat_to_euler_xyz(c.matrix_to_quat(matrix))

    angles = torch.tensor(euler, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(through_everything, angles)
    torch.testing.assert_close(jacobian, torch.eye(3).double(), atol=1e-7, rtol=0)


@pytest.mark.parametrize(
    ("conversion", "inputs"),
    [(conversion, inputs) for conversion, inputs, _ in AGREEMENT]
    + [(c.quat_to_euler_xyz, (QUAT,)), (c.cross, (EULER, ROTATED))],
)
def test_gradcheck(conversion: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> None:
    few = tuple(x[:5].clone().requires_grad_() for x in inputs)
    assert torch.autograd.gradcheck(conversion, few)


def test_rotating_broadcasts_over_any_rank() -> None:
    quat, vector = QUAT[:6].reshape(2, 1, 3, 4), ROTATED[:3]
    got = c.quat_rotate(quat, vector)
    assert got.shape == (2, 1, 3, 3)
    torch.testing.assert_close(got[1, 0, 2], c.quat_rotate(QUAT[5], ROTATED[2]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wrapped_angles_stay_in_the_half_open_turn(dtype: torch.dtype) -> None:
    pi = torch.tensor(math.pi, dtype=dtype)
    ends = torch.arange(-2001, 2002, dtype=dtype) * pi
    near = torch.cat([torch.nextafter(ends, ends + 1), torch.nextafter(ends, ends - 1), ends])
    wrapped = c.wrap_angle(near)
    assert ((wrapped > -pi) & (wrapped <= pi)).all()
    assert torch.equal(c.wrap_angle(torch.stack((pi, -pi))), torch.stack((pi, pi)))
    torch.testing.assert_close(wrapped.sin(), near.sin(), atol=1e-3, rtol=0)


WRONG = [
    (c.canonical_quat, (3,), r"quat: expected shape \(..., 4\), got \(2, 3\)"),
    (c.quat_to_matrix, (5,), "quat"),
    (c.quat_to_euler_xyz, (3,), "quat"),
    (c.quat_conjugate, (3,), "quat"),
    (c.euler_xyz_to_quat, (4,), "euler_xyz"),
    (c.matrix_to_quat, (3, 4), r"matrix: expected shape \(..., 3, 3\)"),
    (c.matrix_to_quat, (9,), "matrix"),
    (c.matrix_to_rot6d, (3, 2), "matrix"),
    (c.rot6d_to_matrix, (5,), "rot6d"),
]


@pytest.mark.parametrize(("conversion", "shape", "message"), WRONG)
def test_a_wrong_shape_is_one_clear_line(
    conversion: Callable[..., Tensor], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        conversion(torch.zeros(2, *shape))
