"""Objects that are mesh files: a ShapeNet tree, or a folder of classes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from data_gen.loaders import SUFFIXES, load_mesh
from data_gen.mesh import Mesh
from data_gen.mtl import named_files
from ssl_equiv.errors import UserError
from ssl_equiv.files import file_sha256

_LONGEST = 200  # bytes of a name: file systems allow 255, and ours get endings
SHAPENET_MODEL = "models/model_normalized.obj"


class _Files:
    """Objects that are files: a sorted list of (class, object, path)."""

    kind: ClassVar[str]

    def __init__(
        self, root: str | Path, found: Iterator[tuple[str, str, Path]], up: Literal["y", "z"] | None
    ):
        self.root = Path(os.path.abspath(root))
        self._objects = sorted(found, key=lambda entry: entry[:2])
        self.classes = tuple(sorted({class_name for class_name, _, _ in self._objects}))
        self._up = up

    def __len__(self) -> int:
        return len(self._objects)

    def _entry(self, index: int) -> tuple[str, str, Path]:
        if not 0 <= index < len(self):
            raise IndexError(f"object {index} of {len(self)}")
        return self._objects[index]

    def ref(self, index: int) -> tuple[str, str]:
        """Return the class and the name of an object."""
        return self._entry(index)[:2]

    def load(self, index: int) -> Mesh:
        """Read and normalise an object."""
        return load_mesh(self._entry(index)[2], self._up).normalized()

    def describe(self) -> dict[str, Any]:
        """Kind, absolute root, classes and upward axis."""
        root = str(self.root)
        return {"kind": self.kind, "root": root, "classes": list(self.classes), "up": self._up}

    def digests(self, index: int) -> dict[str, str | None]:
        """SHA-256 of the mesh file, and of the material libraries and textures of an OBJ file."""
        path = self._entry(index)[2]
        try:
            found: dict[str, str | None] = {path.name: file_sha256(path)}
            if path.suffix.lower() == ".obj":
                for name, file in named_files(path).items():
                    found[name] = None if file is None else file_sha256(file)
        except OSError as error:
            raise UserError(f"cannot read {path} ({error.strerror}): check the file") from error
        return found

    def content(self) -> dict[str, str]:
        """Name and size of every mesh file; not of materials and textures."""
        found = {}
        for class_name, name, path in self._objects:
            try:
                size = path.stat().st_size
            except OSError as error:
                raise UserError(f"cannot read {path} ({error.strerror}): check it") from error
            found[f"{class_name}/{name}"] = f"{path.name} of {size} bytes"
        return found


class ShapeNetSource(_Files):
    """A ShapeNetCore v2 tree, ``ROOT/SYNSET/OBJECT/models/model_normalized.obj`` (y up).

    Args:
        root: The tree's root, where the synsets' folders are.
        classes: Synsets to take; all by default.
        objects: (synset, object) pairs to take, for example those of a published split; all by
            default. The order of the source is sorted all the same.

    Raises:
        UserError: Nothing is found, a class or an object asked for is missing, or a name could
            lead out of the tree.
    """

    kind = "shapenet"

    def __init__(
        self,
        root: str | Path,
        classes: Sequence[str] | None = None,
        objects: Sequence[tuple[str, str]] | None = None,
    ):
        self.root = Path(os.path.abspath(root))
        if objects is None:
            found = self._listed(_class_folders(self.root, classes))
        else:
            found = self._named(objects, classes)
        super().__init__(root, found, "y")
        if not self._objects:
            raise UserError(
                f"{root} has no SYNSET/OBJECT/{SHAPENET_MODEL}: name the root of ShapeNetCore v2"
            )

    def _listed(self, folders: list[Path]) -> Iterator[tuple[str, str, Path]]:
        empty: list[Path] = []
        for folder in folders:
            for name in _entries(folder):
                model = folder / name / SHAPENET_MODEL
                if model.is_file():
                    yield folder.name, safe_name(name, folder), model
                elif (folder / name).is_dir():
                    empty.append(folder / name)
        if empty:
            warnings.warn(
                f"{len(empty)} folders of {self.root} have no {SHAPENET_MODEL} and are left out "
                f"(the first is {empty[0]})",
                stacklevel=3,
            )

    def _named(
        self, objects: Sequence[tuple[str, str]], classes: Sequence[str] | None
    ) -> Iterator[tuple[str, str, Path]]:
        for synset, name in dict.fromkeys(objects):
            if classes is not None and synset not in classes:
                continue
            folder = self.root / safe_name(synset, self.root)
            model = folder / safe_name(name, folder) / SHAPENET_MODEL
            if not model.is_file():
                raise UserError(f"{model} does not exist: take the object off the list")
            yield synset, name, model


class MeshFolderSource(_Files):
    """A folder of meshes, ``ROOT/CLASS/OBJECT.{obj,glb,gltf,ply,stl}``.

    Args:
        root: The folder.
        classes: Classes to take; all by default.
        up: The meshes' upward axis; by default y for OBJ and glTF, z for PLY and STL.

    Raises:
        UserError: Nothing is found, a class asked for is missing, two meshes of a class have
            one name, or a name has ``..`` in it.
    """

    kind = "meshes"

    def __init__(
        self,
        root: str | Path,
        classes: Sequence[str] | None = None,
        up: Literal["y", "z"] | None = None,
    ):
        folders = _class_folders(Path(os.path.abspath(root)), classes)
        super().__init__(root, self._listed(folders), up)
        if not self._objects:
            raise UserError(
                f"{root} has no meshes: put them there as CLASS/OBJECT with one of the endings "
                f"{', '.join(SUFFIXES)}"
            )

    @staticmethod
    def _listed(folders: list[Path]) -> Iterator[tuple[str, str, Path]]:
        for folder in folders:
            seen: dict[str, Path] = {}
            for entry in _entries(folder):
                path = folder / entry
                if path.suffix.lower() not in SUFFIXES or not path.is_file():
                    continue
                name = safe_name(path.stem, folder)
                if name in seen:
                    raise UserError(f"{path} and {seen[name]} have one name: rename one of them")
                seen[name] = path
                yield folder.name, name, path


def safe_name(name: str, folder: Path) -> str:
    """Return a class or object name that stays inside its folder.

    Raises:
        UserError: The name is empty, too long, not UTF-8, or has ``..``, a separator or a control
            character in it.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:  # the file system's bytes as Python smuggles them in
        raise UserError(f"the name {name!r} in {folder} is not UTF-8: rename it") from error
    if size > _LONGEST:
        raise UserError(
            f"the name {name[:40]}... in {folder} has {size} bytes: shorten it to {_LONGEST}"
        )
    if not name or name == "." or ".." in name or any(c in "/\\" or ord(c) < 32 for c in name):
        raise UserError(
            f"the name {name!r} in {folder} is refused: rename it without '..', separators and "
            "control characters"
        )
    return name


def _class_folders(root: Path, classes: Sequence[str] | None) -> list[Path]:
    found = {name: root / name for name in _entries(root) if (root / name).is_dir()}
    if classes is not None:
        for name in classes:
            if name not in found:
                known = ", ".join(list(found)[:8]) or "no folders"
                raise UserError(f"{root} has no class {name!r}: it has {known}")
        found = {name: found[name] for name in classes}
    return [found[safe_name(name, root)] for name in sorted(found)]


def _entries(folder: Path) -> list[str]:
    """Sorted names in a folder, without hidden ones."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise UserError(f"cannot list {folder} ({error.strerror}): check the path") from error
