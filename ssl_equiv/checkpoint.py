"""Checkpoints that are whole or absent, and methods made again from them."""

from __future__ import annotations

import os
import pickle
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
from ssl_equiv.methods.base import Method
from ssl_equiv.parsing import instantiate

CHECKPOINTS = "checkpoints"
LAST = "last.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files through a temporary name, a flush to disk, and a rename."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write the checkpoint, or leave the old one as it was."""
        with atomic_write(path) as file:
            torch.save(checkpoint, file)

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

    Raises:
        UserError: no checkpoint, or its weights do not fit the architecture (which keys is told).
    """

    def __init__(self, source: str | os.PathLike[str]) -> None:
        self.path = find_checkpoint(source)
        checkpoint = read_checkpoint(self.path)
        if "ssl_equiv" not in checkpoint or "state_dict" not in checkpoint:
            raise UserError(f"{self.path} was not written by 'ssl-equiv pretrain': import it first")
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
        load_weights(self.method, checkpoint["state_dict"], str(self.path))
        self.method.eval()
        self.preprocess = Preprocess(**stored["data"]["preprocess"])
        self.schema = LatentSchema.from_list(stored["data"]["latents"])
        self.image_size = int(stored["data"]["image_size"])
        self.step = int(checkpoint["global_step"])


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
