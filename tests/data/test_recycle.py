from __future__ import annotations

import copy
import gc
from pathlib import Path

import pytest
import torch

from ssl_equiv.data.module import ViewDataModule, ViewLoader
from ssl_equiv.data.recycle import SharedPool
from ssl_equiv.data.views import ViewDataset
from ssl_equiv.errors import UserError


def loader(root: Path, workers: int) -> ViewLoader:
    return ViewDataModule(str(root), batch_size=2, num_workers=workers).train_dataloader()


def pool_of(found: ViewLoader) -> SharedPool:
    dataset = found.loader.dataset
    assert isinstance(dataset, ViewDataset)
    assert dataset.pool is not None
    return dataset.pool


def test_memory_is_used_again_once_its_batch_is_gone(folder_dataset: Path) -> None:
    found = loader(folder_dataset, 2)
    addresses = [batch.images.data_ptr() for _ in range(4) for batch in found]
    assert len(addresses) == 28
    assert len(set(addresses)) <= 2 * SharedPool.SLOTS
    pool = pool_of(found)
    assert all(0 <= address - pool._address < len(pool._memory) for address in addresses)
    gc.collect()
    assert set(pool._lent[:]) == {0}


def test_what_is_kept_is_not_overwritten(folder_dataset: Path) -> None:
    alone, found = loader(folder_dataset, 0), loader(folder_dataset, 2)
    want = [batch.images[:, 1] for _ in range(4) for batch in alone]
    # a view of every third batch is all that is kept; the rest is free to be used again
    kept = {}
    for number, batch in enumerate(batch for _ in range(4) for batch in found):
        assert torch.equal(batch.images[:, 1], want[number])
        if number % 3 == 0:
            kept[number] = batch.images[:, 1]
    for number, images in kept.items():
        assert torch.equal(images, want[number]), number
    assert len(kept) > 2 * SharedPool.SLOTS  # more than the pool has: the others came without it


def test_a_copy_in_the_receiving_process_is_its_own(folder_dataset: Path) -> None:
    found = loader(folder_dataset, 1)
    batch = next(iter(found))
    twin = copy.deepcopy(batch)
    assert torch.equal(twin.images, batch.images)
    assert twin.images.data_ptr() != batch.images.data_ptr()
    del twin
    gc.collect()
    slot = (batch.images.data_ptr() - pool_of(found)._address) // pool_of(found).num_bytes
    assert pool_of(found)._lent[slot] == 1


def test_an_abandoned_epoch_gives_its_memory_back(folder_dataset: Path) -> None:
    found = loader(folder_dataset, 2)
    for _ in range(6):
        next(iter(found))
    assert len(list(found)) > 0
    gc.collect()
    assert set(pool_of(found)._lent[:]) == {0}


def test_without_a_pool_tensors_travel_all_the_same(folder_dataset: Path) -> None:
    found, want = loader(folder_dataset, 2), loader(folder_dataset, 0)
    dataset = found.loader.dataset
    assert isinstance(dataset, ViewDataset)
    dataset.pool = None
    for have, expected in zip(found, want, strict=True):
        assert torch.equal(have.images, expected.images)
        assert torch.equal(have.actions["rotation"], expected.actions["rotation"])


def test_a_batch_that_fails_gives_its_memory_back(folder_dataset: Path) -> None:
    found = loader(folder_dataset, 2)
    pool = pool_of(found)
    whole = {path: path.read_bytes() for path in folder_dataset.glob("*/*/image_*.jpg")}
    for path, content in whole.items():
        if path.parent.name == "obj1":  # some are sound, so that each batch has begun
            path.write_bytes(content[: len(content) // 2])
    for _ in range(2 * SharedPool.SLOTS):
        with pytest.raises(UserError, match="not a whole JPEG"):
            list(found)
        gc.collect()
    for path, content in whole.items():
        path.write_bytes(content)
    addresses = [batch.images.data_ptr() for batch in found]
    assert all(0 <= address - pool._address < len(pool._memory) for address in addresses)
    gc.collect()
    assert set(pool._lent[:]) == {0}
