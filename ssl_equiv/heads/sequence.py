"""seq-JEPA's head: views and the actions between them, aggregated to predict the next view."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_equiv.errors import UserError


class SequenceHead(nn.Module):
    """Aggregate a sequence of observations of any length, and predict the one after it.

    Shapes: B sequences, M observations, D columns of a feature, K entries of an action, E of its
    embedding, T = D + E of a token (seq-JEPA, arXiv 2505.03176, Sec. 3).

    * An observation's token is its feature beside the embedding ``Linear(no bias) → BatchNorm
      (no affine)`` of the action that leads to the next one; beside zeros for the last.
    * A learnt token goes first; its output of the transformer encoder is the aggregate. There is
      no position code: the actions alone tell the order.
    * The predictor (Linear without bias, BatchNorm, ReLU, Linear) takes the aggregate beside the
      embedding of the upcoming action.

    Args:
        dim: D.
        action_dim: K.
        action_width: E.
        layers: Transformer layers, post-norm with ReLU and four times T in between.
        heads: Attention heads; they must divide T.
        predictor_width: Hidden width of the predictor.
        dropout: Dropout in the transformer, in [0, 1).

    Raises:
        UserError: an argument is out of its range, or ``heads`` does not divide T.
    """

    def __init__(
        self,
        dim: int,
        action_dim: int = 4,
        action_width: int = 128,
        layers: int = 3,
        heads: int = 4,
        predictor_width: int = 1024,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        token = dim + action_width
        for name, value in (
            ("action_dim", action_dim),
            ("action_width", action_width),
            ("layers", layers),
            ("heads", heads),
            ("predictor_width", predictor_width),
        ):
            if value < 1:
                raise UserError(f"model.{name} is {value}: choose 1 or more")
        if not 0 <= dropout < 1:
            raise UserError(f"model.dropout is {dropout}: choose 0 or more and less than 1")
        if token % heads:
            raise UserError(
                f"model.heads is {heads}, which does not divide a token's {token} columns "
                f"({dim} of the backbone, {action_width} of the action): change action_width"
            )
        self.dim, self.action_dim, self.action_width = dim, action_dim, action_width
        self.action_linear = nn.Linear(action_dim, action_width, bias=False)
        self.action_norm = nn.BatchNorm1d(action_width, affine=False)
        self.aggregate_token = nn.Parameter(0.02 * torch.randn(1, 1, token))
        layer = nn.TransformerEncoderLayer(token, heads, 4 * token, dropout, batch_first=True)
        self.transformer = nn.TransformerEncoder(
            layer, layers, nn.LayerNorm(token), enable_nested_tensor=False
        )
        self.predictor = nn.Sequential(
            nn.Linear(token + action_width, predictor_width, bias=False),
            nn.BatchNorm1d(predictor_width),
            nn.ReLU(inplace=True),
            nn.Linear(predictor_width, dim),
        )

    @property
    def aggregate_dim(self) -> int:
        """T, the width of an aggregate."""
        return self.dim + self.action_width

    def embed(self, actions: Tensor) -> Tensor:
        """Embeddings ``(..., E)`` of actions ``(..., K)``; one batch to the BatchNorm."""
        embedded = self.action_linear(actions.to(self.action_linear.weight.dtype))
        normal: Tensor = self.action_norm(embedded.flatten(0, -2))
        return normal.view(embedded.shape)

    def aggregate(self, features: Tensor, actions: Tensor) -> Tensor:
        """What is known after a sequence.

        Args:
            features: Observations in order, ``(B, M, D)``, M >= 1.
            actions: Relative elements from each observation to the next, ``(B, M - 1, K)``; one
                more, the upcoming one, is seen by the BatchNorm in training but not by the result.

        Returns:
            ``(B, T)``.
        """
        batch, length = features.shape[:2]
        if not length or actions.shape[1] not in (length - 1, length):
            raise UserError(
                f"a sequence of {length} observations with {actions.shape[1]} actions: give one or "
                "more observations, and one action between each two"
            )
        if actions.shape[1]:
            embedded = self.embed(actions)[:, : length - 1]
        else:
            embedded = features.new_zeros(batch, 0, self.action_width)
        embedded = F.pad(embedded, (0, 0, 0, 1))  # nothing leads on from the last observation
        tokens = torch.cat([features, embedded.to(features.dtype)], dim=-1)
        first = self.aggregate_token.to(tokens.dtype).expand(batch, -1, -1)
        aggregated: Tensor = self.transformer(torch.cat([first, tokens], dim=1))[:, 0]
        return aggregated

    def predict(self, aggregate: Tensor, action: Tensor) -> Tensor:
        """The feature ``(B, D)`` of the view that action ``(B, K)`` leads to."""
        return self._predict(aggregate, self.embed(action))

    def forward(self, features: Tensor, actions: Tensor) -> Tensor:
        """Predict the feature after ``features (B, M, D)`` and ``actions (B, M, K)``."""
        upcoming = self.embed(actions[:, -1])  # first: running statistics weigh the latest most
        return self._predict(self.aggregate(features, actions), upcoming)

    def _predict(self, aggregate: Tensor, embedded: Tensor) -> Tensor:
        prediction: Tensor = self.predictor(torch.cat([aggregate, embedded], dim=-1))
        return prediction
