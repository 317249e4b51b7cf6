from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from eval.cache import FeatureSet
from eval.evaluators.predictor_retrieval import PredictorRetrieval
from eval.predictor import PART
from eval.protocol import NotApplicable, evaluate
from eval.targets import Convention
from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO2, SO3
from ssl_equiv.groups.conversions import quat_conjugate, quat_multiply
from ssl_equiv.methods import BYOL, SIE
from tests.eval.evaluators.predictors import equicaps_task, untrained_task
from tests.eval.evaluators.tasks import figures, task_of
from tests.eval.fakes import feature_set
from tests.methods.tiny import OPTIONS, tiny

ALL = PredictorRetrieval(objects=None, starts=None, pose_queries=None)


@torch.no_grad()
def by_hand(
    method: SIE, views: FeatureSet, published: bool, signed: bool = False
) -> dict[str, float]:
    """One start view and one target after the other."""
    embedding = method.projector_equi(views.features[..., -method.equi_dim :].flatten(0, 1))
    embedding = embedding.unflatten(0, views.features.shape[:2])
    quats = views.actions["rotation"]
    reciprocal, hits, poses = [], [], []
    for n in range(views.num_objects):
        for start in range(1 if published else views.num_views):
            for target in range(views.num_views):
                if not published and target == start:
                    continue
                action = SO3().relative(quats[n, start], quats[n, target])
                if signed:
                    action = quat_multiply(quat_conjugate(quats[n, start]), quats[n, target])
                moved = method.predictor(embedding[n, [start]], action[None])[0]

                def cosines(candidates: Tensor, moved: Tensor = moved) -> Tensor:
                    return cosine_similarity(moved, candidates, dim=-1)

                own, every = cosines(embedding[n]), cosines(embedding.flatten(0, 1))
                if not published:
                    own[start], every[n * views.num_views + start] = -2, -2
                order = own.argsort(descending=True).tolist()
                rank = 1 + order.index(target)
                reciprocal.append(1 / rank)
                hits.append(rank <= 5)
                found = quats.flatten(0, 1)[every.argmax()]
                poses.append(1 - (found @ quats[n, target]).item() ** 2)
    return {"mrr": fmean(reciprocal), "h5": fmean(hits), "pre": fmean(poses)}


@pytest.mark.parametrize("convention", ["canonical", "published"])
@pytest.mark.parametrize("published", [False, True])
def test_figures_are_those_of_a_plain_loop(published: bool, convention: Convention) -> None:
    task = untrained_task("SIE", objects=5, views=6)
    # rotations beyond ±90 degrees, whose quaternions' products often have w < 0
    quats = SO3().sample((5, 6), generator=torch.Generator().manual_seed(9))
    task = replace(task, val=replace(task.val, actions={"rotation": quats}))
    assert isinstance(task.method, SIE)
    found = figures(replace(ALL, convention=convention), task, PART)
    want = by_hand(task.method, task.val, published, convention == "published")
    for name, value in want.items():
        measured = found[f"predictor_{name}{'_published' if published else ''}"]
        assert measured.values == pytest.approx((value,), abs=1e-5), name


def test_the_sign_of_quaternions_matters_to_a_linear_predictor() -> None:
    task = untrained_task("SIE", objects=5, views=6)
    quats = SO3().sample((5, 6), generator=torch.Generator().manual_seed(9))
    task = replace(task, val=replace(task.val, actions={"rotation": quats}))
    one = figures(ALL, task, PART)
    other = figures(replace(ALL, convention="published"), task, PART)
    assert one["predictor_mrr"].values != other["predictor_mrr"].values


def test_exact_poses_are_always_found() -> None:
    found = figures(PredictorRetrieval(), equicaps_task(), PART)
    for suffix in ("", "_published"):
        assert found[f"predictor_mrr{suffix}"].values == (1.0,)
        assert found[f"predictor_h1{suffix}"].values == (1.0,)
        assert found[f"predictor_pre{suffix}"].values == pytest.approx((0.0,), abs=1e-5)
    assert found["predictor_h1"].baseline == 1 / 6
    assert found["predictor_h1_published"].baseline == 1 / 7


def test_an_untrained_predictor_is_at_chance() -> None:
    found = figures(ALL, untrained_task("SIE", objects=60, views=10), PART)
    for name, measured in found.items():
        if not name.endswith("_published"):
            assert measured.values == pytest.approx((measured.baseline,), rel=0.15), name


def test_a_choice_of_objects_and_starts_is_close_to_all() -> None:
    task = equicaps_task(noise=1.0, objects=150, views=8)
    whole = figures(ALL, task, PART)
    some = figures(PredictorRetrieval(objects=None, starts=3), task, PART)
    for name in ("predictor_mrr", "predictor_h1"):
        assert 0.2 < whole[name].values[0] < 0.95  # neither all nor nothing
        assert some[name].values == pytest.approx(whole[name].values, abs=0.05)
    fewer = figures(PredictorRetrieval(objects=50), task, PART)
    assert fewer["predictor_mrr"].values == pytest.approx(whole["predictor_mrr"].values, abs=0.08)


def test_other_splits_are_judged_too() -> None:
    task = equicaps_task()
    noise = replace(task.val, features=torch.randn_like(task.val.features))
    task = replace(task, others={"ood": noise})
    assert figures(ALL, task, PART, "ood")["predictor_mrr"].values[0] < 0.7
    assert figures(ALL, task, PART)["predictor_mrr"].values == (1.0,)


def test_what_has_no_predictor_is_left_out_with_a_reason() -> None:
    task = equicaps_task()
    for method, reason in (
        (None, "there is no trained method"),
        (tiny("VICReg").eval(), "VICReg has no predictor that is told an action"),
        (tiny("BYOL").eval(), "BYOL has no predictor that is told an action"),
        (tiny("SIE").eval(), "features of width"),
        (tiny("PLS").eval(), "lack fixation"),
    ):
        with pytest.raises(NotApplicable, match=reason):
            ALL(replace(task, method=method))
    rows = evaluate(task.train, task.val, evaluators=[ALL], method=None, skip_inapplicable=True)
    assert rows == []
    with pytest.raises(UserError, match="training mode"):
        ALL(replace(task, method=tiny("EquiCaps").train()))


def test_elements_of_another_group_are_refused() -> None:
    task = untrained_task("SIE")
    views = replace(
        task.val,
        actions={"rotation": task.val.actions["rotation"][..., :1]},
        groups={"rotation": SO2()},
    )
    with pytest.raises(
        NotApplicable, match=r"SIE does not take elements of Product\(rotation=SO2\)"
    ):
        ALL(replace(task, train=views, val=views))


def test_objects_of_one_view_are_refused() -> None:
    method = tiny("SIE").eval()
    views = feature_set(torch.randn(5, 1, method.dim))
    with pytest.raises(NotApplicable, match="one view"):
        ALL(task_of(views, views, method=method))


def test_settings_out_of_range_are_named() -> None:
    with pytest.raises(UserError, match="starts is 0"):
        PredictorRetrieval(starts=0)(equicaps_task())


@pytest.mark.parametrize("name", ["SeqJEPA", "CapsIE", "SEN", "EquiMod"])
def test_every_kind_of_predictor_is_judged(name: str) -> None:
    found = figures(PredictorRetrieval(), untrained_task(name), PART)
    assert set(found) >= {"predictor_mrr", "predictor_h1", "predictor_h5", "predictor_pre"}


def test_byol_that_is_told_the_action_is_judged() -> None:
    task = untrained_task("BYOL")
    method = BYOL(BackboneConfig("test_resnet"), factors=("rotation",), **OPTIONS["BYOL"])
    figures(ALL, replace(task, method=method.eval()), PART)
