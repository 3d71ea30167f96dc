"""The words, their ratings and their split. Needs no backend."""

from __future__ import annotations

import numpy as np
import pytest

from frostline.demo.lexicon import (
    Lexicon,
    is_emoticon,
    is_word,
    load_emoticons,
    load_lexicon,
    rater_disagreement,
    split_by_prefix,
)
from frostline.errors import MissingDataError


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return load_lexicon()


def test_counts_and_values(lexicon: Lexicon) -> None:
    assert len(lexicon.words) == len(set(lexicon.words)) == 7188
    assert lexicon.ratings.shape == (7188, 10)
    assert lexicon.ratings.dtype == np.int8
    assert (lexicon.ratings.min(), lexicon.ratings.max()) == (-4, 4)
    assert lexicon.means.shape == (7188,)
    assert lexicon.means.dtype == np.float32
    assert np.isfinite(lexicon.means).all()


def test_known_words(lexicon: Lexicon) -> None:
    ratings = dict(zip(lexicon.words, lexicon.means.tolist(), strict=True))
    assert ratings["love"] == pytest.approx(3.2)
    assert ratings["tragedy"] == pytest.approx(-3.4)
    # Twice in the file, with a mean of 2.4 and of 2.0: the first line counts.
    assert lexicon.ratings[lexicon.words.index("fav")].tolist() == [3, 1, 3, 2, 2, 3, 1, 2, 3, 4]


@pytest.mark.parametrize("entry", ["abandon", "can't stand", "short-sighted", "ily2", "lol"])
def test_words(entry: str) -> None:
    assert is_word(entry)


@pytest.mark.parametrize("entry", [":-)", "x-d", "o.O", "1337", "gr8", "ok", "j/k", ":###.."])
def test_no_words(entry: str) -> None:
    assert not is_word(entry)


def test_emoticons() -> None:
    found = load_emoticons()
    assert len(found.words) == len(set(found.words)) == 274
    assert found.ratings.shape == (274, 10)
    assert {":-)", "o_O", "<3", "( '}{' )", "d8"} <= set(found.words)
    assert not set(found.words) & set(load_lexicon().words)
    assert found.ratings[found.words.index(":)")].tolist() == [2, 2, 1, 1, 1, 1, 4, 3, 4, 1]


@pytest.mark.parametrize("entry", ["lol", "gr8", "x", "xd", "j4fu"])
def test_no_emoticons(entry: str) -> None:
    assert not is_emoticon(entry)


def test_split_shares_no_prefix_and_loses_nothing(lexicon: Lexicon) -> None:
    split = split_by_prefix(lexicon)
    train = {word[:5] for word in split.train.words}
    test = {word[:5] for word in split.test.words}
    assert not train & test
    assert sorted(split.train.words + split.test.words) == sorted(lexicon.words)
    assert (len(split.train.words), len(split.test.words)) == (5804, 1384)
    assert split.test.ratings.shape == (1384, 10)


def test_the_side_of_a_word_depends_on_the_word_alone(lexicon: Lexicon) -> None:
    half = lexicon.take(np.arange(len(lexicon.words)) % 2 == 0)
    whole = set(split_by_prefix(lexicon).test.words)
    assert set(split_by_prefix(half).test.words) == whole & set(half.words)
    assert set(split_by_prefix(lexicon, salt="another").test.words) != whole


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_a_share_out_of_range_is_refused(lexicon: Lexicon, share: float) -> None:
    with pytest.raises(ValueError, match="test_share must lie between 0 and 1, received"):
        split_by_prefix(lexicon, test_share=share)


def test_raters_disagree_by_half_a_point(lexicon: Lexicon) -> None:
    assert rater_disagreement(lexicon) == pytest.approx(0.51, abs=0.005)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDataError, match="'vaderSentiment', which is not installed"):
        load_lexicon()


def test_a_package_without_the_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from frostline.demo.locate import data_file

    with pytest.raises(MissingDataError, match="does not hold 'no_such_file'"):
        data_file("vaderSentiment", "no_such_file")
