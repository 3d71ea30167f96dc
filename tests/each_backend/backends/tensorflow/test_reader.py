"""The reader for TensorFlow: what it leaves behind, and what it finds in graphs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

if keras.backend.backend() != "tensorflow":
    pytest.skip("reads TensorFlow's graphs", allow_module_level=True)

import tensorflow as tf

from frostline.backends.dispatch import measure, trace
from frostline.backends.tensorflow import internals
from frostline.graph.flow import Flow
from frostline.graph.ir import Leaf, Node
from frostline.graph.reader import Argument, Computation, ReadVariable
from frostline.model.inventory import inventory
from helpers import small_models
from helpers.tensorflow_traces import about
from helpers.traces import leaves, nodes, standings

pytestmark = pytest.mark.every_backend

X = tf.constant(np.linspace(-1, 1, 6, dtype="float32").reshape(2, 3))


def asked(loss: Callable[[], Any], **variables: tf.Variable) -> Computation:
    return Computation(loss, tuple(ReadVariable(name, variable) for name, variable in variables.items()))


# What is left behind -------------------------------------------------------------------------------


def test_nothing_is_written_and_no_trace_is_kept() -> None:
    kernel, counter = tf.Variable(tf.ones((3, 3))), tf.Variable(0.0)
    model = small_models.batch_norm()
    state = {w.path: w.numpy() for w in model.variables}

    @tf.function
    def loss() -> Any:
        counter.assign_add(1.0)
        return tf.reduce_sum(X @ kernel) + tf.reduce_sum(model(tf.ones((2, 4)), training=True))

    computation = asked(loss, kernel=kernel)
    for look in (trace, measure):
        look(computation)
        assert counter.numpy() == 0.0
        assert loss.experimental_get_tracing_count() == 0
        for weight in model.variables:
            np.testing.assert_array_equal(weight.numpy(), state[weight.path])
    loss()
    assert counter.numpy() == 1.0
    assert not np.array_equal(model.get_layer("bn").moving_mean.numpy(), state["bn/moving_mean"])


def test_what_was_patched_is_as_before() -> None:
    classes = internals.SymbolicTensor, internals.VARIABLE, internals.FUNCTION, keras.Layer

    def methods() -> list[dict[str, Any]]:
        # Python adds `__annotations__` to a class that is asked for them.
        return [{k: v for k, v in vars(c).items() if k != "__annotations__"} for c in classes]

    before = methods()
    kernel = tf.Variable(tf.ones((3, 3)))

    def fails() -> Any:
        raise RuntimeError("the user's own")

    trace(asked(lambda: tf.reduce_sum(X @ kernel), kernel=kernel))
    measure(asked(lambda: tf.reduce_sum(X @ kernel), kernel=kernel))
    with pytest.raises(RuntimeError, match="the user's own"):
        trace(asked(fails, kernel=kernel))
    assert measure(asked(fails, kernel=kernel)).error == "the user's own"

    assert methods() == before
    with pytest.raises(NotImplementedError, match="symbolic"):
        tf.function(lambda: np.asarray(X @ kernel), autograph=False)()


@pytest.mark.parametrize(
    "draw",
    [
        lambda: tf.random.normal((2,)),
        lambda: tf.random.normal((2,), seed=5),
        lambda: tf.random.get_global_generator().normal((2,)),
    ],
    ids=["global seed", "seed of its own", "generator"],
)
def test_random_numbers_go_on_as_if_nobody_had_looked(draw: Callable[[], Any]) -> None:
    scale = tf.Variable(1.0)

    def drawn(between: Callable[[], Any]) -> list[Any]:
        tf.random.set_seed(4)
        tf.random.get_global_generator().reset_from_seed(4)
        first = draw()
        between()
        return [first.numpy(), draw().numpy()]

    computation = asked(lambda: tf.reduce_sum(draw() * scale), scale=scale)
    np.testing.assert_array_equal(drawn(lambda: measure(computation)), drawn(lambda: None))
    np.testing.assert_array_equal(drawn(lambda: trace(computation)), drawn(lambda: None))


def test_values_that_python_asks_for_are_right() -> None:
    kernel = tf.Variable(tf.ones((3, 2)))
    found: list[Any] = []

    def loss() -> Any:
        hidden = tf.while_loop(lambda n, _: n < 2, lambda n, h: (n + 1, h * 2.0), [0, X @ kernel])[1]
        found.extend([hidden.numpy(), np.asarray(hidden), float(hidden[0, 0]), int(hidden[1, 1])])
        found.append([float(row[0]) for row in hidden])
        found.append((len(hidden), bool(hidden[0, 0] > 0), kernel.numpy()))
        return tf.reduce_sum(hidden) if hidden[0, 0] < 0 else tf.constant(0.0)

    seen = trace(asked(loss, kernel=kernel))
    expected = (X @ tf.ones((3, 2))).numpy() * 4
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)
    np.testing.assert_allclose(found[1], expected, rtol=1e-6)
    assert found[2] == pytest.approx(expected[0, 0]) and found[3] == int(expected[1, 1])
    assert found[4] == pytest.approx(list(expected[:, 0]))
    assert found[5][:2] == (2, False)
    np.testing.assert_array_equal(found[5][2], np.ones((3, 2)))
    assert standings(seen) == {"kernel": "trains"}


# What is found -------------------------------------------------------------------------------------


def test_leaves_are_told_apart() -> None:
    weight, hidden = tf.Variable(tf.ones((3, 3)), name="w"), tf.Variable(tf.ones(3), name="hidden")
    count = tf.Variable(2, name="count")
    big, small = tf.ones((30, 3)), tf.ones(3)

    def loss(x: Any) -> Any:
        mixed = x["a"][0] @ weight * hidden + tf.reduce_sum(big, 0) + small + tf.cast(count, tf.float32)
        return tf.reduce_sum(mixed) + tf.reduce_sum(tf.cast(x["b"], tf.float32))

    batch = {"a": (np.ones((2, 3), "float32"),), "b": np.arange(3)}
    sources = (
        ReadVariable("w", weight),
        ReadVariable("late", tf.Variable(1.0)),
        ReadVariable("small", small, "input"),
    )
    seen = trace(
        Computation(loss, (*sources, ReadVariable("count", count, "state")), (Argument(batch, "input", "x"),))
    )

    assert [leaf.name for leaf in leaves(seen, "foreign")] == ["hidden"]
    assert leaves(seen, "foreign")[0].where is not None
    assert {leaf.name: leaf.differentiable for leaf in leaves(seen, "input")} == {
        "x/a/0": True,
        "x/b": False,
        "small": True,
    }
    assert [(leaf.name, leaf.differentiable) for leaf in leaves(seen, "state")] == [("count", False)]
    assert max(leaf.nbytes for leaf in leaves(seen, "constant")) == 360
    assert standings(seen) == {"w": "trains", "late": "unused"}


def test_a_weight_given_as_an_argument() -> None:
    tree = {"kernel": tf.ones((3, 2)), "unused": [tf.ones(2)], "steps": tf.constant(3)}
    computation = Computation(lambda w: tf.reduce_sum(X @ w["kernel"]), (), (Argument(tree, "weight", "w"),))
    assert standings(trace(computation)) == {"w/kernel": "trains", "w/unused/0": "unused"}
    gradients = measure(computation).gradients
    assert gradients["w/unused/0"] is None
    np.testing.assert_allclose(gradients["w/kernel"], np.tile(np.sum(X, 0)[:, None], 2), rtol=1e-6)


def test_a_loss_made_before_is_a_constant() -> None:
    kernel = tf.Variable(tf.ones((3, 3)))
    before = tf.reduce_sum(X @ kernel)
    seen = trace(asked(lambda: before, kernel=kernel))
    loss = seen.graph.nodes[seen.graph.loss]
    assert isinstance(loss, Leaf) and loss.kind == "constant"
    assert standings(seen) == {"kernel": "unused"}


def test_looked_up_rows_are_measured_as_a_whole_table() -> None:
    table = tf.Variable(tf.ones((4, 2)))
    computation = asked(lambda: tf.reduce_sum(tf.gather(table, [1, 1, 3])), table=table)
    expected = [[0, 0], [2, 2], [0, 0], [1, 1]]
    np.testing.assert_array_equal(measure(computation).gradients["table"], expected)


GROUPED = """
import keras, numpy as np, tensorflow as tf
import frostline as fl

keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((4, 4, 6)), keras.layers.Conv2D(6, 3, groups=6, name="grouped")])
model.compile("sgd", "mse")
x, y = np.random.rand(2, 4, 4, 6).astype("float32"), np.ones((2, 2, 2, 6), "float32")
weights = [weight.value for weight in model.weights]

def gradients():
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
    return tape.gradient(loss, weights)

with tf.GradientTape() as tape:
    convolved = tf.nn.convolution(x, weights[0])
try:
    tape.gradient(convolved, weights[0])
    raise SystemExit("there is a kernel for it")
except tf.errors.OpError:
    pass
before = [weight.numpy() for weight in weights]
answer = fl.audit(model, x, y)
assert answer.ok and answer.notes == (), answer
expected = [float(tf.norm(g)) for g in gradients()]
np.testing.assert_allclose(list(answer.gradient_norms.values()), expected, rtol=1e-5)
for weight, value in zip(weights, before):
    np.testing.assert_array_equal(weight, value)
"""


def test_gradients_without_a_kernel_are_compiled() -> None:
    """Those of grouped convolutions, where TensorFlow is not built with oneDNN, or does not use it."""
    done = subprocess.run(
        [sys.executable, "-c", GROUPED],
        env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_compiled_measurement_leaves_variables_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, counter, compiles = tf.Variable(tf.ones((3, 3))), tf.Variable(1.0), True
    eager = tf.GradientTape.gradient

    def refused(tape: Any, *arguments: Any, **options: Any) -> Any:
        if not compiles or tf.executing_eagerly():
            raise tf.errors.InvalidArgumentError(None, None, "no kernel for it")
        return eager(tape, *arguments, **options)

    def loss() -> Any:
        counter.assign_add(1.0)
        return tf.reduce_sum(X @ kernel + 1.0) * counter

    computation = asked(loss, kernel=kernel)
    expected = measure(computation)
    monkeypatch.setattr(tf.GradientTape, "gradient", refused)
    found = measure(computation)
    assert counter.numpy() == 1.0
    assert found.error == "" and found.loss == pytest.approx(expected.loss)
    np.testing.assert_array_equal(found.gradients["kernel"], expected.gradients["kernel"])

    compiles = False
    assert measure(computation).error == "no kernel for it"


def test_lines_and_layers_lead_to_the_user() -> None:
    class Rounds(layers.Layer):
        def call(self, x: Any) -> Any:
            return keras.ops.round(x)  # here

    inputs = keras.Input((3, 4))
    inner = keras.Sequential([layers.LSTM(2, name="memory"), Rounds(name="rounds")], name="inner")
    model = keras.Model(inputs, layers.Dense(1, name="head")(inner(inputs)))
    seen = trace(about(model, np.ones((2, 3, 4), "float32")))

    flow, weights = Flow(seen.graph), seen.graph.weights
    (cut,) = flow.cuts(weights["inner/memory/lstm_cell/kernel"])
    node = seen.graph.nodes[cut.consumer]
    assert isinstance(node, Node) and node.where is not None
    assert (node.operation, node.layer, node.where.function) == ("round", "inner/rounds", "call")
    assert Path(node.where.file) == Path(__file__) and node.where.source.endswith("# here")
    met = {node.layer for node in nodes(seen)}
    assert {"inner/memory/lstm_cell", "inner/memory", "inner/rounds", "head", None} <= met
    assert met - {None} <= {node.address for node in inventory(model).layers}


def test_a_layer_made_in_call_is_foreign() -> None:
    model = small_models.layer_in_call()
    seen = trace(about(model, np.ones((2, 4), "float32")))
    assert [unknown.address for unknown in seen.unknown_layers] == ["maker/fresh"]
    assert sorted(leaf.name.rpartition("/")[2] for leaf in leaves(seen, "foreign")) == ["bias", "kernel"]
    assert all(leaf.layer == "maker/fresh" for leaf in leaves(seen, "foreign"))
    assert set(standings(seen).values()) == {"trains"}


def test_a_value_that_leaves_inside_a_loop_stops_the_tracing() -> None:
    scale = tf.Variable(2.0)

    def loss() -> Any:
        return tf.while_loop(lambda n, _: n < 2, lambda n, v: (n + 1, v * v.numpy()), [0, scale * 1.0])[1]

    seen = trace(asked(loss, scale=scale))
    flow = Flow(seen.graph)
    (cut,) = flow.cuts(seen.graph.weights["scale"])
    node = seen.graph.nodes[cut.consumer]
    assert cut.reason == "left_framework" and node.where is not None and "v.numpy()" in node.where.source
    assert "numpy" in seen.error


def test_the_gradient_of_a_loop_inside_the_loss_is_followed() -> None:
    model = keras.Sequential(
        [keras.Input((5, 4)), layers.LSTM(3, name="memory"), layers.Dense(1, name="head")]
    )
    x = tf.random.normal((2, 5, 4), seed=1)

    def penalty() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = model(x)
        return tf.reduce_mean((tf.norm(tape.gradient(outputs, x)) - 1.0) ** 2)

    sources = tuple(ReadVariable(w.address, w.variable) for w in inventory(model))
    seen, measured = trace(Computation(penalty, sources)), measure(Computation(penalty, sources))
    live = {name for name, gradient in measured.gradients.items() if gradient is not None}
    assert live == {name for name, standing in standings(seen).items() if standing == "trains"}
    assert standings(seen)["head/bias"] == "unused"


def test_functions_that_were_traced_before_are_entered() -> None:
    inside, outside = tf.Variable(2.0, name="inside"), tf.Variable(3.0, name="outside")
    made = tf.function(lambda x: tf.floor(x) * inside).get_concrete_function(tf.TensorSpec(()))
    seen = trace(asked(lambda: made(outside * 1.0), inside=inside, outside=outside))
    assert standings(seen) == {"inside": "trains", "outside": "cut"}
    assert (
        seen.graph.nodes[Flow(seen.graph).cuts(seen.graph.weights["outside"])[0].consumer].operation
        == "floor"
    )
