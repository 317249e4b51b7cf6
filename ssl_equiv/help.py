"""What ``--help`` of a command looks like: one screen, without what the eye skips."""

from __future__ import annotations

import argparse
import re
from typing import Any

from jsonargparse import DefaultHelpFormatter


class BriefHelp(DefaultHelpFormatter):
    """Options with their defaults; of types, N stands for integers and X for floats."""

    def __init__(self, prog: str, **kwargs: Any) -> None:
        super().__init__(prog, **{"max_help_position": 34, **kwargs})  # type: ignore[no-untyped-call]

    def _get_help_string(self, action: argparse.Action) -> str:
        text = (action.help or "").strip()
        if action.required:
            return f"{text} (required)"
        plain: tuple[Any, ...] = (None, False, argparse.SUPPRESS, [], {}, "")
        return (
            text
            if action.default in plain or not action.option_strings
            else (f"{text} (default: %(default)s)")
        )

    def _format_action_invocation(self, action: argparse.Action) -> str:
        names = action.option_strings
        try:  # that NAME+ appends to a list is for the reference
            action.option_strings = [name for name in names if not name.endswith("+")]
            return super()._format_action_invocation(action)
        finally:
            action.option_strings = names

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        kind = str(getattr(action, "_typehint", action.type)).lower()
        if re.search(r"int\b", kind):
            return "N"
        return "X" if re.search(r"float\b", kind) else "VALUE"


class HelpAll(argparse.Action):
    """Shows all that a shortened ``--help`` leaves out."""

    def __init__(self, option_strings: list[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, 0, default=argparse.SUPPRESS, **kwargs)

    def __call__(self, parser: Any, *_: Any) -> None:
        """Show and exit."""
        parser.shown = frozenset()
        parser.print_help()
        parser.exit()


def format_some(parser: argparse.ArgumentParser, shown: frozenset[str], whole: Any) -> str:
    """What ``whole()`` makes of a parser whose options but for ``shown`` are left out."""
    groups, texts = parser._action_groups, [action.help for action in parser._actions]
    try:
        for action in parser._actions:
            names = {name[2:] for name in action.option_strings}
            if names and not names & shown:
                action.help = argparse.SUPPRESS
        parser._action_groups = [g for g in groups if any(map(_is_shown, g._group_actions))]
        text: str = whole()
        return text
    finally:
        parser._action_groups = groups
        for action, help_text in zip(parser._actions, texts, strict=True):
            action.help = help_text


def _is_shown(action: argparse.Action) -> bool:
    return action.help is not argparse.SUPPRESS
