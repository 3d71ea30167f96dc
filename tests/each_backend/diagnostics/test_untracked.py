"""What the loss is computed from and the model does not own: found, with the line that reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from helpers.small_models import SEED

pytestmark = pytest.mark.every_backend

BACKEND = keras.backend.backend()


def raw(values: Any) -> Any:
    """Return what a user takes for a weight: a variable of the backend, an array on JAX."""
    values = np.asarray(values, "float32")
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.Variable(values, name="raw")
    if BACKEND == "torch":
        import torch

        return torch.nn.Parameter(torch.tensor(values))
    return ops.convert_to_tensor(values)


class Own(layers.Layer):
    """Computes with what a function puts on it."""

    def __init__(self, prepare: Callable[[Any], None], compute: Callable[[Any, Any], Any]) -> None:
        super().__init__(name="own")
        self.prepare, self.compute = [prepare], [compute]

    def build(self, shape: Any) -> None:
        self.prepare[0](self)

    def call(self, x: Any) -> Any:
        return self.compute[0](self, x)


def audited(prepare: Callable[[Any], None], compute: Callable[[Any, Any], Any]) -> fl.Audit:
    return look(Own(prepare, compute))


def look(*between: Any) -> fl.Audit:
    keras.utils.set_random_seed(SEED)
    stack = [keras.Input((3,)), layers.Dense(3, name="a"), *between, layers.Dense(2, name="b")]
    model = keras.Sequential(stack, name="model")
    model.compile("sgd", "mse")
    return fl.audit(model, np.ones((4, 3), "float32"), np.zeros((4, 2), "float32"))


def line_of(text: str) -> int:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(n for n, line in enumerate(lines, 1) if text in line)


def findings(answer: fl.Audit) -> list[fl.Finding]:
    return [finding for finding in answer.findings if finding.code == "FL105"]


def test_a_raw_variable_is_found_where_it_is_read() -> None:
    def prepare(layer: Any) -> None:
        layer.scale = raw([1.0, 2.0, 3.0])

    def compute(layer: Any, x: Any) -> Any:
        shifted = x + 1.0
        return shifted * layer.scale  # the raw one

    answer = audited(prepare, compute)
    assert len(answer.of("untracked")) == 1
    assert not answer.ok
    (found,) = findings(answer)
    assert found.where is not None
    assert (found.where.line, found.where.function) == (line_of("# the raw one"), "compute")
    assert "(read in layer 'own')" in found.fact
    assert [a for a, status in answer.statuses.items() if status == "trains"] == [
        *("a/kernel", "a/bias", "b/kernel", "b/bias")
    ]


def test_a_layer_made_in_call_is_found_at_the_line_that_calls_it() -> None:
    def compute(layer: Any, x: Any) -> Any:
        made = layers.Dense(3, name="made")
        return made(x)  # the made one

    answer = audited(lambda layer: None, compute)
    assert [address.rpartition("/")[2] for address in answer.of("untracked")] == ["kernel", "bias"]
    (found,) = findings(answer)
    assert found.where is not None
    assert found.where.line == line_of("# the made one")


def test_a_hidden_layer_is_found_at_the_line_that_calls_it() -> None:
    def prepare(layer: Any) -> None:
        layer.inside = SimpleNamespace(dense=layers.Dense(3, name="hidden"))
        layer.inside.dense.build((None, 3))

    def compute(layer: Any, x: Any) -> Any:
        return layer.inside.dense(x)  # the hidden one

    (found,) = findings(audited(prepare, compute))
    assert found.where is not None
    assert found.where.line == line_of("# the hidden one")


@pytest.mark.skipif(BACKEND != "jax", reason="only on JAX is a raw variable an array like any other")
class TestArraysOfJax:
    """Which arrays may be meant to train: floating ones that a layer of the user's own holds and reads."""

    @pytest.mark.parametrize(
        ("held", "names"),
        [
            (lambda: raw(2.0), {"own/held"}),
            (lambda: [raw([1.0, 2.0, 3.0]), "text"], {"own/held/0"}),
            (lambda: {"left": raw([1.0, 2.0, 3.0]), "right": raw(1.5)}, {"own/held/left", "own/held/right"}),
        ],
        ids=["scalar", "list", "dict"],
    )
    def test_where_it_may_stand(self, held: Callable[[], Any], names: set[str]) -> None:
        def prepare(layer: Any) -> None:
            layer.held = held()

        def compute(layer: Any, x: Any) -> Any:
            arrays = [v for v in keras.tree.flatten(layer.held) if not isinstance(v, str)]
            return sum((x * array for array in arrays), start=x)

        assert set(audited(prepare, compute).of("untracked")) == names

    @pytest.mark.parametrize(
        "held",
        [np.array([1.0, 2.0, 3.0], "float32"), (1.0, 2.0, 3.0), ops.convert_to_tensor([1, 2, 3])],
        ids=["numpy", "numbers", "integers"],
    )
    def test_constants_are_none(self, held: Any) -> None:
        def prepare(layer: Any) -> None:
            layer.held = held

        answer = audited(prepare, lambda layer, x: x * ops.cast(ops.convert_to_tensor(layer.held), x.dtype))
        assert answer.of("untracked") == ()
        assert answer.ok

    def test_what_is_not_read_is_none(self) -> None:
        def prepare(layer: Any) -> None:
            layer.held = raw([1.0, 2.0, 3.0])

        assert audited(prepare, lambda layer, x: x).of("untracked") == ()

    def test_what_keras_puts_on_a_layer_is_none(self) -> None:
        class Normalizing(layers.Normalization):
            """Of the user's own, with what Keras keeps as arrays."""

        normal = Normalizing(mean=[1.0, 2.0, 3.0], variance=[1.0, 1.0, 2.0])
        assert look(normal).of("untracked") == ()
        assert any(value is normal.mean for value in vars(normal).values())

    def test_an_array_of_the_model_itself(self) -> None:
        class Model(keras.Model):
            def __init__(self) -> None:
                super().__init__(name="model")
                self.head = layers.Dense(2, name="head")
                self.scale = raw(np.ones(2))

            def build(self, shape: Any) -> None:
                self.head.build(shape)

            def call(self, x: Any) -> Any:
                return self.head(x) * self.scale

        model = Model()
        model.build((None, 3))
        model.compile("sgd", "mse")
        answer = fl.audit(model, np.ones((4, 3), "float32"), np.zeros((4, 2), "float32"))
        assert answer.of("untracked") == ("scale",)
        told = fl.why(model, "scale", np.ones((4, 3), "float32"), np.zeros((4, 2), "float32"))
        assert told.status == "untracked"
        assert "keep a constant as a NumPy array" in told.remedy
