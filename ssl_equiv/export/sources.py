"""What can be judged and exported: runs, checkpoints, export folders and stock timm models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ssl_equiv.backbones import BackboneConfig, create_backbone
from ssl_equiv.checkpoint import Pretrained, PretrainedMethod, check_method, load_weights
from ssl_equiv.data.views import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from ssl_equiv.errors import UserError
from ssl_equiv.export.importers import IMPORTERS, import_published
from ssl_equiv.files import read_json
from ssl_equiv.methods.base import Method, class_path
from ssl_equiv.parsing import instantiate
from ssl_equiv.representation import Representation

SIDECAR = "ssl_equiv.json"  # beside config.json in an export: what timm has no place for


class Backbone(nn.Module):
    """A frozen network with what is needed to use and to name it.

    Attributes:
        model: The timm model, ``(B, 3, H, W) -> (B, D)``.
        config: Which timm model.
        preprocess: What images go through before it.
        parts: Named columns of the model's output.
        origin: What is known of its making, plain data: method, arguments, steps, factors.
        source: How the user named it.
        method: What encodes, where a representation has more than the model's output: such a run
            is judged by all of it, and its model alone is exported.
    """

    def __init__(
        self,
        model: nn.Module,
        config: BackboneConfig,
        preprocess: Preprocess,
        parts: Mapping[str, tuple[int, int]],
        origin: dict[str, Any],
        source: str,
        method: Method | None = None,
    ) -> None:
        super().__init__()
        self.model, self.config, self.preprocess = model.eval(), config, preprocess
        self.parts, self.origin, self.source = dict(parts), origin, source
        self.method = method

    def encode(self, images: Tensor) -> Representation:
        """The representation ``(B, D)`` of normalised images ``(B, 3, H, W)``."""
        if self.method is not None:
            return self.method.encode(images)
        return Representation(self.model(images), self.parts)


def open_backbone(source: str, *, pretrained: bool = False, seed: int = 0) -> Backbone:
    """The backbone that a user names.

    Args:
        source: A run directory, a ``.ckpt`` file, an export folder, ``timm:NAME``,
            ``random:RUN``: the network of a run at random initialisation, or a published
            checkpoint as ``sie:FILE``, ``equicaps:FILE`` or ``seqjepa:FILE``.
        pretrained: For ``timm:NAME``: take timm's weights (downloads them) instead of random ones.
        seed: Seed of random weights.

    Raises:
        UserError: nothing of these is there, or its weights do not fit.
    """
    kind, name = _kind(source)
    if kind == "timm":
        return _from_timm(name, pretrained, seed)
    if pretrained:
        raise UserError(f"pretrained is for timm:NAME, not for {source}: leave it out")
    if kind == "random":
        return _at_random(name, seed)
    if kind in IMPORTERS:
        return _from_published(kind, name)
    if (Path(source) / "config.json").is_file():
        return _from_export(Path(source))
    return _from_method(PretrainedMethod(source), source)


def open_method(source: str, *, seed: int = 0) -> Method | None:
    """The whole method that a user names, in evaluation mode; None where there is none.

    Args:
        source: As of :func:`open_backbone`; export folders, timm models and some published
            checkpoints hold a backbone alone.
        seed: Seed of random weights.

    Raises:
        UserError: nothing of these is there, or its weights do not fit.
    """
    kind, name = _kind(source)
    if kind == "random":
        return _randomised(name, seed).method.eval()
    if kind in IMPORTERS:
        return import_published(kind, name).method
    if kind == "timm" or (Path(source) / "config.json").is_file():
        return None
    return PretrainedMethod(source).method


def start_from(method: Method, source: str) -> None:
    """Give a method the weights of another of its class.

    Args:
        method: What is to be trained, without its regularizers.
        source: A run directory, a ``.ckpt`` file, or a published checkpoint.

    Raises:
        UserError: nothing of these is there, it holds a backbone alone, another method or another
            architecture.
    """
    found = _method_of(source)
    check_method(method, class_path(type(found)), source)
    load_weights(method, found.state_dict(), source)


def _kind(source: str) -> tuple[str, str]:
    """What stands before the first colon, "" where there is none: a run may be called ``sie``."""
    kind, colon, name = source.partition(":")
    return (kind, name) if colon else ("", source)


def _method_of(source: str) -> Method:
    kind, name = _kind(source)
    if kind not in IMPORTERS:
        return Pretrained(source).method
    method = import_published(kind, name).method
    if method is None:
        raise UserError(
            f"{source} holds a backbone alone: start from a checkpoint with the method's heads"
        )
    return method


def _from_method(found: PretrainedMethod, source: str) -> Backbone:
    own = type(found.method).encode is not Method.encode
    return Backbone(
        found.method.backbone,
        BackboneConfig(**found.description["init_args"]["backbone"]),
        found.preprocess,
        found.method.backbone_parts,
        {
            "method": found.description,
            "steps": found.step,
            "image_size": found.image_size,
            "factors": found.schema.to_list(),
            "data": {key: found.data.get(key) for key in ("classes", "fingerprint", "ranges")},
        },
        source,
        found.method.eval() if own else None,
    )


def _from_published(family: str, file: str) -> Backbone:
    found = import_published(family, file)
    own = found.method is not None and type(found.method).encode is not Method.encode
    return Backbone(
        found.model,
        found.config,
        found.preprocess,
        found.parts,
        found.origin,
        f"{family}:{file}",
        found.method if own else None,
    )


def _at_random(run: str, seed: int) -> Backbone:
    return _from_method(_randomised(run, seed), f"random:{run}")


def _randomised(run: str, seed: int) -> PretrainedMethod:
    found = PretrainedMethod(run)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found.method = instantiate(Method, found.description)
    found.step = 0
    return found


def _from_timm(name: str, pretrained: bool, seed: int) -> Backbone:
    config = BackboneConfig(name, pretrained=pretrained)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            model = create_backbone(config)
        except OSError as error:
            raise UserError(
                f"timm's weights of {name} cannot be downloaded: check the network, or leave out "
                "pretrained for random weights"
            ) from error
    cfg: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    size = cfg["input_size"][-1] if cfg.get("fixed_input_size") else None
    preprocess = Preprocess(
        size=size,
        mean=tuple(cfg.get("mean", IMAGENET_MEAN)),
        std=tuple(cfg.get("std", IMAGENET_STD)),
    )
    weights = cfg.get("hf_hub_id") or cfg.get("url") if pretrained else "random"
    return Backbone(
        model, config, preprocess, {}, {"timm": name, "weights": weights}, source_name(name)
    )


def source_name(name: str) -> str:
    """How a stock timm model is written as a source."""
    return f"timm:{name}"


def _from_export(folder: Path) -> Backbone:
    beside = read_json(folder / SIDECAR) if (folder / SIDECAR).exists() else {}
    try:
        model: Any = timm.create_model(f"local-dir:{folder}", pretrained=False, num_classes=0)
        weights = load_file(folder / "model.safetensors")
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise UserError(f"{folder} is not a timm folder that can be loaded: {error}") from error
    weights = {key: value for key, value in weights.items() if key in model.state_dict()}
    load_weights(model, weights, str(folder / "model.safetensors"))
    cfg = model.pretrained_cfg
    preprocess = beside.get("preprocess") or {"mean": cfg["mean"], "std": cfg["std"]}
    return Backbone(
        model,
        BackboneConfig(**beside.get("backbone", {"name": cfg["architecture"]})),
        Preprocess(**preprocess),
        {name: tuple(columns) for name, columns in beside.get("parts", {}).items()},
        beside.get("origin", {}),
        str(folder),
    )
