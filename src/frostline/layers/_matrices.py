"""Matrices given as arrays, or as the path of a `.npy` or safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from frostline.errors import LayerError, MatrixFileError, listed, near
from frostline.files.array_file import mapped_npy
from frostline.files.limits import UnreadableError
from frostline.files.reading import kind_of, opened, size_of
from frostline.files.similar import similar_files
from frostline.files.tensor_file import opened_tensors
from frostline.layers._values import Array, real_array, require_finite

TEXT = (".txt", ".vec")
"""Endings of the names of word-vector files."""

FILES = (".npy", ".safetensors", *TEXT)


def read_matrix(matrix: Any, *, tensor: str | None = None) -> Array:
    """Return a matrix of finite real numbers.

    Args:
        matrix: An array, or the path of a `.npy` or `.safetensors` file.
        tensor: Name of the tensor in a safetensors file that holds several.

    Returns:
        An array of two axes. That of a `.npy` file is read from the disk as it is used.

    Raises:
        LayerError: The array is not such a matrix.
        MatrixFileError: The file cannot be read, or does not hold one.
    """
    expected = "a matrix: two axes, real numbers, at least one row and one column"
    if not isinstance(matrix, str | Path):
        array = real_array(matrix, what="the matrix", expected=expected)
        if array.ndim != 2 or array.size == 0:
            raise LayerError("this is not a matrix", received=f"shape {array.shape}", expected=expected)
        return array
    path = Path(matrix)
    require_file(path)
    array = _npy(path) if path.suffix == ".npy" else _safetensors(path, tensor)
    if array.dtype.name == "bfloat16":
        array = array.astype("float32")
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "fiu":
        raise MatrixFileError(
            f"{str(path)!r} holds no matrix",
            received=f"shape {array.shape}, dtype {array.dtype}",
            expected=expected,
        )
    require_finite(array, what=repr(str(path)), error=MatrixFileError)
    return array


def require_file(path: Path) -> None:
    """Refuse a path that is not a file, or of a kind that is not read."""
    if path.suffix not in FILES:
        raise MatrixFileError(
            f"{str(path)!r} has an unsupported file type",
            received=f"the ending {path.suffix!r}",
            expected=f"one of {', '.join(FILES)}",
            remedy="unpack it, or save its matrix with numpy.save('matrix.npy', matrix)",
        )
    if kind_of(path) is None:
        raise MatrixFileError(f"there is no file {str(path)!r}", remedy=similar_files(path, path.suffix))


def _npy(path: Path) -> Array:
    try:
        with opened(path, MatrixFileError, "file") as stream:
            return mapped_npy(stream)
    except UnreadableError as problem:
        raise _unreadable(path, problem, "a file that numpy.save wrote, without Python objects") from None


def _safetensors(path: Path, tensor: str | None) -> Array:
    try:
        with opened_tensors(path, MatrixFileError, "file") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            return np.asarray(file.get_tensor(_tensor(path, shapes, tensor)))
    except UnreadableError as problem:
        raise _unreadable(path, problem, "a whole safetensors file") from None


def _unreadable(path: Path, problem: UnreadableError, expected: str) -> MatrixFileError:
    return MatrixFileError(
        f"{str(path)!r} cannot be read", received=f"{size_of(path):,} bytes; {problem}", expected=expected
    )


def _tensor(path: Path, shapes: dict[str, tuple[int, ...]], asked: str | None) -> str:
    """Return the name of the tensor asked for, or of the only matrix."""
    if asked is not None and asked in shapes:
        return asked
    matrices = [name for name, shape in shapes.items() if len(shape) == 2]
    if asked is None and len(matrices) == 1:
        return matrices[0]
    close = near(asked, shapes) if asked is not None else matrices
    raise MatrixFileError(
        f"{str(path)!r} has no tensor {asked!r}"
        if asked is not None
        else f"{str(path)!r} holds {len(matrices)} matrices, not one",
        received=f"tensors: {listed(f'{name} {shape}' for name, shape in shapes.items())}"
        if shapes
        else None,
        remedy=f"write tensor={close[0]!r}" if close else None,
    )
