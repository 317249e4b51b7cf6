"""Sets of unit vectors with small cosines that algebra gives: exact, at once, for any number.

Coherence is the largest absolute cosine between two different vectors. For K vectors in d
dimensions it is at least the Welch bound ``sqrt((K - d) / (d (K - 1)))``, which is reached by
equiangular tight frames alone (Welch, 1974; Sustik et al., 2007).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

# primitive polynomials over GF(2), by degree: bit i is the coefficient of x^i
_PRIMITIVE = {
    1: 0b11,
    2: 0b111,
    3: 0b1011,
    4: 0b10011,
    5: 0b100101,
    6: 0b1000011,
    7: 0b10000011,
    8: 0b100011101,
    9: 0b1000010001,
    10: 0b10000001001,
    11: 0b100000000101,
    12: 0b1000001010011,
    13: 0b10000000011011,
}


def welch_bound(num_vectors: int, dim: int) -> float:
    """What the coherence of ``num_vectors`` vectors in ``dim`` dimensions cannot fall below.

    Above ``dim (dim + 1) / 2`` vectors the orthoplex bound ``1 / sqrt(dim)`` is the larger one.
    """
    if num_vectors <= dim:
        return 0.0
    welch = math.sqrt((num_vectors - dim) / (dim * (num_vectors - 1)))
    many = num_vectors > dim * (dim + 1) // 2
    return max(welch, 1 / math.sqrt(dim)) if many else welch


def orthonormal(num_vectors: int, dim: int, seed: int) -> Tensor:
    """``(K, d)`` float64 orthonormal vectors, K <= d; more of them begin with the same."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(dim, dim, dtype=torch.float64, generator=generator)
    columns: Tensor = torch.linalg.qr(drawn).Q
    return columns.T[:num_vectors].contiguous()


def simplex(dim: int) -> Tensor:
    """The ``dim + 1`` corners of a regular simplex, ``(d + 1, d)`` float64: all cosines -1/d."""
    corners = torch.eye(dim + 1, dtype=torch.float64) - 1 / (dim + 1)
    values, vectors = torch.linalg.eigh(corners)
    return torch.nn.functional.normalize(corners @ vectors[:, values > 0.5], dim=1)


def paley(num_vectors: int, dim: int) -> Tensor | None:
    """An equiangular tight frame of q + 1 vectors in (q + 1) / 2 dimensions, its first K.

    From the symmetric conference matrix of a prime q = 1 modulo 4 (Paley, 1933): the smallest with
    q + 1 >= K, if its dimension is at most ``dim``.

    Returns:
        ``(K, (q + 1) / 2)`` float64, or None.
    """
    for q in range(max(5, num_vectors - 1), 2 * dim):
        if q % 4 == 1 and all(q % i for i in range(2, math.isqrt(q) + 1)):
            squares = np.zeros(q, dtype=np.int64)
            squares[[i * i % q for i in range(1, q)]] = 1
            character = 2.0 * squares - 1
            character[0] = 0
            conference = np.zeros((q + 1, q + 1))
            conference[0, 1:] = conference[1:, 0] = 1
            place = np.arange(q)
            conference[1:, 1:] = character[(place[:, None] - place) % q]
            gram = torch.eye(q + 1, dtype=torch.float64) + torch.from_numpy(conference) / math.sqrt(
                q
            )
            values, vectors = torch.linalg.eigh(gram)
            frame = vectors[:, values > 0.5] * values[values > 0.5].sqrt()
            return torch.nn.functional.normalize(frame[:num_vectors], dim=1)
    return None


def quadratic_forms(num_vectors: int, dim: int) -> Tensor | None:
    """Orthonormal bases from quadratic forms over GF(2): coherence near ``1 / sqrt(dim)``.

    In D = 2^m <= dim dimensions, vectors ``(-1)^(Q(x) + L(x)) / sqrt(D)``, L linear and Q from a
    set of quadratic forms whose differences all have large rank r: two bases meet with cosines of
    at most ``2^(-r/2)``. For even m the Kerdock set has full rank (D/2 + 1 mutually unbiased bases:
    cosines of exactly 0 and ``1 / sqrt(D)``), for odd m the Gold set has rank m - 1 (D bases,
    ``sqrt(2 / D)``); where these do not suffice, Delsarte-Goethals-like sets give D times as many
    for each further doubling of the cosine (MacWilliams and Sloane, 1977, chapter 15; Calderbank et
    al., 1997). The coordinate basis comes first, so sets begin with those of fewer vectors.

    Returns:
        ``(K, dim)`` float32 unit vectors, or None for more than ``D^4`` of them.
    """
    m = min(int(math.log2(dim)), max(_PRIMITIVE))
    size = 2**m
    bases = -(-num_vectors // size) - 1  # beside the coordinates'
    terms = 1
    if m % 2 == 1 or bases > size // 2:
        while bases > size**terms:
            terms += 1
        if m < 3 or terms > min(3, m // 2):
            return None
    vectors = torch.zeros(num_vectors, dim)
    vectors[:size, :size] = torch.eye(size)[:num_vectors]
    linear = _hadamard(m)
    for number in range(bases):
        if m % 2 == 0 and bases <= size // 2:
            form = _kerdock(m, number)
        else:
            digits = [number // size**j % size for j in range(terms)]
            form = _gold(m, digits)
        first = (number + 1) * size
        some = min(size, num_vectors - first)
        signs = (linear[:some] * (1 - 2 * form.astype(np.float32))) / math.sqrt(size)
        vectors[first : first + some, :size] = torch.from_numpy(signs.astype(np.float32))
    return vectors


@cache
def _field(m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exponentials, logarithms (of all but 0) and traces of GF(2^m)."""
    order = 2**m - 1
    powers = np.empty(order, dtype=np.int64)
    value = 1
    for i in range(order):
        powers[i] = value
        value <<= 1
        if value >> m:
            value ^= _PRIMITIVE[m]
    logs = np.zeros(order + 1, dtype=np.int64)
    logs[powers] = np.arange(order)
    trace = np.zeros(order + 1, dtype=np.int64)
    for j in range(m):  # the sum of x^(2^j), in characteristic 2
        trace[powers] ^= powers[np.arange(order) * 2**j % order]
    return powers, logs, trace & 1


def _form_of(m: int, factor: int, exponent: int) -> np.ndarray:
    """``Tr(factor x^exponent)`` for every x of GF(2^m), in {0, 1}."""
    powers, logs, trace = _field(m)
    form = np.zeros(2**m, dtype=np.int64)
    if factor:
        order = 2**m - 1
        x = np.arange(1, 2**m)
        form[1:] = trace[powers[(logs[factor] + exponent * logs[x]) % order]]
    return form


def _gold(m: int, factors: list[int]) -> np.ndarray:
    """``Tr(a_1 x^3 + a_2 x^5 + a_3 x^9)`` for every x of GF(2^m)."""
    form = np.zeros(2**m, dtype=np.int64)
    for j, factor in enumerate(factors):
        form ^= _form_of(m, factor, 2 ** (j + 1) + 1)
    return form


def _kerdock(m: int, number: int) -> np.ndarray:
    """Form ``number`` of the Kerdock set on GF(2^(m-1)) x GF(2): ``Q(a x) + e Tr(a x)``."""
    half = m - 1  # odd
    form = np.zeros(2**half, dtype=np.int64)
    if number == 0:
        return np.zeros(2**m, dtype=np.int64)
    powers, logs, _ = _field(half)
    for j in range(1, (half - 1) // 2 + 1):
        exponent = 2**j + 1
        order = 2**half - 1
        factor = int(powers[logs[number] * exponent % order])
        form ^= _form_of(half, factor, exponent)
    return np.concatenate([form, form ^ _form_of(half, number, 1)])


def _hadamard(m: int) -> np.ndarray:
    """All linear characters, ``(2^m, 2^m)`` of ±1: row b is ``(-1)^(b . x)``."""
    matrix = np.ones((1, 1), dtype=np.float32)
    for _ in range(m):
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix
