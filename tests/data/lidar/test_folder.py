"""Bare folders, and the kinds of files in them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from ssl_equiv.data.lidar.clouds import read_cloud
from ssl_equiv.data.lidar.open import open_lidar
from ssl_equiv.errors import UserError

from .written import POINTS, write

_PCD = """\
# .PCD v0.7
VERSION 0.7
FIELDS x y z intensity ring
SIZE 4 4 4 4 2
TYPE F F F F U
COUNT 1 1 1 1 1
WIDTH {count}
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS {count}
DATA {layout}
"""
_ROWS = np.array(
    [(*row, 7) for row in POINTS.tolist()],
    np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("i", "<f4"), ("ring", "<u2")]),
)


def pcd(layout: str, body: bytes, count: int = len(_ROWS)) -> bytes:
    return _PCD.format(layout=layout, count=count).encode() + body


def literals(data: bytes) -> bytes:
    """LZF that copies nothing: runs of literals."""
    runs = [data[k : k + 32] for k in range(0, len(data), 32)]
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


def ply(layout: str, body: bytes, kind: str = "float") -> bytes:
    head = f"ply\nformat {layout} 1.0\ncomment by hand\nelement vertex {len(POINTS)}\n"
    head += "".join(f"property {kind} {name}\n" for name in ("x", "y", "z", "intensity"))
    return (head + "element face 0\nproperty list uchar int i\nend_header\n").encode() + body


def columns(rows: np.ndarray) -> bytes:
    return b"".join(rows[name].tobytes() for name in rows.dtype.names or ())


_TEXT = "\n".join(" ".join(map(str, row)) for row in _ROWS.tolist()).encode() + b"\n"
_PLY_TEXT = "\n".join(" ".join(map(str, row)) for row in POINTS.tolist()).encode() + b"\n"
_PACKED = literals(columns(_ROWS))
_SIZES = struct.pack("<II", len(_PACKED), _ROWS.nbytes)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pcd", pcd("ascii", _TEXT)),
        ("a.pcd", pcd("binary", _ROWS.tobytes())),
        ("a.pcd", pcd("binary_compressed", _SIZES + _PACKED)),
        ("a.ply", ply("ascii", _PLY_TEXT)),
        ("a.ply", ply("binary_little_endian", POINTS.astype("<f4").tobytes())),
        ("a.ply", ply("binary_big_endian", POINTS.astype(">f8").tobytes(), "double")),
        ("a.bin", POINTS.tobytes()),
    ],
)
def test_every_kind_of_file_is_read(tmp_path: Path, name: str, content: bytes) -> None:
    write(tmp_path / name, content)
    source = open_lidar(tmp_path)
    assert (source.kind, len(source), source.has_boxes) == ("folder", 1, False)
    np.testing.assert_allclose(source.sweep(0).points, POINTS, rtol=1e-6)


def test_compressed_copies_are_undone(tmp_path: Path) -> None:
    """Copies that overlap what they write, and long ones: a cloud of equal points."""
    rows = np.repeat(_ROWS[:1], 300)
    plain = columns(rows)
    packed, at = b"", 0
    while at < len(plain):  # a greedy packer: the first four bytes of each column, then copies
        run = next(
            (
                n
                for n in range(min(264, len(plain) - at), 2, -1)
                if at >= 4 and all(plain[at + k] == plain[at + k - 4] for k in range(n))
            ),
            0,
        )
        if run >= 3:
            length = run - 2
            if length < 7:
                packed += bytes([length << 5, 3])
            else:
                packed += bytes([7 << 5, length - 7, 3])
            at += run
        else:
            packed += bytes([0, plain[at]])
            at += 1
    assert len(packed) < len(plain) / 10
    body = struct.pack("<II", len(packed), len(plain)) + packed
    path = write(tmp_path / "a.pcd", pcd("binary_compressed", body, 300))
    points = read_cloud(path).numpy()
    np.testing.assert_allclose(points, np.repeat(POINTS[:1], 300, axis=0))


def test_points_without_return_are_left_out_of_a_pcd(tmp_path: Path) -> None:
    rows = _ROWS.copy()
    rows["x"][1] = np.nan
    path = write(tmp_path / "a.pcd", pcd("binary", rows.tobytes()))
    np.testing.assert_allclose(read_cloud(path), POINTS[[0, 2, 3]])


def test_folders_are_sequences_and_numbers_say_what_follows(tmp_path: Path) -> None:
    for name in ("one/000007", "one/000008", "one/000010", "two/000011"):
        write(tmp_path / f"{name}.bin", POINTS.tobytes())
    source = open_lidar(tmp_path)
    assert [source.successor(i) for i in range(4)] == [1, None, None, None]
    assert {n: m.tolist() for n, m in source.split.items()} == {"train": [0, 1, 2], "val": [3]}


def test_links_to_folders_are_followed_and_not_in_circles(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere/0.bin", POINTS.tobytes())
    (tmp_path / "root/one").mkdir(parents=True)
    (tmp_path / "root/one/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/one/up").symlink_to(tmp_path / "root")
    source = open_lidar(tmp_path / "root")
    assert source.names.tolist() == ["one/link/0.bin"]


def test_intensities_of_bytes_are_scaled(tmp_path: Path) -> None:
    bright = POINTS * np.array([1, 1, 1, 255], np.float32)
    write(tmp_path / "0.bin", bright.tobytes())
    np.testing.assert_allclose(open_lidar(tmp_path).sweep(0).points, POINTS, rtol=1e-6)


def test_five_floats_are_told_by_the_name(tmp_path: Path) -> None:
    rows = np.column_stack((POINTS, np.arange(4))).astype("<f4")
    write(tmp_path / "0.pcd.bin", rows.tobytes())
    np.testing.assert_allclose(open_lidar(tmp_path).sweep(0).points, POINTS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pcd", pcd("binary", _ROWS.tobytes()[:-1]), r"a\.pcd is damaged or cut short"),
        ("a.pcd", pcd("binary_x", b""), r"is 'binary_x': write it as ascii, binary"),
        ("a.pcd", pcd("ascii", _TEXT[:30]), r"a\.pcd is damaged or cut short"),
        ("a.pcd", pcd("binary_compressed", _SIZES + _PACKED[:-9]), "damaged or cut short"),
        ("a.pcd", b"# .PCD\nnothing", r"a\.pcd is damaged"),
        ("a.ply", b"not a ply", r"a\.ply is damaged"),
        ("a.ply", ply("ascii", _PLY_TEXT).replace(b" z\n", b" depth\n"), r"has no z \(it has x, y"),
        ("a.ply", ply("binary_little_endian", b""), "damaged or cut short"),
        ("a.bin", b"\0" * 20, r"no multiple of 16 .*: it may have 5 floats a point"),
    ],
)
def test_a_bad_cloud_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    write(tmp_path / name, content)
    with pytest.raises(UserError, match=message):
        open_lidar(tmp_path).sweep(0)


def test_mixed_layouts_are_told(tmp_path: Path) -> None:
    write(tmp_path / "a/0.bin", POINTS.tobytes())
    write(tmp_path / "a/1.ply", ply("ascii", _PLY_TEXT))
    with pytest.raises(
        UserError, match=r"mixes sensor layouts: .*0\.bin is a \.bin file, .*1\.ply"
    ):
        open_lidar(tmp_path / "a")
    write(tmp_path / "b/0.bin", POINTS[:3].tobytes())
    write(tmp_path / "b/1.bin", np.ones((3, 5), "f4").tobytes())
    with pytest.raises(UserError, match=r"0\.bin has four floats a point, .*1\.bin five"):
        open_lidar(tmp_path / "b")
    (tmp_path / "c").mkdir()
    with pytest.raises(UserError, match=r"holds no \.bin, \.ply or \.pcd files"):
        open_lidar(tmp_path / "c")
