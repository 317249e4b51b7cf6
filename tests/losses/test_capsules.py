from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch.distributions import Categorical

from ssl_equiv.losses.capsules import activation_cross_entropy, mean_entropy_gap, moved, normalized


def activations(seed: int, num: int = 7) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, 5, generator=generator, dtype=torch.float64).softmax(dim=1)


def test_cross_entropy_is_torchs() -> None:
    x, y = activations(0), activations(1)
    # the softmax of the logarithm of a distribution is the distribution
    torch.testing.assert_close(activation_cross_entropy(x, y), F.cross_entropy(x.log(), y))


def test_both_views_get_a_gradient_and_zeros_are_harmless() -> None:
    x = torch.tensor([[1.0, 0.0], [0.5, 0.5]], requires_grad=True)
    y = torch.tensor([[0.0, 1.0], [0.5, 0.5]], requires_grad=True)
    (activation_cross_entropy(x, y) + mean_entropy_gap(x[:1])).backward()
    for tensor in (x, y):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.ne(0).any()


def test_mean_entropy() -> None:
    x = activations(2)
    want = math.log(5) - Categorical(x.mean(dim=0)).entropy()
    torch.testing.assert_close(mean_entropy_gap(x), want)
    assert mean_entropy_gap(torch.eye(5)).abs() < 1e-6  # each is used once
    one = torch.zeros(4, 5)
    one[:, 2] = 1
    torch.testing.assert_close(mean_entropy_gap(one), torch.tensor(math.log(5)))


def test_poses_are_normalised_and_moved_from_the_right() -> None:
    pose = torch.randn(3, 4, 3, 3)
    norms = torch.linalg.matrix_norm(normalized(pose))
    torch.testing.assert_close(norms, torch.ones(3, 4))
    torch.testing.assert_close(normalized(5 * pose), normalized(pose))
    action = torch.randn(3, 3, 3)
    torch.testing.assert_close(moved(pose, action)[1, 2], pose[1, 2] @ action[1])
    zero = torch.zeros(1, 3, 3, requires_grad=True)
    normalized(zero).sum().backward()
    assert torch.isfinite(zero.grad).all()  # type: ignore[arg-type]


def test_half_precision_is_computed_in_float32() -> None:
    x = activations(3).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert mean_entropy_gap(x).dtype == torch.float32
        pose, action = torch.randn(2, 3, 3, 3), torch.randn(2, 3, 3)
        made = moved(pose, action)
    torch.testing.assert_close(made, pose @ action[:, None])  # dtype included
