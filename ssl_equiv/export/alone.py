"""An export, loaded again as its users will: in a fresh process, without this package."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from ssl_equiv.errors import UserError
from ssl_equiv.files import load_array

_TOLERANCE = 1e-4
_SCRIPT = '''
import sys
form, folder, inputs, outputs, helper = sys.argv[1:]

class Refuse:
    """Whatever the export needs besides its own tools is a defect."""
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ssl_equiv", "eval", "data_gen"):
            raise ModuleNotFoundError(f"{name} is not for exports to use", name=name)

if helper:
    __import__(helper)
else:
    sys.meta_path.insert(0, Refuse())
import numpy, torch
torch.set_grad_enabled(False)
images = torch.from_numpy(numpy.load(inputs, allow_pickle=False))
if form == "timm":
    import timm
    found = timm.create_model("local-dir:" + folder, pretrained=True).eval()(images)
elif form == "hf":
    import transformers
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model = transformers.AutoModel.from_pretrained(folder).eval()
    found = model(images).pooler_output
elif form == "onnx":
    import onnxruntime
    session = onnxruntime.InferenceSession(folder + "/model.onnx")
    found = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
else:
    found = torch.export.load(folder + "/model.pt2").module()(images)
numpy.save(outputs, found.float().numpy())
'''


def compare_alone(
    form: str, folder: str | os.PathLike[str], images: Tensor, want: Tensor, helper: str = ""
) -> tuple[float, float]:
    """Load a form of an export in a fresh process, and compare its features.

    Args:
        form: ``timm``, ``hf`` (transformers), ``onnx`` or ``torch-export``.
        folder: The export.
        images: Normalised images ``(B, 3, H, W)``.
        want: The backbone's features of them ``(B, D)``.
        helper: A module that users must import first; "" for none, which is proved.

    Returns:
        The largest absolute difference, and the smallest cosine of a row with its original.

    Raises:
        UserError: it cannot be loaded, or differs by more than rounding.
    """
    with tempfile.TemporaryDirectory() as place:
        inputs, outputs = Path(place) / "images.npy", Path(place) / "features.npy"
        np.save(inputs, images.numpy())
        arguments: Sequence[str] = [
            form,
            os.path.abspath(folder),
            str(inputs),
            str(outputs),
            helper,
        ]
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=place,
        )
        if done.returncode:
            reason = done.stderr.strip().splitlines() or ["no message"]
            raise UserError(f"the exported form {form} cannot be loaded again: {reason[-1]}")
        have = torch.from_numpy(load_array(outputs))
    if have.shape != want.shape:
        raise UserError(
            f"the exported form {form} gives features {tuple(have.shape)}, the backbone "
            f"{tuple(want.shape)}: this is a defect of the exporter; please report the architecture"
        )
    error = (want - have).abs().max().item()
    if not error <= _TOLERANCE * max(1.0, want.abs().max().item()):
        raise UserError(
            f"the exported form {form} differs from the backbone by {error:.1e}: this is a "
            "defect of the exporter; please report the architecture"
        )
    return error, cosine_similarity(want, have).min().item()


def example_images(size: int) -> Tensor:
    """Images to compare with, ``(4, 3, size, size)``: a ramp, its negative, a constant, noise."""
    ramp = torch.linspace(-2, 2, 3 * size * size).reshape(3, size, size)
    noise = torch.randn(3, size, size, generator=torch.Generator().manual_seed(0))
    return torch.stack([ramp, -ramp, torch.full_like(ramp, 0.5), noise])
