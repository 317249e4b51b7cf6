"""Groups by the names that manifests and configurations write."""

from __future__ import annotations

import re
from collections.abc import Callable

from ssl_equiv.groups.base import Group
from ssl_equiv.groups.flip import Flip
from ssl_equiv.groups.hue import Hue, HueDifference
from ssl_equiv.groups.se3 import SE3
from ssl_equiv.groups.so2 import SO2
from ssl_equiv.groups.so3 import SO3
from ssl_equiv.groups.upright import Upright
from ssl_equiv.groups.vector import Scale, Translation

_GROUPS: dict[str, Callable[..., Group]] = {
    group.__name__: group
    for group in (SO2, SO3, SE3, Translation, Scale, Flip, Hue, HueDifference, Upright)
}


def make_group(name: str) -> Group:
    """The group of that name: ``make_group(group.name) == group`` for every simple group.

    Args:
        name: ``SO2``, ``SO3``, ``SE3(object)``, ``SE3(base)``, ``Translation(n)``, ``Scale(n)``,
            ``Flip(n)``, ``Hue``, ``HueDifference`` or ``Upright``; ``SE3`` and ``Scale`` alone
            take the classes' defaults.

    Raises:
        ValueError: No such group.
    """
    match = re.fullmatch(r"(\w+)(?:\((\w+)\))?", name)
    if match is not None and match[1] in _GROUPS:
        argument = match[2]
        arguments = [] if argument is None else [int(argument) if argument.isdigit() else argument]
        try:
            return _GROUPS[match[1]](*arguments)
        except TypeError:
            pass
    raise ValueError(f"no group is named {name!r}: there are {', '.join(_GROUPS)}")
