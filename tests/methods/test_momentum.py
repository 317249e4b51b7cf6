from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from ssl_equiv.checkpoint_io import BackgroundCheckpointIO
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.errors import UserError
from ssl_equiv.methods import MomentumConfig, SeqJEPA
from ssl_equiv.methods.momentum import MomentumTarget
from tests.methods.tiny import tiny

STEPS = 4


class Watch(pl.Callback):
    """Keep the online weights after each optimiser step, and a checkpoint in the middle."""

    def __init__(self, checkpoint: Path | None = None) -> None:
        self.checkpoint, self.batches = checkpoint, 0
        self.seen: dict[int, dict[str, Tensor]] = {}

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        self.batches += 1
        self.seen[trainer.global_step] = {
            n: p.detach().clone() for n, p in pl_module.backbone.named_parameters()
        }
        if self.checkpoint is not None and trainer.global_step == STEPS // 2:
            trainer.save_checkpoint(self.checkpoint)


def method() -> SeqJEPA:
    torch.manual_seed(0)
    made = tiny("SeqJEPA")
    assert isinstance(made, SeqJEPA)
    assert made.target is not None
    made.target.config = MomentumConfig(0.5, 0.9)
    return made


def fit(
    data: Path, made: SeqJEPA, watch: Watch, resume: Path | None = None, **options: Any
) -> None:
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[watch],
        plugins=[BackgroundCheckpointIO()],
        **options,
    )
    module = ViewDataModule(str(data), made.num_views, 4, num_workers=0)
    trainer.fit(made, module, ckpt_path=resume, weights_only=True)


def test_the_cosine_runs_over_the_whole_run() -> None:
    config = MomentumConfig()
    assert [config.at(step, 101) for step in (0, 100)] == pytest.approx([0.996, 1.0])
    assert config.at(50, 101) == pytest.approx(0.998)
    assert config.at(500, 101) == 1.0
    assert MomentumConfig(0.9, schedule="constant").at(7, float("inf")) == 0.9
    with pytest.raises(UserError, match=r"needs an end: set trainer\.max_steps"):
        config.at(0, float("inf"))
    with pytest.raises(UserError, match=r"model\.momentum\.start is 1\.5"):
        MomentumConfig(1.5)


def test_buffers_and_gradients_stay_the_copys_own() -> None:
    online = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    target = MomentumTarget(online, MomentumConfig(0.0, schedule="constant"))
    online[1].running_mean.add_(1)  # type: ignore[operator, union-attr]
    nn.init.ones_(online[0].weight)  # type: ignore[arg-type]
    target.update(online, 0, 1)
    assert torch.equal(target.network[0].weight, torch.ones(3, 3))  # type: ignore[index]
    assert not target.network[1].running_mean.any()  # type: ignore[index]
    assert not any(parameter.requires_grad for parameter in target.parameters())
    assert not target(torch.randn(4, 3, requires_grad=True)).requires_grad
    assert target.network[1].running_mean.any()  # type: ignore[index]


@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_target_follows_each_optimiser_step_once(
    folder_dataset: Path, accumulated: int
) -> None:
    made, watch = method(), Watch()
    start = {n: p.detach().clone() for n, p in made.backbone.named_parameters()}
    fit(folder_dataset, made, watch, accumulate_grad_batches=accumulated)
    assert (watch.batches > STEPS) == (accumulated > 1)
    stepped = [watch.seen[step + 1] for step in range(STEPS)]
    assert made.target is not None
    for name, have in made.target.network.named_parameters():
        want = start[name].double()
        for step, online in enumerate(stepped):
            momentum = made.target.config.at(step, STEPS)
            want = momentum * want + (1 - momentum) * online[name].double()
        assert not torch.equal(have, start[name]) or torch.equal(stepped[-1][name], start[name])
        torch.testing.assert_close(have.double(), want, rtol=1e-5, atol=1e-6)


def test_a_resumed_run_is_the_uninterrupted_one(folder_dataset: Path, tmp_path: Path) -> None:
    whole = method()
    fit(folder_dataset, whole, Watch(tmp_path / "half.ckpt"))
    resumed = tiny("SeqJEPA")
    assert isinstance(resumed, SeqJEPA)
    assert resumed.target is not None
    resumed.target.config = MomentumConfig(0.5, 0.9)
    watch = Watch()
    fit(folder_dataset, resumed, watch, resume=tmp_path / "half.ckpt")
    assert watch.batches == STEPS // 2
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_run_without_an_end_is_refused_at_its_start(folder_dataset: Path) -> None:
    made = method()
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with pytest.raises(UserError, match="needs an end"):
        trainer.fit(made, ViewDataModule(str(folder_dataset), made.num_views, 4, num_workers=0))
