"""What methods on capsules share: the head on the backbone's map, and the representation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ssl_equiv.backbones import as_map, map_shape
from ssl_equiv.errors import UserError
from ssl_equiv.heads import Capsules
from ssl_equiv.methods.base import Method
from ssl_equiv.representation import Representation


class CapsuleMethod(Method):
    """Base of methods whose projector is a layer of self-routing capsules.

    The representation is [``backbone`` | ``capsule_activation`` | ``capsule_pose``]: the pooled
    features of the plain backbone, which is what is exported; N activations that sum to 1; N
    flattened poses.
    """

    def build_capsules(self, image_size: int, num_capsules: int, pose_dim: int) -> None:
        """Add the capsules for the map of square images; the subclass's constructor calls it.

        Args:
            image_size: Side of the images, pixels: the routing kernel covers their whole map.
            num_capsules: N.
            pose_dim: Entries of a pose.

        Raises:
            UserError: the backbone makes no map of such images, or one of a single position.
        """
        self.image_size = image_size
        self.pooled_dim = self.dim
        channels, height, width = map_shape(self.backbone, image_size)
        if min(height, width) < 2:
            raise UserError(
                f"the backbone makes a {height}x{width} map of {image_size} px images, smaller "
                "than any capsule kernel: raise model.image_size, or set model.backbone.cifar_stem "
                "or model.backbone.options.output_stride for a finer map"
            )
        self.capsules = Capsules(channels, (height, width), num_capsules, pose_dim)
        self.capsules.to(memory_format=self.memory_format)
        self.dim = self.pooled_dim + num_capsules * (1 + pose_dim)

    def compile_backbone(self) -> None:
        """Compile what a step calls of the backbone."""
        backbone: Any = self.backbone
        backbone.forward_features = torch.compile(backbone.forward_features)

    @property
    def parts(self) -> dict[str, tuple[int, int]]:
        """``backbone``, ``capsule_activation`` and ``capsule_pose``."""
        poses = self.pooled_dim + self.capsules.num_capsules
        return {
            "backbone": (0, self.pooled_dim),
            "capsule_activation": (self.pooled_dim, poses),
            "capsule_pose": (poses, self.dim),
        }

    @property
    def backbone_parts(self) -> dict[str, tuple[int, int]]:
        """None: the capsules are no columns of the backbone's."""
        return {}

    def encode(self, images: Tensor) -> Representation:
        """The representation ``(B, D)`` of normalised images ``(B, C, H, W)``.

        Raises:
            UserError: the images have another size than the capsules were built for.
        """
        if images.shape[-2:] != (self.image_size, self.image_size):
            rows, columns = self.capsules.map_size
            raise UserError(
                f"the images have {images.shape[-2]}x{images.shape[-1]} px, but the capsules' "
                f"kernel is the {rows}x{columns} map of {self.image_size} px images: set "
                f"data.preprocess.size to {self.image_size}, or train with model.image_size "
                f"{images.shape[-1]}"
            )
        backbone: Any = self.backbone
        features = backbone.forward_features(images.contiguous(memory_format=self.memory_format))
        activation, pose = self.capsules(as_map(backbone, features))
        pooled = backbone.forward_head(features)
        return self.represent(torch.cat([pooled, activation, pose.flatten(1)], dim=1))
