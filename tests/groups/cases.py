"""All groups, and hypothesis strategies for their elements, seams and special values included."""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st
from torch import Tensor

from ssl_equiv.groups import (
    SE3,
    SO2,
    SO3,
    Flip,
    Group,
    Hue,
    HueDifference,
    Product,
    Range,
    Scale,
    Semidirect,
    Translation,
    Upright,
)

SCENE = Product({"rotation": SO3(), "floor_hue": Hue(), "translation": Translation(3)})
LIE = [
    SO2(),
    SO3(),
    SE3("object"),
    SE3("base"),
    Translation(2),
    Scale(2),
    Hue(),
    HueDifference(),
    SCENE,
    Product({"pose": SE3("base"), "scale": Scale(), "scene": SCENE}),
]
METRIC = [*LIE, Flip(3)]
GROUPS = [
    *METRIC,
    Product({"flip": Flip(1), "angle": SO2()}),
    Semidirect(SO2()),
    Semidirect(Scale(2)),
    Upright(),
    Semidirect(Upright()),
]
DTYPES = [torch.float32, torch.float64]

ANGLES = st.one_of(
    st.floats(-math.pi, math.pi),
    st.sampled_from([0.0, -0.0, 1e-7, -1e-7, math.pi / 2, -math.pi / 2, math.pi, -math.pi]),
)
NUMBERS = {
    SO2: ANGLES,
    SO3: ANGLES,
    Translation: st.floats(-5, 5),
    Scale: st.floats(0.1, 10),
    Flip: st.sampled_from([-1.0, 1.0]),
    Hue: st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0, 1e-9, 1 - 1e-9])),
    HueDifference: st.floats(0, 1),
}


def ranges(group: Group) -> st.SearchStrategy[Range]:
    """One end of a sampling box; used as both, it names an element."""
    if isinstance(group, Upright):
        return ranges(group.factors)
    if isinstance(group, Product):
        return st.fixed_dictionaries({name: ranges(g) for name, g in group.factors.items()})
    if isinstance(group, Semidirect):
        parts = {group.linear_name: group.linear, "translation": Translation(group.point_dim)}
        return ranges(Product(parts))
    numbers = NUMBERS[type(group)]
    return st.lists(numbers, min_size=group.range_dim, max_size=group.range_dim)


def elements(group: Group, dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
    """Batches of three elements, ``(3, dim)``."""

    def build(ends: list[Range]) -> Tensor:
        return torch.stack([group.sample((), low=end, high=end, dtype=dtype) for end in ends])

    return st.lists(ranges(group), min_size=3, max_size=3).map(build)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def close(actual: Tensor, expected: Tensor, scale: float = 1.0) -> None:
    """Equal up to the rounding of a few operations on numbers of size ``scale``."""
    atol = scale * {torch.float32: 5e-6, torch.float64: 1e-14}[actual.dtype]
    torch.testing.assert_close(actual, expected, rtol=2 * atol / scale, atol=atol)


def same(group: Group, g: Tensor, h: Tensor) -> None:
    """The same elements, whatever side of a seam (w = 0, hue 0 = 1) they fell on."""
    assert g.dtype == h.dtype
    close(group.matrix(g), group.matrix(h), scale=20.0)


def assert_canonical(group: Group, g: Tensor) -> None:
    assert g.shape[-1] == group.dim
    if isinstance(group, Product):
        for name, part in group.split(g).items():
            assert_canonical(group.factors[name], part)
    elif isinstance(group, Semidirect):
        assert_canonical(group.linear, group.parts(g)[0])
    elif isinstance(group, Upright):
        yaw, mirror, scale = g.split(1, dim=-1)
        for part, value in ((SO2(), yaw), (Flip(1), mirror), (Scale(), scale)):
            assert_canonical(part, value)
    elif isinstance(group, SO3):
        close(g.norm(dim=-1), torch.ones_like(g[..., 0]))
        for x, y, z, w in g.reshape(-1, 4).tolist():
            assert next(part for part in (w, x, y, z) if part != 0) > 0
    elif isinstance(group, SO2):
        pi = torch.tensor(math.pi, dtype=g.dtype)
        assert ((-pi < g) & (g <= pi)).all()
    elif isinstance(group, Hue):
        assert ((g >= 0) & (g < 1)).all()
    elif isinstance(group, Scale):
        assert (g > 0).all()
    elif isinstance(group, Flip):
        assert (g.abs() == 1).all()
