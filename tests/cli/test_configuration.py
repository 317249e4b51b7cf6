from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from ssl_equiv.cli.configuration import one_wandb_run


def logger(name: str, **arguments: object) -> Namespace:
    path = f"pytorch_lightning.loggers.{name}"
    return Namespace(class_path=path, init_args=Namespace(id=None, version=None, **arguments))


def test_a_continued_run_is_one_run_to_weights_and_biases(tmp_path: Path) -> None:
    first, again, other = (logger("WandbLogger", project="x") for _ in range(3))
    one_wandb_run([logger("CSVLogger"), first], tmp_path / "run")
    one_wandb_run(again, tmp_path / "sub" / ".." / "run")
    one_wandb_run(other, tmp_path / "other")
    assert first.init_args.id == again.init_args.id
    assert first.init_args.id != other.init_args.id
    assert len(first.init_args.id) == 16
    named = logger("WandbLogger")
    named.init_args.id = "mine"
    one_wandb_run(named, tmp_path / "run")
    assert named.init_args.id == "mine"
    one_wandb_run(None, tmp_path)
    one_wandb_run(True, tmp_path)
