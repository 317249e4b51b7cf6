from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.artifacts import read_artifacts
from eval.cache import FeatureSet
from eval.evaluators.equivariance_error import EquivarianceError
from eval.predictor import PART
from eval.protocol import NotApplicable
from eval.view_pairs import draw_tuples
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO3, Hue, Translation
from ssl_equiv.methods import SEN, SIE
from ssl_equiv.transforms.semigroups import Blur
from tests.eval.evaluators.predictors import equicaps_task, untrained_task
from tests.eval.evaluators.tasks import collapsed, figures, task_of
from tests.eval.fakes import equivariant, feature_set, rotations

OWN = EquivarianceError(factors=())
Sets = tuple[FeatureSet, FeatureSet]


def test_exact_poses_have_no_error_and_noise_has_its_own() -> None:
    exact = figures(OWN, equicaps_task(), PART)
    for name in ("vs_identity", "vs_constant"):
        assert exact[f"predictor_error_{name}"].values[0] < 1e-10
        assert exact[f"predictor_error_{name}"].baseline == 1
    noisy = figures(OWN, equicaps_task(noise=0.3), PART)
    assert 0.02 < noisy["predictor_error_vs_identity"].values[0] < 0.7


@torch.no_grad()
def test_figures_are_those_of_a_plain_loop() -> None:
    task = untrained_task("SIE", objects=4, views=5)
    method, views = task.method, task.val
    assert isinstance(method, SIE)
    errors = copies = 0.0
    targets = []
    for n, i, j in draw_tuples(4, 5, 2, 9).T.tolist():
        x, y = (method.projector_equi(views.features[n, [v], -method.equi_dim :]) for v in (i, j))
        action = SO3().relative(*(views.actions["rotation"][n, [v]] for v in (i, j)))
        errors += (method.predictor(x, action) - y).square().sum().item()
        copies += (x - y).square().sum().item()
        targets.append(y)
    spread = torch.cat(targets).var(dim=0, correction=0).sum().item() * 9
    found = figures(replace(OWN, pairs=9), task, PART)
    want = {"vs_identity": errors / copies, "vs_constant": errors / spread}
    for name, value in want.items():
        assert found[f"predictor_error_{name}"].values == pytest.approx((value,), rel=1e-4)


def test_methods_that_compare_directions_are_judged_by_them() -> None:
    task = untrained_task("SEN")
    before = figures(OWN, task, PART)
    assert isinstance(task.method, SEN)
    task.method.predictor.weight.data *= 7
    after = figures(OWN, task, PART)
    for name, measured in before.items():
        assert after[name].values == pytest.approx(measured.values, rel=1e-5)


def linear_maps(sets: Sets, **settings: Any) -> dict[str, tuple[float, float]]:
    """Error and baseline of each figure of the linear map."""
    found = {}
    for name, measured in figures(EquivarianceError(**settings), task_of(*sets)).items():
        assert measured.baseline is not None
        found[name.removeprefix("linear_map_error_")] = (measured.values[0], measured.baseline)
    return found


def both(make: Callable[[str], FeatureSet]) -> Sets:
    return make("train"), make("val")


def test_features_that_turn_with_the_object_are_moved_exactly() -> None:
    sets = both(lambda split: equivariant(60, 20, split))
    for told, blind in linear_maps(sets).values():
        assert told < 1e-3
        assert blind > 0.3


def test_noise_is_what_is_left() -> None:
    sets = both(lambda split: equivariant(200, 20, split, noise=0.3))
    clean = equivariant(200, 20, "val").features.flatten(0, 1).var(dim=0).sum().item()
    floor = 20 * 0.3**2 / (clean + 20 * 0.3**2)  # of the target alone: it cannot be told
    found, _ = linear_maps(sets)["vs_constant"]
    assert floor < found < 4 * floor


def test_the_action_does_not_help_where_features_do_not_follow_it() -> None:
    def make(split: str) -> FeatureSet:
        generator = torch.Generator().manual_seed(len(split))
        own = torch.randn(100, 1, 12, generator=generator)
        noise = torch.randn(100, 8, 12, generator=generator)
        return feature_set(own + noise, split, actions={"rotation": rotations(100, 8)})

    told, blind = linear_maps(both(make))["vs_identity"]
    # the best is to go half-way to the mean: (1 + 1/2) / 2 = 3/4 of the error of a copy
    assert blind == pytest.approx(0.75, abs=0.05)
    assert told == pytest.approx(blind, abs=0.06)


def test_a_linear_map_without_use_is_a_copy() -> None:
    """Invariant features: nothing is better than to stay."""

    def make(split: str) -> FeatureSet:
        generator = torch.Generator().manual_seed(len(split))
        own = torch.randn(60, 1, 30, generator=generator).expand(60, 6, 30)
        noise = 1e-3 * torch.randn(60, 6, 30, generator=generator)
        return feature_set(own + noise, split, actions={"rotation": rotations(60, 6)})

    found = linear_maps(both(make))
    assert found["vs_identity"][0] < 1.2
    assert found["vs_constant"][0] < 1e-4


def test_any_model_and_every_part_is_judged(tmp_path: Path) -> None:
    parts = {"all": (0, 20), "inv": (0, 4), "equi": (4, 20)}
    sets = both(lambda split: replace(equivariant(30, 20, split), parts=parts))
    task = task_of(*sets, folder=tmp_path, others={"ood": sets[0]})
    found = EquivarianceError()(task)
    assert {(m.part, m.split) for m in found} == {
        (part, split) for part in ("all", "inv", "equi") for split in ("", "ood")
    }
    curves = read_artifacts(tmp_path)
    assert {c.part for c in curves} == {"all", "inv", "equi"}
    assert len(curves) == 3
    (curve,) = [c for c in curves if c.part == "all"]
    told, blind, copied = curve.arrays["y"]
    assert (told < 0.01).all()
    assert (told < blind).all()
    assert copied[0] < 0.5 < copied[-1]  # copying is good for small actions only
    assert curve.meta["x_label"] == "size of the rotation (degrees)"


def test_several_factors_are_told_together() -> None:
    def make(split: str) -> FeatureSet:
        base = equivariant(80, 20, split)
        shift = torch.rand(80, 8, 3, generator=torch.Generator().manual_seed(len(split))) - 0.5
        mix = torch.randn(3, 20, generator=torch.Generator().manual_seed(4))
        actions = {"rotation": base.actions["rotation"], "translation": shift}
        return feature_set(base.features + shift @ mix, split, actions=actions)

    task = task_of(*both(make))
    one, other = (
        figures(EquivarianceError(factors=factors), task)["linear_map_error_vs_identity"].values[0]
        for factors in (("rotation",), ("rotation", "translation"))
    )
    assert other < 0.05 < one


def test_collapsed_features_have_figures() -> None:
    sets = both(lambda split: collapsed(12, split))
    for told, blind in linear_maps(sets).values():
        assert (told, blind) == (0, 0)


def test_the_same_call_gives_the_same_figures() -> None:
    sets = both(lambda split: equivariant(30, 60, split, noise=0.3))
    torch.manual_seed(1)
    one = linear_maps(sets, components=8)
    torch.manual_seed(2)
    drawn = torch.rand(1)
    torch.manual_seed(2)
    assert linear_maps(sets, components=8) == one
    assert torch.rand(1) == drawn  # and nobody else's random numbers are used up


def test_what_cannot_be_judged_is_said() -> None:
    sets = both(lambda split: equivariant(6, 8, split))
    with pytest.raises(NotApplicable, match="no trained method"):
        OWN(task_of(*sets))
    with pytest.raises(NotApplicable, match="did you mean 'rotation'"):
        EquivarianceError(factors=("rotaton",))(task_of(*sets))
    with pytest.raises(UserError, match="components is 0"):
        EquivarianceError(components=0)(task_of(*sets))
    with pytest.raises(NotApplicable, match="1 view, but"):
        EquivarianceError()(task_of(*both(lambda split: equivariant(6, 8, split, views=1))))


def test_what_the_maps_are_told_by_default() -> None:
    def with_blurs(split: str) -> FeatureSet:
        views = equivariant(20, 8, split)
        generator = torch.Generator().manual_seed(0)
        known = {"hue": Hue(), "shift": Translation(2)}
        actions = {n: g.sample((20, 8), generator=generator) for n, g in known.items()}
        actions["blur"] = torch.rand(20, 8, 1, generator=generator)
        return replace(views, groups={"blur": Blur(), **known}, actions=actions)

    sets = both(with_blurs)
    told = figures(EquivarianceError(factors=("hue", "shift"), pairs=64), task_of(*sets))
    assert figures(EquivarianceError(pairs=64), task_of(*sets)) == told  # blurs have no inverse
    with pytest.raises(NotApplicable, match=r"blur is of .*, a semigroup"):
        EquivarianceError(factors=("blur",))(task_of(*sets))
