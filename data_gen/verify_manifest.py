"""Whether a manifest agrees with its own recipe and source, and with the plan beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from data_gen.plan import differences, objects_digest
from data_gen.recipe import Recipe
from data_gen.sources import original
from ssl_equiv.data.record import Manifest


def contradictions(manifest: Manifest, plan: Mapping[str, Any]) -> Iterator[str]:
    """What a manifest says otherwise than its recipe, its source or the plan, a line each.

    Args:
        manifest: Of a data set that was rendered.
        plan: What ``plan.json`` holds; entries that it lacks, as a converted set's does, are not
            compared.

    Raises:
        UserError: the recipe is none.
    """
    recipe, source = Recipe.from_dict(manifest.recipe), original(manifest.source)
    told: dict[str, Any] = {
        "num_views": manifest.num_views,
        "image_size": manifest.image_size,
        "latents": manifest.schema.to_list(),
        "classes": list(manifest.classes),
    }
    implied = {
        "num_views": recipe.num_views,
        "image_size": recipe.image_size,
        "latents": recipe.schema.to_list(),
        "classes": source.get("classes", told["classes"]),
    }
    for name, value in implied.items():
        if told[name] != value:
            yield f"{name} is not what recipe and source give"
    now = {
        "recipe": manifest.recipe,
        "renderer": manifest.renderer.get("name"),
        "outputs": list(manifest.outputs),
        "seed": manifest.seed,
        "num_objects": len(manifest.objects),
        "objects_sha256": objects_digest(list(manifest.objects)),
        "source": {key: value for key, value in source.items() if key != "root"},
        "layout": "shards" if manifest.shards else "folder",
    }
    planned = {key: plan[key] for key in now if key in plan}
    for line in differences("", planned, {key: now[key] for key in planned}):
        yield f"by plan.json {line}"
