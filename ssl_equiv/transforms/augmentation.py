"""Several views of each image, each with the elements that made it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ssl_equiv.errors import UserError
from ssl_equiv.groups import Group
from ssl_equiv.transforms.base import Compose, Size, Transform


class Augmentation:
    """What each view of an image goes through: view v takes pipeline v modulo their number.

    The pipelines have the same factors in the same order, so that every view has an element of
    each; a pipeline that does without one gives it probability 0.

    Args:
        pipelines: Transforms of the first view, of the second, and so on; one serves all views.
    """

    def __init__(self, pipelines: list[list[Transform]]) -> None:
        self.pipelines = tuple(Compose(transforms) for transforms in pipelines)
        if not self.pipelines or not self.pipelines[0].transforms:
            raise UserError("augmentation: give at least one pipeline with one transform")
        first = self.pipelines[0]
        for other in self.pipelines[1:]:
            if list(other.groups.items()) != list(first.groups.items()):
                raise UserError(
                    f"augmentation: the views' factors differ ({', '.join(first.groups)}; "
                    f"{', '.join(other.groups)}): use the same transforms, with p 0 where needed"
                )
        self.groups: dict[str, Group] = first.groups
        self.num_draws = first.num_draws

    def output_size(self, image_size: Size) -> Size:
        """The size that views of images of ``image_size`` have; UserError where views differ."""
        sizes = {pipeline.output_size(image_size) for pipeline in self.pipelines}
        if len(sizes) > 1:
            raise UserError(f"augmentation: views differ in size ({sizes}): crop all to one size")
        return sizes.pop()

    def parameters(self, uniform: Tensor, image_size: Size) -> dict[str, Tensor]:
        """Elements ``{factor: (B, V, dim)}``, float32, from ``uniform (B, V, num_draws)``."""
        views = [
            self._pipeline(view).parameters(uniform[:, view], image_size)
            for view in range(uniform.shape[1])
        ]
        return {
            name: torch.stack([elements[name] for elements in views], dim=1).float()
            for name in self.groups
        }

    def apply(self, images: Tensor, elements: Mapping[str, Tensor]) -> Tensor:
        """Views ``(B, V, C, S, T)`` of ``images (B, C, H, W)`` by elements ``(B, V, dim)``.

        uint8 or float in [0, 1]; dtype and device stay.
        """
        num_views = next(iter(elements.values())).shape[1]
        views = [
            self._pipeline(view).apply(images, {name: e[:, view] for name, e in elements.items()})
            for view in range(num_views)
        ]
        return torch.stack(views, dim=1)

    def _pipeline(self, view: int) -> Compose:
        return self.pipelines[view % len(self.pipelines)]
