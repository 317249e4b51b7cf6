from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data_gen.generate import generate
from data_gen.latents import sample_latents
from data_gen.live import LiveSource
from data_gen.recipe import Recipe
from data_gen.sources import ProceduralSource
from ssl_equiv.data.draws import Draw
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.data.record import Manifest
from ssl_equiv.data.source import on_paths
from ssl_equiv.data.sources import Source, open_source
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.errors import UserError
from tests.conftest import write_folder

pytestmark = pytest.mark.render

CLASSES = ["bottle", "chair", "mug"]
RECIPE = {"num_views": 4, "image_size": 24}
SEED = 3


def live(**options: object) -> LiveSource:
    given = {"num_objects": 9, "classes": CLASSES, "recipe": RECIPE, "seed": SEED} | options
    return LiveSource(**given)  # type: ignore[arg-type]


def module(source: Source, workers: int = 0, batch: int = 3) -> ViewDataModule:
    return ViewDataModule(source=source, batch_size=batch, num_workers=workers, seed=5)


def assert_equal(one: ViewBatch, other: ViewBatch) -> None:
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.index, other.index)
    assert torch.equal(one.label, other.label)
    for factor, action in one.actions.items():
        assert torch.equal(action, other.actions[factor]), factor


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stored")
    objects = ProceduralSource(9, CLASSES, seed=SEED)
    generate(objects, Recipe.from_dict(RECIPE), root, seed=SEED, num_workers=0, progress=False)
    return root


def test_stored_views_are_the_bytes_of_a_generated_data_set(stored: Path) -> None:
    shards, rendered = open_source(stored), live(views="stored")
    assert rendered.objects == shards.objects
    assert rendered.classes == shards.classes
    assert rendered.schema == shards.schema
    for split, members in shards.split.items():
        np.testing.assert_array_equal(rendered.split[split], members)
    for index, views in ((0, [0, 1, 2, 3]), (4, [2, 0]), (8, [3])):
        (images, latents), (want, want_latents) = (
            rendered.read(index, views),
            shards.read(index, views),
        )
        assert images == want
        np.testing.assert_array_equal(latents, want_latents)


def test_batches_are_those_of_the_stored_form_with_workers_too(stored: Path) -> None:
    source = live(views="stored")
    source.read(0, [0])  # Embree has run in this process before others are forked from it
    stored_loader = module(open_source(stored)).train_dataloader()
    live_loader = module(source, workers=2).train_dataloader()
    for _ in range(2):
        for have, want in zip(live_loader, stored_loader, strict=True):
            assert_equal(have, want)
    ordered = module(source).all_views_dataloader("val", 2)
    for have, want in zip(
        ordered, module(open_source(stored)).all_views_dataloader("val", 2), strict=True
    ):
        assert_equal(have, want)


def test_fresh_views_begin_with_the_stored_ones_and_never_repeat() -> None:
    fresh, repeating = live(), live(views="stored")
    draws = [[Draw(epoch, item) for item in range(9)] for epoch in range(3)]
    np.testing.assert_array_equal(fresh.choose(1, draws[0], 2), repeating.choose(1, draws[0], 2))
    assert len({tuple(v) for d in draws for v in fresh.choose(1, d, 2) // 4}) == 3
    latents = np.concatenate([fresh.latents(0, range(12)), fresh.latents(1, range(12))])
    assert len(np.unique(latents, axis=0)) == 24
    low, high = np.array(Recipe.from_dict(RECIPE).ranges).T
    assert (low <= latents).all()
    assert (latents <= high).all()
    np.testing.assert_array_equal(
        fresh.latents(0, [9, 2, 5]), fresh.latents(0, range(12))[[9, 2, 5]]
    )


def test_fresh_views_continue_exactly() -> None:
    def loader(workers: int = 0) -> object:
        return module(live(), workers).train_dataloader()

    whole = loader()
    batches = [b for _ in range(3) for b in whole]  # type: ignore[attr-defined]
    assert len(batches) == 6
    assert not torch.equal(batches[0].images, batches[2].images)
    before = loader()
    iterator = iter(before)  # type: ignore[call-overload]
    for _ in range(2):
        next(iterator)
    next(iter(before))  # type: ignore[call-overload]
    after = loader(workers=2)
    after.load_state_dict(before.state_dict())  # type: ignore[attr-defined]
    for have, want in zip([*after, *after], batches[3:], strict=True):  # type: ignore[misc]
        assert_equal(have, want)


def test_pixels_without_jpeg() -> None:
    images, _ = live(jpeg=False, views="stored").read(1, [0, 2])
    encoded, _ = live(views="stored").read(1, [0, 2])
    assert all(isinstance(image, bytes) for image in encoded)
    batch = next(iter(module(live(jpeg=False), batch=2).train_dataloader()))
    assert batch.images.shape == (2, 2, 3, 24, 24)
    assert images[0].shape == (24, 24, 3)  # type: ignore[union-attr]
    source = live(jpeg=False)
    item = int(batch.index[0])
    views = source.choose(5, [Draw(0, item)], 2)[0].tolist()
    want = np.stack(source.read(item, views)[0])
    np.testing.assert_array_equal(batch.images[0].permute(0, 2, 3, 1).numpy(), want)


def test_the_cache_is_bounded_and_changes_nothing() -> None:
    small, large = live(cache_mib=0), live()
    for index in (0, 1, 0):
        assert small.read(index, [1])[0] == large.read(index, [1])[0]
    assert len(small._ready) == 0
    assert list(large._ready) == [1, 0]
    large._limit = large._used - 1
    large.read(2, [0])
    assert list(large._ready)[-1] == 2
    assert sum(size for _, size in large._ready.values()) == large._used <= large._limit


def test_a_source_travels_without_its_renderer() -> None:
    source = live()
    want = source.read(0, [7])[0]
    copy = pickle.loads(pickle.dumps(source))
    assert copy._renderer is None
    assert copy.read(0, [7])[0] == want


def test_whether_views_are_paths_is_known(stored: Path) -> None:
    assert not live().paths
    columns = ["rotation_x", "rotation_y", "rotation_z"]
    recipe = RECIPE | {"trajectory": {"keyframes": 3, "columns": columns}}
    assert live(recipe=recipe).paths
    assert open_source(stored).paths is False
    manifest = json.loads((stored / "manifest.json").read_text())
    for told, paths in (({}, None), ({"trajectory": {"keyframes": 3}}, True)):
        manifest["recipe"] = told
        assert on_paths(Manifest.parse(manifest, "manifest.json")) is paths


def test_the_fingerprint_follows_the_arguments() -> None:
    base = live().fingerprint
    assert live().fingerprint == base
    changes: list[dict[str, object]] = [
        {"views": "stored"},
        {"jpeg": False},
        {"seed": 4},
        {"num_objects": 8},
        {"recipe": RECIPE | {"lens_mm": 60.0}},
    ]
    assert len({live(**change).fingerprint for change in changes} | {base}) == 6


def test_the_fingerprint_follows_the_background(tmp_path: Path) -> None:
    def fingerprint(level: int) -> str:
        path = tmp_path / "a.png"
        Image.new("RGB", (8, 8), (level, 0, 0)).save(path)
        return live(recipe=RECIPE | {"background": str(path)}).fingerprint

    assert fingerprint(1) == fingerprint(1) != fingerprint(2)


def test_latents_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[object] = []

    def counted(recipe: Recipe, seed: object) -> np.ndarray:
        drawn.append(seed)
        return sample_latents(recipe, seed)  # type: ignore[arg-type]

    monkeypatch.setattr("data_gen.live.sample_latents", counted)
    monkeypatch.setattr("data_gen.live._DRAWINGS", 2)
    source = live()
    first = source.latents(0, [0, 5])  # two drawings
    np.testing.assert_array_equal(source.latents(0, [5, 0])[::-1], first)
    assert len(drawn) == 2
    source.latents(1, [0])
    assert len(drawn) == 3
    assert len(source._drawn) == 2
    np.testing.assert_array_equal(source.latents(0, [0, 5]), first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": {"background": "absent.png"}}, r"absent\.png does not exist"),
        ({"views": "new"}, "views is 'new': choose 'stored' or 'fresh'"),
        ({"val_fraction": 1.0}, "val_fraction is 1.0"),
        ({"seed": -1}, "must be 0 or more"),
        ({"objects": "absent"}, "cannot list .*absent"),
        ({"recipe": {"imagesize": 3}}, "did you mean 'image_size'"),
    ],
)
def test_bad_arguments(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        live(**options)


def test_one_place_for_data(tmp_path: Path) -> None:
    write_folder(tmp_path, objects=2)
    with pytest.raises(UserError, match=r"no data: give data\.root"):
        ViewDataModule()
    with pytest.raises(UserError, match=r"data\.root and data\.source are both given"):
        ViewDataModule(str(tmp_path), source=live())
