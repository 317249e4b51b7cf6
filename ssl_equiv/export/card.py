"""The model card: what a backbone is, how it was made, what was measured, how to use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ssl_equiv import __version__
from ssl_equiv.backbones import feature_width
from ssl_equiv.export.sources import SIDECAR, Backbone


@dataclass(frozen=True)
class About:
    """What a card tells that the backbone does not know.

    Args:
        name: Name of the folder, or of the repository.
        size: Side of the images, pixels.
        forms: What is in the folder: ``timm``, ``hf``, ``onnx``, ``torch-export``.
        license: Licence of the weights, as an identifier of SPDX; "" where nobody said.
        results: Lines of a table of measured results.
        errors: Largest difference of each form from the original.
        helper: Module that users must import before timm knows the architecture; "" for none.
        predictor: Width of the features that the predictor beside the backbone takes; 0 for none.
    """

    name: str
    size: int
    forms: tuple[str, ...]
    license: str = ""
    results: tuple[str, ...] = ()
    errors: tuple[tuple[str, float], ...] = ()
    helper: str = ""
    predictor: int = 0


def model_card(backbone: Backbone, about: About) -> str:
    """The folder's ``README.md``; its Python snippets run as they stand, beside the folder."""
    lines = ["---"]
    if "timm" in about.forms or "hf" in about.forms:
        lines.append(f"library_name: {'timm' if 'timm' in about.forms else 'transformers'}")
    lines += [
        "pipeline_tag: image-feature-extraction",
        "tags: [image-feature-extraction, timm, self-supervised, equivariance]",
        *([f"license: {about.license.lower()}"] if about.license else []),
        "---",
        f"# {about.name}",
        "",
        f"A `{backbone.config.name}` backbone, {feature_width(backbone.model)} features, exported "
        f"by ssl-equiv {__version__}. License of the weights: {about.license or 'not stated'}.",
        *_use(backbone, about),
    ]
    if backbone.parts:
        lines += ["", "## Parts", "| part | columns |", "| --- | --- |"]
        lines += [f"| `{part}` | {a} to {b - 1} |" for part, (a, b) in backbone.parts.items()]
    lines += ["", "## Training", *_training(backbone), *_actions(backbone)]
    lines += ["", "## Measured"]
    lines += about.results or ["Nothing yet: run `ssl-equiv eval` before exporting."]
    lines += [
        "",
        "## Intended use",
        "Frozen features of images like those it was trained on, for classification, retrieval and "
        "regression of the factors above, and as a start for fine-tuning. What was not measured "
        "above is not known: other images, ranges beyond those of the data, and any decision "
        "about people.",
    ]
    if about.errors:
        lines += ["", "Each form was loaded again without this package, beside the original:"]
        lines += [f"- `{form}`: largest difference {error:.1e}" for form, error in about.errors]
    return "\n".join(lines) + "\n"


def _use(backbone: Backbone, about: About) -> list[str]:
    width, size = feature_width(backbone.model), about.size
    images = f"images = torch.randn(1, 3, {size}, {size})  # normalised, see below"
    helper = [f"import {about.helper}  # registers the architecture"] if about.helper else []
    snippets = {
        "timm": [
            "import timm",
            "import torch",
            *helper,
            "",
            f'model = timm.create_model("local-dir:{about.name}", pretrained=True).eval()',
            images,
            f"features = model(images)  # (1, {width})",
        ],
        "hf": [
            "import torch",
            "from transformers import AutoModel",
            "",
            f'model = AutoModel.from_pretrained("{about.name}").eval()',
            images,
            f"features = model(images).pooler_output  # (1, {width})",
        ],
        "onnx": [
            "import numpy as np",
            "import onnxruntime",
            "",
            f'session = onnxruntime.InferenceSession("{about.name}/model.onnx")',
            f"images = np.zeros((1, 3, {size}, {size}), np.float32)  # any batch, normalised",
            f'(features,) = session.run(None, {{"images": images}})  # (1, {width})',
        ],
        "torch-export": [
            "import torch",
            "",
            f'model = torch.export.load("{about.name}/model.pt2").module()',
            images,
            f"features = model(images)  # (1, {width})",
        ],
    }
    lines = ["", "## Use"]
    for form in about.forms:
        lines += ["```python", *snippets[form], "```"]
    if about.forms and about.forms[0] in ("timm", "hf"):
        lines += [
            f"Once it is uploaded, `local-dir:{about.name}` becomes `hf-hub:USER/{about.name}`."
        ]
    lines += [
        f"Images in [0, 1] are normalised with mean {list(backbone.preprocess.mean)} and standard "
        f"deviation {list(backbone.preprocess.std)}."
    ]
    if backbone.preprocess.center_crop:
        lines.append(f"A central square of {backbone.preprocess.center_crop} px is cut first.")
    if about.predictor:
        lines += [
            "",
            "`predictor.pt2` and `embed.pt2` are the method's predictor: it moves an embedding as "
            f"the view moves. `{SIDECAR}` names the elements that it takes, and says whether its "
            "features are the backbone's or those of `encode.pt2`.",
            "```python",
            "import json",
            "",
            "import torch",
            "",
            f'facts = json.load(open("{about.name}/{SIDECAR}"))["predictor"]',
            f'embed = torch.export.load("{about.name}/embed.pt2").module()',
            f'predict = torch.export.load("{about.name}/predictor.pt2").module()',
            f"features = torch.randn(2, {about.predictor})  # of two objects",
            'still = torch.tensor(facts["identity"]).expand(2, 1, -1)',
            "moved = predict(embed(features), still)  # (2, 1, E): moved by one element each",
            "```",
        ]
    return lines


def _training(backbone: Backbone) -> list[str]:
    origin, lines = backbone.origin, []
    imported, method = origin.get("imported"), origin.get("method")
    if imported:
        lines += [f"Imported from {imported}; SHA-256 of the file `{origin['sha256']}`."]
    if method:
        arguments = method["init_args"]
        factors = ", ".join(arguments.get("factors", ())) or "none"
        steps = "" if imported else f", {origin['steps']} steps"
        lines += [
            f"Method `{method['class_path']}`{steps}; equivariant to: {factors}. The exact "
            f"arguments are in `{SIDECAR}`."
        ]
        optimizer = arguments.get("optimizer")
        if isinstance(optimizer, dict):
            told = ", ".join(f"{key} {value}" for key, value in optimizer.items())
            lines += [f"Optimiser: {told}."]
    elif not imported:
        lines += [f"A stock timm model; weights: {origin.get('weights', 'unknown')}."]
    data: dict[str, Any] = origin.get("data") or {}
    if data:
        told = ", ".join(
            f"{what} {data[key]}"
            for key, what in (("classes", "classes:"), ("fingerprint", "fingerprint"))
            if data.get(key) is not None
        )
        lines += [
            f"Data: images of {origin.get('image_size')} px, {told}; their licence is that of "
            "their source."
        ]
    return lines


def _actions(backbone: Backbone) -> Sequence[str]:
    """The group actions of the data, with their ranges."""
    factors = backbone.origin.get("factors")
    if not isinstance(factors, list) or not factors:
        return []
    told = set(((backbone.origin.get("method") or {}).get("init_args") or {}).get("factors", ()))
    ranges = (backbone.origin.get("data") or {}).get("ranges") or {}
    lines = ["", "| factor of the views | group | range | told to the predictor |"]
    lines += ["| --- | --- | --- | --- |"]
    for factor in factors:
        span = ranges.get(factor["name"])
        lines.append(
            f"| {factor['name']} | {factor['group']} | {_told(span)} | "
            f"{'yes' if factor['name'] in told else 'no'} |"
        )
    return lines


def _told(span: Any) -> str:
    """A range of a recipe, its numbers rounded."""
    if isinstance(span, float):
        return f"{span:.4g}"
    if isinstance(span, list):
        return f"[{', '.join(_told(part) for part in span)}]"
    return "not stated" if span is None else str(span)
