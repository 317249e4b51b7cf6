from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_equiv.data.draws import Draw, uniforms
from ssl_equiv.data.image_sets import open_images
from ssl_equiv.data.image_sources import UNLABELED
from ssl_equiv.data.images import ImageDataModule
from ssl_equiv.data.views import Preprocess, ViewBatch
from ssl_equiv.errors import UserError
from ssl_equiv.transforms import presets
from tests.conftest import jpeg
from tests.data.image_files import (
    write_cifar100,
    write_image_folder,
    write_shards,
    write_stl10,
    write_tiny_imagenet,
)


def module(root: Path, **options: object) -> ImageDataModule:
    options = {"num_workers": 0, "batch_size": 4, **options}
    return ImageDataModule(str(root), presets.byol(16), **options)  # type: ignore[arg-type]


def views(data: ImageDataModule, batch: ViewBatch) -> torch.Tensor:
    return data.on_after_batch_transfer(batch, 0).images


def test_cifar100_is_read_as_its_description_says(tmp_path: Path) -> None:
    source = open_images(write_cifar100(tmp_path))
    raw = (tmp_path / "cifar-100-binary" / "test.bin").read_bytes()
    index = int(source.split["val"][2])
    # coarse label, fine label, then 1024 red, 1024 green, 1024 blue, row by row
    assert source.image(index)[1, 3, 5] == raw[2 * 3074 + 2 + 1024 + 3 * 32 + 5]
    assert source.labels[index] == raw[2 * 3074 + 1] == 2
    assert len(source.split["train"]) == 20
    assert source.classes[2] == "class2"


def test_stl10_is_read_by_columns(tmp_path: Path) -> None:
    source = open_images(write_stl10(tmp_path))
    raw = (tmp_path / "train_X.bin").read_bytes()
    # channel by channel, each column by column
    assert source.image(1)[2, 10, 20] == raw[27648 + 2 * 9216 + 20 * 96 + 10]
    assert source.labels[:6].tolist() == [0, 1, 2, 3, 4, 5]
    assert source.labels[source.split["unlabeled"]].tolist() == [UNLABELED] * 8
    data = module(tmp_path, splits=["train", "unlabeled"], batch_size=14)
    assert len(next(iter(data.train_dataloader())).index) == 14


def test_tiny_imagenet(tmp_path: Path) -> None:
    source = open_images(write_tiny_imagenet(tmp_path))
    assert source.classes == ("n01", "n02")
    assert source.labels[source.split["val"]].tolist() == [1, 0]
    assert source.image(int(source.split["val"][1])).float().mean() == pytest.approx(77, abs=1)
    assert source.labels[source.split["train"]].tolist() == [0, 0, 0, 1, 1, 1]


def test_folders_and_shards(tmp_path: Path) -> None:
    folder = open_images(write_image_folder(tmp_path / "folder"))
    png = np.asarray(Image.open(tmp_path / "folder" / "train" / "cat" / "0.png"))
    assert np.array_equal(folder.image(0).permute(1, 2, 0).numpy(), png)
    assert folder.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0, 1]
    bare = open_images(tmp_path / "folder" / "train")  # no split of its own
    assert [len(bare.split[name]) for name in ("train", "val")] == [6, 2]

    shards = open_images(write_shards(tmp_path / "shards"))
    assert [len(shards.split[name]) for name in ("train", "val")] == [8, 4]
    assert shards.labels.tolist() == [0, 1, 2, 0, 0, 1, 2, UNLABELED, 0, 1, 2, 0]
    want = np.asarray(Image.open(io.BytesIO(jpeg(12)))).astype(int)
    assert np.abs(shards.image(6).permute(1, 2, 0).numpy() - want).max() <= 3  # decoders round


def test_a_batch_has_the_views_that_its_elements_make(tmp_path: Path) -> None:
    data = module(write_cifar100(tmp_path), num_views=3)
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == (4, 1, 3, 32, 32)  # bytes travel, not views
    assert {name: tuple(e.shape) for name, e in batch.actions.items()} == {
        "crop": (4, 3, 4),
        "flip": (4, 3, 2),
        "jitter": (4, 3, 8),
        "grayscale": (4, 3, 1),
        "blur": (4, 3, 1),
        "solarize": (4, 3, 1),
    }
    made = data.on_after_batch_transfer(batch, 0)
    assert made.images.shape == (4, 3, 3, 16, 16)
    assert made.images.is_contiguous()
    element = {name: e[2:3, 1] for name, e in batch.actions.items()}
    image = data.source.image(int(batch.index[2])).float().unsqueeze(0) / 255
    alone = data.augmentation.pipelines[1].apply(image, element)
    normal = data.preprocess.normalize(255 * alone)
    torch.testing.assert_close(made.images[2, 1], normal[0], rtol=0, atol=1e-5)
    crop = batch.actions["crop"]
    assert torch.equal(batch.relative("crop", 0, 2), crop[:, 2] - crop[:, 0])
    flip = batch.actions["flip"]
    assert torch.equal(batch.relative("flip", 0, 1), flip[:, 0] * flip[:, 1])


def test_elements_are_a_function_of_seed_epoch_image_and_view(tmp_path: Path) -> None:
    root = write_cifar100(tmp_path)

    def drawn(**options: object) -> dict[tuple[int, int], torch.Tensor]:
        data = module(root, **options)
        loader = data.train_dataloader()
        found = {}
        for epoch in range(2):
            for batch in loader:
                for row, index in enumerate(batch.index.tolist()):
                    found[epoch, index] = torch.cat([e[row] for e in batch.actions.values()], -1)
        return found

    first = drawn()
    for other in (drawn(batch_size=5), drawn(num_workers=2), drawn(num_views=3)):
        for key in first.keys() & other.keys():
            assert torch.equal(first[key], other[key][:2]), key
    assert not torch.equal(first[0, 3], first[1, 3])
    assert not torch.equal(first[0, 3], drawn(seed=1)[0, 3])
    assert not torch.equal(first[0, 3][0], first[0, 3][1])


def test_loaders_and_the_device_make_the_same_views(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path)
    batches = []
    for workers in (0, 2):
        data = module(root, num_workers=workers)
        batch = next(iter(data.train_dataloader()))
        assert batch.images.is_floating_point() == (workers > 0)
        batches.append(views(data, batch))
    assert torch.equal(*batches)


def test_it_continues_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    root = write_cifar100(tmp_path)
    data = module(root)
    loader = data.train_dataloader()
    whole = [views(data, batch) for _ in range(2) for batch in loader]
    before = module(root).train_dataloader()
    iterator = iter(before)
    for _ in range(3):
        next(iterator)
    after = module(root).train_dataloader()
    after.load_state_dict(before.state_dict())
    rest = [views(data, batch) for _ in range(2) for batch in after]
    assert len(rest) == len(whole) - 3
    for have, want in zip(rest, whole[3:], strict=True):
        assert torch.equal(have, want)


def test_processes_share_out_an_epoch(tmp_path: Path) -> None:
    root = write_cifar100(tmp_path)
    whole = next(iter(module(root, batch_size=8).train_dataloader()))
    halves = []
    for rank in range(2):
        data = module(root)
        data._process = lambda rank=rank: (rank, 2)  # type: ignore[method-assign, misc]
        halves.append(next(iter(data.train_dataloader())))
    for name in ("index", "images"):
        both = torch.cat([getattr(half, name) for half in halves])
        assert torch.equal(both, getattr(whole, name))
    for name, element in whole.actions.items():
        assert torch.equal(torch.cat([half.actions[name] for half in halves]), element)


def test_judging_sees_plain_images_in_order(tmp_path: Path) -> None:
    root = write_cifar100(tmp_path)
    data = module(root, preprocess=Preprocess(size=24))
    batches = list(data.all_views_dataloader("val", batch_size=4))
    assert [b.images.shape for b in batches] == [(4, 1, 3, 24, 24), (2, 1, 3, 24, 24)]
    assert torch.cat([b.index for b in batches]).tolist() == data.source.split["val"].tolist()
    assert not batches[0].actions
    assert views(data, batches[0]).is_floating_point()
    assert data.description()["image_size"] == 24
    with pytest.raises(UserError, match="no images in a split 'test': it has train, val"):
        data.all_views_dataloader("test")


def test_images_of_different_sizes_need_a_canvas(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path, sizes=((16, 16), (40, 20)))
    with pytest.raises(UserError, match=r"different sizes \(16x16, 20x40\): set data\.canvas"):
        list(module(root, batch_size=8).train_dataloader())
    data = module(root, batch_size=8, canvas=20)
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == (8, 1, 3, 20, 20)
    wide = int(np.flatnonzero([name.endswith("cat/3.jpg") for name in data.source.objects])[0])
    row = batch.index.tolist().index(wide)
    assert torch.equal(batch.images[row, 0], data.source.image(wide)[:, :, 10:30])


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "missing"])
def test_a_damaged_image_is_named_or_skipped(tmp_path: Path, damage: str) -> None:
    root = write_image_folder(tmp_path)
    victim = root / "train" / "cat" / "2.jpg"
    data = module(root, batch_size=8)
    whole = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
    else:
        victim.write_bytes({"empty": b"", "cut": whole[:-60], "text": b"hello"}[damage])
    with pytest.raises(UserError, match=r"cat/2\.jpg"):
        list(data.train_dataloader())
    data.skip_bad_images = True
    (batch,) = data.train_dataloader()
    assert batch.skipped == 1
    assert sorted(batch.index.tolist()) == [0, 1, 3, 3, 4, 5, 6, 7]


def _shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-700])


def _bad_class(root: Path) -> None:
    with tarfile.open(root / "train-0.tar", "w") as tar:
        for member, content in (("0.jpg", jpeg(0)), ("0.cls", b"cat")):
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize(
    ("write", "spoil", "message"),
    [
        (write_cifar100, lambda r: _shorten(r / "cifar-100-binary" / "train.bin"), "3074 bytes"),
        (write_cifar100, lambda r: (r / "cifar-100-binary" / "test.bin").unlink(), "test.bin"),
        (
            write_cifar100,
            lambda r: (
                (r / "cifar-100-python").mkdir() or (r / "cifar-100-binary").rename(r / "elsewhere")
            ),
            "pickles, which are never loaded",
        ),
        (
            write_stl10,
            lambda r: (r / "train_y.bin").write_bytes(b"\1\2"),
            "6 images in .* 2 labels",
        ),
        (write_stl10, lambda r: (r / "train_y.bin").write_bytes(b"\0" * 6), "labels -1 to -1"),
        (write_tiny_imagenet, lambda r: (r / "val/val_annotations.txt").unlink(), "unpack"),
        (write_shards, lambda r: (r / "train-1.tar").write_bytes(b"x" * 600), "whole tar"),
        (write_shards, _bad_class, "no number"),
        (lambda r: r, lambda r: None, "holds no image set"),
    ],
)
def test_a_damaged_set_is_one_line(
    tmp_path: Path, write: Callable[[Path], Path], spoil: Callable[[Path], object], message: str
) -> None:
    root = write(tmp_path)
    spoil(root)
    with pytest.raises(UserError, match=message) as error:
        open_images(root)
    assert "\n" not in str(error.value)


def test_uniforms() -> None:
    draws = [Draw(0, 0), Draw(0, 1), Draw(1, 0)]
    numbers = uniforms(0, draws, 4, 5000)
    assert numbers.shape == (3, 4, 5000)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    flat = numbers.reshape(12, 5000)
    correlation = np.corrcoef(flat) - np.eye(12)
    assert np.abs(correlation).max() < 0.06  # 4 deviations of independent ones
    counts = np.histogram(flat, bins=20, range=(0, 1))[0]
    assert ((counts - 3000) ** 2 / 3000).sum() < 45  # chi square, 19 degrees: p < 0.001
    assert np.array_equal(uniforms(0, draws[1:2], 2, 5000), numbers[1:2, :2])


def test_fingerprints_change_with_the_data(tmp_path: Path) -> None:
    root = write_cifar100(tmp_path)
    before = open_images(root).fingerprint
    assert open_images(root).fingerprint == before
    path = root / "cifar-100-binary" / "train.bin"
    data = bytearray(path.read_bytes())
    data[100] ^= 255
    path.write_bytes(data)
    assert open_images(root).fingerprint != before
