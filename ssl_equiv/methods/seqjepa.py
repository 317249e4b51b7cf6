"""seq-JEPA: predict the next view from a sequence of views and actions (arXiv 2505.03176)."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.errors import UserError
from ssl_equiv.heads import SequenceHead
from ssl_equiv.losses import cosine_distance
from ssl_equiv.methods.actions import relative_action
from ssl_equiv.methods.base import Method, OptimizerConfig
from ssl_equiv.methods.momentum import MomentumConfig, MomentumTarget
from ssl_equiv.methods.predictive import Predictive
from ssl_equiv.representation import Representation


class SeqJEPA(Predictive, Method):
    """Views keep what the actions change; their aggregate keeps what the object is.

    With features z_1 .. z_M of the observed views and relative actions a_i from view i to i + 1::

        loss = 1 − cos(predict(aggregate(z_1, a_1, ..., z_M), a_M), target(x_{M+1}))

    The backbone's features follow the actions (equivariant use); :meth:`aggregate` of a sequence
    of any length is the invariant representation. All observations are one call of the backbone,
    so BatchNorm sees B·M images at once; the view to predict is another call, of the target.

    Args:
        backbone: The network that is pretrained.
        optimizer: Optimiser and schedule.
        observations: M; a batch has one view more.
        factors: Factors of variation whose relative elements, concatenated, are the action.
        action_dim: Entries of the action: the factors' element widths, summed (4 for a rotation).
        action_width: Width of an action's embedding.
        layers: Transformer layers of the aggregator.
        heads: Attention heads; they must divide the backbone's width plus ``action_width``.
        predictor_width: Hidden width of the predictor.
        dropout: Dropout in the aggregator.
        momentum: How the target follows the backbone; None makes the backbone itself, without
            gradient, the target.
        compile: Compile the backbone with ``torch.compile``.
        channels_last: Keep the backbone in channels-last memory format.
    """

    def __init__(
        self,
        backbone: BackboneConfig = BackboneConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = OptimizerConfig(),  # noqa: B008 (frozen)
        observations: int = 3,
        factors: tuple[str, ...] = ("rotation",),
        action_dim: int = 4,
        action_width: int = 128,
        layers: int = 3,
        heads: int = 4,
        predictor_width: int = 1024,
        dropout: float = 0.0,
        momentum: MomentumConfig | None = MomentumConfig(),  # noqa: B008 (frozen)
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__(backbone, optimizer, compile, channels_last)
        if observations < 1:
            raise UserError(f"model.observations is {observations}: choose 1 or more")
        self.observations, self.num_views = observations, observations + 1
        self.factors = tuple(factors)
        self.head = SequenceHead(
            self.dim, action_dim, action_width, layers, heads, predictor_width, dropout
        )
        self.target = None if momentum is None else MomentumTarget(self.backbone, momentum)
        if self.target is not None and compile:
            self.target.network.compile()
        self.weights = {"prediction": 1.0}

    def encode_views(self, images: Tensor) -> list[Representation]:
        """The representations of all but the last of ``images (B, M + 1, C, H, W)``."""
        observed = self.encode(images[:, :-1].flatten(0, 1)).features
        features = torch.unflatten(observed, 0, (len(images), -1))
        return [Representation(view, self.parts) for view in features.unbind(dim=1)]

    @torch.no_grad()
    def encode_target(self, images: Tensor) -> Tensor:
        """What is to be predicted of ``images (B, C, H, W)``: ``(B, D)`` without gradient."""
        images = images.contiguous(memory_format=self.memory_format)
        target: Tensor = (self.backbone if self.target is None else self.target)(images)
        return target

    def aggregate(self, images: Tensor, actions: Tensor) -> Tensor:
        """The representation of a whole sequence, of any length.

        Args:
            images: Normalised views in order, ``(B, M, C, H, W)``, M >= 1.
            actions: Relative elements between consecutive views, ``(B, M - 1, K)``; see
                :meth:`actions`.

        Returns:
            ``(B, D + action_width)``.
        """
        encoded = self.encode(images.flatten(0, 1)).features
        features = torch.unflatten(encoded, 0, images.shape[:2])
        return self.head.aggregate(features, actions)

    def actions(self, batch: ViewBatch) -> Tensor:
        """The actions ``(B, V - 1, K)`` between consecutive views of a batch.

        Raises:
            UserError: the data lack a factor, or ``action_dim`` does not fit.
        """
        dim = self.head.action_dim
        steps = [
            relative_action(batch, self.factors, dim, view, view + 1)
            for view in range(batch.images.shape[1] - 1)
        ]
        return torch.stack(steps, dim=1)

    def terms(self, views: list[Representation], batch: ViewBatch) -> dict[str, Tensor]:
        """The distance of prediction and target."""
        return self.terms_of_sequence(
            torch.stack([view.features for view in views], dim=1),
            self.actions(batch),
            self.encode_target(batch.images[:, -1]),
        )

    def terms_of_sequence(
        self, features: Tensor, actions: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """The term for observed ``(B, M, D)``, actions ``(B, M, K)`` and target ``(B, D)``."""
        return {"prediction": cosine_distance(self.head(features, actions), target)}

    @property
    def directions(self) -> bool:
        """The loss compares cosines."""
        return True

    def embed(self, features: Tensor) -> Tensor:
        """The features themselves; they stand for the target's, which follow them."""
        return features

    def predict(self, embedding: Tensor, actions: Tensor) -> Tensor:
        """The next view's feature for T elements, from a sequence of one observation."""
        times = actions.shape[1]
        aggregate = self.head.aggregate(embedding[:, None], actions[:, :0])
        every = aggregate.repeat_interleave(times, dim=0)
        return self.head.predict(every, actions.flatten(0, 1)).view(embedding.shape[0], times, -1)

    def on_fit_start(self) -> None:
        """Refuse a run without an end before it starts, where the momentum needs one."""
        if self.target is not None:
            self.target.config.at(0, self.trainer.estimated_stepping_batches)

    def after_optimizer_step(self, step: int) -> None:
        """Let the target follow."""
        if self.target is not None:
            self.target.update(self.backbone, step, self.trainer.estimated_stepping_batches)
