"""Pure functions of tensors, one file a family; callers gather the global batch first."""

from ssl_equiv.losses.vicreg import covariance, invariance, variance

__all__ = ["covariance", "invariance", "variance"]
