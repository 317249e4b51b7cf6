"""The README's tables, made from the committed result files.

``python -m benchmarks.table`` rewrites what stands between the markers in README.md;
``python -m benchmarks.table --check`` exits 1 where that would change something.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from eval.results import read_results, summarise

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
METRICS = {
    "top1": "top-1",
    "rotation_r2_pooled": "rotation R² pooled",
    "rotation_r2_per_dim": "R² per dim",
    "rotation_degrees_median": "median error °",
}


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def demo() -> str:
    """What the demo measured."""
    rows = [row for row in summarise(read_results(RESULTS / "demo.json")) if row.metric in METRICS]
    cells = {(row.model, row.part, row.metric): row for row in rows}
    names = list(dict.fromkeys((row.model, row.part) for row in rows))
    lines = [f"| model | part | {' | '.join(METRICS.values())} |", "| --- " * 6 + "|"]
    for model, part in names:
        figures = []
        for metric in METRICS:
            row, digits = cells[model, part, metric], 1 if "degrees" in metric else 3
            figures.append(f"{row.mean:.{digits}f} ± {row.std or 0:.{digits}f}")
        lines.append(f"| {model} | {part} | {' | '.join(figures)} |")
    floors = [cells[(*names[0], metric)].baseline or 0.0 for metric in METRICS]
    lines.append(
        "| constant predictor | | " + " | ".join(f"{floor + 0:.3f}" for floor in floors) + " |"
    )
    return "\n".join(lines)


def speed() -> str:
    """What the benchmarks measured."""
    step, predictor = _result("sie_step"), _result("predictor")["results"]
    load, generate = _result("load")["results"], _result("generate")["results"]
    groups, machine = _result("groups")["results"], step["environment"]
    step = step["results"]
    fast, built = predictor["factored"], predictor["built"]
    lines = [
        f"Measured on {machine['cores']} cores ({machine['cpu']}), torch {machine['torch']}, "
        f"{machine['date'][:10]}; each row is a script in `benchmarks/`.",
        "",
        "| what | measured | beside |",
        "| --- | --- | --- |",
        f"| SIE step over the bare backbone's step (`sie_step`) | {step['ratio_of_medians']:.2f}× "
        f"| the published module: {step['published_module_ratio']}× (quoted) |",
        f"| predictor, forward and backward (`predictor`) | {fast['forward_backward_ms']:.0f} ms, "
        f"{fast['peak_growth_mib']:.0f} MiB | building W(z) per sample: "
        f"{built['forward_backward_ms']:.0f} ms, {built['peak_growth_mib']:.0f} MiB |",
        f"| two-view batches at 128 px from shards (`load`) | "
        f"{load['views_per_second']['shards']:.0f} views/s | a plain Dataset of files: "
        f"{load['views_per_second']['plain']:.0f} views/s |",
        *_generator_rows(generate),
        *_group_rows(groups),
    ]
    return "\n".join(lines)


def _generator_rows(results: dict[str, Any]) -> list[str]:
    cycles = results["cycles_images_per_second"]
    origin = results.get("cycles_origin", "quoted")
    titles = {
        "256px_2k_2p": "256 px, 2k triangles",
        "256px_24k_2p": "256 px, 24k triangles",
        "256px_328k_2p": "256 px, 328k triangles",
        "64px_2k_2p": "64 px, 2k triangles",
    }
    return [
        f"| generator, {title}, 2 processes, JPEG included (`generate`) | "
        f"{results[key]['images_per_second']:.0f} images/s | "
        f"{f'Cycles: {cycles} ({origin})' if '256' in title else ''} |"
        for key, title in titles.items()
    ]


def _group_rows(results: dict[str, Any]) -> list[str]:
    scipy, ours = results["scipy"], results["SO3"]
    return [
        f"| 10⁶ SO(3) elements, {what}, 1 thread, float32 (`groups`) | "
        f"{1000 * ours[what]['median']:.0f} ms | "
        f"scipy, float64: {1000 * scipy[what]['median']:.0f} ms |"
        for what in ("sample", "compose", "relative")
    ]


def main() -> int:
    readme = ROOT / "README.md"
    text = readme.read_text()
    for name, table in (("demo", demo()), ("speed", speed())):
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        text = re.sub(pattern, lambda m, t=table: m[1] + t + "\n" + m[2], text, flags=re.DOTALL)  # type: ignore[misc]
    if "--check" in sys.argv:
        return int(text != readme.read_text())
    readme.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
