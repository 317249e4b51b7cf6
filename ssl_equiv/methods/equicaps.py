"""EquiCaps: predictor-free pose-aware capsules (Konstantinou et al. 2025, arXiv 2506.09895)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from ssl_equiv.backbones import BackboneConfig
from ssl_equiv.data.views import ViewBatch
from ssl_equiv.distributed import global_batch
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SE3, SO3, Group, Translation
from ssl_equiv.losses import covariance, invariance, variance
from ssl_equiv.losses.capsules import activation_cross_entropy, mean_entropy_gap, moved, normalized
from ssl_equiv.methods.base import OptimizerConfig
from ssl_equiv.methods.capsules import CapsuleMethod
from ssl_equiv.methods.predictive import Predictive
from ssl_equiv.representation import Representation


class EquiCaps(Predictive, CapsuleMethod):
    """Capsules' activations agree between views; their poses are moved by the action itself.

    With activations a_x, a_y, poses P_x, P_y (matrices), the views' relative action T as a matrix,
    n(P) = P / ‖P‖_F, X = [a_x, n(P_x T)] and Y = [a_y, n(P_y)]::

        loss = w_inv · mean Σ_j −a_y log a_x + w_equi · MSE(n(P_x T), n(P_y))
             + w_var · (V(X) + V(Y)) / 2 + w_cov · (C(X) + C(Y))
             + w_ent · Σ_views (log N − H(mean activation))

    No predictor is learnt: what follows the action is linear in it by construction.

    Args:
        backbone: The network that is pretrained; its map is not pooled before the capsules.
        optimizer: Optimiser and schedule.
        image_size: Side of the images, pixels; the routing kernel is the map that they make.
        pose: Size of the poses: ``3x3`` follow rotations, ``4x4`` rigid motions.
        factors: A rotation, and for ``4x4`` also a translation, if the data have one; without it
            4x4 poses follow rotations with zero translation.
        frame: Frame of rigid motions: ``object`` (M = T R) or ``base`` (M = R T); without a
            translation there is no difference, and ``base`` is refused.
        num_capsules: N.
        invariance_weight: Coefficient of the activations' cross-entropy.
        equivariance_weight: Coefficient of the equivariance term.
        variance_weight: Coefficient of the variance term.
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
        pose: Literal["3x3", "4x4"] = "3x3",
        factors: tuple[str, ...] = ("rotation",),
        frame: Literal["object", "base"] = "object",
        num_capsules: int = 32,
        invariance_weight: float = 0.1,
        equivariance_weight: float = 5.0,
        variance_weight: float = 10.0,
        covariance_weight: float = 1.0,
        mean_entropy_weight: float = 1.0,
        compile: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__(backbone, optimizer, compile, channels_last)
        self.edge = int(pose[0])
        self.factors, self.frame = tuple(factors), frame
        if not 1 <= len(factors) <= self.edge - 2:
            raise UserError(
                f"model.factors is {list(factors)}: {pose} poses take a rotation"
                + (" alone; set model.pose 4x4 for" if pose == "3x3" else " and at most")
                + " a translation"
            )
        if frame == "base" and len(factors) < 2:
            raise UserError(
                f"model.frame is base, but {list(factors)} alone move the same way in both frames: "
                "set model.pose 4x4 and name a translation too, or leave frame out"
            )
        self.build_capsules(image_size, num_capsules, self.edge**2)
        self.weights = {
            "invariance": invariance_weight,
            "equivariance": equivariance_weight,
            "variance": variance_weight,
            "covariance": covariance_weight,
            "mean_entropy": mean_entropy_weight,
        }

    def action(self, batch: ViewBatch) -> Tensor:
        """The views' relative action as matrices, ``(B, k, k)``.

        Raises:
            UserError: the data lack a factor, or it is of another group.
        """
        for name in self.factors:
            batch.relative(name, 0, 1)  # tells what is missing
        group, pose = self.elements(batch.actions, batch.groups)
        return group.matrix(group.relative(pose[:, 0], pose[:, 1]))

    def elements(
        self, actions: Mapping[str, Tensor], groups: Mapping[str, Group]
    ) -> tuple[Group, Tensor]:
        """Rotations, or poses in the frame: a relative pose is not made of relative factors.

        Raises:
            UserError: a factor is of another group.
        """
        expected: tuple[Group, ...] = (SO3(), Translation(3))
        for name, wanted in zip(self.factors, expected, strict=False):
            if groups[name] != wanted:
                raise UserError(
                    f"model.factors: {name!r} is of {groups[name]}, but {wanted} stands there"
                )
        rotation = actions[self.factors[0]]
        group = self.acting
        if not isinstance(group, SE3):
            return group, rotation
        zero = torch.zeros_like(rotation[..., :3])
        translation = actions[self.factors[1]] if len(self.factors) > 1 else zero
        return group, group.pose(rotation, translation)

    def terms(self, views: list[Representation], batch: ViewBatch) -> dict[str, Tensor]:
        """The five terms of the loss."""
        return self.terms_of_action(views, self.action(batch))

    def terms_of_action(self, views: list[Representation], action: Tensor) -> dict[str, Tensor]:
        """The terms for two views and their relative action ``(B, k, k)``."""
        x_activation, y_activation = (view["capsule_activation"] for view in views)
        num = x_activation.shape[1]
        x_pose, y_pose = (
            view["capsule_pose"].reshape(-1, num, self.edge, self.edge) for view in views
        )
        x_pose, y_pose = normalized(moved(x_pose, action)), normalized(y_pose)
        x = global_batch(torch.cat([x_activation, x_pose.flatten(1)], dim=1))
        y = global_batch(torch.cat([y_activation, y_pose.flatten(1)], dim=1))
        return {
            "invariance": activation_cross_entropy(x_activation, y_activation),
            "equivariance": invariance(x_pose, y_pose),
            "variance": (variance(x) + variance(y)) / 2,
            "covariance": covariance(x) + covariance(y),
            "mean_entropy": mean_entropy_gap(x[:, :num]) + mean_entropy_gap(y[:, :num]),
        }

    def embed(self, features: Tensor) -> Tensor:
        """The normalised poses, flattened: columns of the representation."""
        first, past = self.parts["capsule_pose"]
        pose = features[:, first:past].reshape(features.shape[0], -1, self.edge, self.edge)
        return normalized(pose).flatten(1)

    def predict(self, embedding: Tensor, actions: Tensor) -> Tensor:
        """The poses times T elements, normalised: nothing is learnt."""
        matrix = self.acting.matrix(actions)
        pose = embedding.reshape(embedding.shape[0], -1, self.edge, self.edge)
        return normalized(torch.einsum("bnij,btjk->btnik", pose, matrix)).flatten(2)

    @property
    def acting(self) -> Group:
        """The group of the poses' actions."""
        return SO3() if self.edge == 3 else SE3(self.frame)
