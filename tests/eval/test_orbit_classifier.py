"""The closed-form classifier against scikit-learn's, and its confidence against outcomes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from eval.orbit_classifier import discriminant, fit_classifier
from tests.eval.fakes import clusters, feature_set


def gaussians(n: int, seed: int, width: int = 6, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (n,), generator=generator)
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(7))
    mix = torch.randn(width, width, generator=torch.Generator().manual_seed(8))
    return centres[label] + torch.randn(n, width, generator=generator) @ mix / 2, label


@pytest.mark.parametrize("shrinkage", [0.0, 0.2, 0.9])
def test_it_is_scikit_learns(shrinkage: float) -> None:
    x, y = gaussians(400, 0)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
    expected = theirs.fit(x.double().numpy(), y.numpy()).predict_log_proba(x.double().numpy())
    weight, bias, frequency = discriminant(x, y, 3, shrinkage)
    found = (x @ weight + bias + frequency.log()).log_softmax(dim=-1)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-3)


def objects(number: int, seed: int) -> tuple[Tensor, Tensor]:
    """8 views each of objects that differ more than their views do, ``(N, 8, 40)``."""
    generator = torch.Generator().manual_seed(seed)
    centres = 0.35 * torch.randn(3, 40, generator=torch.Generator().manual_seed(7))
    label = torch.arange(number) % 3
    of_object = 0.75 * torch.randn(number, 1, 40, generator=generator)
    of_view = 0.3 * torch.randn(number, 8, 40, generator=generator)
    return centres[label][:, None] + of_object + of_view, label


def test_confidence_is_how_often_it_is_right() -> None:
    excess: dict[str, list[float]] = {"ours": [], "plain": []}
    for seed in range(1, 4):
        (x, y), (new, label) = objects(90, seed), objects(600, seed + 50)
        train = feature_set(x, labels=y, classes=3)
        ours = fit_classifier(train, "all").log_probabilities(new).exp()
        weight, bias, frequency = discriminant(
            x.flatten(0, 1), y.repeat_interleave(8), 3, shrinkage=0.0
        )
        plain = (new @ weight + bias + frequency.log()).softmax(dim=-1)
        for name, p in (("ours", ours), ("plain", plain)):
            hits = (p.argmax(dim=-1) == label[:, None]).double()
            excess[name].append((p.max(dim=-1).values - hits).mean().item())
    # views of one object are alike, so that a plain posterior is too sure of itself
    assert np.mean(excess["plain"]) > 0.09
    assert abs(np.mean(excess["ours"])) < 0.03


def test_scales_and_offsets_of_columns_do_not_matter() -> None:
    train, val = clusters(80, 6, "train", spread=0.5), clusters(40, 6, "val", spread=0.5)
    scale, offset = 10.0 ** torch.arange(-3.0, 3.0), 50 * torch.arange(6.0)
    moved = dataclasses.replace(train, features=train.features * scale + offset)
    expected = fit_classifier(train, "all").log_probabilities(val.features)
    found = fit_classifier(moved, "all").log_probabilities(val.features * scale + offset)
    torch.testing.assert_close(found.exp(), expected.exp(), atol=2e-3, rtol=0)
    hits = expected.argmax(dim=-1) == val.labels[:, None]
    assert hits.double().mean() > 0.95


def test_constant_features_give_the_frequencies() -> None:
    labels = torch.tensor([0] * 20 + [1] * 10 + [2] * 10)
    train = feature_set(torch.full((40, 3, 5), 0.1), labels=labels, classes=4)
    found = fit_classifier(train, "all").log_probabilities(torch.full((1, 5), 0.1)).exp()[0]
    torch.testing.assert_close(found, torch.tensor([0.5, 0.25, 0.25, 0.0]))


def test_objects_without_a_label_are_left_out() -> None:
    train = clusters(80, 6, "train", spread=0.2)
    some = dataclasses.replace(train, labels=torch.where(torch.arange(80) < 60, train.labels, -100))
    p = fit_classifier(some, "all").log_probabilities(train.features[60:]).exp()
    assert (p.argmax(dim=-1) == train.labels[60:, None]).all()


@pytest.mark.parametrize("label", [-100, 1])
def test_without_labels_clusters_stand_for_classes(label: int) -> None:
    train = clusters(80, 6, "train", spread=0.05)
    found = fit_classifier(
        dataclasses.replace(train, labels=torch.full((80,), label)), "all", clusters=4
    )
    assert found.pseudo
    predicted = found.log_probabilities(train.features[:, 0]).argmax(dim=-1)
    table = torch.zeros(4, 4)
    for true, cluster in zip(train.labels.tolist(), predicted.tolist(), strict=True):
        table[true, cluster] += 1
    assert (table > 0).sum() == 4  # each class one cluster


def test_many_views_are_subsampled() -> None:
    train = clusters(80, 6, "train", spread=0.2, views=6)
    for views in (40, 160):
        p = fit_classifier(train, "all", views=views).log_probabilities(train.features)
        assert (p.argmax(dim=-1) == train.labels[:, None]).double().mean() > 0.95
