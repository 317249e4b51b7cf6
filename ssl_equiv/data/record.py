"""The record format: what a stored view's latent vector means, and the manifest beside the views.

A multi-view data set is a folder with ``manifest.json`` and WebDataset shards (one record an
object: its views as JPEG, their latent vectors as ``.npy``), or the published 3DIEBench folder
``SYNSET/OBJ/image_{i}.jpg, latent_{i}.npy``. Either way a view's latent vector is turned into
group elements by a :class:`LatentSchema`, so no reader knows which column is an angle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_equiv.errors import UserError
from ssl_equiv.files import read_json
from ssl_equiv.groups import Group, make_group
from ssl_equiv.groups.conversions import euler_xyz_to_quat

FORMAT = "ssl-equiv-multiview/1"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Factor:
    """A named group element stored in some columns of the latent vector.

    Args:
        name: Factor of variation, such as ``rotation``.
        group: Group name as :func:`ssl_equiv.groups.make_group` reads it.
        columns: Columns of the latent vector that hold the element.
        encoding: ``identity`` (the columns are the element) or ``euler_xyz`` (extrinsic, radians).
    """

    name: str
    group: str
    columns: tuple[int, ...]
    encoding: str = "identity"

    def __post_init__(self) -> None:
        if self.encoding not in ("identity", "euler_xyz"):
            raise UserError(
                f"factor {self.name!r} has the unknown encoding {self.encoding!r}: "
                "use 'identity' or 'euler_xyz'"
            )
        object.__setattr__(self, "columns", tuple(self.columns))

    def element(self, latents: Tensor) -> Tensor:
        """Group elements ``(..., dim)`` of latent vectors ``(..., L)``."""
        first, width = self.columns[0], len(self.columns)
        if self.columns == tuple(range(first, first + width)):  # a view, not a gather
            values = latents[..., first : first + width]
        else:
            values = latents[..., list(self.columns)]
        return euler_xyz_to_quat(values) if self.encoding == "euler_xyz" else values


@dataclass(frozen=True)
class LatentSchema:
    """The meaning of every column of a latent vector."""

    factors: tuple[Factor, ...]

    @property
    def width(self) -> int:
        """Length L of the latent vector."""
        return 1 + max(column for factor in self.factors for column in factor.columns)

    @property
    def groups(self) -> dict[str, Group]:
        """The group of each factor."""
        return {factor.name: make_group(factor.group) for factor in self.factors}

    def elements(self, latents: Tensor) -> dict[str, Tensor]:
        """Absolute group elements ``{factor: (..., dim)}`` of latent vectors ``(..., L)``.

        Raises:
            UserError: the latent vectors are shorter or longer than the schema.
        """
        if latents.shape[-1] != self.width:
            raise UserError(
                f"latent vectors of {latents.shape[-1]} numbers where the schema has {self.width} "
                f"({', '.join(f.name for f in self.factors)}): use the data set's own manifest"
            )
        return {factor.name: factor.element(latents) for factor in self.factors}

    def to_list(self) -> list[dict[str, Any]]:
        """Plain data for a manifest."""
        return [asdict(factor) for factor in self.factors]

    @classmethod
    def from_list(cls, factors: Sequence[Mapping[str, Any]]) -> LatentSchema:
        """Inverse of :meth:`to_list`; raises UserError where an entry is malformed."""
        try:
            return cls(tuple(Factor(**factor) for factor in factors))
        except TypeError as error:
            raise UserError(f"the manifest's list of factors is malformed: {error}") from error


DIEBENCH = LatentSchema(
    (
        Factor("rotation", "SO3", (0, 1, 2), "euler_xyz"),
        Factor("floor_hue", "Hue", (3,)),
        Factor("light_theta", "Translation(1)", (4,)),
        Factor("light_phi", "SO2", (5,)),
        Factor("light_hue", "Hue", (6,)),
    )
)
"""The published 3DIEBench latent vector (Garrido et al. 2023, arXiv 2302.10283)."""

DIEBENCH_T = LatentSchema((*DIEBENCH.factors, Factor("translation", "Translation(3)", (7, 8, 9))))
"""3DIEBench-T: the same with a translation appended (EquiCaps, arXiv 2506.09895)."""


def published_schema(width: int, where: str) -> LatentSchema:
    """The schema of a published latent vector of ``width`` numbers (7 or 10), read from a file."""
    for schema in (DIEBENCH, DIEBENCH_T):
        if schema.width == width:
            return schema
    raise UserError(
        f"{where} holds a latent vector of {width} numbers: 3DIEBench has {DIEBENCH.width}, "
        f"3DIEBench-T {DIEBENCH_T.width}; a data set with other factors needs a manifest.json"
    )


@dataclass(frozen=True)
class Shard:
    """One tar file of a data set: objects ``first .. first + objects - 1``."""

    name: str
    first: int
    objects: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a generated data set holds; ``manifest.json`` in its root.

    ``classes[label]`` is a class name, ``objects[index]`` reads ``class/object``; ``split`` maps a
    split to the indices of its objects;
    ``recipe`` and ``source`` are what the generator was told, ``renderer`` what drew (its name and
    the versions that shape its bytes), kept so that a run can be repeated and verified;
    ``outputs`` names what is stored beside each view, ``failed`` maps an object without views,
    which is in no split, to the reason, ``warnings`` one that was rendered to what it lacked.
    """

    objects: tuple[str, ...]
    num_views: int
    image_size: int
    classes: tuple[str, ...]
    schema: LatentSchema
    split: dict[str, list[int]]
    shards: tuple[Shard, ...]
    seed: int
    recipe: dict[str, Any]
    source: dict[str, Any]
    renderer: dict[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it stands in ``manifest.json``."""
        return {
            "format": FORMAT,
            "num_objects": len(self.objects),
            "num_views": self.num_views,
            "image_size": self.image_size,
            "classes": list(self.classes),
            "latents": self.schema.to_list(),
            "seed": self.seed,
            "source": self.source,
            "recipe": self.recipe,
            "renderer": self.renderer,
            "outputs": list(self.outputs),
            "failed": self.failed,
            "warnings": self.warnings,
            "split": self.split,
            "shards": [asdict(shard) for shard in self.shards],
            "objects": list(self.objects),
        }

    @classmethod
    def read(cls, root: str | Path) -> Manifest:
        """Read ``root/manifest.json``.

        Raises:
            UserError: it is missing, damaged, of another format, or lacks an entry.
        """
        path = Path(root) / MANIFEST
        return cls.parse(read_json(path), path)

    @classmethod
    def parse(cls, raw: Any, path: str | Path) -> Manifest:
        """Inverse of :meth:`to_dict`; ``path`` is told in errors, which are :meth:`read`'s."""
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            found = raw.get("format") if isinstance(raw, dict) else None
            raise UserError(f"{path} has format {found!r}, not {FORMAT!r}: generate it anew")
        try:
            manifest = cls(
                objects=tuple(raw["objects"]),
                num_views=int(raw["num_views"]),
                image_size=int(raw["image_size"]),
                classes=tuple(raw["classes"]),
                schema=LatentSchema.from_list(raw["latents"]),
                split={name: list(objects) for name, objects in raw["split"].items()},
                shards=tuple(Shard(**shard) for shard in raw["shards"]),
                seed=int(raw["seed"]),
                recipe=dict(raw["recipe"]),
                source=dict(raw["source"]),
                renderer=dict(raw.get("renderer", {})),
                outputs=tuple(raw.get("outputs", ())),
                failed=dict(raw.get("failed", {})),
                warnings=dict(raw.get("warnings", {})),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} lacks or misstates {error}: generate it anew") from error
        if (count := raw.get("num_objects", len(manifest.objects))) != len(manifest.objects):
            raise UserError(f"{path} tells of {count} objects and names {len(manifest.objects)}")
        if lost := {name.partition("/")[0] for name in manifest.objects} - {*manifest.classes}:
            raise UserError(f"{path}: classes lacks {min(lost)!r}, of which there are objects")
        for shard in manifest.shards:
            if Path(shard.name).name != shard.name or not shard.name.endswith(".tar"):
                raise UserError(f"{path}: the shard's name {shard.name!r} is no plain *.tar")
        for name, members in manifest.split.items():
            if not all(type(member) is int for member in members):
                raise UserError(f"{path}: split {name!r} is no list of object numbers: mend it")
            if members and not 0 <= min(members) <= max(members) < len(manifest.objects):
                raise UserError(f"{path}: split {name!r} names objects that are not there: mend it")
        return manifest


def object_key(index: int) -> str:
    """The WebDataset key of an object."""
    return f"{index:06d}"


def view_member(index: int, view: int) -> str:
    """Name in the tar of one view of one object."""
    return f"{object_key(index)}.{view:03d}.jpg"


def output_member(index: int, view: int, output: str) -> str:
    """Name in the tar of what is stored beside a view, such as its depth."""
    return f"{object_key(index)}.{view:03d}.{output}.png"


def latents_member(index: int) -> str:
    """Name in the tar of an object's latent vectors, ``(V, L)`` float64."""
    return f"{object_key(index)}.latents.npy"


def description_member(index: int) -> str:
    """Name in the tar of an object's description, see :func:`describe`."""
    return f"{object_key(index)}.json"


def index_name(shard: str) -> str:
    """Name of the index beside a shard: int64 ``(objects, rows, 3)`` of offset, bytes, CRC-32, its
    rows those of :func:`index_members`. An object that failed has rows of zeros. The index is an
    accelerator: where it is absent the tar's own headers are read instead.
    """
    return shard.removesuffix(".tar") + ".index.npy"


def index_members(index: int, num_views: int, outputs: Sequence[str] = ()) -> list[str]:
    """An object's members in the order of the index's rows: latents, views, each output's views."""
    views = range(num_views)
    members = [latents_member(index)] + [view_member(index, view) for view in views]
    return members + [output_member(index, view, name) for name in outputs for view in views]


def describe(index: int, class_name: str, object_id: str, label: int, **more: Any) -> bytes:
    """The description record of an object as JSON bytes.

    ``more`` may hold ``mesh_sha256``, the digest of the mesh file that was rendered,
    ``named_sha256``, those of materials and textures which it names (None: missing), ``warnings``,
    what stood in for what was missing, and ``failed``, the reason why the object has no views.
    """
    return json.dumps(
        {"index": index, "class": class_name, "object": object_id, "label": label, **more}
    ).encode()


def split_objects(names: Sequence[str], val_fraction: float, seed: int) -> dict[str, list[int]]:
    """Hold out a share of every class's objects, chosen by a hash of seed and name.

    Returns:
        Sorted object indices of ``train`` and ``val``.
    """
    of_class: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        of_class.setdefault(name.split("/")[0], []).append(index)
    val: list[int] = []
    for members in of_class.values():
        members.sort(key=lambda i: hashlib.sha256(f"{seed}:{names[i]}".encode()).digest())
        val += members[: round(val_fraction * len(members))]
    held_out = set(val)
    return {
        "train": [i for i in range(len(names)) if i not in held_out],
        "val": sorted(val),
    }


def check_latents(latents: Tensor, width: int, where: str) -> None:
    """Raise UserError unless ``latents (..., L)`` are finite and L is ``width``."""
    if latents.ndim == 0 or latents.shape[-1] != width:
        raise UserError(
            f"{where} holds latents of shape {tuple(latents.shape)}, not (..., {width}): "
            "copy or generate it again"
        )
    if not torch.isfinite(latents).all():
        raise UserError(f"{where} holds latents that are not finite: copy or generate it again")
