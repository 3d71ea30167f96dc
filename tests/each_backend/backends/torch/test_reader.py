"""The reader for PyTorch: what it leaves behind, whole models, leaves, and parts that run elsewhere."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

if keras.backend.backend() != "torch":
    pytest.skip("reads PyTorch's record", allow_module_level=True)

import torch
from torch.utils.checkpoint import checkpoint

from frostline.backends.dispatch import measure, trace
from frostline.errors import FrostlineError
from frostline.graph.flow import Flow
from frostline.graph.reader import Argument, Computation, ReadVariable, Trace
from frostline.model.inventory import inventory
from helpers import small_models
from helpers.torch_traces import asked, parameter
from helpers.traces import leaves, nodes, standings

pytestmark = pytest.mark.every_backend

X = torch.linspace(-1.0, 1.0, 6).reshape(2, 3)


def about(model: keras.Model, x: Any, **options: Any) -> Computation:
    """The mean square of all outputs, about every weight of a model."""
    held = inventory(model)
    sources = [ReadVariable(w.address, w.variable, "weight" if w.role == "weight" else "state") for w in held]

    def loss(x: Any) -> Any:
        outputs = keras.tree.flatten(model(x, **options))
        return sum(ops.mean(ops.square(output - 0.3)) for output in outputs)

    known = {id(node.layer): node.address for node in held.layers}
    return Computation(loss, tuple(sources), (Argument(x, "input", "x"),), known)


def reasons(seen: Trace, name: str) -> set[str | None]:
    flow = Flow(seen.graph)
    return {edge.reason for edge in flow.cuts(seen.graph.weights[name])}


# What is left behind -------------------------------------------------------------------------------


def with_torch_module() -> keras.Model:
    inner = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    wrapped = keras.layers.TorchModuleWrapper(inner, name="wrapped")
    model = keras.Sequential([wrapped, layers.Dropout(0.3), layers.Dense(2, name="head")])
    model(X)
    return model


@pytest.mark.parametrize("look", [trace, measure])
def test_nothing_is_written_and_everything_is_put_back(look: Callable[[Computation], Any]) -> None:
    model = with_torch_module()
    model.get_layer("head").trainable = False
    mine, table = parameter(2), torch.zeros(3)
    mine.grad = torch.ones(2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [weight.value.requires_grad for weight in model.weights]
    random, call = torch.get_rng_state(), keras.Layer.__call__

    def loss() -> Any:
        table.add_(1.0)
        torch.rand(1)
        return (model(X, training=True) * mine).sum() + table.sum()

    held = [ReadVariable(w.address, w.variable) for w in inventory(model).of_role("weight")]
    look(Computation(loss, (*held, ReadVariable("mine", mine))))

    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert torch.equal(table, torch.zeros(3))
    assert [weight.value.requires_grad for weight in model.weights] == flags
    assert all(weight.value.grad is None for weight in model.trainable_weights)
    assert torch.equal(mine.grad, torch.ones(2))
    assert torch.equal(torch.get_rng_state(), random)
    assert keras.Layer.__call__ is call
    assert "apply" not in vars(torch.utils.checkpoint.CheckpointFunction)


@pytest.mark.parametrize("look", [trace, measure])
def test_a_loss_that_raises_leaves_nothing_behind(look: Callable[[Computation], Any]) -> None:
    frozen, table, call = parameter(2).requires_grad_(False), torch.zeros(2), keras.Layer.__call__

    def loss() -> Any:
        table.add_(frozen)
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        look(asked(loss, frozen=frozen))
    assert not frozen.requires_grad
    assert torch.equal(table, torch.zeros(2))
    assert keras.Layer.__call__ is call
    assert not torch.overrides._get_current_function_mode_stack()
    with pytest.raises(RuntimeError, match="must match the size"):
        look(asked(lambda: torch.ones(3) * frozen, frozen=frozen))
    with pytest.raises(FrostlineError, match="returned no loss"):
        look(asked(lambda: None, frozen=frozen))


def test_no_tensor_is_kept_that_the_computation_lets_go() -> None:
    kernel, gone = parameter(3, 3), []

    def loss() -> Any:
        first = (X @ kernel).detach()
        second = first + 1.0
        gone.append(weakref.ref(first))
        del first
        assert gone[0]() is None
        return second.sum() + (X @ kernel).sum()

    assert standings(trace(asked(loss, kernel=kernel))) == {"kernel": "trains"}


@pytest.mark.parametrize("look", [trace, measure])
def test_nothing_is_kept_for_a_backward_pass_afterwards(look: Callable[[Computation], Any]) -> None:
    kept = []
    moving = keras.Variable(1.0, trainable=False)

    class Token:
        pass

    class Noted(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.token = Token()  # lives as long as the node in PyTorch's record
            kept.append(weakref.ref(ctx.token))
            return 2.0 * x

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return 2.0 * gradient

    kernel = parameter(3)

    def loss() -> Any:
        total = torch.tanh(Noted.apply(torch.tanh(kernel))).sum()
        moving.assign(0.5 * moving + 0.5 * total)
        return total

    gc.disable()
    try:
        looked = look(asked(loss, kernel=kernel))
        assert looked is not None
        assert kept[0]() is None
    finally:
        gc.enable()


# Whole models --------------------------------------------------------------------------------------


def recurrent(layer: Any) -> keras.Model:
    return keras.Sequential([keras.Input((4, 3)), layer, layers.Dense(2)])


def encoder() -> keras.Model:
    inputs = keras.Input((5,), dtype="int32")
    hidden = layers.Embedding(9, 4, mask_zero=True)(inputs)
    attended = layers.MultiHeadAttention(2, 3, dropout=0.1)(hidden, hidden)
    hidden = layers.LayerNormalization()(layers.Add()([hidden, attended]))
    gated = layers.Bidirectional(layers.GRU(3, return_sequences=True))(hidden)
    return keras.Model(inputs, [layers.GlobalAveragePooling1D()(gated), layers.Dense(1)(hidden)])


def convolutional() -> keras.Model:
    stack = [
        keras.Input((8, 8, 3)),
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(),
        layers.PReLU(),
        layers.SeparableConv2D(4, 3),
        layers.MaxPooling2D(),
        layers.Conv2DTranspose(3, 2),
        layers.GroupNormalization(1),
        layers.SpatialDropout2D(0.2),
        layers.Flatten(),
        layers.Dense(2),
    ]
    return keras.Sequential(stack)


MODELS: dict[str, tuple[Callable[[], keras.Model], tuple[int, ...]]] = {
    "functional": (small_models.two_dense, (3, 4)),
    "nested": (small_models.nested_dropout, (3, 4)),
    "custom": (small_models.custom_block, (3, 4)),
    "subclassed": (small_models.subclassed, (3, 4)),
    "attention": (small_models.attention, (3, 5, 4)),
    "lstm": (lambda: recurrent(layers.LSTM(3, recurrent_dropout=0.1)), (2, 4, 3)),
    "gru": (lambda: recurrent(layers.GRU(3, reset_after=False, unroll=True)), (2, 4, 3)),
    "stateful": (lambda: recurrent(layers.SimpleRNN(3, return_sequences=True)), (2, 4, 3)),
    "convolutional": (convolutional, (2, 8, 8, 3)),
    "encoder": (encoder, (3, 5)),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_of_a_model_trains(name: str) -> None:
    make, shape = MODELS[name]
    x = np.arange(math.prod(shape)).reshape(shape) % 9
    computation = about(make(), x if name == "encoder" else x.astype("float32") / 9, training=True)

    seen = trace(computation)

    assert set(standings(seen).values()) == {"trains"}
    assert leaves(seen, "foreign") == [] and seen.unknown_layers == () and seen.error == ""
    assert [leaf.name for leaf in leaves(seen, "input")] == ["x"]
    addresses = {"", *(computation.layers.values())}
    assert {node.layer for node in nodes(seen)} <= {None, *addresses}
    measured = measure(computation)
    assert set(measured.gradients) == set(standings(seen))
    assert all(gradient is not None for gradient in measured.gradients.values())


def test_every_weight_of_a_deep_network_trains() -> None:
    model = keras.applications.MobileNetV2((32, 32, 3), weights=None, classes=3)
    seen = trace(about(model, np.ones((2, 32, 32, 3), "float32"), training=True))
    assert set(standings(seen).values()) == {"trains"}
    moved = {id(write.variable) for write in seen.writes}
    assert moved == {id(v) for v in model.non_trainable_variables if "moving" in v.path}
    assert {write.layer for write in seen.writes} <= {layer.name for layer in model.layers}


def test_layers_are_named_by_their_addresses() -> None:
    seen = trace(about(small_models.attention(), np.ones((2, 5, 4), "float32")))
    assert {"", "mha", "mha/query", "pool", "head"} <= {node.layer for node in nodes(seen) if node.where} | {
        ""
    }
    by_layer = {node.layer: node for node in nodes(seen)}
    assert all(node.where and node.where.file == __file__ for node in by_layer.values() if node.layer)


@pytest.mark.parametrize("make", [small_models.two_dense, small_models.batch_norm, small_models.subclassed])
def test_the_gradients_are_those_of_a_backward_pass(make: Callable[[], keras.Model]) -> None:
    model = make()
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    computation = about(model, x, training=True)
    measured = measure(computation)

    loss = computation.loss(torch.from_numpy(x))
    loss.backward()
    assert measured.loss == pytest.approx(float(loss.detach()))
    for weight in inventory(model).of_role("weight"):
        np.testing.assert_array_equal(measured.gradients[weight.address], weight.variable.value.grad.numpy())


# Leaves --------------------------------------------------------------------------------------------


def test_variables_that_nobody_named_are_foreign() -> None:
    raw = trace(about(small_models.raw_scale(), np.ones((2, 4), "float32")))
    (leaf,) = leaves(raw, "foreign")
    assert (leaf.name, leaf.layer) == ("raw/raw", "raw")
    assert leaf.where is not None and leaf.where.source == "return inputs * self.raw"
    made = trace(about(small_models.layer_in_call(), np.ones((2, 4), "float32")))
    assert {leaf.name for leaf in leaves(made, "foreign")} == {"maker/fresh/kernel", "maker/fresh/bias"}
    assert [unknown.address for unknown in made.unknown_layers] == ["maker/fresh"]
    assert set(standings(made).values()) == {"trains"}


def test_the_size_of_captured_constants_is_told() -> None:
    table, kernel = torch.ones(100, 3), parameter(3)
    array = np.ones((50, 3))
    seen = trace(asked(lambda: (table * kernel).sum() + (torch.tensor(array) * kernel).sum(), kernel=kernel))
    assert sorted(leaf.nbytes for leaf in leaves(seen, "constant")) == [50 * 3 * 8, 100 * 3 * 4]


def test_arguments_are_weights_and_inputs_by_their_paths() -> None:
    tree = {"layer": [np.ones((3, 2), "float32"), np.ones(2, "float32")], "step": np.ones((), "int32")}
    data = (np.ones((4, 3), "float32"), np.ones(4, "int32"))

    def loss(tree: Any, data: Any) -> Any:
        x, y = data
        kernel, bias = tree["layer"]
        return ((x @ kernel + torch.round(bias)).sum(1) - y).square().mean()

    computation = Computation(loss, (), (Argument(tree, "weight"), Argument(data, "input", "batch")))
    seen = trace(computation)
    assert standings(seen) == {"layer/0": "trains", "layer/1": "cut"}
    assert {leaf.name for leaf in leaves(seen, "input")} == {"batch/0", "batch/1"}
    assert set(measure(computation).gradients) == {"layer/0", "layer/1"}


def test_what_never_trains_is_graphed_as_if_it_did() -> None:
    frozen, integer = parameter(3).requires_grad_(False), torch.arange(3)
    computation = asked(lambda: (frozen * integer).sum(), frozen=frozen, integer=integer)
    assert standings(trace(computation)) == {"frozen": "trains", "integer": "cut"}
    assert measure(computation).gradients["integer"] is None
    assert measure(computation).gradients["frozen"] is not None


# Parts that run elsewhere ---------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripted_functions_are_entered() -> None:
    first, second = parameter(3), parameter(3)
    scripted = torch.jit.trace(lambda x, y: (x + y.detach()).sum(), (torch.ones(3), torch.ones(3)))
    seen = trace(asked(lambda: scripted(first, second), first=first, second=second))
    assert standings(seen) == {"first": "trains", "second": "cut"}
    assert reasons(seen, "second") == {"detached"}


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_a_reentrant_checkpoint_without_a_live_argument_starves_what_it_captures() -> None:
    fed, starved = parameter(3), parameter(3)

    def loss() -> Any:
        first = checkpoint(lambda x: x * fed, 1.0 * fed, use_reentrant=True)
        return (first + checkpoint(lambda x: x * starved, torch.ones(3), use_reentrant=True)).sum()

    computation = asked(loss, fed=fed, starved=starved)
    seen = trace(computation)
    assert standings(seen) == {"fed": "trains", "starved": "cut"}
    assert reasons(seen, "starved") == {"no_grad"}
    loss().backward()
    measured = measure(computation).gradients
    np.testing.assert_array_equal(measured["fed"], fed.grad.numpy())
    assert measured["starved"] is None and starved.grad is None


def test_compiled_functions_are_entered() -> None:
    kernel, other = parameter(3), parameter(3)
    compiled = torch.compile(lambda x, y: (torch.round(x) * y).sum(), backend="eager")
    seen = trace(asked(lambda: compiled(kernel, other), kernel=kernel, other=other))
    assert standings(seen) == {"kernel": "cut", "other": "trains"}
    assert reasons(seen, "kernel") == {"not_differentiable"}


def test_recording_switched_off_around_the_question_changes_nothing() -> None:
    kernel = parameter(3)
    computation = asked(lambda: kernel.square().sum(), kernel=kernel)
    with torch.no_grad():
        assert standings(trace(computation)) == {"kernel": "trains"}
        assert measure(computation).gradients["kernel"] is not None


def test_an_error_of_pytorch_is_told() -> None:
    kernel = parameter(3)
    refused = asked(lambda: torch.as_tensor((2.0 * kernel).numpy()).sum(), kernel=kernel)
    assert "Can't call numpy()" in trace(refused).error
    assert "Can't call numpy()" in measure(refused).error
    divided = asked(lambda: (kernel // 0.2).sum(), kernel=kernel)
    assert reasons(trace(divided), "kernel") == {"unregistered"}
    assert "floor_divide" in measure(divided).error
    constant = measure(asked(lambda: torch.ones(()), kernel=kernel))
    assert (constant.loss, constant.gradients, constant.error) == (1.0, {"kernel": None}, "")


def test_many_host_reads_stay_cheap() -> None:
    kernel = parameter(3)

    def loss() -> Any:
        total = torch.zeros(())
        for _ in range(200):
            total = total + torch.tensor(kernel.sum().item() * 2.0)
        return total

    seen = trace(asked(loss, kernel=kernel))
    assert standings(seen) == {"kernel": "cut"}
    assert reasons(seen, "kernel") == {"left_framework"}
    assert len(seen.graph.edges) < 200 * 40
