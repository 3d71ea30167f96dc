"""Word vectors in text files, as GloVe, word2vec and fastText publish them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from frostline.errors import LayerError, MatrixFileError, listed
from frostline.files.limits import UnreadableError, shortened
from frostline.files.reading import lines_of, opened, require_utf8
from frostline.files.text import is_plain, without_mark
from frostline.layers._matrices import require_file

_BLANKS = re.compile(r"[ \t]+")
_HEADER = re.compile(rb"^\s*(\d+)[ \t]+(\d+)\s*$")
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class WordVectors:
    """Words, and a vector for each.

    Attributes:
        words: The words, one for each row.
        matrix: float32 of shape (words, dimension).
        missing: Rows of words that the file does not have, all zeros; only where a vocabulary was given.
    """

    words: tuple[str, ...]
    matrix: npt.NDArray[np.float32]
    missing: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.words)


def read_word_vectors(path: str | Path, vocabulary: Sequence[str] | None = None) -> WordVectors:
    r"""Read word vectors from a text file: on each line a word and its numbers, with blanks between.

    A first line `count dimension`, as word2vec and fastText write it, is compared with what follows. Words
    may have blanks in them, as some of GloVe do. The numbers go into one float32 array, line by line. A byte
    order mark at the beginning of the file is not part of the first word.

    Args:
        path: A `.txt` or `.vec` file in UTF-8.
        vocabulary: The words to read, in the order of the rows, such as
            `keras.layers.StringLookup.get_vocabulary()`; by default all, in the order of the file.

    Returns:
        `WordVectors`.

    Raises:
        MatrixFileError: A line has too many numbers or too few, something that is not a number, or a word
            that stood before; the message names file and line. Or the file is not there, is empty, ends
            early, or is in another encoding.
        LayerError: The vocabulary has a word twice, or begins with a byte order mark.

    Source:
        Formats: Pennington, Socher and Manning, "GloVe", EMNLP 2014; Mikolov, Chen, Corrado and Dean,
            "Efficient Estimation of Word Representations in Vector Space", 2013.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("tiny.txt").write_text("the 0.5 1.0\nsea 0.0 -2.0\n")
        >>> vectors = read_word_vectors("tiny.txt", vocabulary=["sea", "foam"])
        >>> vectors.matrix.tolist(), vectors.missing
        ([[0.0, -2.0], [0.0, 0.0]], (1,))
    """
    path = Path(path)
    require_file(path)
    rows = _rows_of(vocabulary)
    with _opened(path) as file:
        layout = _layout(path, file)
        matrix = _room(path, layout.rows if rows is None else len(rows), layout.dimension)
        words: dict[str, int] = {}
        for line, word, fields in _lines(path, file, layout):
            row = len(words) if rows is None else rows.get(word)
            if row is None:
                continue
            if word in words:
                shown = shortened(word, 60)
                raise MatrixFileError(
                    f"{str(path)!r}, line {line}: the word {shown} stands on line {words[word]} already",
                    expected="each word once",
                )
            words[word] = line
            matrix[row] = _numbers(path, line, fields)
    if rows is None:
        return WordVectors(tuple(words), matrix)
    return WordVectors(tuple(rows), matrix, tuple(row for word, row in rows.items() if word not in words))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with opened(path, MatrixFileError, "file of word vectors") as file:
            yield file
    except UnreadableError as problem:
        raise MatrixFileError(
            f"{str(path)!r} has no word vectors",
            received=str(problem),
            expected="a word and its numbers on each line",
        ) from None


def _rows_of(vocabulary: Sequence[str] | None) -> dict[str, int] | None:
    if vocabulary is None:
        return None
    if len(vocabulary) and str(vocabulary[0]).startswith("\ufeff"):
        raise LayerError(
            "the first word of the vocabulary begins with a byte order mark",
            received=ascii(str(vocabulary[0])),
            expected="words as they stand in the file of vectors",
            remedy="read the file of the vocabulary with encoding='utf-8-sig'",
        )
    rows = {str(word): row for row, word in enumerate(vocabulary)}
    if len(rows) == len(vocabulary) and rows:
        return rows
    twice = [word for word, count in Counter(map(str, vocabulary)).items() if count > 1]
    raise LayerError(
        "the vocabulary has words more than once" if rows else "the vocabulary is empty",
        received=listed(map(repr, twice)) if rows else None,
        expected="the word of each row, each once",
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the first lines of a file say about the rest."""

    first: int
    """The line of the first word, from 1."""
    count: int
    dimension: int
    size: int
    """Of the file, in bytes."""

    @property
    def rows(self) -> int:
        """How many vectors may be read before a line turns out to be too short.

        Each number takes two bytes at least, a digit and a blank; room is made for what is there.
        """
        return min(self.count, self.size // (2 * self.dimension))


def _room(path: Path, rows: int, dimension: int) -> npt.NDArray[np.float32]:
    try:
        return np.zeros((rows, dimension), "float32")
    except (MemoryError, ValueError):  # NumPy's, for more than memory has, or than it can count
        raise MatrixFileError(
            f"the vectors of {str(path)!r} do not fit into memory",
            received=f"{rows:,} words of {dimension:,} numbers",
        ) from None


def _layout(path: Path, file: BinaryIO) -> _Layout:
    beginning = lines_of(file)
    first, second = without_mark(next(beginning, b"")), next(beginning, b"")
    require_utf8(first, path, MatrixFileError)
    header, size = _HEADER.match(first), os.fstat(file.fileno()).st_size
    file.seek(0)
    lines = _count_lines(file)
    file.seek(0)
    if not first.strip():
        raise MatrixFileError(
            f"{str(path)!r} has no word vectors",
            received="an empty first line" if lines else "an empty file",
            expected="a word and its numbers on each line",
        )
    # `7 3` may be the vector of the word `7`: a header is followed by lines that fit it, or by longer ones.
    if header is None or (len(second.split()) == 2 and header[2].lstrip(b"0") != b"1"):
        return _Layout(1, lines, _dimension(path, first), size)
    # Of more digits than any file has bytes, they are not numbers that anything has.
    count, dimension = (int(number[:20]) for number in header.groups())
    if count != lines - 1 or dimension < 1:
        raise MatrixFileError(
            f"{str(path)!r} does not hold what its first line says",
            received=f"{lines - 1:,} lines after it",
            expected=f"{count:,} vectors of {dimension} numbers",
            remedy="get or unpack the file again: it seems cut off" if count > lines - 1 else None,
        )
    if 2 * count * dimension > size:
        raise MatrixFileError(
            f"{str(path)!r} does not hold what its first line says",
            received=f"{size:,} bytes",
            expected=f"{count:,} vectors of {dimension} numbers, of two bytes each at least",
            remedy="get or unpack the file again: it seems cut off",
        )
    return _Layout(2, count, dimension, size)


def _dimension(path: Path, first: bytes) -> int:
    dimension = len(first.split()) - 1
    if dimension < 1:
        raise MatrixFileError(
            f"{str(path)!r}, line 1: a word without numbers",
            received=_shown(first),
            expected="a word and its numbers on each line",
        )
    return dimension


def _count_lines(file: BinaryIO) -> int:
    """Count the lines, empty ones at the end left out."""
    count, end = 0, 0
    for number, line in enumerate(lines_of(file), 1):
        count = number
        if line.strip():
            end = number
    return min(count, end)


def _lines(path: Path, file: BinaryIO, layout: _Layout) -> Iterator[tuple[int, str, list[str]]]:
    """Yield the number of each line, its word, and its numbers as text."""
    for line, raw in enumerate(lines_of(file), 1):
        if line < layout.first:
            continue
        if line >= layout.first + layout.count:
            return
        try:
            text = (without_mark(raw) if line == 1 else raw).decode("utf-8").strip(" \t\r\n")
        except UnicodeDecodeError as error:
            raise MatrixFileError(
                f"{str(path)!r}, line {line}: this is not text in UTF-8",
                received=f"byte {error.object[error.start]:#04x}",
            ) from None
        if "\t" in text or "  " in text:
            text = _BLANKS.sub(" ", text)
        word, *fields = text.rsplit(" ", layout.dimension)
        if len(fields) != layout.dimension or _ends_in_number(word):
            found = len(text.split(" ")) - 1
            raise MatrixFileError(
                f"{str(path)!r}, line {line}: a word and {max(found, 0)} numbers, where others have "
                f"{layout.dimension}",
                received=_shown(raw),
                expected=f"a word and {layout.dimension} numbers",
            )
        yield line, word, fields


def _ends_in_number(word: str) -> bool:
    """Whether a word with blanks in it is really a word and numbers too many."""
    if " " not in word:
        return False
    try:
        float(word.rpartition(" ")[2])
    except ValueError:
        return False
    return True


def _numbers(path: Path, line: int, fields: list[str]) -> npt.NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):
            numbers = np.array(fields, dtype="float32")
    except ValueError:
        numbers = None
    if numbers is not None and is_plain("".join(fields)) and np.isfinite(numbers).all():
        return numbers
    culprit = next(field for field in fields if not _is_finite(field))
    raise MatrixFileError(
        f"{str(path)!r}, line {line}: {shortened(culprit, 60)} is not a finite number of 32 bits",
        expected=f"a word and {len(fields)} numbers",
    )


def _is_finite(field: str) -> bool:
    try:
        with np.errstate(over="ignore"):
            return is_plain(field) and bool(np.isfinite(np.array([field], dtype="float32")).all())
    except ValueError:
        return False


def _shown(raw: bytes) -> str:
    text = raw.decode("utf-8", "replace").strip()
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
