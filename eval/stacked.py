"""Many small networks of one shape trained as one: the stack of seeds (and parts) of a probe.

A stack holds M independent *members*. Weights lead with M and every layer is one batched matrix
product, so M members cost few launches and one optimiser. Members do not mix: their losses are
summed, Adam works elementwise, and each member draws its weights and its batches from its own
generator, so it ends as it would have ended alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

_DRAWS = 0x5EED  # keeps a seed's batches apart from its weights


class StackedLinear(nn.Module):
    """M linear layers: ``(M, B, in) -> (M, B, out)``.

    Fewer inputs ``(K, B, in)`` are shared: member m takes ``x[m % K]``. So does one ``(B, in)``.

    Args:
        members: Number of layers M.
        in_features: Input width.
        out_features: Output width.
    """

    def __init__(self, members: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, in_features, out_features))
        self.bias = nn.Parameter(torch.empty(members, 1, out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Apply layer m to its input."""
        x = x.unsqueeze(0) if x.ndim == 2 else x
        if len(x) == len(self.weight):
            return torch.baddbmm(self.bias, x, self.weight)
        # the members of an input side by side: one wide product, and the input is read once
        weight, bias = self.weight, self.bias
        if torch.is_autocast_enabled(weight.device.type):  # before they are moved, not after
            dtype = torch.get_autocast_dtype(weight.device.type)
            weight, bias = weight.to(dtype), bias.to(dtype)  # type: ignore[assignment]
        w_UKio = torch.unflatten(weight, 0, (-1, len(x)))
        uses, _, inner, outer = w_UKio.shape
        product = torch.bmm(x, w_UKio.permute(1, 2, 0, 3).reshape(len(x), inner, uses * outer))
        y_UKBo = torch.unflatten(product, -1, (uses, outer)).permute(2, 0, 1, 3)
        return y_UKBo.flatten(0, 1).add_(bias)

    @torch.no_grad()
    def reset(
        self, generators: Sequence[torch.Generator], widths: Sequence[int] | None = None
    ) -> None:
        """Draw member m with ``generators[m]`` as ``nn.Linear`` does: uniform, ±1/sqrt(in).

        Outputs beyond a member's own of ``widths`` start at zero.
        """
        bound = 1 / math.sqrt(self.weight.shape[1])
        for member, generator in enumerate(generators):
            for full in (self.weight[member], self.bias[member]):
                width = full.shape[-1] if widths is None else widths[member]
                drawn = full.new_empty(full.shape[0], width)
                full.zero_()[:, :width] = drawn.uniform_(-bound, bound, generator=generator)


def stacked_mlp(
    widths: Sequence[int], seeds: Sequence[int], outputs: Sequence[int] | None = None
) -> nn.Sequential:
    """M perceptrons with ReLU between layers, member m drawn from ``seeds[m]``.

    Args:
        widths: Input, hidden and output widths; two entries make a linear map.
        seeds: One a member; equal seeds give equal weights.
        outputs: Each member's own outputs, at most ``widths[-1]``, which is the default. A member
            starts as if it had no others; as long as no loss looks at the others they stay zero.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    layers: list[nn.Module] = []
    for inner, outer in itertools.pairwise(widths):
        layers += [StackedLinear(len(seeds), inner, outer), nn.ReLU(inplace=True)]
        last = len(layers) == 2 * (len(widths) - 1)
        layers[-2].reset(generators, outputs if last else None)  # type: ignore[operator]
    return nn.Sequential(*layers[:-1])


class Draws:
    """The training batches of every seed as index tensors ``(1 + picks, S, B)`` int64.

    Row 0 holds objects, the others distinct views of them. An epoch visits every object once,
    with ``picks`` of its views drawn anew, as the published evaluators do. Epochs follow each
    other without a gap and batches run across their borders, so no batch is short but the last.

    Args:
        seeds: One independent stream each, S.
        num_objects: Objects to visit.
        num_views: Views an object has; at least ``picks``.
        picks: Views a sample needs: 1, or 2 for an ordered pair.
        epochs: Visits of each object.
        batch_size: Samples per batch and seed, B.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        num_objects: int,
        num_views: int,
        picks: int,
        epochs: int,
        batch_size: int,
    ) -> None:
        self.seeds, self.num_objects, self.num_views = tuple(seeds), num_objects, num_views
        self.picks, self.epochs, self.batch_size = picks, epochs, batch_size

    def __len__(self) -> int:
        return -(-self.num_objects * self.epochs // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        generators = [torch.Generator().manual_seed(seed ^ _DRAWS) for seed in self.seeds]
        waiting = torch.empty(1 + self.picks, len(self.seeds), 0, dtype=torch.int64)
        for _ in range(self.epochs):
            epoch = torch.stack([self._epoch(generator) for generator in generators], dim=1)
            waiting = torch.cat([waiting, epoch], dim=-1)
            while waiting.shape[-1] >= self.batch_size:
                yield waiting[..., : self.batch_size]
                waiting = waiting[..., self.batch_size :]
        if waiting.shape[-1]:
            yield waiting

    def _epoch(self, generator: torch.Generator) -> Tensor:
        objects = torch.randperm(self.num_objects, generator=generator)
        first = torch.randint(self.num_views, (self.num_objects,), generator=generator)
        if self.picks == 1:
            return torch.stack([objects, first])
        step = torch.randint(1, self.num_views, (self.num_objects,), generator=generator)
        return torch.stack([objects, first, (first + step) % self.num_views])


def fixed_pairs(num_objects: int, num_views: int, per_object: int, seed: int = 0) -> Tensor:
    """Ordered pairs of distinct views for validation, the same at every call.

    Args:
        num_objects: Objects N.
        num_views: Views of an object, at least 2.
        per_object: Distinct pairs of each object, k; capped at all of them.
        seed: Seed of the choice.

    Returns:
        ``(3, N k)`` int64: object, first view, second view.
    """
    possible = num_views * (num_views - 1)
    objects = torch.arange(num_objects)
    if per_object >= possible:
        chosen = torch.arange(possible).expand(num_objects, possible)
    else:
        generator = torch.Generator().manual_seed(seed)
        rounds = [  # a chunk at a time: the keys of all pairs of all objects would not fit
            torch.rand(len(some), possible, generator=generator).topk(per_object).indices
            for some in torch.split(objects, 1024)
        ]
        chosen = torch.cat(rounds)
    first, step = chosen // (num_views - 1), 1 + chosen % (num_views - 1)
    objects = objects[:, None].expand_as(chosen)
    return torch.stack([objects, first, (first + step) % num_views]).flatten(1)
