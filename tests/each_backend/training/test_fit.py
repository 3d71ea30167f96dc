"""`fl.fit`: what it takes, what it refuses, what its guard sees, and that its numbers are Keras's."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

import frostline as fl
from frostline.errors import (
    ModelError,
    PlanError,
    UnbuiltModelError,
    UncompiledModelError,
    VerificationError,
)
from helpers.checks import (
    all_weights,
    changed,
    flags_that_train,
    frostline_fit,
    moved_by,
    require_obeys,
    require_slots,
    values,
)
from helpers.custom_step import custom_step
from helpers.small_models import (
    Subclassed,
    batch_norm,
    compiled,
    data_for,
    is_readable,
    nested_dropout,
    two_dense,
)

pytestmark = pytest.mark.every_backend

ONLY_B = fl.Plan().train("b/**")
B = {"b/kernel", "b/bias"}

# --- inputs and arguments pass through --------------------------------------------------------

rng = np.random.default_rng(3)
X = rng.normal(size=(12, 4)).astype("float32")
Y = rng.integers(0, 2, size=12)
WEIGHTS = rng.uniform(0, 2, size=12).astype("float32")


class Batches(keras.utils.PyDataset):
    """`X` and `Y` in three batches."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return X[4 * index : 4 * index + 4], Y[4 * index : 4 * index + 4]


def endless() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`X` and `Y` in batches, again and again."""
    while True:
        yield from (Batches()[index] for index in range(3))


ARGUMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "arrays": lambda: {"x": X, "y": Y},
    "shuffled": lambda: {"x": X, "y": Y, "shuffle": True},
    "validation_data": lambda: {"x": X, "y": Y, "validation_data": (X[:4], Y[:4])},
    "validation_split": lambda: {"x": X, "y": Y, "validation_split": 0.25},
    "class_weight": lambda: {"x": X, "y": Y, "class_weight": {0: 3.0, 1: 0.1}},
    "sample_weight": lambda: {"x": X, "y": Y, "sample_weight": WEIGHTS},
    "initial_epoch": lambda: {"x": X, "y": Y, "initial_epoch": 1},
    "steps_per_epoch": lambda: {"x": X, "y": Y, "steps_per_epoch": 2, "epochs": 1},
    "generator": lambda: {"x": endless(), "steps_per_epoch": 3},
    "py_dataset": lambda: {"x": Batches()},
}


def classifier() -> keras.Model:
    """`two_dense`, compiled for two classes."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return compiled(two_dense(), optimizer=keras.optimizers.Adam(0.05), loss=loss)


# Keras says so of every generator, whatever `shuffle` is.
GENERATOR = "ignore:`shuffle=True` was passed, but will be ignored:UserWarning"


@pytest.mark.eager
@pytest.mark.filterwarnings(GENERATOR)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_pass_through(name: str) -> None:
    """History and numbers are those of `model.fit` on a model frozen by hand before compile."""
    common = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
    if name in ("generator", "py_dataset"):
        del common["batch_size"], common["shuffle"]
    by_hand = classifier()
    by_hand.get_layer("a").trainable = False
    compiled(by_hand, optimizer=keras.optimizers.Adam(0.05), loss=by_hand.loss)
    expected = by_hand.fit(**common | ARGUMENTS[name]())

    model = classifier()
    before = values(model)
    run = fl.fit(model, ONLY_B, **common | ARGUMENTS[name]())
    assert changed(model, before) == B
    for address, value in values(by_hand).items():
        np.testing.assert_allclose(values(model)[address], value, rtol=1e-5, atol=1e-6)
    assert run.history.epoch == expected.epoch
    assert set(run.history.history) == set(expected.history)
    for key, numbers in expected.history.items():
        np.testing.assert_allclose(run.history.history[key], numbers, rtol=1e-5)


def test_no_layer_is_called_only_for_the_shapes_of_outputs() -> None:
    """Keras calls them all, before the first step of a fit; on TensorFlow it leaves that to tracing."""

    class Counted(keras.layers.Layer):  # type: ignore[misc]
        symbolic = 0

        def call(self, inputs: Any) -> Any:
            self.symbolic += in_symbolic_scope()
            return inputs

    def model() -> keras.Model:
        inputs = keras.Input((4,))
        hidden = Counted(name="counted")(keras.layers.Dense(3, name="a")(inputs))
        model = compiled(keras.Model(inputs, keras.layers.Dense(2, name="b")(hidden)))
        model.get_layer("counted").symbolic = 0
        return model

    x, y = X, np.ones((12, 2), "float32")
    by_keras, by_us = model(), model()
    by_keras.fit(x, y, verbose=0)
    fl.fit(by_us, ONLY_B, x, y, verbose=0)
    assert (by_keras.get_layer("counted").symbolic > 0) == (keras.backend.backend() != "tensorflow")
    assert by_us.get_layer("counted").symbolic == 0
    assert "call" not in vars(by_us)


@pytest.mark.filterwarnings(GENERATOR)
def test_data_is_named_in_the_receipt() -> None:
    model = classifier()
    run = fl.fit(model, ONLY_B, X, Y, sample_weight=WEIGHTS, verbose=0)
    assert set(run.receipt.data) == {"x", "y", "sample_weight"}
    assert all(digest.startswith("blake3:") for digest in run.receipt.data.values())

    run = fl.fit(model, ONLY_B, endless(), steps_per_epoch=3, verbose=0)
    assert run.receipt.data == {"x": "not digested: generator may give other data the next time"}


def test_callbacks_are_called() -> None:
    """Callbacks see the model in training, may stop it, and read its weights."""
    model = compiled(two_dense())
    seen: list[int] = []

    def look(epoch: int, logs: dict[str, float]) -> None:
        seen.append(epoch)
        assert flags_that_train(model) == B
        assert all(is_readable(weight) for weight in model.weights)
        assert logs["loss"] > 0
        model.stop_training = epoch == 1

    callback = keras.callbacks.LambdaCallback(on_epoch_end=look)
    run = frostline_fit(model, ONLY_B, epochs=5, callbacks=[callback])
    assert seen == [0, 1] == run.history.epoch
    assert run.verification.ok


def test_best_weights_may_be_restored() -> None:
    """EarlyStopping that restores the best weights keeps the frozen ones as they are."""
    model = compiled(two_dense(), optimizer=keras.optimizers.SGD(0.5))
    stop = keras.callbacks.EarlyStopping("loss", patience=1, restore_best_weights=True)
    run = frostline_fit(model, ONLY_B, epochs=4, callbacks=[stop])

    assert run.verification.ok
    assert set(run.verification.of("intact")) == {"a/kernel", "a/bias"}


def test_resolution_in_place_of_a_plan() -> None:
    model = compiled(two_dense())
    resolution = ONLY_B.resolve(model)
    run = frostline_fit(model, resolution)
    assert run.resolution is resolution
    assert set(run.verification.of("trained")) == B


def test_no_epochs_train_nothing_and_blame_nobody() -> None:
    model = compiled(two_dense())
    run = frostline_fit(model, ONLY_B, epochs=0)
    assert run.history.epoch == []
    assert set(run.verification.of("unmoved")) == B
    assert run.verification.no_gradient == ()


# --- the guard --------------------------------------------------------------------------------


def assigns_to(weight: keras.Variable) -> keras.callbacks.Callback:
    """A callback that adds to a weight at the end of each epoch."""

    def add(epoch: int, logs: object) -> None:
        weight.assign(weight + 1e-3)

    return keras.callbacks.LambdaCallback(on_epoch_end=add)


def test_guard_catches_an_assignment() -> None:
    model = compiled(two_dense())
    callback = assigns_to(model.get_layer("a").kernel)
    with pytest.raises(VerificationError) as caught:
        frostline_fit(model, ONLY_B, callbacks=[callback])

    assert str(caught.value) == (
        "1 frozen variable changed or went missing.\n"
        "  received: a/kernel (changed)\n"
        "  expected: bits identical to those before training\n"
        "  fix:      see what assigns to them: a callback, an assign in `call`, an optimizer of your own; "
        "where that is meant, say so in the plan: .assigned('a/kernel')"
    )


def test_guard_catches_a_statistic() -> None:
    model = compiled(batch_norm())
    callback = assigns_to(model.get_layer("bn").moving_mean)
    with pytest.raises(VerificationError, match=r"received: bn/moving_mean \(changed\)"):
        frostline_fit(model, ONLY_B, callbacks=[callback])
    plan = fl.Plan(batchnorm="update").train("b/**")
    assert frostline_fit(model, plan, callbacks=[callback]).verification.ok


def test_guard_lets_trained_weights_be_assigned() -> None:
    model = compiled(two_dense())
    run = frostline_fit(model, ONLY_B, callbacks=[assigns_to(model.get_layer("b").bias)])
    assert run.verification.ok


def test_without_guard() -> None:
    """No fingerprints and no verdict; the plan holds all the same."""
    model = compiled(two_dense())
    before = values(model)
    callback = assigns_to(model.get_layer("a").bias)
    run = frostline_fit(model, ONLY_B, guard=False)
    assert changed(model, before) == B
    assert (run.verification, run.receipt) == (None, None)
    assert {d.weight.address for d in run.resolution.trained} == B
    assert isinstance(run.history, keras.callbacks.History)

    frostline_fit(model, ONLY_B, guard=False, callbacks=[callback])
    assert changed(model, before) == B | {"a/bias"}


def test_receipt_says_what_happened() -> None:
    model = compiled(two_dense())
    before = fl.fingerprint(model)
    run = frostline_fit(model, ONLY_B)

    assert set(run.receipt.trained) == B
    assert run.receipt.moving == ()
    assert run.receipt.before == before
    assert run.receipt.check(before=before, after=fl.fingerprint(model)) == []
    assert run.receipt.versions["backend"] == keras.backend.backend()
    assert fl.Plan.from_data(run.receipt.plan) == ONLY_B


# --- refusals ---------------------------------------------------------------------------------


def test_plan_that_trains_nothing() -> None:
    model = compiled(two_dense())
    before, flags = values(model), flags_that_train(model)
    with pytest.raises(PlanError) as caught:
        frostline_fit(model, fl.Plan().train("b/**").freeze("b/*"))

    assert str(caught.value) == (
        "the plan trains nothing in the model 'two_dense'.\n"
        "  received: default: freeze; 1. train 'b/**'; 2. freeze 'b/*'\n"
        "  fix:      add a rule that trains: .train('last:1') trains the last layer"
    )
    assert changed(model, before) == set()
    assert flags_that_train(model) == flags


def test_uncompiled_model() -> None:
    with pytest.raises(UncompiledModelError) as caught:
        frostline_fit(two_dense(), ONLY_B)
    assert str(caught.value) == (
        "the model 'two_dense' is not compiled.\n"
        "  expected: a model with an optimizer and a loss\n"
        '  fix:      model.compile(optimizer="adam", loss="mse"), then fit again'
    )


def test_unbuilt_model() -> None:
    model = compiled(Subclassed(name="unbuilt"))
    with pytest.raises(UnbuiltModelError, match="the model 'unbuilt' is not built"):
        frostline_fit(model, fl.Plan(default="train"))
    sequential = compiled(keras.Sequential([keras.layers.Dense(2)], name="shapeless"))
    with pytest.raises(UnbuiltModelError, match="the model 'shapeless' is not built"):
        frostline_fit(sequential, fl.Plan(default="train"))


@pytest.mark.parametrize("wrong", [None, "a model", keras.layers.Dense(2)])
def test_what_is_no_model(wrong: Any) -> None:
    with pytest.raises(ModelError, match=r"only a keras.Model can be trained") as caught:
        fl.fit(wrong, ONLY_B, X, Y)
    assert type(wrong).__name__ in caught.value.received


# --- ways of running --------------------------------------------------------------------------


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras has it on TF and JAX only")
def test_steps_per_execution() -> None:
    model = two_dense()
    model.compile(optimizer="adam", loss="mse", steps_per_execution=2)
    for plan, trained in ((ONLY_B, B), (fl.Plan().train("a/**"), {"a/kernel", "a/bias"})):
        fl.apply(model, plan)
        require_obeys(model, plan, trained)


# PyTorch warns of its own doings when it compiles.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
# Compiling takes a minute there, as long as all else in this file.
@pytest.mark.parametrize(
    "jit", [pytest.param(True, marks=pytest.mark.slow if keras.backend.backend() == "torch" else ()), False]
)
def test_jit_compile(jit: bool) -> None:
    model = two_dense()
    model.compile(optimizer="adam", loss="mse", jit_compile=jit)
    for plan, trained in ((ONLY_B, B), (fl.Plan().train("a/kernel", lr=0.5), {"a/kernel"})):
        assert moved_by(model, lambda plan=plan: frostline_fit(model, plan)) == trained
        require_slots(model, trained)


def test_custom_train_step() -> None:
    """A model with its own `train_step` obeys, under fit, train_on_batch and callbacks."""
    model = compiled(custom_step(), optimizer=keras.optimizers.Adam(0.05))
    for plan, trained in (
        (ONLY_B, B),
        (fl.Plan(default="train").freeze("b/bias"), all_weights(model) - {"b/bias"}),
        (fl.Plan().train("a/**", lr=0.1), {"a/kernel", "a/bias"}),
    ):
        assert moved_by(model, lambda plan=plan: frostline_fit(model, plan)) == trained
        require_slots(model, trained)
    require_obeys(model, plan, trained)


def test_mixed_precision_with_scaled_loss() -> None:
    """A LossScaleOptimizer comes under the plan with the optimizer that it wraps."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = nested_dropout()
    finally:
        keras.config.set_dtype_policy("float32")
    inner = keras.optimizers.Adam(0.05)
    compiled(model, optimizer=keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0))
    for name in ("head", "backbone", "head"):
        run = frostline_fit(model, fl.Plan().train(f"{name}/**"), epochs=2)
        assert {a.split("/")[0] for a in run.verification.of("trained")} == {name}
    x, _ = data_for(model)
    assert np.isfinite(model.predict(x, verbose=0)).all()
