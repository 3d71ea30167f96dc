"""Data in a table: a text file of comma-separated values with a line of column names.

Read with Python's own csv module, which counts lines also where a quoted value has several; the values go
straight into flat arrays, so a table takes four bytes for each number and not the hundred of a Python object.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frostline.data.samples import Samples, one_hot, require_samples
from frostline.data.sources import CsvData
from frostline.errors import DataError, listed, near


@dataclass(frozen=True, slots=True)
class CsvColumns:
    """Which columns of a table are what, by their number."""

    names: tuple[str, ...]
    features: tuple[int, ...]
    target: tuple[int, ...]
    weight: int | None


def check_csv(path: Path, source: CsvData) -> CsvColumns:
    """Find the columns that a config names; reads the first line only.

    Raises:
        DataError: The file cannot be read, or has no such column.
    """
    with _opened(path, source) as rows:
        names = tuple(name.strip() for name in next(rows, []))
    if not names:
        raise DataError(
            f"{str(path)!r} is empty", expected="a line of column names, then one line per sample"
        )
    for name in names:
        if names.count(name) > 1:
            raise DataError(
                f"{str(path)!r}, line 1: the column {name!r} stands twice", received=listed(names, most=8)
            )
    targets = [source.target] if isinstance(source.target, str) else list(source.target)
    number = {name: n for n, name in enumerate(names)}

    def numbers(wanted: Sequence[str]) -> tuple[int, ...]:
        for name in wanted:
            if name not in number:
                raise _no_column(path, source, name, names)
        return tuple(number[name] for name in wanted)

    others = [n for n in names if n not in (*targets, source.sample_weight)]
    weight = numbers([source.sample_weight])[0] if source.sample_weight else None
    columns = CsvColumns(names, numbers(source.features or others), numbers(targets), weight)
    twice = [names[n] for n in columns.features if n in (*columns.target, columns.weight)]
    if twice:
        raise DataError(f"{listed(twice)} of {str(path)!r} cannot be a feature and the target at once")
    if not columns.features:
        raise DataError(f"{str(path)!r} has no columns beside the target", received=listed(names))
    return columns


def load_csv(path: Path, source: CsvData, *, dtype: str = "float32") -> Samples:
    """Read a table.

    A target whose values are text holds labels: `y` then has their numbers, of shape `(samples,)` and int32,
    or with `labels: one_hot` rows of zeros and a single 1. A target of numbers has the shape `(samples,)`,
    several targets `(samples, targets)`, float32.

    Args:
        path: The file.
        source: What the config says of it; its `classes` settle the numbers of the labels.
        dtype: Of the features, which have the shape `(samples, features)`.

    Raises:
        DataError: A line has too few or too many values, or a value is not a number; says the line.
    """
    columns = check_csv(path, source)
    features, weights, rows = array("d"), array("d"), array("q")
    targets: list[list[str]] = []
    width, chosen = len(columns.names), columns.features
    with _opened(path, source) as lines:
        next(lines)
        for row in lines:
            if not row:
                continue
            if len(row) != width:
                raise _ragged(path, lines.line_num, row, columns.names)
            rows.append(lines.line_num)
            numbers = [_number(row[n], path, lines.line_num, columns.names[n]) for n in chosen]
            features.extend(numbers)
            targets.append([row[n].strip() for n in columns.target])
            if columns.weight is not None:
                name = columns.names[columns.weight]
                weights.append(_number(row[columns.weight], path, lines.line_num, name))
    y, classes = _targets(path, source, columns, targets, rows)
    return require_samples(
        Samples(
            x=np.frombuffer(features).reshape(len(rows), len(chosen)).astype(dtype) if rows else np.empty(0),
            y=y,
            weight=np.array(weights, "float32") if columns.weight is not None else None,
            classes=classes,
            source=str(path),
            rows=np.array(rows),
        )
    )


@contextmanager
def _opened(path: Path, source: CsvData) -> Iterator[Any]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield csv.reader(stream, delimiter=source.delimiter, strict=True)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{str(path)!r} is not text in UTF-8", received=f"byte {error.object[error.start]:#04x}"
        ) from None
    except csv.Error as error:
        raise DataError(f"{str(path)!r} is not a table of comma-separated values: {error}") from None
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror}") from None


def _number(text: str, path: Path, line: int, column: str) -> float:
    try:
        value = float(text)
        if math.isfinite(value):
            return value
    except ValueError:
        pass
    raise DataError(
        f"{str(path)!r}, line {line}: the column {column!r} holds no finite number",
        received=repr(text) if text.strip() else "an empty value",
        remedy="leave the line out, fill the value in, or name the columns to use under data: features:",
    )


def _ragged(path: Path, line: int, row: Sequence[str], names: Sequence[str]) -> DataError:
    many = "many" if len(row) > len(names) else "few"
    return DataError(
        f"{str(path)!r}, line {line} has too {many} values",
        received=f"{len(row)} values: {listed(row, most=8)}",
        expected=f"{len(names)} values: {listed(names, most=8)}",
        remedy="put text that holds the delimiter in double quotes" if many == "many" else None,
    )


def _no_column(path: Path, source: CsvData, name: str, names: Sequence[str]) -> DataError:
    close = near(name, names)
    remedy = f"did you mean {listed(close)}?" if close else None
    other = [sign for sign in (";", "\t", ",", "|") if sign != source.delimiter and sign in names[0]]
    if len(names) == 1 and other:
        remedy = f'say what stands between two values: delimiter: "{other[0]}"'.replace("\t", "\\t")
    return DataError(
        f"{str(path)!r} has no column {name!r}", received=f"it has {listed(names, most=8)}", remedy=remedy
    )


def _targets(
    path: Path, source: CsvData, columns: CsvColumns, targets: list[list[str]], lines: Sequence[int]
) -> tuple[Any, tuple[str, ...]]:
    single = len(columns.target) == 1
    name = columns.names[columns.target[0]]
    if single and targets and (source.classes is not None or not any(_is_number(t[0]) for t in targets)):
        return _labels(path, source, name, [t[0] for t in targets], lines)
    values = [
        [_number(text, path, line, columns.names[n]) for text, n in zip(row, columns.target, strict=True)]
        for row, line in zip(targets, lines, strict=True)
    ]
    y = np.array(values, "float32").reshape(len(values), len(columns.target))
    return (y[:, 0] if single else y), ()


def _labels(
    path: Path, source: CsvData, column: str, labels: list[str], lines: Sequence[int]
) -> tuple[Any, tuple[str, ...]]:
    classes = tuple(source.classes or sorted(set(labels)))
    number = {label: n for n, label in enumerate(classes)}
    for label, line in zip(labels, lines, strict=True):
        if not label or label not in number:
            close = near(label, classes, most=1)
            raise DataError(
                f"{str(path)!r}, line {line}: the column {column!r} holds an unknown label",
                received=repr(label) if label else "an empty value",
                expected=f"one of {listed(classes, most=8)}" if label else "a label",
                remedy=f"did you mean {close[0]!r}?" if close and label else None,
            )
    y = np.array([number[label] for label in labels], "int32")
    return (one_hot(y, len(classes)) if source.labels == "one_hot" else y), classes


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
