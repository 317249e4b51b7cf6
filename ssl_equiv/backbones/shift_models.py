"""Shift-equivariant ViT, Twins-SVT and Swin: timm's models, anchored.

Adaptive polyphase anchoring before whatever reads blocks (arXiv 2305.16316), positions from
circular depth-wise convolutions in place of absolute embeddings, circular padding, and the mean
over tokens: the tokens of a circularly shifted image are the shifted tokens, the pooled features
are the same. Weights have timm's names and shapes.
"""

from __future__ import annotations

import math
from typing import Any

from timm.models.swin_transformer import SwinTransformer
from timm.models.twins import Twins
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ssl_equiv.backbones.shift_layers import (
    AnchoredPatchEmbed,
    AnchoredPatchMerging,
    AnchoredSwinBlock,
    AnchoredTwinsBlock,
    AnchoredTwinsPatchEmbed,
    anchored,
    circular,
)
from ssl_equiv.errors import UserError


class ShiftViT(VisionTransformer):
    """timm's ViT on anchored patches, with a convolutional position encoding (CPVT, 2102.10882).

    Args:
        **options: As timm's ``VisionTransformer``, without class token, registers and absolute
            positions, which are not equivariant; pooling is the mean over tokens.
    """

    patch_embed: Any

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **{"class_token": False, "global_pool": "avg", "pos_embed": "none", **options}
        )
        if self.num_prefix_tokens or self.pos_embed is not None:
            raise UserError(
                "shift-equivariant ViTs have no class token, registers or absolute positions: "
                "leave class_token, reg_tokens and pos_embed out"
            )
        anchored(self.patch_embed, AnchoredPatchEmbed)
        width = self.embed_dim
        self.pos_conv = nn.Conv2d(width, width, 3, padding=1, groups=width, padding_mode="circular")
        nn.init.trunc_normal_(self.pos_conv.weight, std=0.02)
        nn.init.zeros_(self.pos_conv.bias)  # type: ignore[arg-type]

    def _pos_embed(self, x: Tensor) -> Tensor:
        grid = x.shape[1:3] if x.ndim == 4 else self.patch_embed.grid_size
        maps = x.reshape(len(x), *grid, -1).permute(0, 3, 1, 2)
        maps = maps + self.pos_conv(maps)
        dropped: Tensor = self.pos_drop(maps.flatten(2).transpose(1, 2))
        return dropped


class ShiftTwins(Twins):
    """timm's Twins-SVT, anchored; its own position convolutions wrap around.

    Args:
        **options: As timm's ``Twins``.

    Raises:
        UserError: a window or a stride does not divide the map it reads (sizes that do are told).
    """

    patch_embeds: Any
    blocks: Any
    pos_block: Any

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        reads = []
        patch = self.patch_embeds[0].patch_size[0]
        for stage, (embed, blocks) in enumerate(zip(self.patch_embeds, self.blocks, strict=True)):
            anchored(embed, AnchoredTwinsPatchEmbed)
            for block in blocks:
                reads.append((anchored(block, AnchoredTwinsBlock).period, patch * 2**stage))
        for position in self.pos_block:
            circular(position.proj[0])
        check_divides(self.patch_embeds[0].img_size, reads)


class ShiftSwin(SwinTransformer):
    """timm's Swin, anchored; shifted windows wrap around instead of being masked.

    Args:
        **options: As timm's ``SwinTransformer``.

    Raises:
        UserError: a window does not divide the map it reads (sizes that do are told).
    """

    patch_embed: Any
    layers: Any

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        anchored(self.patch_embed, AnchoredPatchEmbed)
        for stage in self.layers:
            if not isinstance(stage.downsample, nn.Identity):
                anchored(stage.downsample, AnchoredPatchMerging)
            for block in stage.blocks:
                anchored(block, AnchoredSwinBlock).reset_parameters()
        self._check()

    def set_input_size(self, *args: Any, **options: Any) -> None:
        """As timm's; errors as of the class."""
        super().set_input_size(*args, **options)
        self._check()

    def _check(self) -> None:
        patch = self.patch_embed.patch_size[0]
        reads = [
            (block.window_size[0], patch * 2**number)
            for number, stage in enumerate(self.layers)
            for block in stage.blocks
        ]
        reads += [(2, patch * 2**number) for number in range(len(self.layers) - 1)]
        check_divides(self.patch_embed.img_size, reads)


def check_divides(image_size: tuple[int, int], reads: list[tuple[int, int]]) -> None:
    """Refuse image sizes of which some layer would read broken blocks.

    Args:
        image_size: Height and width, pixels.
        reads: For each layer that reads blocks, their side and how many pixels make its map's one.

    Raises:
        UserError: some block does not divide its map.
    """
    broken = [r for r in reads if any(side % (r[0] * r[1]) for side in image_size)]
    if broken:
        block, reduction = broken[0]
        spans = [block * reduction for block, reduction in reads]  # a window may be a whole map
        unit = math.lcm(*(span for span in spans if span < min(image_size)))
        fits = [max(1, round(side / unit)) * unit for side in image_size]
        grid = " x ".join(f"{side / reduction:g}" for side in image_size)
        raise UserError(
            f"images of {image_size[0]} x {image_size[1]} px give a map of {grid}, which blocks of "
            f"{block} do not divide: use img_size {fits[0]} x {fits[1]} (multiples of {unit}), or "
            "other windows"
        )
