"""The demo's page: what went in, what was learnt, how far it follows the group."""

from __future__ import annotations

import math
import platform
from pathlib import Path

import numpy as np
import torch

from data_gen.recipe import Recipe
from data_gen.render import EmbreeRenderer
from data_gen.sources import ProceduralSource
from eval.report import figures, page, write_report
from eval.report.figures import swatch
from eval.report.plots import Line, curves
from ssl_equiv.data.record import Manifest
from ssl_equiv.data.sources import open_source
from ssl_equiv.export import Backbone, open_backbone
from ssl_equiv.groups import SO3

_ORBIT_STEPS = 24


def write_demo_report(path: Path, data: Path, run: Path, export: Path, seconds: float) -> None:
    """Write the page: the report of everything in the demo's folder, with what only a demo shows.

    Args:
        path: The ``.html`` file, in the demo's folder.
        data: Root of the demo's data set.
        run: Run directory of the pretrained method.
        export: Folder of the exported backbone.
        seconds: How long the demo took.
    """
    manifest = Manifest.read(data)
    backbones = {"SIE": open_backbone(str(run)), "random": open_backbone(f"random:{run}")}
    lead = (
        f"{len(manifest.objects)} procedural objects of {len(manifest.classes)} classes were "
        f"rendered from {manifest.num_views} views each, SIE was pretrained on them without "
        "labels, and its frozen features were judged on objects that it never saw."
    )
    machine = f"{seconds:.0f} s on {torch.get_num_threads()} threads of {platform.machine()}."
    write_report(
        path,
        [path.parent],
        title="ssl-equiv demo: equivariant where it matters",
        lead=page.paragraph(lead) + page.paragraph(machine, soft=True),
        first=[
            page.Block("Every view is a group element acting on a scene", _samples(data, manifest)),
            page.Block(
                "An orbit: one unseen object turned about the vertical axis",
                _orbit(manifest, backbones),
            ),
        ],
        last=[page.Block("Go on from here", page.commands(_commands(data, run, export)))],
    )


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
    return text + page.cards(views)


def _orbit(manifest: Manifest, backbones: dict[str, Backbone]) -> str:
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
    degrees = np.degrees(angles)
    lines: dict[str, Line] = {}
    labels = {"x_label": "rotation [°]", "y_label": "cosine distance"}
    for name, backbone in backbones.items():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
        prepared = backbone.preprocess.normalize(backbone.preprocess.shape(pixels, "orbit"))
        with torch.inference_mode():
            representation = backbone.encode(prepared)
        parts = [part for part in representation.parts if part != "all"]
        for part in parts if name != "random" else ["all"]:
            unit = torch.nn.functional.normalize(representation[part], dim=1)
            distance = (1 - unit @ unit[len(unit) // 2]).numpy()
            lines[f"{name} · {part}"] = (len(lines), degrees, distance, None)
    return (
        page.strip(frames)
        + page.legend([(name, swatch(number)) for name, (number, *_) in lines.items()])
        + page.grid([page.panel(curves(lines, "cosine distance along the orbit", labels), "")])
        + page.paragraph(
            "Cosine distance of each part's features from the middle frame. An invariant part "
            "stays low; an equivariant part moves with the rotation.",
            soft=True,
        )
    )


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
