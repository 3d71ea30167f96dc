"""A loss of the user's own that stretches targets to all pairs, or does not ask for them, is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl

pytestmark = pytest.mark.every_backend

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 4)).astype("float32")
WEIGHTED = np.stack([X[:, 0], (X[:, 1] > 0) + 0.5], axis=1).astype("float32")
FAR = (3 + X[:, :1]).astype("float32")

Loss = Callable[[Any, Any], Any]


def model_of(loss: Any, units: int = 1, activation: str | None = None) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(units, activation, name="out")], name="net")
    model.compile(keras.optimizers.SGD(0.01), loss)
    return model


def found(loss: Any, y: Any, units: int = 1, activation: str | None = None) -> list[Any]:
    answer = fl.audit(model_of(loss, units, activation), X, y)
    return [one for one in answer.findings if one.code == "FL108"]


class Squares(keras.losses.Loss):  # type: ignore[misc]  # Keras ships no types
    """Rows of targets against columns of outputs."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.square(y_true[:, 0] - y_pred)


STRETCHED: dict[str, tuple[Any, Any]] = {
    "a column of targets": (
        lambda y, p: ops.mean((y[:, 0] - p) ** 2),
        lambda y, p: ops.mean((y[:, :1] - p) ** 2),
    ),
    "a class": (Squares(), lambda y, p: ops.square(y[:, :1] - p)),
    "weights of samples": (
        lambda y, p: ops.mean(ops.mean((y[:, :1] - p) ** 2, axis=-1) * y[:, 1:]),
        lambda y, p: ops.mean(ops.mean((y[:, :1] - p) ** 2, axis=-1) * y[:, 1]),
    ),
    "absolute errors of squeezed outputs": (
        lambda y, p: ops.mean(ops.abs(y[:, :1] - ops.squeeze(p, -1))),
        lambda y, p: ops.mean(ops.abs(y[:, 0] - ops.squeeze(p, -1))),
    ),
}


@pytest.mark.parametrize("name", STRETCHED)
def test_pairs_of_all_samples_are_found_with_their_line(name: str) -> None:
    stretching, mended = STRETCHED[name]
    (one,) = found(stretching, WEIGHTED)
    assert one.severity == "warning"
    assert "it makes no difference to the loss which sample has which number" in one.fact
    assert one.where is not None
    assert one.where.file == __file__
    assert found(mended, WEIGHTED) == []


def contrastive(y: Any, p: Any) -> Any:
    """Samples of one label attract one another: pairs on purpose."""
    unit = p / (ops.norm(p, axis=-1, keepdims=True) + 1e-6)
    same = ops.cast(y[:, :1] == ops.transpose(y[:, :1]), "float32")
    return ops.mean((ops.matmul(unit, ops.transpose(unit)) - same) ** 2)


def ranking(y: Any, p: Any) -> Any:
    """Differences of all pairs, of outputs and of targets alike."""
    apart, wanted = p[:, :1] - ops.transpose(p[:, :1]), y[:, :1] - ops.transpose(y[:, :1])
    return ops.mean(ops.softplus(-apart * ops.sign(wanted)))


def distances(y: Any, p: Any) -> Any:
    """What of outputs and targets does not depend on their order: a distance of distributions."""

    def kernel(a: Any, b: Any) -> Any:
        return ops.mean(ops.exp(-((a[:, :1] - ops.transpose(b[:, :1])) ** 2)))

    return kernel(p, p) - 2 * kernel(p, y)


def batch_statistic(y: Any, p: Any) -> Any:
    """Errors in units of the targets' own spread."""
    return ops.mean((y[:, :1] - p) ** 2) / (ops.var(y[:, :1]) + 1e-3)


def no_targets(y: Any, p: Any) -> Any:
    return ops.mean(p**2)


@pytest.mark.parametrize("loss", [contrastive, ranking, distances, batch_statistic, no_targets])
def test_pairs_that_are_meant_are_no_fault(loss: Loss) -> None:
    assert found(loss, WEIGHTED) == []
    assert found(loss, np.round(WEIGHTED), units=3) == []


def clipped_entropy(y: Any, p: Any) -> Any:
    return ops.mean(-ops.sum(y * ops.log(ops.clip(p, 1e-10, 1.0)), axis=-1))


def test_targets_that_the_loss_does_not_ask_for() -> None:
    (one,) = found(clipped_entropy, FAR)
    assert "the loss is the same above and below the target" in one.fact
    assert one.where is not None
    assert "ops.clip" in one.where.source
    assert found("mse", FAR) == []
    scaled = (FAR - FAR.min() + 0.1) / (FAR.max() - FAR.min() + 0.2)
    assert found(clipped_entropy, scaled, activation="sigmoid") == []


def hinge(y: Any, p: Any) -> Any:
    return ops.mean(ops.relu(1.0 - y * p))


def missing_left_out(y: Any, p: Any) -> Any:
    """Targets of -999 stand for nothing; most do."""
    return ops.sum(ops.where(y > -900.0, (y - p) ** 2, 0.0))


def insensitive(y: Any, p: Any) -> Any:
    return ops.mean(ops.relu(ops.abs(y - p) - 0.1))


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        (hinge, np.sign(X[:, :1])),
        (missing_left_out, np.where(np.arange(40)[:, None] % 4, -999.0, FAR).astype("float32")),
        (insensitive, FAR),
    ],
)
def test_losses_that_are_flat_on_purpose_are_no_fault(loss: Loss, y: Any) -> None:
    assert found(loss, y) == []


def test_a_loss_that_takes_these_samples_alone_is_said() -> None:
    def strict(y: Any, p: Any) -> Any:
        if p.shape[0] != 40:
            raise ValueError("made for 40 samples")
        return ops.mean((y - p) ** 2)

    (one,) = found(strict, FAR)
    assert (one.severity, "made for 40 samples" in one.fact) == ("note", True)
