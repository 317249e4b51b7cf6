"""Tables of the building blocks' pages, made of the result files as those of the README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
NONE = "Not measured yet: run the benchmark."


def _measured(name: str) -> tuple[dict[str, Any], str] | None:
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return None
    found = json.loads(path.read_text())
    machine = found["environment"]
    where = machine["gpu"] or f"{machine['cpu']}, {machine['cores']} cores"
    line = f"`{found['command']}`: {where}, torch {machine['torch']}, {machine['date'][:10]}."
    return found["results"], line


def shift_speed() -> str:
    """Models beside timm's, and anchoring alone."""
    lines = []
    for name in ("shift_vit", "shift_vit_compiled", "shift_vit_cuda", "shift_vit_cuda_compiled"):
        if (measured := _measured(name)) is None:
            continue
        results, line = measured
        lines += [
            line,
            "",
            "| model, 224 px | forward ms | over stock | step ms | over stock |",
            "| --- | --- | --- | --- | --- |",
            *(
                f"| `{model}` | {row['forward_ms']:.0f} | {row['forward_ratio']:.2f}× | "
                f"{row['step_ms']:.0f} | {row['step_ratio']:.2f}× |"
                for model, row in results["models"].items()
            ),
            f"| anchoring of the image alone | {results['anchoring_ms']:.1f} | "
            f"padding and sampling: {results['grid_sample_ms']:.1f} ms | | |",
            "",
        ]
    return "\n".join(lines[:-1]) or NONE


def shift_robustness() -> str:
    """Small models trained without shifts, and shown some."""
    if (measured := _measured("shift_robustness")) is None:
        return NONE
    results, line = measured
    changes = {
        "circular": "circular",
        "fraction": "by fractions",
        "ordinary": "ordinary",
        "turn": "quarter turns",
        "mirror": "mirrored",
    }

    def cell(row: dict[str, dict[str, float]], metric: str) -> str:
        figure = row[metric]
        spread = "" if figure["std"] is None else f" ± {100 * figure['std']:.1f}"
        return f"{100 * figure['mean']:.1f}{spread}"

    lines = [
        f"{line} {results['seeds']} seeds; accuracy, and share of answers that stay (%).",
        "",
        f"| model | as found | {' | '.join(changes.values())} | worst circular |",
        "| --- " * (len(changes) + 3) + "|",
    ]
    for name, row in results["models"].items():
        stay = [cell(row, f"{change}_consistency") for change in changes]
        lines.append(
            f"| {name} | {cell(row, 'accuracy')} | {' | '.join(stay)} | "
            f"{cell(row, 'circular_worst')} |"
        )
    jumps = results["jumps"]
    lines += [
        "",
        "How often half a pixel or less takes the anchor further than to the next pixel (%):",
        "",
        "| patch | smoothing 0 | 1 | 2 | 4 |",
        "| --- " * 5 + "|",
    ]
    for patch in (4, 8, 16):
        shares = [f"{100 * jumps[f'{patch}, smoothing {s}']:.0f}" for s in (0, 1, 2, 4)]
        lines.append(f"| {patch} | {' | '.join(shares)} |")
    return "\n".join(lines)


def bases() -> str:
    """Coherence over the Welch bound against seconds."""
    if (measured := _measured("equiangular")) is None:
        return NONE
    results, line = measured
    lines = [
        line,
        "",
        "| K × d | Welch bound | ours: seconds → ratio | SGD on the hinge | random |",
        "| --- " * 5 + "|",
    ]
    for size, row in results["sizes"].items():
        bound = row["bound"]

        def curve(points: list[dict[str, float]], bound: float = bound) -> str:
            shown = [points[0], *points[1:-1:2], points[-1]] if len(points) > 4 else points
            if not bound:
                return f"{points[-1]['seconds']:.1f} s → {points[-1]['coherence']:.0e} (exact)"
            return ", ".join(f"{p['seconds']:.1f} s → {p['coherence'] / bound:.3f}" for p in shown)

        hinge = curve(row["hinge"]) if bound else f"{row['hinge'][-1]['coherence']:.3f}"
        random = (
            f"{row['random_coherence'] / bound:.2f}" if bound else f"{row['random_coherence']:.2f}"
        )
        cells = [size.replace("x", " × "), f"{bound:.4f}", curve(row["ours"]), hinge, random]
        lines.append(f"| {' | '.join(cells)} |")
        if "made_mib" in row:
            lines.append(
                f"| | | {row['made_mib']:.0f} MiB to make, {row['checked_mib']:.0f} MiB to check, "
                f"of which the vectors are {row['basis_mib']:.0f} | | |"
            )
    return "\n".join(lines)


def heads() -> str:
    """Heads: what they cost and how right they are."""
    if (measured := _measured("equiangular_heads")) is None:
        return NONE
    results, line = measured
    lines = [
        line,
        "",
        "| K | head | learnt parameters | held MiB | a step: MiB more | ms |",
        "| --- " * 6 + "|",
    ]
    for classes, rows in results["costs"].items():
        for head, row in rows.items():
            if "refused" in row:
                lines.append(f"| {int(classes):,} | {head} | {row['refused']} | | | |")
                continue
            lines.append(
                f"| {int(classes):,} | {head} | {row['parameters']:,.0f} | {row['held_mib']:.0f} | "
                f"{row['step_mib']:.0f} | {row['step_ms']:.0f} |"
            )
    lines += [
        "",
        f"Accuracy (%), {results['seeds']} seeds, {results['epochs']} epochs:",
        "",
        f"| data | {' | '.join(next(iter(results['accuracy'].values())))} |",
        "| --- " * (1 + len(next(iter(results["accuracy"].values())))) + "|",
    ]
    for name, row in results["accuracy"].items():
        cells = [
            f"{100 * f['mean']:.1f}" + (f" ± {100 * f['std']:.1f}" if f["std"] is not None else "")
            for f in row.values()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


TABLES = {
    "docs/shift_equivariance.md": {
        "shift_speed": shift_speed,
        "shift_robustness": shift_robustness,
    },
    "docs/equiangular.md": {"bases": bases, "heads": heads},
}
