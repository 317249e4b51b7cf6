"""Two gloo processes, started once, against one."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp

from eval.fitting import fit
from tests.eval import two_processes
from tests.eval.networks import Network

pytestmark = pytest.mark.ddp


@pytest.fixture(scope="module")
def dataset(folder_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An odd number of objects; a broken one is replaced by another process's object."""
    root = tmp_path_factory.mktemp("broken")
    shutil.copytree(folder_dataset, root, dirs_exist_ok=True)
    data = two_processes.data_module(str(root))
    while len(data.source.split["train"]) % 2 == 0:
        shutil.rmtree(root / data.source.objects[int(data.source.split["train"][-1])])
        data = two_processes.data_module(str(root))
    victim = int(data.source.split["train"][1])
    (root / data.source.objects[victim] / "image_0.jpg").write_bytes(b"no image")
    return str(root)


@pytest.fixture(scope="module")
def found(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(two_processes.run, (port, str(folder), dataset), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_features_are_those_of_one_process(
    found: list[dict[str, Any]], dataset: str, tmp_path: Path
) -> None:
    data, model = two_processes.data_module(dataset), Network()
    expected = two_processes.extract_train(model, data, tmp_path, {})
    train = len(data.source.split["train"])
    assert train % 2 == 1
    assert len(expected) == train - 1  # the broken object is gone, its replacement counts once
    for rank in range(2):
        torch.testing.assert_close(found[rank]["features"], expected)
        assert found[rank]["encoded"][1] == 0  # the second time from the cache
    assert sum(process["encoded"][0] for process in found) == train * 5


def test_probes_are_those_of_one_process(found: list[dict[str, Any]]) -> None:
    probe = two_processes.make_probe()
    values = fit(probe)
    weights = [parameter.detach() for parameter in probe.net.parameters()]
    for process in found:
        torch.testing.assert_close(process["weights"], weights, atol=1e-5, rtol=0)
        torch.testing.assert_close(process["values"], dict(values), atol=1e-3, rtol=1e-3)


def test_metrics_of_uneven_shares_add_up(found: list[dict[str, Any]]) -> None:
    expected = two_processes.measure(slice(0, 23))
    for process in found:
        torch.testing.assert_close(process["metrics"], expected)


def test_evaluators_of_classes_are_those_of_one_process(found: list[dict[str, Any]]) -> None:
    expected = two_processes.judge_classes()
    for process in found:
        assert process["classes"] == pytest.approx(expected)


def test_the_first_process_does_for_all(found: list[dict[str, Any]], tmp_path: Path) -> None:
    expected = two_processes.judge_predictors(tmp_path)
    assert {name.split()[0] for name in expected} > {"predictor_mrr", "consistency_inverse"}
    for process in found:
        assert process["predictors"] == pytest.approx(expected)
    plots = [sorted(path.name for path in folder.rglob("*.npz")) for folder in folders(found)]
    assert plots[0] == sorted(path.name for path in tmp_path.rglob("*.npz"))
    assert plots[1] == []  # it has not done the same work


def test_all_processes_are_told_of_a_failure(found: list[dict[str, Any]]) -> None:
    refused = "NotApplicable there is nothing here: bring something"
    assert found[0]["failed"] == [refused, "KeyError 'no such thing'"]
    assert found[1]["failed"] == [refused, "RuntimeError KeyError: 'no such thing'"]


def folders(found: list[dict[str, Any]]) -> list[Path]:
    return [Path(process["plots"]) for process in found]
