"""``ssl-equiv export``: a backbone as a folder for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich.console import Console

from eval.results import RESULTS, read_results, results_table
from ssl_equiv.export import export_timm, open_backbone
from ssl_equiv.parsing import call

_SOURCE = (
    "A run directory, a .ckpt file, timm:NAME, or a published checkpoint as sie:FILE, "
    "equicaps:FILE or seqjepa:FILE."
)


def main(args: list[str]) -> None:
    """Run ``ssl-equiv export`` with command-line arguments ``args``."""
    call(export, args, "export", {"source": _SOURCE})


def export(
    source: str, to: Literal["timm"] = "timm", *, out: str, pretrained: bool = False
) -> None:
    """Export a backbone.

    Args:
        source: A run directory, a .ckpt file, timm:NAME, or a published checkpoint.
        to: Form of the export; timm is a folder that timm.create_model("local-dir:OUT") loads.
        out: Folder to make.
        pretrained: For timm:NAME: take timm's weights (downloads them) instead of random ones.
    """
    backbone = open_backbone(source, pretrained=pretrained)
    measured = Path(source) / "eval" / RESULTS
    lines = results_table(read_results(measured)) if measured.is_file() else []
    error = export_timm(backbone, out, results=lines)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{out}: {backbone.config.name}, largest output difference {error:.1e}")
    console.print(f'load it with timm.create_model("local-dir:{out}", pretrained=True)')
