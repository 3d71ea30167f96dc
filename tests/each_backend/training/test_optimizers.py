"""One optimizer through many plans: slots by address, multipliers, and the numbers of PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline.optimizers.state import forget_parked
from helpers.checks import (
    all_weights,
    changed,
    frostline_fit,
    moved_by,
    quick_first,
    require_slots,
    same_arrays,
    slots_by_address,
    values,
    weights_in,
)
from helpers.small_models import compiled, data_for, square_layers, two_dense

Optimizer = keras.optimizers.Optimizer

OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "sgd_momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.05),
    "adamw_ema": lambda: keras.optimizers.AdamW(0.05, weight_decay=0.1, use_ema=True, ema_momentum=0.5),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "lion": lambda: keras.optimizers.Lion(0.01, weight_decay=0.1),
}
each_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)

PLANS = {
    "all": fl.Plan(default="train"),
    "a": fl.Plan().train("a/**"),
    "b and c": fl.Plan().train("b/**").train("c/**", lr=0.1),
    "biases": fl.Plan().train("**/bias", lr=2.0, decay=0.0),
    "all but b": fl.Plan(default="train").freeze("b/**"),
}


def trained_by(name: str) -> set[str]:
    """The addresses that a plan of `PLANS` trains in `square_layers`."""
    picks = {"a": "a", "b and c": "bc", "all but b": "ac"}.get(name, "abc")
    kinds = ("bias",) if name == "biases" else ("kernel", "bias")
    return {f"{layer}/{kind}" for layer in picks for kind in kinds}


def some_orders(count: int) -> list[str]:
    """A few of the orders of the five plans, drawn with a fixed seed."""
    orders = list(permutations(PLANS))
    chosen = np.random.default_rng(11).choice(len(orders), size=count, replace=False)
    return [" > ".join(orders[number]) for number in chosen]


ORDERS = some_orders(2)


# --- five plans, one optimizer ----------------------------------------------------------------


@each_optimizer
@pytest.mark.parametrize("order", quick_first(ORDERS, ORDERS[:1]))
def test_plans_in_any_order(make: Callable[[], Optimizer], order: str) -> None:
    """Each plan moves just what it trains; what it does not train keeps every bit."""
    model = compiled(square_layers(), optimizer=make())
    optimizer = model.optimizer
    for number, name in enumerate(order.split(" > "), 1):
        before = values(model)
        # Three steps: two of Lion, which all have one size, may lead back to where they began.
        run = frostline_fit(model, PLANS[name], batch_size=3)
        assert changed(model, before) == trained_by(name)
        assert set(run.verification.of("trained")) == trained_by(name)
        assert run.verification.no_gradient == ()
        assert model.optimizer is optimizer
        assert int(optimizer.iterations) == 3 * number
        require_slots(model, trained_by(name))
        assert all(np.isfinite(value).all() for value in values(model).values())


@each_optimizer
def test_slots_come_back(make: Callable[[], Optimizer]) -> None:
    """The slots of a weight that is frozen and trains again are those it had, bit by bit."""
    model = compiled(square_layers(), optimizer=make())
    frostline_fit(model, PLANS["all"], epochs=2)
    before = slots_by_address(model)
    assert set(before) == all_weights(model)
    assert all(any(slot.any() for slot in held.values()) for held in before.values())

    frostline_fit(model, PLANS["a"], epochs=2)
    assert set(slots_by_address(model)) == {"a/kernel", "a/bias"}
    frostline_fit(model, fl.Plan().train("c/**"))
    fl.apply(model, PLANS["all"])
    after = slots_by_address(model)
    for address in weights_in(model, "b"):
        assert before[address].keys() == after[address].keys()
        assert same_arrays(before[address].values(), after[address].values())
    for address in weights_in(model, "a", "c"):
        assert not same_arrays(before[address].values(), after[address].values())


@each_optimizer
def test_changing_plans_without_training_changes_no_slot(make: Callable[[], Optimizer]) -> None:
    """Plans put on one after the other leave the next step what it would have been."""
    model, plain = (compiled(square_layers(), optimizer=make()) for _ in range(2))
    for one in (model, plain):
        frostline_fit(one, PLANS["all"])
    for name in (*PLANS, "all"):
        fl.apply(model, PLANS[name])
    for one in (model, plain):
        frostline_fit(one, PLANS["all"])

    expected = values(plain)
    for address, value in values(model).items():
        np.testing.assert_allclose(value, expected[address], rtol=1e-5, atol=1e-6)


def test_forgotten_slots_start_anew() -> None:
    """`forget_parked` drops the slots of weights that do not train now."""
    model = compiled(square_layers(), optimizer=OPTIMIZERS["adam"]())
    frostline_fit(model, PLANS["all"])
    fl.apply(model, PLANS["a"])
    forget_parked(model.optimizer)
    fl.apply(model, PLANS["all"])
    slots = slots_by_address(model)

    assert any(slot.any() for slot in slots["a/kernel"].values())
    assert not any(slot.any() for slot in slots["b/kernel"].values())


def test_two_models_keep_their_slots_apart() -> None:
    """Equal addresses in two models, each with an optimizer of its own."""
    first, second = (compiled(two_dense(), optimizer=OPTIMIZERS["adam"]()) for _ in range(2))
    frostline_fit(first, fl.Plan(default="train"))
    fl.apply(first, fl.Plan().train("b/**"))
    frostline_fit(second, fl.Plan().train("b/**"))
    fl.apply(second, fl.Plan(default="train"))

    assert not slots_by_address(second)["a/kernel"]["_momentums"].any()
    fl.apply(first, fl.Plan(default="train"))
    assert slots_by_address(first)["a/kernel"]["_momentums"].any()


# --- the numbers of PyTorch -------------------------------------------------------------------


@dataclass
class Torchlike:
    """PyTorch's SGD with momentum, or its AdamW, for one weight, by the formulas of its manual.

    The count of steps is the weight's own, and a step without the weight leaves its state alone.
    """

    value: np.ndarray
    steps: int = 0
    first: np.ndarray = field(default_factory=lambda: np.zeros(()))
    second: np.ndarray = field(default_factory=lambda: np.zeros(()))

    def sgd(self, gradient: np.ndarray, lr: float, decay: float) -> None:
        """Momentum 0.9, no damping."""
        gradient = gradient + 0 * decay
        self.first = 0.9 * self.first + gradient
        self.value = self.value - lr * self.first

    def adamw(self, gradient: np.ndarray, lr: float, decay: float) -> None:
        """Betas 0.9 and 0.999; decay decoupled, by the weight's own learning rate."""
        self.steps += 1
        self.value = self.value * (1 - lr * decay)
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        mean = self.first / (1 - 0.9**self.steps)
        square = self.second / (1 - 0.999**self.steps)
        self.value = self.value - lr * mean / (np.sqrt(square) + 1e-12)


def two_heads() -> keras.Model:
    """Dense `a` and Dense `b` side by side, each from 4 to 2, their outputs joined."""
    keras.utils.set_random_seed(5)
    inputs = keras.Input((4,), name="x")
    heads = [keras.layers.Dense(2, name=name)(inputs) for name in "ab"]
    return keras.Model(inputs, keras.layers.Concatenate(name="both")(heads), name="two_heads")


def linear_loss(y: Any, predicted: Any) -> Any:
    """Linear in the weights, so that the gradients depend on the data alone."""
    return keras.ops.mean(y * predicted)


RNG = np.random.default_rng(2)
X = RNG.normal(size=(8, 4)).astype("float32")
Y = RNG.normal(size=(8, 4)).astype("float32")


def gradients() -> list[dict[str, np.ndarray]]:
    """The gradients of `linear_loss` for the two batches of four."""
    found = []
    for rows in (slice(0, 4), slice(4, 8)):
        x, y = X[rows].astype("float64"), Y[rows].astype("float64") / 16
        one = {}
        for name, columns in (("a", slice(0, 2)), ("b", slice(2, 4))):
            one[f"{name}/kernel"] = x.T @ y[:, columns]
            one[f"{name}/bias"] = y[:, columns].sum(axis=0)
        found.append(one)
    return found


PHASES = [
    fl.Plan(default="train"),
    fl.Plan().train("a/**", lr=0.1, decay=3.0),
    fl.Plan().train("b/kernel"),
    fl.Plan().train("**/kernel", lr=0.5).train("b/**", lr=0.2, decay=0.5),
    fl.Plan(default="train"),
]
LATE = [fl.Plan().train("a/**"), fl.Plan(default="train"), fl.Plan(default="train")]


@pytest.mark.parametrize("phases", [PHASES, LATE], ids=["phases", "late"])
@pytest.mark.parametrize("rule", ["sgd", "adamw"])
def test_phases_equal_pytorch(rule: str, phases: list[fl.Plan]) -> None:
    """Multipliers, frozen phases and late joining give the numbers of PyTorch's own formulas."""
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    if rule == "adamw":
        optimizer = keras.optimizers.AdamW(0.02, weight_decay=0.3, epsilon=1e-12)
    model = compiled(two_heads(), optimizer=optimizer, loss=linear_loss)
    base = 0.1 if rule == "sgd" else 0.02
    expected = {address: Torchlike(v.astype("float64")) for address, v in values(model).items()}
    momentum_rate: dict[str, float] = {}
    for plan in phases:
        run = fl.fit(model, plan, X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        for gradient in gradients() * 2:
            for decision in run.resolution.trained:
                address = decision.weight.address
                lr = base * decision.lr
                if rule == "sgd":
                    # Keras folds the rate into the buffer: a change of rate does not rescale it.
                    one = expected[address]
                    one.first = one.first * momentum_rate.get(address, lr) / lr
                    momentum_rate[address] = lr
                getattr(expected[address], rule)(gradient[address], lr, 0.3 * decision.decay)
        for address, value in values(model).items():
            np.testing.assert_allclose(value, expected[address].value, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("field_name", ["lr", "decay"])
def test_multiplier_of_one_group_leaves_the_other_alone(field_name: str) -> None:
    """A multiplier for `a` changes nothing of `b`."""
    plans = (fl.Plan(default="train"), fl.Plan(default="train").train("a/**", **{field_name: 0.25}))
    seen = []
    for plan in plans:
        optimizer = keras.optimizers.AdamW(0.02, weight_decay=0.3)
        model = compiled(two_heads(), optimizer=optimizer, loss=linear_loss)
        fl.fit(model, plan, X, Y, batch_size=4, shuffle=False, verbose=0)
        seen.append(values(model))
    for kind in ("kernel", "bias"):
        np.testing.assert_allclose(seen[0][f"b/{kind}"], seen[1][f"b/{kind}"], rtol=1e-6)
    assert not np.allclose(seen[0]["a/kernel"], seen[1]["a/kernel"], rtol=1e-4)


def test_multiplier_follows_a_schedule() -> None:
    """The multiplier multiplies the rate of the moment, not that of the beginning."""
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.1, 0.01])
    model = compiled(two_heads(), optimizer=keras.optimizers.SGD(schedule), loss=linear_loss)
    before = values(model)
    fl.fit(model, fl.Plan().train("a/**", lr=0.5), X, Y, batch_size=2, epochs=1, shuffle=False, verbose=0)
    halves = [X[n : n + 2].astype("float64").T @ Y[n : n + 2, :2] / 8 for n in range(0, 8, 2)]
    rates = [0.05, 0.05, 0.005, 0.005]
    step = sum(rate * half for rate, half in zip(rates, halves, strict=True))
    np.testing.assert_allclose(values(model)["a/kernel"], before["a/kernel"] - step, rtol=1e-4)


# --- settings of optimizers -------------------------------------------------------------------


def test_global_clipping_counts_trained_weights_only() -> None:
    """The global norm is that of the weights that train."""
    optimizer = keras.optimizers.SGD(1.0, global_clipnorm=0.01)
    model = compiled(two_dense(), optimizer=optimizer)
    before = values(model)
    x, y = data_for(model)
    fl.fit(model, fl.Plan().train("b/**"), x, y, batch_size=8, verbose=0)
    step = [before[a] - values(model)[a] for a in sorted(weights_in(model, "b"))]
    norm = np.sqrt(sum((part**2).sum() for part in step))
    np.testing.assert_allclose(norm, 0.01, rtol=1e-3)


def test_accumulated_gradients_follow_the_plan() -> None:
    """With accumulation, the frozen weights stay and the trained ones move every second step."""
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    model = compiled(two_dense(), optimizer=optimizer)
    x, y = data_for(model)
    for name in ("b", "a", "b"):
        fl.apply(model, fl.Plan().train(f"{name}/**"))
        trained = weights_in(model, name)
        assert moved_by(model, lambda: model.train_on_batch(x, y)) == set()
        assert moved_by(model, lambda: model.train_on_batch(x, y)) == trained


def test_constraint_of_a_frozen_weight_is_not_applied() -> None:
    """A frozen weight outside of its constraint stays outside."""
    inputs = keras.Input((4,), name="x")
    constraint = keras.constraints.MaxNorm(0.1)
    hidden = keras.layers.Dense(3, kernel_constraint=constraint, name="a")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="b")(hidden), name="two_dense")
    compiled(model, optimizer=OPTIMIZERS["adam"]())
    run = frostline_fit(model, fl.Plan().train("b/**"))
    assert run.verification.ok
    assert np.linalg.norm(values(model)["a/kernel"], axis=0).max() > 0.1
