"""Loads what a config names as data, whatever its source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from frostline._keras.variables import to_numpy
from frostline.data.csv_table import check_csv, load_csv
from frostline.data.image_folder import load_images
from frostline.data.npz import load_npz, native
from frostline.data.samples import Samples, Stream, mapped, require_samples
from frostline.data.sources import CsvData, FunctionData, ImagesData, NpzData, Source
from frostline.errors import DataError, ModelFileError
from frostline.files.reading import kind_of, opened
from frostline.model.user_code import called, find_function
from frostline.runs.config import RunConfig

_PARTS = ("x", "y", "sample_weight")
_PART = 4 << 20


def load_data(config: RunConfig, model: Any) -> tuple[Samples | Stream, Samples | Stream | None]:
    """Load the data of a run and, where there is some, that of its validation.

    Args:
        config: Names them.
        model: Its input says how large images are and whether features are whole numbers.

    Raises:
        DataError: They cannot be read, or do not fit one another; says the file and where in it.
    """
    train = _loaded(config, config.data.data, "data", model)
    fraction = config.data.validation
    if isinstance(fraction, float):
        if isinstance(train, Stream):
            raise config.document.error(
                ("validation",),
                "data that comes in batches cannot be split by a fraction",
                received=train.source,
                remedy="name a second function: validation: {function: module:function}",
            )
        return train.split(fraction, config.data.seed)
    source = config.validation
    if source is None:
        return train, None
    classes = train.classes if isinstance(train, Samples) else ()
    if classes and isinstance(source, CsvData | ImagesData) and source.classes is None:
        # A second file may lack a class; its labels must have the same numbers all the same.
        source = source.model_copy(update={"classes": list(classes)})
    if isinstance(source, CsvData) and source.features is None:
        source = _with_features_of(config, source)
    return train, _loaded(config, source, "validation", model)


def _with_features_of(config: RunConfig, source: CsvData) -> CsvData:
    """Return a second table with the features of the first: its columns may stand in another order."""
    first = config.data.data
    if not isinstance(first, CsvData) or source.header is False:
        return source
    columns = check_csv(config.file(first.csv), first)
    return source.model_copy(update={"features": [columns.names[n] for n in columns.features]})


def _loaded(config: RunConfig, source: Source, key: str, model: Any) -> Samples | Stream:
    def load() -> Samples | Stream:
        return load_source(source, model, config.folder, config.file)

    # What is wrong in a file has a line of its own.
    return config.document.made(load, (key, "function")) if isinstance(source, FunctionData) else load()


def digest_file(path: Path) -> str:
    """Return the BLAKE3 digest of a file, or of the names and sizes of the files in a folder."""
    hasher = blake3()
    if kind_of(path) == "folder":
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            line = f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\n"
            # A name need not be UTF-8: then it counts as the bytes that it is.
            hasher.update(line.encode("utf-8", "surrogateescape"))
    else:
        with opened(path, DataError, "data") as stream:
            while part := stream.read(_PART):
                hasher.update(part)
    return f"blake3:{hasher.hexdigest()}"


def load_source(
    source: Source, model: Any, folder: Path, file: Callable[[str], Path] = Path
) -> Samples | Stream:
    """Load what one source holds.

    Args:
        source: What a config says of it.
        model: Its input says how large images are and whether features are whole numbers.
        folder: Where modules are looked for.
        file: Returns the path of a file that the source names.

    Raises:
        DataError: It cannot be read.
        ModelFileError: There is no such function, or it fails.
    """
    if isinstance(source, FunctionData):
        return _from_function(source, folder)
    if isinstance(source, NpzData):
        return load_npz(file(source.npz), source)
    if isinstance(source, CsvData):
        return load_csv(file(source.csv), source, dtype=_input_dtype(model))
    return load_images(file(source.images), source, _input_shape(model))


def _from_function(source: FunctionData, folder: Path) -> Samples | Stream:
    name = source.function
    function = find_function(name, folder, wanted="module:function")
    found = called(function, name, **source.arguments)
    if isinstance(found, dict) and "x" in found and set(found) <= set(_PARTS):
        parts = [found.get(part) for part in _PARTS]
    elif isinstance(found, tuple) and len(found) in (2, 3):
        parts = [*found, None][:3]
    elif hasattr(found, "__iter__") and not isinstance(found, dict | list | tuple | str | np.ndarray):
        return Stream(found, name)
    else:
        raise ModelFileError(
            f"{name} did not return data",
            received=_described(found),
            expected="(x, y), (x, y, sample_weight), {'x': ..., 'y': ...}, a tf.data.Dataset, a PyDataset, "
            "a DataLoader or another iterable of batches",
        )
    x, y, weight = (None if part is None else mapped(part, _array(name)) for part in parts)
    return require_samples(Samples(x, y, weight, source=f"what {name} returned"))


def _described(found: Any) -> str:
    if isinstance(found, dict):
        return f"a mapping with {', '.join(map(str, found)) or 'no keys'}"
    kind = type(found).__name__
    return f"a {kind} of {len(found)}" if isinstance(found, list | tuple) else f"an object of type {kind}"


def _array(name: str) -> Any:
    import keras

    def convert(value: Any) -> Any:
        tensor = keras.ops.is_tensor(value)
        try:
            array = to_numpy(value) if tensor else np.asarray(value)
        except ValueError as error:
            raise DataError(
                f"what {name} returned is not an array", received=str(error), expected="an array of numbers"
            ) from None
        return native(array)

    return convert


def _inputs(model: Any) -> list[Any]:
    return list(getattr(model, "inputs", None) or [])


def _input_dtype(model: Any) -> str:
    import keras

    kinds = {str(tensor.dtype) for tensor in _inputs(model)}
    return kinds.pop() if len(kinds) == 1 and "int" in next(iter(kinds)) else str(keras.config.floatx())


def _input_shape(model: Any) -> tuple[int | None, ...]:
    inputs = _inputs(model)
    return tuple(inputs[0].shape[1:]) if len(inputs) == 1 else (None, None, 3)
