"""Checkpoints that are whole or absent, and methods made again from them."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import nn

from ssl_equiv.data.record import LatentSchema
from ssl_equiv.data.views import Preprocess
from ssl_equiv.errors import UserError
from ssl_equiv.files import atomic_write
from ssl_equiv.methods.base import Method, class_path
from ssl_equiv.parsing import instantiate

CHECKPOINTS = "checkpoints"
LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"  # the one before: a later step proved that its state can be used
FAILED = "failed.ckpt"  # a state whose next step had no finite loss


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files through a temporary name, a flush to disk, and a rename.

    The last one's predecessor is kept as ``previous.ckpt``; :func:`fall_back` tells what for.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write the checkpoint, or leave the old one as it was."""
        with atomic_write(path) as file:
            torch.save(checkpoint, file)
            if Path(path).name == LAST:  # still the old one, until the new one is whole
                _keep(Path(path), PREVIOUS)

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint without unpickling objects."""
        return read_checkpoint(path, map_location)


def read_checkpoint(path: str | os.PathLike[str], map_location: Any = "cpu") -> dict[str, Any]:
    """Read a ``torch.save`` file of plain data and tensors.

    Raises:
        UserError: the file is missing, cut short, or holds pickled objects.
    """
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{os.fspath(path)} does not exist") from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{os.fspath(path)} holds pickled objects, which are never loaded: save tensors and "
            "plain values only"
        ) from error
    except Exception as error:  # whatever a damaged file makes of the reader
        raise UserError(
            f"{os.fspath(path)} is not a readable checkpoint: it may be cut short; take another"
        ) from error
    if not isinstance(checkpoint, dict):
        raise UserError(f"{os.fspath(path)} holds a {type(checkpoint).__name__}, no checkpoint")
    return checkpoint


def fall_back(last: Path, step: int) -> Path | None:
    """The last good state, once the loss of the step from the state ``step`` was no number.

    Where ``last`` holds that very state, nobody has ever learnt from it: its weights may be those
    of a step that broke them. It is put aside as ``failed.ckpt``, and the one before, which a
    finite loss followed, becomes the last.

    Returns:
        ``last``, or None where no good state remains.
    """
    if not last.exists():
        return None
    if read_checkpoint(last).get("global_step") != step:
        return last
    previous = last.with_name(PREVIOUS)
    with contextlib.suppress(FileNotFoundError):  # another process may have done it
        if not previous.exists():
            os.replace(last, last.with_name(FAILED))
            return None
        _keep(last, FAILED)
        os.replace(previous, last)  # at no moment is there no last one
    return last


def _keep(path: Path, name: str) -> None:
    """Give a file a second name beside it, in the place of another that had it."""
    if not path.exists():
        return
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{name}.", suffix=".partial")
    os.close(descriptor)
    os.unlink(temporary)
    try:
        os.link(path, temporary)
    except OSError:  # a file system without links
        shutil.copyfile(path, temporary)
    os.replace(temporary, path.with_name(name))


def check_method(method: Method, found: str | None, where: str) -> None:
    """Raise UserError unless weights that a method ``found`` (class path) has learnt are of the
    same class as ``method``: names and shapes of another's may coincide.
    """
    own = class_path(type(method))
    if found != own:
        raise UserError(
            f"{where} holds weights of {found or 'no method'}, but this run trains {own}: choose "
            "that method, or other weights"
        )


def find_checkpoint(source: str | os.PathLike[str]) -> Path:
    """The checkpoint meant by a run directory or a ``.ckpt`` file.

    Raises:
        UserError: there is none.
    """
    path = Path(source)
    if path.is_dir():
        path = path / CHECKPOINTS / LAST
    if not path.is_file():
        raise UserError(
            f"{source}: no checkpoint there; give a run directory of 'ssl-equiv pretrain' "
            "or a .ckpt file"
        )
    return path


class PretrainedMethod:
    """A method with its trained weights and what it needs to be used.

    Args:
        source: A run directory or a ``.ckpt`` file.

    Attributes:
        method: The LightningModule, in evaluation mode.
        preprocess: What images go through before it.
        schema: The factors of the data that it was trained on.
        image_size: Side of the images that it was trained on, pixels.
        step: Optimiser steps taken.
        description: Class path and arguments of the method, plain data.
        found: What the regularizers learnt of the data by name, such as ``strength/rotation``.

    Raises:
        UserError: no checkpoint, or its weights do not fit the architecture (which keys is told).
    """

    def __init__(self, source: str | os.PathLike[str]) -> None:
        self.path = find_checkpoint(source)
        checkpoint = read_checkpoint(self.path)
        if "ssl_equiv" not in checkpoint or "state_dict" not in checkpoint:
            raise UserError(
                f"{self.path} was not written by 'ssl-equiv pretrain': name a published checkpoint "
                "as sie:FILE, equicaps:FILE or seqjepa:FILE"
            )
        try:
            self._open(checkpoint)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self.path} lacks or misstates {error}: it is damaged or of another version"
            ) from error

    def _open(self, checkpoint: dict[str, Any]) -> None:
        stored = checkpoint["ssl_equiv"]
        arguments = dict(checkpoint["hyper_parameters"])
        # the weights come from the checkpoint: neither download others nor compile for a look
        arguments["backbone"] = {**arguments["backbone"], "pretrained": False}
        arguments["compile"] = False
        self.description: dict[str, Any] = {
            "class_path": stored["class_path"],
            "init_args": arguments,
        }
        self.method: Method = instantiate(Method, self.description)
        weights = {  # what regularizers learn is told by ``found``
            key: value
            for key, value in checkpoint["state_dict"].items()
            if not key.startswith("regularizers.")
        }
        load_weights(self.method, weights, str(self.path))
        self.method.eval()
        self.preprocess = Preprocess(**stored["data"]["preprocess"])
        self.schema = LatentSchema.from_list(stored["data"]["latents"])
        self.image_size = int(stored["data"]["image_size"])
        self.step = int(checkpoint["global_step"])
        self.found: dict[str, float] = dict(stored.get("found", {}))


def load_weights(module: nn.Module, weights: Mapping[str, torch.Tensor], where: str) -> None:
    """Load a state dict strictly.

    Raises:
        UserError: keys or shapes differ; the first few are told.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in weights]
    extra = [key for key in weights if key not in own]
    shapes = [key for key in own if key in weights and own[key].shape != weights[key].shape]
    if missing or extra or shapes:
        parts = [
            f"{what} {', '.join(keys[:3])}{f' and {len(keys) - 3} more' if len(keys) > 3 else ''}"
            for what, keys in (("lacks", missing), ("has unknown", extra), ("differs in", shapes))
            if keys
        ]
        raise UserError(
            f"{where} is of another architecture: it {'; '.join(parts)}; use the configuration "
            "it was trained with"
        )
    module.load_state_dict(weights)
