"""Checkpoints read without unpickling, and methods made again from them."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ssl_equiv.backbones.lidar import LidarEncoder
from ssl_equiv.data.record import LatentSchema
from ssl_equiv.data.views import Preprocess
from ssl_equiv.errors import UserError
from ssl_equiv.methods.base import Method, class_path
from ssl_equiv.methods.lidar import LidarMethod
from ssl_equiv.parsing import instantiate

CHECKPOINTS = "checkpoints"
LAST = "last.ckpt"
BEST = "best.ckpt"
FAILED = "failed.ckpt"  # a state whose next step had no finite loss


def read_checkpoint(path: str | os.PathLike[str], map_location: Any = "cpu") -> dict[str, Any]:
    """Read a ``torch.save`` file of plain data and tensors.

    Raises:
        UserError: the file is missing, cut short or damaged, or holds pickled objects.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:  # PyTorch writes check sums, and never looks
                if file.testzip() is not None:
                    raise zipfile.BadZipFile
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
            f"{os.fspath(path)} is not a readable checkpoint: it may be cut short or damaged; take "
            "another"
        ) from error
    if not isinstance(checkpoint, dict):
        raise UserError(f"{os.fspath(path)} holds a {type(checkpoint).__name__}, no checkpoint")
    return checkpoint


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


class Pretrained:
    """A method with its trained weights.

    Args:
        source: A run directory or a ``.ckpt`` file.

    Attributes:
        method: The LightningModule, in evaluation mode.
        data: What the checkpoint tells of the data.
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
        if "pretrained" in arguments["backbone"]:
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
        self.data: dict[str, Any] = stored["data"]
        self.step = int(checkpoint["global_step"])
        self.found: dict[str, float] = dict(stored.get("found", {}))


class PretrainedMethod(Pretrained):
    """A method on images with its trained weights and what it needs to be used.

    Args:
        source: A run directory or a ``.ckpt`` file.

    Attributes:
        preprocess: What images go through before it.
        schema: The factors of the data that it was trained on.
        image_size: Side of the images that it was trained on, pixels.

    Raises:
        UserError: as :class:`Pretrained`, or the run learnt from LiDAR sweeps.
    """

    def _open(self, checkpoint: dict[str, Any]) -> None:
        super()._open(checkpoint)
        if isinstance(self.method, LidarMethod):
            raise UserError(
                f"{self.path} learnt from LiDAR sweeps, not from images: 'ssl-equiv eval' and "
                "'ssl-equiv detect' judge it on sweeps, docs/lidar_export.md tells of its export"
            )
        self.preprocess = Preprocess(**self.data["preprocess"])
        self.schema = LatentSchema.from_list(self.data["latents"])
        self.image_size = int(self.data["image_size"])


class PretrainedEncoder(Pretrained):
    """A method on LiDAR sweeps with its trained weights.

    Args:
        source: A run directory or a ``.ckpt`` file.

    Attributes:
        encoder: What was pretrained, in evaluation mode.

    Raises:
        UserError: as :class:`Pretrained`, or the run learnt from images.
    """

    def _open(self, checkpoint: dict[str, Any]) -> None:
        super()._open(checkpoint)
        if not isinstance(self.method, LidarMethod):
            raise UserError(
                f"{self.path} learnt from images ({type(self.method).__name__}), not from LiDAR "
                "sweeps: choose a run of a method on sweeps, such as ESSL3D"
            )
        self.encoder: LidarEncoder = self.method.backbone


def is_of_sweeps(source: str | os.PathLike[str]) -> bool:
    """Whether a run directory or a ``.ckpt`` file is of a method on LiDAR sweeps.

    Its weights are not read. False where nothing can be read: opening it tells why.
    """
    try:
        path = find_checkpoint(source)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return "voxel_size" in checkpoint["hyper_parameters"]["backbone"]  # encoders have a grid
    except Exception:  # whatever a damaged file makes of the reader
        return False


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
