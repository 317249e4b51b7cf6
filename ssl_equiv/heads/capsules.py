"""Self-routing capsules on a feature map (EquiCaps, arXiv 2506.09895; Hahn et al. 2019).

Shapes: B images, I input capsules (position-major: row, column, capsule), N output capsules, P
entries of a pose, Q = P entries of a vote for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ssl_equiv.errors import UserError
from ssl_equiv.precision import at_least_float32

# Numbers of the outer product that are made at a time: on a CPU they stay in its cache, on other
# devices a call should be long beside its launch.
_BLOCK_CPU, _BLOCK_DEVICE = 2**18, 2**26


class Capsules(nn.Module):
    """Capsules at every position of a map, routed into N capsules of the whole map.

    A 3x3 convolution with BatchNorm makes input capsules: activations a (after a sigmoid) and
    poses u. With r_i = softmax_j(W2_i u_i + b2_i) they are routed by themselves::

        activation_j = Σ_i a_i r_ij / Σ_i a_i
        pose_j       = Σ_i a_i r_ij (W1_ij u_i) / Σ_i a_i r_ij

    Routing is in float32 whatever the autocast state. The votes ``W1_ij u_i``, B·I·N·P numbers,
    are never kept: see :class:`_RoutedVotes`.

    Args:
        in_channels: Channels of the feature map.
        map_size: Its height and width: the routing kernel is the whole map.
        num_capsules: N, at each position and in the output; at least 2.
        pose_dim: P, entries of a pose, 9 for a 3x3 matrix.

    Raises:
        UserError: fewer than 2 capsules.
    """

    def __init__(
        self, in_channels: int, map_size: tuple[int, int], num_capsules: int = 32, pose_dim: int = 9
    ) -> None:
        super().__init__()
        if num_capsules < 2:
            raise UserError(f"{num_capsules} capsules cannot share an activation: choose 2 or more")
        self.map_size, self.num_capsules, self.pose_dim = map_size, num_capsules, pose_dim
        channels = num_capsules * (1 + pose_dim)  # activations first, then capsule·P + entry
        inputs = map_size[0] * map_size[1] * num_capsules
        self.conv = nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        # W1 and W2 with the input capsules last: the products over (P, I) are then contiguous
        self.vote = nn.Parameter(torch.empty(num_capsules, pose_dim, pose_dim, inputs))  # N Q P I
        self.route = nn.Parameter(torch.zeros(inputs, pose_dim, num_capsules))
        self.route_bias = nn.Parameter(torch.zeros(inputs, 1, num_capsules))
        bound = (6 / (num_capsules * pose_dim**2)) ** 0.5  # Kaiming's, over an input's votes
        nn.init.uniform_(self.vote, -bound, bound)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Route a feature map.

        Args:
            x: ``(B, C, H, W)`` of the ``map_size``.

        Returns:
            Activations ``(B, N)``, which sum to 1, and poses ``(B, N, P)``, both float32.
        """
        x = self.norm(self._convolved(x)).flatten(2)
        with torch.autocast(x.device.type, enabled=False):
            activation, pose = at_least_float32(x).tensor_split([self.num_capsules], dim=1)
            activation = activation.sigmoid().transpose(1, 2).flatten(1)  # B I
            pose = pose.reshape(pose.shape[0], self.num_capsules, self.pose_dim, -1)
            pose = pose.permute(0, 2, 3, 1).flatten(2)  # B P I
            return self.routed(activation, pose)

    def _convolved(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or _is_exporting():
            convolved: Tensor = self.conv(x)
            return convolved
        # oneDNN's convolution of a map of a few cells takes 1.2 to 1.4 times the product of patches
        patches = _Patches.apply(x.permute(0, 2, 3, 1))  # of channels-last maps this is a view
        weight = self.conv.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(patches, weight).permute(0, 3, 1, 2)

    def routed(self, activation: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Route input capsules: activations ``(B, I)`` and poses ``(B, P, I)``."""
        logits = torch.baddbmm(self.route_bias, pose.permute(2, 0, 1), self.route)  # I B N
        # a copy here spares the operations that follow strides of I·B
        share = logits.softmax(dim=-1).permute(2, 1, 0).contiguous() * activation  # N B I
        total = share.sum(dim=-1)  # N B
        if _is_exporting():  # blocks depend on the batch, which a graph leaves open
            summed = torch.einsum("nbi,bpi,nqpi->nbq", share, pose, self.vote)
        else:
            summed = _RoutedVotes.apply(share, pose, self.vote)  # N B Q
        # a capsule that nothing is routed to would divide zero by zero
        mean = summed / total.clamp_min(torch.finfo(total.dtype).tiny)[..., None]
        return (total / activation.sum(dim=-1)).T, mean.transpose(0, 1)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"map {self.map_size}, {self.num_capsules} capsules, poses of {self.pose_dim}"


# PyTorch 2.6 has the wider question alone
_is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


class _Patches(torch.autograd.Function):
    """``(B, H, W, C)`` to the 3x3 neighbourhoods of its cells, ``(B, H, W, 9 C)``.

    As slices and their concatenation alone, the backward pass would fill and add a map for each.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Neighbours row by row, zeros beyond the border."""
        padded = F.pad(x, (0, 0, 1, 1, 1, 1))
        return torch.cat(_shifted(padded), dim=-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """The sum over the neighbourhoods that a cell is in."""
        batch, height, width, channels = grad.shape
        padded = grad.new_zeros(batch, height + 2, width + 2, channels // 9)
        for cells, part in zip(_shifted(padded), grad.chunk(9, dim=-1), strict=True):
            cells += part
        return padded[:, 1:-1, 1:-1]


def _shifted(padded: Tensor) -> list[Tensor]:
    """The nine views of a map with a border of one cell."""
    height, width = padded.shape[1] - 2, padded.shape[2] - 2
    return [padded[:, r : r + height, c : c + width] for r in range(3) for c in range(3)]


class _RoutedVotes(torch.autograd.Function):
    """``out_jb = Σ_pi vote_j[:, p, i] (share_jbi pose_bpi)``: weighted sums of the votes.

    Votes are linear in the poses, so weights and poses are multiplied first and one matrix product
    sums and votes at once. Only a block of the products exists at a time, forward and backward.
    """

    @staticmethod
    def forward(ctx: Any, share: Tensor, pose: Tensor, vote: Tensor) -> Tensor:
        """share ``(N, B, I)``, pose ``(B, P, I)``, vote ``(N, Q, P, I)`` to ``(N, B, Q)``."""
        share, pose = share.contiguous(), pose.contiguous()
        ctx.save_for_backward(share, pose, vote)
        out = pose.new_empty(vote.shape[0], pose.shape[0], vote.shape[1])
        for part, product in _blocks(len(vote), pose):
            _weigh(share[part], pose, product)
            torch.bmm(product.flatten(2), vote[part].flatten(2).mT, out=out[part])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of the three inputs; the products are made again."""
        share, pose, vote = ctx.saved_tensors
        grad = grad.contiguous()
        grad_share, grad_pose = torch.empty_like(share), torch.zeros_like(pose)
        grad_vote = torch.empty_like(vote)
        for part, product in _blocks(len(vote), pose):
            _weigh(share[part], pose, product)
            torch.bmm(grad[part].mT, product.flatten(2), out=grad_vote[part].flatten(2))
            torch.bmm(grad[part], vote[part].flatten(2), out=product.flatten(2))
            for one, weight in zip(product, share[part], strict=True):
                grad_pose.addcmul_(one, weight[:, None])
            torch.sum(product.mul_(pose), dim=2, out=grad_share[part])
        return grad_share, grad_pose, grad_vote


def _weigh(share: Tensor, pose: Tensor, product: Tensor) -> None:
    torch.mul(share[:, :, None], pose, out=product)  # j B P I


def _blocks(num: int, pose: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Slices of the output capsules, each with room for their products ``(j, B, P, I)``.

    All blocks have the same room: memory that is not in the cache costs more than the sums.
    """
    budget = _BLOCK_CPU if pose.device.type == "cpu" else _BLOCK_DEVICE
    size = min(num, max(1, budget // max(1, pose.numel())))
    room = pose.new_empty(size, *pose.shape)
    for first in range(0, num, size):
        part = slice(first, min(first + size, num))
        yield part, room[: part.stop - first]


def from_published(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of :class:`Capsules` from the published head's weights (or their gradients).

    Args:
        weights: ``conv_a``, ``conv_pose``, ``bn_a``, ``bn_pose`` and ``fc`` entries; what is absent
            (gradients have no running statistics) is absent from the result.
    """
    state = {}
    for ours, theirs in (("conv", "conv"), ("norm", "bn")):
        for entry in ("weight", "bias", "running_mean", "running_var"):
            pair = [weights.get(f"{theirs}_{kind}.{entry}") for kind in ("a", "pose")]
            if pair[0] is not None and pair[1] is not None:
                state[f"{ours}.{entry}"] = torch.cat([pair[0], pair[1]])
    if "bn_a.num_batches_tracked" in weights:
        state["norm.num_batches_tracked"] = weights["bn_a.num_batches_tracked"]
    votes = weights["fc.W1"]  # (I, N·Q, P)
    state["vote"] = (
        votes.reshape(len(votes), -1, votes.shape[-1], votes.shape[-1])
        .permute(1, 2, 3, 0)
        .contiguous()
    )
    state["route"] = weights["fc.W2"].transpose(1, 2).contiguous()
    state["route_bias"] = weights["fc.b2"].squeeze(0).transpose(0, 1).contiguous()
    return state
