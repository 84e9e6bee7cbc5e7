"""One image file as a network's input: decoded, in the right number of channels and the right size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from sepnet.core.errors import DataError

__all__ = ["EXTENSIONS", "image_shape", "read_image"]

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"})
GRAY_MODES = frozenset({"1", "L", "LA", "La", "I"})


def read_image(path: Path, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Decode an image file to uint8 (channels, height, width) of the given shape.

    Grayscale is `L = 0.299 R + 0.587 G + 0.114 B`; gray to RGB repeats it.  16-bit gray keeps its upper 8 bits, an
    alpha channel is dropped, of an animation the first picture is taken, and a camera's rotation mark (EXIF) is obeyed.
    If the size differs, the largest centred part of the right aspect is resized with Pillow's bicubic filter: the
    shorter side is fitted, the longer one cropped.  An image of the right size is left as it is.

    Args:
        path: an image that Pillow reads.
        shape: (channels, height, width), channels 1 or 3.

    Raises:
        DataError: no such file, a broken or unknown one, or a shape that is not of an image.
    """
    channels, height, width = shape
    if channels not in (1, 3) or height < 1 or width < 1:
        raise DataError(f"found the shape {shape}; an image can be given as (1 or 3, height, width)")
    image = _decode(Path(path)).convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC, box=_centre(image.size, (width, height)))
    pixels = np.asarray(image, np.uint8)
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))


def image_shape(path: Path) -> tuple[int, int, int]:
    """(channels, height, width) of an image as `read_image` would see it, channels 1 for the gray ones and else 3.

    Raises:
        DataError: as `read_image`.
    """
    image = _decode(Path(path))
    return 1 if image.mode in GRAY_MODES else 3, image.height, image.width


def _centre(size: tuple[int, int], target: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest centred (left, upper, right, lower) in `size` with the aspect of `target`; both (width, height)."""
    scale = min(size[0] / target[0], size[1] / target[1])
    width, height = min(size[0], target[0] * scale), min(size[1], target[1] * scale)
    left, upper = (size[0] - width) / 2, (size[1] - height) / 2
    return left, upper, min(size[0], left + width), min(size[1], upper + height)


def _decode(path: Path) -> Image.Image:
    if not path.is_file():
        raise DataError(f"{path}: no such image file")
    try:
        with Image.open(path) as image:
            image.load()
            decoded = ImageOps.exif_transpose(image)
    except (
        Exception
    ) as problem:  # Pillow's decoders raise anything at a broken file, SyntaxError and struct.error among them
        text = " ".join(str(problem).split())
        raise DataError(f"{path}: broken, or no image: {type(problem).__name__}: {text}") from problem
    return _eight_bits(decoded, path)


def _eight_bits(image: Image.Image, path: Path) -> Image.Image:
    if image.mode == "F":
        raise DataError(f"{path}: found floating point pixels; expected 8 or 16 bits a channel")
    if image.mode != "I" and not image.mode.startswith("I;"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise DataError(f"{path}: found pixels from {values.min()} to {values.max()}; expected 8 or 16 bits a channel")
    return Image.fromarray((values >> 8).astype(np.uint8))
