from __future__ import annotations

import pytest
import torch

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO3
from ssl_equiv.methods import SIE
from tests.methods.views import random_batch, terms_of


def sie(**options: object) -> SIE:
    torch.manual_seed(0)
    return SIE(BackboneConfig("test_resnet"), projector_widths=(16, 16), **options)  # type: ignore[arg-type]


def test_parts_divide_the_representation() -> None:
    method = sie(equi_dim=10)
    representation = method.encode(torch.randn(2, 3, 32, 32))
    assert representation["inv"].shape == (2, method.dim - 10)
    assert representation["equi"].shape == (2, 10)
    joined = torch.cat([representation["inv"], representation["equi"]], dim=1)
    assert torch.equal(joined, representation["all"])


def test_the_action_is_the_relative_element() -> None:
    method, views = sie(), random_batch()
    action = SO3().relative(views.actions["rotation"][:, 0], views.actions["rotation"][:, 1])
    encoded = [method.encode(views.images[:, v]) for v in (0, 1)]
    by_hand = method.terms_of_action(encoded, action)
    for name, value in method.terms(encoded, views).items():
        torch.testing.assert_close(value, by_hand[name])


def test_several_factors_are_one_action() -> None:
    method = sie(factors=("rotation", "floor_hue"), action_dim=5)
    assert set(terms_of(method, random_batch())) == set(method.weights)
    with pytest.raises(UserError, match="action_dim is 4, but the factors rotation, floor_hue hav"):
        terms_of(sie(factors=("rotation", "floor_hue")), random_batch())


def test_every_parameter_learns() -> None:
    method = sie().train()
    method.total(terms_of(method, random_batch())).backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name


def test_a_part_that_does_not_fit() -> None:
    for equi_dim in (0, 10_000):
        with pytest.raises(UserError, match="choose 1 to 96"):
            sie(equi_dim=equi_dim)


def test_an_unknown_factor() -> None:
    with pytest.raises(UserError, match="the factor 'shape', but the data set has rotation, floor"):
        terms_of(sie(factors=("shape",)), random_batch())
