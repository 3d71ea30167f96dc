"""What a run says became of each weight: the same words on every backend, and why something did not move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from frostline.errors import NoGradientError
from helpers.checks import quick_first

pytestmark = [
    pytest.mark.every_backend,
    pytest.mark.filterwarnings("ignore:Gradients do not exist"),
]  # Keras on TensorFlow and PyTorch

ON_JAX = keras.backend.backend() == "jax"
"""Only there a weight without a gradient gets one of zeros, so that decay moves it."""

OPTIMIZERS = {
    "adamw": lambda: keras.optimizers.AdamW(0.1, weight_decay=0.01),
    "sgd with decay": lambda: keras.optimizers.SGD(0.1, weight_decay=0.01),
    "momentum with decay": lambda: keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.01),
}


@keras.saving.register_keras_serializable("tests")
class Cut(keras.Model):
    """The gradient stops behind `a`."""

    def __init__(self, regularizer: Any = None, **named: Any) -> None:
        super().__init__(**named)
        self.a = layers.Dense(4, name="a", kernel_regularizer=regularizer, bias_initializer="ones")
        self.b = layers.Dense(2, name="b")

    def build(self, shape: Any) -> None:
        self.a.build(shape)
        self.b.build((shape[0], 4))
        self.built = True

    def call(self, x: Any) -> Any:
        return self.b(ops.stop_gradient(self.a(x)))


def cut(optimizer: Any, regularizer: Any = None) -> Cut:
    keras.utils.set_random_seed(0)
    model = Cut(regularizer, name="cut")
    model.build((None, 3))
    model.compile(optimizer, "mse")
    return model


def data() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).normal(size=(16, 3)).astype("float32"), np.zeros((16, 2), "float32")


def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    while True:
        yield data()


def fit(model: Any, plan: Any = None, **more: Any) -> fl.Run:
    return fl.fit(model, plan or fl.Plan(default="train"), *data(), verbose=0, preflight=False, **more)


@pytest.mark.parametrize("optimizer", quick_first(OPTIMIZERS, list(OPTIMIZERS)[:1]))
def test_decay_alone_is_no_training(optimizer: str) -> None:
    run = fit(cut(OPTIMIZERS[optimizer]()))
    assert run.verification.of("trained") == ("b/kernel", "b/bias")
    assert run.verification.no_gradient == ("a/kernel", "a/bias")
    assert run.verification.of("decay alone" if ON_JAX else "unmoved") == ("a/kernel", "a/bias")
    assert ("2 moved by decay or a penalty alone" if ON_JAX else "2 unmoved") in run.verdict


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_penalty_alone_is_no_training(optimizer: str) -> None:
    run = fit(cut(optimizer, "l2"))
    assert run.verification.of("decay alone") == ("a/kernel",)
    assert run.verification.of("unmoved") == ("a/bias",)
    assert "moved without a gradient of the loss: a/kernel" in str(run)
    again = fl.Receipt(**vars(run.receipt)).verification
    assert again.of("decay alone") == ("a/kernel",)


def test_the_check_before_training_says_that_only_a_penalty_moves_it() -> None:
    with pytest.raises(NoGradientError, match=r"a/kernel: cut(.|\n)*only its penalty moves it"):
        fl.fit(cut("sgd", "l2"), fl.Plan().train("{a,b}/kernel"), *data(), verbose=0)


def test_a_penalty_beside_a_gradient_is_training() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="top", kernel_regularizer="l2")])
    model.compile("sgd", "mse")
    for preflight in (True, False):
        run = fl.fit(model, fl.Plan(default="train"), *data(), verbose=0, preflight=preflight)
        assert run.verification.of("trained") == ("top/kernel", "top/bias")
        assert run.verification.remarks == []


def test_what_data_cannot_show_is_said() -> None:
    endless: dict[str, Any] = {"steps_per_epoch": 2, "verbose": 0, "shuffle": False}
    run = fl.fit(cut("sgd", "l2"), fl.Plan().train("{a,b}/kernel"), batches(), **endless)
    assert run.verification.of("trained") == ("a/kernel", "b/kernel")
    assert run.verification.evidence.untold == ("a/kernel",)
    assert "not known: whether a gradient of the loss moved a/kernel" in str(run)


def vanishing(scale: float = 1e-10, optimizer: Any = "sgd") -> keras.Model:
    inputs = keras.Input((4,))
    start = keras.initializers.Constant(scale)
    hidden = layers.Dense(4, name="base", kernel_initializer=start)(inputs)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax", name="fc")(hidden), name="net")
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def classes() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).normal(size=(8, 4)).astype("float32"), np.array([0, 1] * 4)


@pytest.mark.parametrize("preflight", [True, False])
@pytest.mark.parametrize("phased", [False, True])
def test_steps_that_are_lost_in_rounding_are_named(phased: bool, preflight: bool) -> None:
    plan: Any = fl.Plan().train("fc/kernel")
    if phased:
        later = fl.Phase("later", epochs=1)
        plan = fl.Schedule(plan, (fl.Phase("first", epochs=1), later))
    run = fl.fit(vanishing(), plan, *classes(), verbose=0, preflight=preflight)
    assert run.verification.of("unmoved") == ("fc/kernel",)
    assert run.verification.nothing_trained
    assert "but nothing trained" in run.verdict
    assert "its steps are lost in rounding" in str(run)


def test_a_learning_rate_of_zero_is_named() -> None:
    model = vanishing(1.0, keras.optimizers.SGD(0.0))
    run = fl.fit(model, fl.Plan().train("fc/kernel"), *classes(), verbose=0)
    assert "did not move: fc/kernel: its learning rate is 0" in str(run)


def test_where_nothing_moved_and_nobody_can_look_the_error_claims_no_more_than_that() -> None:
    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        while True:
            yield classes()

    with pytest.raises(NoGradientError) as caught:
        fl.fit(
            vanishing(), fl.Plan().train("fc/kernel"), pairs(), steps_per_epoch=1, verbose=0, shuffle=False
        )
    assert str(caught.value).splitlines()[0] == "nothing that the plan trains in the model 'net' moved."
    assert "it is not known why: no gradient, or steps too small" in str(caught.value)


def test_a_dead_unit_beside_living_ones() -> None:
    inputs = keras.Input((3,))
    dead = layers.Dense(4, "relu", name="dead", bias_initializer=keras.initializers.Constant(-99.0))(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="top")(layers.concatenate([inputs, dead])), name="half")
    for optimizer in ("sgd", "adam"):
        model.compile(optimizer, "mse")
        run = fit(model)
        dead = ("dead/kernel", "dead/bias")
        assert run.verification.of("unmoved") == dead
        # Slots tell of every step; without slots there is a look at some samples, and no more is claimed.
        assert run.verification.no_gradient == (dead if optimizer == "adam" else ())
        reason = {"adam": "zeros at every step", "sgd": "zero on the samples looked at"}[optimizer]
        assert all(reason in run.verification.evidence.why_unmoved[address] for address in dead)


def test_a_dead_layer_alone_is_an_error_that_claims_no_more_than_was_seen() -> None:
    dead = layers.Dense(2, "relu", name="dead", bias_initializer=keras.initializers.Constant(-99.0))
    for optimizer, said in (("sgd", "zero on the samples looked at"), ("adam", "zero at every step")):
        model = keras.Sequential([keras.Input((3,)), dead], name="dead")
        model.compile(optimizer, "mse")
        with pytest.raises(NoGradientError, match=said):
            fit(model)


ALL = fl.Plan(default="train")


@pytest.mark.parametrize("preflight", [True, False])
def test_slots_that_keep_gradients_times_a_rate_of_zero_do_not_say_no_gradient(preflight: bool) -> None:
    model = vanishing(1.0, keras.optimizers.SGD(0.0, momentum=0.9))
    run = fl.fit(model, fl.Plan().train("fc/kernel"), *classes(), verbose=0, preflight=preflight)
    assert run.verification.remarks == ["did not move: fc/kernel: its learning rate is 0"]


@pytest.mark.parametrize("preflight", [True, False])
def test_gradients_that_are_still_summed_are_no_missing_ones(preflight: bool) -> None:
    model = vanishing(1.0, keras.optimizers.Adam(gradient_accumulation_steps=3))
    more = {"verbose": 0, "preflight": preflight, "batch_size": 4}
    run = fl.fit(model, fl.Plan().train("fc/kernel"), *classes(), **more)
    why = "its gradients are still being summed: fewer steps than gradient_accumulation_steps=3"
    assert run.verification.remarks == [f"did not move: fc/kernel: {why}"]
    run = fl.fit(model, fl.Plan().train("fc/kernel"), *classes(), **more)
    assert run.verification.of("trained") == ("fc/kernel",)


@pytest.mark.parametrize("preflight", [True, False])
def test_steps_that_loss_scaling_left_out_are_named(preflight: bool) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="top", dtype="mixed_float16")])
    inner = keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**30), "mse")
    x, y = data()
    run = fl.fit(model, ALL, x * 100, y + 1000, verbose=0, preflight=preflight)
    assert run.verification.of("unmoved") == ("top/kernel", "top/bias")
    assert run.verification.no_gradient == ()
    assert "loss scaling left out every step, since gradients were not finite" in str(run)


class Opens(Cut):
    """Learns all of it while it is open."""

    is_open = True

    def call(self, x: Any) -> Any:
        hidden = self.a(x)
        return self.b(hidden if self.is_open else ops.stop_gradient(hidden))


def opened_and_shut() -> Opens:
    """A model whose optimizer has gradients of `a` from a training before, and that gets none now."""
    keras.utils.set_random_seed(0)
    model, optimizer = Opens(name="opens"), keras.optimizers.SGD(0.1, momentum=0.9)
    model.build((None, 3))
    model.compile(optimizer, "mse")
    fl.fit(model, fl.Plan().train("**"), *data(), epochs=2, verbose=0)
    model.is_open = False
    model.compile(optimizer, "mse")
    return model


def test_gradients_of_an_earlier_training_are_no_evidence_for_this_one() -> None:
    run = fl.fit(opened_and_shut(), fl.Plan().train("**"), *data(), epochs=1, verbose=0, preflight=False)
    assert run.verification is not None
    expected = {"decay alone": ON_JAX, "unmoved": not ON_JAX}
    for outcome, here in expected.items():
        assert ("a/kernel" in run.verification.of(outcome)) is here, outcome
    assert set(run.verification.of("trained")) == {"b/kernel", "b/bias"}


def test_where_nobody_can_look_the_slots_of_an_earlier_training_claim_nothing() -> None:
    model = opened_and_shut()
    run = fl.fit(
        model, fl.Plan().train("**"), batches(), epochs=1, steps_per_epoch=2, shuffle=False, verbose=0
    )
    unknown = next(line for line in str(run).splitlines() if line.startswith("not known"))
    assert "b/kernel" in unknown
    assert ("a/kernel" in unknown) is ON_JAX


def test_what_a_second_phase_begins_to_train_has_slots_of_its_own() -> None:
    keras.utils.set_random_seed(0)
    model = Opens(name="opens")
    model.build((None, 3))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    phases = fl.Phase("head", epochs=1).train("b/**"), fl.Phase("all", epochs=1).train("**")
    run = fl.fit(
        model, fl.Schedule(fl.Plan(), phases), batches(), steps_per_epoch=2, shuffle=False, verbose=0
    )
    assert "not known" not in str(run)


def test_the_rate_that_a_schedule_ends_with_is_not_the_rate_that_was() -> None:
    falling = keras.optimizers.schedules.PolynomialDecay(0.1, 2, end_learning_rate=0.0)
    plan = fl.Plan().train("fc/kernel")
    run = fl.fit(vanishing(1e-10, keras.optimizers.SGD(falling)), plan, *classes(), verbose=0, batch_size=4)
    assert "its steps are lost in rounding" in str(run)
    rising = keras.optimizers.schedules.PolynomialDecay(0.0, 2, end_learning_rate=0.1)
    run = fl.fit(vanishing(1.0, keras.optimizers.SGD(rising)), plan, *classes(), verbose=0)
    assert run.verification.remarks == ["did not move: fc/kernel: its learning rate is 0"]


def test_a_gradient_that_could_arrive_and_never_did_is_no_training() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="top")])
    model.compile(keras.optimizers.AdamW(0.1, weight_decay=0.1), "mse")
    x, y = data()
    run = fl.fit(model, ALL, x * 0, y + 1, verbose=0)
    assert run.verification.of("trained") == ("top/bias",)
    assert run.verification.of("decay alone") == ("top/kernel",)
    run = fl.fit(model, ALL, x, y, verbose=0)
    assert run.verification.of("trained") == ("top/kernel", "top/bias")
