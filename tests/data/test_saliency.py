from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_equiv.data.saliency import SaliencyMaps
from ssl_equiv.errors import UserError


def test_maps_are_those_of_the_images(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).integers(0, 255, (5, 3, 4), dtype=np.uint8)
    np.save(tmp_path / "maps.npy", maps)
    opened = SaliencyMaps(tmp_path / "maps.npy")
    have = opened(torch.tensor([4, 0, 4]))
    assert have.dtype == torch.float32
    np.testing.assert_array_equal(have, maps[[4, 0, 4]])
    with pytest.raises(UserError, match="holds 5 maps, but the data set has an image 5"):
        opened(torch.tensor([1, 5]))


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        SaliencyMaps(tmp_path / "absent.npy")
    np.save(tmp_path / "flat.npy", np.zeros((5, 4)))
    with pytest.raises(UserError, match=r"holds float64 \(5, 4\)"):
        SaliencyMaps(tmp_path / "flat.npy")
    np.save(tmp_path / "negative.npy", np.stack([np.ones((2, 2)), -np.ones((2, 2))]))
    maps = SaliencyMaps(tmp_path / "negative.npy")
    with pytest.raises(UserError, match="map 1 of"):
        maps(torch.tensor([0, 1]))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="cannot read"):
        SaliencyMaps(tmp_path / "objects.npy")
