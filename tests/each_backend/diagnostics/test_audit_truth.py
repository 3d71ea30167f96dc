"""The status of every weight agrees with what a training step of plain SGD does to it, over random models.

`FROSTLINE_EXAMPLES` sets the number of examples (25; `make test-all` takes 1000).

The learning rate is 1e30, so that any gradient that is not zero changes the bits of a float32 weight: nothing
is lost in rounding, and moved means moved. One doubt remains, and is bounded. A derivative that is zero in
exact arithmetic (of the bias of attention's keys, or of a shift in front of a BatchNormalization) comes out
as rounding left it, a zero in one compiled function and 1e-9 in another. Only between `trains` and `zero`,
and only where both sides put the gradient below `NOISE` of the largest, they may differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, currently_in_test_context, event, given, settings
from hypothesis import strategies as st
from keras import ops

import frostline as fl
from frostline.model.inventory import inventory
from helpers import random_models
from helpers.checks import examples
from helpers.random_models import BATCH, WIDTH, Part, Recipe, plans, recipes

EXAMPLES = examples(25, jax=8, tensorflow=8)
BACKEND = keras.backend.backend()
RATE = 1e30
NOISE = 1e-6

every = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

pytestmark = pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")


# --- parts that let no gradient, or only some, pass -------------------------------------------


class Twist(keras.layers.Layer):
    """Scales what comes in by a weight of its own, and treats the gradient in one of several ways."""

    def __init__(self, way: Callable[[Any, Any], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.way = way

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape

    def call(self, inputs: Any) -> Any:
        return self.way(inputs, self.scale)


TWISTS: dict[str, Callable[[Any, Any], Any]] = {
    "stopped": lambda x, scale: ops.stop_gradient(x * scale),
    "rounded": lambda x, scale: ops.round(4 * x * scale) / 4,
    "one branch stopped": lambda x, scale: x + ops.stop_gradient(x * scale),
    "weight stopped": lambda x, scale: x * ops.stop_gradient(scale),
    "straight through": lambda x, scale: x * scale + ops.stop_gradient(ops.round(x) - x),
    "unused": lambda x, scale: x,
    "dead": lambda x, scale: x + ops.relu(x * scale - 1e6),
    "chosen": lambda x, scale: ops.where(x * scale > 0, x, 0.5 * x),
    "times zero": lambda x, scale: x + 0.0 * scale,
    "to integers": lambda x, scale: x + ops.cast(ops.cast(x * scale, "int32"), "float32"),
    "sorted": lambda x, scale: ops.sort(x * scale, axis=-1),
    "left out": lambda x, scale: ops.concatenate([x, x * scale], axis=-1)[..., : x.shape[-1]],
    "branch not taken": lambda x, scale: ops.cond(ops.mean(x) > 1e6, lambda: x * scale, lambda: x + 0.0),
}


def _penalized(name: str) -> Any:
    return keras.layers.Dense(WIDTH, activation="tanh", kernel_regularizer="l2", name=name)


@pytest.fixture(autouse=True)
def _twists_are_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {kind: (lambda name, way=way: Twist(way, name=name)) for kind, way in TWISTS.items()}
    for kind, make in {**made, "penalized": _penalized}.items():
        monkeypatch.setitem(random_models._SINGLE, kind, make)


@st.composite
def twisted(draw: st.DrawFn) -> Recipe:
    """A random `Recipe` with up to two twists among its parts, at any depth."""
    recipe = draw(recipes())
    for number in range(draw(st.integers(0, 2))):
        kinds = [*TWISTS, "penalized"]
        part = Part(draw(st.sampled_from(kinds)), f"twist_{number}")
        if draw(st.booleans()) and part.kind != "penalized" and recipe.front:
            recipe = replace(recipe, front=draw(_inserted(recipe.front, part)))
        else:
            recipe = replace(recipe, body=draw(_inserted(recipe.body, part)))
    return recipe


@st.composite
def _inserted(draw: st.DrawFn, parts: tuple[Part, ...], new: Part) -> tuple[Part, ...]:
    place = draw(st.integers(0, len(parts)))
    if place < len(parts) and parts[place].inner and draw(st.booleans()):
        inside = replace(parts[place], inner=draw(_inserted(parts[place].inner, new)))
        return (*parts[:place], inside, *parts[place + 1 :])
    return (*parts[:place], new, *parts[place:])


# --- the question -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A model, and a plan to train it under; None where its own flags say what trains."""

    recipe: Recipe
    plan: fl.Plan | None
    flags: tuple[bool, ...] = ()


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A random `Case`."""
    recipe = draw(twisted())
    weights = inventory(recipe.build())
    if draw(st.booleans()):
        return Case(recipe, draw(plans(weights)))
    count = len(weights.of_role("weight"))
    flags = draw(st.lists(st.sampled_from((True, True, False)), min_size=count, max_size=count).filter(any))
    return Case(recipe, None, tuple(flags))


@pytest.mark.parametrize("kind", TWISTS)
def test_each_twist(kind: str) -> None:
    """Every twist once, whatever is drawn below."""
    require_truth(
        Case(Recipe("functional", "numbers", (), (Part("dense", "first"), Part(kind, "twist"))), None)
    )


@every
@given(cases())
def test_the_status_is_what_a_step_does(case: Case) -> None:
    require_truth(case)


def require_truth(case: Case) -> None:
    model = case.recipe.build()
    for weight, flag in zip(inventory(model).of_role("weight"), case.flags, strict=False):
        weight.variable.trainable = flag
    model.compile(keras.optimizers.SGD(RATE), "mse", jit_compile=BACKEND == "jax")
    x, y = (part[:BATCH] for part in case.recipe.data())

    answer = fl.audit(model, x, y, plan=case.plan)
    before = random_models.values(model)
    if case.plan is not None:
        fl.apply(model, case.plan)
    trained = one_step(model, x, y)
    after = random_models.values(model)

    require_agreement(answer, before, after, trained=trained)
    for status in set(answer.statuses.values()):
        _note(status)


TEN, SLOW = 10, 1e-2


@every
@given(twisted(), st.sampled_from(("", "l2", "scaled")))
def test_ten_real_steps_do_what_the_status_says(recipe: Recipe, also: str) -> None:
    """Under penalties, too, which move what the loss of the data does not, and with the loss scaled up."""
    model = recipe.build()
    weights = [w for w in inventory(model).of_role("weight") if not w.part]
    penalty = keras.regularizers.L2(0.5) if also == "l2" else None
    for weight in weights if penalty is not None else ():
        weight.variable.regularizer = penalty
    plain = keras.optimizers.SGD(SLOW)
    optimizer = keras.optimizers.LossScaleOptimizer(plain, initial_scale=64.0) if also == "scaled" else plain
    model.compile(optimizer, "mse", jit_compile=BACKEND == "jax")
    x, y = (part[:BATCH] for part in recipe.data())

    answer = fl.audit(model, x, y)
    held = random_models.values(model)
    if not all(one_step(model, x, y) for _ in range(TEN)):
        assert "trains" not in answer.statuses.values()
        return
    after = random_models.values(model)
    largest = max(answer.gradient_norms.values(), default=0.0)
    for weight in weights:
        status, moved = answer.statuses[weight.address], after[weight.address]
        rate = float(getattr(weight.variable.regularizer, "l2", 0.0) or 0.0)
        alone = _penalty_alone(held[weight.address], rate)
        apart = float(np.abs(moved.astype("float64") - alone).max(initial=0.0))
        rounding = 1e-5 * float(np.abs(alone).max(initial=1e-6))
        if status in ("cut", "unused"):
            assert apart <= rounding, f"{weight.address} is {status}, and {apart} from what its penalty does"
        elif status == "zero":
            _note("zero" if apart <= rounding else "zero at first")  # what others do may open a way
        elif status == "trains":
            size = answer.gradient_norms.get(weight.address, 0.0)
            tiny = size <= NOISE * largest or TEN * SLOW * size < 10 * rounding
            assert apart > 0 or tiny, f"{weight.address} trains ({size}), and moved by its penalty alone"
        else:
            raise AssertionError(f"{weight.address} is {status}")


def _penalty_alone(value: np.ndarray, rate: float) -> np.ndarray:
    """Ten steps of SGD on an L2 penalty."""
    return value.astype("float64") * (1 - 2 * rate * SLOW) ** TEN


def one_step(model: keras.Model, x: Any, y: Any) -> bool:
    """Train one step; False where the backend raised because nothing can get a gradient."""
    try:
        model.train_on_batch(x, y)
    except (RuntimeError, ValueError) as error:
        expected = ("does not require grad", "No gradients provided", "ever have been updated")
        if not any(text in str(error) for text in expected):
            raise
        return False
    return True


def require_agreement(
    answer: fl.Audit, before: dict[str, np.ndarray], after: dict[str, np.ndarray], *, trained: bool
) -> None:
    moved = {a for a in before if before[a].tobytes() != after[a].tobytes()}
    sizes = {a: _size(before[a], after[a]) for a in moved & set(answer.statuses)}
    largest = max(sizes.values(), default=0.0)
    for address, status in answer.statuses.items():
        match status:
            case "frozen" | "cut" | "unused":
                assert address not in moved, f"{address} is {status}, and moved"
            case "leaks":
                assert address in moved or not trained, f"{address} leaks, and did not move"
            case "trains" if address not in moved:
                size = answer.gradient_norms.get(address, 0.0)  # none of what cancels over the batch
                assert size <= NOISE * largest, f"{address} trains ({size} of {largest}), and did not move"
                _note("trains, but for rounding zero")
            case "zero" if address in moved:
                size = sizes[address]
                assert size <= NOISE * largest, f"{address} is zero, and moved ({size} of {largest})"
                _note("zero, but for rounding trains")
            case "trains" | "zero":
                pass
            case other:
                raise AssertionError(f"{address} is {other}")


def _note(what: str) -> None:
    if currently_in_test_context():
        event(what)


def _size(before: np.ndarray, after: np.ndarray) -> float:
    """The norm of the gradient that a step of plain SGD shows."""
    return float(np.linalg.norm((after.astype("float64") - before) / RATE))
