"""Wavefront MTL files: the colours and textures of an OBJ file."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from data_gen.mesh import GREY, Material
from data_gen.textures import read_texture

_OPTION_VALUES = {"-o": 3, "-s": 3, "-t": 3, "-mm": 2}  # other options of map_Kd take one value


def load_materials(
    obj: Path, libraries: Sequence[str], names: Sequence[str | None], textured: bool
) -> tuple[Material, ...]:
    """Make the materials that an OBJ file uses.

    ``Kd`` is linear RGB, as Blender takes it; a texture replaces it. Whatever is missing is told
    in one warning: a texture leaves its ``Kd``, a material leaves grey.

    Args:
        obj: The OBJ file; libraries are found beside it, textures beside their library.
        libraries: Arguments of ``mtllib``.
        names: The materials to make; ``None`` is the material of faces without one.
        textured: Whether the file has texture coordinates; without them textures are not read.
    """
    known: dict[str, dict[str, str]] = {}
    missing: list[str] = []
    for library in dict.fromkeys(libraries):
        file = _beside(obj, library)
        if file is None:
            missing.append(f"material library {library}")
        else:
            known.update(_parse(file))
    textures: dict[str, NDArray[np.uint8] | None] = {}
    materials = []
    for name in names:
        properties = known.get(name or "", {})
        color, place = _color(properties.get("kd")), properties.get("map_kd")
        if textured and place is not None:
            if place not in textures:
                textures[place] = _texture(obj, place)
                missing += [] if textures[place] is not None else [f"texture {place}"]
            if textures[place] is not None:
                materials.append(Material(np.ones(3, np.float32), textures[place]))
                continue
        materials.append(Material(color))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        warnings.warn(
            f"mesh {obj}: {missing[0]}{more} missing or unreadable; plain colours stand in",
            stacklevel=2,
        )
    return tuple(materials)


def named_files(obj: Path) -> dict[str, Path | None]:
    """The material libraries that an OBJ file names and the textures which these name, by their
    path beside the OBJ file; None where a file is missing. Raises OSError where one is unreadable.
    """
    found: dict[str, Path | None] = {}
    lines = re.findall(rb"^[ \t]*mtllib[ \t]+(.*)$", obj.read_bytes(), re.MULTILINE)
    for library in dict.fromkeys(line.decode(errors="replace").strip() for line in lines):
        file = found[library] = _beside(obj, library)
        for properties in _parse(file).values() if file else ():
            if place := properties.get("map_kd"):
                name = os.path.relpath(place, obj.parent)
                found[name] = _beside(obj, place)
    return found


def _parse(library: Path) -> dict[str, dict[str, str]]:
    """Read material -> property in lower case -> its argument, texture paths beside the library."""
    materials: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in library.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, rest = line.replace("\t", " ").strip().partition(" ")
        key, rest = key.lower(), rest.strip()
        if key == "newmtl":
            current = materials.setdefault(rest, {})
        elif key == "map_kd":
            current[key] = str(library.parent / _path(_without_options(rest)))
        elif key == "kd":
            current[key] = rest
    return materials


def _without_options(argument: str) -> str:
    """Cut ``-s 1 1 1`` and the like off the file name, which may have spaces in it."""
    words = argument.split(" ")
    while len(words) > 1 and words[0].startswith("-"):
        words = words[1 + _OPTION_VALUES.get(words[0].lower(), 1) :]
    return " ".join(words).strip()


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


def _beside(obj: Path, name: str) -> Path | None:
    """Find a file named in another one: as written, or else by its last part beside it."""
    path = _path(name)
    for candidate in (obj.parent / path, obj.parent / path.name):
        if candidate.is_file():
            return candidate
    return None


def _texture(obj: Path, place: str) -> NDArray[np.uint8] | None:
    file = _beside(obj, place)
    try:
        return None if file is None else read_texture(file)
    except OSError:
        return None


def _color(argument: str | None) -> NDArray[np.float32]:
    """Parse ``r g b`` or a grey; grey where there is none or it is no colour."""
    try:
        values = [float(word) for word in (argument or "").split()[:3]]
    except ValueError:
        values = []
    if len(values) not in (1, 3) or not np.isfinite(values).all():
        return GREY.color
    return np.clip(np.broadcast_to(np.array(values, np.float32), 3), 0, 1)
