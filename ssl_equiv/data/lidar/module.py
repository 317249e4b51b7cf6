"""The Lightning data module of LiDAR sweeps."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from ssl_equiv.data.draws import OrderedSampler
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.data.lidar.dataset import FlowSource, LidarDataset, Region
from ssl_equiv.data.lidar.open import open_lidar
from ssl_equiv.data.lidar.pasting import PasteObjects
from ssl_equiv.data.lidar.source import LidarSource
from ssl_equiv.data.module import ViewDataModule, ViewLoader
from ssl_equiv.errors import UserError
from ssl_equiv.transforms.points import PointMotions


class LidarDataModule(ViewDataModule):
    """Moved views of sweeps, each with the elements that moved it, and the sweep before with flow.

    Loader processes read and move; the same whatever their number, and a resumed run goes on
    exactly.

    Args:
        root: Folder of a data set; see :func:`~ssl_equiv.data.lidar.open.open_lidar`.
        num_views: Views of each sweep in a training batch.
        batch_size: Sweeps per process in a batch.
        motions: What moves the views of training.
        flow: Where the flow from the sweep before comes from: ``truth`` (files), ``ego`` (poses;
            whatever moves by itself is taken to stand still), ``estimate`` (nearest neighbours),
            or ``off``, without that sweep.
        boxes: Whether annotations are read for training, and moved with the views.
        region: Which points are used.
        num_workers: Loader processes; None takes the cores that this process may use, at most 8.
        seed: Seed of the order and of all elements.
        skip_bad_sweeps: Replace sweeps that cannot be read, counting them, instead of stopping.
        train_fraction: Share of the sweeps of the split ``train`` that is trained on, in (0, 1];
            the same ones for a seed, and those of a smaller share are among those of a larger.
        source: Where sweeps come from instead of a folder, such as
            ``data_gen.lidar.live.SimulatedSource``.

    Attributes:
        paste: Puts further objects into the sweeps of training; None by default.

    Raises:
        UserError: no data set there, or it lacks the flow or the poses that are asked for.
    """

    source: LidarSource  # type: ignore[assignment]
    paste: PasteObjects | None = None

    def __init__(
        self,
        root: str | None = None,
        num_views: int = 2,
        batch_size: int = 8,
        motions: PointMotions = PointMotions(),  # noqa: B008 (frozen; shown by --print_config)
        flow: FlowSource = "off",
        boxes: bool = False,
        region: Region = Region(),  # noqa: B008 (frozen; shown by --print_config)
        num_workers: int | None = None,
        seed: int = 0,
        skip_bad_sweeps: bool = False,
        train_fraction: float = 1.0,
        source: LidarSource | None = None,
    ) -> None:
        if root is not None and source is not None:
            raise UserError("data.root and data.source are both given: leave one out")
        if num_views < 1:
            raise UserError(f"data.num_views is {num_views}: choose 1 or more")
        if not 0 < train_fraction <= 1:
            raise UserError(f"data.train_fraction is {train_fraction}: choose a share in (0, 1]")
        super().__init__(
            batch_size=batch_size,
            num_views=1,  # as stored
            num_workers=num_workers,
            seed=seed,
            source=open_lidar(root) if root is not None else source,  # type: ignore[arg-type]
        )
        self.num_views, self.motions, self.flow, self.boxes = num_views, motions, flow, boxes
        self.region, self.skip_bad_sweeps = region, skip_bad_sweeps
        self.train_fraction = train_fraction
        if flow == "truth" and not self.source.has_flow:
            raise UserError(
                f"{self.source.root} has no flow files: set data.flow to ego (needs poses), "
                "estimate or off"
            )
        if flow == "ego" and not self.source.has_poses:
            raise UserError(f"{self.source.root} has no poses: set data.flow to estimate or off")
        if boxes and not self.source.has_boxes:
            raise UserError(f"{self.source.root} has no annotated boxes: set data.boxes to false")
        if train_fraction < 1:
            train = self.source.split["train"]
            order = np.random.default_rng([seed, len(train)]).permutation(len(train))
            chosen = order[: max(1, round(train_fraction * len(train)))]
            self.source.split["train"] = np.sort(train[chosen])

    def description(self) -> dict[str, Any]:
        """What a checkpoint tells of its data: layout, classes, motions, region, digest."""
        return {
            "kind": self.source.kind,
            "classes": self.source.classes,
            "point_classes": self.source.point_classes,
            "motions": asdict(self.motions),
            "region": asdict(self.region),
            "flow": self.flow,
            "fingerprint": self.source.fingerprint,
        }

    def train_dataloader(self) -> ViewLoader:
        """Shuffled batches of ``num_views`` views; incomplete batches are left out."""
        sampler = self._train_sampler()
        dataset = LidarDataset(
            self.source,
            self.source.split["train"],
            self.motions,
            self.num_views,
            self.flow,
            self.boxes,
            self.region,
            self.seed,
            self.skip_bad_sweeps,
            self.paste,
        )
        return self._resumable(sampler, self._load(dataset, sampler, persistent=True))

    def all_views_dataloader(self, split: str, batch_size: int | None = None) -> Any:
        """Every sweep of a split once, in order, not moved, shared out to the processes.

        Batches have one view, the sweep itself, its annotations where there are some, and the
        sweep before where the flow is on.
        """
        if split not in self.source.split or len(self.source.split[split]) == 0:
            some = (name for name, sweeps in self.source.split.items() if len(sweeps))
            raise UserError(
                f"{self.source.root} has no sweeps in a split {split!r}: it has {', '.join(some)}"
            )
        sweeps = self.source.split[split]
        dataset = LidarDataset(
            self.source,
            sweeps,
            flow=self.flow,
            boxes=self.source.has_boxes,
            region=self.region,
            seed=self.seed,
            skip_bad_sweeps=self.skip_bad_sweeps,
        )
        sampler = OrderedSampler(sweeps, batch_size or self.batch_size, *self._process())
        return self._load(dataset, sampler)

    def on_after_batch_transfer(  # type: ignore[override]
        self, batch: LidarBatch, dataloader_idx: int
    ) -> LidarBatch:
        """Nothing is left to be done on the device."""
        return batch
