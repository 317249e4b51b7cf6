"""Fine-tuning an encoder of sweeps to find objects."""

from ssl_equiv.detection.detector import Detector, DetectorConfig
from ssl_equiv.detection.subset import labelled_subset

__all__ = ["Detector", "DetectorConfig", "labelled_subset"]
