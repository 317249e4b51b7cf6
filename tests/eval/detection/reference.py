"""The rules once more, one box at a time in plain Python, with shapely's areas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from shapely.geometry import Polygon

from eval.detection import BoxTable

NEIGHBOURS = {"Car": ["Van"], "Pedestrian": ["Person_sitting"], "Cyclist": []}
MIN_OVERLAP = {"Car": 0.7, "Pedestrian": 0.5, "Cyclist": 0.5}
LIMITS = {"easy": (40, 0, 0.15), "moderate": (25, 1, 0.3), "hard": (25, 2, 0.5)}


def polygon(box: Sequence[float]) -> Polygon:
    x, y, _, length, width, _, yaw = box
    forward = np.array([math.cos(yaw), math.sin(yaw)]) * length / 2
    left = np.array([-math.sin(yaw), math.cos(yaw)]) * width / 2
    centre = np.array([x, y])
    front, rear = centre + forward, centre - forward
    return Polygon([front + left, rear + left, rear - left, front - left])


@cache  # the levels of difficulty ask alike
def iou(a: tuple[float, ...], b: tuple[float, ...], kind: str) -> float:
    if math.dist(a[:2], b[:2]) > (math.hypot(*a[3:5]) + math.hypot(*b[3:5])) / 2:
        return 0.0  # quicker than shapely
    shared = polygon(a).intersection(polygon(b)).area
    area_a, area_b = a[3] * a[4], b[3] * b[4]
    if kind == "3d":
        top = min(a[2] + a[5] / 2, b[2] + b[5] / 2)
        bottom = max(a[2] - a[5] / 2, b[2] - b[5] / 2)
        shared *= max(0.0, top - bottom)
        area_a, area_b = area_a * a[5], area_b * b[5]
    return shared / (area_a + area_b - shared)


def image_overlap(a: Sequence[float], b: Sequence[float], over: str = "union") -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    whole = area_b if over == "second" else area_a + area_b - width * height
    return width * height / whole


def rows_of(table: BoxTable, frame: int) -> list[int]:
    rows: list[int] = (table.frame == frame).nonzero()[:, 0].tolist()
    return rows


def slow_kitti(
    predictions: BoxTable, truth: BoxTable, classes: Sequence[str], name: str, kind: str, level: str
) -> list[float]:
    """Precision at 41 recalls."""
    height, occlusion, truncation = LIMITS[level]
    own, least = classes.index(name), MIN_OVERLAP[name]
    near = {classes.index(other) for other in NEIGHBOURS[name] if other in classes}
    frames = []
    for frame in sorted({*truth.frame.tolist(), *predictions.frame.tolist()}):
        objects, detections, regions = [], [], []
        for i in rows_of(truth, frame):
            label = int(truth.label[i])
            if label == -1:
                regions.append(truth.image_box[i].tolist())
            elif label == own or label in near:
                counts = (
                    label == own
                    and truth.height[i] >= height
                    and truth.occlusion[i] <= occlusion
                    and truth.truncation[i] <= truncation
                )
                objects.append(
                    (tuple(truth.boxes[i].tolist()), truth.image_box[i].tolist(), bool(counts))
                )
        for i in rows_of(predictions, frame):
            if predictions.label[i] == own:
                detections.append(
                    (
                        tuple(predictions.boxes[i].tolist()),
                        predictions.image_box[i].tolist(),
                        float(predictions.score[i]),
                        bool(predictions.height[i] < height),
                    )
                )
        table = [
            [
                image_overlap(o[1], d[1]) if kind == "image" else iou(o[0], d[0], kind)
                for d in detections
            ]
            for o in objects
        ]
        frames.append((objects, detections, regions, table))
    count = sum(o[2] for objects, *_ in frames for o in objects)
    scores = []
    for objects, detections, _, table in frames:
        taken = set()
        for i, thing in enumerate(objects):
            best = None
            for j, detection in enumerate(detections):
                free = j not in taken and table[i][j] > least
                if free and (best is None or detection[2] > detections[best][2]):
                    best = j
            if best is not None:
                taken.add(best)
                if thing[2] and not detections[best][3]:
                    scores.append(detections[best][2])
    precision = [0.0] * 41
    for k, threshold in enumerate(slow_thresholds(scores, count)):
        right = wrong = 0
        for objects, detections, regions, table in frames:
            taken = set()
            for i, thing in enumerate(objects):
                best = None
                for j, detection in enumerate(detections):
                    if j in taken or detection[2] < threshold or table[i][j] <= least:
                        continue
                    if detection[3]:
                        best = j if best is None else best
                    elif best is None or detections[best][3] or table[i][j] > table[i][best]:
                        best = j
                if best is not None:
                    taken.add(best)
                    right += thing[2] and not detections[best][3]
            for j, detection in enumerate(detections):
                if j in taken or detection[3] or detection[2] < threshold:
                    continue
                excused = kind == "image" and any(
                    image_overlap(region, detection[1], "second") > least for region in regions
                )
                wrong += not excused
        precision[k] = right / (right + wrong) if right + wrong else 0.0
    return precision


def slow_thresholds(scores: list[float], count: int) -> list[float]:
    """Walk down the scores and stop at each whose recall is nearest to the next of 41.

    For more than 60 objects: with fewer, one detection may be nearest to two of the recalls.
    """
    assert count > 60
    found: list[float] = []
    ordered = sorted(scores, reverse=True)
    for i, score in enumerate(ordered):
        wanted = len(found) * count / 40
        if i < len(ordered) - 1 and (i + 2) - wanted < wanted - (i + 1):
            continue
        found.append(score)
    return found


def slow_centre(
    predictions: BoxTable, truth: BoxTable, label: int, limit: float
) -> tuple[float, list[float]]:
    """AP and errors of one class at one distance, by numpy's interpolation."""
    detections = [i for i in range(len(predictions)) if predictions.label[i] == label]
    detections.sort(key=lambda i: -float(predictions.score[i]))
    things = [i for i in range(len(truth)) if truth.label[i] == label and truth.num_points[i] != 0]
    taken: set[int] = set()
    hits, errors = [], []
    for i in detections:
        best, nearest = None, math.inf
        for j in things:
            if j in taken or truth.frame[j] != predictions.frame[i]:
                continue
            away = math.dist(truth.boxes[j, :2].tolist(), predictions.boxes[i, :2].tolist())
            if away < nearest:
                best, nearest = j, away
        hits.append(nearest < limit)
        if nearest < limit and best is not None:
            taken.add(best)
            a, b = predictions.boxes[i], truth.boxes[best]
            shared = float(torch.minimum(a[3:6], b[3:6]).prod())
            union = float(a[3:6].prod() + b[3:6].prod()) - shared
            turn = abs(float(a[6] - b[6])) % (2 * math.pi)
            errors.append((nearest, 1 - shared / union, min(turn, 2 * math.pi - turn)))
    if not detections:
        return 0.0, [1.0] * 3
    right = np.cumsum(hits)
    recall, precision = right / len(things), right / np.arange(1, len(hits) + 1)
    at = np.interp(np.linspace(0, 1, 101), recall, precision, right=0)[11:]
    area = float(np.mean(np.maximum(at - 0.1, 0)) / 0.9)
    found = []
    for column in zip(*errors, strict=True):
        running = np.cumsum(column) / np.arange(1, len(column) + 1)
        levels = np.array([k / 100 for k in range(11, 101) if k / 100 <= recall[-1]])
        found.append(
            float(np.interp(levels, np.arange(1, len(column) + 1) / len(things), running).mean())
            if len(levels)
            else 1.0
        )
    return area, found or [1.0] * 3
