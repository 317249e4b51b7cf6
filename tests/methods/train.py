"""Train for a few steps and save weights and the last step's gradients; run by the tests.

``python -m tests.methods.train METHOD DATA OUT PROCESSES BATCH_PER_PROCESS STEPS``
"""

from __future__ import annotations

import sys

import pytorch_lightning as pl
import torch

from ssl_equiv.data.module import ViewDataModule
from tests.methods.tiny import tiny


class SaveGradients(pl.Callback):
    """Keep what the optimiser is about to use."""

    def __init__(self, out: str) -> None:
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


def main(name: str, data: str, out: str, processes: str, batch: str, steps: str) -> None:
    """See the module."""
    torch.set_num_threads(1)
    pl.seed_everything(0, verbose=False)
    method = tiny(name)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=int(processes),
        strategy="ddp_spawn" if int(processes) > 1 else "auto",
        max_steps=int(steps),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[SaveGradients(out)],
    )
    module = ViewDataModule(data, method.num_views, int(batch), num_workers=0)
    trainer.fit(method, module)


if __name__ == "__main__":
    main(*sys.argv[1:])
