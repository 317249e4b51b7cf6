"""Configurations that come with the package, wherever a command is called."""

from __future__ import annotations

from pathlib import Path

from ssl_equiv.errors import UserError

_PREFIX = "configs/"


def shipped(name: str) -> Path:
    """A configuration by its place below ``configs``, as in ``data/demo.yaml``.

    Raises:
        UserError: there is none.
    """
    found = _found(name)
    if found is None:
        raise UserError(f"the configuration {name} is missing from this installation")
    return found


def with_shipped(args: list[str]) -> list[str]:
    """Arguments in which ``configs/...`` that is not in the working directory is the package's."""
    return [_replaced(arg) for arg in args]


def _replaced(arg: str) -> str:
    key, equals, value = arg.partition("=") if arg.startswith("--") else ("", "", arg)
    if not value.startswith(_PREFIX) or Path(value).exists():
        return arg
    found = _found(value[len(_PREFIX) :])
    return arg if found is None else f"{key}{equals}{found}"


def _found(name: str) -> Path | None:
    package = Path(__file__).parents[1]  # in the repository they lie beside it, installed within
    folders = (package.parent / "configs", package / "configs")
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
