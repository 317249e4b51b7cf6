from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from data_gen.writers import array_bytes
from ssl_equiv.data.decode import ArrayReader, decode_into, image_size
from ssl_equiv.errors import UserError


def encoded(mode: str = "RGB", size: tuple[int, int] = (37, 21), **options: object) -> bytes:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    noise.resize(size, Image.Resampling.BILINEAR).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "options",
    [{}, {"quality": 40}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}],
    ids=str,
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pixels_are_those_of_pillow(mode: str, options: dict[str, object]) -> None:
    data = encoded(mode, **options)
    assert image_size(data) == (21, 37)
    pixels = np.full((21, 37, 3), 7, np.uint8)
    decode_into(data, pixels)
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_pixels_are_copied() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    pixels = np.zeros_like(image)
    assert image_size(image) == (2, 4)
    decode_into(image, pixels)
    np.testing.assert_array_equal(pixels, image)


def test_damage_is_told() -> None:
    data = encoded()
    pixels = np.zeros((21, 37, 3), np.uint8)
    for length in (len(data) - 2, len(data) - 30, len(data) * 3 // 4):
        with pytest.raises(ValueError, match="it is cut short"):
            decode_into(data[:length], pixels)
    with pytest.raises(ValueError, match="it is empty"):
        image_size(b"")
    with pytest.raises(ValueError, match="it does not begin as one"):
        image_size(b"hello")
    with pytest.raises(ValueError, match=r"\w"):
        image_size(data[:40])


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "i2"])
def test_arrays_of_one_header(dtype: str) -> None:
    read = ArrayReader()
    rng = np.random.default_rng(0)
    for shape in ((4, 7), (4, 7), (2, 3), (4, 7), (5,), (0, 7)):
        array = (100 * rng.normal(size=shape)).astype(dtype)
        for stored in (array, np.asfortranarray(array)):
            found = read(array_bytes(stored), "x")
            np.testing.assert_array_equal(found, array)
            assert found.dtype == array.dtype
            assert found.shape == array.shape


def test_an_array_cut_short_is_found_after_a_whole_one() -> None:
    read = ArrayReader()
    data = array_bytes(np.zeros((4, 7)))
    read(data, "x")
    for bad in (data[:-8], data[:60], b"", b"text"):
        with pytest.raises(UserError, match=r"cannot read the array there\.npy"):
            read(bad, "there.npy")
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="pickled"):
        read(pickled.getvalue(), "there.npy")
