"""One LightningModule a paper, one file each; METHODS.md is the index."""

from ssl_equiv.methods.also import ALSO
from ssl_equiv.methods.augself import AugSelf
from ssl_equiv.methods.base import Method, OptimizerConfig
from ssl_equiv.methods.bev_jepa import BevJEPA
from ssl_equiv.methods.bev_mae import BevMAE
from ssl_equiv.methods.byol import BYOL
from ssl_equiv.methods.capsie import CapsIE
from ssl_equiv.methods.conv_ijepa import ConvIJEPA
from ssl_equiv.methods.depth_contrast import DepthContrast
from ssl_equiv.methods.equicaps import EquiCaps
from ssl_equiv.methods.equimod import EquiMod
from ssl_equiv.methods.essl3d import ESSL3D
from ssl_equiv.methods.momentum import MomentumConfig
from ssl_equiv.methods.pls import PLS
from ssl_equiv.methods.point_contrast import PointContrast
from ssl_equiv.methods.sen import SEN
from ssl_equiv.methods.seqjepa import SeqJEPA
from ssl_equiv.methods.sie import SIE
from ssl_equiv.methods.simclr import SimCLR
from ssl_equiv.methods.supervised import Supervised
from ssl_equiv.methods.trajectory import VICRegTrajectory
from ssl_equiv.methods.vicreg import VICReg

__all__ = [
    "ALSO",
    "BYOL",
    "ESSL3D",
    "PLS",
    "SEN",
    "SIE",
    "AugSelf",
    "BevJEPA",
    "BevMAE",
    "CapsIE",
    "ConvIJEPA",
    "DepthContrast",
    "EquiCaps",
    "EquiMod",
    "Method",
    "MomentumConfig",
    "OptimizerConfig",
    "PointContrast",
    "SeqJEPA",
    "SimCLR",
    "Supervised",
    "VICReg",
    "VICRegTrajectory",
]
