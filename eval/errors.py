"""What evaluators say when they cannot judge."""

from __future__ import annotations

from ssl_equiv.errors import UserError


class NotApplicable(UserError):
    """An evaluator cannot judge this model or these data, and says why; the others still can."""
