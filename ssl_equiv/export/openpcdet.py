"""Weights of LiDAR encoders in and out of OpenPCDet, which gives the same parts the same names.

Parts are ``vfe`` (pillars), ``backbone_3d`` (sparse voxels) and ``backbone_2d``. Weights of sparse
convolutions exist in the layouts of three versions of spconv; files are written in that of
spconv 2.2 and later, which is also the encoders' own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from ssl_equiv import __version__
from ssl_equiv.backbones.lidar import LidarEncoder, create_encoder, encoder_config
from ssl_equiv.backbones.lidar.sparse import SparseConv3d
from ssl_equiv.checkpoint import PretrainedEncoder, load_weights, read_checkpoint
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write, make_directory

log = logging.getLogger(__name__)

# how each version of spconv stores a weight, turned into (out, kz, ky, kx, in)
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "spconv 2.2": lambda weight: weight,
    "spconv 2.0": lambda weight: weight.permute(3, 0, 1, 2, 4),  # (kz, ky, kx, out, in)
    "spconv 1": lambda weight: weight.permute(4, 0, 1, 2, 3),  # (kz, ky, kx, in, out)
}
_CONFIG = "encoder"


def export_openpcdet(run: str | Path, out: str | Path) -> int:
    """Write the encoder of a run as a safetensors file with OpenPCDet's names.

    Args:
        run: A run directory or ``.ckpt`` file of a method on sweeps.
        out: The file to make, ``.safetensors``.

    Returns:
        How many tensors it has.

    Raises:
        UserError: no such run, or the file exists or has another ending.
    """
    out = Path(out)
    if out.suffix != ".safetensors":
        raise UserError(f"{out}: weights for OpenPCDet are a .safetensors file: name one")
    if out.exists():
        raise UserError(f"{out} exists: choose another name")
    found = PretrainedEncoder(run)
    config = found.description["init_args"]["backbone"]
    state = {name: value.contiguous() for name, value in found.encoder.state_dict().items()}
    told = {
        "ssl_equiv": __version__,
        "spconv": "2.2",
        "method": found.description["class_path"],
        "steps": str(found.step),
        _CONFIG: json.dumps(config),
    }
    make_directory(out.parent)
    with atomic_write(out) as file:
        file.write(safetensors.torch.save(state, metadata=told))
    return len(state)


def open_openpcdet(path: str | Path) -> LidarEncoder:
    """The encoder that :func:`export_openpcdet` wrote, in evaluation mode.

    Raises:
        UserError: the file does not tell its architecture.
    """
    path = Path(path)
    config = _metadata(path).get(_CONFIG) if path.suffix == ".safetensors" else None
    if config is None:
        raise UserError(
            f"{path} does not tell its grid and widths: make the encoder by create_encoder and "
            "give it to load_openpcdet"
        )
    encoder = create_encoder(encoder_config(json.loads(config)))
    load_openpcdet(encoder, path)
    return encoder.eval()


def load_openpcdet(encoder: LidarEncoder, path: str | Path, parts: Sequence[str] = ()) -> list[str]:
    """Give an encoder the weights of a checkpoint with OpenPCDet's names.

    Names and shapes of the parts must be just those of the encoder. What else there is, such as a
    detection head, is left out and told.

    Args:
        encoder: The encoder; it keeps its own weights where a part is not asked for.
        path: ``.safetensors``, or a ``torch.save`` file of plain values (never unpickled).
        parts: Which parts to take, such as ``backbone_3d``; by default all of the encoder.

    Returns:
        Names in the file that were left out.

    Raises:
        UserError: no such file, pickled objects in it, or another architecture; the names that are
            absent or too many are told.
    """
    path = Path(path)
    own = [name for name, _ in encoder.named_children()]
    if unknown := [part for part in parts if part not in own]:
        raise UserError(f"the encoder has no part {unknown[0]!r}: it has {', '.join(own)}")
    wanted = tuple(f"{part}." for part in (parts or own))
    state = _read(path)
    taken = {name: value for name, value in state.items() if name.startswith(wanted)}
    taken = _own_layout(encoder, taken, path)
    whole = encoder.state_dict()
    kept = {name: value for name, value in whole.items() if not name.startswith(wanted)}
    load_weights(encoder, kept | taken, str(path))
    left_out = [name for name in state if name not in taken]
    if left_out:
        roots = sorted({name.split(".")[0] for name in left_out})
        log.warning("%s: not taken: %s", path, ", ".join(roots))
    return left_out


def _own_layout(
    encoder: LidarEncoder, state: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """The weights with those of sparse convolutions as the encoder has them.

    Raises:
        UserError: they are in none of the known layouts, or could be in two.
    """
    sparse = {
        f"{name}.weight": tuple(module.weight.shape)
        for name, module in encoder.named_modules()
        if isinstance(module, SparseConv3d)
    }
    there = {name: state[name] for name in sparse if name in state}
    fitting = [
        layout
        for layout, turn in LAYOUTS.items()
        if all(v.ndim == 5 and tuple(turn(v).shape) == sparse[n] for n, v in there.items())
    ]
    if there and len(fitting) != 1:
        name, value = next(iter(there.items()))
        found = " and ".join(fitting) or "none"
        raise UserError(
            f"{path}: sparse weights fit the layout of {found} of {', '.join(LAYOUTS)}; {name} is "
            f"{tuple(value.shape)}, the encoder's {sparse[name]}: choose its widths and voxels"
        )
    return {
        name: LAYOUTS[fitting[0]](value).contiguous() if name in there else value
        for name, value in state.items()
    }


def _read(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, by name."""
    if path.suffix == ".safetensors":
        _metadata(path)
        return safetensors.torch.load_file(path)
    checkpoint = read_checkpoint(path)
    for key in ("model_state", "state_dict"):
        if isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
            break
    state = {name: value for name, value in checkpoint.items() if isinstance(value, Tensor)}
    return {name.removeprefix("module."): value for name, value in state.items()}


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is no whole safetensors file ({error}): take another") from error
