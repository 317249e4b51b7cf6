"""Detection metrics: KITTI's average precision and nuScenes' by distance of centres."""

from eval.detection.centre_distance import centre_distance_ap
from eval.detection.kitti import kitti_ap
from eval.detection.metrics import CentreDistanceAP, KittiAP
from eval.detection.table import DONT_CARE, BoxTable

__all__ = [
    "DONT_CARE",
    "BoxTable",
    "CentreDistanceAP",
    "KittiAP",
    "centre_distance_ap",
    "kitti_ap",
]
