"""Data in a folder of images, with one folder for each class.

Keras has `image_dataset_from_directory`, which reads by TensorFlow or Grain whatever the backend is. Here
images are read with Pillow (`pixels`), so the same numbers come on every backend, and each batch can be read
again after an interruption.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from frostline.data.pixels import CHANNELS, UnreadablePixelsError, read_pixels, require_readable
from frostline.data.samples import Samples, one_hot, require_samples
from frostline.data.sources import ImagesData
from frostline.errors import DataError, RunError, listed, near, said
from frostline.files.limits import UnreadableError
from frostline.files.reading import kind_of
from frostline.files.text import invisible_ends, shown_invisible

FORMATS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
_OTHER_FORMATS = (
    *(".tif", ".tiff", ".webp", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".jfif", ".jpe", ".dcm", ".exr"),
    *(
        ".ppm",
        ".pgm",
        ".pbm",
        ".tga",
        ".ico",
        ".svg",
        ".psd",
        ".raw",
        ".dng",
        ".cr2",
        ".nef",
        ".apng",
        ".npy",
    ),
)
"""Files that somebody put there as images, and that are not read."""

_OF_PROGRAMS = (
    "__macosx",
    "__pycache__",
    "@eadir",
    "lost+found",
    "$recycle.bin",
    "system volume information",
)
"""Folders, beside hidden ones, that systems and programs leave behind."""

_SPLITS = {
    "training": ("train", "training", "trn"),
    "validation": ("val", "valid", "validation", "dev", "eval", "evaluation", "holdout"),
    "test": ("test", "testing", "tst"),
    "prediction": ("pred", "predict", "unlabeled", "unlabelled", "unsup"),
}
"""Names of folders that hold a part of the samples, of whatever class."""

_WITH_A_SPLIT = ("", "set", "data", "images", "image", "imgs", "img", "split", "samples", "dataset")


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
        with _named(path):
            values = read_pixels(path, self.size, self.channels)
        low, high = self.range
        if (low, high) != (0.0, 255.0):
            values = low + values * ((high - low) / 255)
        return np.moveaxis(values, -1, 0) if self.channels_first else values


def check_images(folder: Path, source: ImagesData) -> tuple[str, ...]:
    """Return the classes of a folder: those of the config, or the names of its folders, sorted.

    Hidden folders are left aside, and those that programs leave behind, such as `__MACOSX`.

    Raises:
        DataError: It is not a folder, or has fewer than two folders, or lacks one that the config names, or
            its folders are parts of a data set, such as `train` and `test`, and not classes.
    """
    if kind_of(folder) != "folder":
        raise DataError(
            f"{str(folder)!r} is not a folder", expected="a folder with one folder for each class"
        )
    found = sorted(p.name for p in folder.iterdir() if p.is_dir() and not _is_aside(p.name))
    for name in source.classes or ():
        if name not in found:
            close = near(name, found)
            raise DataError(
                f"{str(folder)!r} has no folder for the class {name!r}",
                received=f"it has {listed(found, most=8) or 'no folders'}",
                remedy=f"did you mean {listed(close)}?" if close else None,
            )
    if source.classes is None:
        _require_classes(folder, found)
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
        DataError: A class has no images, or some that are not read, or the size is settled nowhere.
    """
    classes = check_images(folder, source)
    paths: list[Path] = []
    labels: list[int] = []
    for number, name in enumerate(classes):
        own = sorted(p for p in _files_in(folder / name) if p.suffix.lower() in FORMATS)
        _require_files(folder / name)
        _require_known_formats(folder / name)
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
    x = _files(files, folder, source, tuple(input_shape))
    for path in paths:
        with _named(path):
            require_readable(path, x.channels)
    return require_samples(
        Samples(
            x=x,
            y=one_hot(y, len(classes)) if source.labels == "one_hot" else y,
            classes=classes,
            source=str(folder),
            rows=files,
            row_noun="file",
            digest=_digest(folder, paths),
            about=(f"each folder is a class: {listed(classes, most=8)}", *_left_out(folder, classes, paths)),
        )
    )


def _is_aside(name: str) -> bool:
    """Whether a file or a folder is hidden, or one that a program left behind."""
    return name.startswith(".") or name.lower() in _OF_PROGRAMS


def _files_in(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of those within it, without what is hidden."""
    for path in folder.rglob("*"):
        if path.is_file() and not any(_is_aside(part) for part in path.relative_to(folder).parts):
            yield path


def _require_classes(folder: Path, found: Sequence[str]) -> None:
    """Refuse folders that are parts of a data set, or whose names look the same."""
    for name in found:
        if hidden := invisible_ends(name):
            raise DataError(
                f"the folder {name!r} in {str(folder)!r} has invisible characters at the ends of its name",
                received=shown_invisible(hidden),
                remedy="rename it",
            )
    parts = {name: kind for name in found if (kind := _split_of(name)) is not None}
    nested = [name for name in parts if _has_classes(folder / name)]
    if len(set(parts.values())) < 2 and not nested:
        return
    first = next((name for name, kind in parts.items() if kind == "training"), next(iter(parts)))
    within = folder / first
    raise DataError(
        f"{str(folder)!r} has a folder for each part of a data set, not for each class",
        received=listed(parts),
        expected="one folder of images for each class: cats/1.png, dogs/1.png",
        remedy=f"name one part of it, images: {within}, and another under validation:; if these are the "
        f"classes, say so: classes: [{', '.join(found)}]",
    )


def _split_of(name: str) -> str | None:
    """Return which part of a data set a folder's name tells of: `train_images` of training."""
    words = [word for word in re.split(r"[\W_\d]+", name.lower()) if word not in _WITH_A_SPLIT]
    joined = "".join(words)
    for kind, names in _SPLITS.items():
        if joined in names or any(joined == known + more for known in names for more in _WITH_A_SPLIT):
            return kind
    return None


def _has_classes(folder: Path) -> bool:
    """Whether the images of a folder stand in several folders within it."""
    inner = [p for p in folder.iterdir() if p.is_dir() and not _is_aside(p.name)]
    return sum(any(f.suffix.lower() in FORMATS for f in _files_in(p)) for p in inner) > 1


def _require_files(folder: Path) -> None:
    """Refuse what has the name of an image and is no file: a link that leads nowhere, a pipe, a device."""
    others = sorted(
        p.relative_to(folder).as_posix()
        for p in folder.rglob("*")
        if p.suffix.lower() in FORMATS
        and kind_of(p) not in ("file", "folder")
        and not any(_is_aside(part) for part in p.relative_to(folder).parts)
    )
    if others:
        raise DataError(
            f"the folder {str(folder)!r} has images that are no files",
            received=listed(others, most=6),
            expected="files: a link must lead to one, and a pipe or a device is none",
            remedy="mend the links, or take them out of the folder",
        )


def _require_known_formats(folder: Path) -> None:
    """Refuse images that would be left out without a word."""
    others = sorted(p.name for p in _files_in(folder) if p.suffix.lower() in _OTHER_FORMATS)
    if others:
        raise DataError(
            f"the folder {str(folder)!r} has images of kinds that are not read",
            received=listed(others, most=6),
            expected=f"files that end in {', '.join(FORMATS)}",
            remedy="convert them to .png, or take them out of the folder",
        )


def _left_out(folder: Path, classes: Sequence[str], paths: Sequence[Path]) -> Iterator[str]:
    """Say what in a folder is not read, and what is read from deeper folders."""
    read = set(paths)
    every = [p for p in folder.rglob("*") if p.is_file() and p not in read]
    hidden = [p for p in every if any(_is_aside(part) for part in p.relative_to(folder).parts)]
    if shown := [p for p in every if p not in set(hidden) and p.suffix.lower() in FORMATS]:
        names = listed((p.relative_to(folder).as_posix() for p in sorted(shown)), most=4)
        yield f"left out, since they are in no folder of these classes: {names}"
    if others := [p for p in every if p not in set(hidden) and p.suffix.lower() not in FORMATS]:
        names = listed((p.relative_to(folder).as_posix() for p in sorted(others)), most=4)
        yield f"left out, since they are not images: {names}"
    if images := [p for p in hidden if p.suffix.lower() in FORMATS]:
        names = listed((p.relative_to(folder).as_posix() for p in sorted(images)), most=4)
        yield f"left out, since they are hidden or a program left them: {names}"
    deeper = {
        name
        for name in classes
        for p in paths
        if p.is_relative_to(folder / name) and p.parent != folder / name
    }
    if deeper:
        yield f"images in folders within a folder belong to its class: {listed(sorted(deeper), most=8)}"


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say which image cannot be read."""
    try:
        yield
    except DataError:
        raise
    except UnreadablePixelsError as problem:
        raise DataError(
            f"the image {str(path)!r} cannot be read as one image of the kind that the model takes",
            received=problem.received,
            expected=problem.expected,
            remedy=problem.remedy,
        ) from None
    except Exception as error:  # Pillow's readers raise what their format makes them
        raise DataError(
            f"the image {str(path)!r} cannot be read",
            received=str(error) if isinstance(error, UnreadableError) else said(error),
            expected=f"a whole file, one of {', '.join(FORMATS)}",
            remedy="repair it or take it out of its folder",
        ) from None


def _digest(folder: Path, paths: Sequence[Path]) -> str:
    hasher = blake3()
    for path in paths:
        line = f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\n"
        # A name need not be UTF-8: then it counts as the bytes that it is.
        hasher.update(line.encode("utf-8", "surrogateescape"))
    return f"blake3 of the names and sizes of {len(paths)} images: {hasher.hexdigest()}"


def _files(
    paths: npt.NDArray[np.object_], folder: Path, source: ImagesData, shape: tuple[int | None, ...]
) -> ImageFiles:
    first = len(shape) == 3 and shape[0] in CHANNELS and shape[-1] not in CHANNELS
    channels = shape[0 if first else -1] if len(shape) == 3 else None
    if channels not in CHANNELS:
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
