"""The evaluators: each a frozen dataclass, which a configuration names by its class."""

from eval.evaluators.classification import LinearClassification, MLPClassification
from eval.evaluators.clustering import Clustering
from eval.evaluators.collapse import Collapse
from eval.evaluators.consistency import Consistency
from eval.evaluators.equivariance_error import EquivarianceError
from eval.evaluators.feature_maps import FeatureMaps
from eval.evaluators.few_shot import FewShot
from eval.evaluators.image_orbits import ImageOrbits
from eval.evaluators.neighbours import KNN, RetrievalOfClasses
from eval.evaluators.path_integration import PathIntegration
from eval.evaluators.predictor_retrieval import PredictorRetrieval
from eval.evaluators.regression import ActionRegression, PoseRegression
from eval.evaluators.rendered_orbits import RenderedOrbits
from eval.evaluators.robustness import Robustness
from eval.evaluators.scanpath import ScanpathClassification
from eval.evaluators.sequence import SequenceClassification
from eval.evaluators.suites import standard_evaluators

__all__ = [
    "KNN",
    "ActionRegression",
    "Clustering",
    "Collapse",
    "Consistency",
    "EquivarianceError",
    "FeatureMaps",
    "FewShot",
    "ImageOrbits",
    "LinearClassification",
    "MLPClassification",
    "PathIntegration",
    "PoseRegression",
    "PredictorRetrieval",
    "RenderedOrbits",
    "RetrievalOfClasses",
    "Robustness",
    "ScanpathClassification",
    "SequenceClassification",
    "standard_evaluators",
]
