"""Where objects come from: the procedural corpus, ShapeNet, or a folder of meshes."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from data_gen.loaders import SUFFIXES, load_mesh
from data_gen.mesh import Mesh
from data_gen.procedural import CLASSES, DEMO_CLASSES, check_class, make
from ssl_equiv.errors import UserError
from ssl_equiv.files import file_sha256

SHAPENET_MODEL = "models/model_normalized.obj"


class ObjectSource(Protocol):
    """A numbered, deterministic list of objects. Sources are picklable and cheap to copy."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; a class's label is its place here."""
        ...

    def __len__(self) -> int: ...

    def ref(self, index: int) -> tuple[str, str]:
        """Return the class and the identity of an object; the pair is unique in the source."""
        ...

    def load(self, index: int) -> Mesh:
        """Return the object, z up, its bounding box centred, of diagonal 1.

        Raises:
            UserError: The object is missing or cannot be rendered.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Plain data from which :func:`open_described` makes the source again; ``kind`` first."""
        ...

    def digest(self, index: int) -> str | None:
        """SHA-256 of the file that an object is read from; None where it is made by a program."""
        ...

    def content(self) -> str | None:
        """A digest of every file's name and size, quick to take; None where there are none."""
        ...


class ProceduralSource:
    """Objects of ``data_gen.procedural``, the classes in turn.

    Args:
        num_objects: Number of objects, at least 1. A source of more objects begins with those
            of a source of fewer.
        classes: Names of the classes to make.
        seed: Another seed makes other objects of the same classes; it is part of their identity.
        class_colors: Paint all objects of a class alike.
    """

    def __init__(
        self,
        num_objects: int,
        classes: Sequence[str] = CLASSES,
        seed: int = 0,
        class_colors: bool = False,
    ):
        if num_objects < 1:
            raise UserError(f"num_objects is {num_objects}: ask for at least 1")
        if not classes or len(set(classes)) != len(classes):
            raise UserError("classes must be a list of different names, at least one")
        for name in classes:
            check_class(name)
        self.classes = tuple(classes)
        self.seed, self.class_colors = seed, class_colors
        self._num_objects = num_objects

    def __len__(self) -> int:
        return self._num_objects

    def ref(self, index: int) -> tuple[str, str]:
        """Return the class and ``SEED-INSTANCE``."""
        instance, label = divmod(_checked(index, len(self)), len(self.classes))
        return self.classes[label], f"{self.seed}-{instance:05d}"

    def load(self, index: int) -> Mesh:
        """Make the object, in a few milliseconds."""
        instance, label = divmod(_checked(index, len(self)), len(self.classes))
        return make(self.classes[label], instance, self.seed, self.class_colors)

    def describe(self) -> dict[str, Any]:
        """Kind and arguments."""
        return {
            "kind": "procedural",
            "num_objects": len(self),
            "classes": list(self.classes),
            "seed": self.seed,
            "class_colors": self.class_colors,
        }

    def digest(self, index: int) -> None:
        """None: no file is read."""

    def content(self) -> None:
        """None: no file is read."""


class _Files:
    """Objects that are files: a sorted list of (class, object, path)."""

    kind: ClassVar[str]

    def __init__(
        self, root: str | Path, found: Iterator[tuple[str, str, Path]], up: Literal["y", "z"] | None
    ):
        self.root = Path(root)
        self._objects = sorted(found, key=lambda entry: entry[:2])
        self.classes = tuple(sorted({class_name for class_name, _, _ in self._objects}))
        self._up = up

    def __len__(self) -> int:
        return len(self._objects)

    def ref(self, index: int) -> tuple[str, str]:
        """Return the class and the name of an object."""
        return self._objects[_checked(index, len(self))][:2]

    def load(self, index: int) -> Mesh:
        """Read and normalise an object."""
        return load_mesh(self._objects[_checked(index, len(self))][2], self._up).normalized()

    def describe(self) -> dict[str, Any]:
        """Kind, absolute root, classes and upward axis."""
        root = os.path.abspath(self.root)
        return {"kind": self.kind, "root": root, "classes": list(self.classes), "up": self._up}

    def digest(self, index: int) -> str:
        """SHA-256 of the mesh file; not of materials and textures that it names."""
        path = self._objects[_checked(index, len(self))][2]
        try:
            return file_sha256(path)
        except OSError as error:
            raise UserError(f"cannot read {path} ({error.strerror}): check the file") from error

    def content(self) -> str:
        """SHA-256 over every mesh file's name and size."""
        digest = hashlib.sha256()
        for class_name, name, path in self._objects:
            try:
                size = path.stat().st_size
            except OSError as error:
                raise UserError(f"cannot read {path} ({error.strerror}): check it") from error
            digest.update(f"{class_name}/{name} {path.name} {size}\n".encode())
        return digest.hexdigest()


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
        self.root = Path(root)
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
        super().__init__(root, self._listed(_class_folders(Path(root), classes)), up)
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


def open_objects(
    objects: str,
    num_objects: int,
    classes: list[str] | Literal["demo"] | None,
    seed: int,
    class_colors: bool,
) -> ObjectSource:
    """The objects that a user names; arguments as ``ssl-equiv generate`` takes them.

    Raises:
        UserError: there are none.
    """
    kind, _, root = objects.partition(":")
    if objects == "procedural":
        names = DEMO_CLASSES if classes == "demo" else classes or CLASSES
        return ProceduralSource(num_objects, names, seed, class_colors)
    if classes == "demo":
        raise UserError("classes: demo names procedural classes: give a list of your own")
    if kind == "shapenet" and root:
        return ShapeNetSource(root, classes)
    return MeshFolderSource(objects, classes)


def open_described(description: Mapping[str, Any], objects: Sequence[str]) -> ObjectSource:
    """The source of a data set.

    Args:
        description: What :meth:`ObjectSource.describe` gave: a manifest's ``source``.
        objects: Its ``class/object`` names: a manifest's ``objects``.

    Raises:
        UserError: the description is of no known kind, or the meshes are gone.
    """
    try:
        kind = description["kind"]
        if kind == "procedural":
            names = ("num_objects", "classes", "seed", "class_colors")
            return ProceduralSource(**{name: description[name] for name in names})
        if kind == "shapenet":
            pairs = [(name.split("/")[0], name.split("/")[1]) for name in objects]
            return ShapeNetSource(description["root"], objects=pairs)
        if kind == "meshes":
            return MeshFolderSource(description["root"], description["classes"], description["up"])
    except (KeyError, TypeError, IndexError) as error:
        raise UserError(f"the source's description lacks or misstates {error}") from error
    raise UserError(f"the source's kind is {kind!r}, which is none that is rendered here")


def safe_name(name: str, folder: Path) -> str:
    """Return a class or object name that stays inside its folder.

    Raises:
        UserError: The name is empty, or has ``..``, a separator or a control character in it.
    """
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


def _checked(index: int, count: int) -> int:
    if not 0 <= index < count:
        raise IndexError(f"object {index} of {count}")
    return index
