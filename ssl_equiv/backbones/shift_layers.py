"""What the shift-equivariant transformers are built from: timm's own layers, anchored.

Each class adds behaviour and no state to the layer it derives from, so a timm model becomes
equivariant by :func:`anchored`, in place, and has timm's weights under timm's names.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import torch
from timm.layers.patch_embed import PatchEmbed
from timm.models import swin_transformer, twins
from torch import Tensor, nn

from ssl_equiv.backbones.anchoring import anchor, anchor_offsets, roll
from ssl_equiv.errors import UserError

T = TypeVar("T", bound=nn.Module)


def anchored(module: nn.Module, cls: type[T]) -> T:
    """``module`` itself, from now on of a class that derives from its own and adds no state."""
    assert issubclass(cls, type(module)), f"{cls.__name__} is no {type(module).__name__}"
    module.__class__ = cls
    return cast(T, module)


def circular(convolution: nn.Conv2d) -> None:
    """Let a convolution wrap around the border instead of padding with zeros."""
    convolution.padding_mode = "circular"


class AnchoredPatchEmbed(PatchEmbed):
    """Patches of the anchored image."""

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of images ``(B, C, H, W)``."""
        made: Tensor = super().forward(_anchored_image(x, self.patch_size))  # type: ignore[no-untyped-call]
        return made


class AnchoredTwinsPatchEmbed(twins.PatchEmbed):
    """Patches of the anchored map."""

    def forward(self, x: Tensor) -> Any:
        """Tokens ``(B, N, C)`` and their grid."""
        return super().forward(_anchored_image(x, self.patch_size))


class AnchoredTwinsBlock(twins.Block):
    """Attention over windows, or over strided keys, of the anchored map; rolled back after it."""

    @property
    def period(self) -> int:
        """Side of what the attention reads in blocks: its window, or its stride."""
        attention: Any = self.attn
        return int(getattr(attention, "ws", 0) or attention.sr_ratio)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Tokens ``(B, N, C)`` of a grid."""
        grid = (len(x), *size, x.shape[-1])
        y = self.norm1(x)
        if self.period > 1:
            # by the residual stream: LayerNorm would give all tokens one norm
            offsets = anchor_offsets(x.view(grid), self.period, "NHWC")
            y = roll(y.view(grid), -offsets, "NHWC").flatten(1, 2)
            y = roll(self.attn(y, size).view(grid), offsets, "NHWC").flatten(1, 2)
        else:
            y = self.attn(y, size)
        x = x + self.drop_path1(y)
        mixed: Tensor = x + self.drop_path2(self.mlp(self.norm2(x)))
        return mixed


class AnchoredSwinBlock(swin_transformer.SwinTransformerBlock):
    """Windows of the anchored map, whose border wraps around: no mask where they are shifted."""

    def get_attn_mask(self, *args: Any, **kwargs: Any) -> None:
        """None: on a torus every window is whole."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, H, W, C)``."""
        window = _square(self.window_size, "window")
        shift = torch.tensor(self.shift_size, device=x.device)
        shifts = anchor_offsets(x, window, "NHWC") + shift
        y = roll(self.norm1(x), -shifts, "NHWC")
        windows = swin_transformer.window_partition(y, self.window_size)
        windows = self.attn(windows.flatten(1, 2)).view(windows.shape)
        y = swin_transformer.window_reverse(windows, self.window_size, *y.shape[1:3])
        x = x + self.drop_path1(roll(y, shifts, "NHWC"))
        return x + self.drop_path2(self.mlp(self.norm2(x)))  # type: ignore[no-any-return]


class AnchoredPatchMerging(swin_transformer.PatchMerging):
    """Merges 2 x 2 tokens of the anchored map."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, H, W, C)`` to ``(B, H / 2, W / 2, C')``."""
        return super().forward(anchor(x, 2, "NHWC")[0])


def _anchored_image(x: Tensor, patch: Any) -> Tensor:
    return anchor(x, _square(patch, "patch"))[0]


def _square(size: tuple[int, int], what: str) -> int:
    if size[0] != size[1]:
        raise UserError(f"{what} {size[0]} x {size[1]}: shift-equivariant models need a square one")
    return int(size[0])
