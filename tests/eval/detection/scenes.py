"""Random frames with objects and detections of all kinds."""

from __future__ import annotations

import torch

from eval.detection import BoxTable

CLASSES = ("Car", "Van", "Pedestrian", "Person_sitting", "Cyclist", "Misc")
SIZES = torch.tensor(
    [
        [3.9, 1.6, 1.56],
        [5.0, 1.9, 2.2],
        [0.8, 0.6, 1.73],
        [0.8, 0.6, 1.3],
        [1.76, 0.6, 1.73],
        [2, 2, 2],
    ]
)


def scenes(seed: int, frames: int, per_frame: int = 8) -> tuple[BoxTable, BoxTable]:
    """Detections near most objects, some twice, some of a wrong class, and some out of nothing."""
    g = torch.Generator().manual_seed(seed)

    def uniform(rows: int, low: float, high: float) -> torch.Tensor:
        return torch.rand(rows, generator=g, dtype=torch.float64) * (high - low) + low

    def some(rows: int, most: int, weights: list[float] | None = None) -> torch.Tensor:
        p = torch.ones(most) if weights is None else torch.tensor(weights)
        return torch.multinomial(p, rows, replacement=True, generator=g)

    rows = frames * per_frame
    label = some(rows, 6, [6.0, 1, 4, 1, 4, 1])
    place = torch.stack([uniform(rows, 0, 24), uniform(rows, -12, 12), uniform(rows, -1, -0.5)], 1)
    size = SIZES[label] * (1 + 0.1 * torch.randn(rows, 3, generator=g, dtype=torch.float64))
    boxes = torch.cat([place, size, uniform(rows, -4, 4)[:, None]], 1)
    frame = some(rows, frames)
    corner = torch.stack([uniform(rows, 0, 800), uniform(rows, 0, 200)], 1)
    span = torch.stack([uniform(rows, 15, 90), uniform(rows, 15, 90)], 1)
    label[some(rows // 20, rows)] = -1  # regions, larger than objects
    span[label == -1] *= 3
    image_box = torch.cat([corner, corner + span], 1)
    truth = BoxTable.make(
        frame,
        boxes,
        label,
        truncation=uniform(rows, -0.4, 0.6).clamp_min(0),
        occlusion=some(rows, 4, [6.0, 2, 1, 1]),
        num_points=some(rows, 6),
        image_box=image_box,
    )
    kept = truth[truth.label != -1]
    found = kept[some(int(len(kept) * 1.2), len(kept))]
    noise = torch.randn(len(found), 7, generator=g, dtype=torch.float64)
    noise *= (
        torch.tensor([0.1, 0.1, 0.05, 0.08, 0.04, 0.04, 0.05])
        * uniform(len(found), 0.2, 2)[:, None]
    )
    loose = kept.boxes[some(rows // 3, len(kept))] + torch.tensor([3.0, 2, 0, 0, 0, 0, 1])
    guess_label = torch.where(uniform(len(found), 0, 1) < 0.9, found.label, some(len(found), 6))
    loose_image = truth.image_box[some(len(loose), rows)] + 9
    predictions = BoxTable.make(
        torch.cat([found.frame, some(len(loose), frames)]),
        torch.cat([found.boxes + noise, loose]),
        torch.cat([guess_label, some(len(loose), 6)]),
        score=uniform(len(found) + len(loose), 0, 1),
        image_box=torch.cat([found.image_box + 3 * noise[:, :4], loose_image]),
    )
    return predictions, truth
