"""Rotation R² as the papers' evaluators measure it: images are encoded anew in every epoch.

Written from the papers' text (SIE, arXiv 2302.10283; EquiCaps, arXiv 2506.09895): 300 epochs of all
objects, two random views each, through the frozen encoder; an MLP 2D-1024-1024-4 on the two
features, Adam 1e-3, mean squared error to the relative quaternion. Views come from this package's
own loader, which is faster than a folder of files: the comparison is about encoding again.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eval.cache import FeatureSet
from eval.evaluators import ActionRegression
from eval.features import extract
from eval.metrics import r2_pooled
from eval.probe import ProbeRecipe
from eval.protocol import evaluate
from eval.recipes import PUBLISHED, QUICK
from eval.results import Result, summarise
from eval.stacked import fixed_pairs
from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.fewer_views import FewerViews
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.data.views import Preprocess
from ssl_equiv.export import Backbone, open_backbone
from ssl_equiv.groups.conversions import quat_conjugate, quat_multiply
from ssl_equiv.methods import SIE, Method

WIDTH, LR = 1024, 1e-3
FACTOR = "rotation"
PUBLISHED_VIEWS = 50  # of an object, in 3DIEBench


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Args:
        objects: Objects of the large set, a fifth for validation.
        views: Views of each.
        size: Pixels.
        batch: Objects in a batch of the published protocol.
        epochs: Epochs of the published protocol.
        timed_epochs: Those that are timed, after one.
        train_views: Views of each training object that the quickest way encodes.
        small_objects: Objects of the small set, on which both run in full.
        small_size: Its pixels.
        small_batch: Its batch; it divides the training objects, so both take as many steps.
        small_channels: Of its ResNet-18, half the usual ones.
        workers: Loader and rendering processes; None takes the cores of this process.
    """

    objects: int = 1250
    views: int = 16
    size: int = 64
    batch: int = 256
    epochs: int = 300
    timed_epochs: int = 3
    train_views: int = 6
    small_objects: int = 480
    small_size: int = 48
    small_batch: int = 64
    small_channels: tuple[int, ...] = (32, 64, 128, 256)
    workers: int | None = None


class Reencoding:
    """The protocol.

    Args:
        model: Gives features ``(B, D)`` of images ``(B, 3, H, W)``; it is copied.
        data: Batches of two views, each already of the protocol's size.
        seeds: One head each; they share the encoded batches, as a friend of the protocol would do.
        train_mode: Whether BatchNorm takes each batch's own statistics, as in the papers' code.
    """

    def __init__(
        self, model: nn.Module, data: ViewDataModule, seeds: Sequence[int], train_mode: bool
    ) -> None:
        self.model = copy.deepcopy(model).train(train_mode).requires_grad_(False)
        self.data, self.loader = data, data.train_dataloader()
        width = self.model(torch.zeros(2, 3, 32, 32)).shape[1]
        self.heads = nn.ModuleList(_head(width, seed) for seed in seeds)
        self.optimizer = torch.optim.Adam(self.heads.parameters(), lr=LR)

    def epoch(self) -> float:
        """Visit every object once; returns seconds per object."""
        start, objects = time.perf_counter(), 0
        for batch in self.loader:
            images = self.data.on_after_batch_transfer(batch, 0).images
            with torch.no_grad():
                pair = torch.cat([self.model(_fast(view)) for view in images.unbind(1)], dim=1)
            target = _relative(*batch.actions[FACTOR].unbind(1))
            loss = sum((head(pair) - target).square().mean() for head in self.heads)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[union-attr]
            self.optimizer.step()
            objects += len(images)
        return (time.perf_counter() - start) / objects

    @torch.no_grad()
    def r2(self, pairs_per_object: int = 32) -> list[float]:
        """Pooled R² of each head on fixed pairs of the validation views."""
        features, actions = [], []
        for batch in self.data.all_views_dataloader("val", self.data.batch_size):
            images = self.data.on_after_batch_transfer(batch, 0).images
            # batches of single views, each object once: as large and as mixed as in training
            views = [self.model(_fast(view)) for view in images.unbind(1)]
            features.append(torch.stack(views, dim=1))
            actions.append(batch.actions[FACTOR])
        z, g = torch.cat(features), torch.cat(actions)
        objects, first, second = fixed_pairs(*z.shape[:2], pairs_per_object)
        pairs = torch.cat([z[objects, first], z[objects, second]], dim=1)
        target = _relative(g[objects, first], g[objects, second])
        return [r2_pooled(head(pairs), target).item() for head in self.heads]


def _relative(start: Tensor, end: Tensor) -> Tensor:
    return quat_multiply(quat_conjugate(start), end).float()


def _fast(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _head(width: int, seed: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(2 * width, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, 4),
        )


@contextmanager
def stopwatch(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def method(**options: Any) -> Method:
    """A ResNet-18 with the parts that SIE has, and its predictor, at random."""
    torch.manual_seed(0)
    return SIE(BackboneConfig("resnet18", options=options)).eval()


def features(
    model: Method | Backbone,
    data: ViewDataModule,
    folder: Path,
    *,
    train_views: int | None = None,
    seconds: dict[str, float] | None = None,
    **options: Any,
) -> tuple[FeatureSet, FeatureSet]:
    """The feature pass over training and validation views.

    Args:
        model: What encodes.
        data: What is encoded.
        folder: Where features go.
        train_views: Of each training object; None takes all.
        seconds: Told how long each split took.
        options: Of the trainer.
    """
    fewer = copy.copy(data)
    if train_views is not None:
        fewer.source = FewerViews(data.source, train_views)
    took = {} if seconds is None else seconds
    found = []
    for split, views in (("train", fewer), ("val", data)):
        with stopwatch(took, split):
            found.append(
                extract(model, views, folder, split=split, progress=False, trainer_options=options)
            )
    return found[0], found[1]


def rotation(
    sets: tuple[FeatureSet, FeatureSet],
    recipe: ProbeRecipe,
    seeds: int,
    parts: Sequence[str] | None,
) -> list[Result]:
    """The published head on cached features, in the published convention of quaternions."""
    ask = ActionRegression("rotation", recipe, conventions=("published",))
    return evaluate(*sets, evaluators=[ask], seeds=seeds, parts=parts)


@dataclass(frozen=True)
class Way:
    """How ours gets the same figure.

    Args:
        recipe: How the head is trained; its network is the published one.
        precision: Of the feature pass.
        few: Whether only ``Setting.train_views`` of each training object are encoded.
    """

    recipe: ProbeRecipe
    precision: str
    few: bool = False


WAYS = {
    "published": Way(PUBLISHED, "32-true"),
    "published, bf16": Way(replace(PUBLISHED, precision="auto"), "bf16-mixed"),
    "quick, bf16": Way(QUICK, "bf16-mixed"),
    "quick, bf16, few views": Way(QUICK, "bf16-mixed", few=True),
}
OURS = ("ours", "ours_bf16", "ours_quick", "ours_few_views")  # as the R2 of those is called


def published(
    model: Method, data: ViewDataModule, folder: Path, setting: Setting
) -> dict[str, Any]:
    """Time against the papers' protocol."""
    theirs = Reencoding(
        model.backbone,
        ViewDataModule(batch_size=setting.batch, num_workers=setting.workers, source=data.source),
        seeds=[0],
        train_mode=True,
    )
    theirs.epoch()
    per_visit = statistics.median(theirs.epoch() for _ in range(setting.timed_epochs))
    objects = len(data.source.split["train"])
    found: dict[str, Any] = {
        "train_views": objects * setting.views,
        "seconds_per_object_and_epoch": per_visit,
        "epochs_timed": setting.timed_epochs,
        "one_run_seconds_extrapolated": per_visit * objects * setting.epochs,
    }
    for name, way in WAYS.items():
        passed: dict[str, float] = {}
        sets = features(
            model,
            data,
            folder / name,
            train_views=setting.train_views if way.few else None,
            seconds=passed,
            precision=way.precision,
        )
        # of larger objects: validation views are encoded too, and all of them
        longer = PUBLISHED_VIEWS / setting.views
        many = passed["train"] * (1 if way.few else longer) + passed["val"] * longer
        recipe = replace(way.recipe, epochs=min(way.recipe.epochs, setting.epochs))
        parts = {"one_head": ["all"], "all_heads": list(sets[0].parts)}
        for heads, seeds in (("one_head", 1), ("all_heads", 3)):
            took: dict[str, float] = {}
            with stopwatch(took, "probe"):
                rows = rotation(sets, recipe, seeds, parts[heads])
            runs = seeds * len(parts[heads])
            their_time = runs * found["one_run_seconds_extrapolated"]
            found[f"{heads}: {name}"] = {
                "runs": runs,
                "pass_seconds": sum(passed.values()),
                "probe_seconds": took["probe"],
                "r2": {row.part: row.mean for row in summarise(rows) if "r2_pooled" in row.metric},
                "factors": {
                    f"{setting.views} views": their_time / (sum(passed.values()) + took["probe"]),
                    f"{PUBLISHED_VIEWS} views": their_time / (many + took["probe"]),
                    "features at hand": their_time / took["probe"],
                },
            }
    return found


def compare_r2(root: Path, folder: Path, setting: Setting, encoder: str | None) -> dict[str, Any]:
    """R² of both on a small set, every epoch of them run.

    Args:
        root: The set.
        folder: Where features go.
        setting: Epochs and batch.
        encoder: A run, as of ``ssl-equiv eval``; None for a small random network.
    """
    seeds, preprocess = 3, Preprocess()
    model: Method | Backbone = method(channels=setting.small_channels)
    network = model.backbone
    if encoder is not None:
        model = open_backbone(encoder)
        network, preprocess = model.model, model.preprocess
    data = ViewDataModule(
        str(root),
        batch_size=setting.small_batch,
        num_workers=setting.workers,
        preprocess=preprocess,
    )
    found: dict[str, Any] = {"model": encoder or "random"}
    for name, train_mode in (("published", True), ("published_eval_mode", False)):
        theirs = Reencoding(network, data, range(seeds), train_mode)
        with stopwatch(found, f"{name}_seconds"):
            for _ in range(setting.epochs):
                theirs.epoch()
        found[name] = theirs.r2()
    ours = dict(zip(OURS, WAYS.values(), strict=True))
    for name, way in ours.items():
        epochs = min(way.recipe.epochs, setting.epochs)
        recipe = replace(way.recipe, batch_size=setting.small_batch, epochs=epochs)
        fewer = setting.train_views if way.few else None
        with stopwatch(found, f"{name}_seconds"):
            sets = features(model, data, folder / name, train_views=fewer, precision=way.precision)
            rows = rotation(sets, recipe, seeds, ["all"])
        rows = [row for row in rows if row.metric.endswith("r2_pooled_published")]
        found[name], found["constant"] = [row.value for row in rows], rows[0].baseline
    names = ("published", "published_eval_mode", *ours)
    return {**found, "mean": {name: statistics.mean(found[name]) for name in names}}
