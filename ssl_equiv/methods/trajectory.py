"""VICReg with a trajectory loss (Wang et al. 2024, arXiv 2403.14973)."""

from __future__ import annotations

from torch import Tensor

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.distributed import global_batch
from ssl_equiv.errors import UserError
from ssl_equiv.heads import projector
from ssl_equiv.losses import cosine_distance, covariance, invariance, variance
from ssl_equiv.methods.base import Method, OptimizerConfig
from ssl_equiv.representation import Representation


class VICRegTrajectory(Method):
    """VICReg on three consecutive views of a smooth path, whose embeddings go straight on.

    ``loss = VICReg over neighbours + w · (1 - cos(z_1 - z_0, z_2 - z_1))``: the embeddings of a
    smoothly moving object lie, locally, on a line. No action is needed, but the data must be paths
    (``trajectory`` of a recipe, with ``data.consecutive``). The paper's text leaves open whether
    all neighbours enter VICReg's terms; here the means over both pairs do.

    Args:
        backbone: The network that is pretrained.
        optimizer: Optimiser and schedule.
        projector_widths: Widths of the projector's layers.
        invariance_weight: Coefficient of the invariance term.
        variance_weight: Coefficient of the variance term.
        covariance_weight: Coefficient of the covariance term.
        trajectory_weight: w.
        compile: Compile the backbone with ``torch.compile``.
        channels_last: Keep the backbone in channels-last memory format.
    """

    num_views = 3

    def __init__(
        self,
        backbone: BackboneConfig = BackboneConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = OptimizerConfig(),  # noqa: B008 (frozen)
        projector_widths: tuple[int, ...] = (2048, 2048, 2048),
        invariance_weight: float = 10.0,
        variance_weight: float = 10.0,
        covariance_weight: float = 1.0,
        trajectory_weight: float = 0.1,
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__(backbone, optimizer, compile, channels_last)
        self.projector = projector(self.dim, projector_widths)
        self.weights = {
            "invariance": invariance_weight,
            "variance": variance_weight,
            "covariance": covariance_weight,
            "trajectory": trajectory_weight,
        }

    def on_fit_start(self) -> None:
        """Refuse data that are no paths, before a step is taken: the loss would not tell."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if data is None:
            return
        if not data.consecutive:
            raise UserError(
                "VICRegTrajectory needs views that follow one another: set data.consecutive true"
            )
        if data.source.paths is False:
            raise UserError(
                f"VICRegTrajectory needs paths, but the views in {data.source.root} were drawn one "
                "by one: generate data with a trajectory in the recipe, such as "
                "configs/data/trajectory.yaml"
            )

    def terms(
        self, views: list[Representation], batch: ViewBatch | None = None
    ) -> dict[str, Tensor]:
        """VICReg's terms, and how far the path of the embeddings bends."""
        first, middle, last = embedded = [self.projector(view.features) for view in views]
        gathered = [global_batch(z) for z in embedded]
        return {
            "invariance": (invariance(first, middle) + invariance(middle, last)) / 2,
            "variance": sum((variance(z) for z in gathered), first.new_zeros(())) / 3,
            "covariance": 2 * sum((covariance(z) for z in gathered), first.new_zeros(())) / 3,
            "trajectory": cosine_distance(middle - first, last - middle),
        }
