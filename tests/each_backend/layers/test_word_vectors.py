"""Vectors of words from text files, whole and damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from frostline.errors import LayerError, MatrixFileError
from frostline.layers import PretrainedEmbedding, read_word_vectors
from helpers.layer_checks import (
    array,
    full_text,
    numbers,
)
from helpers.word_vectors import TABLE, WORDS

# --- where the matrix comes from --------------------------------------------------------------


def test_words_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text(WORDS, encoding="utf-8")
    vectors = read_word_vectors(path)
    assert vectors.words == ("the", "sea", ". . .", "\u00a0")
    assert (len(vectors), vectors.matrix.dtype) == (4, np.float32)
    assert vectors.matrix.tobytes() == TABLE.tobytes()


def test_a_header_is_told_from_a_vector_of_one_number(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    for text, words, width in (
        ("7 3\n8 4\n", ("7", "8"), 1),
        ("2 1\n7 3\n8 4\n", ("7", "8"), 1),
        ("1 2\n7 3 4\n", ("7",), 2),
        ("a\t1\t2\r\nb\t3\t4\r\n", ("a", "b"), 2),
    ):
        path.write_bytes(text.encode())
        vectors = read_word_vectors(path)
        assert (vectors.words, vectors.matrix.shape[1]) == (words, width)


def test_a_vocabulary_orders_the_rows_and_tells_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text(WORDS, encoding="utf-8")
    lookup = keras.layers.StringLookup(vocabulary=["sea", "foam", "the"], mask_token="")
    layer = PretrainedEmbedding(path, vocabulary=lookup.get_vocabulary(), mask_zero=True, train="oov")
    found = array(layer.embeddings)
    assert lookup.get_vocabulary() == ["", "[UNK]", "sea", "foam", "the"]
    mean = TABLE[[1, 0]].mean(0)
    np.testing.assert_allclose(found, [np.zeros(3), mean, TABLE[1], mean, TABLE[0]], rtol=1e-6)
    assert layer.out_of_vocabulary == (1, 3)
    assert [tuple(v.shape) for v in layer.trainable_variables] == [(2, 3)]


def test_numbers_are_read_without_a_python_object_each(tmp_path: Path) -> None:
    """The most memory that reading takes is little more than that of the matrix."""
    import tracemalloc

    matrix = numbers(2_000, 100)
    path = tmp_path / "large.txt"
    with path.open("w") as file:
        for number, row in enumerate(matrix):
            file.write(f"word{number} {' '.join(map(repr, row.tolist()))}\n")
    tracemalloc.start()
    vectors = read_word_vectors(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert vectors.matrix.tobytes() == matrix.tobytes()
    assert peak < 2 * matrix.nbytes


# --- misuse -----------------------------------------------------------------------------------


TEXTS: dict[str, tuple[bytes, str]] = {
    "too few": (
        b"the 1 2 3\nsea 1 2\n",
        "{path}, line 2: a word and 2 numbers, where others have 3.\n"
        "  received: 'sea 1 2'\n"
        "  expected: a word and 3 numbers",
    ),
    "too many": (
        b"the 1 2 3\nsea 1 2 3 4\n",
        "{path}, line 2: a word and 4 numbers, where others have 3.\n"
        "  received: 'sea 1 2 3 4'\n"
        "  expected: a word and 3 numbers",
    ),
    "an empty line": (
        b"the 1 2 3\n\nsea 1 2 3\n",
        "{path}, line 2: a word and 0 numbers, where others have 3.\n"
        "  received: ''\n"
        "  expected: a word and 3 numbers",
    ),
    "no number": (
        b"the 1 2 3\nsea 1 two 3\n",
        "{path}, line 2: 'two' is not a finite number of 32 bits.\n  expected: a word and 3 numbers",
    ),
    "signs between digits": (
        b"the 1 2 3\nsea 1 2_0 3\n",
        "{path}, line 2: '2_0' is not a finite number of 32 bits.\n  expected: a word and 3 numbers",
    ),
    "digits of another script": (
        "the 1 2 3\nsea 1 ١ 3\n".encode(),
        "{path}, line 2: '١' is not a finite number of 32 bits.\n  expected: a word and 3 numbers",
    ),
    "not finite": (
        b"the 1 2 nan\n",
        "{path}, line 1: 'nan' is not a finite number of 32 bits.\n  expected: a word and 3 numbers",
    ),
    "too large": (
        b"the 1 2 1e40\n",
        "{path}, line 1: '1e40' is not a finite number of 32 bits.\n  expected: a word and 3 numbers",
    ),
    "a word twice": (
        b"the 1\nsea 2\nthe 3\n",
        "{path}, line 3: the word 'the' stands on line 1 already.\n  expected: each word once",
    ),
    "cut off": (
        b"3 2\nthe 1 2\nsea 1 2\n",
        "{path} does not hold what its first line says.\n"
        "  received: 2 lines after it\n"
        "  expected: 3 vectors of 2 numbers\n"
        "  fix:      get or unpack the file again: it seems cut off",
    ),
    "another dimension than the header's": (
        b"2 3\nthe 1 2\nsea 1 2\n",
        "{path}, line 2: a word and 2 numbers, where others have 3.\n"
        "  received: 'the 1 2'\n"
        "  expected: a word and 3 numbers",
    ),
    "not UTF-8": (
        b"the 1 2\n\xff\xfe 1 2\n",
        "{path}, line 2: this is not text in UTF-8.\n  received: byte 0xff",
    ),
    "empty": (
        b"",
        "{path} has no word vectors.\n"
        "  received: an empty file\n"
        "  expected: a word and its numbers on each line",
    ),
    "words alone": (
        b"the\nsea\n",
        "{path}, line 1: a word without numbers.\n"
        "  received: 'the'\n"
        "  expected: a word and its numbers on each line",
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_damaged_word_vectors(name: str, tmp_path: Path) -> None:
    content, expected = TEXTS[name]
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(MatrixFileError) as caught:
        PretrainedEmbedding(path)
    assert full_text(caught.value) == expected.format(path=repr(str(path)))


def test_vocabularies_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text(WORDS, encoding="utf-8")
    with pytest.raises(LayerError) as caught:
        PretrainedEmbedding(path, vocabulary=["sea", "sea"])
    assert full_text(caught.value) == (
        "the vocabulary has words more than once.\n"
        "  received: 'sea'\n"
        "  expected: the word of each row, each once"
    )
    with pytest.raises(LayerError) as caught:
        PretrainedEmbedding(path, vocabulary=["The", "Sea"])
    assert full_text(caught.value) == (
        f"'{path}' has none of the words of the vocabulary.\n"
        "  received: 2 words, such as 'The'\n"
        "  expected: words spelt as in the file, upper and lower case alike"
    )


# Encodings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["the 0.5 1.0\nsea 0.0 -2.0\n", "2 2\nthe 0.5 1.0\nsea 0.0 -2.0\n"])
def test_a_byte_order_mark_is_no_part_of_the_first_word(tmp_path: Path, text: str) -> None:
    path = tmp_path / "v.txt"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_bytes(text.encode(encoding))
        assert read_word_vectors(path).words == ("the", "sea")
        found = read_word_vectors(path, vocabulary=["sea", "the"])
        assert (found.missing, found.matrix.tolist()) == ((), [[0.0, -2.0], [0.5, 1.0]])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be"])
def test_word_vectors_in_another_encoding_are_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "v.txt").write_bytes("the 0.5 1.0\n".encode(encoding))
    with pytest.raises(MatrixFileError, match="is not text in UTF-8") as caught:
        read_word_vectors(tmp_path / "v.txt")
    assert "UTF-" in str(caught.value.received)


@pytest.mark.parametrize("kind", [list, np.array])
def test_a_vocabulary_read_with_its_mark_is_refused(tmp_path: Path, kind: Any) -> None:
    (tmp_path / "v.txt").write_text("the 0.5 1.0\n")
    with pytest.raises(LayerError, match="begins with a byte order mark"):
        read_word_vectors(tmp_path / "v.txt", vocabulary=kind(["\ufeffthe"]))


def test_a_matrix_that_the_dtype_does_not_hold_is_refused() -> None:
    matrix = np.array([[1.0, 1e39]])
    with pytest.raises(LayerError, match="does not fit its dtype float32"):
        PretrainedEmbedding(matrix)(np.array([[0]]))
