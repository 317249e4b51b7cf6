from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from eval.cache import FeatureSet
from eval.evaluators import PathIntegration
from eval.probe import ProbeRecipe
from eval.protocol import evaluate
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO3
from tests.eval.evaluators.test_sequence import method
from tests.eval.fakes import feature_set, rotations

RECIPE = ProbeRecipe(epochs=100, batch_size=64, hidden=(64,), standardize=True)


def views(split: str) -> FeatureSet:
    poses = rotations(48, 5, seed=1 if split == "train" else 2)
    features = torch.randn(48, 5, 96, generator=torch.Generator().manual_seed(0))
    features[..., :9] = SO3().matrix(poses).flatten(-2)
    return feature_set(features, split, actions={"rotation": poses})


class Oracle(torch.nn.Module):
    """An aggregator that composes the actions it is given, as a perfect integrator would."""

    def aggregate(self, features: Tensor, actions: Tensor) -> Tensor:
        whole = actions[:, 0]
        for step in actions.unbind(dim=1)[1:]:
            whole = SO3().compose(whole, step)
        return torch.cat([whole, SO3().matrix(whole).flatten(1)], dim=1)


def test_a_perfect_integrator_scores_at_any_length_and_not_without_actions() -> None:
    made = method()
    made.head = Oracle()  # type: ignore[assignment]
    evaluator = PathIntegration(
        lengths=(2, 5), per_object=4, ablations=("none", "views", "actions"), recipe=RECIPE
    )
    rows = evaluate(views("train"), views("val"), evaluators=[evaluator], seeds=1, method=made)
    found = {row.metric: row for row in rows}
    for length in (2, 5):
        for name in ("path_rotation", "path_rotation_no_views"):
            assert found[f"{name}_r2_per_dim_length{length}"].value > 0.8
            row = found[f"{name}_degrees_median_length{length}"]
            assert row.baseline is not None
            assert row.value < 0.3 * row.baseline
        blind = found[f"path_rotation_no_actions_r2_per_dim_length{length}"]
        assert blind.baseline == pytest.approx(0, abs=0.05)
        assert blind.value < 0.1


def test_bad_settings() -> None:
    sets = views("train"), views("val")
    with pytest.raises(UserError, match="needs sequences of 2 views or more"):
        evaluate(*sets, evaluators=[PathIntegration(lengths=(1, 2))], method=method())
    with pytest.raises(UserError, match="the method is told the actions of rotation: choose"):
        evaluate(*sets, evaluators=[PathIntegration(factor="hue")], method=method())
    few = [replace(s, features=s.features[:, :3]) for s in sets]
    with pytest.raises(UserError, match="sequences of 4 views asked for, but each object has 3"):
        evaluate(*few, evaluators=[PathIntegration(lengths=(4,))], method=method(), seeds=1)
