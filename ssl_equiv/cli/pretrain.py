"""``ssl-equiv pretrain``: train a method on a data set, into a run directory, resumably."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import yaml
from jsonargparse.typing import PositiveFloat, PositiveInt
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning.cli import LightningCLI
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from ssl_equiv import cluster, run_lock
from ssl_equiv.callbacks import Best, OnlineProbe, SaveCheckpoints, StepProgress, WatchHealth
from ssl_equiv.checkpoint import check_method, load_weights
from ssl_equiv.checkpoint_files import CheckpointFiles
from ssl_equiv.checkpoint_io import BackgroundCheckpointIO
from ssl_equiv.cli.configuration import CONFIG, check_same, names_data_class, one_wandb_run
from ssl_equiv.cli.ended import ended_by_signal
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.errors import Preempted, UserError
from ssl_equiv.export import start_from
from ssl_equiv.files import atomic_write, make_directory, writing
from ssl_equiv.memory import keep_freed_memory
from ssl_equiv.methods.base import Method
from ssl_equiv.methods.lidar import LidarMethod
from ssl_equiv.parsing import Parser
from ssl_equiv.regularizers import Regularizer
from ssl_equiv.signals import watching

# how gloo and NCCL tell that a process at the other end is gone
_LOST = re.compile(
    "closed by peer|reset by peer|broken pipe|remote process|connection was likely closed"
    "|timed out waiting|connection closed",
    re.IGNORECASE,
)
# those that most runs need
_COMMON = (
    *("config", "seed_everything", "out", "init_from", "regularizers", "model", "data"),
    *("checkpoint_every_n_steps", "checkpoint_every_minutes", "keep_checkpoints"),
    *("best_metric", "best_mode", "requeue", "redistribute", "online_probe"),
    *("data.root", "data.batch_size", "data.num_workers"),
    *("trainer.max_steps", "trainer.max_epochs", "trainer.precision", "trainer.devices"),
    *("trainer.num_nodes", "trainer.accumulate_grad_batches"),
)


class PretrainCLI(LightningCLI):
    """Lightning's CLI with a run directory."""

    def add_arguments_to_parser(self, parser: Any) -> None:
        """Arguments of the run itself."""
        parser.shorten_help(_COMMON)
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
            "--checkpoint_every_minutes",
            type=PositiveFloat | None,
            default=15.0,
            help="Minutes between checkpoints, whatever the steps; null for steps alone.",
        )
        parser.add_argument(
            "--keep_checkpoints",
            type=PositiveInt,
            default=2,
            help="How many of the newest checkpoints are kept, besides the best.",
        )
        parser.add_argument(
            "--best_metric",
            type=str | None,
            default=None,
            help="What is logged, such as probe/top1: the checkpoint with the best mean of it "
            "since the one before is kept as best.ckpt.",
        )
        parser.add_argument(
            "--best_mode",
            type=Literal["max", "min"],
            default="max",
            help="Whether more or less of best_metric is better.",
        )
        parser.add_argument(
            "--requeue",
            type=bool,
            default=True,
            help="Put a Slurm job that a signal ends back into the queue; false leaves that to "
            "the cluster.",
        )
        parser.add_argument(
            "--redistribute",
            type=bool,
            default=False,
            help="Continue a run with another number of processes or batch size: the rest of its "
            "epoch is shared out anew, so it is not bitwise the uninterrupted run.",
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
        self.files = CheckpointFiles(self.run, self.config.keep_checkpoints)
        self.io = BackgroundCheckpointIO()
        one_wandb_run(self.config.trainer.logger, self.run)
        self.resumes = self.files.last.exists() or bool(self.files.steps())
        if self.resumes:
            check_same(self.run, self.plain_config, self.config.redistribute)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """The user's trainer with our loggers, callbacks and checkpoint files beside theirs."""
        given = self.config_init.trainer
        best = self.config.best_metric and Best(self.config.best_metric, self.config.best_mode)
        callbacks: list[pl.Callback] = [
            WatchHealth(self.files, self.io),
            SaveCheckpoints(
                self.files,
                self.io,
                self.config.checkpoint_every_n_steps,
                self.config.checkpoint_every_minutes,
                best or None,
            ),
            StepProgress(shown=given.enable_progress_bar is not False),
        ]
        if self.config.online_probe:
            if isinstance(self.model, LidarMethod):
                raise UserError("online_probe is for images: sweeps have no class; leave it out")
            callbacks.append(OnlineProbe(len(self.datamodule.source.classes)))
        loggers = given.logger
        if loggers in (None, True):
            # what was logged after the state that is continued is logged again
            step = self.files.steps()[0] if self.files.steps() else None
            loggers = [
                CSVLogger(self.run, name="metrics"),
                TensorBoardLogger(self.run, "tensorboard", "", purge_step=step),
            ]
        plugins = [*(given.plugins or []), self.io]
        size, shape = cluster.size(), {}
        if size is not None:  # the job says how many processes there are
            for name, asked, has in (
                ("num_nodes", given.num_nodes, size[0]),
                ("devices", given.devices, size[1]),
            ):
                if str(asked) not in ("auto", "-1", "1", str(has)):
                    raise UserError(
                        f"trainer.{name} is {asked}, but the Slurm job has {has}: leave it out, "
                        "or submit another job"
                    )
            shape = {"num_nodes": size[0], "devices": size[1]}
            # Lightning's own requeueing saves inside the signal's handler, where ranks deadlock
            plugins.append(SLURMEnvironment(auto_requeue=False))
        return super().instantiate_trainer(
            logger=loggers,
            enable_progress_bar=True,  # ours logs the speed even where it draws nothing
            callbacks=[*(given.callbacks or []), *callbacks],
            plugins=plugins,
            **shape,
        )


def main(args: list[str]) -> int:
    """Run ``ssl-equiv pretrain`` with command-line arguments ``args``.

    Returns:
        The exit code: 0, or what :func:`ended_by_signal` says.
    """
    with watching():
        return run(args)


def run(args: list[str]) -> int:
    """The same, with signals noted by now."""
    import ssl_equiv.methods  # their short names become valid for --model

    known = vars(ssl_equiv.methods)
    names = [name for name in ssl_equiv.methods.__all__ if hasattr(known[name], "terms")]
    names.remove(Method.__name__)
    cli = PretrainCLI(
        Method,
        ViewDataModule,
        subclass_mode_model=True,
        subclass_mode_data=names_data_class(args),
        parser_class=Parser,
        parser_kwargs={
            "prog": "ssl-equiv pretrain",
            "usage": "%(prog)s --config FILE --out RUN [options]",
            "description": "Train a method on a data set; the same command continues the run.",
            "epilog": f"Methods: {', '.join(names)}. '--model.help SIE' tells of a method's own "
            "arguments.",
        },
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
    first = cli.trainer.is_global_zero
    try:
        with run_lock.own(cli.run) if first else nullcontext():
            fit(cli)
    except Preempted as end:
        return ended_by_signal(end, cli.run, cli.config.requeue, first)
    except RuntimeError as error:
        if cli.trainer.world_size > 1 and _LOST.search(str(error)):
            raise UserError(
                f"process {cli.trainer.global_rank} lost another process of this run: that one "
                "was killed or failed, see what it told; the same command continues from the last "
                f"checkpoint ({error})"
            ) from error
        raise
    return 0


def fit(cli: PretrainCLI) -> None:
    """Train, from the newest state that can be read on."""
    first, start = cli.trainer.is_global_zero, None
    if cli.resumes:
        found = cli.files.open(repair=first)
        if found is not None:  # tell what differs, before Lightning tells it in many lines
            start, checkpoint = found
            learnt = checkpoint.get("ssl_equiv", {}).get("class_path")
            check_method(cli.model, learnt, str(start))
            load_weights(cli.model, checkpoint.get("state_dict", {}), str(start))
            del checkpoint
    if first:
        with atomic_write(cli.run / CONFIG) as file:
            file.write(yaml.safe_dump(cli.plain_config, sort_keys=False).encode())
    cli.datamodule.redistribute = cli.config.redistribute
    if cli.trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    with writing(cli.run, full_disk_only=True):
        cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=start, weights_only=True)
