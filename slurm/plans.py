"""From options to jobs: configurations are parsed, and compared with what is asked of Slurm."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slurm.asked import (
    Given,
    after,
    check_warning,
    dependency,
    devices_of,
    inherit,
    resources_of,
    site_of,
)
from slurm.queue import Stage
from slurm.records import folder_of, next_number, read_records
from slurm.resources import array_indices
from slurm.script import Job, Shell
from slurm.sweep import as_arguments, named, read_sweep
from ssl_equiv.errors import UserError

Config = dict[str, Any]


@dataclass(frozen=True)
class Commands:
    """What the plans need of the commands themselves.

    Attributes:
        options: Separates the launcher's options of a kind of job from the command's.
        config: The whole configuration that a command makes of its arguments, without acting.
        results: Where an evaluation of a model puts its results if nothing else is said.
        same: Refuses to continue a run directory under a configuration that is not its own.
    """

    options: Callable[[str, Sequence[str]], tuple[Given, list[str]]]
    config: Callable[[str, Sequence[str], Given], Config]
    results: Callable[[str], Path]
    same: Callable[[Path, Config], None]


def chain(kind: str, args: Sequence[str], commands: Commands) -> list[Stage]:
    """The jobs that are asked for, in their order.

    Args:
        kind: Of the first one.
        args: The launcher's options and the command's; those that begin with ``--eval.`` and
            ``--report.`` are of the jobs that follow.
        commands: The commands.

    Raises:
        UserError: a configuration does not parse, or contradicts what is asked of the cluster.
    """
    given, rest = commands.options(kind, args)
    own, later = _split(rest, given.then)
    plans = {"pretrain": _pretrain, "sweep": _pretrain, "eval": _eval, "generate": _generate}
    first = plans.get(kind, _report)(given, own, commands)
    stages, folder = [first], first.job.folder
    if "eval" in given.then:
        theirs, rest = commands.options("eval", later["eval"])
        inherit(theirs, given, "eval")
        if theirs.gpus_per_node is None and not first.job.resources.gpus_per_node:
            theirs.gpus_per_node = 0
        root = _data_root(yaml.safe_load(next(iter(first.files.values()))))[1]
        of_all = ["--data", root] if root else []
        of_all += ["--model", next(iter(first.runs), str(first.out))]
        stages.append(_eval(theirs, [*of_all, *rest], commands, first))
    if "report" in given.then:
        theirs, rest = commands.options("report", later["report"])
        inherit(theirs, given, "report")
        page = ["--out", str(first.out / "report.html")]
        stages.append(_report(theirs, [str(first.out), *page, *rest], commands, folder))
    return stages


def _pretrain(given: Given, args: list[str], commands: Commands) -> Stage:
    """Pretraining: one run, or an array of runs that differ in their seeds or as a file says."""
    config = commands.config("pretrain", args, given)
    if not config.get("out"):
        raise UserError("--out is missing: name the run directory")
    out, site = Path(config["out"]).absolute(), site_of("pretrain", given)
    folder = folder_of("pretrain", out)
    number = next_number(folder)
    resources, trainer = devices_of(config.get("trainer") or {}, given, site)
    check_warning(given, resources)
    names: tuple[str, ...] = ()
    array = ""
    if given.sweep or given.array:
        overrides, array = _runs(given)
        names = tuple(overrides)
        place = folder / f"{number:03d}-configs"
        path: str | Shell = Shell(f"{place}/$run.yaml")
        files = {}
        for name, some in overrides.items():
            try:
                one = commands.config("pretrain", [*args, *as_arguments(some)], given)
            except UserError as error:
                raise UserError(f"run {name}: {error}") from error
            if "out" in some:
                raise UserError(f"run {name}: its folder has its name: leave 'out' to --out")
            if (given.stage or "eval" in given.then) and _data_root(one) != _data_root(config):
                raise UserError(f"run {name} has other data: --stage and --then eval take one set")
            needed, theirs = devices_of(one.get("trainer") or {}, given, site)
            if needed != resources:
                raise UserError(f"run {name}: all runs of an array have the same devices and nodes")
            whole = {**one, "trainer": theirs, "out": str(out / name)}
            commands.same(out / name, whole)
            files[place / f"{name}.yaml"] = _text(whole)
    else:
        path = str(folder / f"{number:03d}-pretrain.yaml")
        whole = {**config, "trainer": trainer, "out": str(out)}
        commands.same(out, whole)
        files = {Path(path): _text(whole)}
    key, root = _data_root(config)
    stage: list[str] = []
    if given.stage:
        _check_shards(root)
        to = ["--to", site.local_disk] if site.local_disk else []
        stage = ["ssl-equiv", "submit", "stage", root, "--key", key, *to, "--"]
    if root and not Path(root).exists():
        print(f"note: {root}, the data, is not here yet", file=sys.stderr)
    job = Job(
        "sweep" if names else "pretrain",
        given.name or f"pretrain-{out.name}",
        folder,
        ["ssl-equiv", "pretrain", "--config", path],
        resources,
        site,
        Path.cwd(),
        mounts=_mounts(out, root),
        array=array,
        dependency=dependency(given.after),
        warning=given.warning,
        stage=stage,
        runs=names,
    )
    runs = tuple(str(out / name) for name in names)
    return Stage(job, out, number, files, runs=runs, after=after(given.after))


def _runs(given: Given) -> tuple[dict[str, Config], str]:
    """The runs of an array by name, and the array's indices."""
    _, percent, limit = (given.array or "").partition("%")
    if given.sweep is None:
        seeds: list[Config] = [{"seed_everything": seed} for seed in array_indices(given.array)]
        return named(seeds, f"--array {given.array}"), f"0-{len(seeds) - 1}{percent}{limit}"
    runs = read_sweep(given.sweep)
    if given.array and max(array_indices(given.array)) >= len(runs):
        raise UserError(f"--array is {given.array}, but {given.sweep} has runs 0-{len(runs) - 1}")
    return runs, given.array or f"0-{len(runs) - 1}"


def _eval(given: Given, args: list[str], commands: Commands, trained: Stage | None = None) -> Stage:
    """Evaluation of a model; or of the run or runs that ``trained`` makes."""
    config = commands.config("eval", args, given)
    for name in ("model", "data"):
        if not config.get(name):
            what = f"--{'eval.' if trained else ''}{name}"
            raise UserError(f"{what} is missing: ssl-equiv eval --help tells of it")
    model, site, job = config["model"], site_of("eval", given), trained and trained.job
    runs = trained.runs if trained else ()
    if runs and config["out"]:
        raise UserError("--eval.out is one folder, but the runs are many: leave it out")
    out = config["out"] or commands.results(model)
    if config["out"] is None and (trained or (Path(model) / "slurm").is_dir()):
        out = f"{model}/eval"  # where they will be once it is trained
    config["out"] = config["out"] and str(Path(out).absolute())
    devices = config.pop("devices", 1)
    resources = resources_of(given, site, 1, None if devices == 1 else devices)
    if resources.nodes > 1:
        raise UserError("--nodes: an evaluation runs on one node; give it more GPUs there")
    place = Path(out).absolute()
    if place == Path(model).absolute() / "eval":
        place = place.parent  # beside what has trained it
    folder = job.folder if job else folder_of("eval", place)
    number = next_number(folder) + (trained is not None)
    path = folder / f"{number:03d}-eval.yaml"
    word = Shell(f"{Path(runs[0]).parent}/$run") if runs else config.pop("model")
    config.pop("model", None)
    command = ["ssl-equiv", "eval", "--config", str(path), "--model", word]
    command += ["--devices", str(resources.tasks_per_node)]
    described = Job(
        "eval",
        given.name or f"eval-{Path(model).name if not runs else Path(runs[0]).parent.name}",
        folder,
        command,
        resources,
        site,
        Path.cwd(),
        mounts=_mounts(Path(out).absolute().parent, config["data"]),
        array=job.array if job else "",
        dependency=dependency(given.after),
        runs=job.runs if job else (),
    )
    return Stage(
        described,
        Path(out).absolute(),
        number,
        {path: _text(config)},
        runs=tuple(f"{run}/eval" for run in runs),
        follows="aftercorr" if runs else "afterok",
        after=after(given.after),
    )


def _generate(given: Given, args: list[str], commands: Commands) -> Stage:
    """Generation: an array of which each task renders one part."""
    config = commands.config("generate", args, given)
    if not config.get("out"):
        raise UserError("--out is missing: name the folder of the data set")
    for name in ("verify", "preview", "overlap", "shard"):
        if config.get(name) is not None:
            why = "--parts cuts the data set" if name == "shard" else "it renders no data set"
            raise UserError(f"--{name} is not for submit: {why}")
    out, site = Path(config["out"]).absolute(), site_of("generate", given)
    folder = folder_of("generate", out)
    number = next_number(folder)
    parts, array = _parts(given, folder)
    resources = resources_of(given, site, 0)
    if resources.tasks > 1:
        raise UserError("--nodes, --tasks_per_node: a part is one task; cut into more --parts")
    path = folder / f"{number:03d}-generate.yaml"
    command = ["ssl-equiv", "generate", "--config", str(path)]
    command += ["--shard", Shell(f"$SLURM_ARRAY_TASK_ID/{parts}")]
    if config.get("num_workers") is None and resources.cpus_per_task:
        command += ["--num_workers", str(resources.cpus_per_task)]
    job = Job(
        "generate",
        given.name or f"generate-{out.name}",
        folder,
        command,
        resources,
        site,
        Path.cwd(),
        mounts=_mounts(out.parent),
        array=array,
        dependency=dependency(given.after),
    )
    files = {path: _text({**config, "out": str(out)})}
    return Stage(job, out, number, files, parts=parts, after=after(given.after))


def _parts(given: Given, folder: Path) -> tuple[int, str]:
    """Into how many parts a data set is cut, and which of them are asked for."""
    known = [record.parts for record in read_records(folder)]
    indices = array_indices(given.array) if given.array else []
    parts = given.parts or (known[-1] if known else 0)
    if not parts:
        if not indices or indices != list(range(len(indices))):
            asked = f"--array is {given.array}, of how many?" if indices else ""
            raise UserError(f"--parts is missing{': ' * bool(asked)}{asked} give --parts 16")
        parts = len(indices)
    if parts < 1 or (indices and indices[-1] >= parts):
        raise UserError(f"--array is {given.array}, but there are parts 0-{parts - 1} alone")
    return parts, given.array or f"0-{parts - 1}"


def _report(given: Given, args: list[str], commands: Commands, folder: Path | None = None) -> Stage:
    """The page that compares runs."""
    config = commands.config("report", args, given)
    page, site = Path(config["out"]).absolute(), site_of("report", given)
    page = page if page.suffix == ".html" else page / "report.html"
    number = next_number(folder) + 2 if folder else next_number(folder_of("report", page))
    job = Job(
        "report",
        given.name or f"report-{page.parent.name}",
        folder or folder_of("report", page),
        ["ssl-equiv", "report", *map(str, config["directories"]), "--out", str(page)],
        resources_of(given, site, 0),
        site,
        Path.cwd(),
        mounts=_mounts(page.parent),
        dependency=dependency(given.after),
    )
    return Stage(job, page, number, after=after(given.after))


def _split(args: Sequence[str], then: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The first job's arguments, and ``--eval.KEY VALUE`` of the later ones by their names."""
    own: list[str] = []
    later: dict[str, list[str]] = {name: [] for name in ("eval", "report")}
    place = own
    for arg in args:
        if arg.startswith("--"):
            name, dot, rest = arg[2:].partition(".")
            place = later[name] if dot and name in then else own
            arg = f"--{rest}" if place is not own else arg
        place.append(arg)
    return own, later


def _data_root(config: Config) -> tuple[str, str]:
    """The option that names the data, and the data; empty where views are rendered on the fly."""
    data = config.get("data") or {}
    if "class_path" in data:
        return "data.init_args.root", (data.get("init_args") or {}).get("root") or ""
    return "data.root", data.get("root") or ""


def _check_shards(root: str) -> None:
    if not root:
        raise UserError("--stage: the run reads no data.root that could be copied: leave it out")
    if Path(root).is_dir() and not any(Path(root).glob("*.tar")):
        raise UserError(
            f"--stage copies shards, and {root} holds none: 'ssl-equiv convert {root} --out DIR' "
            "makes them, or leave --stage out"
        )


def _mounts(*paths: Path | str) -> tuple[Path, ...]:
    return tuple(Path(path).absolute() for path in paths if path)


def _text(config: Config) -> str:
    return yaml.safe_dump(config, sort_keys=False)
