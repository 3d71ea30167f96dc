"""State that is not a Keras variable: what a layer remembers, variables of TensorFlow's, tables, trees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import frostline as fl
from frostline.errors import ModelError, ResumeError, VerificationError
from helpers.interrupted_runs import Interrupt, Interrupted

BACKEND = keras.backend.backend()
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="variables of TensorFlow")
HEAD = fl.Plan().train("head/**")


def compiled(model: keras.Model) -> keras.Model:
    model.compile(keras.optimizers.Adam(0.05), "mse")
    return model


def data(*shape: int, out: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(8, *shape)).astype("float32"), rng.normal(size=(8, out)).astype("float32")


def bits(model: keras.Model) -> dict[str, bytes]:
    return {w.address: w.numpy().tobytes() for w in fl.inventory(model) if w.role != "metric"}


# What a recurrent layer remembers -------------------------------------------------------------------------


def stateful(kind: Any = layers.LSTM) -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input(batch_shape=(4, 3, 2))
    hidden = kind(3, stateful=True, name="memory")(inputs)
    return compiled(keras.Model(inputs, layers.Dense(1, name="head")(hidden), name="net"))


def around_a_stateful_layer() -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input(batch_shape=(4, 3, 2))
    hidden = layers.Bidirectional(layers.GRU(3, stateful=True), name="both")(inputs)
    return compiled(keras.Model(inputs, layers.Dense(1, name="head")(hidden), name="net"))


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (stateful, ["memory/rnn_state", "memory/rnn_state#2"]),
        (lambda: stateful(layers.SimpleRNN), ["memory/rnn_state"]),
        (around_a_stateful_layer, ["both/forward_gru/rnn_state", "both/backward_gru/rnn_state"]),
    ],
    ids=["lstm", "simple", "bidirectional"],
)
def test_memories_are_state_of_the_model(make: Any, names: list[str], tmp_path: Path) -> None:
    model = make()
    found = [w for w in fl.inventory(model) if w.role == "state"]
    assert [_without_number(w.address) for w in found] == names
    if BACKEND != "torch":  # Keras fails there: it writes into what the gradient needs
        run = fl.fit(model, fl.Plan().train("**"), *data(3, 2), batch_size=4, verbose=0, shuffle=False)
        assert run.verification.ok
        assert {w.address for w in found} <= set(run.verification.of("state"))
    model.predict(data(3, 2)[0], batch_size=4, verbose=0)
    fl.save_model(model, tmp_path / "m.keras")
    again = fl.load_model(tmp_path / "m.keras")
    assert list(bits(again).values()) == list(bits(model).values())


def _without_number(address: str) -> str:
    return "/".join(part.rstrip("0123456789").removesuffix("_") for part in address.split("/")[:-1]) + (
        f"/{address.rpartition('/')[2]}"
    )


@pytest.mark.skipif(BACKEND == "torch", reason="Keras fails to train stateful layers there")
def test_a_run_that_was_killed_remembers(tmp_path: Path) -> None:
    common = {"epochs": 3, "batch_size": 4, "verbose": 0, "shuffle": False}
    straight = stateful()
    fl.fit(straight, fl.Plan().train("**"), *data(3, 2), **common)
    with pytest.raises(Interrupted):
        stop = [Interrupt(2, "begin")]
        fl.fit(stateful(), fl.Plan().train("**"), *data(3, 2), **common, resume=tmp_path, callbacks=stop)
    again = stateful()
    fl.fit(again, fl.Plan().train("**"), *data(3, 2), **common, resume=tmp_path)
    assert bits(again) == bits(straight)


def test_a_stateful_layer_is_no_finding_of_the_audit() -> None:
    x, y = data(3, 2)
    assert fl.audit(stateful(), x[:4], y[:4]).ok


# Lookup tables ----------------------------------------------------------------------------------------------


def with_vocabulary(terms: list[int]) -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((2,), dtype="int64")
    lookup = layers.IntegerLookup(vocabulary=terms, output_mode="multi_hot", name="lookup")
    return keras.Model(inputs, layers.Dense(1, name="head")(lookup(inputs)), name="net")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="Keras looks up inside a model there alone")
@pytest.mark.every_backend
def test_a_vocabulary_is_state_that_nothing_trains(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    model = compiled(with_vocabulary([3, 5, 7]))
    x, y = np.array([[3, 5]] * 8), data(2)[1]
    mark = fl.fingerprint(model)
    run = fl.fit(model, fl.Plan().train("**"), x, y, verbose=0)
    assert "lookup/vocabulary" in run.verification.of("held")
    assert not fl.verify(compiled(with_vocabulary([3, 5, 8])), mark, HEAD).ok
    fl.save_model(model, tmp_path / "m.keras")
    assert bits(fl.load_model(tmp_path / "m.keras")) == bits(model)


# Trees of parameters ---------------------------------------------------------------------------------------


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has JaxLayer on JAX and TensorFlow")
@pytest.mark.every_backend
def test_parameters_and_state_in_trees_have_the_names_that_they_have_there(tmp_path: Path) -> None:
    def call(params: Any, state: Any, inputs: Any, training: bool) -> Any:
        moved = {"norm": {"mean": state["norm"]["mean"] * 0.9}} if training else state
        return inputs @ params["dense"]["kernel"] + params["dense"]["bias"] - state["norm"]["mean"], moved

    params = {"dense": {"kernel": np.eye(3, dtype="float32"), "bias": np.zeros(3, "float32")}}
    state = {"norm": {"mean": np.ones(3, "float32")}}
    inside = layers.JaxLayer(call, params=params, state=state, name="inside")
    model = compiled(keras.Sequential([keras.Input((3,)), inside, layers.Dense(1, name="head")]))
    found = {w.address: w.role for w in fl.inventory(model) if w.layer == "inside"}
    assert found == {
        "inside/params/dense/bias": "weight",
        "inside/params/dense/kernel": "weight",
        "inside/state/norm/mean": "statistic",
    }
    run = fl.fit(model, fl.Plan().train("inside/params/dense/bias"), *data(3), verbose=0)
    assert run.verification.of("trained") == ("inside/params/dense/bias",)
    assert run.verification.of("moved") == ("inside/state/norm/mean",)
    assert fl.fit(model, HEAD, *data(3), verbose=0).verification.of("moved") == ()


# Variables of TensorFlow ------------------------------------------------------------------------------------


@on_tensorflow
@pytest.mark.parametrize("where", ["attribute", "module", "list", "mapping"])
@pytest.mark.every_backend
def test_a_variable_that_a_layer_holds_is_held_and_proved(where: str, tmp_path: Path) -> None:
    model = compiled(_counting(where))
    (name,) = (w.address for w in fl.inventory(model) if w.is_held)
    assert name == f"counts/{_NAMES[where]}"
    run = fl.fit(model, fl.Plan().train("**"), *data(3), batch_size=4, verbose=0)
    assert run.verification.of("moved") == (name,)
    assert float(fl.inventory(model).by_address[name].numpy()) == 2.0
    base = compiled(_counting(where))
    fl.save_delta(model, tmp_path / "d.safetensors", base=run)
    fl.load_delta(base, tmp_path / "d.safetensors")
    assert bits(base) == bits(model)
    fl.save_model(model, tmp_path / "m.keras")
    custom = {"Counts": type(model.get_layer("counts"))}
    assert bits(fl.load_model(tmp_path / "m.keras", custom_objects=custom)) == bits(model)


_NAMES = {"attribute": "seen", "module": "inner/seen", "list": "every/0", "mapping": "named/seen"}


def _counting(where: str, *, always: bool = False) -> keras.Model:
    import tensorflow as tf

    class Counts(layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def __init__(self, where: str, always: bool, **more: Any) -> None:
            super().__init__(**more)
            self.where, self.always = where, always
            seen = tf.Variable(0.0, trainable=False)
            if where == "attribute":
                self.seen = seen
            elif where == "module":
                self.inner = tf.Module()
                self.inner.seen = seen
            elif where == "list":
                self.every = [seen]
            else:
                self.named = {"seen": seen}
            self.dense = layers.Dense(3, name="dense")

        def build(self, shape: Any) -> None:
            self.dense.build(shape)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "where": self.where, "always": self.always}

        def call(self, x: Any, training: bool | None = None) -> Any:
            held = {
                "attribute": lambda: self.seen,
                "module": lambda: self.inner.seen,
                "list": lambda: self.every[0],
                "mapping": lambda: self.named["seen"],
            }[self.where]()
            if training or self.always:
                held.assign_add(1.0)
            return self.dense(x)

    keras.utils.set_random_seed(1)
    counts = Counts(where, always, name="counts")
    return keras.Sequential([keras.Input((3,)), counts, layers.Dense(1, name="head")], name="net")


@on_tensorflow
@pytest.mark.every_backend
def test_a_variable_in_a_frozen_layer_is_held_or_ends_the_run() -> None:
    model = compiled(_counting("attribute"))
    run = fl.fit(model, HEAD, *data(3), verbose=0)
    assert run.verification.of("held") == ("counts/seen",)
    with pytest.raises(VerificationError, match=r"counts/seen \(changed\)"):
        fl.fit(compiled(_counting("attribute", always=True)), HEAD, *data(3), verbose=0)


@on_tensorflow
@pytest.mark.every_backend
def test_a_killed_run_goes_on_with_such_variables(tmp_path: Path) -> None:
    plan, common = fl.Plan().train("**"), {"epochs": 3, "batch_size": 4, "verbose": 0}
    straight = compiled(_counting("module"))
    fl.fit(straight, plan, *data(3), **common, shuffle=False)
    with pytest.raises(Interrupted):
        stop = [Interrupt(1, "end")]
        model = compiled(_counting("module"))
        fl.fit(model, plan, *data(3), **common, shuffle=False, resume=tmp_path, callbacks=stop)
    again = compiled(_counting("module"))
    fl.fit(again, plan, *data(3), **common, shuffle=False, resume=tmp_path)
    assert bits(again) == bits(straight)
    other = compiled(_counting("module"))
    with pytest.raises((ResumeError, VerificationError)):
        fl.fit(other, HEAD, *data(3), **common, shuffle=False, resume=tmp_path)


@on_tensorflow
@pytest.mark.parametrize("kind", ["table", "text"])
@pytest.mark.every_backend
def test_what_cannot_be_held_is_refused_by_name(kind: str) -> None:
    import tensorflow as tf

    class Holds(layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def __init__(self) -> None:
            super().__init__(name="holds")
            if kind == "table":
                self.held = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, -1)
            else:
                self.held = tf.Variable("words", trainable=False)

        def call(self, x: Any) -> Any:
            return x

    model = compiled(keras.Sequential([keras.Input((3,)), Holds(), layers.Dense(1, name="head")]))
    with pytest.raises(ModelError, match=r"holds/held \(a (lookup table that can change|tf.Variable)"):
        fl.fit(model, HEAD, *data(3), verbose=0)
