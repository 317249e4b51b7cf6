"""Shift-equivariant ViT, Twins-SVT and Swin: timm's models, anchored.

Adaptive polyphase anchoring before whatever reads blocks (arXiv 2305.16316), positions from
circular depth-wise convolutions in place of absolute embeddings, circular padding, and the mean
over tokens: the tokens of a circularly shifted image are the shifted tokens, the pooled features
are the same. Weights have timm's names and shapes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from timm.layers.helpers import to_2tuple
from timm.models.swin_transformer import SwinTransformer
from timm.models.twins import Twins
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ssl_equiv.backbones.shift_layers import (
    Anchored,
    AnchoredImage,
    AnchoredPatchEmbed,
    AnchoredPatchMerging,
    AnchoredSwinBlock,
    AnchoredTwinsBlock,
    AnchoredTwinsPatchEmbed,
    CircularConv,
    anchored,
)
from ssl_equiv.errors import UserError

Reads = tuple[tuple[int, int], tuple[int, int]]
"""Height and width of the blocks that a layer reads, and of its map's pixels in the image's."""


class ShiftViT(VisionTransformer):
    """timm's ViT on anchored patches, with a convolutional position encoding (CPVT, 2102.10882).

    Args:
        smoothing: Of the phases' norms (:func:`ssl_equiv.backbones.anchoring.anchor`); with 2,
            shifts by fractions of a pixel change less.
        turns: Bring images to an orientation of their own first, so that pooled features are
            invariant to quarter turns too; maps are in that orientation.
        flips: Likewise mirror images.
        **options: As timm's ``VisionTransformer``, without class token, registers and absolute
            positions, which are not equivariant; pooling is the mean over tokens.

    Raises:
        UserError: an option is not equivariant, or patches do not divide the image (sizes that they
            do are told).
    """

    patch_embed: Any

    def __init__(
        self, smoothing: int = 0, turns: bool = False, flips: bool = False, **options: Any
    ) -> None:
        super().__init__(
            **{"class_token": False, "global_pool": "avg", "pos_embed": "none", **options}
        )
        if self.num_prefix_tokens or self.pos_embed is not None:
            raise UserError(
                "shift-equivariant ViTs have no class token, registers or absolute positions: "
                "leave class_token, reg_tokens and pos_embed out"
            )
        anchored(self.patch_embed, AnchoredPatchEmbed)
        self._check()
        width = self.embed_dim
        self.pos_conv = CircularConv(width, width, 3, padding=1, groups=width)
        nn.init.trunc_normal_(self.pos_conv.weight, std=0.02)
        nn.init.zeros_(self.pos_conv.bias)  # type: ignore[arg-type]
        _tell(self, smoothing, turns, flips)

    def set_input_size(self, *args: Any, **options: Any) -> None:
        """As timm's; errors as of the class."""
        super().set_input_size(*args, **options)
        self._check()

    def _check(self) -> None:
        if self.patch_embed.img_size is not None:
            check_divides(self.patch_embed.img_size, [(tuple(self.patch_embed.patch_size), (1, 1))])

    def _pos_embed(self, x: Tensor) -> Tensor:
        grid = x.shape[1:3] if x.ndim == 4 else self.patch_embed.grid_size
        maps = x.reshape(x.shape[0], *grid, -1).permute(0, 3, 1, 2)
        maps = maps + self.pos_conv(maps)
        dropped: Tensor = self.pos_drop(maps.flatten(2).transpose(1, 2))
        return dropped


class ShiftTwins(Twins):
    """timm's Twins-SVT, anchored; its own position convolutions wrap around.

    Args:
        smoothing: As of :class:`ShiftViT`, and so ``turns`` and ``flips``.
        turns: Orient by quarter turns.
        flips: Orient by mirror images.
        **options: As timm's ``Twins``.

    Raises:
        UserError: a window or a stride does not divide the map it reads (sizes that do are told).
    """

    patch_embeds: Any
    blocks: Any
    pos_block: Any

    def __init__(
        self, smoothing: int = 0, turns: bool = False, flips: bool = False, **options: Any
    ) -> None:
        size, patch = to_2tuple(options.get("img_size", 224)), options.get("patch_size", 4)
        windows = options.get("wss")
        if windows is None:
            raise UserError("shift-equivariant Twins attend in windows: give wss, as (7, 7, 7, 7)")
        strides = options.get("sr_ratios", (8, 4, 2, 1))
        depths = options.get("depths", (3, 4, 6, 3))
        reads = [_both(patch, 1)]
        for stage, (depth, *sides) in enumerate(zip(depths, windows, strides, strict=True)):
            reads += [_both(2, patch * 2 ** (stage - 1))] if stage else []
            reads += [_both(side, patch * 2**stage) for side in sides[:depth]]
        check_divides(size, reads)
        super().__init__(**options)
        self.reads = reads
        for embed, blocks in zip(self.patch_embeds, self.blocks, strict=True):
            anchored(embed, AnchoredTwinsPatchEmbed)
            for block in blocks:
                anchored(block, AnchoredTwinsBlock)
        for position in self.pos_block:
            anchored(position.proj[0], CircularConv)
        _tell(self, smoothing, turns, flips)

    def forward_features(self, x: Tensor) -> Tensor:
        """As timm's; other image sizes than the model's will do if all blocks divide them."""
        check_divides((x.shape[2], x.shape[3]), self.reads)
        return super().forward_features(x)  # type: ignore[no-any-return,no-untyped-call]


class ShiftSwin(SwinTransformer):
    """timm's Swin, anchored; shifted windows wrap around instead of being masked.

    Args:
        smoothing: As of :class:`ShiftViT`, and so ``turns`` and ``flips``.
        turns: Orient by quarter turns.
        flips: Orient by mirror images.
        **options: As timm's ``SwinTransformer``.

    Raises:
        UserError: a window does not divide the map it reads (sizes that do are told).
    """

    patch_embed: Any
    layers: Any

    def __init__(
        self, smoothing: int = 0, turns: bool = False, flips: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        anchored(self.patch_embed, AnchoredPatchEmbed)
        for stage in self.layers:
            if not isinstance(stage.downsample, nn.Identity):
                anchored(stage.downsample, AnchoredPatchMerging)
            for block in stage.blocks:
                anchored(block, AnchoredSwinBlock).reset_parameters()
        self._check()
        _tell(self, smoothing, turns, flips)

    def set_input_size(self, *args: Any, **options: Any) -> None:
        """As timm's; errors as of the class."""
        super().set_input_size(*args, **options)
        self._check()

    def _check(self) -> None:
        patch = tuple(self.patch_embed.patch_size)
        reads: list[Reads] = [(patch, (1, 1))]
        for number, stage in enumerate(self.layers):
            pixels = (patch[0] * 2**number, patch[1] * 2**number)
            if number + 1 < len(self.layers):
                reads.append(((2, 2), pixels))
            reads += [(tuple(block.window_size), pixels) for block in stage.blocks]
        check_divides(self.patch_embed.img_size, reads)


def _tell(model: nn.Module, smoothing: int, turns: bool, flips: bool) -> None:
    if smoothing < 0:
        raise UserError(f"smoothing is {smoothing}: choose 0 (none) or more")
    for module in model.modules():
        if isinstance(module, Anchored):
            module.smoothing = smoothing
    first = next(module for module in model.modules() if isinstance(module, AnchoredImage))
    first.turns, first.flips = turns, flips


def _both(side: int, pixels: int) -> Reads:
    return (side, side), (pixels, pixels)


def check_divides(image_size: tuple[int, int], reads: Sequence[Reads]) -> None:
    """Refuse image sizes of which some layer would read broken blocks.

    Args:
        image_size: Height and width, pixels.
        reads: For each layer that reads blocks, height and width of one, and how many pixels make
            one of its map's rows, and columns.

    Raises:
        UserError: some block does not divide its map.
    """
    spans = [tuple(b * p for b, p in zip(*read, strict=True)) for read in reads]
    broken = [
        read
        for read, span in zip(reads, spans, strict=True)
        if any(side % of for side, of in zip(image_size, span, strict=True))
    ]
    if broken:
        block, pixels = broken[0]
        units, fits, grid = [], [], []
        for axis, side in enumerate(image_size):
            # a window may be a whole map, of any size; what is smaller must divide
            parts = [span[axis] for span in spans if span[axis] < side] or [spans[0][axis]]
            units.append(math.lcm(*parts))
            fits.append(max(1, round(side / units[-1])) * units[-1])
            grid.append(f"{side / pixels[axis]:g}")
        shown = f"{block[0]}" if block[0] == block[1] else f"{block[0]} x {block[1]}"
        multiples = f"{units[0]}" if units[0] == units[1] else f"{units[0]} and {units[1]}"
        raise UserError(
            f"images of {image_size[0]} x {image_size[1]} px give a map of {' x '.join(grid)}, "
            f"which blocks of {shown} do not divide: use img_size {fits[0]} x {fits[1]} (multiples "
            f"of {multiples}), or other windows"
        )
