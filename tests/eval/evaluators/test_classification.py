from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from eval.cache import FeatureSet
from eval.evaluators.classification import LinearClassification, MLPClassification, MLPProbe
from eval.probe import ProbeRecipe
from eval.protocol import NotApplicable
from tests.eval.evaluators.tasks import figures, task_of
from tests.eval.fakes import clusters, feature_set

RECIPE = ProbeRecipe(
    epochs=40, batch_size=64, lr=1e-2, schedule="one_cycle", standardize=True, hidden=(32,)
)


def _exclusive_or(split: str, seed: int) -> FeatureSet:
    """Two classes in opposite quadrants of the plane, which no line parts."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.arange(120) % 4
    centres = torch.tensor([[1.0, 1], [-1, -1], [1, -1], [-1, 1]])
    features = centres[corner][:, None] + 0.2 * torch.randn(120, 4, 2, generator=generator)
    return feature_set(features, split, labels=corner // 2, classes=2)


def test_an_mlp_parts_what_no_line_parts() -> None:
    sets = [_exclusive_or(split, seed) for seed, split in enumerate(("train", "val"))]
    task = task_of(*sets, seeds=(0, 1), others={"again": replace(sets[1], split="again")})
    linear = figures(LinearClassification(RECIPE), task)
    mlp, again = (figures(MLPClassification(RECIPE), task, split=split) for split in ("", "again"))
    assert set(linear) == {"top1", "top5"}
    assert set(mlp) == {"mlp_top1", "mlp_top5"}
    assert max(linear["top1"].values) < 0.8  # three corners of four
    assert min(mlp["mlp_top1"].values) > 0.98
    assert mlp["mlp_top1"].baseline == pytest.approx(0.5)
    assert again["mlp_top1"].values == mlp["mlp_top1"].values


@pytest.mark.parametrize("hidden", [(), (7,), (9, 5)])
def test_widths_are_the_recipes(hidden: tuple[int, ...]) -> None:
    sets = [clusters(12, 6, split, spread=1.0) for split in ("train", "val")]
    probe = MLPProbe(*sets, ["all"], [0, 1], replace(RECIPE, hidden=hidden))
    widths = [p.shape[-1] for p in probe.net.parameters() if p.shape[1] != 1]
    assert widths == [*hidden, 4]


@pytest.mark.parametrize("recipe", ["published", "quick"])
def test_named_recipes(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(
        "eval.evaluators.classification.MLPProbe", lambda *given: made.append(given[-1])
    )
    monkeypatch.setattr("eval.protocol.Task.run", lambda *given, **options: [])
    sets = [clusters(12, 6, split, spread=1.0) for split in ("train", "val")]
    MLPClassification(recipe)(task_of(*sets))  # type: ignore[arg-type]
    assert made[0].hidden == (512,)
    assert made[0].epochs == (300 if recipe == "published" else 40)


@pytest.mark.parametrize("kind", [LinearClassification, MLPClassification])
def test_bad_input_is_one_clear_line(
    kind: type[LinearClassification] | type[MLPClassification],
) -> None:
    train, val = (clusters(12, 6, split, spread=1.0) for split in ("train", "val"))
    one_class = replace(train, labels=torch.full((12,), 3))
    renamed = replace(val, class_names=("class1", "class0", "class2", "class3"))
    cases = [
        (one_class, val, "all 12 training objects are of the class 'class3'"),
        (train, renamed, "the same ones in the same order"),
    ]
    for *sets, message in cases:
        with pytest.raises(NotApplicable, match=message) as caught:
            kind(RECIPE)(task_of(*sets))
        assert "\n" not in str(caught.value)
