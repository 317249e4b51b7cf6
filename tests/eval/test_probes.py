from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from eval.probe import ProbeRecipe, StackedProbe, fit
from eval.probes import ActionRegressor, LinearProbe
from ssl_equiv.errors import UserError
from ssl_equiv.groups import Translation
from tests.eval.fakes import clusters, equivariant, feature_set

SHORT = ProbeRecipe(epochs=5, batch_size=16, hidden=(12,))
HALVES = {"inv": (0, 6), "equi": (6, 12)}


def _member(probe: StackedProbe, number: int) -> list[torch.Tensor]:
    return [parameter[number].detach() for parameter in probe.net.parameters()]


@pytest.mark.parametrize("kind", [LinearProbe, ActionRegressor])
@pytest.mark.parametrize(
    "recipe", [SHORT, replace(SHORT, schedule="one_cycle", standardize=True, lr=2e-3)]
)
def test_members_end_as_if_trained_alone(kind: type, recipe: ProbeRecipe) -> None:
    train, val = (
        replace(equivariant(20, 12, split), parts={"all": (0, 12), **HALVES})
        for split in ("train", "val")
    )
    together = kind(train, val, ["inv", "equi"], [3, 4, 5], recipe)
    values = fit(together)
    for p, part in enumerate(["inv", "equi"]):
        for s, seed in enumerate([3, 4, 5]):
            alone = kind(train, val, [part], [seed], recipe)
            found = fit(alone)
            for a, b in zip(_member(together, 3 * p + s), _member(alone, 0), strict=True):
                torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
            for metric, value in found.items():
                torch.testing.assert_close(values[metric][p, s], value[0, 0], atol=1e-3, rtol=1e-3)


def test_linear_probe_reaches_logistic_regression() -> None:
    train, val = (clusters(80, 16, split, spread=2.0) for split in ("train", "val"))
    x, y = (torch.flatten(s.features, 0, 1) for s in (train, val))
    reference = LogisticRegression(max_iter=1000).fit(x, train.labels.repeat_interleave(4))
    expected = reference.score(y, val.labels.repeat_interleave(4))
    recipe = ProbeRecipe(epochs=100, batch_size=64, lr=1e-2, schedule="one_cycle")
    probe = LinearProbe(train, val, ["all"], [0, 1, 2], recipe)
    values = fit(probe)
    assert 0.6 < expected < 0.99
    assert values["top1"].min().item() > expected - 0.02
    assert (values["top5"] == 1).all()  # 4 classes
    assert probe.baseline()["top1"] == pytest.approx(0.25)


def test_regressor_learns_what_is_there_and_nothing_else() -> None:
    recipe = ProbeRecipe(epochs=150, batch_size=100, hidden=(128, 128), schedule="one_cycle")
    recipe = replace(recipe, lr=3e-3, standardize=True)
    sets = [equivariant(200, 18, split) for split in ("train", "val")]
    probe = ActionRegressor(*sets, ["all"], [0, 1], recipe)
    values, baseline = fit(probe), probe.baseline()
    assert values["r2_pooled"].min() > 0.75
    assert values["r2_per_dim"].min() > 0.65
    assert values["degrees_median"].max() < 35
    assert baseline["r2_pooled"] == pytest.approx(0.243, abs=0.03)
    assert baseline["degrees_median"] > 90

    generator = torch.Generator().manual_seed(0)
    noise = [replace(s, features=torch.randn(200, 8, 18, generator=generator)) for s in sets]
    short = replace(recipe, epochs=20)
    blind = fit(ActionRegressor(*noise, ["all"], [0], short))
    assert blind["r2_pooled"].item() < baseline["r2_pooled"] + 0.02
    assert blind["degrees_mean"].item() > baseline["degrees_mean"] - 8


def test_published_convention_has_its_own_target() -> None:
    sets = [equivariant(20, 12, split) for split in ("train", "val")]
    probe = ActionRegressor(*sets, ["all"], [0], SHORT, convention="published")
    assert set(fit(probe)) == set(probe.baseline())
    assert all(name.endswith("_published") for name in probe.values)
    chosen = probe.val_samples()
    assert (probe.targets("val", chosen)[:, 3] < 0).any()
    canonical = ActionRegressor(*sets, ["all"], [0], SHORT)
    assert torch.equal(canonical.val_samples(), chosen)
    assert (canonical.targets("val", chosen)[:, 3] >= 0).all()


def test_translations_come_for_free() -> None:
    generator = torch.Generator().manual_seed(0)
    sets = []
    for split in ("train", "val"):
        actions = {"translation": torch.rand(60, 4, 3, generator=generator)}
        sets.append(feature_set(actions["translation"].repeat(1, 1, 2), split, actions=actions))
    recipe = ProbeRecipe(epochs=150, batch_size=60, hidden=(), lr=5e-2, schedule="one_cycle")
    values = fit(ActionRegressor(*sets, ["all"], [0], recipe, factor="translation"))
    assert set(values) == {"r2_pooled", "r2_per_dim"}
    assert values["r2_pooled"].item() > 0.98
    assert Translation(3) == sets[0].group("translation")


def test_standardising_ignores_the_scale_of_features() -> None:
    recipe = replace(SHORT, standardize=True)
    sets = [equivariant(20, 12, split) for split in ("train", "val")]
    scaled = [replace(s, features=100 * s.features + 7) for s in sets]
    a, b = (fit(ActionRegressor(*some, ["all"], [0], recipe)) for some in (sets, scaled))
    torch.testing.assert_close(a["r2_pooled"], b["r2_pooled"], atol=1e-3, rtol=0)


def test_bad_input_is_one_clear_line() -> None:
    train, val = (equivariant(8, 12, split) for split in ("train", "val"))
    one_class = replace(train, labels=torch.zeros(8, dtype=torch.int64))
    one_view = replace(train, features=train.features[:, :1])
    cases = [
        (lambda: LinearProbe(one_class, val, ["all"], [0], SHORT), "'class0'"),
        (lambda: LinearProbe(train, val, ["invv"], [0], SHORT), "no part 'invv' .it has all"),
        (lambda: ActionRegressor(one_view, val, ["all"], [0], SHORT), "have 1 view"),
        (
            lambda: ActionRegressor(train, val, ["all"], [0], SHORT, factor="rotatoin"),
            "no factor 'rotatoin' .it has rotation.: did you mean 'rotation'",
        ),
    ]
    for build, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            build()
        assert "\n" not in str(caught.value)
