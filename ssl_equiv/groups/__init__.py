"""The algebra that everything else stands on: a view is a group element acting on a scene."""

from __future__ import annotations

from ssl_equiv.groups.base import Group, Range
from ssl_equiv.groups.flip import Flip
from ssl_equiv.groups.hue import Hue, HueDifference
from ssl_equiv.groups.named import make_group
from ssl_equiv.groups.product import Product
from ssl_equiv.groups.se3 import SE3
from ssl_equiv.groups.semidirect import Semidirect
from ssl_equiv.groups.so2 import SO2, Circle
from ssl_equiv.groups.so3 import SO3
from ssl_equiv.groups.upright import Upright
from ssl_equiv.groups.vector import Scale, Translation

__all__ = [
    "SE3",
    "SO2",
    "SO3",
    "Circle",
    "Flip",
    "Group",
    "Hue",
    "HueDifference",
    "Product",
    "Range",
    "Scale",
    "Semidirect",
    "Translation",
    "Upright",
    "make_group",
]
