"""``ssl-equiv completion``: a script that completes commands, options and files in a shell."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any, Literal, get_args, get_origin

import shtab

from ssl_equiv.cli import COMMANDS, module_of
from ssl_equiv.parsing import call, parser_of

SHELLS = ("bash", "zsh")


def main(args: list[str]) -> None:
    """Run ``ssl-equiv completion`` with command-line arguments ``args``."""
    call(completion, args, "completion")


def completion(shell: Literal["bash", "zsh"] = "bash") -> None:
    """Print a completion script.

    Keep it where the shell looks:
    ``ssl-equiv completion > ~/.local/share/bash-completion/completions/ssl-equiv``, or
    ``ssl-equiv completion --shell zsh > DIR/_ssl-equiv`` with DIR in zsh's ``fpath``.

    Args:
        shell: Whose.
    """
    print(shtab.complete(everything(), shell))


def everything() -> argparse.ArgumentParser:
    """One plain parser with all commands and their options."""
    root = argparse.ArgumentParser("ssl-equiv")
    commands = root.add_subparsers()
    for name, what in COMMANDS.items():
        command = commands.add_parser(name, help=what)
        if name == "submit":
            _add_kinds(command)
        elif name != "completion":
            _copy(parser_of(import_module(module_of(name)).main), command)
    return root


def _add_kinds(submit: argparse.ArgumentParser) -> None:
    from ssl_equiv.cli.submit import KINDS, options

    kinds = submit.add_subparsers()
    for name, what in KINDS.items():
        kind = kinds.add_parser(name, help=what)
        if name not in ("status", "stage"):
            _copy(options(name), kind)


def _copy(source: argparse.ArgumentParser, to: argparse.ArgumentParser) -> None:
    for action in source._actions:
        names = [n for n in action.option_strings if n.startswith("--") and not n.endswith("+")]
        if "--help" in names or action.dest in to._option_string_actions:
            continue
        given: dict[str, Any] = {"help": (action.help or "").split("\n")[0].replace("%", "%%")}
        if allowed := _choices(action):
            given["choices"] = allowed
        added = to.add_argument(*(names or [action.dest]), **given)
        if not allowed:
            added.complete = shtab.FILE  # type: ignore[attr-defined]


def _choices(action: argparse.Action) -> list[str]:
    """What an option may be, where that is a choice, a Literal or a bool; else nothing."""
    if action.choices is not None:
        return list(map(str, action.choices))
    found: list[str] = []
    kinds = [getattr(action, "_typehint", None)]
    while kinds:
        kind = kinds.pop()
        if get_origin(kind) is Literal:
            found += map(str, get_args(kind))
        elif kind is bool:
            found += ["true", "false"]
        else:
            kinds.extend(get_args(kind))
    return found
