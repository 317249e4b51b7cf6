"""Draw, element, apply: three steps, each callable alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ssl_equiv.errors import UserError
from ssl_equiv.groups import Group

# On a CPU a batch is done in parts of this size, which stay in its caches through a pipeline.
_CACHED_FLOATS = 1 << 20

Size = tuple[int, int]
"""Height and width, pixels."""


class Transform(ABC):
    """Something that is done to each image of a batch, with an element of its own for each.

    ``parameters`` makes elements from uniform numbers, so a draw is a pure function of whatever
    keys the numbers; calling the transform applies elements. Images are ``(B, C, H, W)``, float
    in [0, 1], or uint8, which is computed in float32 and rounded once at the end (torchvision
    cuts uint8 off after every step: a single step agrees within a level, a whole jitter within
    several; floats agree throughout). Colour transforms need three channels.

    Attributes:
        factor: The name of its elements in a batch of views.
        group: What its elements are elements of.
        entries: Names of an element's entries.
        num_draws: Uniform numbers an element is made from.
    """

    factor: str
    group: Group
    entries: tuple[str, ...]
    num_draws: int

    @abstractmethod
    def parameters(self, uniform: Tensor, image_size: Size) -> Tensor:
        """Elements ``(B, dim)`` for images of ``image_size`` from ``uniform (B, num_draws)``.

        The numbers are in [0, 1); float64 keeps crops apart by whole pixels in large pictures.
        """

    @abstractmethod
    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """The transformed float images; the input is the transform's own and may be overwritten."""

    def output_size(self, image_size: Size) -> Size:
        """The size that images of ``image_size`` have afterwards."""
        return image_size

    def sample(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Elements ``(B, dim)`` for these images, float32 on their device."""
        device = generator.device if generator is not None else None
        size = (len(images), self.num_draws)
        uniform = torch.rand(size, generator=generator, dtype=torch.float64, device=device)
        drawn = self.parameters(uniform, (images.shape[-2], images.shape[-1]))
        return drawn.to(images.device, torch.float32)

    def relative(self, start: Tensor, end: Tensor) -> Tensor:
        """The action from one element to another, ``(..., dim)``: what methods condition on."""
        return self.group.relative(start, end)

    @torch.no_grad()
    def __call__(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Apply ``parameters (B, dim)`` to ``images (B, C, H, W)``; dtype and device stay.

        Raises:
            UserError: the shapes do not fit.
        """
        _check(images, {self.factor: parameters}, [self])
        floats = to_float(images)
        return from_float(self._apply(floats, parameters.to(floats.dtype)), images.dtype)

    def move(self, images: Tensor, parameters: Tensor) -> Tensor:
        """The same for floats ``(B, C, H, W)`` of any range, with gradient: feature maps, say.

        Raises:
            UserError: the shapes do not fit.
        """
        _check(images, {self.factor: parameters}, [self])
        return self._apply(images.clone(), parameters.to(images.dtype))


class Compose:
    """Transforms one after another, as one that returns every element by its factor's name.

    Args:
        transforms: Their factors' names must differ.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = tuple(transforms)
        names = [transform.factor for transform in self.transforms]
        if len(set(names)) < len(names):
            raise UserError(f"two transforms of one factor ({', '.join(names)}): leave one out")
        self.groups = {transform.factor: transform.group for transform in self.transforms}
        self.num_draws = sum(transform.num_draws for transform in self.transforms)

    def parameters(self, uniform: Tensor, image_size: Size) -> dict[str, Tensor]:
        """Elements ``{factor: (B, dim)}`` from ``uniform (B, num_draws)``, of its dtype."""
        found = {}
        parts = torch.split(uniform, [transform.num_draws for transform in self.transforms], dim=1)
        for transform, part in zip(self.transforms, parts, strict=True):
            found[transform.factor] = transform.parameters(part, image_size)
            image_size = transform.output_size(image_size)
        return found

    def output_size(self, image_size: Size) -> Size:
        """The size that images of ``image_size`` have afterwards."""
        for transform in self.transforms:
            image_size = transform.output_size(image_size)
        return image_size

    @torch.no_grad()
    def apply(self, images: Tensor, elements: Mapping[str, Tensor]) -> Tensor:
        """Apply given elements to ``images (B, C, H, W)``; dtype and device stay.

        Raises:
            UserError: a factor is missing, or the shapes do not fit.
        """
        _check(images, elements, self.transforms)
        return from_float(self._run(images, elements), images.dtype)

    def __call__(
        self, images: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Draw and apply: the images and ``{factor: (B, dim)}``, float32 on their device."""
        device = generator.device if generator is not None else None
        size = (len(images), self.num_draws)
        uniform = torch.rand(size, generator=generator, dtype=torch.float64, device=device)
        drawn = self.parameters(uniform, (images.shape[-2], images.shape[-1]))
        elements = {name: e.to(images.device, torch.float32) for name, e in drawn.items()}
        return self.apply(images, elements), elements

    def _run(self, images: Tensor, elements: Mapping[str, Tensor]) -> Tensor:
        size = self.output_size((images.shape[-2], images.shape[-1]))
        dtype = images.dtype if images.is_floating_point() else torch.float32
        done = images.new_empty((*images.shape[:2], *size), dtype=dtype)
        rows = len(images)
        if images.device.type == "cpu":
            rows = max(1, _CACHED_FLOATS // images[0].numel())
        for first in range(0, len(images), rows):
            part = slice(first, first + rows)
            some = to_float(images[part])
            for transform in self.transforms:
                some = transform._apply(some, elements[transform.factor][part].to(dtype))
            done[part] = some
        return done


def to_float(images: Tensor) -> Tensor:
    """A copy of the images as floats in [0, 1]."""
    return images.clone() if images.is_floating_point() else images.float().div_(255)


def from_float(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Floats in [0, 1], overwritten, as ``dtype``; uint8 is rounded."""
    return images if dtype.is_floating_point else images.mul_(255).round_().to(dtype)


def where_active(
    images: Tensor, active: Tensor, function: Callable[..., Tensor], *parameters: Tensor
) -> Tensor:
    """``function(images, *parameters)`` on the rows where ``active (B,)``, in place if a part."""
    rows = active.nonzero().squeeze(1)
    if len(rows) == 0:
        return images
    if len(rows) == len(images):
        return function(images, *parameters)
    return images.index_copy_(0, rows, function(images[rows], *(p[rows] for p in parameters)))


def _check(images: Tensor, elements: Mapping[str, Tensor], transforms: Sequence[Transform]) -> None:
    if images.ndim != 4 or not (images.is_floating_point() or images.dtype == torch.uint8):
        raise UserError(
            f"images {tuple(images.shape)} of {images.dtype} cannot be transformed: give "
            "(B, C, H, W), uint8 or float in [0, 1]"
        )
    for transform in transforms:
        wanted = (len(images), transform.group.dim)
        found = elements.get(transform.factor)
        if found is None or tuple(found.shape) != wanted:
            have = "none" if found is None else str(tuple(found.shape))
            raise UserError(f"{transform.factor} needs elements {wanted}, got {have}")
