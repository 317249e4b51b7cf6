from __future__ import annotations

import torch

from ssl_equiv.heads import ActionLinear, DeepActionMLP, projector


def test_is_the_hypernetwork_that_builds_its_matrix() -> None:
    torch.manual_seed(0)
    predictor = ActionLinear(action_dim=4, in_dim=6, out_dim=5).double()
    x = torch.randn(8, 6, dtype=torch.double, requires_grad=True)
    z = torch.randn(8, 4, dtype=torch.double, requires_grad=True)
    built = torch.einsum("bk,koi->boi", z, predictor.matrices())
    want = torch.einsum("boi,bi->bo", built, x)
    have = predictor(x, z)
    torch.testing.assert_close(have, want)
    inputs = (x, z, predictor.weight)
    upstream = torch.randn_like(have)
    for a, b in zip(
        torch.autograd.grad(have, inputs, upstream),
        torch.autograd.grad(want, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_is_linear_in_the_action() -> None:
    torch.manual_seed(0)
    predictor = ActionLinear(3, 4)
    x, a, b = torch.randn(2, 4), torch.randn(2, 3), torch.randn(2, 3)
    torch.testing.assert_close(predictor(x, a + 2 * b), predictor(x, a) + 2 * predictor(x, b))


def test_projector_layout() -> None:
    layers = [type(layer).__name__ for layer in projector(8, (6, 5, 4))]
    assert layers == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear"]
    assert projector(8, (6, 4))[-1].bias is None
    assert projector(8, (6, 4))(torch.randn(3, 8)).shape == (3, 4)


def test_the_deep_hypernetwork_is_the_one_that_builds_its_matrices() -> None:
    torch.manual_seed(0)
    k, dim, hidden = 4, 6, 3
    predictor = DeepActionMLP(k, dim, hidden).double()
    x = torch.randn(5, dim, dtype=torch.double)
    z = torch.randn(5, k, dtype=torch.double)
    code = torch.cat([predictor.action_net(z), torch.ones(5, 1, dtype=torch.double)], dim=1)
    for i in range(5):
        first = torch.einsum("k,koi->oi", code[i], predictor.first.matrices())
        second = torch.einsum("k,koi->oi", code[i], predictor.second.matrices())
        inner = torch.relu(first[:, :-1] @ x[i] + first[:, -1])
        want = second[:, :-1] @ inner + second[:, -1]
        torch.testing.assert_close(predictor(x, z)[i], want)


def test_a_projector_takes_views_together_as_one_by_one() -> None:
    torch.manual_seed(0)
    together, one_by_one = projector(8, (6, 5, 4)).double(), projector(8, (6, 5, 4)).double()
    one_by_one.load_state_dict(together.state_dict())
    views = [torch.randn(7, 8, dtype=torch.float64), torch.randn(5, 8, dtype=torch.float64) + 1]
    for have, want in zip(together.each(views), map(one_by_one, views), strict=True):
        torch.testing.assert_close(have, want)
    for net in (together, one_by_one):
        outputs = together.each(views) if net is together else [net(view) for view in views]
        sum(x.square().sum() * (1 + i) for i, x in enumerate(outputs)).backward()
    for have, want in zip(together.parameters(), one_by_one.parameters(), strict=True):
        torch.testing.assert_close(have.grad, want.grad)
    for name, buffer in one_by_one.state_dict().items():
        torch.testing.assert_close(together.state_dict()[name], buffer)
