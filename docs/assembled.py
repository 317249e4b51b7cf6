"""Parts of pages that are made of other files: METHODS.md, configurations, result files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from benchmarks import blocks_table, table
from benchmarks.lidar_ablation import table as lidar_table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
# what the signatures of a page's building blocks are shown of, behind its text
ARGUMENTS = {
    "backbones/timm.md": ("ssl_equiv.backbones.factory.BackboneConfig",),
    "backbones/lidar.md": (
        "ssl_equiv.backbones.lidar.factory.EncoderConfig",
        "ssl_equiv.backbones.lidar.bev.BevConfig",
    ),
    "backbones/capsules.md": ("ssl_equiv.heads.capsules.Capsules",),
}
TITLES = {
    "checkpoints": "Saving, and asking whether to end",
    "demo": "The demo",
    "equiangular": "Equiangular basis vectors",
    "equiangular_heads": "Equiangular heads",
    "eval": "Evaluation",
    "generate": "The generator",
    "groups": "Groups",
    "lidar": "LiDAR encoders",
    "lidar_ablation": "E-SSL3D's objectives",
    "lidar_data": "LiDAR data",
    "live": "Views rendered in the loader",
    "load": "Reading views",
    "memory": "Memory kept between steps",
    "methods": "A step of each method",
    "mini": "The reference table",
    "mini_3000": "The reference table: 3,000 steps of VICReg and SIE",
    "predictor": "SIE's predictor",
    "scaling": "Several processes",
    "shift_robustness": "Shift-equivariant transformers: robustness",
    "shift_vit": "Shift-equivariant transformers: speed",
    "sie_trials": "Trials of SIE on a small budget",
    "sie_trials_6000": "Trials of SIE: 6,000 steps",
    "transforms": "Augmentations",
}
LIDAR = "Detectors from few labels, average precision in percent;"
# tables that stand on a page of their own; the others have rows in the README's
TABLES = {
    "demo": table.demo,
    "equiangular": blocks_table.bases,
    "equiangular_heads": blocks_table.heads,
    "methods": table.steps,
    "mini": table.mini,
    "shift_robustness": blocks_table.shift_robustness,
    "shift_vit": blocks_table.shift_speed,
}


def rows() -> dict[str, dict[str, str]]:
    """METHODS.md's table: the cells of each class, by the heads of the columns."""
    lines = [line for line in (ROOT / "METHODS.md").read_text().splitlines() if line[:1] == "|"]
    found: dict[str, dict[str, str]] = {}
    heads: list[str] = []
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in ("method", "regularizer", "config"):
            heads = cells
        elif heads[:1] == ["method"] and (name := re.fullmatch(r"`(\w+)`", cells[0])):
            found[name[1]] = dict(zip(heads, cells, strict=True))
    return found


def modules() -> dict[str, str]:
    """The module of each class of METHODS.md in its order, which is also the name of its page."""
    homes = {
        name: path.stem
        for path in (ROOT / "ssl_equiv" / "methods").glob("*.py")
        for name in re.findall(r"^class (\w+)\(", path.read_text(), re.MULTILINE)
    }
    return {name: homes[name] for name in rows()}


def configurations(name: str) -> list[str]:
    """The configurations of a class in configs/pretrain; the one of METHODS.md comes first."""
    found = [stem for stem, model in _trained().items() if model == name]
    named = rows()[name]["config"]
    return sorted(found, key=lambda stem: f"[{stem}.yaml]" not in named)


@cache
def _trained() -> dict[str, str]:
    """The class that each file of configs/pretrain trains."""
    files = sorted((ROOT / "configs" / "pretrain").glob("*.yaml"))
    return {path.stem: _class(yaml.safe_load(path.read_text())) for path in files}


def _class(entry: Mapping[str, Any]) -> str:
    path: str = entry.get("model", {}).get("class_path", "")
    return path.split(".")[-1]


def method(name: str) -> str:
    """What stands behind the text of a method's page.

    Args:
        name: A class of METHODS.md.
    """
    row, configs = rows()[name], configurations(name)
    module = f"ssl_equiv/methods/{modules()[name]}.py"
    test = re.findall(r"\((tests/[^)]*)\)", row["test"])
    facts = {
        "paper": row["paper"] or "none",
        "code": f"`{module}`",
        "compared with published numbers": row["parity file"],
        "test": f"`{test[0]}`",
    }
    parts = ["## Facts", _two_columns(facts), *_costs(configs), *_results(name), "## Configuration"]
    for number, stem in enumerate(configs):
        text = (ROOT / "configs" / "pretrain" / f"{stem}.yaml").read_text()
        body = "".join(f"    {line}\n" for line in f"```yaml\n{text}```".splitlines())
        opened = "" if number else "+"
        parts.append(f'???{opened} example "configs/pretrain/{stem}.yaml"\n\n{body}')
    return "\n\n".join([*parts, arguments([f"ssl_equiv.methods.{modules()[name]}.{name}"])])


def arguments(names: Iterable[str]) -> str:
    """Signatures and arguments out of docstrings, for mkdocstrings."""
    chosen = (
        "members: false",
        "heading_level: 3",
        "show_root_full_path: false",
        "show_root_toc_entry: false",
        "skip_local_inventory: true",  # links to them lead to the reference
    )
    options = "\n      ".join(chosen)
    blocks = [f"::: {name}\n    options:\n      {options}" for name in names]
    return "\n\n".join(["## Arguments", *blocks])


def benchmarks() -> str:
    """Every result file: its command, machine, date and load, and its figures."""
    speed = table.speed().splitlines()
    parts = []
    for path in sorted(RESULTS.glob("*.json"), key=lambda path: title(path.stem)):
        name, found = path.stem, json.loads(path.read_text())
        parts += [
            f"## {title(name)}",
            _origin(name, found),
            _figures(name, found["results"], speed),
        ]
    return "\n\n".join(parts)


def title(name: str) -> str:
    """The head of a result file's section; that of ``methods_bf16`` is made of ``methods``."""
    known = max((key for key in TITLES if name.startswith(key)), key=len, default=name)
    variant = name.removeprefix(known).replace("_", " ").strip()
    return TITLES.get(known, name) + (f" ({variant})" if variant else "")


def _origin(name: str, found: Mapping[str, Any]) -> str:
    """Command, machine, date and load of a result file."""
    if "environment" not in found:  # an evaluation's results.json
        commits = {row["commit"] for row in found["results"]}
        return (
            f"`{name}.json` is the `results.json` of `ssl-equiv demo`, which tells no machine and "
            f"no date, but the commit: `{', '.join(sorted(commits))}`."
        )
    machine = found["environment"]
    where = machine["gpu"] or machine["cpu"]
    facts = (
        f"`{found['command']}`",
        f"{where}, {machine['cores']} cores",
        f"{machine['date'][:16].replace('T', ' ')} UTC",
        f"load {machine['load']:.2f} at the end",
        f"Python {machine['python']}, torch {machine['torch']}",
        f"`benchmarks/results/{name}.json`",
    )
    return " · ".join(facts)


def _figures(name: str, results: Any, speed: list[str]) -> str:
    """The main figures of a result file, by the functions that make the tables elsewhere."""
    if name in TABLES:
        text = TABLES[name]()
        # the machine has been told already
        return re.sub(r"^`python -m [^\n]*\n\n", "", text) if name != "demo" else text
    if name in ("sie_trials", "sie_trials_6000", "mini_3000"):
        return table.mini_table(results)
    if name == "lidar_ablation":
        return f"{LIDAR} {lidar_table(results)}"
    if found := [line for line in speed if f"(`{name}`" in line]:
        plain = [re.sub(rf" \(`{name}`(?:, (\w+))?\)", r" (\1)", line) for line in found]
        plain = [line.replace(" ()", "") for line in plain]
        return "\n".join(["| what | measured | beside |", "| --- | --- | --- |", *plain])
    return _plain(results)


def _plain(results: Mapping[str, Any]) -> str:
    """Figures that no table elsewhere is made of: alike runs by columns, others by rows."""
    alike = {name: runs for name, value in results.items() if (runs := _alike(value))}
    single = dict(_leaves({k: v for k, v in results.items() if k not in alike}))
    parts = [_two_columns(single)] if single else []
    for runs in alike.values():
        heads = [name.replace("_", " ") for name in runs[0]]
        lines = [f"| {' | '.join(map(_told, run.values()))} |" for run in runs]
        parts.append("\n".join([f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|", *lines]))
    return "\n\n".join(parts)


def _alike(value: Any) -> list[dict[str, Any]]:
    """Runs of the same figures, each with its name where it has one; none of anything else."""
    if isinstance(value, Mapping):
        named = all(isinstance(run, Mapping) for run in value.values())
        value = [{"": name, **run} for name, run in value.items()] if named else []
    if not isinstance(value, list) or not all(isinstance(run, Mapping) for run in value):
        return []
    plain = ({k: v for k, v in run.items() if not isinstance(v, (list, dict))} for run in value)
    runs = list(plain)
    return runs if len({tuple(run) for run in runs}) == 1 else []


def _leaves(results: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, str]]:
    """The single figures of a tree, each under its path; settings are told in one."""
    for key, value in results.items():
        name = f"{before}, {key}" if before else key.replace("_", " ")
        if isinstance(value, Mapping) and key != "setting":
            yield from _leaves(value, name)
        elif isinstance(value, Mapping):
            yield name, ", ".join(f"{inner} {_told(told)}" for inner, told in value.items())
        else:
            yield name.replace("_", " "), _told(value)


def _told(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _costs(configs: list[str]) -> list[str]:
    """What a step of these configurations costs, out of METHODS.md's table."""
    lines = table.steps().splitlines()
    measured = [line for line in lines if line.startswith(tuple(f"| `{c}` |" for c in configs))]
    if not measured:
        return []
    return ["## What a step costs", "\n".join([*lines[:4], *measured])]


def _results(name: str) -> list[str]:
    """A method's rows of the reference tables, between random weights and a constant."""
    if name == "ESSL3D":
        found = json.loads((RESULTS / "lidar_ablation.json").read_text())["results"]
        return ["## Measured", f"{LIDAR} {lidar_table(found)}"]
    settings = yaml.safe_load((ROOT / "configs" / "bench" / "mini.yaml").read_text())["methods"]
    mine = {key for key, entry in settings.items() if _class(entry) == name}
    results = json.loads((RESULTS / "mini.json").read_text())["results"]
    kept = [row for row in results["figures"] if row["method"] in {*mine, "random"}]
    if not mine & {row["method"] for row in kept}:
        return []
    text = table.mini_table({**results, "figures": kept})
    return ["## Measured", "Rows of [the reference table](../bench_mini.md): " + text]


def _two_columns(facts: Mapping[str, str]) -> str:
    lines = [f"| {name} | {told} |" for name, told in facts.items()]
    return "\n".join(["| | |", "| --- | --- |", *lines])
