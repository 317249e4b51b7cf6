"""Scene flow from one sweep to the next: of the sensor's own motion, and estimated.

The estimate takes the sensor's motion out, leaves the ground alone, cuts the rest of the first
sweep into clusters and lets each follow its mutual nearest neighbours in the second: first from
where the cluster is and from where clusters like it are, then closer and closer; the median makes
it robust. What does not come to fit better than standing still is taken to stand still.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

_CELL = 0.5  # metres: clusters are connected cells seen from above
_GROUND = 2.0, 0.3  # cells in which the lowest point is ground, and what is so little above it
_COARSE, _FINE = 0.4, 0.12  # metres of which one point is enough: for registration, for clusters
_FASTEST = 3.5  # metres between two sweeps: 35 m/s at 10 Hz
_RADII = (1.5, 0.75, 0.4)  # metres within which neighbours count, step by step
_FEWEST = 4  # neighbours for a cluster to have moved
_BETTER = 0.8  # of the distance that is left when standing still


def ego_flow(points: np.ndarray, pose: np.ndarray, next_pose: np.ndarray) -> np.ndarray:
    """Flow of a world that stands still, ``(N, 3)`` float32.

    Args:
        points: ``(N, 3+)`` in the sensor's frame.
        pose: Sensor to world, ``(4, 4)``.
        next_pose: That of the next sweep.
    """
    carry = np.linalg.inv(next_pose) @ pose
    p = np.asarray(points, np.float64)[:, :3]
    flow: np.ndarray = (p @ (carry[:3, :3] - np.eye(3)).T + carry[:3, 3]).astype(np.float32)
    return flow


def estimate_flow(
    points: np.ndarray,
    next_points: np.ndarray,
    pose: np.ndarray | None = None,
    next_pose: np.ndarray | None = None,
) -> np.ndarray:
    """Flow from two sweeps alone, ``(N, 3)`` float32.

    Args:
        points: ``(N, 3+)`` in the sensor's frame.
        next_points: Of the next sweep, in its sensor's frame, ``(M, 3+)``.
        pose: Sensor to world, ``(4, 4)``; where there is none, the sensor's motion is estimated.
        next_pose: That of the next sweep.
    """
    p = np.asarray(points, np.float64)[:, :3]
    q = np.asarray(next_points, np.float64)[:, :3]
    if len(p) == 0 or len(q) == 0:
        return np.zeros((len(p), 3), np.float32)
    if pose is not None and next_pose is not None:
        carry = np.linalg.inv(next_pose) @ pose
    else:
        carry = register(p, q)
    still = p @ carry[:3, :3].T + carry[:3, 3]
    flow = still - p
    high, next_high = _above_ground(still), _above_ground(q)
    if high.any() and next_high.any():
        flow[high] += _cluster_motion(still[high], q[next_high])
    found: np.ndarray = flow.astype(np.float32)
    return found


def register(p: np.ndarray, q: np.ndarray, steps: int = 30) -> np.ndarray:
    """The upright motion ``(4, 4)`` that carries most of ``p (N, 3)`` onto ``q (M, 3)``.

    Iterated closest points on what stands above the ground. Distances count in full across the
    surfaces of q and little along them, where points lie as the rays fall and not as the world
    stands; weights fall with the distance (Geman-McClure), whose scale shrinks from 2 m to 0.1 m.
    """
    above, below = p[_above_ground(p)], q[_above_ground(q)]
    carry = np.eye(4)
    if len(above) < 10 or len(below) < 10:
        return carry
    above = above[_thinned(above, _COARSE)]  # or what is near, and may move, would count for most
    tree = cKDTree(below)
    normals = _normals(below, tree)
    for scale in np.geomspace(2.0, 0.1, steps):
        moved = above @ carry[:3, :3].T + carry[:3, 3]
        distance, nearest = tree.query(moved, distance_upper_bound=4 * scale + 0.5)
        met = np.isfinite(distance)
        if met.sum() < 10:
            continue
        weight = (scale**2 / (scale**2 + distance[met] ** 2)) ** 2
        to = nearest[met]
        carry = _upright_step(moved[met], below[to], normals[to], weight) @ carry
    moved = above @ carry[:3, :3].T + carry[:3, 3]
    distance, nearest = tree.query(moved, distance_upper_bound=0.5)
    met = np.isfinite(distance)
    if met.any():
        carry[2, 3] += np.median(below[nearest[met], 2] - moved[met, 2])
    return carry


def _thinned(p: np.ndarray, size: float) -> np.ndarray:
    """The numbers of one point of each cube of ``size`` metres."""
    x, y, z = np.floor((p - p.min(axis=0)) / size).astype(np.int64).T
    _, first = np.unique((x << 42) | (y << 21) | z, return_index=True)
    return np.sort(first)


def _normals(q: np.ndarray, tree: cKDTree) -> np.ndarray:
    """Directions across the surface seen from above, ``(M, 2)``, as long as it is thin there:
    1 for a wall, less where points lie all around.
    """
    _, around = tree.query(q, k=min(10, len(q)))
    near = q[around][..., :2]
    off = near - near.mean(axis=1, keepdims=True)
    spread = np.einsum("nki,nkj->nij", off, off)
    sizes, axes = np.linalg.eigh(spread)
    flat = 1 - np.sqrt(np.maximum(sizes[:, 0], 0) / np.maximum(sizes[:, 1], 1e-9))
    found: np.ndarray = axes[:, :, 0] * flat[:, None]
    return found


def _upright_step(
    p: np.ndarray, q: np.ndarray, normal: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """The small yaw and shift ``(4, 4)`` that bring p to q with the least weighted squares."""
    turned = np.stack((-p[:, 1], p[:, 0]), axis=1)  # what a small yaw adds
    gap = (q - p)[:, :2]
    # across the surface, and along both axes with a tenth of the weight
    rows = [(normal, weight)]
    rows += [(np.broadcast_to(axis, normal.shape), 0.1 * weight) for axis in np.eye(2)]
    design = np.concatenate(
        [np.column_stack(((d * turned).sum(1), d)) * np.sqrt(w)[:, None] for d, w in rows]
    )
    target = np.concatenate([(d * gap).sum(1) * np.sqrt(w) for d, w in rows])
    yaw, x, y = np.linalg.lstsq(design, target, rcond=None)[0]
    step = np.eye(4)
    step[:2, :2] = (np.cos(yaw), -np.sin(yaw)), (np.sin(yaw), np.cos(yaw))
    step[:2, 3] = x, y
    return step


def _above_ground(p: np.ndarray) -> np.ndarray:
    """Which points stand above the lowest of the cells around them, ``(N,)`` bool."""
    size, height = _GROUND
    cell, grid = _cells(p, size)
    lowest = np.full(grid, np.inf)
    np.minimum.at(lowest, tuple(cell.T), p[:, 2])
    # a cell that an object covers takes its ground from a neighbour
    around = ndimage.minimum_filter(lowest, size=3, mode="nearest")
    found: np.ndarray = p[:, 2] > around[tuple(cell.T)] + height
    return found


def _cells(p: np.ndarray, size: float) -> tuple[np.ndarray, tuple[int, int]]:
    """Cell of each point seen from above, ``(N, 2)``, and how many there are in x and y."""
    cell = np.floor((p[:, :2] - p[:, :2].min(axis=0)) / size).astype(np.int64)
    across = cell.max(axis=0) + 1
    return cell, (int(across[0]), int(across[1]))


def _clusters(p: np.ndarray) -> tuple[np.ndarray, int]:
    """Cluster of each point, ``(N,)``, and how many there are."""
    cell, grid = _cells(p, _CELL)
    occupied = np.zeros(grid, bool)
    occupied[tuple(cell.T)] = True
    label, count = ndimage.label(occupied, structure=np.ones((3, 3)))
    return label[tuple(cell.T)] - 1, int(count)


def _cluster_motion(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Displacement ``(N, 3)`` of points above the ground, the same in a cluster; z stays 0."""
    whole, count = _clusters(p)
    some = _thinned(p, _FINE)
    p, of, tree = p[some], whole[some], cKDTree(q)
    still = np.zeros((count, 2))
    left = _misfit(p, of, count, still, tree)
    best, fit = still, left.copy()
    for start in (still, _centroids(p, of, count, q)):
        moved = start
        for radius in _RADII:
            moved = _follow(p, of, count, moved, q, tree, radius)
        misfit = _misfit(p, of, count, moved, tree)
        better = (misfit < fit) & (misfit < _BETTER * left)
        better &= np.hypot(*moved.T) < _FASTEST
        best, fit = np.where(better[:, None], moved, best), np.where(better, misfit, fit)
    return np.column_stack((best[whole], np.zeros(len(whole))))


def _centroids(p: np.ndarray, of: np.ndarray, count: int, q: np.ndarray) -> np.ndarray:
    """Way from each cluster to the nearest of the next sweep's that is about as large."""
    to, others = _clusters(q)
    mine, theirs = _extent(p, of, count), _extent(q, to, others)
    apart = np.linalg.norm(mine[:, None, :2] - theirs[None, :, :2], axis=-1)
    unlike = np.abs(mine[:, None, 2:] - theirs[None, :, 2:]).sum(-1)
    cost = np.where((apart < _FASTEST) & (unlike < 1.5), apart + unlike, np.inf)
    nearest = cost.argmin(axis=1)
    found = np.isfinite(cost[np.arange(count), nearest])
    way: np.ndarray = np.where(found[:, None], theirs[nearest, :2] - mine[:, :2], 0.0)
    return way


def _extent(p: np.ndarray, of: np.ndarray, count: int) -> np.ndarray:
    """Middle x, y and size x, y of each cluster, ``(count, 4)``."""
    labels = np.arange(count)
    low = np.stack([ndimage.minimum(p[:, axis], of, labels) for axis in (0, 1)], axis=1)
    high = np.stack([ndimage.maximum(p[:, axis], of, labels) for axis in (0, 1)], axis=1)
    return np.concatenate(((low + high) / 2, high - low), axis=1)


def _follow(
    p: np.ndarray,
    of: np.ndarray,
    count: int,
    moved: np.ndarray,
    q: np.ndarray,
    tree: cKDTree,
    radius: float,
) -> np.ndarray:
    """One step: each cluster goes on by the median way to its mutual nearest neighbours."""
    at = p + np.column_stack((moved[of], np.zeros(len(p))))
    distance, forth = tree.query(at, distance_upper_bound=radius)
    met = np.flatnonzero(np.isfinite(distance))
    if len(met) == 0:
        return moved
    _, back = cKDTree(at).query(q[forth[met]])
    met = met[back == met]
    if len(met) == 0:
        return moved
    labels = np.arange(count)
    way = (q[forth[met]] - at[met])[:, :2]
    number = np.bincount(of[met], minlength=count)
    step = np.stack([ndimage.median(way[:, axis], of[met], labels) for axis in (0, 1)], axis=1)
    found: np.ndarray = moved + np.where((number >= _FEWEST)[:, None], np.nan_to_num(step), 0.0)
    return found


def _misfit(
    p: np.ndarray, of: np.ndarray, count: int, moved: np.ndarray, tree: cKDTree
) -> np.ndarray:
    """Median distance that is left of each cluster, metres."""
    at = p + np.column_stack((moved[of], np.zeros(len(p))))
    distance, _ = tree.query(at, distance_upper_bound=_FASTEST)
    left = np.minimum(distance, _FASTEST)
    found: np.ndarray = np.asarray(ndimage.median(left, of, np.arange(count)))
    return found
