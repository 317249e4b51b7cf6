"""Groups by name."""

from __future__ import annotations

import pytest

from ssl_equiv.groups import SE3, Flip, Group, Scale, Translation, make_group

from .cases import GROUPS

SIMPLE = [group for group in GROUPS if not group.name.startswith(("Product", "Semidirect"))]


@pytest.mark.parametrize("group", SIMPLE, ids=str)
def test_a_name_makes_its_group(group: Group) -> None:
    made = make_group(group.name)
    assert made == group
    assert type(made) is type(group)


def test_short_names_take_defaults() -> None:
    assert make_group("SE3") == SE3("object")
    assert make_group("Scale") == Scale(3)
    assert make_group("Translation(3)") == Translation(3)
    assert make_group("Flip(2)") == Flip(2)


@pytest.mark.parametrize(
    "name", ["SO4", "so3", "", "SO3(2)", "Translation", "Translation(x)", "Scale(2, 3)", "Circle"]
)
def test_an_unknown_name_lists_the_known(name: str) -> None:
    with pytest.raises(ValueError, match=r"no group is named .*: there are SO2, SO3, SE3"):
        make_group(name)
