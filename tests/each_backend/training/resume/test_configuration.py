"""What is told of the configuration and the code of a run: each change is named, and nothing else."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from frostline.model.inventory import inventory
from frostline.training.resume.configuration import configuration
from frostline.training.resume.differences import differences, renumbered

pytestmark = pytest.mark.eager

X = np.zeros((4, 6, 6, 1), "float32")
POWER = 2


class Doubled(layers.Layer):
    """Holds a setting that its configuration does not know."""

    def __init__(self, factor: float = 2.0, **more: Any) -> None:
        super().__init__(**more)
        self.factor = factor

    def call(self, x: Any) -> Any:
        return x * self.factor


class Halved(Doubled):
    """The same with another body."""

    def call(self, x: Any) -> Any:
        return x / self.factor


class Near(keras.losses.Loss):
    """Holds a setting that its configuration does not know."""

    def __init__(self, power: int) -> None:
        super().__init__()
        self.power = power

    def call(self, y: Any, p: Any) -> Any:
        return keras.ops.abs(y - p) ** self.power


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    """Has no configuration."""

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def __call__(self, step: Any) -> Any:
        return 1.0 / (1.0 + self.slope * keras.ops.cast(step, "float32"))


def near(power: int) -> Callable[..., Any]:
    def loss(y: Any, p: Any) -> Any:
        return keras.ops.mean(keras.ops.abs(y - p) ** power)

    return loss


def swish(x: Any) -> Any:
    return x * keras.ops.sigmoid(x)


SETTINGS: dict[str, Any] = {
    "filters": {"strides": 1, "padding": "same"},
    "norm": {"epsilon": 1e-3, "momentum": 0.9},
    "drop": 0.3,
    "doubled": Doubled,
    "factor": 2.0,
    "head": {"activation": "relu"},
    "clip": 1.0,
    "optimizer": lambda: keras.optimizers.Adam(0.01),
    "loss": lambda: "mse",
    "metrics": lambda: ["mae"],
    "compile": {},
    "step": None,
}


def a_model(**changes: Any) -> keras.Model:
    """A small model with all kinds of layers, some of them without names."""
    made = SETTINGS | changes
    inputs = keras.Input((6, 6, 1), name="image")
    value = layers.Conv2D(2, 3, name="filters", **made["filters"])(inputs)
    value = layers.BatchNormalization(name="norm", **made["norm"])(value)
    inner = keras.Input(value.shape[1:])
    inner_value = layers.Dropout(made["drop"], name="drop")(layers.Dense(2)(inner))
    value = keras.Model(inner, layers.Dense(2)(inner_value), name="block")(value)
    value = keras.ops.clip(made["doubled"](made["factor"], name="own")(value), 0.0, made["clip"])
    value = layers.GlobalAveragePooling2D(name="pool")(value)
    model = keras.Model(inputs, layers.Dense(1, name="head", **made["head"])(value))
    model.compile(made["optimizer"](), made["loss"](), metrics=made["metrics"](), **made["compile"])
    return model


def told(model: keras.Model, **data: Any) -> dict[str, Any]:
    """What a checkpoint holds, as it comes back from it."""
    found = configuration(model, inventory(model), {"x": X, **data})
    return dict(json.loads(json.dumps(found)))


def changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = renumbered(then["layers"], now["layers"])
    return differences({names.get(n, n): part for n, part in then["parts"].items()}, now["parts"])


NAMED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "dilation": (
        {"filters": {"strides": 1, "padding": "same", "dilation_rate": 2}},
        ["filters/dilation_rate/0: 2, was 1", "filters/dilation_rate/1: 2, was 1"],
    ),
    "epsilon": ({"norm": {"epsilon": 1e-2, "momentum": 0.9}}, ["norm/epsilon: 0.01, was 0.001"]),
    "momentum": ({"norm": {"epsilon": 1e-3, "momentum": 0.5}}, ["norm/momentum: 0.5, was 0.9"]),
    "dropout": ({"drop": 0.9}, ["block/drop/rate: 0.9, was 0.3"]),
    "activation": ({"head": {"activation": "tanh"}}, ["head/activation: 'tanh', was 'relu'"]),
    "regularizer": (
        {"head": {"activation": "relu", "kernel_regularizer": "l2"}},
        ["head/kernel_regularizer: L2, was None"],
    ),
    "own layer's setting": ({"factor": 3.0}, ["own/factor: 3.0, was 2.0"]),
    "an operation": ({"clip": 2.0}, ["the model/operation 5 clip/x_max: 2.0, was 1.0"]),
    "metrics": ({"metrics": lambda: ["mse"]}, ["metrics/0: 'mse', was 'mae'"]),
    "loss": ({"loss": lambda: "mae"}, ["loss: 'mae', was 'mse'"]),
    "loss weights": (
        {"compile": {"loss_weights": [2.0]}},
        ["loss_weights: [2.0], was None"],
    ),
    "steps per execution": (
        {"compile": {"steps_per_execution": 2}},
        ["steps_per_execution: 2, was 1"],
    ),
    "optimizer": (
        {"optimizer": lambda: keras.optimizers.Adam(0.01, beta_1=0.5)},
        ["optimizer/beta_1: 0.5, was 0.9"],
    ),
}


@pytest.fixture
def before() -> dict[str, Any]:
    return told(a_model())


@pytest.mark.parametrize("name", NAMED)
def test_each_change_is_named(name: str, before: dict[str, Any]) -> None:
    change, said = NAMED[name]
    assert changes(before, told(a_model(**change))) == said


def test_another_body_of_a_layer_is_named(before: dict[str, Any]) -> None:
    found = changes(before, told(a_model(doubled=Halved)))
    assert any(phrase.startswith("own/class") for phrase in found)


PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "closure of a loss": (
        {"loss": lambda: near(2)},
        {"loss": lambda: near(4)},
        "loss/closure power: 4, was 2",
    ),
    "partial": (
        {"loss": lambda: functools.partial(keras.losses.huber, delta=1.0)},
        {"loss": lambda: functools.partial(keras.losses.huber, delta=2.0)},
        "loss/argument delta: 2.0, was 1.0",
    ),
    "loss that has no configuration": (
        {"loss": lambda: Near(2)},
        {"loss": lambda: Near(3)},
        "loss/power: 3, was 2",
    ),
    "lambda as a loss": (
        {"loss": lambda: lambda y, p: keras.ops.mean(y - p)},
        {"loss": lambda: lambda y, p: keras.ops.mean(y + p)},
        "loss: its code differs",
    ),
    "activation of one's own": (
        {"head": {"activation": swish}},
        {"head": {"activation": lambda x: x}},
        "head/activation",
    ),
    "schedule": (
        {
            "optimizer": lambda: keras.optimizers.SGD(
                keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
            )
        },
        {
            "optimizer": lambda: keras.optimizers.SGD(
                keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.8)
            )
        },
        "optimizer/learning_rate/decay_rate: 0.8, was 0.9",
    ),
    "schedule of one's own": (
        {"optimizer": lambda: keras.optimizers.Adam(Falling(0.1))},
        {"optimizer": lambda: keras.optimizers.Adam(Falling(0.2))},
        "optimizer/learning_rate/slope: 0.2, was 0.1",
    ),
    "metric": (
        {"metrics": lambda: [keras.metrics.BinaryAccuracy(threshold=0.5)]},
        {"metrics": lambda: [keras.metrics.BinaryAccuracy(threshold=0.7)]},
        "metrics/0/threshold: 0.7, was 0.5",
    ),
    "metric that is a function": (
        {"metrics": lambda: [near(2)]},
        {"metrics": lambda: [near(4)]},
        "metrics/0/closure power: 4, was 2",
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_code_and_settings_of_ones_own_are_named(name: str) -> None:
    one, other, said = PAIRS[name]
    first = told(a_model(**one))
    assert changes(first, told(a_model(**one))) == []
    found = changes(first, told(a_model(**other)))
    assert any(phrase.startswith(said) for phrase in found), found


class Stepped(keras.Model):
    """A training step of its own."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.head = layers.Dense(1, name="head")

    def call(self, x: Any) -> Any:
        return self.head(x) * self.scale

    def train_step(self, *given: Any) -> Any:
        return super().train_step(*given)


class SteppedOtherwise(Stepped):
    """With other bodies."""

    def train_step(self, *given: Any) -> Any:
        result = super().train_step(*given)
        return {**result, "twice": 2}


def stepped(kind: type[Stepped] = Stepped, *given: Any) -> keras.Model:
    model = kind(*given)
    model(np.zeros((2, 3), "float32"))
    model.compile("sgd", "mse")
    return model


def test_subclassed_models() -> None:
    first = told(stepped())
    assert first["not compared"] == []
    assert changes(first, told(stepped())) == []
    assert changes(first, told(stepped(Stepped, 2.0))) == ["the model/scale: 2.0, was 1.0"]
    assert changes(first, told(stepped(SteppedOtherwise)))
    by_hand = stepped()
    by_hand.train_step = functools.partial(by_hand.train_step)
    assert changes(first, told(by_hand))


def test_nothing_differs_in_a_copy_with_other_numbers(before: dict[str, Any]) -> None:
    """As when a cell of a notebook runs twice: `dense_1` is `dense_3` then."""
    layers.Dense(1)
    again = told(a_model())
    assert set(before["layers"]) != set(again["layers"])
    assert changes(before, again) == []
    assert before["not compared"] == []


def test_training_itself_is_no_change() -> None:
    model = a_model(loss=lambda: near(2))
    first = told(model)
    model.fit(X, np.zeros((4, 1)), verbose=0)
    assert changes(first, told(model)) == []


class Source(keras.utils.PyDataset):
    """Batches of a size."""

    def __init__(self, size: int, **more: Any) -> None:
        super().__init__(**more)
        self.size = size

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> Any:
        return X[: self.size], np.zeros((self.size, 1))


def loader(size: int, scale: float = 1.0) -> Any:
    import torch

    samples = torch.utils.data.TensorDataset(torch.ones((4, 3)) * scale)
    return torch.utils.data.DataLoader(samples, batch_size=size)


class Chosen:
    """Says which samples are in which batch."""

    def __init__(self, *batches: list[int]) -> None:
        self.batches = batches

    def __iter__(self) -> Any:
        return iter(self.batches)


def chosen(first: int) -> Any:
    import torch

    samples = torch.utils.data.TensorDataset(torch.ones((4, 3)))
    return torch.utils.data.DataLoader(samples, batch_sampler=Chosen([first, 0], [1]))


def stream(size: int) -> Any:
    while True:
        yield X[:size], np.zeros((size, 1))


def tf_dataset(size: int, scale: float = 1.0) -> Any:
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(X).map(lambda x: x * scale).batch(size)


def sources(tell: Callable[[Any], list[str]]) -> None:
    assert tell(lambda n: Source(n)) == ["y/size: 3, was 2"]
    assert tell(stream) == ["y/variable size: 3, was 2"]
    if keras.backend.backend() == "torch":
        assert tell(loader) == ["y/batch_size: 3, was 2"]
        assert any("dataset/tensors" in one for one in tell(lambda n: loader(2, float(n))))
        assert tell(chosen) == ["y/batch_sampler/batches/0/0: 3, was 2"]
    if keras.backend.backend() == "tensorflow":
        assert tell(tf_dataset) == ["y/batch_size: 3, was 2"]
        assert tell(lambda n: tf_dataset(2, float(n))) == ["y/of/0/map_func/closure scale: 3.0, was 2.0"]


@pytest.mark.every_backend
def test_sources_of_data_are_told_apart() -> None:
    model = stepped()

    def tell(make: Callable[[int], Any]) -> list[str]:
        first = told(model, y=make(2))
        assert changes(first, told(model, y=make(2))) == []
        assert first["not compared"] == []
        return changes(first, told(model, y=make(3)))

    sources(tell)


@pytest.mark.every_backend
def test_what_cannot_be_told_is_noted() -> None:
    assert told(stepped(), y=iter([1]))["not compared"] == [
        "y: what an object of builtins.list_iterator holds"
    ]
    beta = keras.Variable(1.0)
    model = stepped()
    model.compile("sgd", lambda y, p: keras.ops.mean(p) * beta)
    assert told(model)["not compared"] == ["loss/closure beta: the value of a variable"]


@pytest.mark.every_backend
def test_another_teacher_is_named() -> None:
    def distilled(shift: float) -> keras.Model:
        teacher = keras.Sequential([keras.Input((3,)), layers.Dense(1, kernel_initializer="zeros")])
        teacher.layers[0].bias.assign([shift])
        model = stepped()
        model.compile("sgd", lambda y, p: keras.ops.mean(p - teacher(y)))
        return model

    first = told(distilled(0.0))
    assert changes(first, told(distilled(0.0))) == []
    assert any("closure teacher/weights" in one for one in changes(first, told(distilled(1.0))))


def test_another_layer_within_a_teacher_is_named() -> None:
    def distilled(activation: str) -> keras.Model:
        inner = [keras.Input((3,)), layers.Dense(1, activation, kernel_initializer="zeros", name="top")]
        teacher = keras.Sequential([keras.Input((3,)), keras.Sequential(inner)])
        model = stepped()
        model.compile("sgd", lambda y, p: keras.ops.mean(p - teacher(y)))
        return model

    first = told(distilled("relu"))
    assert changes(first, told(distilled("relu"))) == []
    (named,) = changes(first, told(distilled("tanh")))
    assert "closure teacher/layer" in named
    assert named.endswith("top/activation: 'tanh', was 'relu'")


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="modules of PyTorch")
def test_modules_of_pytorch_in_a_loss_are_compared() -> None:
    import torch

    class Own(torch.nn.Module):
        def __init__(self, slope: float) -> None:
            super().__init__()
            self.parts = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.LeakyReLU(slope))

    def distilled(seed: int = 0, slope: float = 0.1, weight: float = 1.0, *, train: bool = False) -> Any:
        torch.manual_seed(seed)
        teacher = Own(slope).train(train)
        entropy = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor([weight]))
        model = stepped()
        model.compile("sgd", lambda y, p: entropy(teacher(y), p))
        return told(model)

    first = distilled()
    assert changes(first, distilled()) == []
    assert first["not compared"] == []
    named = changes(first, distilled(seed=1))
    assert [one.partition(":")[0] for one in named] == [
        "loss/closure teacher/tensors/parts.0.weight",
        "loss/closure teacher/tensors/parts.0.bias",
    ]
    (named,) = changes(first, distilled(weight=2.0))
    assert "closure entropy/tensors/pos_weight" in named
    assert changes(first, distilled(slope=0.3)) == [
        "loss/closure teacher/parts.1/negative_slope: 0.3, was 0.1"
    ]
    assert "loss/closure teacher/module/training: True, was False" in changes(first, distilled(train=True))


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="modules of PyTorch")
def test_a_wrapped_module_is_named_by_its_settings_and_not_by_values_that_train() -> None:
    import torch

    def wrapped(seed: int = 0, rate: float = 0.1) -> dict[str, Any]:
        torch.manual_seed(seed)
        module = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Dropout(rate))
        model = keras.Sequential([layers.TorchModuleWrapper(module, name="inside")])
        model(np.zeros((2, 3), "float32"))
        model.compile("sgd", "mse")
        return told(model)

    assert changes(wrapped(), wrapped(seed=1)) == []
    assert changes(wrapped(), wrapped(rate=0.5)) == ["inside/module/1/p: 0.5, was 0.1"]
