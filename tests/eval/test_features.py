from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eval import chunks
from eval.cache import META, FeatureSet, read_features
from eval.features import extract
from ssl_equiv.data.module import ViewDataModule
from ssl_equiv.data.views import Preprocess
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO3
from ssl_equiv.representation import Representation
from tests.eval.networks import Network

_EMPTY = FeatureSet(torch.empty(0), {}, {}, {}, torch.empty(0), torch.empty(0), "", (), {})


def _data(root: Path, **options: object) -> ViewDataModule:
    return ViewDataModule(str(root), batch_size=8, num_workers=0, **options)  # type: ignore[arg-type]


def _extract(model: torch.nn.Module, data: ViewDataModule, where: Path, **options) -> FeatureSet:
    options = {"split": "train", "progress": False, "batch_size": 3, **options}
    return extract(model, data, where, **options)  # type: ignore[arg-type]


def _directly(model: Network, data: ViewDataModule) -> FeatureSet:
    batches = list(data.all_views_dataloader("train", 4))
    images = torch.cat([data.on_after_batch_transfer(b, 0).images for b in batches])
    model.eval()
    with torch.no_grad():
        features = model.encode(images.flatten(0, 1)).features.unflatten(0, images.shape[:2])
    return replace(
        _EMPTY,
        features=features,
        actions={f: torch.cat([b.actions[f] for b in batches]) for f in batches[0].actions},
        labels=torch.cat([b.label for b in batches]),
        index=torch.cat([b.index for b in batches]),
    )


def test_features_of_all_views_in_order(folder_dataset: Path, tmp_path: Path) -> None:
    data, model = _data(folder_dataset), Network()
    model.net[1].eval()
    found = _extract(model, data, tmp_path)
    assert model.training
    assert not model.net[1].training  # each module is left in its own mode
    expected = _directly(model, data)
    assert torch.equal(found.index, torch.from_numpy(data.source.split["train"]))
    assert torch.equal(found.labels, expected.labels)
    torch.testing.assert_close(found.features, expected.features)
    for factor, action in expected.actions.items():
        assert torch.equal(found.actions[factor], action)
    assert found.features.dtype == torch.float32
    assert found.parts == {"all": (0, 6), "inv": (0, 2), "equi": (2, 6)}
    assert found.group("rotation") == SO3()
    assert (found.split, found.class_names) == ("train", data.source.classes)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["features-train"]


def test_the_cache_is_used_while_it_is_right(
    folder_dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def again(model: Network, data: ViewDataModule, **options) -> str | None:
        """The log line of a second pass; None if it encoded nothing."""
        caplog.clear()
        model.encoded = 0
        with caplog.at_level(logging.WARNING):
            _extract(model, data, tmp_path, **options)
        lines = [r.getMessage() for r in caplog.records if r.name == "eval.features"]
        assert len(lines) == (1 if model.encoded else 0)
        return lines[0] if lines else None

    data = _data(folder_dataset)
    first = _extract(Network(), data, tmp_path)
    assert again(Network(), data) is None
    assert again(Network(), data, batch_size=2) is None
    assert "other weights" in (again(Network(seed=1), data) or "")
    assert "other weights" in (again(Network(), data) or "")
    assert torch.equal(read_features(tmp_path / "features-train").features, first.features)

    smaller = _data(folder_dataset, preprocess=Preprocess(size=12))
    assert "other preprocessing" in (again(Network(), smaller) or "")
    changed = Network()
    changed.net[2] = torch.nn.Hardtanh(0.0, 1.0)  # the same weights
    assert "other architecture" in (again(changed, smaller) or "")
    precise = {"trainer_options": {"precision": "bf16-mixed"}}
    assert "other precision" in (again(changed, smaller, **precise) or "")

    features = tmp_path / "features-train" / "features.npy"
    features.write_bytes(features.read_bytes()[:-8])
    assert "damaged" in (again(changed, smaller, **precise) or "")
    assert again(changed, smaller, **precise) is None


def test_another_data_set_is_another_key(folder_dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder_dataset, copy)
    first = _extract(Network(), _data(folder_dataset), tmp_path)
    shutil.rmtree(sorted(copy.glob("*/*"))[0])
    model = Network()
    second = _extract(model, _data(copy), tmp_path)
    assert model.encoded == second.num_objects * second.num_views
    assert second.key["data"] != first.key["data"]


def test_names_keep_models_apart(folder_dataset: Path, tmp_path: Path) -> None:
    data = _data(folder_dataset)
    for name, seed in (("a", 0), ("b", 1), ("a", 0)):
        model = Network(seed)
        _extract(model, data, tmp_path, name=name)
    assert model.encoded == 0


def test_an_interrupted_pass_goes_on(
    folder_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "_CHUNK_BYTES", 1)
    data = _data(folder_dataset)
    total = len(data.source.split["train"]) * 5
    expected = _extract(Network(), data, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power cut"):
        _extract(Network(fail_after=40), data, tmp_path)
    assert not (tmp_path / "features-train").exists()
    model = Network()
    found = _extract(model, data, tmp_path)
    assert model.encoded == total - 30  # two batches of 3 objects x 5 views had been written
    torch.testing.assert_close(found.features, expected.features)
    assert torch.equal(found.index, expected.index)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["features-train", "whole"]


def test_leftovers_of_another_model_are_not_mixed_in(
    folder_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "_CHUNK_BYTES", 1)
    data = _data(folder_dataset)
    with pytest.raises(RuntimeError, match="power cut"):
        _extract(Network(seed=1, fail_after=20), data, tmp_path)
    model = Network()
    found = _extract(model, data, tmp_path)
    torch.testing.assert_close(found.features, _directly(model, data).features)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["features-train"]


def test_replaced_objects_count_once(folder_dataset: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder_dataset, broken)
    data = _data(broken, skip_bad_images=True)
    victim = int(data.source.split["train"][2])
    (broken / data.source.objects[victim] / "image_1.jpg").write_bytes(b"no image")
    found = _extract(Network(), data, tmp_path)
    indices = set(data.source.split["train"].tolist()) - {victim}
    assert indices <= set(found.index.tolist())
    assert victim not in found.index
    assert (found.index.diff() > 0).all()


def test_bf16_gives_float32_features(folder_dataset: Path, tmp_path: Path) -> None:
    data = _data(folder_dataset)
    exact = _extract(Network(), data, tmp_path / "exact").features
    options = {"precision": "bf16-mixed"}
    found = _extract(Network(), data, tmp_path, trainer_options=options).features
    assert found.dtype == torch.float32
    assert not torch.equal(found, exact)
    torch.testing.assert_close(found, exact, atol=0.1, rtol=0.05)


def test_broken_models_leave_no_cache(folder_dataset: Path, tmp_path: Path) -> None:
    data = _data(folder_dataset)
    poisoned = Network()
    poisoned.net[0].bias.data[0] = torch.nan
    with pytest.raises(UserError, match=r"object \d+ \(train\) are not finite"):
        _extract(poisoned, data, tmp_path)

    class Maps(Network):
        def encode(self, images: torch.Tensor) -> Representation:
            return Representation(self.net[0](images), {})

    with pytest.raises(UserError, match="pools its features"):
        _extract(Maps(), data, tmp_path)
    assert not list(tmp_path.glob(f"*/{META}"))


def test_features_stay_on_disk(folder_dataset: Path, tmp_path: Path) -> None:
    found = _extract(Network(), _data(folder_dataset), tmp_path)
    before = (tmp_path / "features-train" / "features.npy").read_bytes()
    found.features.zero_()  # copy on write
    assert (tmp_path / "features-train" / "features.npy").read_bytes() == before
    stored = np.load(tmp_path / "features-train" / "features.npy", allow_pickle=False)
    assert stored.shape == found.features.shape


def test_the_bar_counts_views(
    folder_dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _extract(Network(), _data(folder_dataset), tmp_path, progress=True)
    assert "views/s" in capfd.readouterr().out
