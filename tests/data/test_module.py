from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from ssl_equiv.data.draws import Draw
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.data.sources import open_source
from ssl_equiv.data.views import Preprocess, ViewBatch, ViewDataset
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO3
from tests.conftest import write_folder


def module(root: Path, **options: object) -> ViewDataModule:
    return ViewDataModule(str(root), batch_size=4, num_workers=0, **options)  # type: ignore[arg-type]


def test_a_batch_matches_its_files(folder_dataset: Path) -> None:
    batch = next(iter(module(folder_dataset).train_dataloader()))
    assert batch.images.shape == (4, 2, 3, 16, 16)
    assert batch.images.dtype == torch.uint8
    for view in range(2):  # what a backbone takes without a copy
        assert batch.images[:, view].is_contiguous(memory_format=torch.channels_last)
    source = open_source(folder_dataset)
    for row in range(4):
        folder = folder_dataset / source.objects[int(batch.index[row])]
        stored = [np.asarray(Image.open(folder / f"image_{v}.jpg")) for v in range(5)]
        latents = torch.tensor(np.stack([np.load(folder / f"latent_{v}.npy") for v in range(5)]))
        rotations = source.schema.elements(latents.float())["rotation"]
        for view in range(2):
            pixels = batch.images[row, view].permute(1, 2, 0).numpy()
            errors = [np.abs(pixels.astype(int) - image.astype(int)).max() for image in stored]
            found = int(np.argmin(errors))
            assert errors[found] == 0  # Pillow's own bytes
            torch.testing.assert_close(batch.actions["rotation"][row, view], rotations[found])
        assert batch.label[row] == int(folder.parent.name)


def test_relative_action_is_the_groups(folder_dataset: Path) -> None:
    batch = next(iter(module(folder_dataset).train_dataloader()))
    rotation = batch.actions["rotation"]
    want = SO3().relative(rotation[:, 0], rotation[:, 1])
    torch.testing.assert_close(batch.relative("rotation", 0, 1), want)
    with pytest.raises(UserError, match="asks for the factor 'translation', but the data set has"):
        batch.relative("translation", 0, 1)


def test_epochs_and_workers(folder_dataset: Path) -> None:
    def epochs(workers: int) -> list[list[ViewBatch]]:
        data = ViewDataModule(str(folder_dataset), batch_size=4, num_workers=workers)
        loader = data.train_dataloader()
        return [list(loader) for _ in range(2)]

    first, second = epochs(0)
    assert any(not torch.equal(a.index, b.index) for a, b in zip(first, second, strict=True))
    for mine, other in zip(
        [*first, *second], [b for epoch in epochs(2) for b in epoch], strict=True
    ):
        assert torch.equal(mine.images, other.images)
        assert torch.equal(mine.index, other.index)


@pytest.mark.parametrize(
    ("cores", "asked", "workers"), [(2, None, 0), (16, None, 8), (2, 1, 1), (16, 0, 0)]
)
def test_a_pass_on_a_small_cpu_has_no_workers(
    folder_dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    asked: int | None,
    workers: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores))
    data = ViewDataModule(str(folder_dataset), batch_size=4, num_workers=asked)
    data.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    assert data.all_views_dataloader("val").num_workers == workers
    assert data._loader(data._train_sampler(), "train", 2, None, True).num_workers == (
        data.num_workers
    )


def test_a_loader_continues_in_the_middle_of_an_epoch(folder_dataset: Path) -> None:
    whole = module(folder_dataset).train_dataloader()
    batches = [*whole, *whole]
    length = len(whole)
    for stop in (1, length - 1, length, length + 1):
        before = module(folder_dataset).train_dataloader()
        iterator = iter(before)
        for done in range(stop):
            if done == length:
                iterator = iter(before)
            next(iterator)
        after = module(folder_dataset).train_dataloader()
        after.load_state_dict(before.state_dict())
        rest = [*after, *(after if stop < length else [])]
        for have, want in zip(rest, batches[stop:], strict=True):
            assert torch.equal(have.images, want.images), stop


def test_all_views_of_a_split_in_order(folder_dataset: Path) -> None:
    data = module(folder_dataset)
    batches = list(data.all_views_dataloader("val", batch_size=2))
    index = torch.cat([b.index for b in batches]).tolist()
    assert index == data.source.split["val"].tolist()
    assert batches[0].images.shape[1] == 5
    with pytest.raises(UserError, match="has no split 'test': it has train, val"):
        data.all_views_dataloader("test")


def test_preprocess(folder_dataset: Path) -> None:
    preprocess = Preprocess(center_crop=8, size=4, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3))
    data = module(folder_dataset, preprocess=preprocess)
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape[-2:] == (4, 4)
    normalised = data.on_after_batch_transfer(batch, 0).images
    by_hand = (batch.images[..., 2, 1, 1].float() / 255 - 0.3) / 0.3
    torch.testing.assert_close(normalised[..., 2, 1, 1], by_hand)
    with pytest.raises(UserError, match="16x16 pixels, too few for the centre crop of 20"):
        next(iter(module(folder_dataset, preprocess=Preprocess(center_crop=20)).train_dataloader()))


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "missing"])
def test_a_damaged_image_is_named_or_skipped(tmp_path: Path, damage: str) -> None:
    write_folder(tmp_path, objects=2)
    source = open_source(tmp_path)
    victim = tmp_path / source.objects[2] / "image_1.jpg"
    whole = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
    else:
        victim.write_bytes({"empty": b"", "cut": whole[:-40], "text": b"hello"}[damage])
    strict = ViewDataset(source, Preprocess(), np.arange(6))
    with pytest.raises(UserError, match=r"image_1\.jpg"):
        strict[Draw(0, 2)]
    lenient = ViewDataset(source, Preprocess(), np.array([1, 2, 4]), skip_bad_images=True)
    batch = lenient.__getitems__([Draw(0, 1), Draw(0, 2)])
    assert batch.skipped == 1
    assert batch.index.tolist() == [1, 4]  # the next of this split


def test_images_of_different_sizes(tmp_path: Path) -> None:
    write_folder(tmp_path, classes=1, objects=1, size=16)
    write_folder(tmp_path / "x", classes=1, objects=1, size=24)
    (tmp_path / "x" / "00").rename(tmp_path / "01")
    (tmp_path / "x").rmdir()
    dataset = ViewDataset(open_source(tmp_path), Preprocess(), np.arange(2))
    with pytest.raises(UserError, match=r"24x24 pixels where others have 16x16: set .*size"):
        dataset.__getitems__([Draw(0, 0), Draw(0, 1)])


def test_a_batch_larger_than_the_data_is_lowered(folder_dataset: Path) -> None:
    data = ViewDataModule(str(folder_dataset), batch_size=1024, num_workers=0)
    with pytest.warns(UserWarning, match="batch_size is lowered from 1024 to 15"):
        (batch,) = data.train_dataloader()
    assert len(batch.index) == 15


def test_more_views_than_there_are(folder_dataset: Path) -> None:
    with pytest.raises(
        UserError, match=r"data\.num_views is 6, but the objects in .* have 5 views"
    ):
        module(folder_dataset, num_views=6)
