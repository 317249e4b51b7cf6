"""Views of a few rendered objects, for tests that a method learns from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from data_gen.latents import sample_latents
from data_gen.recipe import Recipe
from data_gen.render.embree import EmbreeRenderer
from data_gen.sources import ProceduralSource
from eval.protocol import QUICK, ActionRegression, evaluate
from ssl_equiv.data.views import Preprocess, ViewBatch
from ssl_equiv.groups import SO3
from ssl_equiv.groups.conversions import euler_xyz_to_quat
from ssl_equiv.methods import Method
from tests.eval.fakes import feature_set

CLASSES = ("chair", "mug", "lamp", "table", "sofa", "bench", "bed", "car")
TRAIN, HELD_OUT, SIZE = 64, 16, 48  # views of an object, pixels
RECIPE = Recipe.from_dict(
    {
        "num_views": TRAIN + HELD_OUT,
        "image_size": SIZE,
        "lens_mm": 85.0,
        "floor_hue": [0.5, 0.7],
        "light_theta": [0.0, 0.3927],
        "light_hue": [0.0, 0.3],
    }
)


@dataclass(frozen=True)
class Views:
    """All views: normalised images ``(O, V, 3, H, W)`` and rotations ``(O, V, 4)``."""

    images: Tensor
    rotation: Tensor

    def held_out(self) -> Views:
        """What is not trained on."""
        return Views(self.images[:, TRAIN:], self.rotation[:, TRAIN:])

    def pairs(self, num: int, generator: torch.Generator) -> ViewBatch:
        """Random objects, two different training views of each."""
        objects = torch.randint(len(self.images), (num,), generator=generator)
        chosen = torch.stack([torch.randperm(TRAIN, generator=generator)[:2] for _ in objects])
        return self.batch(objects, chosen)

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
def rendered_views() -> Views:
    """Eight objects under random rotations."""
    renderer, source = EmbreeRenderer(RECIPE), ProceduralSource(8, CLASSES, class_colors=True)
    images, rotations = [], []
    for index in range(len(source)):
        latents = sample_latents(RECIPE, (0, index))
        images.append(torch.from_numpy(renderer.render(source.load(index), latents)))
        rotations.append(euler_xyz_to_quat(torch.from_numpy(latents[:, :3])).float())
    pixels = torch.stack(images).permute(0, 1, 4, 2, 3)
    return Views(Preprocess().normalize(pixels), torch.stack(rotations))


def fit(method: Method, steps: int, batch: int, lr: float, seed: int) -> list[dict[str, float]]:
    """Train; returns the terms of every step."""
    views, generator = rendered_views(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(method.train().parameters(), lr=lr)
    history = []
    for _ in range(steps):
        pairs = views.pairs(batch, generator)
        optimizer.zero_grad()
        terms = method.terms(method.encode_views(pairs.images), pairs)
        method.total(terms).backward()
        optimizer.step()
        history.append({name: term.item() for name, term in terms.items()})
    return history


@torch.no_grad()
def features(method: Method) -> Tensor:
    """The representations of all views in evaluation mode, ``(O, V, D)``."""
    images = rendered_views().images
    made = [method.eval().encode(part).features for part in images.flatten(0, 1).split(128)]
    return torch.cat(made).unflatten(0, images.shape[:2])


def rotation_r2(method: Method, part: str) -> float:
    """Pooled R² of the relative rotation between held-out views of the objects."""
    made, rotation = features(method), rendered_views().rotation
    train, val = (
        feature_set(made[:, v], name, actions={"rotation": rotation[:, v]}, parts=method.parts)
        for name, v in (("train", slice(TRAIN)), ("val", slice(TRAIN, None)))
    )
    recipe = replace(QUICK, epochs=8000, batch_size=256, hidden=(128,))  # 250 steps
    evaluator = ActionRegression(recipe=recipe, conventions=("canonical",))
    rows = evaluate(train, val, evaluators=[evaluator], parts=[part], seeds=1)
    return next(row.value for row in rows if row.metric == "rotation_r2_pooled")
