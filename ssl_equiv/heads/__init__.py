"""What stands on a backbone: projectors and action-conditioned predictors, fixed classifiers."""

from ssl_equiv.heads.capsules import Capsules
from ssl_equiv.heads.equiangular import (
    EquiangularHead,
    coherence,
    equiangular_basis,
    extend_basis,
)
from ssl_equiv.heads.mask_predictor import MaskPredictor
from ssl_equiv.heads.predictor import ActionLinear, DeepActionMLP, action_predictor
from ssl_equiv.heads.projector import projector
from ssl_equiv.heads.sequence import SequenceHead

__all__ = [
    "ActionLinear",
    "Capsules",
    "DeepActionMLP",
    "EquiangularHead",
    "MaskPredictor",
    "SequenceHead",
    "action_predictor",
    "coherence",
    "equiangular_basis",
    "extend_basis",
    "projector",
]
