"""Configurations: types from signatures, errors in one line that names the nearest valid key."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import partial
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar, get_origin, get_type_hints

from jsonargparse import ArgumentParser
from pytorch_lightning.cli import LightningArgumentParser

from ssl_equiv.errors import UserError, user_error
from ssl_equiv.help import BriefHelp, HelpAll, format_some

T = TypeVar("T")

_UNKNOWN = (
    re.compile(r"unrecognized arguments: --(?P<key>[\w.]+)"),
    re.compile(r"Group '(?P<group>[\w.]+)' does not accept option '(?P<key>[\w.]+)'"),
    re.compile(r"Option '(?P<key>[\w.]+)' is not accepted"),
)
_NOT_A_CLASS = re.compile(r"Expected a dot import path string: (?P<name>\S+)")
_WRONG_TYPE = re.compile(
    r'(?:Parser key "(?P<key>[\w.]+)":[^"]*?)?'
    r"Expected an? (?:<class '(?P<type>[^']+)'>|typing\.(?P<other>\w+\[[^\]]*\]))"
)
_NO_FILE = re.compile(
    r'(?:Parser key "(?P<key>[\w.]+)":.*?)?File does not exist: \'(?P<path>[^\']+)\''
)
_NO_OPTIONS = re.compile(r"Unexpected config:(?P<text>.*)")
_GIVEN = re.compile(r"(?:Got value|Given value): (?!Namespace|NestedArg|\{)(?P<value>\S+)")
# what a parser of a nested class said, inside the message of the one around it
_INNER = re.compile(
    r"- (?P<unknown>unknown key )?(?P<key>[\w.]+): "
    r"(?:did you mean (?P<near>[\w.]+)\?|(?P<rest>expected .+?, got \S+|--help lists the keys))"
)


class Parser(LightningArgumentParser):
    """jsonargparse's parser whose errors are a :class:`UserError` of one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # a usage line of every option would fill the screen
        mine = {"usage": "%(prog)s [options]", "formatter_class": BriefHelp, "allow_abbrev": False}
        super().__init__(*args, **{**mine, **kwargs})
        self.classes: dict[str, type] = {}
        self.entries: dict[str, tuple[str, ...]] = {}  # what a mapping may hold, by its option
        self.shown: frozenset[str] = frozenset()  # in --help; all where it is empty

    def shorten_help(self, shown: Iterable[str]) -> None:
        """Let ``--help`` tell of these options alone, and ``--help_all`` of all."""
        self.shown = frozenset({*shown, "help", "help_all", "print_config"})
        self.add_argument("--help_all", action=HelpAll, help="Show every option and exit.")

    def format_help(self, *args: Any) -> str:
        """The options, or those of :meth:`shorten_help`."""
        for action in self._actions:
            if "--print_config" in action.option_strings:
                action.help = "Print the whole configuration and exit."
        whole = partial(super().format_help, *args)
        return format_some(self, self.shown, whole) if self.shown else whole()

    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        """As jsonargparse's, or the end of :func:`parser_of`."""
        if _ASKED.get():
            raise _Found(self)
        return super().parse_args(*args, **kwargs)

    def add_lightning_class_args(
        self,
        lightning_class: Any,
        nested_key: str,
        subclass_mode: bool = False,
        required: bool = True,
    ) -> list[str]:
        """Remember the classes: their arguments are offered when a key is mistyped."""
        if isinstance(lightning_class, type):
            self.classes[nested_key] = lightning_class
        return super().add_lightning_class_args(
            lightning_class, nested_key, subclass_mode, required
        )

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the telling part of the message in one line."""
        raise UserError(self.one_line(message)) from ex

    def one_line(self, message: str) -> str:
        """What is wrong, where, and the nearest valid name; whole where nothing is recognised."""
        outer = re.match(r'Parser key "(?P<key>[\w.]+)"', message)
        prefix = outer["key"] if outer else ""
        text = " ".join(message.split())
        if (inner := _INNER.search(text)) and prefix:
            rest = inner["rest"] or f"did you mean {prefix}.{inner['near']}?"
            return f"{inner['unknown'] or ''}{prefix}.{inner['key']}: {rest}"
        for pattern in _UNKNOWN:
            if found := pattern.search(text):
                group = found.groupdict().get("group") or ""
                key = ".".join(part for part in (prefix, group, found["key"]) if part)
                return f"unknown key {key}: {self._nearest(key)}"
        if self.classes and (found := _NOT_A_CLASS.search(text)):
            names = [cls.__name__ for base in self.classes.values() for cls in _family(base)]
            close = difflib.get_close_matches(found["name"], names, 2)
            hint = f"did you mean {' or '.join(close)}?" if close else f"use {', '.join(names)}"
            return f"{prefix}: no class {found['name']!r}: {hint}"
        if found := _NO_FILE.search(text):
            return f"--{found['key'] or 'config'}: no file {found['path']}"
        if found := _NO_OPTIONS.search(text):
            what = found["text"].strip() or "nothing"
            return f"a configuration file must hold options, as in 'seed: 1': it holds {what[:60]}"
        wrong = [m for m in _WRONG_TYPE.finditer(text) if m["type"] != "NoneType"]
        given = _GIVEN.search(text)
        if wrong and given:
            keys = [prefix] + [m["key"] for m in wrong if m["key"] and m["key"] != prefix]
            expected = (wrong[-1]["type"] or wrong[-1]["other"]).rsplit(".", 1)[-1]
            if expected.startswith("Literal["):
                expected = f"one of {expected[8:-1]}"
            return f"{'.'.join(k for k in keys if k)}: expected {expected}, got {given['value']}"
        return text

    def _nearest(self, key: str) -> str:
        known = sorted(set(self._known()))
        close = difflib.get_close_matches(key, known, 1, cutoff=0.5)
        last = key.rsplit(".", 1)[-1].replace("-", "_")
        alike = [k for k in known if k.rsplit(".", 1)[-1] == last]
        best = (alike or close)[:1]
        return f"did you mean {best[0]}?" if best else "--help lists the keys"

    def _known(self) -> Iterator[str]:
        for action in self._actions:
            yield from (option.lstrip("-") for option in action.option_strings)
        for option, names in self.entries.items():
            yield from (f"{option}.{name}" for name in names)
        for nested_key, base in self.classes.items():
            for cls in _family(base):
                yield from _argument_names(cls, nested_key)


_ASKED: ContextVar[bool] = ContextVar("asked", default=False)


class _Found(Exception):
    """Ends a command whose parser is asked for."""


def parser_of(command: Callable[[list[str]], Any]) -> Parser:
    """The parser of a command, which does not run.

    Args:
        command: The ``main`` of a module that parses its arguments with a :class:`Parser`.
    """
    token = _ASKED.set(True)
    try:
        command([])
    except _Found as found:
        parser: Parser = found.args[0]
        return parser
    finally:
        _ASKED.reset(token)
    raise AssertionError(f"{command} parses no arguments")


def _family(base: type) -> list[type]:
    children: list[type] = base.__subclasses__()
    return [base, *(cls for child in children for cls in _family(child))]


def _argument_names(cls: type, prefix: str) -> Iterator[str]:
    hints = get_type_hints(cls.__init__)  # type: ignore[misc]
    for name in inspect.signature(cls).parameters:
        yield f"{prefix}.{name}"
        if dataclasses.is_dataclass(hint := hints.get(name)) and isinstance(hint, type):
            yield from _argument_names(hint, f"{prefix}.{name}")


def instantiate(base: type[T], description: Mapping[str, Any]) -> T:
    """Make an object of ``base`` or a subclass from ``{"class_path", "init_args"}``.

    Raises:
        UserError: no such class, not a subclass, or wrong arguments.
    """
    parser: ArgumentParser = Parser()
    parser.add_subclass_arguments(base, "object")
    config = parser.parse_object({"object": dict(description)})
    try:
        return parser.instantiate(config).object  # type: ignore[no-any-return]
    except ValueError as error:
        if cause := user_error(error):
            raise cause from error
        raise


def call(
    function: Callable[..., Any],
    args: list[str],
    command: str,
    positional: Mapping[str, str] = MappingProxyType({}),
    entries: Mapping[str, Iterable[str]] = MappingProxyType({}),
    classes: Mapping[str, type] = MappingProxyType({}),
    advanced: tuple[str, ...] = (),
) -> Any:
    """Call ``function`` with command-line arguments named, typed and described by its signature.

    Args:
        function: Its parameters become options.
        args: The command line.
        command: Name of the subcommand, for the usage line.
        positional: Parameters that are given without a name, and their help; one that is a list
            takes one value or more.
        entries: What parameters that are mappings may hold: offered when a key is mistyped.
        classes: Base of the objects that parameters hold: subclasses are offered likewise.
        advanced: Parameters of several options each, which ``--help`` leaves to ``--help_all``.

    Returns:
        What the function does.

    Raises:
        UserError: the arguments do not fit.
    """
    summary = (inspect.getdoc(function) or "").partition("\n\nArgs:")[0]  # options tell the rest
    parser = Parser(prog=f"ssl-equiv {command}", description=summary)
    parser.entries = {name: tuple(names) for name, names in entries.items()}
    parser.classes.update(classes)
    parser.add_argument("--config", action="config", help="YAML file with any of the options.")
    hints = get_type_hints(function)
    for name, text in positional.items():
        several: dict[str, Any] = {"nargs": "+"} if get_origin(hints[name]) is list else {}
        parser.add_argument(name, type=str, help=text, **several)
    parser.add_function_arguments(function, as_group=False, skip=set(positional))
    if advanced:
        names = (name[2:] for action in parser._actions for name in action.option_strings)
        parser.shorten_help(name for name in names if name.partition(".")[0] not in advanced)
    config = parser.parse_args(args)
    config.pop("config", None)
    return function(**parser.instantiate(config).as_dict())
