"""The one gate through which images are opened: of a few kinds, of a size that their files make likely."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from frostline.errors import DataError
from frostline.files.limits import UnreadableError, require_unpacked
from frostline.files.reading import opened

_KINDS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""Of Pillow's readers, whatever a name ends in: others start programs, as that of EPS starts Ghostscript."""


@contextmanager
def opened_image(path: Path) -> Iterator[Any]:
    """Open an image with Pillow; its pixels are read when they are asked for.

    Raises:
        DataError: There is no such file, or it is none that can be read.
        UnreadableError: It says that it has far more pixels than its bytes can hold.
        Exception: It is not an image of these kinds: whatever Pillow raises.
    """
    with opened(path, DataError, "image") as stream, warnings.catch_warnings():
        # What it warns of is refused below, or is of no concern to the numbers.
        warnings.simplefilter("ignore")
        with _identified(stream) as image:
            numbers = image.width * image.height * len(image.getbands())
            unpacked = numbers * (
                4 if image.mode[0] in "IF" else 1
            )  # what has more than 8 bits is held in 32
            require_unpacked(os.fstat(stream.fileno()).st_size, unpacked, "the image")
            yield image


def _identified(stream: BinaryIO) -> Any:
    from PIL import Image, UnidentifiedImageError

    Image.init()
    try:
        return Image.open(stream, formats=[kind for kind in _KINDS if kind in Image.OPEN])
    except UnidentifiedImageError:
        raise UnreadableError(f"it is not an image of the kinds {', '.join(_KINDS)}") from None
