from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from data_gen import overlay, preview
from data_gen.generate import generate
from data_gen.mesh import Mesh
from data_gen.preview import Cost, contact_sheet, write_preview
from data_gen.recipe import Recipe
from data_gen.scene import Camera
from data_gen.sources import ProceduralSource
from ssl_equiv.data.sources import open_source
from ssl_equiv.errors import UserError

pytestmark = pytest.mark.render

SMALL = Recipe.diebench_t(num_views=5, image_size=32)
OBJECTS = ProceduralSource(5, ("chair", "mug"))


def cell(sheet: Image.Image, row: int, column: int, rows: int, side: int) -> np.ndarray:
    strip = 3 * overlay.LINE + 4
    top = sheet.height - preview._GAP - (side + strip + preview._GAP) * (rows - row)
    left = preview._NAMES + (side + preview._GAP) * column
    return np.asarray(sheet.crop((left, top, left + side, top + side)))


def test_it_shows_the_pictures_of_the_data_set(tmp_path: Path) -> None:
    generate(OBJECTS, SMALL, tmp_path / "data", seed=3, num_workers=0, progress=False)
    source = open_source(tmp_path / "data")
    sheet = contact_sheet(OBJECTS, SMALL, seed=3, num_objects=3, num_views=2)
    other = contact_sheet(OBJECTS, SMALL, seed=4, num_objects=3, num_views=2)
    side = 224
    for row, index in enumerate((0, 2, 4)):
        images, _ = source.read(index, [0, 4])
        for column, data in enumerate(images):
            with Image.open(io.BytesIO(data)) as image:
                wanted = np.asarray(image.resize((side, side), Image.Resampling.NEAREST))
            shown = cell(sheet, row, column, 3, side)
            same = (shown == wanted).all(axis=2)
            assert same.mean() > 0.8
            assert not same.all()  # axes and dial
            assert (cell(other, row, column, 3, side) == wanted).all(axis=2).mean() < 0.5


def centre_of(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    rows, columns = np.nonzero((np.abs(picture.astype(int) - color) < 25).all(axis=2))
    assert len(rows) > 20
    return np.array([columns.mean(), rows.mean()]) + 0.5


@pytest.mark.parametrize("translation", [(0.0, 0.0, 0.0), (0.15, -0.1, 0.1)])
def test_axes_stand_where_the_object_does(translation: tuple[float, float, float]) -> None:
    white = io.BytesIO()
    Image.new("RGB", (32, 32), (128, 128, 128)).save(white, "JPEG")
    side = 256
    for euler in ((0.0, 0.0, 0.0), (0.9, -0.4, 0.7), (-1.2, 0.8, -0.3)):
        latents = np.array([*euler, 0.1, 0.3, 1.0, 0.55, *translation])
        picture = preview._picture(white.getvalue(), latents, SMALL, Camera.of(SMALL), side)
        rotation = Rotation.from_euler("xyz", euler)
        start = rotation.apply(translation)
        # a pinhole at (0, 1, 1) * 2.5 / sqrt 2 that looks at the origin, z up in its picture
        position = 2.5 * np.array([0.0, 1.0, 1.0]) / np.sqrt(2)
        right, up = np.array([-1.0, 0.0, 0.0]), np.array([0.0, -1.0, 1.0]) / np.sqrt(2)

        def shown(
            point: np.ndarray,
            position: np.ndarray = position,
            right: np.ndarray = right,
            up: np.ndarray = up,
        ) -> np.ndarray:
            offset = point - position
            depth = offset @ (-position / 2.5)
            pixels = side * 50 / 36 / depth
            return side / 2 + pixels * np.array([offset @ right, -(offset @ up)])

        for axis in range(3):
            tip = rotation.apply(np.array(translation) + 0.42 * np.eye(3)[axis])
            along = shown(tip) - shown(start)
            if np.linalg.norm(along) < 30:  # towards the camera
                continue
            found = centre_of(np.asarray(picture), overlay.AXES[axis]) - shown(start)
            length = np.linalg.norm(along)
            assert 0.35 < found @ along / length**2 < 1.1  # along it, head and letter beyond
            across = abs(found[0] * along[1] - found[1] * along[0]) / length
            assert across < 6


def test_the_dial_shows_the_lamp_from_above() -> None:
    grey = io.BytesIO()
    Image.new("RGB", (32, 32), (128, 128, 128)).save(grey, "JPEG")
    # the camera stands at azimuth 90 degrees and is below the dial: +x is to its left
    for phi, place in ((0.0, (-1, 0)), (np.pi / 2, (0, 1)), (np.pi, (1, 0)), (-np.pi / 2, (0, -1))):
        latents = np.array([0, 0, 0, 0.1, np.pi / 4, phi, 1 / 3, 0, 0, 0])
        picture = preview._picture(grey.getvalue(), latents, SMALL, Camera.of(SMALL), 256)
        corner = np.asarray(picture.crop((256 - 44, 0, 256, 44)))
        offset = centre_of(corner, (0, 255, 0)) - (22, 22)
        np.testing.assert_allclose(offset, 12 * np.array(place), atol=1.5)


def test_the_cost_of_the_whole_set() -> None:
    assert Cost(0.5, 0.01, 6000).seconds(10, 50) == pytest.approx(10.0)
    assert preview._duration(90) == "90 s"
    assert preview._duration(7.5 * 3600) == "7.5 h"
    assert preview._duration(3 * 86400) == "3.0 days"
    assert preview._size(2_623_600 * 6400) == "16.8 GB"
    told = dict(preview._header(OBJECTS, SMALL, 0, 3, 2, Cost(0.1, 0.02, 1000)))
    assert "25 pictures" in told["whole set"]
    assert "25 kB" in told["whole set"]
    assert "x, y, z −90 … 90°" in told["rotation"]
    assert "translation x, y, z −0.5 … 0.5" in told["rotation"]


def test_what_is_shown_is_spread() -> None:
    assert preview._spread(1000, 3) == [0, 500, 999]
    assert preview._spread(2, 8) == [0, 1]
    assert preview._spread(50, 1) == [0]


class Broken(ProceduralSource):
    def load(self, index: int) -> Mesh:
        if index == 0:
            raise UserError("chair.obj is cut short: export it again")
        return super().load(index)


def test_a_broken_object_does_not_spoil_the_sheet() -> None:
    sheet = contact_sheet(Broken(2, ("chair", "mug")), SMALL, num_objects=2, num_views=1)
    first, second = (cell(sheet, row, 0, 2, 224) for row in range(2))
    assert (first == overlay.PAPER).all(axis=2).mean() > 0.9  # the reason, and no picture
    assert (first == overlay.AXES[0]).all(axis=2).any()
    assert not (second == overlay.PAPER).all(axis=2).any()


@pytest.mark.parametrize("size", [16, 48, 64, 100, 128, 150, 200, 256, 512])
def test_pictures_of_any_size_are_shown_at_about_one_size(size: int) -> None:
    side = preview._shown_side(size)
    assert 190 <= side <= 292
    assert side % size == 0 or size in (150, 512)


def test_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sheet.png"
    write_preview(path, OBJECTS, SMALL, num_objects=1, num_views=1)
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
    assert [p.name for p in path.parent.iterdir()] == ["sheet.png"]
    with pytest.raises(UserError, match=r"sheet\.jpg should end in \.png"):
        write_preview(tmp_path / "sheet.jpg", OBJECTS, SMALL)
    with pytest.raises(UserError, match="at least one object"):
        contact_sheet(OBJECTS, SMALL, num_objects=0)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        write_preview(tmp_path / "file" / "a.png", OBJECTS, SMALL, num_objects=1, num_views=1)
