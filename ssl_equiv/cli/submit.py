"""``ssl-equiv submit``: render a job script from a template, show it, queue it."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import yaml
from rich.console import Console
from rich.table import Table

from slurm.resources import duration
from slurm.stage import local_folder, run_staged, stage
from slurm.status import as_json, describe, status
from ssl_equiv.cli import module_of
from ssl_equiv.errors import UserError

KINDS = {
    "pretrain": "train a method; --array 0-4 trains five seeds",
    "sweep": "train many runs that differ by a YAML file of overrides",
    "eval": "judge a run or a model",
    "generate": "render a data set, in parts",
    "report": "compare runs on one page",
    "status": "what a run is doing: submit status DIR",
    "stage": "copy shards to this node's disk: submit stage DATA [--to DIR] [-- COMMAND]",
}
_USAGE = "\n".join(
    ["usage: ssl-equiv submit KIND [options] [options of the command]", "", "kinds:"]
    + [f"  {name:10} {what}" for name, what in KINDS.items()]
    + ["", "'ssl-equiv submit KIND --help' shows a kind's options; docs/slurm.md tells the whole."]
)
_CHAIN = ("eval", "report")


def main(args: list[str]) -> None:
    """Run ``ssl-equiv submit`` with command-line arguments ``args``."""
    if not args or args[0] in ("-h", "--help"):
        print(_USAGE)
        raise SystemExit(0 if args else 2)
    kind, rest = args[0], args[1:]
    if kind not in KINDS:
        close = difflib.get_close_matches(kind, KINDS, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"it is one of {', '.join(KINDS)}"
        raise UserError(f"submit has no kind {kind!r}: {hint}")
    if kind == "status":
        _show_status(rest)
    elif kind == "stage":
        _stage(rest)
    else:
        _submit(kind, rest)


def _submit(kind: str, args: Sequence[str]) -> None:
    # first the launcher's own options: --help needs nothing that is slow to import
    given, _ = separate(kind, args)
    from slurm.plans import Commands, chain
    from slurm.queue import queue, show

    stages = chain(kind, args, Commands(separate, read_config, _results, _same))
    show(stages) if given.dry_run else queue(stages)


def separate(kind: str, args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The launcher's own options, and what goes through to the command."""
    mine, after = list(args), []
    if "--" in mine:
        at = mine.index("--")
        mine, after = mine[:at], mine[at + 1 :]
    given, through = options(kind).parse_known_args(mine)
    for name in given.then:
        if name not in _CHAIN:
            raise UserError(f"--then {name}: it takes {' and '.join(_CHAIN)}, as in eval,report")
    return given, [*through, *after]


def read_config(kind: str, args: Sequence[str], given: argparse.Namespace) -> dict[str, Any]:
    """What a command makes of its arguments, as its ``--print_config`` tells.

    Raises:
        UserError: they do not parse; a launcher's option that is nearly one is told.
    """
    command = import_module(module_of(kind)).main
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text):
            command([*args, "--print_config"])
    except SystemExit as end:
        if end.code:
            raise
    except UserError as error:
        unknown = re.match(r"unknown key (\w+):", str(error))
        if unknown and (near := difflib.get_close_matches(unknown[1], vars(given), 1, 0.75)):
            raise UserError(f"unknown option --{unknown[1]}: did you mean --{near[0]}?") from error
        raise
    config = yaml.safe_load(text.getvalue())
    assert isinstance(config, dict), config
    if kind == "generate":  # whose entries the command's parser leaves to the recipe
        from data_gen.recipe import Recipe

        Recipe.from_dict(config["recipe"])
    return config


def _results(model: str) -> Path:
    from ssl_equiv.cli.evaluate import _default_folder

    return _default_folder(model)


def _same(run: Path, config: dict[str, Any]) -> None:
    from ssl_equiv.cli.configuration import check_same

    check_same(run, config, bool(config.get("redistribute")))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line in place of the usage."""
        raise UserError(re.sub(r"^argument (--\w+)[^:]*:", r"\1:", message))


def options(kind: str) -> argparse.ArgumentParser:
    """The launcher's options of a kind of job."""
    parser = _Parser(
        prog=f"ssl-equiv submit {kind}",
        description=f"{KINDS[kind].capitalize()}. Other options go to the command, which checks "
        "them before anything is queued; so does all that follows '--'.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--nodes", type=int, help="nodes (default 1)")
    add("--gpus_per_node", type=int, help="GPUs of each node, one task each; 0: processors")
    add("--tasks_per_node", "--ntasks_per_node", type=int, help="processes on each node")
    add("--cpus_per_task", type=int, help="processor cores of each process")
    add("--mem", help="memory of each node, as in 64G")
    add("--time", help="time limit, as in 24:00:00 or 2-00:00:00")
    add("--account", help="whom the job is charged to")
    add("--partition", help="where it runs")
    add("--qos", help="quality of service")
    add("--constraint", help="features that nodes must have")
    add("--container_image", help="image that the tasks run in (pyxis)")
    add(
        "--sbatch", action="append", default=[], help="a further option, as in --sbatch=--exclusive"
    )
    add("--site", help="YAML file of the cluster's defaults")
    add("--name", help="the job's name")
    add("--after", help="start after these jobs have ended well: 12,13; or afterany:12")
    add("--dry_run", action="store_true", help="show the scripts and submit nothing")
    parser.set_defaults(array=None, then=[], stage=False, warning=120, parts=None, sweep=None)
    if kind in ("pretrain", "sweep", "generate"):
        what = {"pretrain": "seeds, one run each", "sweep": "only these runs", "generate": "parts"}
        add("--array", help=f"{what[kind]}: 0-15, 3, 1,4-7; after a %% how many at once")
    if kind in ("pretrain", "sweep"):
        add("--then", type=_names, help="what follows: eval, or eval,report (--eval.KEY sets it)")
        add("--stage", action="store_true", help="copy the shards to the nodes' own disks first")
        add("--warning", type=int, help="seconds before the time limit to save at (default 120)")
    if kind == "sweep":
        add("--sweep", required=True, help="YAML file with 'grid' or 'runs' of overrides")
    if kind == "generate":
        add("--parts", type=int, help="into how many parts the data set is cut")
    return parser


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _stage(args: list[str]) -> None:
    args, command = (
        (args[: args.index("--")], args[args.index("--") + 1 :]) if "--" in args else (args, [])
    )
    parser = _Parser(prog="ssl-equiv submit stage", description=KINDS["stage"], allow_abbrev=False)
    parser.add_argument("data", help="a data set of shards")
    parser.add_argument("--to", help="folder on this node's disk (SLURM_TMPDIR, else TMPDIR)")
    parser.add_argument("--key", default="data.root", help="option that tells COMMAND the copy")
    given = parser.parse_args(args)
    if command:
        run_staged(given.data, given.key, given.to, command)
    print(stage(Path(given.data), local_folder(given.to)))


def _show_status(args: list[str]) -> None:
    parser = _Parser(
        prog="ssl-equiv submit status", description="What a run is doing.", allow_abbrev=False
    )
    parser.add_argument("directory", help="a run, a sweep, or a data set")
    parser.add_argument("--json", action="store_true", help="for programs")
    given = parser.parse_args(args)
    runs = status(given.directory)
    if given.json:
        print(as_json(runs))
        return
    console = Console(highlight=False, soft_wrap=True)
    if len(runs) == 1:
        console.print(str(runs[0].path), style="bold", markup=False)
        for label, text in describe(runs[0]):
            console.print(f"  {label:12}{text}", markup=False)
        return
    table = Table("run", "state", "restarts", "step", "views/s", "last metric", "checkpoint")
    for run in runs:
        told = dict(describe(run))
        table.add_row(
            run.path.name,
            (run.failure and f"{run.state}: {run.failure}") or run.state,
            "" if run.restarts is None else str(run.restarts),
            told.get("step", ""),
            "" if run.speed is None else f"{run.speed:,.0f}",
            told.get("last metric", ""),
            "" if run.checkpoint is None else f"{duration(run.checkpoint[1])} ago",
        )
    (console if sys.stdout.isatty() else Console(width=160)).print(table)
