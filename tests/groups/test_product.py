"""Direct and semidirect products."""

from __future__ import annotations

import pytest
import torch

from ssl_equiv.groups import SE3, SO2, SO3, Hue, Product, Scale, Semidirect, Translation

from .cases import SCENE, generator


def test_split_and_join_are_inverses_and_broadcast() -> None:
    g = SCENE.sample((5,), generator=generator())
    parts = SCENE.split(g)
    assert list(parts) == ["rotation", "floor_hue", "translation"]
    assert [part.shape[-1] for part in parts.values()] == [4, 1, 3]
    assert torch.equal(SCENE.join(parts), g)
    spread = SCENE.join({**parts, "floor_hue": torch.tensor([0.25])})
    assert spread.shape == (5, 8)
    assert (spread[:, 4] == 0.25).all()


def test_factors_do_not_mix() -> None:
    g, h = (SCENE.sample((5,), generator=generator(i)) for i in range(2))
    both = SCENE.split(SCENE.compose(g, h))
    for name, group in SCENE.factors.items():
        parts = (SCENE.split(g)[name], SCENE.split(h)[name])
        torch.testing.assert_close(both[name], group.compose(*parts))
    distances = [f.distance(SCENE.split(g)[n], SCENE.split(h)[n]) for n, f in SCENE.factors.items()]
    torch.testing.assert_close(SCENE.distance(g, h), torch.stack(distances).norm(dim=0))


def test_a_factor_without_a_range_keeps_its_own() -> None:
    low, high = {"floor_hue": 0.5}, {"floor_hue": 0.7}
    g = SCENE.split(SCENE.sample((2000,), generator=generator(), low=low, high=high))
    assert ((g["floor_hue"] >= 0.5) & (g["floor_hue"] <= 0.7)).all()
    assert g["translation"].abs().max() > 0.9
    assert SO3().distance(g["rotation"], SO3().identity()).max() > 3


def test_the_matrix_is_block_diagonal() -> None:
    group = Product({"scale": Scale(2), "pose": SE3()})
    matrix = group.matrix(group.sample((3,), generator=generator()))
    assert matrix.shape == (3, 6, 6)
    assert (matrix[:, :2, 2:] == 0).all()
    assert (matrix[:, 2:, :2] == 0).all()


def test_names_must_be_right() -> None:
    parts = SCENE.split(SCENE.identity())
    del parts["floor_hue"]
    with pytest.raises(ValueError, match="got elements named rotation, translation"):
        SCENE.join(parts)
    with pytest.raises(ValueError, match="Hue element: expected shape"):
        SCENE.join({**parts, "floor_hue": torch.zeros(2)})
    with pytest.raises(ValueError, match="at least one factor"):
        Product({})


def test_products_with_equal_factors_are_equal() -> None:
    assert Product({"a": SO2(), "b": Hue()}) == Product({"a": SO2(), "b": Hue()})
    assert Product({"a": SO2(), "b": Hue()}) != Product({"b": Hue(), "a": SO2()})


def test_a_semidirect_product_turns_before_it_moves() -> None:
    group = Semidirect(SO2())
    quarter = torch.tensor([torch.pi / 2])
    g = group.element(quarter, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(group.act(g, torch.eye(2)[:1]), torch.tensor([[1.0, 1.0]]))
    linear, translation = group.parts(group.compose(g, g))
    torch.testing.assert_close(linear.abs(), torch.tensor([torch.pi]))
    torch.testing.assert_close(translation, torch.tensor([1.0, 1.0]))
    direct = Product({"angle": SO2(), "translation": Translation(2)})
    assert not torch.allclose(direct.compose(g, g)[1:], translation)
