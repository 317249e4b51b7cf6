"""CapsIE: capsule projectors with a learnt predictor (Everett et al. 2024, arXiv 2405.14386)."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.distributed import global_batch
from ssl_equiv.heads import ActionLinear
from ssl_equiv.losses import covariance, invariance, variance
from ssl_equiv.losses.capsules import activation_cross_entropy, mean_entropy_gap
from ssl_equiv.methods.actions import relative_action
from ssl_equiv.methods.base import OptimizerConfig
from ssl_equiv.methods.capsules import CapsuleMethod
from ssl_equiv.methods.predictive import Predictive
from ssl_equiv.representation import Representation


class CapsIE(Predictive, CapsuleMethod):
    """Capsules' activations agree between views; a predictor moves their poses.

    With activations a_x, a_y, poses p_x, p_y (all N of an image, flattened), the prediction
    ``p̂ = W(g) p_x`` of SIE's linear hypernetwork for relative action g, X = [a_x, p_x]::

        loss = w_inv · mean Σ_j −a_y log a_x + w_equi · MSE(p̂, p_y)
             + w_var · (V(X) + V(Y)) / 2 + w_pred · V(p̂) / 2 + w_cov · (C(X) + C(Y))
             + w_ent · Σ_views (log N − H(mean activation))

    The paper gives the pieces: self-routing capsules in place of a projector, cross-entropy and
    mean entropy of the activations, SIE's predictor and V, C and prediction variance. Chosen here:
    poses are compared as they are, not normalised (the predictor is not a matrix product that
    would keep their norm, and V holds their scale); statistics and factors 1/2 are those of
    :class:`SIE`; the coefficients are those of EquiCaps, which has the same capsules. No numbers of
    a published implementation stand behind this method.

    Args:
        backbone: The network that is pretrained; its map is not pooled before the capsules.
        optimizer: Optimiser and schedule.
        image_size: Side of the images, pixels; the routing kernel is the map that they make.
        factors: Factors of variation whose relative elements, concatenated, are the action.
        action_dim: Entries of the action: the factors' element widths, summed (4 for a rotation).
        num_capsules: N.
        pose_dim: Entries of a pose.
        invariance_weight: Coefficient of the activations' cross-entropy.
        equivariance_weight: Coefficient of the equivariance term.
        variance_weight: Coefficient of the variance term.
        prediction_variance_weight: Coefficient of the predictions' variance term.
        covariance_weight: Coefficient of the covariance term.
        mean_entropy_weight: Coefficient of the mean activation's missing entropy.
        compile: Compile the backbone with ``torch.compile``.
        channels_last: Keep backbone and capsules in channels-last memory format.
    """

    def __init__(
        self,
        backbone: BackboneConfig = BackboneConfig(),  # noqa: B008 (frozen)
        optimizer: OptimizerConfig = OptimizerConfig(),  # noqa: B008 (frozen)
        image_size: int = 256,
        factors: tuple[str, ...] = ("rotation",),
        action_dim: int = 4,
        num_capsules: int = 32,
        pose_dim: int = 16,
        invariance_weight: float = 0.1,
        equivariance_weight: float = 5.0,
        variance_weight: float = 10.0,
        prediction_variance_weight: float = 10.0,
        covariance_weight: float = 1.0,
        mean_entropy_weight: float = 1.0,
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__(backbone, optimizer, compile, channels_last)
        self.factors = tuple(factors)
        self.build_capsules(image_size, num_capsules, pose_dim)
        self.predictor = ActionLinear(action_dim, num_capsules * pose_dim)
        self.weights = {
            "invariance": invariance_weight,
            "equivariance": equivariance_weight,
            "variance": variance_weight,
            "prediction_variance": prediction_variance_weight,
            "covariance": covariance_weight,
            "mean_entropy": mean_entropy_weight,
        }

    def terms(self, views: list[Representation], batch: ViewBatch) -> dict[str, Tensor]:
        """The six terms of the loss."""
        action = relative_action(batch, self.factors, self.predictor.action_dim)
        return self.terms_of_action(views, action)

    def terms_of_action(self, views: list[Representation], action: Tensor) -> dict[str, Tensor]:
        """The terms for two views and their relative action ``(B, K)``."""
        x_activation, y_activation = (view["capsule_activation"] for view in views)
        x_pose, y_pose = (view["capsule_pose"] for view in views)
        prediction = self.predictor(x_pose, action)
        x = global_batch(torch.cat([x_activation, x_pose], dim=1))
        y = global_batch(torch.cat([y_activation, y_pose], dim=1))
        num = x_activation.shape[1]
        return {
            "invariance": activation_cross_entropy(x_activation, y_activation),
            "equivariance": invariance(prediction, y_pose),
            "variance": (variance(x) + variance(y)) / 2,
            "prediction_variance": variance(global_batch(prediction)) / 2,
            "covariance": covariance(x) + covariance(y),
            "mean_entropy": mean_entropy_gap(x[:, :num]) + mean_entropy_gap(y[:, :num]),
        }

    def embed(self, features: Tensor) -> Tensor:
        """The poses, flattened: columns of the representation."""
        first, past = self.parts["capsule_pose"]
        return features[:, first:past]

    def predict(self, embedding: Tensor, actions: Tensor) -> Tensor:
        """Each embedding moved by T elements."""
        return self.predictor.orbit(embedding, actions)
