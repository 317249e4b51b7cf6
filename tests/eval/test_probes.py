from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from eval.evaluators import ActionRegression
from eval.fitting import fit
from eval.probe import ProbeRecipe, StackedProbe
from eval.probes import LinearProbe
from eval.protocol import evaluate
from ssl_equiv.errors import UserError
from tests.eval.fakes import clusters, equivariant

SHORT = ProbeRecipe(epochs=5, batch_size=16, hidden=(12,))
HALVES = {"inv": (0, 6), "equi": (6, 12)}


def _member(probe: StackedProbe, number: int) -> list[torch.Tensor]:
    return [parameter[number].detach() for parameter in probe.net.parameters()]


@pytest.mark.parametrize(
    "recipe", [SHORT, replace(SHORT, schedule="one_cycle", standardize=True, lr=2e-3)]
)
def test_members_end_as_if_trained_alone(recipe: ProbeRecipe) -> None:
    train, val = (
        replace(equivariant(20, 12, split), parts={"all": (0, 12), **HALVES})
        for split in ("train", "val")
    )
    together = LinearProbe(train, val, ["inv", "equi"], [3, 4, 5], recipe)
    values = fit(together)
    for p, part in enumerate(["inv", "equi"]):
        for s, seed in enumerate([3, 4, 5]):
            alone = LinearProbe(train, val, [part], [seed], recipe)
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


def test_steps_look_for_no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes torch 1.3 ms where a build for CUDA finds no driver."""
    train, val = (clusters(20, 12, split, spread=2.0) for split in ("train", "val"))
    asked = []
    available = torch.cuda.is_available
    monkeypatch.setattr(torch.cuda, "is_available", lambda: asked.append(1) or available())
    few = replace(SHORT, epochs=4)
    counts = []
    for recipe in (few, replace(few, epochs=40)):
        asked.clear()
        fit(LinearProbe(train, val, ["all"], [0], recipe))
        counts.append(len(asked))
    assert counts[1] == counts[0]  # ten times the steps


def test_a_bar_tells_what_is_trained(capsys: pytest.CaptureFixture[str]) -> None:
    sets = [clusters(20, 12, split, spread=2.0) for split in ("train", "val")]
    for progress in (False, True):
        fit(LinearProbe(*sets, ["all"], [0], SHORT), progress=progress)
        assert ("LinearProbe (all)" in capsys.readouterr().out) is progress


def test_bad_input_is_one_clear_line() -> None:
    train, val = (equivariant(8, 12, split) for split in ("train", "val"))
    one_class = replace(train, labels=torch.zeros(8, dtype=torch.int64))
    cases = [
        (lambda: LinearProbe(one_class, val, ["all"], [0], SHORT), "'class0'"),
        (lambda: LinearProbe(train, val, ["invv"], [0], SHORT), "no part 'invv' .it has all"),
    ]
    for build, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            build()
        assert "\n" not in str(caught.value)


def test_a_column_that_hardly_ever_varies_is_not_blown_up() -> None:
    """A unit that one training view wakes a little, and some validation views more."""
    recipe = ProbeRecipe(
        epochs=150, batch_size=32, hidden=(32,), lr=1e-2, schedule="one_cycle", standardize=True
    )
    scores = []
    for waking in (False, True):
        sets = []
        for split in ("train", "val"):
            plain = equivariant(32, 12, split)
            column = torch.zeros(32, 8, 1)
            if waking:
                column[0, 0], column[1:, 0] = 1e-3, 0.1 if split == "val" else 0.0
            features = torch.cat([plain.features, column], dim=-1)
            sets.append(replace(plain, features=features, parts={"all": (0, 13)}))
        rows = evaluate(
            *sets,
            evaluators=[ActionRegression("rotation", recipe, conventions=("canonical",))],
            seeds=1,
        )
        scores.append(next(row.value for row in rows if row.metric == "rotation_r2_pooled"))
    assert scores[0] > 0.7
    assert scores[1] > scores[0] - 0.2
