"""Detections of a validation pass, judged, kept as files and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch

from eval.detection.kitti import JUDGED
from eval.detection.kitti_files import result_text, write_result
from eval.detection.metrics import CentreDistanceAP, KittiAP
from eval.detection.table import BoxTable
from ssl_equiv.boxes import Boxes, Camera
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.data.lidar.picture import birds_eye
from ssl_equiv.data.lidar.source import LidarSource
from ssl_equiv.files import make_directory
from ssl_equiv.heads.center_head import Detections

_SHOWN_SCORE = 0.3  # pictures leave out what is less sure
_PICTURE = 480  # pixels


def table_of(boxes: Boxes, frame: int, camera: Camera | None) -> BoxTable:
    """A sweep's boxes as rows of a table.

    Args:
        boxes: Annotations; or detections, whose heights are what the camera sees of them.
        frame: Number of the sweep.
        camera: Of the annotations' heights; without one no box is too small.
    """
    values, height = boxes.values.detach().cpu().double(), boxes.height_px.cpu()
    if boxes.scores is not None and camera is not None:
        height = torch.from_numpy(camera.heights(values))
    return BoxTable.make(
        torch.tensor(frame),
        values,
        boxes.labels.cpu(),
        None if boxes.scores is None else boxes.scores.detach().cpu(),
        height,
        boxes.truncation.cpu(),
        boxes.occlusion.cpu(),
        boxes.num_points.cpu(),
    )


class JudgeDetections(pl.Callback):
    """Judge what a validation step returns by KITTI's rules and by distance of centres.

    Args:
        source: The data set.
        classes: Names of the classes that are looked for.
        folder: Where ``predictions/*.txt`` go, in KITTI's format; None for nowhere.
        pictures: Sweeps that the first process draws, evenly spread.
        reach: Metres from the middle of a picture to its sides.

    Attributes:
        figures: Name to figure, once a pass is over, the same on every process.
        drawn: Pictures ``(H, W, 3)`` uint8 of the first process, with their captions.
    """

    def __init__(
        self,
        source: LidarSource,
        classes: Sequence[str],
        folder: Path | None = None,
        pictures: int = 0,
        reach: float = 45.0,
    ) -> None:
        self.source, self.classes, self.reach = source, tuple(classes), reach
        self.labels = torch.tensor([source.classes.index(name) for name in classes])
        self.folder = None if folder is None else make_directory(folder / "predictions")
        val = source.split["val"]
        spread = np.linspace(0, len(val) - 1, min(pictures, len(val))).round().astype(int)
        self.to_draw = {int(val[place]) for place in spread}
        self.figures: dict[str, float] = {}
        self.drawn: list[tuple[np.ndarray, str]] = []
        names = [str(Path(name).with_suffix("")) for name in source.names[val]]
        stems = [Path(name).name for name in names]
        unique = len(set(stems)) == len(stems)
        self.files = dict(zip(val.tolist(), stems if unique else map(_flat, names), strict=True))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin anew."""
        judged = [judge for judge in JUDGED if judge.name in self.classes]
        self.metrics = [
            KittiAP(self.source.classes, judged=judged).to(pl_module.device),
            CentreDistanceAP(self.source.classes, judged=self.classes).to(pl_module.device),
        ]
        self.drawn = []

    def on_validation_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Detections,
        batch: LidarBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add a batch."""
        assert batch.boxes is not None
        found, told = [], []
        for place, index in enumerate(batch.index.tolist()):
            mine = outputs.batch_index == place
            boxes = Boxes.make(
                outputs.boxes[mine], outputs.labels[mine], scores=outputs.scores[mine]
            )
            boxes, truth, camera = (
                boxes.to("cpu"),
                batch.boxes[0][place].to("cpu"),
                batch.cameras[place],
            )
            found.append(table_of(boxes, index, camera))
            told.append(table_of(truth, index, camera))
            if self.folder is not None:
                text = result_text(
                    boxes, self.source.classes, self.source.calibration(index), camera
                )
                write_result(self.folder / f"{self.files[index]}.txt", text)
            if trainer.is_global_zero and index in self.to_draw:
                self._draw(index, batch.current.cloud(place).cpu().numpy(), truth, boxes)
        for metric in self.metrics:
            metric.update(BoxTable.cat(found), BoxTable.cat(told), batch.index.cpu())

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compute."""
        self.figures = {k: v for metric in self.metrics for k, v in metric.compute().items()}

    def _draw(self, index: int, points: np.ndarray, truth: Boxes, found: Boxes) -> None:
        assert found.scores is not None
        wanted = torch.isin(truth.labels, self.labels)
        picture = birds_eye(
            points,
            truth[wanted],
            found[found.scores >= _SHOWN_SCORE],
            names=self.source.classes,
            reach=self.reach,
            size=_PICTURE,
        )
        caption = f"{self.files[index]}: {int(wanted.sum())} objects"
        self.drawn.append((np.asarray(picture.convert("RGB")), caption))


def _flat(name: str) -> str:
    return name.replace("/", "_")
