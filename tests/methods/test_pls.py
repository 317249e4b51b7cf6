from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.data.saliency import SaliencyMaps
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.errors import UserError
from ssl_equiv.methods import PLS, MomentumConfig
from ssl_equiv.transforms.saccades import spectral_residual
from tests.conftest import write_folder


def pls(**options: object) -> PLS:
    torch.manual_seed(0)
    small = {
        "observations": 3, "patch": 16, "action_width": 32, "layers": 1, "predictor_width": 24,
        "momentum": MomentumConfig(schedule="constant"),
    }  # fmt: skip
    return PLS(BackboneConfig("test_resnet"), **{**small, **options})  # type: ignore[arg-type]


def batch(images: int = 6, side: int = 48) -> ViewBatch:
    generator = torch.Generator().manual_seed(1)
    return ViewBatch(
        images=torch.randn(images, 1, 3, side, side, generator=generator),
        actions={},
        groups={},
        label=torch.arange(images),
        index=torch.arange(images),
    )


def test_patches_are_views_and_saccades_their_actions() -> None:
    method, images = pls(), batch()
    views = method.observe(images)
    assert views.images.shape == (6, 4, 3, 16, 16)
    centres = views.actions["fixation"]
    for item in range(6):
        for number in range(4):
            left, top = ((centres[item, number] + 1) * 24 - 8).round().int().tolist()
            cut = images.images[item, 0, :, top : top + 16, left : left + 16]
            assert torch.equal(views.images[item, number], cut)
    torch.testing.assert_close(method.actions(views), centres[:, 1:] - centres[:, :-1])


def test_draws_change_with_the_step_and_follow_the_image() -> None:
    method, images = pls(), batch()
    first = method.observe(images).actions["fixation"]
    assert torch.equal(first, method.observe(images).actions["fixation"])
    alone = ViewBatch(images.images[4:], {}, {}, images.label[4:], images.index[4:])
    assert torch.equal(first[4:], method.observe(alone).actions["fixation"])
    method.step_seed = 1
    assert not torch.equal(first, method.observe(images).actions["fixation"])


def test_saliency_files_are_followed(tmp_path: Path) -> None:
    maps = np.zeros((6, 12, 12), np.uint8)
    maps[:, 8:, :3] = 255
    np.save(tmp_path / "maps.npy", maps)
    method = pls(inhibition=0.0)
    method.maps = SaliencyMaps(tmp_path / "maps.npy")
    x, y = method.observe(batch()).actions["fixation"].unbind(-1)
    assert x.max() < -0.5
    assert y.min() > 0.3
    assert spectral_residual(batch().images[:, 0]).argmax() >= 0  # the default needs no file


def test_a_step_learns_from_single_images(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", views=1)
    np.save(tmp_path / "maps.npy", np.ones((18, 4, 4), np.float32))
    for saliency in (None, str(tmp_path / "maps.npy")):
        method = pls(patch=8, saliency=saliency)
        trainer = pl.Trainer(
            accelerator="cpu", max_steps=2, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        )  # fmt: skip
        before = method.head.predictor[0].weight.clone()
        assert "factors" not in method.hparams  # which a checkpoint would hand back to PLS
        trainer.fit(method, ViewDataModule(str(data), 1, 4, num_workers=0))
        assert not torch.equal(before, method.head.predictor[0].weight)
        assert torch.isfinite(method.head.predictor[0].weight).all()


def test_saliency_files_of_other_data(tmp_path: Path) -> None:
    np.save(tmp_path / "maps.npy", np.ones((18, 4, 4), np.float32))
    maps = SaliencyMaps(tmp_path / "maps.npy")
    maps.check(num_objects=18, num_views=1)
    with pytest.raises(UserError, match="holds 18 maps, but the data set has 17 images"):
        maps.check(num_objects=17, num_views=1)
    several = write_folder(tmp_path / "data", views=2)  # which of the views would a map be of?
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    with pytest.raises(UserError, match="these data have 2 views of each object"):
        trainer.fit(
            pls(saliency=str(tmp_path / "maps.npy")),
            ViewDataModule(str(several), 1, 4, num_workers=0),
        )


def test_bad_input() -> None:
    with pytest.raises(UserError, match=r"lower model\.patch"):
        pls(patch=49).observe(batch())
    with pytest.raises(UserError, match=r"model\.patch must be"):
        pls(patch=0)
    method = pls(saliency="absent.npy")  # a trained model is opened without its saliency file
    with pytest.raises(UserError, match=r"cannot read absent\.npy"):
        method.setup("fit")
