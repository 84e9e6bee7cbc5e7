"""One image file as a network's input: decoded, in the right number of channels and the right size."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from sepnet.core.errors import DataError, UsageError, brief

__all__ = ["EXTENSIONS", "INTERPOLATIONS", "check_crop", "image_shape", "read_crop", "read_image", "read_random_crop"]

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"})
GRAY_MODES = frozenset({"1", "L", "LA", "La", "I"})
INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
LARGEST_SIDE = 65_536
LOG_ASPECTS = (math.log(3 / 4), math.log(4 / 3))


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
    image = _decode(Path(path), str(path)).convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC, box=_centre(image.size, (width, height)))
    return _pixels(image)


def read_crop(
    source: Path | bytes,
    resize: int,
    crop: int,
    *,
    channels: int = 3,
    interpolation: str = "bilinear",
    name: str = "",
) -> npt.NDArray[np.uint8]:
    """Decode an image by the evaluation transform of ImageNet: resize the shorter side, then crop the centre.

    The longer side becomes `int(resize * longer / shorter)`; the crop begins at `round((side - crop) / 2)`, as
    torchvision's `Resize` and `CenterCrop` have it on PIL images.  Modes of the file are treated as by `read_image`.

    Args:
        source: an image that Pillow reads, or its bytes.
        resize: pixels of the shorter side, at least `crop`.
        crop: pixels of both sides of the result.
        channels: 1 or 3.
        interpolation: `bilinear` or `bicubic`, with Pillow's filters, which see all pixels when shrinking.
        name: of the image, for messages, where bytes are given.

    Returns:
        uint8 (channels, crop, crop).

    Raises:
        DataError: no such file, a broken or unknown one, or one whose longer side would pass 65,536 pixels.
        UsageError: numbers that cannot be.
    """
    check_crop(resize, crop, interpolation)
    where = str(source) if isinstance(source, Path) else name
    image = _decode(source, where).convert("L" if channels == 1 else "RGB")
    return _pixels(_resized_centre(image, resize, crop, interpolation=interpolation, where=where))


def read_random_crop(
    path: Path,
    random: np.random.Generator,
    crop: int,
    *,
    min_area: float = 0.08,
    channels: int = 3,
    interpolation: str = "bilinear",
) -> npt.NDArray[np.uint8]:
    """Decode an image by the training transform of ImageNet: a random part of it, resized to a square.

    The part has a share of the area that is uniform in [min_area, 1] and an aspect width : height that is
    log-uniform in [3/4, 4/3]; its place is uniform.  After ten draws that do not fit, it is the largest centred part
    whose aspect is in that range.  Source: Szegedy et al. 2014 (arXiv 1409.4842, section 6), as torchvision's
    `RandomResizedCrop` has it on PIL images.

    Args:
        path: an image that Pillow reads.
        random: gives the random numbers.
        crop, channels, interpolation: as for `read_crop`.
        min_area: smallest share of the image's area, above 0, at most 1.

    Raises:
        DataError: no such file, a broken or unknown one.
    """
    image = _decode(path, str(path)).convert("L" if channels == 1 else "RGB")
    left, upper, width, height = _random_part(image.size, random, min_area)
    part = image.crop((left, upper, left + width, upper + height))
    return _pixels(part.resize((crop, crop), INTERPOLATIONS[interpolation]))


def _random_part(size: tuple[int, int], random: np.random.Generator, min_area: float) -> tuple[int, int, int, int]:
    """(left, upper, width, height) in an image of (width, height)."""
    for _ in range(10):
        area = size[0] * size[1] * random.uniform(min_area, 1.0)
        aspect = math.exp(random.uniform(*LOG_ASPECTS))
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < width <= size[0] and 0 < height <= size[1]:
            left, upper = (int(random.integers(0, most + 1)) for most in (size[0] - width, size[1] - height))
            return left, upper, width, height
    narrowest, widest = (math.exp(side) for side in LOG_ASPECTS)
    width = min(size[0], max(1, round(size[1] * widest)))
    height = min(size[1], max(1, round(size[0] / narrowest)))
    return (size[0] - width) // 2, (size[1] - height) // 2, width, height


def _resized_centre(image: Image.Image, resize: int, crop: int, *, interpolation: str, where: str) -> Image.Image:
    shorter, longer = sorted(image.size)
    if resize * longer > LARGEST_SIDE * shorter:
        raise DataError(f"{where}: found {image.width}x{image.height}; too long to resize to {resize}")
    if shorter != resize:
        sides = [resize if side == shorter else int(resize * longer / shorter) for side in image.size]
        image = image.resize((sides[0], sides[1]), INTERPOLATIONS[interpolation])
    left, upper = (round((side - crop) / 2) for side in image.size)
    return image.crop((left, upper, left + crop, upper + crop))


def check_crop(resize: Any, crop: Any, interpolation: Any, option: str = "crop") -> None:
    """Raise `UsageError` unless 1 <= crop <= resize and the interpolation is one of `INTERPOLATIONS`.

    `option` is what the user calls the crop.
    """
    for name, value in ((option, crop), ("resize", resize)):
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST_SIDE:
            raise UsageError(f"found {name}={value!r}; expected a number of pixels, 1 to {LARGEST_SIDE}")
    if crop > resize:
        raise UsageError(f"found {option}={crop} and resize={resize}; expected {option} to be at most resize")
    if not isinstance(interpolation, str) or interpolation not in INTERPOLATIONS:
        raise UsageError(f"found interpolation={interpolation!r}; expected {' or '.join(INTERPOLATIONS)}")


def image_shape(path: Path) -> tuple[int, int, int]:
    """(channels, height, width) of an image as `read_image` would see it, channels 1 for the gray ones and else 3.

    Raises:
        DataError: as `read_image`.
    """
    image = _decode(Path(path), str(path))
    return 1 if image.mode in GRAY_MODES else 3, image.height, image.width


def _pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    pixels = np.asarray(image, np.uint8)
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def _centre(size: tuple[int, int], target: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest centred (left, upper, right, lower) in `size` with the aspect of `target`; both (width, height)."""
    scale = min(size[0] / target[0], size[1] / target[1])
    width, height = min(size[0], target[0] * scale), min(size[1], target[1] * scale)
    left, upper = (size[0] - width) / 2, (size[1] - height) / 2
    return left, upper, min(size[0], left + width), min(size[1], upper + height)


def _decode(source: Path | bytes, where: str) -> Image.Image:
    if isinstance(source, Path) and source.is_dir():
        raise DataError(f"{where}: it is a folder; expected an image file, such as {Path(where) / '*.png'}")
    if isinstance(source, Path) and not source.is_file():
        raise DataError(f"{where}: no such image file")
    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as image:
            image.load()
            decoded = ImageOps.exif_transpose(image)
    except (
        Exception
    ) as problem:  # Pillow's decoders raise anything at a broken file, SyntaxError and struct.error among them
        text = brief(problem)
        raise DataError(f"{where}: broken, or no image: {type(problem).__name__}: {text}") from problem
    return _eight_bits(decoded, where)


def _eight_bits(image: Image.Image, where: str) -> Image.Image:
    if image.mode == "F":
        raise DataError(f"{where}: found floating point pixels; expected 8 or 16 bits a channel")
    if image.mode != "I" and not image.mode.startswith("I;"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise DataError(f"{where}: found pixels from {values.min()} to {values.max()}; expected 8 or 16 bits a channel")
    return Image.fromarray((values >> 8).astype(np.uint8))
