"""Files as bytes, text and numbers; nothing here needs torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ssl_equiv.errors import UserError


def read_bytes(path: Path) -> bytes:
    """A whole file.

    Raises:
        UserError: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: the data set is incomplete; copy it") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): copy it again") from error


def read_text(path: Path) -> str:
    """A whole file of text.

    Raises:
        UserError: it is missing, cannot be read, or is no text.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text: it may be damaged; copy it again") from error


def read_rows(path: Path, piece: int = 1 << 22) -> Iterator[dict[str, Any]]:
    """The objects of a JSON file that is one list of them, read piece by piece.

    Args:
        path: The file; it may be larger than memory.
        piece: Characters that are read at a time.

    Raises:
        UserError: it is missing, or no such list.
    """
    decoder, rest, ended = json.JSONDecoder(), "", False
    try:
        with open(path, encoding="utf-8") as file:
            if file.read(1) != "[":
                raise ValueError("it is no list")
            while text := file.read(piece):
                rest += text
                at = 0
                while not ended:
                    while at < len(rest) and rest[at] in ", \t\r\n":
                        at += 1
                    if at == len(rest) or (ended := rest[at] == "]"):
                        break
                    try:
                        row, at = decoder.raw_decode(rest, at)
                    except json.JSONDecodeError:
                        break  # it goes on in the next piece
                    yield row
                rest = rest[at:]
        if not ended:
            raise ValueError("it is cut short")
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: the data set is incomplete; copy it") from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is not a readable table of JSON ({error}): unpack the metadata again"
        ) from error


def read_numbers(text: str, count: int, where: str) -> np.ndarray:
    """So many numbers in a line of text, float64.

    Raises:
        UserError: there are others; ``where`` names the place.
    """
    try:
        numbers = np.array([float(word) for word in text.split()])
    except ValueError as error:
        raise UserError(f"{where}: {error}; write {count} numbers") from error
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise UserError(f"{where} has {len(numbers)} numbers, not {count} finite ones: mend it")
    return numbers
