"""What stands on a backbone: projectors and action-conditioned predictors, fixed classifiers."""

from ssl_equiv.heads.capsules import Capsules
from ssl_equiv.heads.center_head import CenterHead
from ssl_equiv.heads.equiangular import coherence, equiangular_basis, extend_basis, quality
from ssl_equiv.heads.equiangular_head import EquiangularHead
from ssl_equiv.heads.mask_predictor import MaskPredictor
from ssl_equiv.heads.predictor import ActionLinear, DeepActionMLP, action_predictor
from ssl_equiv.heads.projector import projector
from ssl_equiv.heads.sequence import SequenceHead

__all__ = [
    "ActionLinear",
    "Capsules",
    "CenterHead",
    "DeepActionMLP",
    "EquiangularHead",
    "MaskPredictor",
    "SequenceHead",
    "action_predictor",
    "coherence",
    "equiangular_basis",
    "extend_basis",
    "projector",
    "quality",
]
