"""Equivariance of a spatial feature map, through actions on the map itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_equiv.data.views import ViewBatch
from ssl_equiv.distributed import global_batch
from ssl_equiv.errors import UserError
from ssl_equiv.groups import Scale
from ssl_equiv.regularizers.base import Regularizer
from ssl_equiv.transforms import QuarterTurn, RandomFlip, Shift, Transform
from ssl_equiv.transforms.base import Size, where_active
from ssl_equiv.transforms.saccades import keyed_uniform

Action = Literal["rotation", "flip", "shift", "scale"]
_LEAST_VARIANCE = 1e-4


class Zoom(Transform):
    """Enlarge or shrink about the centre, bilinear, black outside.

    The element is the factor by which things grow.

    Args:
        largest: Factors are log-uniform between its inverse and itself; at least 1.
    """

    factor = "scale"
    group = Scale(1)
    entries = ("scale",)
    num_draws = 1

    def __init__(self, largest: float) -> None:
        self.largest = largest

    def parameters(self, uniform: Tensor, image_size: Size) -> Tensor:
        """``(B, 1)``."""
        return ((2 * uniform - 1) * math.log(self.largest)).exp()

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        return where_active(images, parameters[:, 0] != 1, _zoom, parameters)


def _zoom(images: Tensor, scale: Tensor) -> Tensor:
    theta = torch.diag_embed(1 / scale.expand(-1, 2))
    theta = F.pad(theta, (0, 1)).to(images)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", align_corners=False)


class SpatialEquivariance(Regularizer):
    """The feature map of a moved picture is the moved feature map of the picture.

    Soft Equivariance Regularization (SER; Lee et al., ICLR 2026, arXiv 2603.06693): the base
    loss stays on the final embedding, while a spatial map in the middle of the backbone is asked
    to follow actions that are known in closed form, with no labels, no predictor and no
    parameters. The same element g acts on picture and map::

        loss = mean_{b, c, valid p} (f(g x) − g f(x))² / v_c

    where v_c is channel c's variance over the positions of one map, averaged over maps: the loss
    does not depend on scale, is 0 for an exact action, about 2 for unrelated positions, and a
    map that is the same everywhere wins nothing. Each image gets one element of one action:
    quarter turns; flips left to right, top to bottom and both; shifts by whole cells of the map;
    scalings by bilinear resampling. Cells that came from outside are not compared.

    Choices where the text that is at hand leaves room: a distance rather than a contrast between
    positions, the layer halfway by default, one action an image (their errors are logged apart),
    both maps trained, both made in one call of the backbone up to that layer, so that BatchNorm
    treats them alike, and its running statistics are not touched: evaluation does not see moved
    pictures. Positions near a border that came in see black, so only networks whose cells see
    nothing but themselves reach 0 under shifts.

    Args:
        layer: The map's name in timm's ``feature_info``, such as ``layer3`` or ``blocks.5``; None
            takes the one halfway.
        actions: Which actions.
        weight: Coefficient of the loss.
        share: Share of a batch's images that is used.
        shift: Largest shift as a fraction of the picture.
        scale: Largest factor of a scaling; the least is its inverse.
    """

    name = "spatial"
    errors: Tensor

    def __init__(
        self,
        layer: str | None = None,
        actions: tuple[Action, ...] = ("rotation", "flip", "scale"),
        weight: float = 1.0,
        share: float = 0.25,
        shift: float = 0.25,
        scale: float = 1.5,
    ) -> None:
        super().__init__()
        if not actions or not 0 < share <= 1 or not 0 < shift <= 1 or scale < 1:
            raise UserError(
                "regularizers: SpatialEquivariance needs actions, share and shift in (0, 1], and "
                f"scale >= 1; got {list(actions)}, {share}, {shift} and {scale}"
            )
        known: dict[str, Transform] = {
            "rotation": QuarterTurn(p=1.0),
            "flip": RandomFlip(0.5, 0.5),
            "shift": Shift((shift, shift)),
            "scale": Zoom(scale),
        }
        self.layer, self.share = layer, share
        self.actions: dict[str, Transform] = {n: known[n] for n in dict.fromkeys(actions)}
        self.weights = {"error": weight}
        self.register_buffer("errors", torch.full((len(self.actions),), torch.nan))
        self._sizes: dict[Size, Size] = {}

    def build(self, backbone: nn.Module, parts: Mapping[str, tuple[int, int]]) -> None:
        """Look up the layer.

        Raises:
            UserError: there is no such layer, or the model hands out no maps.
        """
        model: Any = backbone
        names = [info["module"] for info in getattr(model, "feature_info", [])]
        if not names or not hasattr(model, "forward_intermediates"):
            raise UserError(
                f"regularizers: SpatialEquivariance needs a backbone with feature maps, which "
                f"{type(model).__name__} does not hand out"
            )
        if self.layer is not None and self.layer not in names:
            raise UserError(
                f"regularizers: SpatialEquivariance.layer is {self.layer!r}, but "
                f"{type(model).__name__} has {', '.join(names)}"
            )
        self.index = len(names) // 2 if self.layer is None else names.index(self.layer)

    def terms(
        self, backbone: nn.Module, features: Tensor, batch: ViewBatch, seed: int
    ) -> dict[str, Tensor]:
        """``error``, of the first view; see :class:`Regularizer`."""
        rows = max(1, round(self.share * len(batch.images)))
        images = batch.images[:rows, 0]
        made, moved, valid, kind = self.maps(backbone, images, batch.index[:rows], seed)
        error = position_error(made, moved, valid)
        error = global_batch(error)
        self._remember(error.detach(), global_batch(kind))
        return {"error": error.mean()}

    def found(self) -> dict[str, Tensor]:
        """``spatial_error/<action>``, averaged over about the last ten steps; NaN before any."""
        return {f"spatial_error/{n}": e for n, e in zip(self.actions, self.errors, strict=True)}

    def _remember(self, error: Tensor, kind: Tensor) -> None:
        kinds = F.one_hot(kind, len(self.actions)).to(error)
        new = error @ kinds / kinds.sum(0)  # NaN where no image had this action
        old = torch.where(self.errors.isnan(), new, self.errors)
        self.errors = torch.where(new.isnan(), old, torch.lerp(old, new, 0.1))

    def maps(
        self, backbone: nn.Module, images: Tensor, index: Tensor, seed: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Moved maps and maps of moved images.

        Args:
            backbone: A timm model.
            images: ``(B, C, H, W)``.
            index: Identity of each image, ``(B,)``.
            seed: Seed of the draw.

        Returns:
            g f(x) and f(g x), ``(B, D, h, w)`` float32; which cells they share, ``(B, 1, h, w)``
            of 0 and 1; and the place of each image's action in ``actions``, ``(B,)``.
        """
        elements, kind = self.draw(index, self._cells(backbone, images), seed)
        both = torch.cat([images, act(self.actions, images, elements)])
        with frozen_statistics(backbone):
            made = self._map(backbone, both)
        start, end = (made.float() if made.dtype.itemsize < 4 else made).chunk(2)
        ones = torch.ones_like(start[:, :1])
        valid = (act(self.actions, ones, elements) > 0.999).to(ones)
        return act(self.actions, start, elements), end, valid, kind

    def draw(self, index: Tensor, cells: Size, seed: int) -> tuple[dict[str, Tensor], Tensor]:
        """An element of one action for each image, the identity of the others.

        Drawn for a picture of as many pixels as the map has cells: shifts are whole cells.
        """
        counts = [transform.num_draws for transform in self.actions.values()]
        uniform = keyed_uniform(index, 1 + sum(counts), seed)
        kind = (uniform[:, 0] * len(counts)).long()
        elements = {}
        parts = torch.split(uniform[:, 1:], counts, dim=1)
        for place, (name, transform) in enumerate(self.actions.items()):
            drawn = transform.parameters(parts[place], cells).float()
            rest = transform.group.identity(device=drawn.device, dtype=drawn.dtype)
            elements[name] = torch.where((kind == place).unsqueeze(1), drawn, rest)
        return elements, kind

    def _map(self, backbone: Any, images: Tensor) -> Tensor:
        made: Tensor = backbone.forward_intermediates(
            images, indices=[self.index], stop_early=True, intermediates_only=True
        )[0]
        return made

    @torch.no_grad()
    def _cells(self, backbone: nn.Module, images: Tensor) -> Size:
        """Height and width of the map, tried out once: what timm tells ignores a changed stem."""
        size = (images.shape[-2], images.shape[-1])
        if size not in self._sizes:
            with frozen_statistics(backbone):
                made = self._map(backbone, images[:2])
            self._sizes[size] = (made.shape[-2], made.shape[-1])
        return self._sizes[size]


def act(
    transforms: Mapping[str, Transform], maps: Tensor, elements: Mapping[str, Tensor]
) -> Tensor:
    """Move pictures or maps ``(B, C, H, W)`` by elements ``{action: (B, dim)}``, with gradient."""
    for name, transform in transforms.items():
        maps = transform.move(maps, elements[name])
    return maps


def position_error(start: Tensor, end: Tensor, valid: Tensor) -> Tensor:
    """Squared differences over valid cells, in units of each channel's variance over positions.

    Args:
        start: ``(B, D, h, w)``.
        end: ``(B, D, h, w)``.
        valid: Cells to compare, 0 or 1, ``(B, 1, h, w)``.

    Returns:
        ``(B,)``.
    """
    cells = valid.sum(dim=(2, 3)).clamp_min(1)  # (B, 1)

    def mean(x: Tensor) -> Tensor:
        return (x * valid).sum(dim=(2, 3)) / cells

    spread = torch.zeros_like(start[:, :, 0, 0])
    for maps in (start, end):
        centred = maps - mean(maps)[:, :, None, None]
        spread = spread + mean(centred.square()) / 2
    variance = global_batch(spread.mean(dim=0, keepdim=True)).mean(dim=0)
    return (mean((start - end).square()) / (variance + _LEAST_VARIANCE)).mean(dim=1)


@contextmanager
def frozen_statistics(network: nn.Module) -> Iterator[None]:
    """Buffers, such as BatchNorm's running statistics, come out as they went in."""
    kept = [
        (module, name, buffer)
        for module in network.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    for module, name, buffer in kept:
        setattr(module, name, buffer.clone())
    try:
        yield
    finally:
        for module, name, buffer in kept:
            setattr(module, name, buffer)
