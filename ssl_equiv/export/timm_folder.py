"""A backbone as a folder in timm's hub layout, with a model card of what was measured."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import save_for_hf

from ssl_equiv import __version__
from ssl_equiv.backbones import feature_width
from ssl_equiv.errors import UserError
from ssl_equiv.export.sources import SIDECAR, Backbone
from ssl_equiv.files import make_directory, write_json, writing

_TOLERANCE = 1e-5
_BATCH, _SEED = 2, 0


def export_timm(
    backbone: Backbone, out: str | os.PathLike[str], *, results: Sequence[str] = ()
) -> float:
    """Write ``out`` so that ``timm.create_model("local-dir:OUT", pretrained=True)`` loads it.

    The folder is made under a temporary name, loaded again by timm alone, compared with the
    backbone, and only then renamed.

    Args:
        backbone: What to export.
        out: Folder to make; it must not exist or be empty.
        results: Lines of measured results for the model card.

    Returns:
        The largest difference between the outputs of backbone and export.

    Raises:
        UserError: the folder is in use, timm has no such architecture, or the outputs differ.
    """
    out = Path(out)
    if backbone.config.cifar_stem:
        raise UserError(
            f"{backbone.source} has a CIFAR stem (backbone.cifar_stem), which timm's "
            f"{backbone.config.name} cannot express: train without it to export to timm"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not empty: choose another folder")
    make_directory(out.parent)
    with writing(out):
        temporary = Path(
            tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".partial")
        )
        try:
            _write(backbone, temporary, out.name, results)
            error = compare(backbone, temporary)
            temporary.chmod(0o755)
            os.replace(temporary, out)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return error


def compare(backbone: Backbone, folder: Path) -> float:
    """Largest difference between the backbone's outputs and those of the folder in plain timm.

    Raises:
        UserError: it exceeds rounding.
    """
    loaded: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    size = _input_size(backbone)
    images = torch.randn(_BATCH, 3, size, size, generator=torch.Generator().manual_seed(_SEED))
    with torch.inference_mode():
        want, have = backbone.model.eval()(images), loaded(images)
    error = float((want - have).abs().max())
    if not error <= _TOLERANCE * max(1.0, want.abs().max().item()):
        raise UserError(
            f"the exported {backbone.source} differs from the original by {error:.1e}: this is a "
            "defect of the exporter; please report the architecture"
        )
    return error


def _write(backbone: Backbone, folder: Path, name: str, results: Sequence[str]) -> None:
    size = _input_size(backbone)
    backbone.model.to(memory_format=torch.contiguous_format)
    save_for_hf(
        backbone.model,
        str(folder),
        safe_serialization=True,
        model_config={"num_classes": 0, "pretrained_cfg": {"tag": "ssl_equiv"}},
        data_config={
            "input_size": (3, size, size),
            "mean": tuple(backbone.preprocess.mean),
            "std": tuple(backbone.preprocess.std),
            "interpolation": "bilinear",
            "crop_pct": 1.0,
        },
    )
    beside = {
        "ssl_equiv": __version__,
        "backbone": {**asdict(backbone.config), "pretrained": False},
        "preprocess": backbone.preprocess.to_dict(),
        "parts": {part: list(columns) for part, columns in backbone.parts.items()},
        "origin": backbone.origin,
    }
    write_json(folder / SIDECAR, beside)
    (folder / "README.md").write_text(model_card(backbone, name, results))


def _input_size(backbone: Backbone) -> int:
    """Side of the images that the backbone was made for."""
    crop, size = backbone.preprocess.center_crop, backbone.preprocess.size
    if size or crop:
        return int(size or crop or 0)
    cfg: Any = backbone.model.pretrained_cfg
    return int(backbone.origin.get("image_size") or cfg["input_size"][-1])


def model_card(backbone: Backbone, name: str, results: Sequence[str]) -> str:
    """The folder's README: what it is, how to load it, what was measured."""
    model: Any = backbone.model
    method = backbone.origin.get("method")
    lines = [
        "---",
        "library_name: timm",
        "tags: [image-feature-extraction, timm, self-supervised, equivariance]",
        "---",
        f"# {name}",
        "",
        f"A `{backbone.config.name}` backbone, {feature_width(model)} features, exported by "
        f"ssl-equiv {__version__}.",
        "",
        "## Use",
        "```python",
        "import timm, torch",
        "",
        f'model = timm.create_model("local-dir:{name}", pretrained=True).eval()',
        f"features = model(torch.randn(1, 3, {_input_size(backbone)}, {_input_size(backbone)}))"
        f"  # (1, {feature_width(model)})",
        "```",
        f"Images in [0, 1] are normalised with mean {list(backbone.preprocess.mean)} and standard "
        f"deviation {list(backbone.preprocess.std)}.",
    ]
    if backbone.preprocess.center_crop:
        lines.append(f"A central square of {backbone.preprocess.center_crop} px is cut first.")
    if backbone.parts:
        lines += ["", "## Parts", "| part | columns |", "| --- | --- |"]
        lines += [f"| `{part}` | {a} to {b - 1} |" for part, (a, b) in backbone.parts.items()]
    lines += ["", "## Training"]
    imported = backbone.origin.get("imported")
    if imported:
        lines += [f"Imported from {imported}; SHA-256 of the file `{backbone.origin['sha256']}`."]
    if method:
        factors = ", ".join(method["init_args"].get("factors", ())) or "none"
        steps = "" if imported else f", {backbone.origin['steps']} steps"
        lines += [
            f"Method `{method['class_path']}`{steps}; equivariant to: "
            f"{factors}. The exact arguments are in `{SIDECAR}`.",
        ]
    elif not imported:
        lines += [f"A stock timm model; weights: {backbone.origin.get('weights', 'unknown')}."]
    lines += ["", "## Measured"]
    lines += list(results) or ["Nothing yet: run `ssl-equiv eval` before exporting."]
    return "\n".join(lines) + "\n"
