"""7,188 English words with ten human ratings of sentiment each, from the VADER lexicon.

The file comes from the PyPI package `vaderSentiment` (MIT), which is located but never imported.
Source: Hutto and Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social
Media Text", 2014.

The lexicon has 7,520 lines. A line is taken for a word if its entry has at least three letters,
and letters make up more than two thirds of it: that keeps "can't stand", "short-sighted" and
"ily2", and drops emoticons (":-)", "x-d"), bare numbers ("1337") and codes of one or two letters
("gr8", "ok"). Five of the words stand there twice with different ratings ("fav", "lmao", "lol",
"muah", "sob"); the first line counts. 7,188 distinct words remain.

An entry is taken for an emoticon if it has at least two characters and no two letters side by side. That
keeps ":-)", "o_O" and "<3", and with them a few signs made of digits ("143", "gr8" not). 274 distinct ones
remain.

The last column holds the ten raters' whole numbers. Means are computed from them and not taken from
the second column, which disagrees for one word ("lmfao").
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frostline.demo.locate import data_file

PREFIX_LETTERS = 5
_LETTERS_AT_LEAST = 3
_SHARE_OF_LETTERS = 2 / 3


@dataclass(frozen=True, slots=True, eq=False)
class Lexicon:
    """Words and what ten people thought of them.

    Attributes:
        words: The words, distinct, in the order of the file.
        ratings: int8 of shape (words, 10), from -4 (extremely negative) to 4 (extremely positive).

    Example:
        >>> lexicon = load_lexicon()
        >>> len(lexicon.words)
        7188
    """

    words: tuple[str, ...]
    ratings: NDArray[np.int8]

    @property
    def means(self) -> NDArray[np.float32]:
        """Mean rating of each word: float32 of shape (words,)."""
        means: NDArray[np.float32] = self.ratings.mean(axis=1).astype(np.float32)
        return means

    def take(self, chosen: NDArray[np.bool_]) -> Lexicon:
        """Return the words for which `chosen`, bool of shape (words,), is true."""
        words = tuple(word for word, wanted in zip(self.words, chosen, strict=True) if wanted)
        return Lexicon(words=words, ratings=self.ratings[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class LexiconSplit:
    """Words to learn from and words to be tested on, which share no five-letter prefix.

    Attributes:
        train: The words to learn from.
        test: The words to be tested on.
    """

    train: Lexicon
    test: Lexicon


def load_lexicon() -> Lexicon:
    """Read the words of the VADER lexicon.

    Raises:
        MissingDataError: The package `vaderSentiment` is not installed.

    Example:
        >>> lexicon = load_lexicon()
        >>> lexicon.ratings[lexicon.words.index("love")].tolist()
        [3, 3, 3, 3, 3, 3, 3, 4, 4, 3]
    """
    return _entries(is_word)


def load_emoticons() -> Lexicon:
    """Read the emoticons of the VADER lexicon.

    Raises:
        MissingDataError: The package `vaderSentiment` is not installed.

    Example:
        >>> emoticons = load_emoticons()
        >>> len(emoticons.words)
        274
    """
    return _entries(is_emoticon)


def _entries(wanted: Callable[[str], bool]) -> Lexicon:
    text = data_file("vaderSentiment", "vader_lexicon.txt").read_text(encoding="utf-8")
    found: dict[str, list[int]] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        entry, _mean, _deviation, ratings = line.split("\t")
        if wanted(entry):
            found.setdefault(entry, json.loads(ratings))
    return Lexicon(words=tuple(found), ratings=np.array(list(found.values()), dtype=np.int8))


def is_word(entry: str) -> bool:
    """Tell a word from an emoticon, a number or a code, by the share of letters in it.

    Example:
        >>> [is_word(entry) for entry in ("short-sighted", ":-)", "gr8")]
        [True, False, False]
    """
    letters = sum(character.isalpha() for character in entry)
    return letters >= _LETTERS_AT_LEAST and letters / len(entry) > _SHARE_OF_LETTERS


def is_emoticon(entry: str) -> bool:
    """Tell an emoticon from a word: it has no two letters side by side.

    Example:
        >>> [is_emoticon(entry) for entry in (":-)", "o_O", "lol", "gr8", "x")]
        [True, True, False, False, False]
    """
    return len(entry) > 1 and not any(a.isalpha() and b.isalpha() for a, b in itertools.pairwise(entry))


def split_by_prefix(lexicon: Lexicon, *, test_share: float = 0.2, salt: str = "frostline") -> LexiconSplit:
    """Split so that words with the same first five letters stay on the same side.

    Otherwise "abandon" would be learned and "abandoned" tested. A prefix goes to the test side if
    its hash falls below `test_share`, so the side of a word depends on nothing but the word itself.

    Args:
        lexicon: The words to split.
        test_share: The share of prefixes that are tested on, between 0 and 1.
        salt: Changes which prefixes those are.

    Raises:
        ValueError: `test_share` is not between 0 and 1.

    Example:
        >>> split = split_by_prefix(load_lexicon())
        >>> len(split.train.words) + len(split.test.words)
        7188
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test_share must lie between 0 and 1, received {test_share!r}.")
    tested = np.array([_position(word, salt) < test_share for word in lexicon.words])
    return LexiconSplit(train=lexicon.take(~tested), test=lexicon.take(tested))


def rater_disagreement(lexicon: Lexicon) -> float:
    """Return how far the mean of raters 1-5 lies from that of raters 6-10, on average.

    It shows how well people predict other people: 0.51 for the whole lexicon.

    Example:
        >>> round(rater_disagreement(load_lexicon()), 2)
        0.51
    """
    first = lexicon.ratings[:, :5].mean(axis=1)
    second = lexicon.ratings[:, 5:].mean(axis=1)
    return float(np.abs(first - second).mean())


def _position(word: str, salt: str) -> float:
    text = f"{salt}:{word[:PREFIX_LETTERS].lower()}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
