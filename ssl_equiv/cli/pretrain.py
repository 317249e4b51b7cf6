"""``ssl-equiv pretrain``: train a method on a data set, into a run directory, resumably."""

from __future__ import annotations

from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from jsonargparse.typing import PositiveInt
from pytorch_lightning.cli import LightningCLI
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from ssl_equiv.callbacks import OnlineProbe, SaveCheckpoints, StepProgress, WatchHealth
from ssl_equiv.checkpoint import (
    CHECKPOINTS,
    LAST,
    AtomicCheckpointIO,
    check_method,
    load_weights,
    read_checkpoint,
)
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.errors import UserError
from ssl_equiv.export import start_from
from ssl_equiv.files import atomic_write, make_directory, writing
from ssl_equiv.methods.base import Method
from ssl_equiv.parsing import Parser
from ssl_equiv.regularizers import Regularizer

CONFIG = "config.yaml"
# may differ between the run and its continuation: they do not change what is learnt
_FREE = {
    "config",
    "trainer.max_steps",
    "trainer.max_epochs",
    "trainer.max_time",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
    "trainer.profiler",
    "data.num_workers",
    "data.root",
    "data.init_args.num_workers",
    "data.init_args.root",
    "checkpoint_every_n_steps",
    "out",
}


class PretrainCLI(LightningCLI):
    """Lightning's CLI with a run directory."""

    def add_arguments_to_parser(self, parser: Any) -> None:
        """Arguments of the run itself."""
        parser.add_argument(
            "--out", type=str, required=True, help="Run directory; continued where it holds a run."
        )
        parser.add_argument(
            "--init_from",
            type=str | None,
            default=None,
            help="Weights to start from, of the same method: a run directory, a .ckpt file, or a "
            "published checkpoint as sie:FILE, equicaps:FILE or seqjepa:FILE.",
        )
        parser.add_argument(
            "--regularizers",
            type=list[Regularizer] | None,
            default=None,
            help="What is added to the method's loss, each a class path with its init_args.",
        )
        parser.classes["regularizers"] = Regularizer
        parser.add_argument(
            "--checkpoint_every_n_steps",
            type=PositiveInt,
            default=1000,
            help="Optimiser steps between checkpoints.",
        )
        parser.add_argument(
            "--online_probe",
            type=bool,
            default=False,
            help="Train a linear classifier alongside, on detached features.",
        )

    def parse_arguments(self, parser: Any, args: Any) -> None:
        """Parse ``args``; Lightning's own version warns whenever they are given."""
        self.config = parser.parse_args(args)

    def before_instantiate_classes(self) -> None:
        """Refuse to continue a run under another configuration, before anything is loaded."""
        self.run = Path(self.config.out)
        self.plain_config: dict[str, Any] = yaml.safe_load(
            self.parser.dump(self.config, skip_unset=False)
        )
        self.resumes = (self.run / CHECKPOINTS / LAST).exists()
        if (self.run / CONFIG).exists() and self.resumes:
            old = yaml.safe_load((self.run / CONFIG).read_text())
            free = _FREE
            if "cosine" in str(self.plain_config["model"]):  # the end then shapes every step
                free = _FREE - {"trainer.max_steps", "trainer.max_epochs"}
            changed = list(differences(old, self.plain_config, free))
            if changed:
                raise UserError(
                    f"{self.run} holds a run with another configuration ({'; '.join(changed[:3])}"
                    f"{'; ...' if len(changed) > 3 else ''}): repeat its configuration to continue "
                    "it, or choose another --out"
                )

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """The user's trainer with our loggers, callbacks and checkpoint files beside theirs."""
        given = self.config_init.trainer
        callbacks: list[pl.Callback] = [
            WatchHealth(self.run),
            SaveCheckpoints(self.run, self.config.checkpoint_every_n_steps),
            StepProgress(shown=given.enable_progress_bar is not False),
        ]
        if self.config.online_probe:
            callbacks.append(OnlineProbe(len(self.datamodule.source.classes)))
        loggers = (
            [CSVLogger(self.run, name="metrics"), TensorBoardLogger(self.run, "tensorboard", "")]
            if given.logger in (None, True)
            else given.logger
        )
        return super().instantiate_trainer(
            logger=loggers,
            enable_progress_bar=True,  # ours logs the speed even where it draws nothing
            callbacks=[*(given.callbacks or []), *callbacks],
            plugins=[*(given.plugins or []), AtomicCheckpointIO()],
        )


def main(args: list[str]) -> None:
    """Run ``ssl-equiv pretrain`` with command-line arguments ``args``."""
    import ssl_equiv.methods  # noqa: F401 (their short names become valid for --model)

    cli = PretrainCLI(
        Method,
        ViewDataModule,
        subclass_mode_model=True,
        subclass_mode_data=names_data_class(args),
        parser_class=Parser,
        parser_kwargs={"prog": "ssl-equiv pretrain"},
        trainer_defaults={
            "use_distributed_sampler": False,  # the data module shares out the objects itself
            "limit_val_batches": 0,
            "num_sanity_val_steps": 0,
        },
        save_config_callback=None,
        load_from_checkpoint_support=False,
        auto_configure_optimizers=False,
        seed_everything_default=0,
        run=False,
        args=args,
    )
    if cli.config.init_from and not cli.resumes:
        start_from(cli.model, cli.config.init_from)
    cli.model.regularize(cli.config_init.regularizers or ())
    make_directory(cli.run)
    if cli.trainer.is_global_zero:
        with atomic_write(cli.run / CONFIG) as file:
            file.write(yaml.safe_dump(cli.plain_config, sort_keys=False).encode())
    last = cli.run / CHECKPOINTS / LAST
    if cli.resumes:  # tell what differs, before Lightning tells it in many lines
        checkpoint = read_checkpoint(last)
        found = checkpoint.get("ssl_equiv", {}).get("class_path")
        check_method(cli.model, found, str(last))
        load_weights(cli.model, checkpoint.get("state_dict", {}), str(last))
        del checkpoint
    with writing(cli.run, full_disk_only=True):
        cli.trainer.fit(
            cli.model,
            datamodule=cli.datamodule,
            ckpt_path=last if cli.resumes else None,
            weights_only=True,
        )


def names_data_class(args: list[str]) -> bool:
    """Whether the data are given by class path, and not by the arguments of ViewDataModule alone.

    An unreadable configuration is not told here: the parser tells it.
    """
    for place, arg in enumerate(args):
        key, _, value = arg.partition("=")
        if key in ("--data", "--data.class_path"):
            return True
        if key == "--config":
            path = Path(value or (args[place + 1] if place + 1 < len(args) else ""))
            try:
                config = yaml.safe_load(path.read_text())
            except (OSError, ValueError, yaml.YAMLError):
                continue
            data = config.get("data") if isinstance(config, dict) else None
            if isinstance(data, dict) and "class_path" in data:
                return True
    return False


def differences(old: Any, new: Any, free: Set[str], name: str = "") -> Iterator[str]:
    """What a continuation may not change, one ``key was .., now ..`` each."""
    if name in free:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), free, f"{name}.{key}".lstrip("."))
    elif old != new:
        yield f"{name} was {old}, now {new}"
