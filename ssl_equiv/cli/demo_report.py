"""The demo's page: what went in, what was learnt, how far it follows the group."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from data_gen.recipe import Recipe
from data_gen.render import EmbreeRenderer
from data_gen.sources import ProceduralSource
from eval.report import figures, page
from eval.results import Result, Summary, summarise
from ssl_equiv import __version__
from ssl_equiv.data.record import Manifest
from ssl_equiv.data.sources import open_source
from ssl_equiv.export import Backbone, open_backbone
from ssl_equiv.groups import SO3

_ORBIT_STEPS = 24
_METRICS = {
    "top1": ("top-1", "higher is better", 1),
    "rotation_r2_pooled": ("rotation R² pooled", "higher is better", 1),
    "rotation_r2_per_dim": ("rotation R² per dim", "higher is better", 1),
    "rotation_degrees_median": ("rotation error, median °", "lower is better", -1),
}


def write_demo_report(
    path: Path, data: Path, run: Path, export: Path, rows: Sequence[Result], seconds: float
) -> None:
    """Write the page.

    Args:
        path: The ``.html`` file.
        data: Root of the demo's data set.
        run: Run directory of the pretrained method.
        export: Folder of the exported backbone.
        rows: Results of ``random`` and ``SIE``.
        seconds: How long the demo took.
    """
    manifest = Manifest.read(data)
    backbones = {"SIE": open_backbone(str(run)), "random": open_backbone(f"random:{run}")}
    frames, orbit = _orbit(manifest, backbones)
    lead = (
        f"<p>{len(manifest.objects)} procedural objects of {len(manifest.classes)} classes were "
        f"rendered from {manifest.num_views} views each, SIE was pretrained on them without "
        "labels, and its frozen features were judged on objects that it never saw. "
        f"<span class='soft'>ssl-equiv {__version__}, {seconds:.0f} s on "
        f"{torch.get_num_threads()} threads of {platform.machine()}.</span></p>"
    )
    curves = {
        name.removeprefix("train/"): curve
        for name, curve in figures.read_metrics(run).items()
        if name.startswith("train/")
    }
    sections = [
        page.Section("Every view is a group element acting on a scene", _samples(data, manifest)),
        page.Section("Is it invariant, is it equivariant?", _table(rows)),
        page.Section(
            "An orbit: one unseen object turned about the vertical axis",
            page.strip(frames)
            + page.figure(
                orbit,
                "Cosine distance of each part's features from the middle frame. An invariant part "
                "stays low; an equivariant part moves with the rotation.",
            ),
        ),
        page.Section(
            "Pretraining",
            page.figure(figures.loss_curves(curves), "Unweighted loss terms over steps.")
            if curves
            else "<p>Too few steps for a curve.</p>",
        ),
        page.Section("Go on from here", page.commands(_commands(data, run, export))),
    ]
    page.write_page(path, "ssl-equiv demo: equivariant where it matters", lead, sections)


def _samples(data: Path, manifest: Manifest) -> str:
    source, group, views = open_source(data), SO3(), []
    for index in source.split["val"][: 2 * len(manifest.classes)].tolist()[::2]:
        (jpeg,), latents = source.read(index, [0])
        assert isinstance(jpeg, bytes)
        elements = source.schema.elements(torch.from_numpy(latents))
        quaternion = elements["rotation"]
        degrees = math.degrees(group.distance(group.identity((1,)).double(), quaternion).item())
        axis = torch.nn.functional.normalize(quaternion[0, :3], dim=0)
        turn = ", ".join(f"{value:+.2f}" for value in axis.tolist())
        name = source.objects[index].split("/")[0]
        hue = elements["floor_hue"].item()
        caption = f"rotation {degrees:.0f}° about ({turn}); floor hue {hue:.2f}"
        views.append((figures.encoded_uri(jpeg), name, caption))
    text = (
        "<p>Training sees pairs of views of one object and the relative element between them.</p>"
    )
    return text + page.view_grid(views)


def _table(rows: Sequence[Result]) -> str:
    summaries = [row for row in summarise(rows) if row.metric in _METRICS]
    find = {(row.model, row.part, row.metric): row for row in summaries}
    names = list(dict.fromkeys((row.model, row.part) for row in summaries))
    header = ["model", "part", *(title for title, _, _ in _METRICS.values())]
    body = [
        [model, part, *(_cell(find.get((model, part, metric))) for metric in _METRICS)]
        for model, part in names
    ]
    best = set()
    for column, (metric, (_, _, sign)) in enumerate(_METRICS.items()):
        means = [sign * find[(*name, metric)].mean for name in names]
        best.add((int(np.argmax(means)), 2 + column))
    floors = [
        ""
        if (row := find.get((*names[0], metric))) is None or row.baseline is None
        else f"{row.baseline:.3f}"
        for metric in _METRICS
    ]
    body.append(["constant predictor", "", *floors])
    note = (
        "<p class='soft'>Mean ± standard deviation over the seeds of the probes, on held-out "
        "objects. Top-1 is a linear probe; rotation is regressed from the concatenated features "
        "of two views. Pooled R² gives a constant predictor more than 0, so its figure stands "
        "below.</p>"
    )
    return page.table(header, body, best) + note


def _cell(row: Summary | None) -> str:
    if row is None:
        return ""
    digits = 1 if "degrees" in row.metric else 3
    spread = "" if row.std is None else f" ± {row.std:.{digits}f}"
    return f"{row.mean:.{digits}f}{spread}"


def _orbit(manifest: Manifest, backbones: dict[str, Backbone]) -> tuple[list[tuple[str, str]], str]:
    """Frames of one held-out object on an SO(2) orbit, and how far features move along it."""
    source = ProceduralSource(
        len(manifest.objects),
        manifest.classes,
        manifest.seed,
        manifest.source["class_colors"],
    )
    names = [manifest.objects[i].split("/")[0] for i in manifest.split["val"]]
    index = manifest.split["val"][names.index("chair") if "chair" in names else 0]
    angles = np.linspace(-math.pi / 2, math.pi / 2, _ORBIT_STEPS + 1)
    recipe = Recipe.from_dict(manifest.recipe)
    middle = np.array([np.mean(bounds) for bounds in recipe.ranges])
    latents = np.tile(middle, (len(angles), 1))
    latents[:, 2] = angles
    images = EmbreeRenderer(recipe).render(source.load(index), latents)
    frames = [
        (figures.image_uri(image), f"{math.degrees(angle):+.0f}°")
        for image, angle in zip(images[::2], angles[::2], strict=True)
    ]
    distances = {}
    for name, backbone in backbones.items():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
        prepared = backbone.preprocess.normalize(backbone.preprocess.shape(pixels, "orbit"))
        with torch.inference_mode():
            representation = backbone.encode(prepared)
        parts = [part for part in representation.parts if part != "all"]
        for part in parts if name != "random" else ["all"]:
            unit = torch.nn.functional.normalize(representation[part], dim=1)
            distances[f"{name}, {part}"] = (1 - unit @ unit[len(unit) // 2]).tolist()
    degrees = [math.degrees(angle) for angle in angles]
    return frames, figures.orbit_distances(degrees, distances, "the vertical axis")


def _commands(data: Path, run: Path, export: Path) -> str:
    return f"""# judge it with the papers' 300-epoch probes
ssl-equiv eval --model {run} --data {data}
# the invariant baseline on the same data
ssl-equiv pretrain --config configs/pretrain/sie_demo.yaml --model VICReg \\
    --data.root {data} --out {run.parent / "vicreg"}
# your own meshes, CLASS/OBJECT.glb
ssl-equiv generate --objects MESHES --out DATA --recipe.num_views 50
# use the backbone anywhere timm is
python -c 'import timm; print(timm.create_model("local-dir:{export}", pretrained=True))'
"""
