"""Random access to the published layout: a folder an object, a file a view."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssl_equiv.data.record import MANIFEST, Manifest, published_schema, split_objects
from ssl_equiv.data.source import Source, check_found, on_paths
from ssl_equiv.data.splits import read_splits
from ssl_equiv.errors import UserError
from ssl_equiv.files import file_sha256, load_array


class FolderSource(Source):
    """The published layout ``SYNSET/OBJ/image_{i}.jpg`` with ``latent_{i}.npy``.

    A ``manifest.json``, where present, names objects, classes and latents. Split files
    ``{train,val}_images.npy`` in the root are honoured, and ``{train,val}_labels.npy`` beside them
    number the classes. Without either, objects and classes are sorted, a fifth of each class, by
    a hash of the names, is for validation, and the latents' width decides between 3DIEBench and
    3DIEBench-T.

    Raises:
        UserError: no objects, a split names an object that is not there, or labels contradict
            the classes.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._fingerprint: str | None = None
        manifest = Manifest.read(self.root) if (self.root / MANIFEST).exists() else None
        splits = read_splits(self.root)
        if manifest is not None:
            self.objects, self.classes = manifest.objects, manifest.classes
            if splits:
                splits.check_order(self.classes, MANIFEST)
        elif splits is not None:
            self.objects = tuple(sorted({n for names in splits.members.values() for n in names}))
            self.classes = splits.class_order({name.split("/")[0] for name in self.objects})
        else:
            self.objects = published_objects(self.root)
            self.classes = tuple(sorted({name.split("/")[0] for name in self.objects}))
        if not self.objects:
            raise UserError(
                f"{self.root} holds no {MANIFEST} and no SYNSET/OBJ folders with image_0.jpg: "
                "give the root of a data set, or make one with 'ssl-equiv generate'"
            )
        if splits is not None:
            self.split = {s: self._places(s, names) for s, names in splits.members.items()}
        else:
            held = manifest.split if manifest else split_objects(self.objects, 0.2, seed=0)
            self.split = {name: np.array(i, dtype=np.int64) for name, i in held.items()}
        first = self.root / self.objects[0]
        if manifest is not None:
            self.schema, self.num_views = manifest.schema, manifest.num_views
            self.outputs, self.failed = manifest.outputs, manifest.failed
            self.paths = on_paths(manifest)
            return
        self.num_views = sum(1 for _ in first.glob("image_*.jpg"))
        if self.num_views == 0:
            raise UserError(f"{first} holds no image_0.jpg: is {self.root} the data set's root?")
        path = first / "latent_0.npy"
        self.schema = published_schema(load_array(path).size, str(path))

    def _places(self, split: str, names: Sequence[str]) -> np.ndarray:
        place = {name: i for i, name in enumerate(self.objects)}
        for name in names:
            if name not in place or not (self.root / name).is_dir():
                raise UserError(
                    f"{self.root / split}_images.npy names {name}, which is not in {self.root}: "
                    "complete it"
                )
        return np.array([place[name] for name in names], dtype=np.int64)

    @property
    def fingerprint(self) -> str:
        """Digest of names, classes, splits and manifest, of the size of every object's first image,
        and of all bytes of the first and the last object that have views.

        It is the same for a copy, whose time stamps differ. Of the objects between those two it
        sees nothing but the first image's size: data which changed there in other files, or kept
        that size, needs a new root. The cost is one ``stat`` an object, once for each source.
        """
        if self._fingerprint is None:
            self._fingerprint = self._digest()
        return self._fingerprint

    def _digest(self) -> str:
        digest = hashlib.sha256("\n".join([*self.objects, "", *self.classes]).encode())
        for name in sorted(self.split):
            digest.update(name.encode() + self.split[name].tobytes())
        if (manifest := self.root / MANIFEST).exists():
            digest.update(hashlib.sha256(manifest.read_bytes()).digest())
        firsts = [self.root / name / "image_0.jpg" for name in self.objects]
        sizes = np.array([_size(path) for path in firsts], dtype="<i8")  # -1: it failed to render
        digest.update(sizes.tobytes())
        rendered = np.flatnonzero(sizes >= 0)
        for index in np.unique(rendered[[0, -1]]) if len(rendered) else ():
            for path in sorted(firsts[index].parent.iterdir()):
                if path.is_file() and not path.name.startswith("."):
                    digest.update(f"{path.name} {file_sha256(path)}".encode())
        return digest.hexdigest()

    def name_of(self, index: int, view: int) -> str:
        """The image file."""
        return str(self.root / self.objects[index] / f"image_{view}.jpg")

    def read(self, index: int, views: Sequence[int]) -> tuple[list[bytes], np.ndarray]:
        """See :meth:`Source.read`."""
        self._check_rendered(index)
        folder = self.root / self.objects[index]
        images, latents = [], []
        for view in views:
            path = folder / f"image_{view}.jpg"
            try:
                images.append(path.read_bytes())
            except OSError as error:
                raise UserError(
                    f"cannot read {path} ({error.strerror}): every object needs image_0 .. "
                    f"image_{self.num_views - 1}; complete it or set data.skip_bad_images"
                ) from error
            where = folder / f"latent_{view}.npy"
            latents.append(check_found(load_array(where).reshape(-1), self.schema, str(where)))
        return images, np.stack(latents)

    def read_output(self, index: int, views: Sequence[int], name: str) -> list[bytes]:
        """See :meth:`Source.read_output`."""
        self._check_output(name)
        self._check_rendered(index)
        paths = [self.root / self.objects[index] / f"{name}_{view}.png" for view in views]
        try:
            return [path.read_bytes() for path in paths]
        except OSError as error:
            raise UserError(
                f"cannot read {error.filename} ({error.strerror}): complete it, or run the "
                "generator again"
            ) from error


def published_objects(root: Path) -> tuple[str, ...]:
    """Sorted ``SYNSET/OBJ`` of the folders in ``root``; hidden ones are not objects."""
    return tuple(sorted(f"{a.name}/{b.name}" for a in _folders(root) for b in _folders(a)))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _folders(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")]
