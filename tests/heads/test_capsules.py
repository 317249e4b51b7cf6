from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ssl_equiv.errors import UserError
from ssl_equiv.heads import Capsules, capsules


def built(**options: int) -> Capsules:
    torch.manual_seed(0)
    made = Capsules(5, (2, 3), num_capsules=4, pose_dim=9, **options)
    torch.nn.init.normal_(made.route)
    torch.nn.init.normal_(made.route_bias)
    return made


def by_votes(made: Capsules, activation: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
    """The formulas as they are printed, every vote kept, one input capsule after another."""
    votes, shares = [], []
    for i in range(activation.shape[1]):
        votes.append(torch.stack([pose[:, :, i] @ w[:, :, i].T for w in made.vote], dim=1))
        logits = pose[:, :, i] @ made.route[i] + made.route_bias[i]
        shares.append(activation[:, i, None] * torch.softmax(logits, dim=1))
    vote, share = torch.stack(votes, dim=1), torch.stack(shares, dim=1)  # B I N P, B I N
    poses = (share[..., None] * vote).sum(dim=1) / share.sum(dim=1)[..., None]
    return share.sum(dim=1) / activation.sum(dim=1, keepdim=True), poses


@pytest.mark.parametrize("block", [1, 500, 10**9])
def test_routing_is_the_formula_and_so_are_its_gradients(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capsules, "_BLOCK_CPU", block)
    made = built().double()
    activation = torch.rand(3, 24, dtype=torch.float64, requires_grad=True)
    pose = torch.randn(3, 9, 24, dtype=torch.float64, requires_grad=True)
    inputs = (activation, pose, made.vote, made.route, made.route_bias)
    results = []
    for outputs in (made.routed(activation, pose), by_votes(made, activation, pose)):
        weights = [torch.linspace(-1, 1, o.numel(), dtype=o.dtype).view_as(o) for o in outputs]
        results.append([*outputs, *torch.autograd.grad(outputs, inputs, weights)])
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference)


def test_input_capsules_are_positions_then_capsules() -> None:
    made = built().eval()
    x = torch.randn(2, 5, 2, 3)
    channels = made.norm(made.conv(x))
    activation, pose = torch.zeros(2, 24), torch.zeros(2, 9, 24)
    for position in range(6):
        at = channels[:, :, position // 3, position % 3]
        for capsule in range(4):
            activation[:, 4 * position + capsule] = torch.sigmoid(at[:, capsule])
            first = 4 + 9 * capsule
            pose[:, :, 4 * position + capsule] = at[:, first : first + 9]
    for ours, reference in zip(made(x), by_votes(made, activation, pose), strict=True):
        torch.testing.assert_close(ours, reference)


def test_votes_are_never_kept() -> None:
    made = Capsules(8, (4, 4), num_capsules=16, pose_dim=9)
    sizes: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        made(torch.randn(64, 8, 4, 4))
    assert max(sizes) < 64 * (16 * 16) * 16 * 9 / 4


def test_activations_are_a_distribution_under_autocast_too() -> None:
    made = built()
    x = torch.randn(6, 5, 2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        activation, pose = made(x)
    assert activation.dtype == pose.dtype == torch.float32
    torch.testing.assert_close(activation.sum(dim=1), torch.ones(6))
    want = made(x)[1]
    assert (pose - want).abs().max() < 0.05 * want.abs().max()


def test_a_capsule_that_gets_nothing_is_zero_and_harmless() -> None:
    made = built()
    with torch.no_grad():
        made.route_bias[..., 0] = -1e4
    x = torch.randn(6, 5, 2, 3, requires_grad=True)
    activation, pose = made(x)
    assert activation[:, 0].eq(0).all()
    assert pose[:, 0].eq(0).all()
    (activation.square().sum() + pose.square().sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in made.parameters() if p.grad is not None)
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_bad_input() -> None:
    with pytest.raises(UserError, match="1 capsules cannot share an activation: choose 2 or more"):
        Capsules(5, (2, 2), num_capsules=1)
