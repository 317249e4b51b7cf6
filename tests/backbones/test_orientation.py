from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor

from ssl_equiv.backbones.orientation import orient
from ssl_equiv.errors import UserError
from tests.backbones.test_shift_models import MODELS, small


def images(size: int = 16, batch: int = 6) -> Tensor:
    made = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    made[1] = 0.4
    made[2] = (made[2] > 1).float()
    return made


def elements(turns: bool, flips: bool) -> list[tuple[int, bool]]:
    return [
        (k, m)
        for k in (range(4) if turns else (0,))
        for m in ((False, True) if flips else (False,))
    ]


@pytest.mark.parametrize(("turns", "flips"), [(True, False), (False, True), (True, True)])
def test_all_orientations_come_to_one(turns: bool, flips: bool) -> None:
    x = images()
    wanted = orient(x, turns, flips)
    for quarter, mirror in elements(turns, flips):
        moved = x.flip(3) if mirror else x
        moved = moved.rot90(quarter, (2, 3)).roll((3, -5), (2, 3))
        found = orient(moved, turns, flips)
        for one, other in zip(found, wanted, strict=True):
            shifts = [(i, j) for i in range(16) for j in range(16)]
            assert any(torch.equal(one, other.roll(s, (1, 2))) for s in shifts), (quarter, mirror)


def test_what_is_not_asked_for_is_not_taken_away() -> None:
    x = images()[3:]
    assert torch.equal(orient(x, False, False), x)
    turned = orient(x.flip(3), True, False)
    assert not any(
        torch.allclose(turned[0], orient(x, True, False)[0].roll((i, j), (1, 2)))
        for i in range(16)
        for j in range(16)
    )


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_models_are_invariant(name: str) -> None:
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    model = small(name, turns=True, flips=True)
    wanted = model(x)
    assert wanted.std(dim=0).mean() > 1e-3
    for quarter, mirror in elements(True, True):
        moved = (x.flip(3) if mirror else x).rot90(quarter, (2, 3)).roll((7, 11), (2, 3))
        torch.testing.assert_close(model(moved), wanted, atol=1e-5, rtol=1e-5)
    plain = small(name)
    assert (plain(x.flip(3)) - plain(x)).abs().max() > 1e-4  # so it can fail
    only = small(name, flips=True)
    torch.testing.assert_close(only(x.flip(3)), only(x), atol=1e-5, rtol=1e-5)
    assert (only(x.rot90(1, (2, 3))) - only(x)).abs().max() > 1e-4


def test_images_that_cannot_be_turned() -> None:
    with pytest.raises(UserError, match=r"16 x 24 px cannot be turned by 90°"):
        orient(torch.zeros(1, 3, 16, 24))
    assert orient(torch.zeros(1, 3, 16, 24), turns=False).shape == (1, 3, 16, 24)
    with pytest.raises(UserError, match="smoothing is -1"):
        timm.create_model(
            "shift_vit_tiny_patch16_224", smoothing=-1, **MODELS["shift_vit_tiny_patch16_224"][0]
        )
