"""The batch of all processes: gathered embeddings and synchronised batch statistics."""

from __future__ import annotations

import torch
import torch.distributed as dist
from lightly.utils.dist import gather
from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, nn


def is_distributed() -> bool:
    """Whether there are other processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def global_batch(x: Tensor) -> Tensor:
    """Rows of every process, ``(B, ...)`` to ``(W·B, ...)``, carrying gradients.

    A loss that every process computes on its global batch has, after DDP's averaging, the
    gradient of one process with the whole batch. One process: ``x`` itself.
    """
    return torch.cat(gather(x.contiguous()), dim=0) if is_distributed() else x


def global_mean(values: Tensor, count: Tensor | int) -> Tensor:
    """The sum of ``values`` over ``count``, both added up over the processes; carries gradients.

    A mean over samples that are not equally many on every process. As :func:`global_batch`, it
    gives every process the gradient of the whole.

    Args:
        values: Values of this process's samples, any shape; none at all is allowed.
        count: How many samples they are of, or the sum of their weights.

    Returns:
        Scalar; 0 where there are no samples anywhere.
    """
    number = torch.as_tensor(count, dtype=values.dtype, device=values.device)
    both = torch.stack([values.sum(), number])
    total, number = (_global_sum(both) if is_distributed() else both).unbind()
    return torch.where(number > 0, total / torch.where(number > 0, number, 1.0), total)


def global_variance(x: Tensor) -> Tensor:
    """Unbiased variance of each column of ``x (N, C)`` over the rows of all processes, ``(C,)``.

    As :func:`global_mean`; 0 where there are fewer than two rows anywhere.
    """
    number = x.new_tensor([len(x)])
    sums = torch.cat([x.sum(dim=0), number])
    sums = _global_sum(sums) if is_distributed() else sums
    total = sums[-1].detach()
    squares = (x - sums[:-1] / total.clamp_min(1)).square().sum(dim=0)
    return (_global_sum(squares) if is_distributed() else squares) / (total - 1).clamp_min(1)


def global_count(number: int, device: torch.device) -> int:
    """The sum of ``number`` over the processes."""
    if not is_distributed():
        return number
    total = torch.tensor(number, device=device)
    dist.all_reduce(total)
    return int(total)


def _global_sum(x: Tensor) -> Tensor:
    return torch.stack(gather(x)).sum(dim=0)


class CpuSyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Synchronised BatchNorm on CPUs, which PyTorch's own lacks."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(B, C, ...)`` by the statistics of all processes' batches."""
        if not self.training or not is_distributed():
            return super().forward(input)
        axes = [axis for axis in range(input.ndim) if axis != 1]
        shape = [1, -1] + [1] * (input.ndim - 2)
        x = input if input.dtype == torch.float64 else input.float()
        count = x.new_tensor([x.numel() // x.shape[1]])
        sums = _global_sum(torch.cat([x.sum(axes), count]))
        total = sums[-1]
        mean = sums[:-1] / total
        centred = x - mean.view(shape)
        var = _global_sum(centred.square().sum(axes)) / total
        if self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            rate = self.momentum or 1 / self.num_batches_tracked.item()
            self.running_mean.lerp_(mean.detach(), rate)
            self.running_var.lerp_(var.detach() * total / (total - 1), rate)
        normal = centred * torch.rsqrt(var + self.eps).view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(input.dtype)


class _CpuSyncBatchNormAct(CpuSyncBatchNorm):
    """The same for timm's BatchNorm with an activation."""

    def forward(self, input: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(input)))  # type: ignore[operator, no-any-return]


def synchronize_batchnorm(module: nn.Module, device: torch.device) -> nn.Module:
    """``module`` with every BatchNorm synchronised over the processes; its names stay.

    Args:
        module: Any module.
        device: Where it will run.
    """
    if device.type != "cpu":
        synchronized: nn.Module = convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return synchronized
    for part in module.modules():
        if isinstance(part, BatchNormAct2d):
            part.__class__ = _CpuSyncBatchNormAct  # type: ignore[assignment]
        elif isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.__class__ = CpuSyncBatchNorm
    return module
