"""The pixels of an image file as numbers from 0 to 255, however the file holds them, or why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from frostline.files.image_file import opened_image

CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}
"""What Pillow calls images with so many channels."""

_OF_16_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_OF_8_BITS = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


class UnreadablePixelsError(ValueError):
    """An image that has no right form as numbers.

    Args:
        received: What it is.
        expected: What it could have been.
        remedy: How to make it so.
    """

    def __init__(self, received: str, expected: str, remedy: str) -> None:
        super().__init__(received)
        self.received, self.expected, self.remedy = received, expected, remedy


def require_readable(path: Path, channels: int) -> None:
    """Look at the head of an image file, before training comes to it; only transparency takes more.

    Args:
        path: The file.
        channels: How many the model takes.

    Raises:
        UnreadablePixelsError: It is animated, has transparent pixels that the model cannot take, or numbers
            without known bounds.
    """
    with opened_image(path) as image:
        _require_one(image)
        _require_known(image)
        if channels != 4:
            _require_opaque(image)


def read_pixels(path: Path, size: tuple[int, int], channels: int) -> npt.NDArray[np.float32]:
    """Read an image, turned as its camera says, and bring it to a size, bilinearly.

    Args:
        path: The file.
        size: Height and width.
        channels: 1, 3 or 4: images of other kinds are converted.

    Returns:
        Numbers from 0 to 255, of shape `(height, width, channels)`. Those of 16 bits are scaled to that.

    Raises:
        UnreadablePixelsError: As `require_readable` says.
    """
    from PIL import ImageOps

    with opened_image(path) as image:
        _require_one(image)
        _require_known(image)
        if channels != 4:
            _require_opaque(image)
        upright = ImageOps.exif_transpose(image)
        if upright.mode in (*_OF_16_BITS, "I"):
            return _of_16_bits(upright, size, channels)
        plain = upright.convert(CHANNELS[channels]) if upright.mode != CHANNELS[channels] else upright
        values = np.asarray(_resized(plain, size), "float32")
    return values.reshape(*size, channels)


def _of_16_bits(image: Any, size: tuple[int, int], channels: int) -> npt.NDArray[np.float32]:
    from PIL import Image

    scaled = Image.fromarray(np.asarray(image, "float32") * np.float32(255 / 65535))
    gray = np.asarray(_resized(scaled, size), "float32")[..., None]
    if channels == 4:
        opaque = np.full_like(gray, 255)
        return np.concatenate([gray, gray, gray, opaque], axis=-1)
    return np.repeat(gray, channels, axis=-1)


def _resized(image: Any, size: tuple[int, int]) -> Any:
    from PIL import Image

    height, width = size
    return (
        image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BILINEAR)
    )


def _require_one(image: Any) -> None:
    if getattr(image, "is_animated", False):
        raise UnreadablePixelsError(
            f"{image.n_frames} images in one file",
            "a file with one image",
            "save the frame that is meant as a file of its own, or take the file out of its folder",
        )


def _require_known(image: Any) -> None:
    """Refuse numbers whose bounds are not known: of 32 bits, or floating."""
    if image.mode in (*_OF_8_BITS, *_OF_16_BITS) or (image.mode == "I" and image.format == "PNG"):
        return
    raise UnreadablePixelsError(
        f"pixels of the kind {image.mode!r} in a file of the kind {image.format}",
        "pixels of 8 or 16 bits, for which black and white are known",
        "convert it to a .png of 8 bits",
    )


def _require_opaque(image: Any) -> None:
    """Refuse transparent pixels where the model takes no transparency: their hidden colors would reach it."""
    if image.mode not in ("RGBA", "LA", "PA", "RGBa", "La") and "transparency" not in image.info:
        return
    if image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        raise UnreadablePixelsError(
            f"transparent pixels, in an image of the kind {image.mode!r}",
            "an opaque image, since the model takes no transparency, and what lies behind is not known",
            "lay it on a background, as with Image.alpha_composite, or give the model an input of 4 channels",
        )
