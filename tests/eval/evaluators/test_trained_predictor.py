"""All three evaluators of predictors see what training does."""

from __future__ import annotations

import pytest
import torch

from eval.cache import FeatureSet
from eval.evaluators.consistency import Consistency
from eval.evaluators.equivariance_error import EquivarianceError
from eval.evaluators.predictor_retrieval import PredictorRetrieval
from eval.predictor import PART
from eval.protocol import Task
from eval.view_pairs import draw_tuples
from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.methods import SEN, SIE
from ssl_equiv.representation import Representation
from tests.eval.evaluators.tasks import figures, task_of
from tests.eval.fakes import equivariant
from tests.parity.common import parity_features  # noqa: F401 (a backbone that is the identity)

EVALUATORS = (PredictorRetrieval(), EquivarianceError(factors=()), Consistency())


def train(method: SIE | SEN, views: FeatureSet, steps: int) -> None:
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    objects, *places = draw_tuples(views.num_objects, views.num_views, 2, 128 * steps)
    elements = views.actions["rotation"]
    action = views.group("rotation").relative(*(elements[objects, view] for view in places))
    method.train()
    for some in torch.split(torch.arange(128 * steps), 128):
        pair = [
            Representation(views.features[objects[some], view[some]], method.parts)
            for view in places
        ]
        loss = method.total(method.terms_of_action(pair, action[some]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    method.eval()


def judged(task: Task) -> dict[str, float]:
    return {n: m.values[0] for e in EVALUATORS for n, m in figures(e, task, PART).items()}


@pytest.mark.parametrize("kind", [SIE, SEN])
def test_training_a_predictor_shows(kind: type[SIE | SEN]) -> None:
    torch.manual_seed(0)
    backbone = BackboneConfig("parity_features", options={"dim": 32})
    method = kind(backbone=backbone, projector_widths=(64, 64, 32)).eval()
    sets = [equivariant(n, 32, split, noise=0.05) for n, split in ((200, "train"), (30, "val"))]
    task = task_of(*sets, method=method)
    before = judged(task)
    train(method, sets[0], 250)
    after = judged(task)
    assert before["predictor_mrr"] < 0.6
    assert after["predictor_mrr"] > 0.85
    assert after["predictor_pre"] < before["predictor_pre"] / 2
    assert before["predictor_error_vs_identity"] > 1
    assert after["predictor_error_vs_identity"] < 0.4
    for law in ("composition", "inverse", "identity"):
        assert after[f"consistency_{law}"] < before[f"consistency_{law}"]
        assert after[f"consistency_{law}"] > 1e-3  # learnt, not exact
