"""What `fit` of a task takes, raw, every question takes: the task's own preprocessor is asked first."""

from __future__ import annotations

import functools
import types
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from frostline.errors import AuditError, DataError, NoGradientError, UnbuiltModelError
from frostline.model.task_data import arrays_of_lists, as_trained, is_task
from frostline.model.weightless import makes_weights
from helpers import small_models

pytestmark = pytest.mark.every_backend

WORDS = {"good": 1, "bad": 2, "film": 3}
X = ["good film", "bad film"] * 4
Y = [1, 0] * 4


class Preprocessor(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Turns text into numbers, and weights the samples; it is never built, and holds no weights."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._convert_input_args = False
        self._allow_non_tensor_positional_args = True

    def build(self, shape: Any) -> None:
        self.packer = layers.Identity()
        self.built = True

    def call(self, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        if not isinstance(x, list):
            raise TypeError(f"text is a list of strings, and not {type(x).__name__}")
        ids = np.array([[WORDS[word] for word in text.split()] for text in x], "int64")
        shown = {"ids": ids, "padding_mask": np.ones_like(ids)}
        return keras.utils.pack_x_y_sample_weight(shown, y, np.ones(len(x)))


class Task(keras.Model):  # type: ignore[misc]  # Keras ships no types
    """A classifier as KerasHub has them: a graph of layers, with a preprocessor that `fit` asks."""

    def __init__(self, *, cut: bool = False) -> None:
        inputs = {name: keras.Input((2,), dtype="int32", name=name) for name in ("ids", "padding_mask")}
        rows = layers.Embedding(4, 3, name="table")(inputs["ids"])
        pooled = layers.GlobalAveragePooling1D(name="pool")(rows)
        pooled = layers.Lambda(ops.stop_gradient, name="stop")(pooled) if cut else pooled
        outputs = layers.Dense(2, name="head")(pooled)
        super().__init__(inputs, outputs, name="task")
        self.preprocessor = Preprocessor(name="words")

    def preprocess_samples(self, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        return self.preprocessor(x, y=y, sample_weight=sample_weight)

    def fit(self, x: Any = None, y: Any = None, sample_weight: Any = None, **settings: Any) -> Any:
        texts = x.tolist() if isinstance(x, np.ndarray) else x
        shown, targets, weights = self.preprocess_samples(texts, y, sample_weight)
        return super().fit(shown, np.asarray(targets), sample_weight=weights, **settings)


def task(**settings: Any) -> Task:
    keras.utils.set_random_seed(0)
    model = Task(**settings)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def prepared() -> Any:
    return as_trained(task(), X, Y)


def test_samples_go_through_the_preprocessor_once() -> None:
    model = task()
    assert is_task(model)
    x, y, weights = as_trained(model, X, Y)
    assert (set(x), x["ids"].dtype, y.dtype, weights.dtype) == (
        {"ids", "padding_mask"},
        "int32",
        "int32",
        "float32",
    )
    again = as_trained(model, x, y, weights)
    assert again[0] is x
    assert all(map(np.array_equal, as_trained(model, np.array(X), Y)[0].values(), x.values()))
    model.preprocessor = None
    assert as_trained(model, X, Y)[0] is X


def test_a_model_without_a_preprocessor_gets_what_it_is_given() -> None:
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    assert as_trained(model, X, Y) == (X, Y, None)


def test_lists_of_text_and_numbers_are_arrays_of_samples() -> None:
    assert arrays_of_lists({"text": ["a", "b"], "more": (1, [2, 3])})["text"].shape == (2,)
    assert arrays_of_lists([[1, 2], [3, 4]]) == [[1, 2], [3, 4]]


@pytest.mark.eager
def test_every_question_takes_raw_samples() -> None:
    x, y, weights = prepared()
    raw, shown = fl.audit(task(), X, Y), fl.audit(task(), x, y, sample_weight=weights)
    assert raw.ok
    assert (raw.loss, dict(raw.statuses)) == (shown.loss, dict(shown.statuses))
    assert fl.why(task(), "table/embeddings", X, Y).status == "trains"
    assert fl.why_all(task(), X, Y).ok
    assert {one.layer for one in fl.intermediates(task(), X, Y)} == {
        one.layer for one in fl.intermediates(task(), x, y)
    }
    assert fl.what_if(task(), X, Y, block="pool").starved == ("table/embeddings",)
    assert fl.check_gradients(task(), X, Y).ok


def test_fit_looks_at_raw_samples_before_it_trains() -> None:
    run = fl.fit(task(), fl.Plan().train("head/**"), X, Y, verbose=0)
    assert run.verification.ok
    assert not run.gradients_not_checked
    with pytest.raises(NoGradientError, match="stop_gradient"):
        fl.fit(task(cut=True), fl.Plan().train("**"), X, Y, verbose=0)


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="refuses such labels by itself")
def test_labels_of_raw_samples_are_looked_at_before_their_batch_is_trained_on() -> None:
    with pytest.raises(DataError, match="labels of batch 1, which was not trained on"):
        fl.fit(task(), fl.Plan().train("head/**"), X, [7] * 8, verbose=0)


def test_samples_that_the_preprocessor_does_not_take_are_an_error_in_words() -> None:
    with pytest.raises(AuditError) as caught:
        fl.audit(task(), {"text": np.ones((2, 2))}, [0, 1])
    assert "the preprocessor of the model 'task' does not take these samples" in str(caught.value)
    assert "text is a list of strings, and not dict" in str(caught.value)


def test_layers_that_make_no_weights_need_not_be_built() -> None:
    class Held(layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def __init__(self, *spare: layers.Layer) -> None:
            super().__init__(name="held")
            self.merge, self.dense = layers.Add(name="merge"), layers.Dense(2, name="dense")
            self.spare = spare

        def build(self, shape: Any) -> None:
            self.dense.build(shape)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = keras.Sequential([keras.Input((3,)), Held()])
    assert not model.get_layer("held").merge.built
    assert len(fl.Plan().train("**").resolve(model).trained) == 2
    with pytest.raises(UnbuiltModelError, match="spare"):
        fl.Plan().train("**").resolve(
            keras.Sequential([keras.Input((3,)), Held(layers.Dense(2, name="spare"))])
        )


class Dynamic(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    def build(self, shape: Any) -> None:
        self.w = getattr(self, "add_" + "weight")(shape=(2,))


class Helped(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    def build(self, shape: Any) -> None:
        self.inner = made_elsewhere()


def made_elsewhere() -> layers.Layer:
    return layers.Dense(2)


class Given(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def build(self, shape: Any) -> None:
        self.make(self, shape)


class Kept(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    def build(self, shape: Any) -> None:
        MAKERS["dense"](self)


MAKERS = {"dense": lambda layer: layer.add_weight(shape=(2,))}


class Elsewhere(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    def build(self, shape: Any) -> None:
        small_models.two_dense()


def closed_over(make: Any) -> layers.Layer:
    class Closed(layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def build(self, shape: Any) -> None:
            super().build(shape)
            make(self)

    return Closed()


def decorated(build: Any) -> Any:
    @functools.wraps(build)
    def wrapped(layer: Any, shape: Any) -> None:
        layer.w = layer.add_weight(shape=(2,))
        build(layer, shape)

    return wrapped


class Decorated(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    @decorated
    def build(self, shape: Any) -> None:
        self.width = 1


class OwnBuild(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    def __init__(self) -> None:
        super().__init__()
        self.build = types.MethodType(lambda layer, shape: Dynamic.build(layer, shape), self)


class Method(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    def build(self, shape: Any) -> None:
        self._make()

    def _make(self) -> None:
        self.w = keras.Variable(np.ones(2, "float32"))


class Checks(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    def build(self, shape: Any) -> None:
        if len(shape) != 2:
            raise ValueError(f"two axes, and not {shape}")
        self.width = int(shape[-1])
        super().build(shape)


@pytest.mark.parametrize(
    ("layer", "makes"),
    [
        (Dynamic(), True),
        (Helped(), True),
        (Given(lambda layer, shape: None), True),
        (Method(), True),
        (Kept(), True),
        (Elsewhere(), True),
        (closed_over(lambda layer: None), True),
        (Decorated(), True),
        (OwnBuild(), True),
        (layers.Dense(2), True),
        (layers.BatchNormalization(), True),
        (Checks(), False),
        (layers.Add(), False),
        (layers.Concatenate(), False),
        (layers.Multiply(), False),
        (layers.Dot(axes=1), False),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, layers.Layer) else "",
)
def test_whether_building_makes_weights_is_read_from_the_code(layer: layers.Layer, makes: bool) -> None:
    assert makes_weights(layer) is makes


class InCall(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    def call(self, x: Any) -> Any:
        if not hasattr(self, "w"):
            self.w = self.add_weight(shape=(4,))
        return x * self.w


@pytest.mark.parametrize("make", [Dynamic, Helped, Kept, Decorated, Method, OwnBuild, InCall])
def test_a_model_whose_weights_may_not_all_exist_is_refused(make: Any) -> None:
    class Net(keras.Model):  # type: ignore[misc]  # Keras ships no types
        def __init__(self) -> None:
            super().__init__()
            self.known, self.odd = layers.Dense(4, name="known"), make()
            self.known.build((None, 4))

        def call(self, x: Any) -> Any:
            return self.odd(self.known(x))

    with pytest.raises(UnbuiltModelError):
        fl.Plan().train("**").resolve(Net())
