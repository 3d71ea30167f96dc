"""Data in a folder of images, with one folder for each class.

Keras has `image_dataset_from_directory`, which reads by TensorFlow or Grain whatever the backend is. Here
images are read with Pillow, by Keras's own `load_img`, so the same numbers come on every backend, and each
batch can be read again after an interruption.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from frostline.data.samples import Samples, one_hot, require_samples
from frostline.data.sources import ImagesData
from frostline.errors import DataError, RunError, listed, near

FORMATS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
_COLORS = {1: "grayscale", 3: "rgb", 4: "rgba"}


@dataclass(frozen=True)
class ImageFiles:
    """Images on disk that are read when they are picked: an array, as far as a batch can see.

    Attributes:
        paths: The files.
        size: Height and width that each is brought to, bilinearly.
        channels: 1, 3 or 4.
        range: What black and white become.
        channels_first: Whether the channels stand before height and width.
    """

    paths: npt.NDArray[np.object_]
    size: tuple[int, int]
    channels: int
    range: tuple[float, float] = (0.0, 255.0)
    channels_first: bool = False

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array that it stands for."""
        inner = (self.channels, *self.size) if self.channels_first else (*self.size, self.channels)
        return (len(self.paths), *inner)

    def __getitem__(self, chosen: Any) -> Any:
        """Return the images of a batch, float32; other files where what is picked is to be kept."""
        return np.stack([self._read(path) for path in self.paths[chosen]])

    def only(self, chosen: Any) -> ImageFiles:
        """Return the files with these numbers."""
        return ImageFiles(self.paths[chosen], self.size, self.channels, self.range, self.channels_first)

    def _read(self, path: Path) -> npt.NDArray[np.float32]:
        import keras

        try:
            image = keras.utils.load_img(
                path, color_mode=_COLORS[self.channels], target_size=self.size, interpolation="bilinear"
            )
        except Exception as error:
            raise DataError(
                f"the image {str(path)!r} cannot be read",
                received=f"{type(error).__name__}: {error}",
                expected=f"a whole file, one of {', '.join(FORMATS)}",
                remedy="repair it or take it out of its folder",
            ) from None
        values = np.asarray(image, "float32").reshape(*self.size, self.channels)
        low, high = self.range
        if (low, high) != (0.0, 255.0):
            values = low + values * ((high - low) / 255)
        return np.moveaxis(values, -1, 0) if self.channels_first else values


def check_images(folder: Path, source: ImagesData) -> tuple[str, ...]:
    """Return the classes of a folder: those of the config, or the names of its folders, sorted.

    Raises:
        DataError: It is not a folder, or has fewer than two folders, or lacks one that the config names.
    """
    if not folder.is_dir():
        raise DataError(
            f"{str(folder)!r} is not a folder", expected="a folder with one folder for each class"
        )
    found = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    for name in source.classes or ():
        if name not in found:
            close = near(name, found)
            raise DataError(
                f"{str(folder)!r} has no folder for the class {name!r}",
                received=f"it has {listed(found, most=8) or 'no folders'}",
                remedy=f"did you mean {listed(close)}?" if close else None,
            )
    if len(found) < 2:
        raise DataError(
            f"{str(folder)!r} has {'no folders' if not found else 'one folder only'}",
            received=listed(sorted(p.name for p in folder.iterdir())) or "an empty folder",
            expected="one folder of images for each class: cats/1.png, dogs/1.png",
        )
    if importlib.util.find_spec("PIL") is None:
        raise RunError(
            "images are read with Pillow, which is not installed", remedy="pip install 'frostline[images]'"
        )
    return tuple(source.classes or found)


def load_images(folder: Path, source: ImagesData, input_shape: Sequence[int | None]) -> Samples:
    """List the images of a folder; they are read batch by batch.

    `y` has the number of the class, of shape `(samples,)` and int32, or with `labels: one_hot` rows of zeros
    and a single 1.

    Args:
        folder: The folder.
        source: What the config says of it.
        input_shape: Of one sample, as the model takes it; None where it takes any.

    Raises:
        DataError: A class has no images, or the size is settled nowhere.
    """
    classes = check_images(folder, source)
    paths: list[Path] = []
    labels: list[int] = []
    for number, name in enumerate(classes):
        own = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in FORMATS and p.is_file())
        if not own:
            raise DataError(
                f"the folder {str(folder / name)!r} has no images",
                expected=f"files that end in {', '.join(FORMATS)}",
                remedy="take the folder away, or name those to use under data: classes:",
            )
        paths += own
        labels += [number] * len(own)
    y = np.array(labels, "int32")
    files = np.empty(len(paths), object)
    files[:] = paths
    return require_samples(
        Samples(
            x=_files(files, folder, source, tuple(input_shape)),
            y=one_hot(y, len(classes)) if source.labels == "one_hot" else y,
            classes=classes,
            source=str(folder),
            rows=files,
            digest=_digest(folder, paths),
        )
    )


def _digest(folder: Path, paths: Sequence[Path]) -> str:
    hasher = blake3()
    for path in paths:
        hasher.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\n".encode())
    return f"blake3 of the names and sizes of {len(paths)} images: {hasher.hexdigest()}"


def _files(
    paths: npt.NDArray[np.object_], folder: Path, source: ImagesData, shape: tuple[int | None, ...]
) -> ImageFiles:
    first = len(shape) == 3 and shape[0] in _COLORS and shape[-1] not in _COLORS
    channels = shape[0 if first else -1] if len(shape) == 3 else None
    if channels not in _COLORS:
        raise DataError(
            f"the model takes no images, so {str(folder)!r} does not fit it",
            received=f"an input of shape {shown_shape(shape)} per sample",
            expected="height x width x 1, 3 or 4 channels",
        )
    size = tuple(source.size or (shape[1:] if first else shape[:2]))
    if None in size:
        raise DataError(
            "the model takes images of any size, so the config must say which",
            received=f"an input of shape {shown_shape(shape)} per sample",
            remedy="add data: size: [224, 224]",
        )
    low, high = source.range
    return ImageFiles(paths, (int(size[0] or 0), int(size[1] or 0)), int(channels or 0), (low, high), first)


def shown_shape(shape: Sequence[int | None]) -> str:
    """Say a shape: `28 x 28 x any`; `scalar` where it has no axes."""
    return " x ".join("any" if n is None else f"{n}" for n in shape) or "scalar"
