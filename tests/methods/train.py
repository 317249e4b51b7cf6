"""One training step of some methods, saving weights and gradients; run by the tests.

``python -m tests.methods.train DATA OUT PROCESSES BATCH_PER_PROCESS METHOD ...`` writes
``OUT/METHOD.pt``. With several processes it starts them itself, once for all methods. The step is
taken in double precision: what rounding remains is far below any mistake.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor

from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.methods.lidar import LidarMethod
from tests.methods.sweeps import Sweeps
from tests.methods.tiny import tiny


class SaveGradients(pl.Callback):
    """Keep what the optimiser is about to use."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Save on the first process."""
        if trainer.is_global_zero:
            state = {
                f"grad/{n}": p.grad.clone()
                for n, p in pl_module.named_parameters()
                if p.requires_grad
            }
            state |= {f"state/{n}": v.clone() for n, v in pl_module.state_dict().items()}
            torch.save(state, self.out)


class Doubled(ViewDataModule):
    """Batches in double precision."""

    def on_after_batch_transfer(self, batch: ViewBatch, dataloader_idx: int) -> ViewBatch:
        """See the class."""

        def double(x: Tensor) -> Tensor:
            return x.double() if x.is_floating_point() else x

        return super().on_after_batch_transfer(batch, dataloader_idx)._map(double)


def step(name: str, data: str, out: Path, processes: int, batch: int) -> None:
    """One step of one method."""
    pl.seed_everything(0, verbose=False)
    method = tiny(name).double()
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[SaveGradients(out / f"{name}.pt")],
    )
    if isinstance(method, LidarMethod):
        share = (batch // 8, 3) if name == "ESSL3D_firsts" else (batch // 4, 1)
        trainer.fit(method, Sweeps(method.num_views, *share))
        return
    path = name == "VICRegTrajectory"
    data_module = Doubled(data, method.num_views, batch, num_workers=0, consecutive=path)
    trainer.fit(method, data_module)


def main(data: str, out: str, processes: str, batch: str, *methods: str) -> None:
    """See the module."""
    if int(processes) > 1 and "LOCAL_RANK" not in os.environ:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1])}
        module = sys.modules["__main__"].__spec__.name  # this one, or one that stands on it
        command = [sys.executable, "-W", "ignore", "-m", module, *sys.argv[1:]]
        workers = [
            subprocess.Popen(
                command,
                env={**os.environ, **address, "LOCAL_RANK": str(rank), "WORLD_SIZE": processes},
            )
            for rank in range(int(processes))
        ]
        codes = [worker.wait() for worker in workers]
        sys.exit(max(codes, key=abs))
    torch.set_num_threads(1)
    for name in methods:
        step(name, data, Path(out), int(processes), int(batch))


if __name__ == "__main__":
    main(*sys.argv[1:])
