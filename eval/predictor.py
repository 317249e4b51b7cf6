"""A trained method's own predictor on cached features: what three evaluators share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from eval.cache import FeatureSet
from eval.protocol import NotApplicable, Task
from eval.targets import Convention
from ssl_equiv.errors import UserError
from ssl_equiv.groups import SO3, Group, Product
from ssl_equiv.groups.conversions import quat_conjugate, quat_multiply
from ssl_equiv.methods import Method
from ssl_equiv.methods.predictive import Predictive

PART = "predictor"
"""What measurements name as their part: the space that the predictor works in."""
_CHUNK = 4096  # embeddings at a time


class OwnPredictor:
    """The predictor of a task's method, with the law of its actions.

    Args:
        task: Whose method, and whose features it is to judge.
        convention: Sign of the relative quaternions that it is told; ``published`` for a
            checkpoint that was trained by the papers' code (see :class:`eval.targets.
            RelativeAction`): a predictor that is linear in them sees the difference.

    Attributes:
        group: The group it acts with.
        factors: Names of the factors that it is told.

    Raises:
        NotApplicable: there is no method, it has no such predictor, or these data lack what it
            is told.
    """

    def __init__(self, task: Task, convention: Convention = "canonical") -> None:
        method = task.method
        if method is None:
            raise NotApplicable(
                "there is no trained method, so no predictor to judge: evaluate a run directory "
                "or its checkpoint instead of a backbone"
            )
        if not (isinstance(method, Predictive) and isinstance(method, Method) and method.factors):
            raise NotApplicable(
                f"{type(method).__name__} has no predictor that is told an action: leave this "
                "evaluator out (EquivarianceError fits a linear map to any model)"
            )
        sets = [task.train, *(views for _, views in task.judged())]
        for views in sets:
            missing = [factor for factor in method.factors if factor not in views.groups]
            if missing:
                raise NotApplicable(
                    f"the predictor of {type(method).__name__} is told {', '.join(method.factors)}"
                    f", but the {views.split} data lack {', '.join(missing)}: evaluate on data "
                    "that have it"
                )
            if views.num_views < 2:
                raise NotApplicable(
                    f"the {views.split} objects have one view, and a predictor leads from one to "
                    "another: generate more views"
                )
            if views.features.shape[-1] != method.dim:
                raise NotApplicable(
                    f"features of width {views.features.shape[-1]} for a predictor on "
                    f"{method.dim}: extract them with the method itself"
                )
        if method.training:
            raise UserError("the method is in training mode: call its eval() first")
        self.method: Predictive = method
        self.device, self.factors = method.device, method.factors
        some = {factor: views.actions[factor][:1, :1] for factor in method.factors}
        self.group = _signed(method.elements(some, views.groups)[0], convention)
        self._try(task.val)

    def _try(self, views: FeatureSet) -> None:
        """Move one embedding: elements may have another width than those of training."""
        first = torch.zeros(1, dtype=torch.int64)
        try:
            self.move_once(self.embed(views, first, first), self.group.identity((1,)))
        except RuntimeError as error:
            raise NotApplicable(
                f"the predictor of {type(self.method).__name__} does not take elements of "
                f"{self.group} ({error}): evaluate on data with the factors of its training"
            ) from error

    def compared(self, embedding: Tensor) -> Tensor:
        """Embeddings ``(..., E)`` as the method's loss compares them."""
        return normalize(embedding, dim=-1) if self.method.directions else embedding

    def elements(self, views: FeatureSet, objects: Tensor, chosen: Tensor) -> Tensor:
        """Absolute elements of views ``chosen`` of ``objects``, which broadcast: ``(..., K)``."""
        some = {factor: views.actions[factor][objects, chosen].float() for factor in self.factors}
        return self.method.elements(some, views.groups)[1]

    @torch.no_grad()
    def embed(self, views: FeatureSet, objects: Tensor, chosen: Tensor) -> Tensor:
        """Embeddings of views ``chosen`` of ``objects``, which broadcast: ``(..., E)``."""
        shape = (objects + chosen).shape
        objects, chosen = objects.expand(shape), chosen.expand(shape)
        rows = zip(
            torch.split(objects.flatten(), _CHUNK),
            torch.split(chosen.flatten(), _CHUNK),
            strict=True,
        )
        made = [
            self.method.embed(views.features[o, v].to(self.device)).float().cpu() for o, v in rows
        ]
        return torch.cat(made).view(*shape, -1)

    @torch.no_grad()
    def move(self, embedding: Tensor, actions: Tensor) -> Tensor:
        """Each of ``embedding (B, E)`` moved by T elements ``(B, T, K)``: ``(B, T, E)``.

        Where the loss compares directions, predictions get the length of what they were made
        from: they could not be moved on otherwise.
        """
        made = []
        size = max(1, _CHUNK // actions.shape[1])
        pieces = zip(torch.split(embedding, size), torch.split(actions, size), strict=True)
        for start, told in pieces:
            moved = self.method.predict(start.to(self.device), told.to(self.device)).float().cpu()
            if self.method.directions:
                moved = normalize(moved, dim=-1) * start.norm(dim=-1)[:, None, None]
            made.append(moved)
        return torch.cat(made)

    def move_once(self, embedding: Tensor, action: Tensor) -> Tensor:
        """Each of ``embedding (B, E)`` moved by its element ``(B, K)``: ``(B, E)``."""
        return self.move(embedding, action[:, None])[:, 0]


class _PlainRotations(SO3):
    """Unit quaternions whose sign is what products make of it: the papers' convention."""

    name = "SO3(published)"

    def _compose(self, g: Tensor, h: Tensor) -> Tensor:
        return quat_multiply(g, h)

    def _inverse(self, g: Tensor) -> Tensor:
        return quat_conjugate(g)


def _signed(group: Group, convention: Convention) -> Group:
    if convention == "canonical" or not isinstance(group, Product):
        return group  # a matrix of a rotation has no sign
    plain = {n: _PlainRotations() if isinstance(g, SO3) else g for n, g in group.factors.items()}
    return Product(plain)
