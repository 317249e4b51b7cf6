"""Equiangular basis vectors: fixed unit vectors, one a class, far from each other at any number.

Shen et al., "Equiangular basis vectors", CVPR 2023 (arXiv 2303.11637): the classifier's weights
are not learnt but K fixed vectors of dimension d whose cosines are small, so the head has no
parameters. There they come from descent on a hinge; here from algebra (:mod:`.frames`), refined by
descent where that is affordable.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ssl_equiv.errors import UserError
from ssl_equiv.heads.frames import orthonormal, paley, quadratic_forms, simplex, welch_bound

_BLOCK = 4096  # rows and columns of the Gram matrix at a time: it is never whole
_FLOP = 4e11  # what refining may cost: some ten seconds on two cores
_MOST_STEPS, _FEWEST_STEPS = 3000, 100
_SMALL = 4000  # vectors; beyond, descent would gain little for its time


def equiangular_basis(
    num_vectors: int, dim: int, seed: int = 0, max_coherence: float | None = None
) -> Tensor:
    """K unit vectors in d dimensions whose absolute cosines are small.

    Orthonormal for K <= d, a regular simplex for K = d + 1; beyond, the best of a Paley frame,
    Kerdock and Gold sets (see :mod:`ssl_equiv.heads.frames`) and random vectors, refined by descent
    for up to a few thousand vectors. Deterministic on one machine.

    Args:
        num_vectors: K.
        dim: d.
        seed: Seed of what is drawn.
        max_coherence: Refuse to return vectors with a larger absolute cosine.

    Returns:
        ``(K, d)`` float32; treat it as read-only, equal calls share it.

    Raises:
        UserError: K or d is below 1, or ``max_coherence`` is below the Welch bound or not reached.
    """
    if num_vectors < 1 or dim < 1:
        raise UserError(f"{num_vectors} vectors of dimension {dim}: both must be 1 or more")
    bound = welch_bound(num_vectors, dim)
    if max_coherence is not None and max_coherence < bound:
        raise UserError(
            f"no {num_vectors} vectors of dimension {dim} have a coherence of {max_coherence}: the "
            f"Welch bound is {bound:.4f}; ask for more than that, or for a larger dimension"
        )
    basis = _basis(num_vectors, dim, seed)
    if max_coherence is not None and (found := coherence(basis)) > max_coherence + 1e-6:
        raise UserError(
            f"the {num_vectors} vectors of dimension {dim} found have a coherence of {found:.4f}, "
            f"above {max_coherence}: allow {found:.4f}, or a larger dimension"
        )
    return basis


class Quality(NamedTuple):
    """How good a set of unit vectors is.

    Attributes:
        coherence: The largest absolute cosine.
        bound: What it cannot fall below for so many vectors (:func:`.frames.welch_bound`).
        ratio: The one over the other: 1 is the best there is, as are orthogonal vectors.
    """

    coherence: float
    bound: float
    ratio: float


def quality(basis: Tensor) -> Quality:
    """Coherence of unit vectors ``(K, d)``, its bound, and their ratio.

    Raises:
        UserError: a vector's norm is not 1.
    """
    norms = torch.linalg.vector_norm(basis, dim=1, dtype=torch.float64)
    if len(norms) and (norms - 1).abs().max() > 1e-3:
        raise UserError(
            f"vectors with norms from {norms.min():.3g} to {norms.max():.3g} are no basis of unit "
            "vectors: normalize them"
        )
    found, bound = coherence(basis), welch_bound(*basis.shape)
    if bound == 0:
        return Quality(found, bound, 1.0 if found < 1e-5 else float("inf"))
    return Quality(found, bound, found / bound)


def coherence(basis: Tensor) -> float:
    """The largest absolute cosine between two of the unit vectors ``(K, d)``; 0 for one."""
    return max((block.max().item() for block in _absolute_cosines(basis)), default=0.0)


def extend_basis(basis: Tensor, num_vectors: int, seed: int = 0) -> Tensor:
    """More vectors after those of a basis, which stay as they are: for classes that come later.

    Args:
        basis: ``(K, d)`` unit vectors.
        num_vectors: How many there shall be, K' >= K.
        seed: Seed of the new ones' start.

    Returns:
        ``(K', d)``, the first K rows bit for bit the old ones.

    Raises:
        UserError: fewer vectors are asked for than there are.
    """
    old, dim = basis.shape
    if num_vectors < old:
        raise UserError(f"a basis of {old} vectors cannot be extended to {num_vectors}")
    made = _basis(num_vectors, dim, seed).to(basis)
    if torch.equal(made[:old], basis):  # families of growing sets begin with the smaller ones
        return made
    candidates = [made[old:]]
    if old < dim:  # what is orthogonal to all old vectors comes first
        complement = torch.linalg.qr(basis.double().T, mode="complete").Q.T[old:]
        candidates.insert(0, complement.to(basis))
    new = torch.cat(candidates)[: num_vectors - old]
    return torch.cat([basis, _descend(new, basis, seed)])


@lru_cache(maxsize=4)
def _basis(num_vectors: int, dim: int, seed: int) -> Tensor:
    if num_vectors <= dim:
        return orthonormal(num_vectors, dim, seed).float()
    if num_vectors == dim + 1:
        return simplex(dim).float()
    generator = torch.Generator().manual_seed(seed)
    small = num_vectors <= _SMALL
    if small and (frame := paley(num_vectors, dim)) is not None:
        frame = _padded(frame.float(), dim)
        if coherence(frame) <= 1.001 * welch_bound(num_vectors, dim):
            return frame
    starts = [quadratic_forms(num_vectors, dim)]
    if small:
        starts.append(_nearby_frame(num_vectors, dim, generator))
    found = [start for start in starts if start is not None]
    if not found:
        found = [normalize(torch.randn(num_vectors, dim, generator=generator), dim=1)]
    if not small:
        return found[0]
    refined = [_descend(_into_spare(start, generator), None, seed) for start in found]
    return min((*found, *refined), key=coherence)


def _nearby_frame(num_vectors: int, dim: int, generator: torch.Generator) -> Tensor | None:
    """A Paley frame of somewhat fewer vectors with the missing ones drawn: a start for descent."""
    for fewer in range(num_vectors - 1, max(2, num_vectors - 8), -1):
        frame = paley(fewer, dim)
        if frame is not None and frame.shape[1] <= dim:
            more = torch.randn(num_vectors - fewer, dim, generator=generator)
            return torch.cat([_padded(frame.float(), dim), normalize(more, dim=1)])
    return None


def _padded(vectors: Tensor, dim: int) -> Tensor:
    return torch.nn.functional.pad(vectors, (0, dim - vectors.shape[1]))


def _into_spare(vectors: Tensor, generator: torch.Generator) -> Tensor:
    """Give dimensions that a construction leaves at zero something to start from."""
    spare = ~vectors.any(dim=0)
    drawn = torch.randn(len(vectors), int(spare.sum()), generator=generator)
    start = vectors.clone()
    start[:, spare] = 0.3 * normalize(drawn, dim=1)
    return normalize(start + 0.02 / vectors.shape[1] ** 0.5, dim=1)


def _descend(new: Tensor, fixed: Tensor | None, seed: int) -> Tensor:
    """Lower the largest absolute cosine of ``new`` vectors with each other and with fixed ones.

    Adam on the log-sum-exp of the squared cosines, ever closer to their maximum. Nothing is done
    where a step would cost too much for at least 100 of them.
    """
    count, dim = new.shape
    others = 0 if fixed is None else len(fixed)
    steps = int(min(_MOST_STEPS, _FLOP / (6 * count * (count + others) * dim)))
    if steps < _FEWEST_STEPS:
        return new
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(new.shape, generator=generator) * (0.02 / dim**0.5)
    moving = (new + noise).requires_grad_()
    optimizer = torch.optim.Adam([moving], lr=0.01, betas=(0.9, 0.99))
    itself = torch.eye(count, count + others, dtype=torch.bool)
    best, least = new, _largest(new, fixed)
    for step in range(steps):
        progress = step / steps
        sharpness = 100 * 300**progress
        optimizer.param_groups[0]["lr"] = 0.01 * 0.01**progress
        unit = normalize(moving, dim=1)
        everyone = unit if fixed is None else torch.cat([unit, fixed])
        squares = (unit @ everyone.T).square().masked_fill(itself, -1)
        if step % 50 == 0 and (largest := squares.max().sqrt().item()) < least:
            best, least = unit.detach().clone(), largest
        loss = torch.logsumexp(sharpness * squares.flatten(), dim=0) / sharpness
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    last = normalize(moving.detach(), dim=1)
    return last if _largest(last, fixed) < least else best


def _largest(new: Tensor, fixed: Tensor | None) -> float:
    among = coherence(new)
    return among if fixed is None else max(among, (new @ fixed.T).abs().max().item())


def _absolute_cosines(basis: Tensor) -> Iterator[Tensor]:
    """Blocks of the Gram matrix from its diagonal on, which is set to zero."""
    pieces = torch.split(basis, _BLOCK)
    for i, rows in enumerate(pieces):
        for j, columns in enumerate(pieces[i:]):
            block = (rows @ columns.T).abs_()
            if j == 0:
                block.diagonal().zero_()
            yield block
