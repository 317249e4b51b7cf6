from __future__ import annotations

from pathlib import Path

import pytest
import torch

from eval.cache import FeatureSet
from eval.evaluators.scanpath import Scanpath
from eval.evaluators.sequence import (
    SequenceClassification,
    aggregate_views,
    draw_sequences,
)
from eval.probe import ProbeRecipe
from eval.protocol import evaluate
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO3
from ssl_equiv.methods import PLS, SeqJEPA
from tests.eval.fakes import clusters, rotations
from tests.methods.tiny import tiny

TINY = ProbeRecipe(epochs=30, batch_size=32, lr=1e-2)


def method(name: str = "SeqJEPA") -> SeqJEPA:
    torch.manual_seed(0)
    made = tiny(name)
    assert isinstance(made, SeqJEPA)
    return made.train()


def views(split: str, objects: int = 24, width: int = 96) -> FeatureSet:
    return clusters(objects, width, split, views=5, spread=12.0)


def test_sequences_are_distinct_views_in_random_order() -> None:
    drawn = draw_sequences(50, 6, 4, per_object=3)
    assert drawn.shape == (50, 3, 4)
    assert all(len(set(sequence.tolist())) == 4 for sequence in drawn.flatten(0, 1))
    assert torch.equal(drawn, draw_sequences(50, 6, 4, per_object=3))
    assert not torch.equal(drawn, draw_sequences(50, 6, 4, per_object=3, seed=1))
    counts = torch.bincount(drawn[..., 0].flatten(), minlength=6)
    assert counts.min() > 10
    for length in (0, 7):
        with pytest.raises(UserError, match="but each object has 6: choose lengths from 1 to 6"):
            draw_sequences(50, 6, length, 3)


def test_aggregates_are_the_methods(folder_dataset: Path) -> None:
    made, features = method(), views("train")
    found = aggregate_views(made, features, length=3, per_object=2)
    chosen = draw_sequences(24, 5, 3, 2)
    made.eval()
    for item, number in ((0, 0), (23, 1)):
        order = chosen[item, number]
        poses = features.actions["rotation"][item, order]
        steps = SO3().relative(poses[:-1], poses[1:])
        want = made.head.aggregate(features.features[item, order][None], steps[None])
        torch.testing.assert_close(found.features[item, number], want[0], rtol=1e-4, atol=1e-5)
        displacement = SO3().relative(poses[0], poses[2])
        torch.testing.assert_close(found.actions["rotation"][item, number], displacement)


def test_ablations_take_away_what_they_name() -> None:
    made, features = method(), views("train")
    other_views = views("val")
    other_poses = FeatureSet(**{**vars(features), "actions": {"rotation": rotations(24, 5, 9)}})
    for ablation, change, same in (
        ("views", other_views, True), ("views", other_poses, False),
        ("actions", other_poses, True), ("actions", other_views, False),
        ("none", other_views, False), ("none", other_poses, False),
    ):  # fmt: skip
        if change is other_views:
            change = FeatureSet(**{**vars(features), "features": other_views.features})
        a, b = (aggregate_views(made, s, 3, ablate=ablation) for s in (features, change))  # type: ignore[arg-type]
        assert torch.allclose(a.features, b.features, atol=1e-5) == same, ablation
    assert made.training


def test_a_row_for_each_length() -> None:
    evaluator = SequenceClassification(lengths=(1, 5), per_object=4, recipe=TINY)
    sets = views("train", 64), views("val", 64)
    rows = evaluate(*sets, evaluators=[evaluator], seeds=2, method=method())
    found = {(row.metric, row.seed): row.value for row in rows}
    assert set(found) == {
        (f"top{k}_length{length}", seed) for k in (1, 5) for length in (1, 5) for seed in (0, 1)
    }
    assert {row.part for row in rows} == {"aggregate"}
    for seed in (0, 1):  # five noisy looks tell more than one, even to an untrained aggregator
        assert found["top1_length5", seed] > found["top1_length1", seed] + 0.05


def test_features_of_another_network() -> None:
    with pytest.raises(UserError, match="features of width 12 for an aggregator of 96"):
        aggregate_views(method(), views("train", width=12), 2)


def test_a_scanpath_depends_on_its_image_alone() -> None:
    made = method("PLS").eval()
    assert isinstance(made, PLS)
    images = torch.randn(5, 3, 48, 48)
    for length in (1, 6):
        scanpath = Scanpath(made, length).eval()
        together = scanpath.encode(images).features
        assert together.shape == (5, made.dim + 32)
        alone = scanpath.encode(images[3:4]).features
        torch.testing.assert_close(together[3:4], alone, rtol=1e-4, atol=1e-4)


def test_a_scanpath_follows_the_saliency_of_training() -> None:
    made = method("PLS").eval()
    assert isinstance(made, PLS)
    images, maps = torch.randn(2, 3, 48, 48), torch.ones(2, 4, 4)
    with pytest.raises(UserError, match="was trained on the spectral residual"):
        Scanpath(made).encode(images, maps)
    made.saliency = "maps.npy"
    with pytest.raises(UserError, match=r"was trained on the saliency maps in maps\.npy: give"):
        Scanpath(made).encode(images)
    left, right = torch.zeros(2, 2, 4, 4).unbind()
    left[:, :, 0], right[:, :, -1] = 1, 1
    images[1] = images[0].flip(-1)
    found = Scanpath(made, 2).encode(images, torch.stack([left[0], right[0]])).features
    assert not torch.allclose(found, Scanpath(made, 2).encode(images, left).features)
