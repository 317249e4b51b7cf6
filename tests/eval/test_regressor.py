from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from eval.cache import FeatureSet
from eval.fitting import fit, judge
from eval.probe import ProbeRecipe, StackedProbe
from eval.regressor import Regressor
from eval.targets import make_targets
from ssl_equiv.errors import UserError
from ssl_equiv.groups import Hue
from tests.eval.fakes import equivariant, feature_set, rotations

SHORT = ProbeRecipe(epochs=5, batch_size=16, hidden=(12,))
LONGER = ProbeRecipe(
    epochs=150,
    batch_size=100,
    hidden=(128, 128),
    lr=3e-3,
    schedule="one_cycle",
    standardize=True,
)
LINEAR = ProbeRecipe(epochs=150, batch_size=60, hidden=(), lr=5e-2, schedule="one_cycle")
HALVES = {"inv": (0, 6), "equi": (6, 12)}


def regressor(
    train: FeatureSet,
    val: FeatureSet,
    recipe: ProbeRecipe,
    factors: Sequence[str] = ("rotation",),
    parts: Sequence[str] = ("all",),
    seeds: Sequence[int] = (0,),
    **options: Any,
) -> Regressor:
    return Regressor(train, val, parts, seeds, recipe, make_targets(train, factors, **options))


def scenes(objects: int, split: str, views: int = 6) -> FeatureSet:
    """Features from which all factors can be read: cosines, sines and plain numbers."""
    generator = torch.Generator().manual_seed(1 if split == "train" else 2)
    actions = {
        "rotation": rotations(objects, views, seed=3 if split == "train" else 4),
        "translation": torch.rand(objects, views, 3, generator=generator) - 0.5,
        "floor_hue": torch.rand(objects, views, 1, generator=generator),
    }
    turn = 2 * torch.pi * actions["floor_hue"]
    readable = [actions["rotation"], actions["translation"], turn.cos(), turn.sin()]
    features = torch.cat(readable, dim=-1)
    features = torch.cat([features, features[..., :1]], dim=-1)  # 10, and 2 more: a width of 12
    return feature_set(features, split, actions=actions, groups={"floor_hue": Hue()})


def _member(probe: StackedProbe, number: int) -> list[torch.Tensor]:
    return [parameter[number].detach() for parameter in probe.net.parameters()]


@pytest.mark.parametrize("relative", [True, False])
def test_every_member_ends_as_if_trained_alone(relative: bool) -> None:
    train, val = (
        replace(scenes(20, split), parts={"all": (0, 10), "one": (0, 5), "two": (5, 10)})
        for split in ("train", "val")
    )
    recipe = replace(SHORT, schedule="one_cycle", standardize=True, lr=2e-3)
    factors, options = ["rotation", "floor_hue", "translation"], {"relative": relative}
    options["heads"] = ("quaternion", "6d")  # type: ignore[assignment]
    together = regressor(train, val, recipe, factors, ["one", "two"], [3, 4], **options)
    values = fit(together)
    assert len(together.targets) == 4
    for t, target in enumerate(together.targets):
        for p, part in enumerate(["one", "two"]):
            for s, seed in enumerate([3, 4]):
                alone = Regressor(train, val, [part], [seed], recipe, [target])
                found, width = fit(alone), target.coordinates.width
                for a, b in zip(
                    _member(together, 4 * t + 2 * p + s), _member(alone, 0), strict=True
                ):
                    if a.shape != b.shape:  # the last layer: outputs that are another target's
                        assert not a[..., width:].any()
                        a = a[..., :width]
                    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
                for metric, value in found.items():
                    torch.testing.assert_close(
                        values[metric][p, s], value[0, 0], atol=1e-3, rtol=1e-3
                    )


@pytest.mark.parametrize("head", ["quaternion", "6d"])
def test_it_learns_what_is_there_and_nothing_else(head: str) -> None:
    sets = [equivariant(200, 18, split) for split in ("train", "val")]
    suffix = "_6d" if head == "6d" else ""
    probe = regressor(*sets, LONGER, seeds=[0, 1], heads=(head,))
    values, baseline = fit(probe), probe.baseline()
    assert values[f"rotation_r2_pooled{suffix}"].min() > 0.75
    assert values[f"rotation_r2_per_dim{suffix}"].min() > 0.65
    assert values[f"rotation_degrees_median{suffix}"].max() < 35
    each = torch.stack([values[f"rotation_r2_{axis}{suffix}"] for axis in "xyzw"])
    torch.testing.assert_close(each.mean(0), values[f"rotation_r2_per_dim{suffix}"])
    assert baseline[f"rotation_degrees_median{suffix}"] > 85
    if head == "quaternion":
        assert baseline["rotation_r2_pooled"] == pytest.approx(0.243, abs=0.03)

    generator = torch.Generator().manual_seed(0)
    noise = [replace(s, features=torch.randn(200, 8, 18, generator=generator)) for s in sets]
    blind = fit(regressor(*noise, replace(LONGER, epochs=20), heads=(head,)))
    assert blind[f"rotation_r2_pooled{suffix}"].item() < 0.27
    assert blind[f"rotation_degrees_mean{suffix}"].item() > 88


def test_the_figures_are_those_of_its_predictions() -> None:
    train, val = scenes(30, "train"), scenes(9, "val")
    probe = regressor(train, val, SHORT, ["rotation", "floor_hue", "translation"])
    values = fit(probe)
    assert set(probe.baseline()) == set(values)
    objects, first, second = probe.val_samples()
    with torch.no_grad():
        rotation, hue, translation = probe("val", torch.stack([objects, first, second]))[:, 0, 0]
    quats = val.actions["rotation"].double().numpy()
    turned = Rotation.from_quat(quats[objects, first]).inv() * Rotation.from_quat(
        quats[objects, second]
    )
    wrong = Rotation.from_quat(rotation[:, :4].numpy()).inv() * turned
    expected = np.rad2deg(wrong.magnitude())
    assert values["rotation_degrees_mean"].item() == pytest.approx(expected.mean(), rel=1e-4)
    assert values["rotation_degrees_median"].item() == pytest.approx(np.median(expected), rel=1e-3)

    moved = val.actions["translation"][objects, second] - val.actions["translation"][objects, first]
    lengths = np.linalg.norm(translation[:, :3] - moved, axis=-1)
    assert values["translation_distance_mean"].item() == pytest.approx(lengths.mean(), rel=1e-4)
    residual = (translation[:, :3] - moved).square().sum().item()
    total = (moved - moved.mean()).square().sum().item()
    assert values["translation_r2_pooled"].item() == pytest.approx(1 - residual / total, abs=1e-4)

    hues = val.actions["floor_hue"][..., 0].numpy()
    shift = hues[objects, second] - hues[objects, first]
    cosine, sine = hue[:, :2].numpy().T
    off = np.rad2deg(np.abs(np.angle((cosine + 1j * sine) * np.exp(-2j * np.pi * shift))))
    assert values["floor_hue_degrees_mean"].item() == pytest.approx(off.mean(), rel=1e-4)
    wrapped = (shift + 0.5) % 1 - 0.5
    r2 = 1 - (off / 360 @ (off / 360)) / np.square(wrapped - wrapped.mean()).sum()
    assert values["floor_hue_r2_pooled"].item() == pytest.approx(r2, abs=1e-4)


def test_the_baseline_is_the_best_constant() -> None:
    train, val = scenes(200, "train"), scenes(100, "val")
    for relative in (True, False):
        probe = regressor(
            train,
            val,
            SHORT,
            ["rotation", "floor_hue", "translation"],
            relative=relative,
            heads=("quaternion", "6d"),
        )
        prefix = "" if relative else "absolute_"
        baseline = probe.baseline()
        for name in ("rotation", "translation", "floor_hue"):
            assert baseline[f"{prefix}{name}_r2_per_dim"] == pytest.approx(0, abs=0.12)
        # two views are 90 degrees of hue apart in the mean, whatever is answered
        assert baseline[f"{prefix}floor_hue_degrees_mean"] == pytest.approx(90, abs=6)
        # a cube's edge is 1: E|x| from its centre is 0.480, between two points 0.662
        expected = 0.662 if relative else 0.480
        assert baseline[f"{prefix}translation_distance_mean"] == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("relative", [True, False])
def test_other_factors_come_for_free(relative: bool) -> None:
    train, val = scenes(60, "train"), scenes(20, "val")
    probe = regressor(train, val, LINEAR, ["translation"], relative=relative)
    values = fit(probe)
    prefix = "" if relative else "absolute_"
    assert {name.removeprefix(f"{prefix}translation_") for name in values} == {
        *("r2_pooled", "r2_per_dim", "r2_x", "r2_y", "r2_z"),
        *("distance_mean", "distance_median"),
    }
    assert values[f"{prefix}translation_r2_pooled"].item() > 0.97
    assert values[f"{prefix}translation_distance_mean"].item() < 0.1
    if not relative:  # points of the circle are linear in the features
        hue = fit(regressor(train, val, LINEAR, ["floor_hue"], relative=False))
        assert hue["absolute_floor_hue_degrees_mean"].item() < 10
        assert hue["absolute_floor_hue_r2_pooled"].item() > 0.95


def test_it_can_be_judged_on_others() -> None:
    train, val, other = scenes(30, "train"), scenes(9, "val"), scenes(7, "other", views=3)
    probe = regressor(train, val, SHORT, ["rotation", "floor_hue"])
    fit(probe)
    moved = judge(probe, other)
    direct = regressor(train, other, SHORT, ["rotation", "floor_hue"])
    expected = fit(direct)
    for name, value in expected.items():
        torch.testing.assert_close(moved[name], value)
    assert probe.baseline() == direct.baseline()


def test_published_convention_has_its_own_target() -> None:
    sets = [equivariant(20, 12, split) for split in ("train", "val")]
    probe = regressor(*sets, SHORT, conventions=("published",))
    values = fit(probe)
    assert set(values) == set(probe.baseline())
    assert all(name.endswith("_published") for name in values)
    chosen = probe.val_samples()
    (published,) = probe._values("val", chosen)
    (canonical,) = regressor(*sets, SHORT)._values("val", chosen)
    assert (published[:, 3] < 0).any()
    torch.testing.assert_close(canonical, published * published[:, 3:].sign())


def test_standardising_ignores_the_scale_of_features() -> None:
    recipe = replace(SHORT, standardize=True)
    sets = [equivariant(20, 12, split) for split in ("train", "val")]
    scaled = [replace(s, features=100 * s.features + 7) for s in sets]
    a, b = (fit(regressor(*some, recipe)) for some in (sets, scaled))
    torch.testing.assert_close(a["rotation_r2_pooled"], b["rotation_r2_pooled"], atol=1e-3, rtol=0)


def test_bad_input_is_one_clear_line() -> None:
    train, val = (equivariant(8, 12, split) for split in ("train", "val"))
    one_view = replace(train, features=train.features[:, :1])
    without = replace(val, actions={}, groups={"translation": val.groups["rotation"]})
    cases = [
        (lambda: regressor(one_view, val, SHORT), "have 1 view"),
        (
            lambda: regressor(train, val, SHORT, ["rotatoin"]),
            "no factor 'rotatoin' .it has rotation.: did you mean 'rotation'",
        ),
        (lambda: regressor(train, without, SHORT), "no factor 'rotation' .it has translation"),
        (lambda: regressor(train, val, SHORT, parts=["al"]), "no part 'al' .it has all"),
    ]
    for build, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            build()
        assert "\n" not in str(caught.value)
