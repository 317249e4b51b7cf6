"""A backbone as one folder for other tools, in any of their forms, with a model card."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

import timm
import torch
from timm.models import model_entrypoint, save_for_hf

from ssl_equiv import __version__
from ssl_equiv.errors import UserError
from ssl_equiv.export.alone import compare_alone, example_images
from ssl_equiv.export.card import About, model_card
from ssl_equiv.export.graphs import export_onnx, export_program
from ssl_equiv.export.predictor import write_predictor
from ssl_equiv.export.sources import SIDECAR, Backbone
from ssl_equiv.files import make_directory, read_json, write_json, writing
from ssl_equiv.methods.base import Method

Form = Literal["timm", "hf", "onnx", "torch-export"]
FORMS: tuple[Form, ...] = get_args(Form)
# timm's own licence, paper and place: its weights', not these
_NOT_OURS = ("license", "origin_url", "paper_ids", "hf_hub_id", "url", "tag")


def export_folder(
    backbone: Backbone,
    forms: Sequence[Form],
    out: str | os.PathLike[str],
    *,
    method: Method | None = None,
    license: str = "",
    results: Sequence[str] = (),
) -> dict[Form, tuple[float, float]]:
    """Write a folder with every form asked for, each loaded again without this package.

    ``timm`` and ``hf`` are one layout (``config.json``, ``model.safetensors``), which
    ``timm.create_model("local-dir:OUT")`` and ``transformers.AutoModel.from_pretrained("OUT")``
    load; ``onnx`` is ``model.onnx``, ``torch-export`` is ``model.pt2``. The folder is made under a
    temporary name and renamed when all of it has been compared.

    Args:
        backbone: What to export.
        forms: At least one of ``timm``, ``hf``, ``onnx``, ``torch-export``.
        out: Folder to make; it must not exist or be empty.
        method: The whole method: its predictor, if it has one, is exported beside the backbone.
        license: Licence of the weights, for the card.
        results: Lines of measured results, for the card.

    Returns:
        For each form the largest difference from the backbone's outputs, and the smallest cosine.

    Raises:
        UserError: the folder is in use, a form cannot express the architecture, a package is
            missing, or outputs differ.
    """
    forms = tuple(dict.fromkeys(forms))
    if not forms:
        raise UserError(f"nothing to export to: name one of {', '.join(FORMS)}")
    helper = _helper(backbone)
    if "hf" in forms and helper:
        raise UserError(
            f"{backbone.config.name} is registered by {helper}, which transformers does not "
            "import: export it to timm, onnx or torch-export"
        )
    if backbone.config.cifar_stem and {"timm", "hf"} & set(forms):
        raise UserError(
            f"{backbone.source} has a CIFAR stem (backbone.cifar_stem), which timm's "
            f"{backbone.config.name} cannot express: export it to onnx or torch-export"
        )
    size = input_size(backbone)
    images = example_images(size)
    with torch.inference_mode():
        want = backbone.model.eval()(images)
    with _new_folder(Path(out)) as folder:
        backbone.model.to(memory_format=torch.contiguous_format)
        if {"timm", "hf"} & set(forms):
            _write_timm(backbone, folder, size, license)
        if "onnx" in forms:
            export_onnx(backbone.model, images, folder / "model.onnx")
        if "torch-export" in forms:
            export_program(backbone.model, images, folder / "model.pt2")
        found = {form: compare_alone(form, folder, images, want, helper) for form in forms}
        predictor = None
        if method is not None:
            predictor = write_predictor(method, backbone, images, folder)
        write_json(folder / SIDECAR, _facts(backbone, predictor))
        about = About(
            Path(out).name,
            size,
            forms,
            license,
            tuple(results),
            tuple((form, error) for form, (error, _) in found.items()),
            helper,
            0 if predictor is None else int(predictor["width"]),
        )
        (folder / "README.md").write_text(model_card(backbone, about))
    return found


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder that takes its name when the block has succeeded."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not empty: choose another folder")
    make_directory(out.parent)
    with writing(out):
        temporary = Path(
            tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".partial")
        )
        try:
            yield temporary
            temporary.chmod(0o755)
            os.replace(temporary, out)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _write_timm(backbone: Backbone, folder: Path, size: int, license: str) -> None:
    save_for_hf(
        backbone.model,
        str(folder),
        safe_serialization=True,
        model_config={"num_classes": 0},
        data_config={
            "input_size": (3, size, size),
            "mean": tuple(backbone.preprocess.mean),
            "std": tuple(backbone.preprocess.std),
            "interpolation": "bilinear",
            "crop_pct": 1.0,
        },
    )
    config: dict[str, Any] = read_json(folder / "config.json")
    # transformers gives it itself; timm reads the outer one
    config.get("model_args", {}).pop("num_classes", None)
    for key in _NOT_OURS:
        config["pretrained_cfg"].pop(key, None)
    if license:
        config["pretrained_cfg"]["license"] = license
    write_json(folder / "config.json", config)
    # safetensors makes private files; results are meant to be shared as the umask allows
    (folder / "model.safetensors").chmod((folder / "config.json").stat().st_mode)


def _facts(backbone: Backbone, predictor: dict[str, Any] | None) -> dict[str, Any]:
    """What no other tool has a place for."""
    facts = {
        "ssl_equiv": __version__,
        "backbone": {**asdict(backbone.config), "pretrained": False},
        "preprocess": backbone.preprocess.to_dict(),
        "parts": {part: list(columns) for part, columns in backbone.parts.items()},
        "origin": backbone.origin,
    }
    return facts if predictor is None else {**facts, "predictor": predictor}


def _helper(backbone: Backbone) -> str:
    """The module that registers the architecture in timm, where timm does not know it itself."""
    module = model_entrypoint(timm.models.split_model_name_tag(backbone.config.name)[0]).__module__
    return "" if module.split(".")[0] == "timm" else "ssl_equiv.backbones"


def input_size(backbone: Backbone) -> int:
    """Side of the images that the backbone was made for."""
    crop, size = backbone.preprocess.center_crop, backbone.preprocess.size
    if size or crop:
        return int(size or crop or 0)
    cfg: Any = backbone.model.pretrained_cfg
    return int(backbone.origin.get("image_size") or cfg["input_size"][-1])
