"""Saliency maps at rest: one array for a data set."""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor

from ssl_equiv.errors import UserError


class SaliencyMaps:
    """Maps of all images of a data set, read by memory map.

    Args:
        path: A ``.npy`` file ``(N, h, w)`` of non-negative numbers, the map of image i in row i;
            h and w are free, each map spans its whole image as the method sees it.

    Raises:
        UserError: the file is missing or holds something else.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        try:
            maps: np.ndarray = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(f"model.saliency: cannot read {self.path} as .npy: {error}") from error
        if maps.ndim != 3 or maps.dtype.kind not in "fu" or 0 in maps.shape:
            raise UserError(
                f"model.saliency: {self.path} holds {maps.dtype} {maps.shape}, not non-negative "
                "numbers (images, height, width)"
            )
        self.maps = maps

    def check(self, num_objects: int, num_views: int) -> None:
        """Raise UserError unless there is one map for each image of a data set of single views."""
        if num_views != 1:
            raise UserError(
                f"model.saliency: {self.path} holds a map for each image of a data set of single "
                f"images, but these data have {num_views} views of each object: leave it out"
            )
        if len(self.maps) != num_objects:
            raise UserError(
                f"model.saliency: {self.path} holds {len(self.maps)} maps, but the data set has "
                f"{num_objects} images: make one for each image, in the data set's order"
            )

    def __call__(self, index: Tensor) -> Tensor:
        """The maps ``(B, h, w)`` float32 of images ``index (B,)``, on its device.

        Raises:
            UserError: an image has no map, or its map is negative or not finite.
        """
        rows = index.cpu().numpy()
        if rows.max(initial=0) >= len(self.maps):
            raise UserError(
                f"model.saliency: {self.path} holds {len(self.maps)} maps, but the data set has an "
                f"image {rows.max()}: make one for each image"
            )
        maps = torch.from_numpy(self.maps[rows].astype(np.float32))
        bad = ~(torch.isfinite(maps).all(dim=(1, 2)) & (maps >= 0).all(dim=(1, 2)))
        if bad.any():
            raise UserError(
                f"model.saliency: map {rows[bad.numpy()][0]} of {self.path} holds "
                "negative or non-finite numbers: make it anew"
            )
        return maps.to(index.device)
