"""Where objects come from: the procedural corpus, ShapeNet, or a folder of meshes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from data_gen.mesh import Mesh
from data_gen.mesh_sources import MeshFolderSource, ShapeNetSource
from data_gen.procedural import CLASSES, DEMO_CLASSES, check_class, make
from ssl_equiv.errors import UserError


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

    def digests(self, index: int) -> dict[str, str | None]:
        """SHA-256 of the files that an object is read from, by their paths beside the first, which
        is the mesh; None for one that the mesh names and is missing. Empty where a program makes
        the object.
        """
        ...

    def content(self) -> dict[str, str] | None:
        """Name and size of every ``class/object``'s file; None where there are none."""
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

    def digests(self, index: int) -> dict[str, str | None]:
        """Empty: no file is read."""
        return {}

    def content(self) -> None:
        """None: no file is read."""


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
    kind, colon, root = objects.partition(":")
    if objects == "procedural":
        names = DEMO_CLASSES if classes == "demo" else CLASSES if classes is None else classes
        return ProceduralSource(num_objects, names, seed, class_colors)
    if classes == "demo":
        raise UserError("classes: demo names procedural classes: give a list of your own")
    if kind == "shapenet" and colon:
        if not root:
            raise UserError(
                f"objects is {objects!r}: say where it lies, as in shapenet:/data/ShapeNetCore"
            )
        return ShapeNetSource(root, classes)
    return MeshFolderSource(objects, classes)


def original(description: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a manifest's ``source`` says of the objects that were rendered, conversions aside."""
    while description.get("kind") == "converted" and isinstance(description.get("of"), dict):
        description = description["of"]
    return description


def open_described(description: Mapping[str, Any], objects: Sequence[str]) -> ObjectSource:
    """The source of a data set.

    Args:
        description: What :meth:`ObjectSource.describe` gave: a manifest's ``source``.
        objects: Its ``class/object`` names: a manifest's ``objects``.

    Raises:
        UserError: the description is of no known kind, or the meshes are gone.
    """
    description = original(description)
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


def _checked(index: int, count: int) -> int:
    if not 0 <= index < count:
        raise IndexError(f"object {index} of {count}")
    return index
