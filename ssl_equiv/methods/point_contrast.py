"""PointContrast on sweeps (Xie et al. 2020, arXiv 2007.10985): points are found again."""

from __future__ import annotations

from torch import Tensor

from ssl_equiv.backbones.lidar import EncoderConfig
from ssl_equiv.data.lidar.batch import LidarBatch
from ssl_equiv.heads import projector
from ssl_equiv.losses import check_temperature
from ssl_equiv.methods.base import OptimizerConfig
from ssl_equiv.methods.lidar import LIDAR_OPTIMIZER, BevRepresentation, LidarMethod


class PointContrast(LidarMethod):
    """A point's feature is its own among all points of the other view, whatever moved the view.

    Like the paper's PointInfoNCE, but on two views of one sweep in the place of two scans of one
    room, with bird's-eye features, both ways, and negatives of the same sweep.

    Args:
        backbone: The encoder that is pretrained.
        optimizer: Optimiser and schedule.
        points: Matched points of a sweep.
        temperature: Divides the cosines.
        projector_widths: Widths of the projector's layers.
        compile: Compile the two-dimensional part of the encoder.
    """

    def __init__(
        self,
        backbone: EncoderConfig = EncoderConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = LIDAR_OPTIMIZER,
        points: int = 2048,
        temperature: float = 0.07,
        projector_widths: tuple[int, ...] = (256, 128),
        compile: bool = False,
    ) -> None:
        check_temperature(temperature)
        super().__init__(backbone, optimizer, compile)
        self.points, self.temperature = points, temperature
        self.projector = projector(self.dim, projector_widths)
        self.weights = {"contrast": 1.0}

    def terms(self, views: list[BevRepresentation], batch: LidarBatch) -> dict[str, Tensor]:
        """The contrast."""
        return {"contrast": self.contrast(views, batch, self.points, self.temperature)}
