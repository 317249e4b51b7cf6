"""Views of a few rendered objects, for tests that a method learns from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from data_gen.latents import sample_latents
from data_gen.recipe import Recipe
from data_gen.render.embree import EmbreeRenderer
from data_gen.sources import ProceduralSource
from eval.evaluators import ActionRegression
from eval.evaluators.regression import Depth
from eval.protocol import evaluate
from eval.recipes import QUICK, QUICK_LINEAR
from eval.runner import make_trainer, quiet
from ssl_equiv.data.views import Preprocess, ViewBatch
from ssl_equiv.groups import SO3
from ssl_equiv.groups.conversions import euler_xyz_to_quat
from ssl_equiv.methods import Method, OptimizerConfig
from tests.eval.fakes import feature_set

CLASSES = ("chair", "mug", "lamp", "table", "sofa", "bench", "bed", "car")
TRAIN, HELD_OUT, SIZE = 64, 16, 32  # views of an object, pixels
RECIPE: dict[str, Any] = {
    "num_views": TRAIN + HELD_OUT,
    "image_size": SIZE,
    "lens_mm": 85.0,
    # turned about the vertical axis alone: three axes take longer to learn than a test may last
    "rotation": [0.0, 0.0, [-1.5708, 1.5708]],
    "floor_hue": [0.5, 0.7],
    "light_theta": [0.0, 0.3927],
    "light_hue": [0.0, 0.3],
}
Scene = Literal["random", "path", "hues kept"]
SCENES: dict[Scene, dict[str, Any]] = {
    "random": {},
    # one smooth path, of which the last views are held out
    "path": {"trajectory": {"keyframes": 8, "columns": ["rotation_z"]}},
    # where hues vary, a fifth of what differs between an object's views, in the features of random
    # weights, is a function of its angle; where they do not, more than half is
    "hues kept": {"floor_hue": [0.6, 0.6], "light_hue": [0.15, 0.15]},
}


@dataclass(frozen=True)
class Views:
    """All views: normalised images ``(O, V, 3, H, W)`` and rotations ``(O, V, 4)``."""

    images: Tensor
    rotation: Tensor

    def held_out(self) -> Views:
        """What is not trained on."""
        return Views(self.images[:, TRAIN:], self.rotation[:, TRAIN:])

    def draw(
        self, num: int, views: int, generator: torch.Generator, consecutive: bool = False
    ) -> ViewBatch:
        """Random objects, different training views of each, which may follow one another."""
        objects = torch.randint(len(self.images), (num,), generator=generator)
        if consecutive:
            first = torch.randint(TRAIN - views + 1, (num, 1), generator=generator)
            return self.batch(objects, first + torch.arange(views))
        chosen = torch.rand(num, TRAIN, generator=generator).argsort(dim=1)[:, :views]
        return self.batch(objects, chosen)

    def pairs(self, num: int, generator: torch.Generator) -> ViewBatch:
        """Random objects, two different training views of each."""
        return self.draw(num, 2, generator)

    def batch(self, objects: Tensor, chosen: Tensor) -> ViewBatch:
        """The views ``chosen (B, V)`` of ``objects (B)``."""
        rows = objects[:, None]
        return ViewBatch(
            self.images[rows, chosen],
            {"rotation": self.rotation[rows, chosen]},
            {"rotation": SO3()},
            objects,
            objects,
        )


@cache
def rendered_views(scene: Scene = "random") -> Views:
    """Eight objects under random rotations, or along a path of them."""
    recipe = Recipe.from_dict(RECIPE | SCENES[scene])
    renderer, source = EmbreeRenderer(recipe), ProceduralSource(8, CLASSES, class_colors=True)
    images, rotations = [], []
    for index in range(len(source)):
        latents = sample_latents(recipe, (0, index))
        images.append(torch.from_numpy(renderer.render(source.load(index), latents)))
        rotations.append(euler_xyz_to_quat(torch.from_numpy(latents[:, :3])).float())
    pixels = torch.stack(images).permute(0, 1, 4, 2, 3)
    return Views(Preprocess().normalize(pixels), torch.stack(rotations))


class Batches(IterableDataset[ViewBatch]):
    """Batches without end, the same at every pass."""

    def __init__(self, num: int, views: int, seed: int, scene: Scene) -> None:
        self.num, self.views, self.seed, self.scene = num, views, seed, scene

    def __iter__(self) -> Iterator[ViewBatch]:
        generator, views = torch.Generator().manual_seed(self.seed), rendered_views(self.scene)
        while True:
            yield views.draw(self.num, self.views, generator, consecutive=self.scene == "path")


class Keep(pl.Callback):
    """Keep the terms of every step."""

    def __init__(self) -> None:
        self.history: list[dict[str, float]] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """See the class."""
        self.history.append({name: term.item() for name, term in outputs["terms"].items()})


def fit(
    method: Method, steps: int, batch: int, lr: float, seed: int, scene: Scene = "random"
) -> list[dict[str, float]]:
    """Train as a run does; returns the terms of every step."""
    keep = Keep()
    options = {"accelerator": "cpu", "max_steps": steps, "enable_progress_bar": False}
    trainer = make_trainer(options, callbacks=[keep])
    method.optimizer_config = OptimizerConfig(lr=lr)
    batches = DataLoader(Batches(batch, method.num_views, seed, scene), batch_size=None)
    with quiet():
        trainer.fit(method, batches)
    return keep.history


@torch.no_grad()
def features(method: Method, scene: Scene = "random") -> Tensor:
    """The representations of all views in evaluation mode, ``(O, V, D)``."""
    images = rendered_views(scene).images
    made = [method.eval().encode(part).features for part in images.flatten(0, 1).split(128)]
    return torch.cat(made).unflatten(0, images.shape[:2])


def rotation_r2(method: Method, part: str, depth: Depth = "mlp", scene: Scene = "random") -> float:
    """Pooled R² of the relative rotation between held-out views of the objects."""
    made, rotation = features(method, scene), rendered_views(scene).rotation
    train, val = (
        feature_set(made[:, v], name, actions={"rotation": rotation[:, v]}, parts=method.parts)
        for name, v in (("train", slice(TRAIN)), ("val", slice(TRAIN, None)))
    )
    # 250 steps, and 500 of what is convex
    recipe = replace(QUICK, epochs=8000, batch_size=256, hidden=(128,))
    if depth == "linear":
        recipe = replace(QUICK_LINEAR, epochs=32000)
    evaluator = ActionRegression(recipe=recipe, conventions=("canonical",), depths=(depth,))
    rows = evaluate(train, val, evaluators=[evaluator], parts=[part], seeds=1)
    return next(row.value for row in rows if row.metric.endswith("rotation_r2_pooled"))
