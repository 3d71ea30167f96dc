"""What one word on a command line says of data: its kind, and which part of it is the target, guessed."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from frostline.data.csv_table import opened_table
from frostline.data.image_folder import shown_shape
from frostline.data.npz import opened_arrays
from frostline.data.sources import CsvData, FunctionData, ImagesData, NpzData, Source
from frostline.errors import DataError, RunError, listed
from frostline.files.reading import kind_of
from frostline.files.similar import similar_files

KINDS_EXPECTED = "a .npz or .csv file, a folder of images by class, or module:function"

_TABLES = (".csv", ".tsv", ".txt")
_INPUTS = ("x", "x_train", "inputs", "features", "images")
_TARGETS = ("y", "y_train", "targets", "target", "labels", "label")
_COLUMNS = ("target", "label", "class", "y", "kind", "species", "price", "outcome")


def guessed(data: str, model: Any, target: str | None = None) -> Source:
    """Return what a config would say of some data.

    Args:
        data: A `.npz` or `.csv` file, a folder of images by class, or `module:function`.
        model: Tells the size of images, and whether it scales them itself.
        target: The column or array to predict; else it is guessed by its name, a column also as the last.

    Raises:
        DataError: There is no such data, it is of no known kind, or nothing in it can be guessed at.
    """
    require_data(data)
    try:
        return _guessed(data, model, target)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"a config cannot say what {data!r} is",
            received=f"{first['msg']}: {first['input']!r}",
            expected="names of letters, signs and digits that Unicode has",
            remedy="rename it",
        ) from None


def _guessed(data: str, model: Any, target: str | None) -> Source:
    path = Path(data)
    kind = kind_of(path)
    if kind is None:
        return FunctionData(function=data)
    if kind == "folder":
        return _images(model, path)
    if path.suffix == ".npz":
        return _npz(path, target)
    if path.suffix in _TABLES:
        return _csv(path, target)
    raise DataError(f"unsupported file type: {data!r}", expected=KINDS_EXPECTED)


def require_data(data: str | None) -> str:
    """Return the name of some data; raise where there is none, without looking into it.

    Raises:
        RunError: No data is named.
        DataError: There is no such file.
    """
    if data is None:
        raise RunError(
            "computing gradients needs data",
            expected=KINDS_EXPECTED,
            remedy="add --data data.npz, or give a run config in place of the model",
        )
    if kind_of(Path(data)) is None and not _names_function(data):
        raise DataError(
            f"there is no data {data!r}",
            expected=KINDS_EXPECTED,
            remedy=similar_files(Path(data), ".npz", *_TABLES),
        )
    return data


def arrays_in(path: Path) -> dict[str, Any]:
    """Read all arrays of a NumPy archive.

    Raises:
        DataError: It cannot be read.
    """
    with opened_arrays(path) as archive:
        return {name: archive.read(name) for name in archive.names}


def described(arrays: dict[str, Any]) -> str:
    """Say the names, shapes and dtypes of arrays."""
    return listed((f"{n} {shown_shape(a.shape)} {a.dtype}" for n, a in arrays.items()), most=8)


def layers_in(model: Any) -> list[Any]:
    """Return the innermost layers of a model."""
    found: list[Any] = []
    for layer in getattr(model, "layers", ()):
        found += layers_in(layer) or [layer]
    return found


def columns_in(path: Path) -> tuple[list[str], str]:
    """Return the names of the columns of a table, and what stands between two values."""
    with opened_table(path) as lines:
        text = next(lines, "").rstrip("\r\n")
        delimiter = max(",;\t|", key=text.count)
        names = next(csv.reader([text], delimiter=delimiter), [])
    return [name.strip() for name in names], delimiter


def _images(model: Any, path: Path) -> ImagesData:
    inputs = list(getattr(model, "inputs", None) or [])
    shape = tuple(inputs[0].shape[1:]) if len(inputs) == 1 else ()
    more: dict[str, Any] = {"size": [224, 224]} if len(shape) == 3 and None in shape else {}
    if not any(type(layer).__name__ in ("Rescaling", "Normalization") for layer in layers_in(model)):
        more["range"] = [0.0, 1.0]
    return ImagesData(images=str(path), **more)


def _npz(path: Path, target: str | None) -> NpzData:
    with opened_arrays(path) as archive:
        names = archive.names
    x, y = _key(names, _INPUTS), target or _key(names, _TARGETS)
    if x is None and y is not None and len(names) == 2:
        x = next((name for name in names if name != y), None)
    if x is None or y is None or x == y:
        raise DataError(
            f"it is not clear which arrays of {str(path)!r} are the input and the target",
            received=described(arrays_in(path)),
            remedy="name them x and y: np.savez('data.npz', x=x, y=y)",
        )
    return NpzData(npz=str(path), x=x, y=y)


def _csv(path: Path, target: str | None) -> CsvData:
    columns, delimiter = columns_in(path)
    guess = next((c for n in _COLUMNS for c in columns if c.lower() == n), columns[-1] if columns else "")
    if not (target or guess):
        raise DataError(
            f"it is not clear which column of {str(path)!r} is the target",
            received="a last column without a name" if columns else "a first line without names",
            remedy="give each column a name in the first line, the one to predict as the last",
        )
    return CsvData(csv=str(path), target=target or guess, delimiter=delimiter)


def _key(names: Iterable[str], wanted: tuple[str, ...]) -> str | None:
    every = list(names)
    return next((key for name in wanted for key in every if key.lower() == name), None)


def _names_function(data: str) -> bool:
    return ":" in data and Path(data).suffix not in (".npz", *_TABLES)
