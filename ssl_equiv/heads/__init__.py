"""What stands on a backbone: projectors and action-conditioned predictors."""

from ssl_equiv.heads.predictor import ActionLinear
from ssl_equiv.heads.projector import projector

__all__ = ["ActionLinear", "projector"]
