"""The pictures of concepts.md and of the README, from real renders and a network pretrained for
them: ``python -m docs.make_pictures concepts``, about two minutes on two cores.
"""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
import torch
import yaml
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from numpy.typing import NDArray
from PIL import Image
from sklearn.decomposition import PCA

from data_gen.latents import sample_latents
from data_gen.recipe import Recipe
from data_gen.render import EmbreeRenderer
from data_gen.sources import ProceduralSource
from eval.report.colors import ANGLE
from ssl_equiv.cli import main as ssl_equiv
from ssl_equiv.data.record import Manifest
from ssl_equiv.export import open_backbone, open_method
from ssl_equiv.groups import SO3
from ssl_equiv.groups.conversions import quat_to_euler_xyz

# as in notebooks/what_does_equivariance_look_like.ipynb, where they are told
CLASSES = ["camera", "car", "chair", "mailbox", "shoe", "telephone", "train", "watering_can"]
WORLD: dict[str, Any] = {
    "image_size": 32,
    "lens_mm": 85.0,
    "rotation": [0.0, 0.0, [-np.pi, np.pi]],
    "floor_hue": [0.5, 0.7],
    "light_theta": [0.0, 0.3],
    "light_hue": [0.0, 0.3],
}
METHOD: dict[str, Any] = {
    "model": {
        "class_path": "EquiCaps",
        "init_args": {
            "backbone": {"name": "test_resnet", "options": {"output_stride": 16}},
            "image_size": 32,
            "num_capsules": 16,
            "invariance_weight": 1.0,
            "optimizer": {
                **{"name": "adamw", "lr": 4.0e-3, "weight_decay": 1.0e-2},
                **{"schedule": "cosine", "warmup_steps": 20},
            },
        },
    },
    "data": {"batch_size": 64, "num_workers": 0},
    "trainer": {"max_steps": 200, "log_every_n_steps": 4, "accelerator": "cpu"},
}
OBJECTS, TURNS, SIDE = 320, 24, 160
PAPER, INK, FAINT, STAYS, MOVES = "#fcfcfa", "#22242a", "#6b6f78", "#00835f", "#0072b2"


@dataclass(frozen=True)
class Learnt:
    """What a network makes of an unseen object on its orbit.

    Args:
        pictures: The views, large, ``(T, S, S, 3)`` bytes.
        activations: ``(T, N)``.
        poses: What the method moves, ``(T, E)``.
        at_random: The same at random weights, ``(T, E)``.
        moved: The first view's poses moved to each view, ``(T, E)``.
    """

    pictures: NDArray[np.uint8]
    activations: NDArray[np.float32]
    poses: NDArray[np.float32]
    at_random: NDArray[np.float32]
    moved: NDArray[np.float32]


def draw_all(folder: Path) -> None:
    """Write every picture."""
    save(group_acts(), folder / "group_acts.jpg")
    save(orbit_ring(), folder / "orbit_ring.jpg")
    with tempfile.TemporaryDirectory() as scratch:
        found = learn(Path(scratch), "camera")
    save(overview(found), folder / "overview.jpg")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as JPEG, in its own light colours."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=PAPER)
    plt.close(figure)
    Image.open(buffer).convert("RGB").save(path, quality=84, optimize=True)


def learn(folder: Path, name: str) -> Learnt:
    """Pretrain in ``folder`` and follow the first unseen object of class ``name``."""
    recipe = {**WORLD, "num_views": 16}
    told = {"classes": CLASSES, "class_colors": True, "num_objects": OBJECTS, "recipe": recipe}
    (folder / "data.yaml").write_text(yaml.safe_dump(told))
    (folder / "method.yaml").write_text(yaml.safe_dump(METHOD))
    where, run = str(folder / "DATA"), str(folder / "RUN")
    for words in (
        ["generate", "--config", str(folder / "data.yaml"), "--out", where],
        ["pretrain", "--config", str(folder / "method.yaml"), "--data.root", where, "--out", run],
    ):
        if ssl_equiv(words):
            raise SystemExit(f"{words[0]} has failed")
    held = Manifest.read(where)
    index = next(i for i in held.split["val"] if held.objects[i].startswith(f"{name}/"))
    latents = sample_latents(Recipe.from_dict({**WORLD, "grid": {"rotation_z": TURNS}}), 3)
    small = torch.from_numpy(rendered(index, latents, WORLD["image_size"])).permute(0, 3, 1, 2)
    group = SO3()
    euler = Recipe.from_dict(WORLD).schema.elements(torch.from_numpy(latents))["rotation"].float()
    found: list[Any] = []
    for model in (f"random:{run}", run):
        network: Any = open_backbone(model)
        method: Any = open_method(model)
        with torch.no_grad():
            representation = network.encode(network.preprocess.normalize(small))
            poses = method.embed(representation.features)
            there = group.relative(euler[:1], euler)[None]
            moved = method.predict(poses[:1], there)[0]
        found.append([representation["capsule_activation"], poses, moved])
    (_, at_random, _), (activations, poses, moved) = found
    arrays = [x.numpy() for x in (activations, poses, at_random, moved)]
    return Learnt(rendered(index, latents, SIDE), *arrays)


def rendered(index: int, latents: NDArray[np.float64], side: int) -> NDArray[np.uint8]:
    """An object of the set under latents."""
    renderer = EmbreeRenderer(Recipe.from_dict({**WORLD, "image_size": side}))
    return renderer.render(
        ProceduralSource(OBJECTS, CLASSES, class_colors=True).load(index), latents
    )


def canvas(width: int, height: int, scale: float = 1.6) -> tuple[Figure, Any]:
    """A figure with axes in pixels, written at ``scale`` times so many."""
    figure = plt.figure(figsize=(width / 100, height / 100), dpi=100 * scale)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure, axes


def place(
    axes: Any, picture: NDArray[Any], x: float, y: float, w: float, h: float, **how: Any
) -> None:
    """A picture at a place in pixels."""
    limits = axes.get_xlim(), axes.get_ylim()
    how = {"aspect": "auto", "interpolation": "antialiased", **how}
    axes.imshow(picture, extent=(x, x + w, y + h, y), **how)
    axes.set(xlim=limits[0], ylim=limits[1])


def arrow(axes: Any, start: Any, end: Any, color: str = INK, bend: float = 0.0, **how: Any) -> None:
    """An arrow between two points in pixels."""
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            connectionstyle=f"arc3,rad={bend}",
            arrowstyle="-|>",
            mutation_scale=11,
            color=color,
            linewidth=1.4,
            **how,
        )
    )


def say(
    axes: Any, x: float, y: float, text: str, color: str = INK, size: float = 10, **how: Any
) -> None:
    """Text, its left middle at a place in pixels."""
    axes.text(x, y, text, color=color, fontsize=size, **{"ha": "left", "va": "center", **how})


def group_acts() -> Figure:
    """Three views, the elements between them, and their product."""
    group = SO3()
    g = group.exp(torch.tensor([0.0, 0.0, 1.2], dtype=torch.float64))
    h = group.exp(torch.tensor([0.9, 0.0, 0.0], dtype=torch.float64))
    elements = torch.stack([group.identity(dtype=torch.float64), g, group.compose(g, h)])
    latents = sample_latents(Recipe.from_dict({**WORLD, "num_views": 1}), 3).repeat(3, axis=0)
    latents[:, :3] = quat_to_euler_xyz(elements).numpy()
    figure, axes = canvas(760, 300)
    labels = "$x$", r"$g \cdot x$", r"$g\,h \cdot x$"
    for n, (picture, label) in enumerate(zip(rendered(3, latents, 200), labels, strict=True)):
        place(axes, picture, 40 + 250 * n, 62, 180, 180)
        say(axes, 130 + 250 * n, 268, label, size=13, ha="center")
    for n, label in enumerate(("$g$", "$h$")):
        arrow(axes, (224 + 250 * n, 150), (286 + 250 * n, 150))
        say(axes, 254 + 250 * n, 130, label, size=13, ha="center")
    arrow(axes, (130, 56), (630, 56), MOVES, bend=-0.12)
    say(axes, 380, 16, r"$g\,h$", MOVES, 13, ha="center")
    return figure


def orbit_ring() -> Figure:
    """Twelve views on a ring."""
    latents = sample_latents(Recipe.from_dict({**WORLD, "grid": {"rotation_z": 12}}), 3)
    figure, axes = canvas(520, 520, 1.0)
    for picture, angle in zip(rendered(7, latents, 128), latents[:, 2], strict=True):
        along = np.array([np.cos(angle), -np.sin(angle)])
        place(axes, picture, *(260 + 212 * along - 41), 82, 82)
        degrees = f"{round(np.degrees(angle)) % 360}°"
        say(axes, *(260 + 142 * along), degrees, FAINT, 8.5, ha="center")
    say(axes, 260, 248, "the orbit of an object", size=11.5, ha="center")
    say(axes, 260, 274, r"under turns: $\{g \cdot x\}$", size=11.5, ha="center")
    return figure


def overview(found: Learnt) -> Figure:
    """What the package is about, in one picture."""
    figure, axes = canvas(1000, 400)
    for x, lines in (
        (20, ("a view is a group", "element acting")),
        (300, ("one network,", "two kinds of features")),
        (640, ("so embeddings can be", "moved by known actions")),
    ):
        for y, line in zip((24, 45), lines, strict=True):
            say(axes, x, y, line, size=12, weight="bold")
    _views(axes, found, 0, 5)  # 75 degrees apart
    _parts(axes, found, 0, 5)
    _orbit(axes, found)
    return figure


def _views(axes: Any, found: Learnt, first: int, second: int) -> None:
    """Two views on their way into the network."""
    for y, view, label in ((70, first, r"$g_1 \cdot x$"), (246, second, r"$g_2 \cdot x$")):
        place(axes, found.pictures[view], 20, y, 128, 128)
        say(axes, 25, y + 14, label, "white", 12)
        arrow(axes, (152, y + 64), (196, y + 64))
    arrow(axes, (84, 200), (84, 244), MOVES)
    say(axes, 93, 222, "$g = g_1^{-1} g_2$", MOVES, 12)
    shape = FancyBboxPatch((200, 100), 32, 244, "round,pad=0,rounding_size=6")
    shape.set(facecolor="#e9ecf2", edgecolor=FAINT)
    axes.add_patch(shape)
    say(axes, 216, 222, "backbone  $f$", size=11, ha="center", rotation=90)


def _parts(axes: Any, found: Learnt, first: int, second: int) -> None:
    """The activations and poses of two views as strips of colour, and the poses moved."""
    low, high = found.activations.min(), found.activations.max()
    say(axes, 300, 82, "invariant part: stays", STAYS, 11)
    for y, view, label in ((94, first, "$g_1 x$"), (117, second, "$g_2 x$")):
        strip = found.activations[view][None]
        place(axes, strip, 300, y, 240, 18, cmap="Greens", vmin=low, vmax=high)
        say(axes, 292, y + 9, label, FAINT, ha="right")
    say(axes, 550, 115, r"$f(g\,x) = f(x)$", STAYS, 10.5)
    say(axes, 300, 162, "equivariant part: moves with $g$", MOVES, 11)
    level = np.abs(found.poses).max()
    for y, poses, label in (
        (176, found.poses[first], "$g_1 x$"),
        (236, found.poses[second], "$g_2 x$"),
        (326, found.moved[second], "moved"),
    ):
        strip = poses.reshape(-1, 9).T[:6]  # 16 capsules; two rows of their matrices
        place(axes, strip, 300, y, 240, 48, cmap="RdBu", vmin=-level, vmax=level)
        say(axes, 292, y + 24, label, FAINT, ha="right")
    say(axes, 300, 312, "predicted from $g_1 x$ and $g$ alone:", MOVES)
    arrow(axes, (546, 200), (546, 350), MOVES, bend=-0.35)
    say(axes, 580, 275, r"$\rho(g)$", MOVES, 12)


def _orbit(axes: Any, found: Learnt) -> None:
    """Rendered views above those that the moved embedding finds; and the path of the poses."""
    apart = np.linalg.norm(found.moved[:, None] - found.poses[None], axis=2)
    for column, view in enumerate(range(0, TURNS, 4)):
        place(axes, found.pictures[view], 640 + 57 * column, 84, 54, 54)
        place(axes, found.pictures[apart[view].argmin()], 640 + 57 * column, 162, 54, 54)
    say(axes, 640, 74, "rendered, 60° a step", FAINT)
    say(axes, 640, 152, "predicted from the first view: nearest of 24", FAINT)
    say(axes, 640, 236, "the equivariant part along the orbit (PCA)", MOVES, 11)
    for x, poses, label in (
        (720, found.at_random, "random weights"),
        (896, found.poses, "pretrained"),
    ):
        flat = PCA(2).fit_transform(poses)
        points = np.array([x, 314]) + flat * (58 / np.abs(flat).max())
        axes.plot(*np.concatenate([points, points[:1]]).T, color="#c9ccd3", linewidth=1)
        axes.scatter(*points.T, c=np.arange(TURNS), cmap=ANGLE, s=22, zorder=3)
        say(axes, x, 387, label, FAINT, ha="center")
