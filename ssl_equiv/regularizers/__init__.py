"""Terms that can be added to the loss of any method."""

from ssl_equiv.regularizers.base import Regularizer
from ssl_equiv.regularizers.soft import SoftEquivariance
from ssl_equiv.regularizers.spatial import SpatialEquivariance

__all__ = ["Regularizer", "SoftEquivariance", "SpatialEquivariance"]
