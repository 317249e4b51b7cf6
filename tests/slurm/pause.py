"""A callback that slows steps down while a file says so, and tells which process is where."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl


class Pause(pl.Callback):
    """Sleep in every step, for as many seconds as ``FOLDER/pause-RANK`` says, if it is there.

    ``FOLDER/pid-RANK`` tells the process, ``FOLDER/step-RANK`` the steps it has begun, all lives
    of the run together.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        (self.folder / f"pid-{trainer.global_rank}").write_text(str(os.getpid()))

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        with open(self.folder / f"step-{trainer.global_rank}", "a") as file:
            file.write(f"{trainer.global_step}\n")
        pause = self.folder / f"pause-{trainer.global_rank}"
        if pause.exists():
            time.sleep(float(pause.read_text()))
