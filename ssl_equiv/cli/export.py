"""``ssl-equiv export``: a backbone as a folder for other tools."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal

from rich.console import Console

from eval.results import PROVENANCE, RESULTS, read_results, results_table
from ssl_equiv.errors import UserError
from ssl_equiv.export import Form, export_folder, open_backbone, open_method
from ssl_equiv.export.openpcdet import export_openpcdet
from ssl_equiv.files import read_json
from ssl_equiv.parsing import call

_SOURCE = (
    "A run directory, a .ckpt file, timm:NAME, or a published checkpoint as sie:FILE, "
    "equicaps:FILE or seqjepa:FILE."
)
_LOAD = {
    "timm": 'timm.create_model("local-dir:{out}", pretrained=True)',
    "hf": 'transformers.AutoModel.from_pretrained("{out}")',
    "onnx": 'onnxruntime.InferenceSession("{out}/model.onnx")',
    "torch-export": 'torch.export.load("{out}/model.pt2").module()',
}


def main(args: list[str]) -> None:
    """Run ``ssl-equiv export`` with command-line arguments ``args``."""
    call(export, _gathered(args), "export", {"source": _SOURCE})


def export(
    source: str,
    to: list[Form | Literal["openpcdet"]] = ["timm"],  # noqa: B006 (shown, never changed)
    *,
    out: str,
    pretrained: bool = False,
    license: str = "",
    name: str | None = None,
) -> None:
    """Export a backbone, and its predictor where it has one, into one folder.

    Args:
        source: A run directory, a .ckpt file, timm:NAME, or a published checkpoint.
        to: Forms, several at once: timm and hf are folders that timm and transformers load, onnx
            is model.onnx, torch-export is model.pt2. openpcdet, alone, is the encoder of a run on
            LiDAR sweeps.
        out: Folder to make; for openpcdet a .safetensors file.
        pretrained: For timm:NAME: take timm's weights (downloads them) instead of random ones.
        license: Licence of the weights for the model card, such as apache-2.0.
        name: Which evaluation of a run the card shows, by its name under RUN/evaluations.
    """
    console = Console(highlight=False, soft_wrap=True)
    forms = [form for form in to if form != "openpcdet"]
    if len(forms) < len(to):
        if forms:
            raise UserError("openpcdet is for LiDAR encoders, the other forms are for images")
        number = export_openpcdet(source, out)
        console.print(f"{out}: {number} tensors under OpenPCDet's names (docs/lidar_export.md)")
        return
    backbone = open_backbone(source, pretrained=pretrained)
    found = export_folder(
        backbone,
        forms,
        out,
        method=open_method(source),
        license=license,
        results=measured(source, backbone.origin.get("steps"), name),
    )
    console.print(f"{out}: {backbone.config.name}, loaded again without this package")
    for form, (error, cosine) in found.items():
        how = _LOAD[form].format(out=out)
        console.print(f"  {form:12} largest difference {error:.1e}, cosine {cosine:.6f}: {how}")


def measured(source: str, steps: int | None, name: str | None = None) -> list[str]:
    """The card's table: results beside a run, of the weights that are exported.

    Raises:
        UserError: the evaluation that is named is not there.
    """
    if name is not None:
        folders = [Path(source) / "evaluations" / name]
        if not (folders[0] / RESULTS).is_file():
            raise UserError(f"{folders[0]} holds no results: see which evaluations are beside it")
    else:
        folders = [path.parent for path in Path(source).glob(f"evaluations/*/{RESULTS}")]
        folders = [Path(source) / "eval", *sorted(folders)]
    lines: list[str] = []
    for folder in folders:
        if not (folder / RESULTS).is_file():
            continue
        made = read_json(folder / PROVENANCE) if (folder / PROVENANCE).is_file() else {}
        if steps is not None and made.get("steps") not in (None, steps):
            warnings.warn(
                f"{folder} was measured after {made['steps']} steps, but {steps} are exported: it "
                "is left out of the card; evaluate again",
                stacklevel=2,
            )
            continue
        lines += ["", f"`{made['command']}`", ""] if "command" in made else [""]
        lines += results_table(read_results(folder / RESULTS))
    return lines


def _gathered(args: list[str]) -> list[str]:
    """``--to timm onnx`` and ``--to timm --to onnx`` as the list that the parser takes."""
    forms: list[str] = []
    rest: list[str] = []
    place = 0
    while place < len(args):
        key, equals, value = args[place].partition("=")
        place += 1
        if key != "--to":
            rest.append(args[place - 1])
            continue
        if equals:
            forms += value.strip("[]").split(",")
            continue
        while place < len(args) and not args[place].startswith("-"):
            forms += args[place].strip("[]").split(",")
            place += 1
    return [*rest, "--to", f"[{', '.join(form.strip() for form in forms)}]"] if forms else rest
