"""What every group shares: ranges, generators, errors, semigroups."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ssl_equiv.groups import SO2, SO3, Flip, Group, Product, Scale, Translation

from .cases import GROUPS, LIE, SCENE, assert_canonical, generator

every_group = pytest.mark.parametrize("group", GROUPS, ids=str)


@every_group
def test_a_seed_repeats_its_draws(group: Group) -> None:
    first, again = (group.sample((8,), generator=generator(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, group.sample((8,), generator=generator(6)))


def test_a_generator_brings_its_device() -> None:
    with torch.device("meta"):
        assert SO2().sample((2,), generator=generator()).device.type == "cpu"
        assert SO3().sample((2,), generator=generator()).device.type == "cpu"


@every_group
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_and_identities_take_shape_and_dtype(group: Group, dtype: torch.dtype) -> None:
    for shape in ((), (3,), (2, 0, 4)):
        g = group.sample(shape, dtype=dtype)
        one = group.identity(shape, dtype=dtype)
        assert g.shape == one.shape == (*shape, group.dim)
        assert g.dtype == one.dtype == dtype
        assert group.matrix(g).shape[: len(shape)] == shape
        assert_canonical(group, g)
    ones = group.identity((3,))
    ones[0] += 1
    assert torch.equal(ones[1], group.identity())  # each row in its own memory
    assert group.sample((2,)).dtype == torch.get_default_dtype()


@every_group
def test_a_wrong_width_is_one_clear_line(group: Group) -> None:
    g, wide = group.identity(), torch.zeros(2, group.dim + 1)
    calls = [
        lambda: group.compose(g, wide),
        lambda: group.compose(wide, g),
        lambda: group.inverse(wide),
        lambda: group.relative(g, wide),
        lambda: group.matrix(wide),
        lambda: group.log(wide),
        lambda: group.distance(wide, g),
        lambda: group.act(wide, torch.zeros(4, group.point_dim)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"element: expected shape \(\.\.\., \d+\), got \(2, "):
            call()
    with pytest.raises(ValueError, match="tangent vector: expected"):
        group.exp(torch.zeros(group.log_dim + 1))
    for points in (torch.zeros(4, group.point_dim + 1), torch.zeros(group.point_dim)):
        with pytest.raises(ValueError, match=r"points: expected \(\.\.\., N, \d+\), got"):
            group.act(g, points)


BAD_RANGES: list[tuple[Group, Any, Any, str]] = [
    (SO2(), 1.0, -1.0, "need finite low <= high"),
    (SO2(), 0.0, float("inf"), "need finite low <= high"),
    (SO2(), float("nan"), 0.0, "need finite low <= high"),
    (SO2(), None, 1.0, "give both low and high, or neither"),
    (SO2(), 1.0, None, "give both low and high, or neither"),
    (SO3(), [0.0, 0.0], [1.0, 1.0], "take 1 or 3 numbers"),
    (SO3(), "all", 1.0, "take 1 or 3 numbers"),
    (SO3(), {"x": 0.0}, {"x": 1.0}, "take 1 or 3 numbers"),
    (Translation(2), [0.0, 1.0], [1.0, 0.5], "need finite low <= high"),
    (Scale(), 0.0, 1.0, "must be positive"),
    (SCENE, -1.0, 1.0, "ranges by factor name"),
    (SCENE, {"floor": 0.0}, {"floor": 1.0}, "ranges by factor name"),
    (SCENE, {"floor_hue": 0.0}, {}, "Hue: give both low and high"),
    (LIE[2], {"translation": 1.0}, {"translation": 0.0}, "Translation"),
]


@pytest.mark.parametrize(("group", "low", "high", "message"), BAD_RANGES)
def test_a_bad_range_is_one_clear_line(group: Group, low: Any, high: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        group.sample((2,), low=low, high=high)
    assert "\n" not in str(caught.value)


class Crop(Group):
    """Keeping the first g of an interval: composes, cannot be undone."""

    name, dim, point_dim, range_dim = "Crop", 1, 1, 1
    log_dim, default_range, identity_element = 0, (0.5, 1.0), (1.0,)
    invertible = False

    def _compose(self, g: Tensor, h: Tensor) -> Tensor:
        return g * h

    def _matrix(self, g: Tensor) -> Tensor:
        return g.unsqueeze(-1)

    def _act(self, g: Tensor, points: Tensor) -> Tensor:
        return points * g.unsqueeze(-2)


def test_a_semigroup_says_what_it_has_not() -> None:
    crop = Crop()
    g = crop.sample((3,), generator=generator())
    assert crop.compose(g, g).shape == (3, 1)
    for call in (lambda: crop.inverse(g), lambda: crop.relative(g, g), lambda: crop.distance(g, g)):
        with pytest.raises(TypeError, match="Crop is a semigroup without inverse"):
            call()
    product = Product({"crop": crop, "angle": SO2()})
    assert not product.invertible
    with pytest.raises(TypeError, match="Crop is a semigroup without inverse"):
        product.inverse(product.identity())


def test_a_discrete_group_has_no_logarithm() -> None:
    with pytest.raises(TypeError, match=r"Flip\(2\) is a group without logarithm"):
        Flip(2).log(Flip(2).identity())
    with pytest.raises(TypeError, match=r"Flip\(2\) is a group without exponential"):
        Flip(2).exp(torch.zeros(0))


def test_equal_names_are_equal_groups() -> None:
    assert SO3() == SO3()
    assert len({SO3(), SO3(), Translation(2), Translation(3)}) == 3
    assert SO3() != "SO3"
    assert repr(Translation(3)) == "Translation(3)"
