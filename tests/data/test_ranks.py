"""Simulated processes over shards whose counts divide by nothing: 53 objects in 7 shards."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data_gen.shard_writer import ShardWriter
from data_gen.work import RenderedObject
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.data.record import DIEBENCH, MANIFEST, Manifest
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.files import write_json
from tests.conftest import jpeg

OBJECTS, PER_SHARD, VIEWS, VAL = 53, 8, 3, 11


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ranks")
    rng = np.random.default_rng(0)
    made = [
        RenderedObject(
            index=i,
            class_name=f"c{i % 3}",
            object_id=f"o{i}",
            label=i % 3,
            latents=rng.uniform(-1, 1, (VIEWS, 7)),
            images=[jpeg(VIEWS * i + v) for v in range(VIEWS)],
        )
        for i in range(OBJECTS)
    ]
    names = [f"{o.class_name}/{o.object_id}" for o in made]
    writer = ShardWriter(root, OBJECTS, VIEWS, PER_SHARD)
    for unit in writer.units():
        writer.write(made[unit.start : unit.stop])
    held_out = set(rng.permutation(OBJECTS)[:VAL].tolist())
    manifest = Manifest(
        objects=tuple(names),
        num_views=VIEWS,
        image_size=16,
        classes=("c0", "c1", "c2"),
        schema=DIEBENCH,
        split={
            "train": [i for i in range(OBJECTS) if i not in held_out],
            "val": sorted(held_out),
        },
        shards=writer.shards(),
        seed=0,
        recipe={},
        source={},
    )
    assert len(manifest.shards) == 7
    write_json(root / MANIFEST, manifest.to_dict())
    return root


def process(root: Path, rank: int, world_size: int, batch: int, workers: int = 0) -> ViewDataModule:
    """The data module of one process of several."""
    data = ViewDataModule(str(root), batch_size=batch, num_workers=workers, seed=7)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_rank=rank, world_size=world_size, strategy=strategy
    )
    return data


def together(parts: list[ViewBatch]) -> tuple[torch.Tensor, ...]:
    """A global batch: what a loss over all processes sees, in the order of the ranks."""
    return tuple(
        torch.cat(values)
        for values in zip(
            *((p.images, p.index, p.label, p.actions["rotation"]) for p in parts), strict=True
        )
    )


def assert_global(parts: list[ViewBatch], whole: ViewBatch) -> None:
    for have, want in zip(together(parts), together([whole]), strict=True):
        assert torch.equal(have, want)


@pytest.mark.parametrize(("world_size", "workers"), [(2, 0), (4, 0), (2, 2)])
def test_training_batches_are_those_of_one_process(
    root: Path, world_size: int, workers: int
) -> None:
    batch = 3
    alone = process(root, 0, 1, batch * world_size).train_dataloader()
    loaders = [
        process(root, rank, world_size, batch, workers).train_dataloader()
        for rank in range(world_size)
    ]
    train = set(process(root, 0, 1, 2).source.split["train"].tolist())
    assert len(train) == 42
    left_out = set()
    for _ in range(3):
        steps = list(zip(*loaders, strict=True))  # strict: all ranks take as many steps
        seen: Counter[int] = Counter()
        for parts, whole in zip(steps, alone, strict=True):
            assert_global(list(parts), whole)
            seen.update(i for part in parts for i in part.index.tolist())
        assert max(seen.values()) == 1
        assert len(seen) == 42 // (batch * world_size) * batch * world_size
        left_out |= {frozenset(train - seen.keys())}
    if 42 % (batch * world_size):
        assert len(left_out) == 3  # what does not divide is another remainder in each epoch


@pytest.mark.parametrize("world_size", [2, 4])
def test_resumed_in_the_middle_of_an_epoch(root: Path, world_size: int) -> None:
    alone = process(root, 0, 1, 2 * world_size).train_dataloader()
    batches = [*alone, *alone]
    length = len(alone)
    for stop in (1, length - 1, length, length + 2):
        state = {"epoch": stop // length, "position": stop % length}
        state["global_batch"] = 2 * world_size
        ranks = []
        for rank in range(world_size):
            before = process(root, rank, world_size, 2).train_dataloader()
            taken = 0
            while taken < stop:
                for _ in before:
                    taken += 1
                    if taken == stop:
                        break
            assert before.state_dict() == state
            after = process(root, rank, world_size, 2).train_dataloader()
            after.load_state_dict(before.state_dict())
            ranks.append([*after, *(after if stop < length else [])])
        for parts, whole in zip(zip(*ranks, strict=True), batches[stop:], strict=True):
            assert_global(list(parts), whole)


def test_a_run_continues_on_another_number_of_processes(root: Path) -> None:
    alone = process(root, 0, 1, 8).train_dataloader()
    batches = list(alone)
    for world_size in (2, 4):
        loaders = [
            process(root, r, world_size, 8 // world_size).train_dataloader()
            for r in range(world_size)
        ]
        for loader in loaders:
            loader.load_state_dict({"epoch": 0, "position": 2})
        for parts, whole in zip(zip(*loaders, strict=True), batches[2:], strict=True):
            assert_global(list(parts), whole)


@pytest.mark.parametrize("world_size", [1, 2, 4, 16])
@pytest.mark.parametrize("split", ["train", "val"])
def test_evaluation_sees_every_object_once(root: Path, world_size: int, split: str) -> None:
    one = process(root, 0, 1, 4)
    expected = one.source.split[split].tolist()
    of_object = {
        int(i): (b.images[row], b.actions["rotation"][row])
        for b in one.all_views_dataloader(split, 5)
        for row, i in enumerate(b.index)
    }
    assert list(of_object) == expected
    seen = []
    for rank in range(world_size):
        for batch in process(root, rank, world_size, 4).all_views_dataloader(split, 2):
            for row, index in enumerate(batch.index.tolist()):
                seen.append(index)
                assert torch.equal(batch.images[row], of_object[index][0])
                assert torch.equal(batch.actions["rotation"][row], of_object[index][1])
    assert sorted(seen) == expected
