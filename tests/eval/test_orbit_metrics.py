"""Metrics along orbits against plain loops, in batches and in two processes."""

from __future__ import annotations

import itertools
import socket
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from scipy.spatial.distance import cosine

from eval.orbit_metrics import (
    OrbitAccuracy,
    OrbitConsistency,
    consensus_class,
    cosine_distance,
    mean_off_reference,
    orbit_accuracy,
    orbit_consensus,
    orbit_consistency,
    relative_distance,
    worst_case_accuracy,
)
from ssl_equiv.errors import UserError
from tests.eval import orbit_processes
from tests.eval.orbit_processes import made_up


def test_class_figures_are_those_of_loops() -> None:
    _, probabilities, label = made_up()
    predicted = probabilities.argmax(dim=-1)
    for member, i in itertools.product(range(2), range(len(label))):
        of_one, p = predicted[member, i].tolist(), probabilities[member, i].numpy()
        hits = [c == label[i] for c in of_one]
        assert orbit_accuracy(predicted, label)[member, i] == pytest.approx(sum(hits) / 5)
        assert worst_case_accuracy(predicted, label)[member, i] == float(all(hits))
        pairs = [a == b for a, b in itertools.combinations(of_one, 2)]
        assert orbit_consistency(predicted)[member, i] == pytest.approx(np.mean(pairs))
        consensus = int(p.mean(axis=0).argmax())
        assert consensus_class(probabilities)[member, i] == consensus
        share = Counter(of_one)[consensus] / 5
        assert orbit_consensus(probabilities)[member, i] == pytest.approx(share)


def test_distances_are_those_of_scipy() -> None:
    features, _, _ = made_up()
    flat = features.double()
    for member, i, t in itertools.product(range(2), range(5), range(5)):
        here, there = flat[member, i, t].numpy(), flat[member, i, 2].numpy()
        apart = np.linalg.norm(here - there) / np.linalg.norm(there)
        assert cosine_distance(flat, 2)[member, i, t] == pytest.approx(cosine(here, there))
        assert relative_distance(flat, 2)[member, i, t] == pytest.approx(apart)
    assert (cosine_distance(features, 2)[..., 2] == 0).all()  # exactly
    assert (relative_distance(features, 2)[..., 2] == 0).all()


def test_small_angles_keep_their_digits_and_zeros_stay_finite() -> None:
    angle = 1e-4
    features = torch.tensor([[[1.0, 0.0], [np.cos(angle), np.sin(angle)], [0.0, 0.0]]])
    found = cosine_distance(features, 0)[0]
    assert found[1] == pytest.approx(angle**2 / 2, rel=1e-3)
    assert relative_distance(features, 2).tolist() == [[1.0, 1.0, 0.0]]


def test_means_leave_the_reference_out() -> None:
    values = torch.tensor([[0.0, 3.0, 9.0]])
    assert mean_off_reference(values, 0).item() == 6
    assert mean_off_reference(values, -1).item() == 1.5
    assert mean_off_reference(values[:, :1], 0).item() == 0
    assert orbit_consistency(torch.zeros(3, 1, dtype=torch.int64)).tolist() == [1, 1, 1]


def test_batches_add_up() -> None:
    _, probabilities, label = made_up()
    predicted = probabilities.argmax(dim=-1)
    accuracy, consistency = OrbitAccuracy((2,)), OrbitConsistency((2,))
    for first, past in ((0, 1), (1, 20), (20, 23)):
        accuracy.update(predicted[:, first:past], label[first:past])
        consistency.update(predicted[:, first:past])
    torch.testing.assert_close(accuracy.compute(), orbit_accuracy(predicted, label).mean(dim=-1))
    torch.testing.assert_close(consistency.compute(), orbit_consistency(predicted).mean(dim=-1))


def test_shapes_that_do_not_fit_are_told() -> None:
    with pytest.raises(UserError, match="one label an object"):
        orbit_accuracy(torch.zeros(4, 3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(UserError, match="no orbit point 3"):
        cosine_distance(torch.zeros(4, 3, 2), 3)


@pytest.mark.ddp
def test_two_processes_of_uneven_shares_give_what_one_gives(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(orbit_processes.run, (port, str(tmp_path)), nprocs=2)
    expected = orbit_processes.measure(slice(0, 23))
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(found, expected)
