"""The classifier whose answers are followed along orbits: linear, in closed form, calibrated.

Linear discriminant analysis: classes are Gaussians of one covariance, so the posterior is linear in
the features and one eigendecomposition fits it. How far the covariance is drawn towards a multiple
of the identity, and the temperature that makes the posterior a confidence, are chosen by the
likelihood of training objects that were held out.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from eval.cache import FeatureSet

_SHRINKAGES = (0.01, 0.03, 0.1, 0.3, 0.6, 0.9)
_TEMPERATURES = tuple(10 ** (k / 8) for k in range(-16, 5))  # of the discriminant, in its factor
_DEFAULT = (0.3, 1.0)  # where no object can be held out
_HELD_OUT = 5  # every fifth object
_CLUSTER_VIEWS = 4096


@dataclass(frozen=True)
class Classifier:
    """A linear classifier.

    Args:
        weight: ``(D, C)`` float32.
        bias: ``(C,)``; -inf for a class that was never seen.
        pseudo: Its classes are clusters of features, not labels.
        frequency: Share of each class in training, ``(C,)``.
    """

    weight: Tensor
    bias: Tensor
    pseudo: bool
    frequency: Tensor

    def log_probabilities(self, features: Tensor) -> Tensor:
        """Log-posterior ``(..., C)`` of features ``(..., D)``."""
        return (features.float() @ self.weight + self.bias).log_softmax(dim=-1)


def fit_classifier(
    train: FeatureSet, part: str, views: int = 20_000, clusters: int = 10
) -> Classifier:
    """Fit on the features of one part; the same at every call.

    Args:
        train: Features to learn from, of which objects without a label (below 0) are left out.
        part: Part of the representation.
        views: Views to learn from, at most: a fixed choice of each object's.
        clusters: Where fewer than two classes are labelled, how many clusters of the features
            (k-means) stand for classes.

    Raises:
        UserError: the model has no such part.
    """
    first, past = train.columns(part)
    label = train.labels
    pseudo = len(torch.unique(label[label >= 0])) < 2
    generator = torch.Generator().manual_seed(0)
    known = torch.arange(len(label)) if pseudo else (label >= 0).nonzero().squeeze(1)
    known = known[torch.randperm(len(known), generator=generator)[:views].sort().values]
    each = max(1, min(train.num_views, views // len(known)))
    chosen = torch.rand(len(known), train.num_views, generator=generator).argsort(dim=1)[:, :each]
    x = train.features[known[:, None], chosen, first:past].flatten(0, 1).float()
    mean, std = x.mean(dim=0), x.std(dim=0, unbiased=False)
    scale = torch.where(std > 1e-6 * mean.abs(), 1 / std.clamp_min(1e-30), 0.0)  # constants are 0
    x = (x - mean) * scale
    if pseudo:
        y, classes = _clusters(x, clusters), clusters
    else:
        y, classes = label[known].repeat_interleave(each), len(train.class_names)
    held = (torch.arange(len(known)) % _HELD_OUT == _HELD_OUT - 1).repeat_interleave(each)
    shrinkage, factor = _choose(x[~held], y[~held], x[held], y[held], classes)
    weight, bias, frequency = discriminant(x, y, classes, shrinkage)
    weight, bias = factor * weight * scale[:, None], factor * bias
    bias = bias - mean @ weight + frequency.log()
    return Classifier(weight, bias, pseudo, frequency)


def discriminant(
    x: Tensor, y: Tensor, classes: int, shrinkage: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Linear discriminants ``x @ weight + bias``, without the classes' frequencies.

    The covariance within classes S is taken as ``(1 - s) S + s tr(S)/D I``.

    Args:
        x: Features, ``(n, D)`` float32.
        y: Classes, ``(n,)`` int64.
        classes: Number of classes C.
        shrinkage: s in [0, 1].

    Returns:
        Weight ``(D, C)``, bias ``(C,)`` and the share of each class, ``(C,)``, float32.
    """
    centres, values, vectors = _moments(x, y, classes)
    weight, bias = _solve(centres, values, vectors, shrinkage)
    return weight, bias, _frequency(y, classes)


def _moments(x: Tensor, y: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Means of the classes, and the eigenvalues and eigenvectors of the covariance within."""
    counts = torch.bincount(y, minlength=classes).clamp_min(1).to(x)
    centres = x.new_zeros(classes, x.shape[1]).index_add_(0, y, x) / counts[:, None]
    within = x - centres[y]
    values, vectors = torch.linalg.eigh((within.T @ within / len(x)).double())
    return centres, values.clamp_min(0), vectors


def _solve(
    centres: Tensor, values: Tensor, vectors: Tensor, shrinkage: float
) -> tuple[Tensor, Tensor]:
    spread = (1 - shrinkage) * values + shrinkage * values.mean()
    # features that are the same in each class have no spread; then differences of means decide
    spread = spread.clamp_min(1e-9)
    weight = (vectors / spread) @ (vectors.T @ centres.double().T)
    bias = -0.5 * (centres.double().T * weight).sum(dim=0)
    return weight.float(), bias.float()


def _choose(
    x: Tensor, y: Tensor, held_x: Tensor, held_y: Tensor, classes: int
) -> tuple[float, float]:
    """Shrinkage and factor under which held-out views are likeliest."""
    frequency = _frequency(y, classes)
    seen = frequency[held_y] > 0
    held_x, held_y = held_x[seen], held_y[seen]
    if len(held_y) == 0 or len(y) == 0:
        return _DEFAULT
    moments, best = _moments(x, y, classes), (float("inf"), _DEFAULT)
    for shrinkage in _SHRINKAGES:
        weight, bias = _solve(*moments, shrinkage)
        logits = held_x @ weight + bias
        for factor in _TEMPERATURES:
            log_p = (factor * logits + frequency.log()).log_softmax(dim=-1)
            loss = -log_p.gather(1, held_y[:, None]).mean().item()
            best = min(best, (loss, (shrinkage, factor)))
    return best[1]


def _frequency(y: Tensor, classes: int) -> Tensor:
    return torch.bincount(y, minlength=classes).float() / max(1, len(y))


def _clusters(x: Tensor, clusters: int) -> Tensor:
    some = x[:: -(-len(x) // _CLUSTER_VIEWS)].numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct features than clusters: some stay empty
        means = MiniBatchKMeans(min(clusters, len(some)), n_init=3, random_state=0).fit(some)
        return torch.from_numpy(means.predict(x.numpy())).long()
