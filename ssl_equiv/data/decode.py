"""Bytes of a record to pixels, straight into the memory of a batch, and to arrays."""

from __future__ import annotations

import io
import math

import numpy as np
import simplejpeg

from ssl_equiv.files import load_array


def image_size(data: bytes | np.ndarray) -> tuple[int, int]:
    """Height and width of a JPEG, from its header, or of ``(H, W, 3)`` pixels.

    Raises:
        ValueError: ``data`` is no JPEG; the message is the reason, for the caller to complete.
    """
    if isinstance(data, np.ndarray):
        return data.shape[0], data.shape[1]
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        return int(height), int(width)
    except ValueError as error:
        raise ValueError(_reason(data, error)) from error


def decode_into(data: bytes | np.ndarray, pixels: np.ndarray) -> None:
    """Decode a JPEG, or copy pixels, to contiguous uint8 ``pixels (H, W, 3)`` of the same size.

    libjpeg-turbo with its accurate transform and smooth upsampling gives the bytes that Pillow
    does. What it could only guess, such as the rest of a file that was cut short, is an error.

    Raises:
        ValueError: ``data`` is damaged; the message is the reason, for the caller to complete.
    """
    if isinstance(data, np.ndarray):
        pixels[...] = data
        return
    try:
        simplejpeg.decode_jpeg(data, buffer=pixels)
    except ValueError as error:
        raise ValueError(_reason(data, error)) from error


def _reason(data: bytes, error: ValueError) -> str:
    if not data:
        return "it is empty"
    if not data.startswith(b"\xff\xd8"):
        return "it does not begin as one"
    if "end of JPEG" in str(error):
        return "it is cut short"
    return str(error).splitlines()[0]


class ArrayReader:
    """Reads ``.npy`` files in memory, parsing the header, the same for many, once."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[np.dtype, tuple[int, ...]]] = {}

    def __call__(self, data: bytes, name: str) -> np.ndarray:
        """The array in ``data``; read-only. Errors are those of :func:`load_array`."""
        # version 1 of the format: magic, version, length of the rest in bytes 8 and 9
        header = data[: 10 + int.from_bytes(data[8:10], "little")]
        if found := self._known.get(header):
            dtype, shape = found
            if len(data) == len(header) + dtype.itemsize * math.prod(shape):
                return np.frombuffer(data, dtype, offset=len(header)).reshape(shape)
        array = load_array(io.BytesIO(data), name)
        if data[6] == 1 and array.flags.c_contiguous:
            self._known[header] = array.dtype, array.shape
        return array
