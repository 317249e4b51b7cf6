"""The tables of README.md, METHODS.md and some pages of docs, made from the committed result files.

``python -m benchmarks.table`` rewrites what stands between their markers;
``python -m benchmarks.table --check`` exits 1 where that would change something.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.blocks_table import TABLES
from eval.results import read_results, summarise

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
METRICS = {
    "top1": "top-1",
    "rotation_r2_pooled": "rotation R² pooled",
    "rotation_r2_per_dim": "R² per dim",
    "rotation_degrees_median": "median error °",
}

MINI = {
    "top1": "top-1",
    "rotation_r2_pooled": "rotation R² pooled",
    "rotation_r2_per_dim": "R² per dim",
    "rotation_degrees_median": "median error °",
    "floor_hue_r2_pooled": "floor hue R²",
    "light_hue_r2_pooled": "light hue R²",
}


# further results of `python -m benchmarks.methods`, and the columns that they get
FURTHER = {
    "methods_bf16": "bf16 images/s",
    "methods_compiled": "compiled images/s",
    "methods_bf16_compiled": "bf16 compiled images/s",
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
    predictor, load = _result("predictor")["results"], _result("load")["results"]
    generate, groups = _result("generate")["results"], _result("groups")["results"]
    single = _result("methods")
    methods, machine = single["results"]["methods"], single["environment"]
    fast, built = predictor["factored"], predictor["built"]
    lines = [
        f"Measured on {machine['cores']} cores ({machine['cpu']}), torch {machine['torch']}, "
        f"{machine['date'][:10]}; each row is a script in `benchmarks/`.",
        "",
        "| what | measured | beside |",
        "| --- | --- | --- |",
        f"| SIE step over the bare backbone's work (`methods`) | "
        f"{methods['sie_3diebench']['ratio']:.2f}× | the published module: 3.1× (quoted) |",
        f"| EquiCaps step over the bare backbone's work (`methods`) | "
        f"{methods['equicaps_3diebench']['ratio']:.2f}× | the published module: 1.78× (quoted) |",
        f"| predictor, forward and backward (`predictor`) | {fast['forward_backward_ms']:.0f} ms, "
        f"{fast['peak_growth_mib']:.0f} MiB | building W(z) per sample: "
        f"{built['forward_backward_ms']:.0f} ms, {built['peak_growth_mib']:.0f} MiB |",
        f"| two-view batches at 128 px from shards (`load`) | "
        f"{load['views_per_second']['shards']:.0f} views/s | a plain Dataset of files: "
        f"{load['views_per_second']['plain']:.0f} views/s |",
        *_live_rows(_result("live")["results"]),
        *_transform_rows(_result("transforms")["results"]),
        *(
            _checkpoint_rows(_result("checkpoints")["results"])
            if (RESULTS / "checkpoints.json").exists()
            else []
        ),
        *_generator_rows(generate),
        "| all 2,623,600 images of 3DIEBench, 24k triangles (`generate`, extrapolated) | "
        f"{generate['256px_24k_2p']['core_hours_of_3diebench']:.1f} core-hours | the published "
        "set: 500 V100-hours (quoted) |",
        *_group_rows(groups),
        *_eval_rows(_result("eval")["results"]),
        *_memory_rows(_result("memory")["results"]),
        *(_lidar_rows(_result("lidar")["results"]) if (RESULTS / "lidar.json").exists() else []),
    ]
    return "\n".join(lines)


def _transform_rows(results: dict[str, Any]) -> list[str]:
    """Augmented views, ours and torchvision's, each with the figure that favours torchvision."""
    one, loader = results["one_thread"], results["loader_views_per_second"]
    names = ("torchvision_float", "torchvision_uint8")
    setting = results["setting"]
    return [
        f"| augmented views at {setting['size']} px, {what} (`transforms`) | {ours:.0f} views/s | "
        f"torchvision v2 per sample: {theirs:.0f} views/s |"
        for what, ours, theirs in (
            (
                "one thread",
                one["batched"]["views_per_cpu_second"],
                max(one[name]["views_per_cpu_second"] for name in names),
            ),
            (
                f"{setting['workers']} loader processes",
                loader["batched"],
                max(loader[name] for name in names),
            ),
        )
    ]


def _checkpoint_rows(results: dict[str, Any]) -> list[str]:
    """What saving costs a run."""
    asked, saved = results["agreement"], results["checkpoint"]
    return [
        "| asking all of 2 processes after a step of "
        f"{asked['bare_step_ms']:.0f} ms whether to end (`checkpoints`) | "
        f"{100 * asked['share']:+.2f} % | the same step without |",
        f"| a checkpoint of {saved['bytes'] / 1e6:.0f} MB blocks training for (`checkpoints`) | "
        f"{saved['blocked_s']['median']:.2f} s, the first {saved['blocked_s']['first']:.2f} s | "
        f"its file takes {saved['written_after_s']:.1f} s beside the next steps |",
    ]


def _eval_rows(results: dict[str, Any]) -> list[str]:
    """What judging costs: every evaluator beside the pass, heads beside the papers' protocol."""
    suite, published = results["suite"], results["published"]
    rows = [
        f"| all evaluators and the feature pass over the pass alone, {suite['views']} views of "
        f"ResNet-18 at {results['setting']['size']} px (`eval`) | {suite['ratio']:.2f}× | |"
    ]
    few = f"one head, {results['setting']['train_views']} views of a training object"
    for name, what in (
        ("one_head: quick, bf16", "one head"),
        ("one_head: quick, bf16, few views", few),
        ("all_heads: quick, bf16", "three seeds of every part"),
    ):
        factors = published[name]["factors"]
        told = ", ".join(f"{views}: {factor:.0f}×" for views, factor in factors.items())
        rows.append(
            f"| rotation R², {what}, times less than re-encoding for 300 epochs (`eval`) | {told} "
            "| the papers' protocol, extrapolated |"
        )
    if "r2" in results:
        mean = results["r2"]["mean"]
        rows.append(
            "| that R² on a small set in full, quick recipe in bf16, three seeds (`eval`) | "
            f"{mean['ours_quick']:.3f}, with few views {mean['ours_few_views']:.3f}; the papers' "
            f"recipe on cached features: {mean['ours']:.3f} "
            f"| the papers' protocol: {mean['published']:.3f}, with BatchNorm evaluated: "
            f"{mean['published_eval_mode']:.3f} |"
        )
    return rows


def _memory_rows(results: dict[str, Any]) -> list[str]:
    """What keeping freed memory between steps gains on a CPU."""
    settings = {"training": "SIE step", "training, 128 px": "SIE step", "encoding": "encoding"}
    rows = []
    for name, what in settings.items():
        row = results[name]
        kept, returned = (
            f"{row[side]['ms']:.0f} ms, {row[side]['peak_mib']:.0f} MiB"
            for side in ("kept", "given back")
        )
        rows.append(
            f"| {what}, ResNet-18, {row['size']} px, batches of {row['batch']}, freed memory kept "
            f"for the next step (`memory`) | {kept} | given back, as glibc does: {returned} |"
        )
    return rows


def _lidar_rows(results: dict[str, Any]) -> list[str]:
    """Points a second, encoders and E-SSL3D's step."""
    rows = []
    for name, found in results["voxelisation"].items():
        encoder, step = results["encoders"][name], results["steps"][name]
        rows += [
            f"| finding voxels of sweeps, {name} (`lidar`) | "
            f"{found['points_per_s'] / 1e6:.1f} M points/s | |",
            f"| E-SSL3D step on {step['sweeps']} sweeps, {name} (`lidar`) | "
            f"{step['step_ms']:.0f} ms | the encoder alone, forward and backward, on one view: "
            f"{encoder['forward_backward_ms']:.0f} ms |",
        ]
    return rows


def steps() -> str:
    """What a training step of each method costs."""
    single = _result("methods")
    setting, machine = single["results"]["setting"], single["environment"]
    # further runs in other precisions and on other devices get a column each, once measured
    others = {
        title: _result(name)["results"]["methods"]
        for name, title in FURTHER.items()
        if (RESULTS / f"{name}.json").exists()
    }
    lines = [
        f"ResNet-18 at {setting['size']} px, {setting['batch']} objects, {setting['threads']} "
        f"threads ({machine['cpu']}), {machine['date'][:10]}; ratio: a step over the same backbone "
        "work alone.",
        "",
        " | ".join(["| config", "ratio", "ms", "images/s", "memory of a step, MiB", *others])
        + " |",
        "| --- " * (5 + len(others)) + "|",
    ]
    for name, row in single["results"]["methods"].items():
        lines.append(
            f"| `{name}` | {row['ratio']:.2f} | {row['method_ms']:.0f} | "
            f"{row['images_per_second']:.0f} | {row['peak_mib']:.0f} |"
            + "".join(
                f" {rows[name]['images_per_second']:.0f} |" if name in rows else " |"
                for rows in others.values()
            )
        )
    return "\n".join(lines)


def mini() -> str:
    """The reference table."""
    return mini_table(_result("mini")["results"])


def longer() -> str:
    """Two rows of the reference table after more steps."""
    return mini_table(_result("mini_3000")["results"])


def mini_table(results: dict[str, Any]) -> str:
    """The reference table of ``benchmarks.mini``'s results: a row a method and part."""
    methods, figures = results["methods"], results["figures"]
    cells = {(row["method"], row["part"], row["metric"]): row for row in figures}
    order = list(methods)
    figures = sorted(figures, key=lambda row: order.index(row["method"]))
    parts = list(dict.fromkeys((row["method"], row["part"]) for row in figures))
    aggregates = [row for row in figures if row["metric"].startswith("top1_length")]
    lines = [
        f"{results['finished']} of {results['planned']} runs; mean ± deviation over seeds of "
        "pretraining. **Bold**: the part that is made to follow rotations.",
        "",
        f"| method | part | {' | '.join(MINI.values())} |",
        "| --- " * (2 + len(MINI)) + "|",
    ]
    for method, part in parts:
        if any((method, part) == (row["method"], row["part"]) for row in aggregates):
            continue
        known = methods[method]
        name = f"**{part}**" if part == known["follows"] != "all" else part
        row = [_mean(cells.get((method, part, metric))) for metric in MINI]
        lines.append(f"| {known['title']} | {name} | {' | '.join(row)} |")
    for row in aggregates:
        title, length = methods[row["method"]]["title"], row["metric"].removeprefix("top1_length")
        lines.append(
            f"| {title} | aggregate of {length} views | {_mean(row)} |{' |' * (len(MINI) - 1)}"
        )
    floors = [
        next((row["baseline"] for row in figures if row["metric"] == metric), None)
        for metric in MINI
    ]
    shown = ["" if floor is None else f"{round(floor, 3) + 0:.3f}" for floor in floors]
    return "\n".join([*lines, f"| constant predictor | | {' | '.join(shown)} |"])


def _mean(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    digits = 1 if "degrees" in row["metric"] else 3
    spread = "" if row["std"] is None else f" ± {row['std']:.{digits}f}"
    return f"{row['mean']:.{digits}f}{spread}"


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


def _live_rows(results: dict[str, Any]) -> list[str]:
    return [
        f"| views rendered in the loader, {size} px, a core (`live`) | "
        f"{row['views_per_second_and_core']['live']:.0f} views/s: "
        f"{100 * row['share_of_step']['live']:.0f} % of a SIE step's core-seconds (ResNet-18) | "
        f"reading them from shards: {row['views_per_second_and_core']['shards']:.0f} views/s |"
        for size, row in ((64, results["64px"]), (128, results["128px"]))
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
    """Rewrite the tables, or compare them; returns the exit code."""
    changed = False
    for file, tables in (
        ("README.md", {"demo": demo, "speed": speed}),
        ("METHODS.md", {"steps": steps}),
        ("docs/bench_mini.md", {"mini": mini, "mini_3000": longer}),
        *TABLES.items(),
    ):
        old = text = (ROOT / file).read_text()
        for name, make in tables.items():
            pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
            table = make()
            text = re.sub(pattern, lambda m, t=table: m[1] + t + "\n" + m[2], text, flags=re.DOTALL)  # type: ignore[misc]
        changed |= text != old
        if "--check" not in sys.argv:
            (ROOT / file).write_text(text)
    return int(changed and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
