"""The reader for JAX: what its jaxprs hold, lines of source, layers, and pytrees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("of JAX", allow_module_level=True)

import jax
import jax.numpy as jnp
from keras import layers

import frostline as fl
from frostline.backends.dispatch import measure, trace
from frostline.graph.flow import Flow
from frostline.graph.reader import Argument, Computation, ReadVariable

pytestmark = pytest.mark.every_backend

X = jnp.linspace(0.1, 1.0, 3)


def cut_of(loss: Callable[..., Any], name: str = "w", **params: Any) -> tuple[str, str]:
    """Reason and operation of the one cut of a variable."""
    answer = fl.explain(loss, {"w": X, **params})
    (cut,) = answer[name].cuts
    return cut.reason, cut.operation


def status_of(loss: Callable[..., Any], **params: Any) -> dict[str, str]:
    return {name: one.status for name, one in fl.explain(loss, {"w": X, **params}).items()}


# Derivatives --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "operation"),
    [(jnp.round, "round"), (jnp.floor, "floor"), (jnp.ceil, "ceil"), (jnp.sign, "sign")],
)
def test_what_has_no_derivative(function: Any, operation: str) -> None:
    reason, found = cut_of(lambda p: jnp.sum(function(p["w"])))
    assert reason == "not_differentiable"
    assert found == operation


@pytest.mark.parametrize(
    "function",
    [
        jnp.abs,
        jnp.cumsum,
        jnp.sort,
        jax.nn.relu,
        jax.nn.gelu,
        jax.nn.logsumexp,
        jax.nn.softmax,
        jnp.linalg.norm,
        lambda x: jnp.linalg.solve(jnp.eye(3) + jnp.outer(x, x), x),
        lambda x: jnp.fft.fft(x).real,
        lambda x: jax.vmap(jnp.sin)(x),
        lambda x: jnp.where(jnp.arange(3) > 0, x, 0.0),
        lambda x: x.at[0].set(2.0),
        lambda x: jax.lax.associative_scan(jnp.add, x),
        lambda x: jax.lax.map(jnp.sin, x),
        lambda x: jnp.interp(x, jnp.arange(3.0), jnp.arange(3.0) ** 2),
    ],
)
def test_what_has_one(function: Any) -> None:
    assert status_of(lambda p: jnp.sum(function(p["w"]) * (X + 1.0))) == {"w": "trains"}


def test_a_custom_jvp_of_zeros() -> None:
    @jax.custom_jvp
    def quiet(x: Any) -> Any:
        return 2.0 * x

    quiet.defjvp(lambda primals, tangents: (quiet(*primals), jnp.zeros_like(tangents[0])))
    assert cut_of(lambda p: jnp.sum(quiet(p["w"]))) == ("zero_gradient", "quiet")


def test_a_custom_vjp_may_pass_one_input_and_not_the_other() -> None:
    @jax.custom_vjp
    def mixed(a: Any, b: Any) -> Any:
        return a * b

    mixed.defvjp(lambda a, b: (a * b, (a, b)), lambda kept, g: (g * kept[1], jnp.zeros_like(kept[0])))

    def loss(p: Any) -> Any:
        return jnp.sum(mixed(p["w"], p["v"]))

    assert status_of(loss, v=X) == {"w": "trains", "v": "cut"}
    assert cut_of(loss, "v", v=X) == ("zero_gradient", "mixed")


def test_a_loop_of_integers_is_no_cut_for_what_goes_round_it() -> None:
    def loss(p: Any) -> Any:
        turns = jax.lax.while_loop(lambda n: n < 3, lambda n: n + 1, 0)
        return jnp.sum(p["w"]) * turns

    answer = fl.explain(loss, {"w": X})
    assert answer["w"].status == "trains"
    assert answer.notes == ()


def test_a_scan_of_no_steps_hands_on_its_start() -> None:
    def loss(p: Any) -> Any:
        last, _ = jax.lax.scan(lambda c, x: (jax.lax.stop_gradient(c) + x, x), p["w"], jnp.zeros((0, 3)))
        return jnp.sum(last)

    assert status_of(loss) == {"w": "trains"}


# Lines and layers ---------------------------------------------------------------------------------


@jax.jit
def compiled_elsewhere(x: Any) -> Any:
    return jnp.floor(x)


def test_the_line_is_that_of_this_call_though_jax_has_seen_the_function_before() -> None:
    compiled_elsewhere(X)
    jnp.where(X > 0.5, X, 0.0)

    def loss(p: Any) -> Any:
        chosen = jnp.where(p["w"] > 0.5, X, 0.0)
        return jnp.sum(chosen + compiled_elsewhere(p["v"]))

    answer = fl.explain(loss, {"w": X, "v": X})
    lines = {name: one.cuts[0].where.source for name, one in answer.items() if one.cuts[0].where}
    assert lines == {"w": 'chosen = jnp.where(p["w"] > 0.5, X, 0.0)', "v": "return jnp.floor(x)"}


class Jitted(layers.Layer):
    """Calls its sublayer inside a function of `jax.jit`, inside `jax.checkpoint`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner = layers.Dense(3, name="inner")

    def build(self, shape: Any) -> None:
        self.inner.build(shape)

    def call(self, x: Any) -> Any:
        return jnp.round(jax.checkpoint(jax.jit(lambda y: self.inner(y)))(x))


def test_layers_are_known_inside_jitted_and_rematerialised_functions() -> None:
    layer = Jitted(name="outer")
    layer.build((None, 3))
    held = fl.inventory(layer)
    computation = Computation(
        lambda: jnp.sum(layer(jnp.ones((2, 3)))),
        tuple(ReadVariable(w.address, w.variable) for w in held),
        layers={id(n.layer): f"net/{n.address}".rstrip("/") for n in held.layers},
    )
    graph = trace(computation).graph
    flow = Flow(graph)
    route = flow.route(graph.weights["inner/kernel"])
    assert [graph.nodes[i].layer for i in route] == [None, *["net/inner"] * (len(route) - 2), "net"]
    (cut,) = flow.cuts(graph.weights["inner/kernel"])
    where = graph.nodes[cut.consumer].where
    assert where is not None
    assert where.function == "call"


# Pytrees ------------------------------------------------------------------------------------------


def test_what_is_no_array_of_numbers_is_left_alone() -> None:
    def loss(p: Any) -> Any:
        assert p["name"] == "relu"
        assert p["nothing"] is None
        return jnp.sum(p["w"] * p["rate"]) + jnp.sum(p["ids"]) + p["list"][1]

    params = {
        "name": "relu",
        "nothing": None,
        "rate": 2.0,
        "ids": jnp.arange(3),
        "list": [X, np.float32(1.0)],
    }
    assert status_of(loss, **params) == {
        "list/0": "unused",
        "list/1": "trains",
        "rate": "trains",
        "w": "trains",
    }


def test_ids_in_the_tree_are_data() -> None:
    computation = Computation(
        lambda tree: jnp.sum(tree["table"][tree["ids"]]),
        arguments=(Argument({"table": X, "ids": jnp.arange(2)}, "weight", "p"),),
    )
    graph = trace(computation).graph
    assert list(graph.weights) == ["p/table"]
    assert [(leaf.name, leaf.differentiable) for _, leaf in graph.leaves("input")] == [("p/ids", False)]
    assert measure(computation).gradients["p/table"].tolist() == [1.0, 1.0, 0.0]  # type: ignore[union-attr]


def test_captured_arrays_are_constants_with_their_size_unless_they_are_named() -> None:
    big, data = jnp.ones((100, 3)), jnp.ones((3,))
    computation = Computation(
        lambda tree: jnp.sum(big @ tree) + jnp.sum(data * tree),
        variables=(ReadVariable("x", data, "input"),),
        arguments=(Argument(X, "weight", "w"),),
    )
    graph = trace(computation).graph
    assert max(leaf.nbytes for _, leaf in graph.leaves("constant")) == 1200
    assert [leaf.name for _, leaf in graph.leaves("input")] == ["x"]


def test_no_value_of_tracing_is_left_behind() -> None:
    made = []

    class Making(layers.Layer):
        def call(self, x: Any) -> Any:
            made.append(layers.Dense(2, name="made"))
            return made[-1](x)

    layer, weight = Making(), keras.Variable(np.ones((2, 3), "float32"), name="w")
    layer(np.ones((2, 3)))
    answer = fl.explain(lambda: jnp.sum(layer(weight.value)), [weight])
    assert answer["w"].status == "trains"
    assert len(made) == 3
    assert all(np.isfinite(keras.ops.convert_to_numpy(one.kernel)).all() for one in made)
