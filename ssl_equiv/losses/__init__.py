"""Pure functions of tensors, one file a family; callers gather the global batch first."""

from ssl_equiv.losses.contrastive import check_temperature, info_nce
from ssl_equiv.losses.cosine import cosine_distance
from ssl_equiv.losses.detection import box_l1, centre_focal
from ssl_equiv.losses.equiangular import equiangular_loss
from ssl_equiv.losses.masked import masked_regression
from ssl_equiv.losses.vicreg import covariance, invariance, variance

__all__ = [
    "box_l1",
    "centre_focal",
    "check_temperature",
    "cosine_distance",
    "covariance",
    "equiangular_loss",
    "info_nce",
    "invariance",
    "masked_regression",
    "variance",
]
