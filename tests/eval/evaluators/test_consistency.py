from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from eval.artifacts import read_artifacts
from eval.evaluators.consistency import Consistency
from eval.predictor import PART
from eval.protocol import NotApplicable
from eval.view_pairs import draw_tuples
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO3
from ssl_equiv.heads import ActionLinear
from ssl_equiv.methods import SIE
from tests.eval.evaluators.predictors import equicaps_task, untrained_task
from tests.eval.evaluators.tasks import figures

LAWS = ("composition", "inverse", "identity")


def test_capsule_poses_obey_the_group_to_rounding() -> None:
    # whatever the features: noise alone follows the group, but no object
    for noise in (0.0, 10.0):
        found = figures(Consistency(), equicaps_task(noise=noise), PART)
        for law in LAWS:
            assert found[f"consistency_{law}"].values[0] < 2e-6


def test_an_untrained_predictor_does_not() -> None:
    found = figures(Consistency(), untrained_task("SIE"), PART)
    for law in LAWS:
        assert found[f"consistency_{law}"].values[0] > 0.3


@torch.no_grad()
def test_figures_are_those_of_a_plain_loop() -> None:
    task = untrained_task("SIE", objects=4, views=5)
    method, views = task.method, task.val
    assert isinstance(method, SIE)
    evaluator = Consistency(triples=9)
    group, predictor = SO3(), method.predictor
    chosen = draw_tuples(4, 5, 3, 9)
    sums = dict.fromkeys(LAWS, 0.0)
    starts = []
    for n, i, j, k in chosen.T.tolist():
        e = method.projector_equi(views.features[n, [i], -method.equi_dim :])
        g = [views.actions["rotation"][n, view] for view in (i, j, k)]
        a, b = group.relative(g[0], g[1])[None], group.relative(g[1], g[2])[None]
        whole = group.relative(g[0], g[2])[None]
        step = predictor(e, a)
        apart = {
            "composition": predictor(step, b) - predictor(e, whole),
            "inverse": predictor(step, group.inverse(a)) - e,
            "identity": predictor(e, group.identity((1,))) - e,
        }
        for law, difference in apart.items():
            sums[law] += difference.square().sum().item()
        starts.append(e)
    spread = torch.cat(starts).var(dim=0, correction=0).sum().item() * len(starts)
    found = figures(evaluator, task, PART)
    for law in LAWS:
        want = (sums[law] / spread) ** 0.5
        assert found[f"consistency_{law}"].values == pytest.approx((want,), rel=1e-4)


def test_the_curve_grows_with_the_action_as_it_should(tmp_path: Path) -> None:
    """A predictor that adds the rotation's quaternion composes the better the smaller steps are."""
    task = untrained_task("SIE", objects=40, views=12, folder=tmp_path)
    assert isinstance(task.method, SIE)
    predictor = task.method.predictor
    assert isinstance(predictor, ActionLinear)
    width = predictor.in_dim
    weight = torch.zeros(width, 4, width)
    weight[:, 3] = torch.eye(width)  # W(z) = w · 1: shrinks by the cosine of half the angle
    predictor.weight.data = weight.flatten(1)
    found = figures(Consistency(), task, PART)
    assert found["consistency_identity"].values[0] < 1e-6
    assert found["consistency_inverse"].values[0] > 0.1
    curves = {artifact.name: artifact for artifact in read_artifacts(tmp_path)}
    assert set(curves) == {"consistency_composition_rotation", "consistency_inverse_rotation"}
    curve = curves["consistency_inverse_rotation"]
    x, (y,) = curve.arrays["x"], curve.arrays["y"]
    assert (x[1:] > x[:-1]).all()
    assert 10 < x[0] < x[-1] < 180  # degrees
    # |w² - 1| = sin² of half the angle
    want = torch.sin(torch.deg2rad(torch.from_numpy(x) / 2)).square().numpy()
    assert y / y[-1] == pytest.approx(want / want[-1], abs=0.12)
    assert curve.part == PART


def test_a_composition_needs_three_views() -> None:
    with pytest.raises(NotApplicable, match="2 views, but a composition needs 3"):
        Consistency()(equicaps_task(views=2))


def test_without_a_method_or_with_a_wrong_setting() -> None:
    task = equicaps_task()
    with pytest.raises(NotApplicable, match="no trained method"):
        Consistency()(replace(task, method=None))
    with pytest.raises(UserError, match="triples is 0"):
        Consistency(triples=0)(task)
