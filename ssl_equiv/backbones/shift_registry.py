"""The shift-equivariant models under names in timm; importing this module registers them.

``timm.create_model("shift_twins_svt_small", pretrained_backbone="twins_svt_small.in1k")`` starts
from the weights of a stock model.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from typing import Any

import timm
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from ssl_equiv.backbones.shift_models import ShiftSwin, ShiftTwins, ShiftViT
from ssl_equiv.errors import UserError

log = logging.getLogger(__name__)


def adopt(model: nn.Module, name: str) -> list[str]:
    """Give a model the weights of a timm model, where names and shapes agree.

    A plain ViT's last norm becomes the norm after pooling.

    Args:
        model: A shift-equivariant model.
        name: Name of a pretrained timm model, ``local-dir:FOLDER`` too.

    Returns:
        What was left out, each with its reason, as is logged: the model's own parameters that
        found none (they keep their initialisation), and the source's that found no place.

    Raises:
        UserError: timm does not know the name or cannot load it, or nothing fits.
    """
    known = ":" in name or timm.is_model(name.split(".")[0])
    if not known:
        close = difflib.get_close_matches(name, timm.list_models(), 3)
        hint = f"did you mean {' or '.join(close)}?" if close else "see timm.list_pretrained()"
        raise UserError(f"pretrained_backbone: timm has no model {name!r}: {hint}")
    try:
        source = timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # no such tag or folder, no published weights, no network
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"pretrained_backbone: timm cannot load {name!r} ({reason}): "
            "timm.list_pretrained() names what it has"
        ) from error
    if "fc_norm.weight" in model.state_dict() and "norm.weight" in source:
        source |= {f"fc_norm.{k}": source.pop(f"norm.{k}") for k in ("weight", "bias")}
    own = model.state_dict()
    fits = {k: v for k, v in source.items() if k in own and own[k].shape == v.shape}
    if not fits:
        raise UserError(f"pretrained_backbone: no weight of {name} fits: choose its own family")
    model.load_state_dict(fits, strict=False)
    left = [
        f"{key} (shape {tuple(source[key].shape)} there)" if key in source else f"{key} (new)"
        for key in own
        if key not in fits
    ] + [f"{key} (no place here)" for key in source if key not in own]
    log.info("%s: %d of %d weights taken; left out: %s", name, len(fits), len(own), ", ".join(left))
    return left


def _vit(width: int, heads: int) -> dict[str, Any]:
    return {"patch_size": 16, "embed_dim": width, "depth": 12, "num_heads": heads}


def _twins(width: int, heads: int, depths: tuple[int, ...]) -> dict[str, Any]:
    return {
        "embed_dims": [width * 2**stage for stage in range(4)],
        "num_heads": [heads * 2**stage for stage in range(4)],
        "depths": depths,
        "wss": [7, 7, 7, 7],
        "sr_ratios": [8, 4, 2, 1],
    }


def _swin(width: int, depth: int, heads: int) -> dict[str, Any]:
    return {
        "embed_dim": width,
        "depths": (2, 2, depth, 2),
        "num_heads": tuple(heads * 2**stage for stage in range(4)),
        "window_size": 7,
    }


# sizes are those of timm's models of the same name
_MODELS: Mapping[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "shift_vit_tiny_patch16_224": (ShiftViT, _vit(192, 3)),
    "shift_vit_small_patch16_224": (ShiftViT, _vit(384, 6)),
    "shift_vit_base_patch16_224": (ShiftViT, _vit(768, 12)),
    "shift_deit_tiny_patch16_224": (ShiftViT, _vit(192, 3)),
    "shift_deit_small_patch16_224": (ShiftViT, _vit(384, 6)),
    "shift_deit_base_patch16_224": (ShiftViT, _vit(768, 12)),
    "shift_twins_svt_small": (ShiftTwins, _twins(64, 2, (2, 2, 10, 4))),
    "shift_twins_svt_base": (ShiftTwins, _twins(96, 3, (2, 2, 18, 2))),
    "shift_twins_svt_large": (ShiftTwins, _twins(128, 4, (2, 2, 18, 2))),
    "shift_swin_tiny": (ShiftSwin, _swin(96, 6, 3)),
    "shift_swin_small": (ShiftSwin, _swin(96, 18, 3)),
    "shift_swin_base": (ShiftSwin, _swin(128, 18, 4)),
}
_OUT_INDICES = {ShiftViT: 3, ShiftTwins: 4, ShiftSwin: (0, 1, 2, 3)}
_HEAD = {
    ShiftViT: {"first_conv": "patch_embed.proj", "classifier": "head"},
    ShiftTwins: {"first_conv": "patch_embeds.0.proj", "classifier": "head"},
    ShiftSwin: {"first_conv": "patch_embed.proj", "classifier": "head.fc"},
}
default_cfgs = generate_default_cfgs(
    {
        name: {
            "url": "",
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (7, 7) if cls is ShiftSwin else None,
            "crop_pct": 0.9,
            "interpolation": "bicubic",
            "fixed_input_size": True,
            # ViTs of timm's own are trained with means of 0.5, the others and DeiT with ImageNet's
            "mean": (0.5,) * 3 if "_vit_" in name else IMAGENET_DEFAULT_MEAN,
            "std": (0.5,) * 3 if "_vit_" in name else IMAGENET_DEFAULT_STD,
            **_HEAD[cls],
        }
        for name, (cls, _) in _MODELS.items()
    }
)


def _register(name: str, cls: type[nn.Module], sizes: Mapping[str, Any]) -> None:
    def make(
        pretrained: bool = False, pretrained_backbone: str | None = None, **options: Any
    ) -> nn.Module:
        if pretrained and options.get("pretrained_cfg") is None:  # a folder's weights have one
            raise UserError(
                f"no weights of {name} are published: start from a stock model's, as in "
                f"pretrained_backbone={name.removeprefix('shift_')!r}"
            )
        out = options.pop("out_indices", _OUT_INDICES[cls])
        cfg = {"out_indices": out, "feature_cls": "getter"}
        made: Any = build_model_with_cfg(
            cls, name, pretrained, feature_cfg=cfg, **{**sizes, **options}
        )
        if pretrained_backbone is not None:
            adopt(getattr(made, "model", made), pretrained_backbone)  # features_only wraps it
        return made  # type: ignore[no-any-return]

    make.__name__ = make.__qualname__ = name
    register_model(make)


for _name, (_cls, _sizes) in _MODELS.items():
    _register(_name, _cls, _sizes)
