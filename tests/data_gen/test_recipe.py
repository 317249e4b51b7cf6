from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml

from data_gen.recipe import Recipe
from ssl_equiv.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs" / "data"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_configs_are_recipes_and_tell_their_command(path: Path):
    text = path.read_text()
    Recipe.from_dict(yaml.safe_load(text)["recipe"])
    assert f"ssl-equiv generate --config configs/data/{path.name}" in text


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe.diebench(),
        Recipe.diebench_t(image_size=64),
        Recipe.from_dict({"grid": {"rotation_z": 3, "floor_hue": 2}, "background": [0, 0.5, 1]}),
        Recipe.from_dict({"trajectory": {"keyframes": 3, "columns": ["light_phi"]}}),
        Recipe.from_dict({"rotation": "uniform", "light_theta": {"polar": [0, 1]}}),
        Recipe.from_dict({"rotation": {"outside": [[-1, 1]] * 3, "angles": 2}}),
        Recipe.from_dict({"rotation": {"far_from": [[-1, 1]] * 3, "at_least": 0.5}}),
        Recipe.from_dict({"floor_hue": 0.3, "light_hue": [[0, 0.1], [0.5, 0.6]]}),
        Recipe.from_dict({"light_phi": {"normal": [1, 0.2]}, "floor_hue": {"choice": [0.1, 0.7]}}),
    ],
)
def test_a_recipe_survives_json(recipe: Recipe):
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_published_recipes():
    assert Recipe.diebench() == Recipe()
    assert Recipe.diebench().schema.width == len(Recipe.diebench().ranges) == 7
    assert Recipe.diebench_t().schema.width == len(Recipe.diebench_t().ranges) == 10
    assert Recipe.diebench_t().ranges[7:] == ((-0.5, 0.5),) * 3


BAD = [
    ({"image_sise": 64}, "did you mean 'image_size'"),
    ({"image_size": 0}, "image_size is 0"),
    ({"image_size": 64.5}, "image_size is 64.5"),
    ({"num_views": True}, "num_views is True"),
    ({"floor_hue": (0.7, 0.2)}, "low <= high"),
    ({"floor_hue": [[0.1, 0.4], [0.3, 0.5]]}, "overlap"),
    ({"floor_hue": {"choose": [1]}}, r"floor_hue is \{'choose'"),
    ({"floor_hue": {"choice": []}}, "choice"),
    ({"light_phi": {"normal": [0, -1]}}, "normal"),
    ({"light_theta": {"polar": [-1, 1]}}, "polar"),
    ({"rotation": {"outside": [[-4, 1]] * 3, "angles": 1}}, "within -π and π"),
    ({"rotation": {"outside": [[-1, 1]] * 3, "angles": [4]}}, "angles"),
    ({"rotation": {"far_from": [[-1.58, 1.58]] * 3, "at_least": 3}}, "lower at_least"),
    ({"grid": {"rotation_zz": 3}}, "no column 'rotation_zz': did you mean 'rotation_z'"),
    ({"grid": {"rotation_z": 0}}, "grid.rotation_z is 0"),
    ({"grid": {"rotation_z": 4}, "num_views": 5}, "num_views is 5, but the grid has 4"),
    ({"grid": {"floor_hue": 4}, "floor_hue": {"choice": [0.1]}}, "floor_hue has no single range"),
    ({"grid": {"floor_hue": 4}, "trajectory": {"keyframes": 2}}, "exclude each other"),
    ({"trajectory": {"keyframes": 1}}, "K >= 2"),
    ({"trajectory": {"keyframes": 3, "speed": 1}}, "trajectory is"),
    (
        {"trajectory": {"keyframes": 3}, "rotation": {"outside": [[-1, 1]] * 3, "angles": 1}},
        "rotation_x has no single range",
    ),
    ({"background": [0, 1]}, "background is"),
    ({"background": [0, 1, 300]}, "background is"),
    ({"floor_hue": "ab"}, "floor_hue is 'ab'"),
    ({"light_hue": (0, math.nan)}, "light_hue is"),
    ({"rotation": (0, 1)}, "three distributions"),
    ({"rotation": [[0, 1], [0, 1], [2, 1]]}, r"rotation\[2\]"),
    ({"translation": ((0, 1),)}, "translation"),
    ({"lens_mm": -5}, "lens_mm is -5"),
    ({"camera_theta": 2.5}, "camera stands below the floor"),
    ({"light_theta": (0, 3)}, "spot goes below the floor"),
    ({"light_theta": (-3, 0)}, "spot goes below the floor"),
    ({"light_theta": (0, 2 * math.pi)}, "spot goes below the floor"),
    ({"light_theta": {"normal": [0.3, 1]}}, "by its 'within'"),
    ({"image_size": 100_000}, "from 8 to 8192"),
    ({"lens_mm": 1e300}, "lens_mm is 1e\\+300: give a number from 1 to 10000"),
    ({"light_energy": 10**400}, "light_energy"),
    ({"floor_hue": [-1e308, 1e308]}, "floor_hue"),
    ({"trajectory": {"keyframes": 3, "columns": [["rotation_x"]]}}, "trajectory is"),
    ({"trajectory": {"keyframes": 3, "columns": "rotation_x"}}, "trajectory is"),
    ({"rotation": {"outside": [[-1, 1]] * 3, "angles": [[1]]}}, "angles"),
    ({"rotation": {"outside": [[-math.pi, math.pi - 1e-11]] * 3, "angles": 1}}, "outside"),
    ({"rotation": {"far_from": [[-1, 1]] * 3, "at_least": -1}}, "at_least"),
    ({"view": "film"}, "view is 'film'"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_entries_are_named(changes: dict, message: str):
    with pytest.raises(UserError, match=message):
        Recipe.from_dict(changes)


def test_a_recipe_must_be_a_mapping():
    with pytest.raises(UserError, match="recipe is"):
        Recipe.from_dict([1, 2])  # type: ignore[arg-type]
