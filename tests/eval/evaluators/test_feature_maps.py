from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from eval.artifacts import Artifact, read_artifacts
from eval.cache import FeatureSet
from eval.evaluators import FeatureMaps
from eval.evaluators.views import draw_views
from eval.protocol import NotApplicable, Task
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO2, SO3, Hue, Translation
from tests.eval.fakes import clusters, feature_set

FAST = FeatureMaps(views=120, iterations=300)


def make_task(val: FeatureSet, folder: Path | None = None, **others: FeatureSet) -> Task:
    return Task(val, val, tuple(val.parts), (0, 1), {}, others=others, folder=folder)


def kept(folder: Path) -> dict[str, Artifact]:
    return {path.file_name.removesuffix(".npz"): path for path in read_artifacts(folder)}


def with_factors(val: FeatureSet) -> FeatureSet:
    shape, generator = val.features.shape[:2], torch.Generator().manual_seed(0)
    groups = {"translation": Translation(3), "rotation": SO3(), "hue": Hue(), "turn": SO2()}
    actions = {name: g.sample(shape, generator=generator) for name, g in groups.items()}
    return replace(val, groups=groups, actions=actions)


def test_maps_of_classes_that_lie_apart(tmp_path: Path) -> None:
    val = clusters(40, 12, "val", spread=0.1)
    val = replace(val, parts={**val.parts, "twin": (0, 12), "half": (0, 6)})
    found = FAST(make_task(val, tmp_path))
    assert [(m.metric, m.part, m.split) for m in found] == [
        ("pca_share", part, "") for part in val.parts
    ]
    maps = kept(tmp_path)
    names = {f"{kind}_{by}" for kind in ("pca", "tsne") for by in ("class", "rotation")}
    assert set(maps) == {f"{name}-{part}" for name in names for part in val.parts}
    drawn = draw_views(val, 120)
    objects, views = drawn.owner, drawn.number
    # an independent PCA: the share, and distances in the plane
    x = val.features[objects, views].double()
    _, sigma, directions = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    share = (sigma[:2].square().sum() / sigma.square().sum()).item()
    assert found[0].values[0] == pytest.approx(share, rel=1e-4)
    assert found[0].baseline == pytest.approx(2 / 12)
    plane = (x - x.mean(0)) @ directions[:2].T
    points = torch.from_numpy(maps["pca_class-all"].arrays["points"]).double()
    torch.testing.assert_close(torch.cdist(points, points), torch.cdist(plane, plane), atol=1e-3, rtol=0)  # fmt: skip  # noqa: E501
    for kind in ("pca", "tsne"):
        of_class = maps[f"{kind}_class-all"]
        assert of_class.meta["color_kind"] == "class"
        assert of_class.meta["classes"] == list(val.class_names)
        colour = of_class.arrays["color"]
        assert colour.tolist() == val.labels[objects].tolist()
        # each point's nearest neighbour is of its class
        points = torch.from_numpy(of_class.arrays["points"]).double()
        distances = torch.cdist(points, points).fill_diagonal_(math.inf)
        assert (colour[distances.argmin(dim=1)] == colour).all()
        same = maps[f"{kind}_class-twin"].arrays["points"]
        np.testing.assert_array_equal(same, of_class.arrays["points"])
        other = maps[f"{kind}_rotation-all"].arrays["points"]
        np.testing.assert_array_equal(other, of_class.arrays["points"])


def test_angles_are_radians(tmp_path: Path) -> None:
    val = with_factors(clusters(30, 8, "val", spread=1.0))
    maps = replace(FAST, methods=("pca",), factors=("rotation", "hue", "turn"))
    maps(make_task(val, tmp_path))
    drawn = draw_views(val, 120)
    objects, views = drawn.owner, drawn.number
    chosen = {name: action[objects, views].numpy() for name, action in val.actions.items()}
    expected = {
        "rotation": Rotation.from_quat(chosen["rotation"]).as_euler("xyz")[:, 2],
        "hue": 2 * np.pi * chosen["hue"][:, 0],
        "turn": chosen["turn"][:, 0],
    }
    found = kept(tmp_path)
    assert len(found) == 4
    for name, angle in expected.items():
        artifact = found[f"pca_{name}-all"]
        assert artifact.meta["color_kind"] == "angle"
        np.testing.assert_allclose(artifact.arrays["color"], angle, atol=1e-5)


def test_the_first_angle_colours_by_default(tmp_path: Path) -> None:
    val = with_factors(clusters(30, 8, "val", spread=1.0))
    ood = replace(val, split="elsewhere")
    replace(FAST, methods=("pca",))(make_task(val, tmp_path, ood=ood))
    names = {f"pca_{by}{split}-all" for by in ("class", "rotation") for split in ("", "_ood")}
    assert set(kept(tmp_path)) == names
    plain = replace(val, groups={"t": Translation(3)}, actions={"t": val.actions["translation"]})
    replace(FAST, methods=("pca",))(make_task(plain, tmp_path / "plain"))
    assert set(kept(tmp_path / "plain")) == {"pca_class-all"}


def test_maps_repeat(tmp_path: Path) -> None:
    val = clusters(30, 8, "val", spread=1.0)
    for name in ("a", "b"):
        FAST(make_task(val, tmp_path / name))
    a, b = kept(tmp_path / "a"), kept(tmp_path / "b")
    for name, artifact in a.items():
        np.testing.assert_array_equal(artifact.arrays["points"], b[name].arrays["points"])


@pytest.mark.parametrize("width", [1, 2])
def test_narrow_parts_and_few_views(tmp_path: Path, width: int) -> None:
    FAST(make_task(feature_set(torch.randn(5, 1, width), "val"), tmp_path))
    for artifact in kept(tmp_path).values():
        assert artifact.arrays["points"].shape == (5, 2)
        assert np.isfinite(artifact.arrays["points"]).all()


def test_a_part_that_is_one_point_has_no_tsne(tmp_path: Path) -> None:
    val = feature_set(torch.full((20, 2, 4), 0.3), "val")
    (found,) = FAST(make_task(val, tmp_path))
    assert found.values == (1.0,)
    assert set(kept(tmp_path)) == {"pca_class-all", "pca_rotation-all"}


def test_bad_input_is_one_clear_line() -> None:
    val = with_factors(clusters(20, 8, "val", spread=1.0))
    with pytest.raises(UserError, match=r"translation is of Translation.*rotation, hue, turn"):
        replace(FAST, factors=("translation",))(make_task(val))
    with pytest.raises(UserError, match="did you mean 'rotation'"):
        replace(FAST, factors=("rotatoin",))(make_task(val))
    with pytest.raises(NotApplicable, match="4 views: maps need 5"):
        FAST(make_task(feature_set(torch.randn(4, 1, 3), "val")))
