"""A published checkpoint: its tensors by name, whatever wraps them, and the ResNet among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_equiv.backbones import BackboneConfig, create_backbone
from ssl_equiv.checkpoint import read_checkpoint
from ssl_equiv.errors import UserError

Weights = dict[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]

# torchvision's ResNets; timm gives their weights the same names
RESNETS = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2"),
)
_WRAPPERS = {"module", "_orig_mod"}  # of DistributedDataParallel and torch.compile
_TRAINING = ("optim", "sched", "scaler")  # states of the run, not of the network
_TARGETS = ("target", "momentum", "teacher", "ema")  # moving averages of the network
_CHILDREN = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")  # with weights, in order
_CLASSIFIER = ("fc.weight", "fc.bias")


class Published:
    """The tensors of a checkpoint, and which of them are used.

    Attributes:
        path: The file.
        config: Which timm model the ResNet is.
        dim: Its features.
        backbone: Its weights, torchvision's names without the classifier.
        target: Those of a moving average of it, or None.
        rest: All other tensors of networks, named as in the file less wrappers.
        unused: Names of the rest that no section has taken.
        prefix: What stands before the backbone's names in the file.
    """

    def __init__(
        self,
        path: Path,
        config: BackboneConfig,
        backbone: Weights,
        target: Weights | None,
        rest: Weights,
        prefix: str = "",
    ) -> None:
        self.path, self.config, self.backbone = path, config, backbone
        self.target, self.rest, self.unused = target, rest, set(rest)
        self.prefix = prefix
        with torch.device("meta"):
            self.dim: int = create_backbone(config).num_features  # type: ignore[assignment]

    def root(self, marker: str) -> str | None:
        """What stands before ``marker`` in the names; None if no name ends in it.

        Raises:
            UserError: several networks of the file have it.
        """
        found = [k.removesuffix(marker) for k in self.rest if f".{k}".endswith(f".{marker}")]
        if len(found) > 1:
            raise UserError(
                f"{self.path} holds several networks with {marker} (in {', '.join(found)}): save "
                "the one to import on its own"
            )
        return found[0] if found else None

    def names(self, prefix: str) -> list[str]:
        """What follows ``prefix`` in the names of the rest."""
        return list(_under(self.rest, prefix))

    def need(self, name: str, ndim: int = 2) -> Tensor:
        """One tensor of the rest, of ``ndim`` dimensions.

        Raises:
            UserError: there is none of that name, or it has others.
        """
        if name not in self.rest or self.rest[name].ndim != ndim:
            what = "differs in" if name in self.rest else "lacks"
            raise UserError(f"{self.path} is of another method or architecture: it {what} {name}")
        return self.rest[name]

    def beside(self, root: str) -> list[str]:
        """The modules under ``root`` of which nothing was taken.

        Raises:
            UserError: of another module, something was taken and something was not.
        """

        def module(name: str) -> str:
            return name.removeprefix(root).split(".")[0]

        taken = {module(name) for name in self.rest.keys() - self.unused}
        if self.prefix != root:
            taken.add(module(self.prefix))
        if strange := [name for name in self.rest if name in self.unused and module(name) in taken]:
            raise UserError(
                f"{self.path} is of another method or architecture: it has unknown "
                f"{', '.join(strange[:3])}"
            )
        return sorted({module(name) for name in self.unused})

    def section(self, prefix: str, shapes: Shapes) -> Weights:
        """The tensors whose names start with ``prefix``, which must be just those expected.

        Args:
            prefix: Start of the names; the result's names are without it.
            shapes: Expected shape of each name.

        Raises:
            UserError: names or shapes differ; the first few are told.
        """
        weights = strict(_under(self.rest, prefix), shapes, prefix, self.path)
        self.unused -= {prefix + name for name in weights}
        return weights


def read_published(path: str | Path) -> Published:
    """Read a checkpoint file that holds a ResNet, bare or inside a method.

    The network may be wrapped in dictionaries (``{"epoch": 9, "model": {...}}``), in
    DistributedDataParallel and in ``torch.compile``, may be named anything, may have torchvision's
    names or be a Sequential of its children, and may have a stem for small images.

    Raises:
        UserError: no such file, not readable without unpickling, or no ResNet that timm has.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is no file: name a published checkpoint, such as model.pth")
    checkpoint = read_checkpoint(path)
    if "ssl_equiv" in checkpoint:
        raise UserError(f"{path} was written by 'ssl-equiv pretrain': name it without a prefix")
    tensors = _torchvision_names(dict(_tensors(checkpoint)))
    prefixes = [
        prefix
        for key in tensors
        if f".{key}".endswith(".conv1.weight")
        and f"{(prefix := key.removesuffix('conv1.weight'))}layer1.0.conv1.weight" in tensors
    ]
    targets = [p for p in prefixes if any(part.startswith(_TARGETS) for part in p.split("."))]
    online = [p for p in prefixes if p not in targets]
    if not prefixes:
        names = ", ".join(list(tensors)[:2]) or "none"
        raise UserError(
            f"{path} holds no ResNet (its first tensors: {names}): take a checkpoint of one"
        )
    if len(online) != 1 or len(targets) > 1:
        raise UserError(
            f"{path} holds several ResNets (in {', '.join(p or '.' for p in prefixes)}): save the "
            "one to import on its own"
        )
    backbone = _backbone(tensors, online[0])
    config = identify(backbone, path)
    target = None
    if targets:
        target = strict(_backbone(tensors, targets[0]), _shapes(backbone), targets[0], path)
    inside = {f"{prefix}{name}" for prefix in prefixes for name in (*backbone, *_CLASSIFIER)}
    rest = {key: value for key, value in tensors.items() if key not in inside}
    return Published(path, config, backbone, target, rest, online[0])


def identify(weights: Weights, where: Path) -> BackboneConfig:
    """Which timm model has just these weights, by names and shapes.

    Raises:
        UserError: none has; what differs from the nearest is told.
    """
    stem = weights["conv1.weight"].shape[-1] == 3
    nearest: list[tuple[int, str, str]] = []
    for name in RESNETS:
        config = BackboneConfig(name, cifar_stem=stem)
        with torch.device("meta"):
            differences = _differences(weights, shapes_of(create_backbone(config)))
        if not any(differences.values()):
            return config
        nearest.append((sum(map(len, differences.values())), name, _told(differences, "")))
    _, name, told = min(nearest)
    raise UserError(f"{where} holds a ResNet that timm has no namesake of: as a {name} it {told}")


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shape of every entry of a module's state."""
    return _shapes(module.state_dict())


def strict(weights: Weights, shapes: Shapes, prefix: str, where: Path) -> Weights:
    """``weights``, if they are just those expected.

    Raises:
        UserError: names or shapes differ; the first few are told, after ``prefix``.
    """
    if told := _told(_differences(weights, shapes), prefix):
        raise UserError(
            f"{where} is of another method or architecture: it {told}; take a checkpoint of the "
            "family that was named"
        )
    return weights


def _tensors(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if name.startswith(_TRAINING):
            continue
        if isinstance(value, Mapping):
            yield from _tensors(value, f"{name}.")
        elif isinstance(value, Tensor):
            yield ".".join(part for part in name.split(".") if part not in _WRAPPERS), value


def _torchvision_names(tensors: Weights) -> Weights:
    """Name the children of ResNets that were put into a Sequential by their places."""
    renamed: dict[str, str] = {}
    for key, value in tensors.items():
        if not f".{key}".endswith(".0.weight") or value.ndim != 4 or value.shape[1] != 3:
            continue
        prefix = key.removesuffix("0.weight")
        places = {name.removeprefix(prefix).split(".")[0] for name in _named(tensors, prefix)}
        if all(map(str.isdigit, places)) and len(places) >= len(_CHILDREN):
            in_order = sorted(places, key=int)  # those without weights have no place here
            for place, child in zip(in_order, (*_CHILDREN, "fc"), strict=False):
                renamed[f"{prefix}{place}."] = f"{prefix}{child}."
    result = {}
    for key, value in tensors.items():
        start = next((old for old in renamed if key.startswith(old)), "")
        result[renamed.get(start, "") + key.removeprefix(start)] = value
    return result


def _named(tensors: Weights, prefix: str) -> list[str]:
    return [key for key in tensors if key.startswith(prefix)]


def _under(tensors: Weights, prefix: str) -> Weights:
    return {key.removeprefix(prefix): tensors[key] for key in _named(tensors, prefix)}


def _backbone(tensors: Weights, prefix: str) -> Weights:
    """What has a ResNet's names: heads may stand beside an unnamed one."""
    return {k: v for k, v in _under(tensors, prefix).items() if k.split(".")[0] in _CHILDREN}


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in weights.items()}


def _differences(weights: Weights, shapes: Shapes) -> dict[str, list[str]]:
    """Names that are absent, not expected, or of another shape."""
    return {
        "lacks": [k for k in shapes if k not in weights],
        "has unknown": [k for k in weights if k not in shapes],
        "differs in": [k for k in shapes if k in weights and weights[k].shape != shapes[k]],
    }


def _told(differences: Mapping[str, list[str]], prefix: str) -> str:
    return "; ".join(
        f"{what} {', '.join(prefix + name for name in names[:3])}"
        + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        for what, names in differences.items()
        if names
    )
