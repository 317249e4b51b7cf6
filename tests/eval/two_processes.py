"""What two processes do in ``test_two_processes.py``: imported by each, so it imports little."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from eval.class_metrics import ClassRetrieval, ClusterAgreement
from eval.equivariance import Discrepancy, EquivarianceError, PredictionErrors
from eval.evaluators import (
    Collapse,
    Consistency,
    FeatureMaps,
    PredictorRetrieval,
)
from eval.evaluators import EquivarianceError as ErrorOfMaps
from eval.evaluators.clustering import Clustering
from eval.evaluators.few_shot import FewShot
from eval.evaluators.neighbours import KNN, RetrievalOfClasses
from eval.features import extract
from eval.fitting import fit
from eval.geometry import Alignment, Spectrum, Spread, Uniformity
from eval.metrics import EachDimR2, ErrorSummary, PerDimR2, PooledR2, RotationError, TopKAccuracy
from eval.probe import ProbeRecipe
from eval.processes import once
from eval.protocol import NotApplicable
from eval.ranks import PoseError, RetrievalScores
from eval.regressor import Regressor
from eval.targets import make_targets
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.groups import SO3
from tests.eval.evaluators.predictors import equicaps_task
from tests.eval.evaluators.tasks import task_of
from tests.eval.fakes import clusters, equivariant, rotations
from tests.eval.networks import Network

GLOO = {"devices": 2, "strategy": "ddp", "accelerator": "cpu"}


def run(rank: int, port: int, folder: str, dataset: str) -> None:
    """One of two processes, started as torchrun would."""
    torch.set_num_threads(1)
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
    }
    model, data = Network(), data_module(dataset)
    features = extract_train(model, data, f"{folder}/cache", GLOO)  # starts the process group
    encoded = model.encoded
    extract_train(model, data, f"{folder}/cache", GLOO)
    probe = make_probe()
    values = fit(probe, GLOO)
    torch.save(
        {
            "features": features,
            "encoded": (encoded, model.encoded - encoded),
            "values": dict(values),
            "weights": [p.detach() for p in probe.net.parameters()],
            "classes": judge_classes(),
            "predictors": judge_predictors(Path(folder) / f"plots{rank}"),
            "plots": f"{folder}/plots{rank}",
            "failed": fail_once(),
            "metrics": measure(slice(0, 7) if rank == 0 else slice(7, 23)),
        },
        f"{folder}/{rank}.pt",
    )
    torch.distributed.destroy_process_group()


def data_module(dataset: str) -> ViewDataModule:
    return ViewDataModule(dataset, batch_size=8, num_workers=0, skip_bad_images=True)


def extract_train(
    model: Network, data: ViewDataModule, folder: str | Path, options: dict[str, Any]
) -> Tensor:
    found = extract(
        model,
        data,
        folder,
        split="train",
        batch_size=2,
        trainer_options=options,
        progress=False,
    )
    return torch.cat([found.index[:, None].float(), found.features.flatten(1)], dim=1)


def make_probe() -> Regressor:
    # 23 objects x 5 epochs in batches of 19: slices differ in size, and of the last batch, which
    # has one sample, the second process has none
    train, val = equivariant(23, 12, "train"), equivariant(7, 12, "val")
    targets = make_targets(train, ["rotation"], heads=("quaternion", "6d"))
    return Regressor(train, val, ["all"], [0, 1], ProbeRecipe(5, 19, hidden=(12,)), targets)


def measure(mine: slice) -> dict[str, Any]:
    target = rotations(1, 23)[0].double()
    noise = torch.randn(2, 23, 4, generator=torch.Generator().manual_seed(0)).double()
    pred, label = target + noise / 2, torch.arange(23) % 4
    metrics = {
        "pooled": PooledR2(4, (2,)),
        "per_dim": PerDimR2(4, (2,)),
        "each": EachDimR2("xyzw", (2,)),
        "degrees": RotationError(),
        "top2": TopKAccuracy(2, (2,)),
    }
    for name, metric in metrics.items():
        metric.update(pred[:, mine], label[mine] if name == "top2" else target[mine])
    errors = ErrorSummary("distance")
    errors.update((pred - target).norm(dim=-1)[:, mine])
    metrics["distance"] = errors
    geometry = {"spectrum": Spectrum(4), "spread": Spread(4), "alignment": Alignment(4)}
    for metric in geometry.values():
        metric.update(pred[:, mine].transpose(0, 1))  # two views of an object
    pairs = Uniformity()
    pairs.update(pred[0, mine])
    metrics |= {**geometry, "uniformity": pairs, **predictor_metrics(pred, target, mine)}
    retrieval, agreement = ClassRetrieval(3), ClusterAgreement(5, 4)
    retrieval.update(
        pred[0, mine] @ target.T, label[mine, None] == label, noise[0, mine] @ target.T > -1
    )
    agreement.update((label * 3 + torch.arange(23) // 9)[mine] % 5, label[mine])
    metrics |= {"retrieval": retrieval, "agreement": agreement}
    return {name: metric.compute() for name, metric in metrics.items()}


def judge_classes() -> dict[str, float]:
    # 7 objects of 3 views: one process judges 11 views, the other 10
    task = task_of(*(clusters(7, 12, split, views=3, spread=2.0) for split in ("train", "val")))
    evaluators = (KNN((1, 12)), RetrievalOfClasses(k=4), FewShot((1,)), Clustering())
    return {found.metric: found.values[0] for judge in evaluators for found in judge(task)}


def judge_predictors(folder: Path) -> dict[str, float]:
    """What the first process does for all."""
    task = equicaps_task(noise=0.3, folder=folder)
    evaluators = (
        PredictorRetrieval(),
        ErrorOfMaps(pairs=40),
        Consistency(triples=30),
        Collapse(views=50),
        FeatureMaps(views=30, methods=("pca",)),
    )
    return {f"{m.metric} {m.part}": m.values[0] for judge in evaluators for m in judge(task)}


@once
def _refuse() -> None:
    raise NotApplicable("there is nothing here: bring something")


@once
def _break() -> None:
    raise KeyError("no such thing")


def fail_once() -> list[str]:
    """What is raised where the first process fails."""
    told = []
    for fail in (_refuse, _break):
        try:
            fail()
        except Exception as error:
            told.append(f"{type(error).__name__} {error}")
    return told


def predictor_metrics(pred: Tensor, target: Tensor, mine: slice) -> dict[str, Metric]:
    errors, apart, module = PredictionErrors(4), Discrepancy(4), EquivarianceError()
    ranks, poses = RetrievalScores((1, 5)), PoseError()
    one, other = pred[:, mine]
    errors.update(one, target[mine], other)
    apart.update(one, other, target[mine])
    points = torch.randn(23, 5, 3, generator=torch.Generator().manual_seed(1)).double()
    act = SO3().act
    module.update(torch.relu, points[mine], target[mine], act, act)
    ranks.update((one[:, :3] * 10).abs().long() + 1)
    poses.update(one, target[mine])
    return {"errors": errors, "apart": apart, "module": module, "ranks": ranks, "poses": poses}
