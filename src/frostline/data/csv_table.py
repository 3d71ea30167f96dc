"""Data in a table: a text file of comma-separated values with a line of column names.

Read with Python's own csv module, which counts lines also where a quoted value has several; the values go
straight into flat arrays, so a table takes four bytes for each number and not the hundred of a Python object.
"""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frostline.data.ranges import misfit, most_exact
from frostline.data.samples import Samples, one_hot, require_samples
from frostline.data.sources import CsvData
from frostline.errors import DataError, listed, near
from frostline.files.limits import UnreadableError, shortened
from frostline.files.reading import lines_of, opened, require_utf8
from frostline.files.text import invisible_ends, is_plain, shown_invisible
from frostline.render.foreign import exact, warn


@dataclass(frozen=True, slots=True)
class CsvColumns:
    """Which columns of a table are what, by their number."""

    names: tuple[str, ...]
    features: tuple[int, ...]
    target: tuple[int, ...]
    weight: int | None
    named: bool = True
    """Whether the first line has the names, and is not a sample."""


def check_csv(path: Path, source: CsvData) -> CsvColumns:
    """Find the columns that a config names; reads the first line only.

    Raises:
        DataError: The file cannot be read, has no such column, or seems to have no line of names.
    """
    with _opened(path, source) as rows:
        first = [name.strip() for name in next(rows, [])]
    if not first:
        raise DataError(
            f"{str(path)!r} is empty", expected="a line of column names, then one line per sample"
        )
    named = source.header is not False
    names = _names(path, source, first) if named else tuple(str(place + 1) for place in range(len(first)))
    targets = [source.target] if isinstance(source.target, str) else list(source.target)
    number = {name: n for n, name in enumerate(names)}

    def numbers(wanted: Sequence[str]) -> tuple[int, ...]:
        for name in wanted:
            if name not in number:
                raise _no_column(path, source, name, names)
        return tuple(number[name] for name in wanted)

    others = [n for n in names if n not in (*targets, source.sample_weight)]
    weight = numbers([source.sample_weight])[0] if source.sample_weight else None
    columns = CsvColumns(names, numbers(source.features or others), numbers(targets), weight, named)
    _require_named(path, columns)
    twice = [names[n] for n in columns.features if n in (*columns.target, columns.weight)]
    if twice:
        raise DataError(f"{listed(twice)} of {str(path)!r} cannot be a feature and the target at once")
    if not columns.features:
        raise DataError(f"{str(path)!r} has no columns beside the target", received=listed(map(exact, names)))
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

    Warns where whole numbers are rounded by the dtype, or leading zeros are lost, as those of ids are.

    Raises:
        DataError: A line has too few or too many values, or a value is not a number or does not fit the
            dtype; says the line.
    """
    columns = check_csv(path, source)
    features, weights, rows = array("d"), array("d"), array("q")
    targets: list[list[str]] = []
    width, chosen = len(columns.names), columns.features
    ids = _Ids(path, columns)
    with _opened(path, source) as lines:
        if columns.named:
            next(lines)
        for row in lines:
            if not row:
                continue
            if len(row) != width:
                raise _ragged(path, lines.line_num, row, columns.names)
            rows.append(lines.line_num)
            numbers = [_number(row[n], path, lines.line_num, columns.names[n]) for n in chosen]
            features.extend(numbers)
            ids.look(row)
            targets.append([row[n].strip() for n in columns.target])
            if columns.weight is not None:
                name = columns.names[columns.weight]
                weights.append(_number(row[columns.weight], path, lines.line_num, name))
    y, classes = _targets(path, source, columns, targets, rows)
    x = np.frombuffer(features).reshape(len(rows), len(chosen)) if rows else np.empty(0)
    _require_fitting(path, x, dtype, [columns.names[n] for n in chosen], rows)
    weight = np.array(weights)
    _require_fitting(path, weight, "float32", [source.sample_weight or ""], rows)
    ids.warn(x, dtype)
    return require_samples(
        Samples(
            x=x.astype(dtype),
            y=y,
            weight=weight.astype("float32") if columns.weight is not None else None,
            classes=classes,
            source=str(path),
            rows=np.array(rows),
            row_noun="line",
            about=_about(columns, classes),
        )
    )


def _names(path: Path, source: CsvData, first: Sequence[str]) -> tuple[str, ...]:
    """Return the names in the first line; refuse one that looks like the first sample."""
    numbers = [name for name in first if _is_number(name)]
    if numbers and source.header is not True:
        raise DataError(
            f"{str(path)!r}, line 1: this looks like a sample, and not like the names of columns",
            received=listed(map(exact, first), most=8),
            expected="a line of column names, then one line per sample",
            remedy="if the table has no names, add header: false, which names the columns '1', '2' and so "
            "on; if these are names, add header: true",
        )
    times = Counter(first)
    for name in first:
        if (hidden := invisible_ends(name)) and source.header is not True:
            raise DataError(
                f"{str(path)!r}, line 1: the name {_visible(name)!r} has invisible characters at its ends",
                received=shown_invisible(hidden),
                remedy="take them out; they come where files are put together or copied from web pages",
            )
        if name and times[name] > 1:
            raise DataError(
                f"{str(path)!r}, line 1: the column {name!r} stands twice",
                received=listed(map(exact, first), most=8),
            )
    return tuple(first)


def _require_named(path: Path, columns: CsvColumns) -> None:
    """Refuse a column without a name as a feature: pandas writes its row numbers so."""
    for place in columns.features:
        if not columns.names[place]:
            raise DataError(
                f"{str(path)!r}, line 1: column {place + 1} has no name, so it is not clear what it holds",
                received=listed((exact(name) or "''" for name in columns.names), most=8),
                expected="a name for each column; pandas writes row numbers without one",
                remedy="give it a name, write the table with index=False, or name the columns to use under "
                "data: features:",
            )


def _about(columns: CsvColumns, classes: Sequence[str]) -> tuple[str, ...]:
    """Say what was assumed of a table."""
    features = listed((columns.names[n] for n in columns.features), most=8)
    target = listed((columns.names[n] for n in columns.target), most=8)
    kind = f"labels ({listed(map(exact, classes), most=8)})" if classes else "numbers"
    head = (
        "line 1 has the names of the columns"
        if columns.named
        else "line 1 is a sample, as header: false says"
    )
    weight = f"; weights {columns.names[columns.weight]}" if columns.weight is not None else ""
    return (f"{head}; target {target}, read as {kind}; features {features}{weight}",)


class _Ids:
    """Notices columns that seem to hold ids, whose digits are lost where they are read as numbers.

    Args:
        path: The file.
        columns: Its columns; those of features are looked at.
    """

    def __init__(self, path: Path, columns: CsvColumns) -> None:
        self._path, self._columns = path, columns
        self._padded: dict[int, str] = {}

    def look(self, row: Sequence[str]) -> None:
        """Look at a line for numbers that begin with a zero before other digits."""
        for place in self._columns.features:
            text = row[place]
            if text[:1] == "0" and text[1:2].isdigit():
                self._padded.setdefault(place, text.strip())

    def warn(self, x: Any, dtype: str) -> None:
        """Say what was lost."""
        for place, text in self._padded.items():
            self._say(place, f"such as {text}, with zeros before it, which are lost")
        if "float" not in dtype or not x.size:
            return
        most = most_exact(dtype)
        for number, place in enumerate(self._columns.features):
            column = x[:, number]
            large = column[(np.abs(column) > most) & (np.floor(column) == column)]
            lost = large[large.astype(dtype).astype("float64") != large]
            if lost.size:
                self._say(
                    place,
                    f"such as {int(lost[0])}, which {dtype} rounds to {int(np.asarray(lost[0], dtype))}",
                )

    def _say(self, place: int, what: str) -> None:
        name = self._columns.names[place]
        warn(
            f"the column {name!r} of {str(self._path)!r} holds numbers {what}; if they are ids and not "
            "quantities, leave the column out by naming the others under data: features:",
            stacklevel=2,
        )


def _require_fitting(path: Path, values: Any, dtype: str, names: Sequence[str], lines: Sequence[int]) -> None:
    """Refuse a number that becomes another one in the dtype that the model takes."""
    if (found := misfit(values, dtype)) is None:
        return
    (place, why), width = found, len(names)
    raise DataError(
        f"{str(path)!r}, line {lines[place // width]}: the column {names[place % width]!r} holds a number "
        f"that does not fit {dtype}",
        received=f"{values.reshape(-1)[place]:g}",
        expected=why,
        remedy="scale the column, or leave it out by naming the others under data: features:",
    )


def _visible(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


@contextmanager
def opened_table(path: Path) -> Iterator[Iterator[str]]:
    """Give the lines of a table as text, with their ends.

    Raises:
        DataError: It cannot be read, is not text in UTF-8, has a line without an end, or is not a table.
    """
    try:
        with opened(path, DataError, "table") as stream:
            require_utf8(stream.read(4096), path, DataError)
            stream.seek(0)
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
            try:
                yield lines_of(text)
            finally:
                # Or it would close the file once more.
                text.detach()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{str(path)!r} is not text in UTF-8", received=f"byte {error.object[error.start]:#04x}"
        ) from None
    except (csv.Error, UnreadableError) as error:
        raise DataError(f"{str(path)!r} is not a table of comma-separated values: {error}") from None


class _Rows:
    """The rows of a table, whose reader's complaints name the line that a row begins in.

    Attributes:
        line_num: The line that was read last.
    """

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    @property
    def line_num(self) -> int:
        return int(self._reader.line_num)

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        begin = self.line_num + 1
        try:
            return list(next(self._reader))
        except csv.Error as error:
            said = str(error)
            if "unexpected end of data" in said:
                said = "a quote opens there and is never closed"
            elif "field larger than" in said:
                most = f"{csv.field_size_limit():,}"
                said = (
                    f"a value of more than {most} characters; perhaps a quote opens there and is never closed"
                )
            raise csv.Error(f"line {begin}: {said}") from None


@contextmanager
def _opened(path: Path, source: CsvData) -> Iterator[Any]:
    with opened_table(path) as lines:
        yield _Rows(csv.reader(lines, delimiter=source.delimiter, strict=True))


def _number(text: str, path: Path, line: int, column: str) -> float:
    try:
        value = _plain_float(text)
        if math.isfinite(value):
            return value
    except ValueError:
        pass
    raise DataError(
        f"{str(path)!r}, line {line}: the column {column!r} holds no finite number",
        received=shortened(text) if text.strip() else "an empty value",
        expected="digits with a point: 1234.5" if _grouped(text) else None,
        remedy="write numbers with a point and without signs between thousands"
        if _grouped(text)
        else "leave the line out, fill the value in, or name the columns to use under data: features:",
    )


def _plain_float(text: str) -> float:
    if not is_plain(text):
        raise ValueError(text)
    return float(text)


def _grouped(text: str) -> bool:
    """Whether a text is a number with a decimal comma, or with signs between its thousands."""
    bare = text.strip().lstrip("+-")
    return bare[:1].isdigit() and bare[-1:].isdigit() and not set(bare) - set("0123456789.,'_ \u00a0\u202f")


def _ragged(path: Path, line: int, row: Sequence[str], names: Sequence[str]) -> DataError:
    many = "many" if len(row) > len(names) else "few"
    return DataError(
        f"{str(path)!r}, line {line} has too {many} values",
        received=f"{len(row)} values: {listed(map(exact, row), most=8)}",
        expected=f"{len(names)} values: {listed(map(exact, names), most=8)}",
        remedy="put text that holds the delimiter in double quotes" if many == "many" else None,
    )


def _no_column(path: Path, source: CsvData, name: str, names: Sequence[str]) -> DataError:
    close = near(name, names)
    remedy = f"did you mean {listed(close)}?" if close else None
    other = [sign for sign in (";", "\t", ",", "|") if sign != source.delimiter and sign in names[0]]
    if len(names) == 1 and other:
        remedy = f'say what stands between two values: delimiter: "{other[0]}"'.replace("\t", "\\t")
    return DataError(
        f"{str(path)!r} has no column {name!r}",
        received=f"it has {listed(map(exact, names), most=8)}",
        remedy=remedy,
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
    y = np.array(values, "float64").reshape(len(values), len(columns.target))
    _require_fitting(path, y, "float32", [columns.names[n] for n in columns.target], lines)
    y = y.astype("float32")
    return (y[:, 0] if single else y), ()


def _labels(
    path: Path, source: CsvData, column: str, labels: list[str], lines: Sequence[int]
) -> tuple[Any, tuple[str, ...]]:
    classes = tuple(source.classes or sorted(set(labels)))
    if source.classes is None:
        _require_told_apart(path, column, classes)
    number = {label: n for n, label in enumerate(classes)}
    for label, line in zip(labels, lines, strict=True):
        if not label or label not in number:
            close = near(label, classes, most=1)
            raise DataError(
                f"{str(path)!r}, line {line}: the column {column!r} holds an unknown label",
                received=shortened(label) if label else "an empty value",
                expected=f"one of {listed(map(exact, classes), most=8)}" if label else "a label",
                remedy=f"did you mean {close[0]!r}?" if close and label else None,
            )
    y = np.array([number[label] for label in labels], "int32")
    return (one_hot(y, len(classes)) if source.labels == "one_hot" else y), classes


def _require_told_apart(path: Path, column: str, classes: Iterable[str]) -> None:
    """Refuse labels that look the same and are not: by invisible characters, or written in two ways."""
    seen: dict[str, str] = {}
    for label in classes:
        hidden = invisible_ends(label)
        plain = unicodedata.normalize("NFKC", label.replace(hidden, "") if hidden else label)
        other = seen.setdefault(plain, label)
        if hidden or other != label:
            raise DataError(
                f"{str(path)!r}: the column {column!r} has labels "
                + ("that look the same and are not" if other != label else "with invisible characters"),
                received=f"{_visible(other)!r} and {_visible(label)!r}"
                if other != label
                else f"{_visible(label)!r}, with {shown_invisible(hidden)} at its ends",
                remedy="write each label in one way",
            )


def _is_number(text: str) -> bool:
    try:
        _plain_float(text)
    except ValueError:
        return False
    return True
