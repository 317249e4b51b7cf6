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
from torch.nn.functional import conv2d, linear, pad, scaled_dot_product_attention

from ssl_equiv.backbones.anchored_blocks import Blocks, norm_and_energy
from ssl_equiv.backbones.anchoring import anchor, anchor_offsets
from ssl_equiv.backbones.orientation import orient

T = TypeVar("T", bound=nn.Module)
_WIDE = 16  # channels from which on it is faster to move pixels as wholes


def anchored(module: nn.Module, cls: type[T]) -> T:
    """``module`` itself, from now on of a class that derives from its own and adds no state."""
    assert issubclass(cls, type(module)), f"{cls.__name__} is no {type(module).__name__}"
    module.__class__ = cls
    return cast(T, module)


class CircularConv(nn.Conv2d):
    """A convolution that wraps around the border; maps whose channels lie last stay so."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, C, H, W)``."""
        high, wide = (int(size) for size in self.padding)
        padded = pad(x.permute(0, 2, 3, 1)[:, None], (0, 0, wide, wide, high, high), "circular")
        maps = padded[:, 0].permute(0, 3, 1, 2)
        return conv2d(maps, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Anchored:
    """What anchored layers can be told.

    Attributes:
        smoothing: Of the phases' norms, see :func:`ssl_equiv.backbones.anchoring.anchor`.
    """

    smoothing: int = 0


class AnchoredImage(Anchored):
    """A first layer, which gets the image.

    Attributes:
        turns: Turn it to an orientation of its own, see :func:`orient`.
        flips: Mirror it so.
    """

    turns: bool = False
    flips: bool = False

    def anchored(self, x: Tensor, patch: Any) -> Tensor:
        """The image ``(B, C, H, W)`` as it is read."""
        if self.turns or self.flips:
            x = orient(x, self.turns, self.flips)
        return anchor(x, _pair(patch), smoothing=self.smoothing)[0]


class AnchoredPatchEmbed(AnchoredImage, PatchEmbed):
    """Patches of the anchored image."""

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of images ``(B, C, H, W)``."""
        made: Tensor = super().forward(self.anchored(x, self.patch_size))  # type: ignore[no-untyped-call]
        return made


class AnchoredTwinsPatchEmbed(AnchoredImage, twins.PatchEmbed):
    """Patches of the anchored image, or of the anchored map of the stage before."""

    def forward(self, x: Tensor) -> Any:
        """Tokens ``(B, N, C)`` and their grid."""
        if x.shape[1] < _WIDE:
            return super().forward(self.anchored(x, self.patch_size))
        patch, size = _pair(self.patch_size), (x.shape[2], x.shape[3])
        tokens = x.flatten(2).transpose(1, 2).contiguous()
        maps = tokens.view(x.shape[0], *size, -1)
        offsets = anchor_offsets(maps, patch, "NHWC", self.smoothing)
        made = _strided(self.proj, tokens, Blocks(offsets, size, patch))
        return self.norm(made), (size[0] // patch[0], size[1] // patch[1])


class AnchoredTwinsBlock(Anchored, twins.Block):
    """Attention over windows, or over strided keys, of the anchored map."""

    @property
    def period(self) -> int:
        """Side of what the attention reads in blocks: its window, or its stride."""
        attention: Any = self.attn
        return int(getattr(attention, "ws", 0) or attention.sr_ratio)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Tokens ``(B, N, C)`` of a grid."""
        period, windows = self.period, hasattr(self.attn, "ws")
        # attention over all tokens, which have no positions there, sees the same wherever they are
        if (period, period) == tuple(size) and windows:
            y = _in_windows(self.attn, self.norm1(x), None)
        elif period == 1:
            y = self.attn(self.norm1(x), size)
        else:
            # by the residual stream: LayerNorm would give all tokens one norm
            y, energy = norm_and_energy(self.norm1, x)
            energy = energy if energy is None else energy.view(-1, *size)
            maps = x.view(-1, *size, x.shape[-1])
            offsets = anchor_offsets(maps, period, "NHWC", self.smoothing, energy)
            y = (_in_windows if windows else _to_strided_keys)(
                self.attn, y, Blocks(offsets, size, (period, period))
            )
        x = x + self.drop_path1(y)
        mixed: Tensor = x + self.drop_path2(self.mlp(self.norm2(x)))
        return mixed


def _in_windows(attention: Any, x: Tensor, blocks: Blocks | None) -> Tensor:
    """timm's ``LocallyGroupedAttn`` of windows that are cut already; None is one of the whole."""
    windows = x if blocks is None else blocks.cut(x)
    qkv = attention.qkv(windows).unflatten(2, (3, attention.num_heads, -1))
    y = _attend(attention, *qkv.permute(2, 0, 3, 1, 4).unbind(0))
    y = attention.proj_drop(attention.proj(y))
    return y if blocks is None else blocks.paste(y)


def _to_strided_keys(attention: Any, x: Tensor, blocks: Blocks) -> Tensor:
    """timm's ``GlobalSubSampleAttn``: queries stay where they are, keys have no order."""
    heads = attention.num_heads
    q = attention.q(x).unflatten(2, (heads, -1)).transpose(1, 2)
    keys = attention.norm(_strided(attention.sr, x, blocks))
    k, v = attention.kv(keys).unflatten(2, (2, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    made: Tensor = attention.proj_drop(attention.proj(_attend(attention, q, k, v)))
    return made


def _strided(convolution: nn.Conv2d, x: Tensor, blocks: Blocks) -> Tensor:
    """A convolution whose stride is its kernel, a linear map of blocks: ``(B, N / size, C')``."""
    weight = convolution.weight.permute(0, 2, 3, 1).flatten(1)
    made = linear(blocks.cut(x).flatten(1), weight, convolution.bias)
    return made.view(x.shape[0], -1, made.shape[-1])


def _attend(attention: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of ``(B, heads, N, D)``, ``(B, N, heads D)``."""
    dropped = attention.attn_drop.p if attention.training else 0.0
    return scaled_dot_product_attention(q, k, v, dropout_p=dropped).transpose(1, 2).flatten(2)


class AnchoredSwinBlock(Anchored, swin_transformer.SwinTransformerBlock):
    """Windows of the anchored map, whose border wraps around: no mask where they are shifted."""

    def get_attn_mask(self, *args: Any, **kwargs: Any) -> None:
        """None: on a torus every window is whole."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, H, W, C)``."""
        window = _pair(self.window_size)
        y, energy = norm_and_energy(self.norm1, x)
        offsets = anchor_offsets(x, window, "NHWC", self.smoothing, energy)
        shift = torch.tensor(self.shift_size, device=x.device)
        blocks = Blocks(offsets + shift, (x.shape[1], x.shape[2]), window)
        y = blocks.paste(self.attn(blocks.cut(y.flatten(1, 2)))).view(x.shape)
        x = x + self.drop_path1(y)
        return x + self.drop_path2(self.mlp(self.norm2(x)))  # type: ignore[no-any-return]


class AnchoredPatchMerging(Anchored, swin_transformer.PatchMerging):
    """Merges 2 x 2 tokens of the anchored map."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, H, W, C)`` to ``(B, H / 2, W / 2, C')``."""
        return super().forward(anchor(x, 2, "NHWC", self.smoothing)[0])


def _pair(size: Any) -> tuple[int, int]:
    return int(size[0]), int(size[1])
