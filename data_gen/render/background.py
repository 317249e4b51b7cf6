"""What the camera sees behind the object in the floor's place: a colour, an image, or images."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from data_gen.recipe import Recipe
from data_gen.render.rays import U8
from ssl_equiv.errors import UserError

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})
_CACHE = 1 << 26  # bytes of decoded images that a renderer keeps


class Background:
    """The pictures behind the views of a recipe.

    An image is cropped to its central square and resized to the picture. Of a folder (searched
    to any depth) the latent vector alone picks a view's image, evenly among all; on a grid or a
    path those of its columns which do not move, so that all views of an object have one image.

    Args:
        recipe: Its background is not ``None``.

    Raises:
        UserError: the file cannot be read, the folder holds no image, or every column moves.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.size = size = recipe.image_size
        background = recipe.background
        assert background is not None
        self.files: list[Path] = []
        if isinstance(background, str):
            self.files = image_files(background)
            self._columns = _choosing(recipe, len(self.files))
            # a slot keeps the last of its images; threads may replace one at the same time
            slots = min(len(self.files), max(1, _CACHE // (3 * size * size)))
            self._slots: list[tuple[int, U8] | None] = [None] * slots
            self._image(0)  # an error comes before the first view
        else:
            color = np.rint(np.array(background) * 255).astype(np.uint8)
            self._plain = np.broadcast_to(color, (size, size, 3))

    def picture(self, latent: NDArray[np.float64]) -> U8:
        """``(H, W, 3)`` uint8 sRGB behind the view of a latent vector ``(L,)``; read only.

        Raises:
            UserError: its file cannot be read.
        """
        if not self.files:
            return self._plain
        # adding 0 makes a negative zero a plain one
        chosen = latent[self._columns] + 0.0
        digest = hashlib.sha256(chosen.astype("<f8").tobytes()).digest()
        return self._image(int.from_bytes(digest[:8], "little") % len(self.files))

    def _image(self, index: int) -> U8:
        slot = index % len(self._slots)
        kept = self._slots[slot]
        if kept is None or kept[0] != index:
            kept = self._slots[slot] = index, _read(self.files[index], self.size)
        return kept[1]


def _choosing(recipe: Recipe, num_files: int) -> list[int]:
    """The columns of the latent vector by which a view's image is chosen."""
    moving = recipe.grid or (recipe.path_columns if recipe.trajectory else ())
    still = [i for i, name in enumerate(recipe.columns) if name not in moving]
    if not still and num_files > 1:
        raise UserError(
            f"recipe: background {recipe.background} is a folder, but every latent column moves: "
            "none is left to choose an object's image by; leave one, such as floor_hue, out of "
            "the grid or of trajectory.columns, or give one image"
        )
    return still


def image_files(path: str) -> list[Path]:
    """The file itself, or the images in a folder and below it, in the order of their names.

    Raises:
        UserError: there is no such path, or no image in it.
    """
    root = Path(path).expanduser()
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise UserError(
            f"recipe: background {path} does not exist: give an image or a folder of images"
        )
    inside = [file.relative_to(root) for file in root.rglob("*")]
    images = [file for file in inside if file.suffix.lower() in _SUFFIXES]
    # files that begin with a dot are other programs' notes about files
    named = sorted(file.as_posix() for file in images if not file.name.startswith("."))
    if not named:
        raise UserError(
            f"recipe: background {path} holds no image ({', '.join(sorted(_SUFFIXES))}): "
            "give another folder"
        )
    return [root / name for name in named]


def background_digest(recipe: Recipe) -> str | None:
    """SHA-256 over the contents of the background's files, in their order; ``None`` where the
    recipe names none. With the recipe it tells whether two runs draw the same pictures.

    Raises:
        UserError: a file cannot be read, is no image, or cannot be chosen.
    """
    if not isinstance(recipe.background, str):
        return None
    digest, files = hashlib.sha256(), image_files(recipe.background)
    _choosing(recipe, len(files))
    for file in files:
        try:
            content = file.read_bytes()
            with Image.open(file) as image:  # a wrong file is told before hours are spent
                image.verify()
        except Exception as error:
            raise _unreadable(file) from error
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def _read(file: Path, size: int) -> U8:
    try:
        with Image.open(file) as image:
            image.draft("RGB", (size, size))  # a JPEG may be decoded at a fraction of its size
            upright = ImageOps.exif_transpose(image)
            square = ImageOps.fit(upright.convert("RGB"), (size, size), Image.Resampling.LANCZOS)
            return np.array(square)
    except Exception as error:  # damaged files make Pillow raise SyntaxError, struct.error, ...
        raise _unreadable(file) from error


def _unreadable(file: Path) -> UserError:
    return UserError(
        f"recipe: background {file} is not a readable image: repair it or take it away"
    )
