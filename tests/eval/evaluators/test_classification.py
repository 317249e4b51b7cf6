from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from eval.cache import FeatureSet
from eval.evaluators.classification import LinearClassification, MLPClassification, MLPProbe
from eval.probe import ProbeRecipe
from eval.probes import EquiangularProbe
from eval.protocol import NotApplicable
from ssl_equiv.errors import UserError
from ssl_equiv.heads import equiangular_basis
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


@pytest.mark.parametrize(("width", "dim"), [(6, 4), (3, 3), (2, 2)])
def test_a_head_of_equiangular_vectors(width: int, dim: int) -> None:
    sets = [clusters(40, width, split, spread=0.3) for split in ("train", "val")]
    task = task_of(*sets, seeds=(0, 1))
    recipe = replace(RECIPE, epochs=200, lr=0.05)
    linear = figures(LinearClassification(recipe), task)
    found = figures(LinearClassification(recipe, head="ebv"), task)
    assert set(found) == {"ebv_top1", "ebv_top5"}
    assert found["ebv_top1"].baseline == linear["top1"].baseline == pytest.approx(0.25)
    if width > 2:  # in the plane four directions and no lengths are not enough
        assert min(found["ebv_top1"].values) > min(linear["top1"].values) - 0.1
    assert min(found["ebv_top1"].values) > 0.4
    probe = EquiangularProbe(*sets, ["all"], [0, 1], RECIPE)
    assert [tuple(p.shape) for p in probe.net.parameters()] == [(2, width, dim), (2, 1, dim)]
    chosen = torch.tensor([[0, 1, 2], [0, 0, 1]])  # objects and views
    logits = probe("val", chosen)
    for seed in range(2):  # a member is the published head after a linear map
        weight, bias = (p[seed] for p in probe.net.parameters())
        x = (sets[1].features[chosen[0], chosen[1]] - probe.mean) * probe.scale
        projected = torch.nn.functional.normalize(x @ weight + bias, dim=-1)
        wanted = projected @ equiangular_basis(4, dim).T / 0.07
        torch.testing.assert_close(logits[0, seed], wanted)
    label = sets[0].labels[chosen[0]]
    losses = probe.loss(logits, probe.answers(chosen))
    for seed in range(2):
        wanted = torch.nn.functional.cross_entropy(logits[0, seed], label, label_smoothing=0.1)
        torch.testing.assert_close(losses[0, seed], wanted)
    with pytest.raises(UserError, match="head is 'evb': choose linear or ebv"):
        LinearClassification(RECIPE, head="evb")(task)  # type: ignore[arg-type]


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
    renamed = replace(val, class_names=("class1", "class0", "class2", "cup"))
    cases = [
        (one_class, val, "all 12 training objects are of the class 'class3'"),
        (train, renamed, "the val data have the classes class0, class1, class2 and 1 more, the"),
    ]
    for *sets, message in cases:
        with pytest.raises(NotApplicable, match=message) as caught:
            kind(RECIPE)(task_of(*sets))
        assert "\n" not in str(caught.value)


def test_classes_are_known_by_name(caplog: pytest.LogCaptureFixture) -> None:
    train, val = (clusters(12, 6, split, spread=1.0) for split in ("train", "val"))
    order = torch.tensor([2, 0, 3, 1])  # the new number of each class
    names = ("class1", "class3", "class0", "class2", "never seen")
    shuffled = replace(val, labels=order[val.labels], class_names=names)
    alien = replace(shuffled, labels=shuffled.labels + 1, split="alien")
    task = task_of(train, val, others={"same": shuffled, "alien": alien})
    found = LinearClassification(RECIPE)(task)
    assert {m.split for m in found} == {"", "same"}
    assert "alien is left out: the alien data have the classes class0" in caplog.text
    for metric in ("top1", "top5"):
        values = {m.split: (m.values, m.baseline) for m in found if m.metric == metric}
        assert values["same"] == values[""]
