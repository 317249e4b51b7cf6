"""One LightningModule a paper, one file each; METHODS.md is the index."""

from ssl_equiv.methods.base import Method, OptimizerConfig
from ssl_equiv.methods.sie import SIE
from ssl_equiv.methods.vicreg import VICReg

__all__ = ["SIE", "Method", "OptimizerConfig", "VICReg"]
