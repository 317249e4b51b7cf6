from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from PIL import Image

from ssl_equiv.data.geometry import OUTPUTS, decode, encode
from ssl_equiv.errors import UserError


def depths(low: float, high: float) -> np.ndarray:
    depth = np.random.default_rng(0).uniform(low, high, (40, 50)).astype(np.float32)
    depth[:3] = np.inf
    return depth


def unit_vectors() -> np.ndarray:
    vectors = np.random.default_rng(1).normal(size=(60, 70, 3))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    vectors[:3] = 0
    vectors[3, :6] = np.concatenate([np.eye(3), -np.eye(3)])
    return vectors.astype(np.float32)


@pytest.mark.parametrize(
    ("low", "high", "unit"),
    [(1.9, 6.5, 1e-4), (0.001, 0.002, 1e-4), (1.9, 19.0, 1e-3), (90.0, 130.0, 1e-2)],
)
def test_depth_keeps_its_value_to_half_a_unit(low: float, high: float, unit: float) -> None:
    depth = depths(low, high)
    data = encode("depth", depth)
    back = decode("depth", data, "view")
    assert back.dtype == np.float32
    np.testing.assert_array_equal(np.isinf(back), np.isinf(depth))
    # half a unit, and what single precision adds
    assert np.abs(back[3:] - depth[3:]).max() <= 0.5 * unit + 1e-7 * high
    with Image.open(io.BytesIO(data)) as image:  # what other readers find
        assert image.mode.startswith("I;16")
        assert float(image.info["unit"]) == unit
        np.testing.assert_allclose(np.asarray(image)[3:] * unit, depth[3:], atol=0.51 * unit)
        assert not np.asarray(image)[:3].any()


def test_only_what_is_ten_times_as_far_as_the_nearest_is_lost() -> None:
    depth = np.array([[2.0, 19.9, 65.0, 66.0, 1e5]], np.float32)
    back = decode("depth", encode("depth", depth), "view")
    np.testing.assert_allclose(back[0, :3], depth[0, :3], atol=5.1e-4)
    assert np.isinf(back[0, 3:]).all()


def test_depth_of_nothing_and_of_next_to_nothing() -> None:
    assert np.isinf(decode("depth", encode("depth", np.full((4, 4), np.inf)), "view")).all()
    assert np.isfinite(decode("depth", encode("depth", np.full((4, 4), 1e-6)), "view")).all()


def test_normals_stay_unit_and_turn_by_less_than_half_a_degree() -> None:
    normals = unit_vectors()
    back = decode("normals", encode("normals", normals), "view")
    assert back.dtype == np.float32
    assert not back[:3].any()
    np.testing.assert_allclose(np.linalg.norm(back[3:], axis=2), 1, atol=1e-6)
    sine = np.linalg.norm(np.cross(back[3:], normals[3:]), axis=2)
    assert np.degrees(np.arcsin(sine)).max() < 0.4
    np.testing.assert_array_equal(back[3, :6], normals[3, :6])  # the axes are exact


def test_masks_are_exact_and_small() -> None:
    mask = np.random.default_rng(2).random((33, 47)) < 0.5
    data = encode("mask", mask)
    back = decode("mask", data, "view")
    assert back.dtype == np.bool_
    np.testing.assert_array_equal(back, mask)
    assert len(data) < mask.size / 4


def arrays() -> dict[str, np.ndarray]:
    return {"depth": depths(2, 6), "normals": unit_vectors(), "mask": np.eye(9, dtype=np.bool_)}


@pytest.mark.parametrize("name", OUTPUTS)
def test_bytes_repeat(name: str) -> None:
    assert encode(name, arrays()[name]) == encode(name, arrays()[name].copy())


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_file_cut_short_or_damaged_is_named(name: str) -> None:
    data = encode(name, arrays()[name])
    for length in (0, 7, 20, len(data) // 2, len(data) - 40):
        with pytest.raises(UserError, match=rf"a\.tar view 3.*{name}.*again"):
            decode(name, data[:length], "a.tar view 3")
    rng = np.random.default_rng(3)
    for _ in range(300):  # a damaged byte is noticed or does no harm; nothing else is raised
        spoilt = bytearray(data)
        spoilt[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        with contextlib.suppress(UserError):
            decode(name, bytes(spoilt), "a.tar view 3")


def test_another_outputs_file_and_an_unknown_output() -> None:
    for name in OUTPUTS:
        for other in OUTPUTS:
            if other != name:
                with pytest.raises(UserError, match=f"holds no {name}"):
                    decode(name, encode(other, arrays()[other]), "view")
    with pytest.raises(UserError, match=r"'albedo'.*depth, normals, mask"):
        encode("albedo", np.zeros((4, 4)))
    with pytest.raises(UserError, match="'albedo'"):
        decode("albedo", b"", "view")


@pytest.mark.parametrize("name", OUTPUTS)
def test_wrong_shapes(name: str) -> None:
    with pytest.raises(ValueError, match="shape"):
        encode(name, np.zeros((2, 4, 4, 3), np.float32))
