"""The laws of a group, for every group, in both precisions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ssl_equiv.groups import SE3, SO3, Flip, Group, Product

from .cases import DTYPES, GROUPS, LIE, METRIC, assert_canonical, close, elements, generator, same

PROPERTY = settings(max_examples=12, deadline=None, derandomize=True, database=None)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])
every_group = pytest.mark.parametrize("group", GROUPS, ids=str)
every_lie_group = pytest.mark.parametrize("group", LIE, ids=str)
every_metric_group = pytest.mark.parametrize("group", METRIC, ids=str)


@every_dtype
@every_group
@PROPERTY
@given(data=st.data())
def test_the_axioms_hold(group: Group, dtype: torch.dtype, data: st.DataObject) -> None:
    g, h, k = (data.draw(elements(group, dtype)) for _ in range(3))
    one = group.identity((3,), dtype=dtype)
    same(group, group.compose(g, one), g)
    same(group, group.compose(one, g), g)
    same(group, group.compose(g, group.inverse(g)), one)
    same(group, group.compose(group.inverse(g), g), one)
    same(
        group,
        group.compose(group.compose(g, h), k),
        group.compose(g, group.compose(h, k)),
    )
    same(group, group.compose(g, group.relative(g, h)), h)


@every_dtype
@every_group
@PROPERTY
@given(data=st.data())
def test_the_matrix_and_the_action_respect_composition(
    group: Group, dtype: torch.dtype, data: st.DataObject
) -> None:
    g, h = data.draw(elements(group, dtype)), data.draw(elements(group, dtype))
    points = torch.randn(3, 4, group.point_dim, dtype=dtype, generator=generator())
    both = group.compose(g, h)
    close(group.matrix(both), group.matrix(g) @ group.matrix(h), scale=100.0)
    close(group.act(both, points), group.act(g, group.act(h, points)), scale=100.0)
    close(group.matrix(group.inverse(g)), torch.linalg.inv(group.matrix(g)), scale=100.0)
    assert group.act(g, points).dtype == dtype


@every_dtype
@every_group
@PROPERTY
@given(data=st.data())
def test_every_result_is_canonical(group: Group, dtype: torch.dtype, data: st.DataObject) -> None:
    g, h = data.draw(elements(group, dtype)), data.draw(elements(group, dtype))
    for result in (g, group.compose(g, h), group.inverse(g), group.relative(g, h)):
        assert result.dtype == dtype
        assert_canonical(group, result)


@every_dtype
@every_lie_group
@PROPERTY
@given(data=st.data())
def test_exp_undoes_log(group: Group, dtype: torch.dtype, data: st.DataObject) -> None:
    g = data.draw(elements(group, dtype))
    v = group.log(g)
    assert v.shape == (3, group.log_dim)
    assert v.dtype == dtype
    same(group, group.exp(v), g)
    assert_canonical(group, group.exp(v))
    assert_canonical(group, group.exp(5 * v))


@every_dtype
@every_lie_group
def test_log_undoes_exp_where_it_can(group: Group, dtype: torch.dtype) -> None:
    # Within a ball of radius 0.49 of a turn every logarithm is the shortest.
    v = torch.randn(200, group.log_dim, dtype=dtype, generator=generator())
    radius = torch.linspace(0, 0.49, 200, dtype=dtype)[:, None]
    radius = radius * (1 if group.name == "Hue" or "hue" in group.name else 2 * math.pi)
    v = v / v.norm(dim=-1, keepdim=True) * radius
    close(group.log(group.exp(v)), v, scale=20.0)


@every_dtype
@every_metric_group
@PROPERTY
@given(data=st.data())
def test_the_distance_is_a_left_invariant_metric(
    group: Group, dtype: torch.dtype, data: st.DataObject
) -> None:
    g, h, k = (data.draw(elements(group, dtype)) for _ in range(3))
    distance = group.distance(g, h)
    assert distance.shape == (3,)
    assert distance.dtype == dtype
    assert (distance >= 0).all()
    close(group.distance(g, g), torch.zeros(3, dtype=dtype))
    close(group.distance(h, g), distance, scale=10.0)
    close(group.distance(group.compose(k, g), group.compose(k, h)), distance, scale=20.0)
    slack = 1e-4 if dtype == torch.float32 else 1e-12
    assert (group.distance(g, k) <= distance + group.distance(h, k) + slack).all()


@every_group
def test_leading_dimensions_broadcast(group: Group) -> None:
    g = group.sample((2, 1), generator=generator(0))
    h = group.sample((3,), generator=generator(1))
    points = torch.randn(3, 5, group.point_dim, generator=generator(2))
    both = group.compose(g, h)
    assert both.shape == (2, 3, group.dim)
    one_by_one = [[group.compose(g[i, 0], h[j]) for j in range(3)] for i in range(2)]
    close(both, torch.stack([torch.stack(row) for row in one_by_one]))
    assert group.relative(g, h).shape == (2, 3, group.dim)
    moved = group.act(g, points)
    assert moved.shape == (2, 3, 5, group.point_dim)
    close(moved[1, 2], group.act(g[1, 0], points[2]))
    assert group.matrix(g).shape[:2] == (2, 1)
    if group in METRIC:
        assert group.distance(g, h).shape == (2, 3)


@every_group
def test_gradients_agree_with_finite_differences(group: Group) -> None:
    g, h = (group.sample((2,), generator=generator(i), dtype=torch.float64) for i in range(2))
    points = torch.randn(2, 3, group.point_dim, dtype=torch.float64, generator=generator())
    operations = [(group.compose, (g, h)), (group.relative, (g, h)), (group.matrix, (g,))]
    operations += [(group.act, (g, points))]
    if group in METRIC and not isinstance(group, Flip):
        operations += [(group.distance, (g, h))]
    if group in LIE:
        operations += [(group.log, (g,)), (group.exp, (group.log(g),))]
    for operation, inputs in operations:
        inputs = tuple(x.clone().requires_grad_() for x in inputs)
        assert torch.autograd.gradcheck(operation, inputs, fast_mode=True)


@every_metric_group
def test_distance_to_itself_has_a_finite_gradient(group: Group) -> None:
    g = group.sample((4,), generator=generator()).requires_grad_()
    (gradient,) = torch.autograd.grad(group.distance(g, g.detach()).sum(), g)
    assert gradient.isfinite().all()


LENGTHS = [0.0, 1e-20, 1e-8, 1e-4, 0.0999, 0.1001, 1.0, 3.0, math.pi - 1e-3, math.pi - 1e-6]


@every_dtype
@pytest.mark.parametrize("group", [SO3(), SE3()], ids=str)
@pytest.mark.parametrize("length", LENGTHS)
def test_log_and_exp_have_right_gradients_from_zero_to_pi(
    group: Group, dtype: torch.dtype, length: float
) -> None:
    v = torch.zeros(group.log_dim, dtype=dtype)
    v[:3] = torch.tensor([2.0, -1.0, 2.0], dtype=dtype) * (length / 3)
    v[3:] = 1.0

    def there_and_back(v: Tensor) -> Tensor:
        return group.log(group.exp(v))

    jacobian = torch.autograd.functional.jacobian(there_and_back, v)
    tolerance = 2e-5 if dtype == torch.float32 else 1e-10
    eye = torch.eye(group.log_dim, dtype=dtype)
    torch.testing.assert_close(jacobian, eye, rtol=0, atol=tolerance)


@every_group
def test_no_operation_names_a_device(group: Group) -> None:
    # A tensor made on the CPU inside would not meet one on the meta device.
    g, h = (group.sample((4,), device="meta") for _ in range(2))
    points = torch.empty(4, 5, group.point_dim, device="meta")
    results = [group.compose(g, h), group.relative(g, h), group.matrix(g), group.act(g, points)]
    results += [group.distance(g, h)] if group in METRIC else []
    results += [group.log(g), group.exp(group.log(g))] if group in LIE else []
    results += [group.identity((4,), device="meta")]
    assert all(result.is_meta for result in results)


@every_group
def test_autocast_takes_no_digits(group: Group) -> None:
    g, h = (group.sample((4,), generator=generator(i)) for i in range(2))
    points = torch.randn(4, 5, group.point_dim, generator=generator())

    def results() -> list[Tensor]:
        known = [group.compose(g, h), group.relative(g, h), group.matrix(g), group.act(g, points)]
        known += [group.distance(g, h)] if group in METRIC else []
        return [*known, group.exp(group.log(g))] if group in LIE else known

    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = results()
    assert all(map(torch.equal, under_autocast, results()))


@pytest.mark.gpu
@every_group
def test_a_gpu_agrees_with_the_cpu(group: Group) -> None:
    g, h = (group.sample((64,), generator=generator(i)) for i in range(2))
    both = group.compose(g.cuda(), h.cuda())
    close(group.matrix(both).cpu(), group.matrix(group.compose(g, h)), scale=20.0)
    on_gpu = torch.Generator("cuda").manual_seed(0)
    assert group.sample((64,), generator=on_gpu).device.type == "cuda"


def test_operations_compile_to_one_graph() -> None:
    group = Product({"pose": SE3("base"), "hue": LIE[6], "scale": LIE[5]})

    def everything(g: Tensor, h: Tensor, points: Tensor) -> Tensor:
        r = group.exp(group.log(group.relative(g, h)) / 2)
        return group.act(r, points).sum() + group.distance(g, r).sum() + group.matrix(r).sum()

    g, h = (group.sample((3,), generator=generator(i)) for i in range(2))
    points = torch.randn(3, 5, group.point_dim, generator=generator())
    compiled = torch.compile(everything, fullgraph=True, backend="eager")
    close(compiled(g, h, points), everything(g, h, points), scale=10.0)
