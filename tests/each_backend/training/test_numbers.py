"""Trained weights get the numbers that the same optimizer gives where only they exist.

The references: PyTorch's own optimizers on a plain PyTorch module (torch backend), Optax (jax), and on
every backend the rules of SGD, Adam and AdamW written out in NumPy, and a plain Keras model without the
frozen part. Learning rates are constant and gradients well scaled: Keras folds the rate into the momentum
and adds epsilon before the bias correction, where others do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline.model.inventory import inventory
from helpers.checks import quick_first
from helpers.numpy_training import (
    ADAM,
    ADAMW,
    EPSILON,
    LAYERS,
    RMSPROP,
    SAMPLES,
    SGD,
    SIZES,
    STEPS,
    Group,
    Setting,
    Values,
    data,
    network,
    numpy_clipped,
    numpy_gradients,
    numpy_step,
    start,
    values_of,
)

pytestmark = pytest.mark.optimized

BACKEND = keras.backend.backend()
on_torch = pytest.mark.skipif(BACKEND != "torch", reason="compares with torch.optim")
on_jax = pytest.mark.skipif(BACKEND != "jax", reason="compares with Optax")

TOLERANCE = {"SGD": 1e-7, "Adam": 3e-6, "AdamW": 3e-6, "RMSprop": 3e-6}
"""For float32 numbers below 1. Measured: SGD 6e-8, which is one unit in the last place; Adam, AdamW 5e-7."""

TOLERANCE_OPTAX = {"SGD": 3e-8, "Adam": 2e-7, "AdamW": 2e-7, "RMSprop": 2e-7}
"""Measured: SGD 0 (1.5e-8 with multipliers or clipping), Adam 6e-8, AdamW 9e-8."""

TOLERANCE_SAME = 3e-8
"""Between two models of Keras. Measured: 0 on every backend."""


# --- what is trained --------------------------------------------------------------------------


@dataclass(frozen=True)
class Phase:
    """Groups that train together for some steps; the rest is frozen."""

    groups: tuple[Group, ...]
    steps: int = STEPS

    @property
    def plan(self) -> fl.Plan:
        plan = fl.Plan()
        for group in self.groups:
            plan = plan.train(f"{{{','.join(group.layers)}}}/**", lr=group.lr, decay=group.decay)
        return plan

    @property
    def multipliers(self) -> dict[str, Group]:
        return {layer: group for group in self.groups for layer in group.layers}


_SETTINGS = {one.name: one for one in (SGD, ADAM, ADAMW, RMSPROP)}
settings = pytest.mark.parametrize(
    "setting",
    [
        pytest.param(_SETTINGS[one.values[0]], marks=one.marks, id=one.values[0])
        for one in quick_first(_SETTINGS, ["SGD", "AdamW"])
    ],
)

TAIL = (Phase((Group(("b", "head")),)),)
GROUPS = (Phase((Group(("b",), lr=0.25, decay=2.0), Group(("head",)))),)
LATE = (Phase((Group(("head",)),), 3), Phase((Group(("b", "head")),), 3))
AWAY = (
    Phase((Group(("b", "head")),), 2),
    Phase((Group(("head",)),), 2),
    Phase((Group(("a", "b", "head")),), 2),
)


def fitted(setting: Setting, phases: tuple[Phase, ...], **more: Any) -> Values:
    """Train under the plans with Frostline, one full batch a step."""
    model = network()
    model.compile(setting.keras(**more), "mse")
    for phase in phases:
        fl.fit(model, phase.plan, *data(), batch_size=SAMPLES, epochs=phase.steps, shuffle=False, verbose=0)
    return values_of(model)


def assert_equal(found: Values, expected: Values, tolerance: float) -> None:
    """Trained or not, each value is the reference's; and what never trained is as it began, to the bit."""
    assert set(found) == set(expected)
    worst = max(float(np.abs(found[a] - expected[a]).max()) for a in found)
    assert worst <= tolerance, f"largest difference {worst:.2e}"
    moved = max(float(np.abs(found[a] - start()[a]).max()) for a in found)
    assert moved > 1000 * tolerance, "the test would not see a difference"


def assert_frozen_intact(found: Values, phases: tuple[Phase, ...]) -> None:
    ever = {layer for phase in phases for layer in phase.multipliers}
    for address, value in found.items():
        if address.split("/")[0] not in ever:
            assert value.tobytes() == start()[address].tobytes()


# --- NumPy ------------------------------------------------------------------------------------


def numpy_fitted(
    setting: Setting, phases: tuple[Phase, ...], norm: float | None = None, clip_all: bool = False
) -> Values:
    """SGD with momentum, Adam and AdamW as Keras's documentation has them, with steps counted by weight."""
    values = {a: v.astype("float64") for a, v in start().items()}
    slots = {a: [np.zeros_like(v), np.zeros_like(v)] for a, v in values.items()}
    counts = dict.fromkeys(values, 0)
    for phase in phases:
        for _ in range(phase.steps):
            every = numpy_gradients(values)
            trained = {a: g for a, g in every.items() if a.split("/")[0] in phase.multipliers}
            clipped = numpy_clipped(every if clip_all else trained, norm)
            for address in trained:
                counts[address] += 1
                group = phase.multipliers[address.split("/")[0]]
                values[address] = numpy_step(
                    setting, group, values[address], clipped[address], slots[address], counts[address]
                )
    return values


@settings
@pytest.mark.parametrize("phases", [TAIL, GROUPS, LATE, AWAY], ids=["tail", "groups", "late", "away"])
@pytest.mark.every_backend
def test_training_equals_numpy(setting: Setting, phases: tuple[Phase, ...]) -> None:
    found = fitted(setting, phases)
    assert_frozen_intact(found, phases)
    assert_equal(found, numpy_fitted(setting, phases), TOLERANCE[setting.name])


@settings
def test_global_clipnorm_counts_trained_gradients_only(setting: Setting) -> None:
    found = fitted(setting, TAIL, global_clipnorm=0.2)
    expected = numpy_fitted(setting, TAIL, norm=0.2)
    assert_equal(found, expected, TOLERANCE[setting.name])
    if setting.name == "SGD":  # The others do not see the size of gradients.
        of_all = numpy_fitted(setting, TAIL, norm=0.2, clip_all=True)
        assert max(np.abs(of_all[a] - expected[a]).max() for a in found) > 1e-3


# --- plain Keras, the trained part alone ------------------------------------------------------


@settings
@pytest.mark.every_backend
def test_training_equals_a_plain_keras_model_of_the_trained_part(setting: Setting) -> None:
    found = fitted(setting, TAIL)
    (x, y), values, whole = data(), start(), network()
    features = keras.Model(whole.inputs, whole.get_layer("a").output).predict(x, verbose=0)
    plain = keras.Sequential(
        [
            keras.Input((SIZES[1],)),
            keras.layers.Dense(SIZES[2], activation="tanh", name="b"),
            keras.layers.Dense(SIZES[3], name="head"),
        ]
    )
    for weight in inventory(plain):
        weight.variable.assign(values[weight.address])
    plain.compile(setting.keras(), "mse")
    plain.fit(features, y, batch_size=SAMPLES, epochs=STEPS, shuffle=False, verbose=0)
    frozen = {a: v for a, v in values.items() if a.startswith("a/")}
    assert_equal(found, frozen | values_of(plain), TOLERANCE_SAME)


OPTIMIZERS: dict[str, dict[str, Any]] = {
    **{n: {} for n in ("SGD", "RMSprop", "Adam", "Adagrad", "Adamax", "Adafactor", "Nadam")},
    **{n: {} for n in ("Ftrl", "Lion", "Lamb")},
    "AdamW": {"weight_decay": 0.0},
    "Muon": {"weight_decay": 0.0, "adam_weight_decay": 0.0},
    "Adadelta": {"rho": 0.5, "epsilon": 1e-4},
}


@pytest.mark.parametrize("name", quick_first(OPTIMIZERS, ["SGD", "AdamW", "Adafactor", "Lion", "Muon"]))
def test_a_multiplier_is_a_learning_rate(name: str) -> None:
    """Two groups at half the rate equal plain Keras at half the rate, under each optimizer of Keras."""
    make = partial(getattr(keras.optimizers, name), **OPTIMIZERS[name])
    found, expected = network(), network()
    found.compile(make(0.125), "mse")
    # Without weight decay its multiplier changes nothing but the number of groups.
    plan = fl.Plan().train("{a,b}/**", lr=0.5).train("head/**", lr=0.5, decay=3.0)
    arguments: dict[str, Any] = {
        "batch_size": SAMPLES,
        "epochs": STEPS,
        "shuffle": False,
        "verbose": 0,
    }
    fl.fit(found, plan, *data(), **arguments)
    expected.compile(make(0.0625), "mse")
    expected.fit(*data(), **arguments)
    assert_equal(values_of(found), values_of(expected), 1e-6)


# --- PyTorch ----------------------------------------------------------------------------------


def torch_fitted(setting: Setting, phases: tuple[Phase, ...], norm: float | None = None) -> Values:
    """A plain PyTorch module under `torch.optim`; groups join by `add_param_group`."""
    import torch

    linears = {n: torch.nn.Linear(*sizes) for n, sizes in zip(LAYERS, pairwise(SIZES), strict=True)}
    with torch.no_grad():
        for name, linear in linears.items():
            linear.weight.copy_(torch.from_numpy(start()[f"{name}/kernel"].T))
            linear.bias.copy_(torch.from_numpy(start()[f"{name}/bias"]))
    tanh = torch.nn.Tanh()
    module = torch.nn.Sequential(linears["a"], tanh, linears["b"], tanh, linears["head"])
    x, y = (torch.from_numpy(part) for part in data())
    optimizer: Any = None
    joined: set[str] = set()
    for phase in phases:
        for name, linear in linears.items():
            linear.requires_grad_(name in phase.multipliers)
        for group in phase.groups:
            names = [n for n in group.layers if n not in joined]
            joined |= set(names)
            if names:
                optimizer = _torch_group(setting, optimizer, group, [linears[n] for n in names])
        for _ in range(phase.steps):
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.mse_loss(module(x), y).backward()
            if norm is not None:
                torch.nn.utils.clip_grad_norm_(module.parameters(), norm)
            optimizer.step()
    found = {}
    for name, linear in linears.items():
        found[f"{name}/kernel"] = linear.weight.detach().numpy().T.copy()
        found[f"{name}/bias"] = linear.bias.detach().numpy().copy()
    return found


def _torch_group(setting: Setting, optimizer: Any, group: Group, linears: list[Any]) -> Any:
    import torch

    described: dict[str, Any] = {
        "params": [p for linear in linears for p in linear.parameters()],
        "lr": setting.lr * group.lr,
    }
    if setting.name == "AdamW":
        described["weight_decay"] = setting.extra["weight_decay"] * group.decay
    if optimizer is not None:
        optimizer.add_param_group(described)
        return optimizer
    kinds: dict[str, Callable[..., Any]] = {
        "SGD": lambda groups: torch.optim.SGD(groups, momentum=0.9),
        "Adam": lambda groups: torch.optim.Adam(groups, eps=EPSILON),
        "AdamW": lambda groups: torch.optim.AdamW(groups, eps=EPSILON),
        "RMSprop": lambda groups: torch.optim.RMSprop(groups, alpha=setting.extra["rho"], eps=1e-16),
    }
    return kinds[setting.name]([described])


@on_torch
@settings
def test_training_equals_torch(setting: Setting) -> None:
    assert_equal(fitted(setting, TAIL), torch_fitted(setting, TAIL), TOLERANCE[setting.name])


@on_torch
@settings
def test_multipliers_equal_parameter_groups_of_torch(setting: Setting) -> None:
    assert_equal(fitted(setting, GROUPS), torch_fitted(setting, GROUPS), TOLERANCE[setting.name])


@on_torch
@settings
@pytest.mark.parametrize("phases", [LATE, AWAY], ids=["late", "away"])
def test_late_and_returning_weights_equal_torch(setting: Setting, phases: tuple[Phase, ...]) -> None:
    """Who joins late starts at its own first step; who comes back goes on at the step it had."""
    assert_equal(fitted(setting, phases), torch_fitted(setting, phases), TOLERANCE[setting.name])


@on_torch
@settings
def test_global_clipnorm_equals_torch(setting: Setting) -> None:
    found = fitted(setting, TAIL, global_clipnorm=0.2)
    # PyTorch adds 1e-6 to the norm that it divides by.
    assert_equal(found, torch_fitted(setting, TAIL, norm=0.2), 3e-6)


# --- Optax ------------------------------------------------------------------------------------


def optax_fitted(setting: Setting, phase: Phase, norm: float | None = None) -> Values:
    """One `optax.partition`, with a transformation for each group and zero for the rest."""
    import jax
    import jax.numpy as jnp
    import optax

    def loss(values: Any) -> Any:
        value = jnp.asarray(data()[0])
        for name in LAYERS:
            value = value @ values[f"{name}/kernel"] + values[f"{name}/bias"]
            value = value if name == "head" else jnp.tanh(value)
        return jnp.mean((value - data()[1]) ** 2)

    def label(address: str) -> str:
        return address.split("/")[0] if address.split("/")[0] in phase.multipliers else "frozen"

    values = {a: jnp.asarray(v) for a, v in start().items()}
    transforms = {name: _optax_group(setting, group) for name, group in phase.multipliers.items()}
    groups = {**transforms, "frozen": optax.set_to_zero()}
    optimizer = optax.partition(groups, {a: label(a) for a in values})
    if norm is not None:
        trained = {a: label(a) != "frozen" for a in values}
        clip = optax.masked(optax.clip_by_global_norm(norm), trained)
        optimizer = optax.chain(clip, optimizer)
    state = optimizer.init(values)

    @jax.jit
    def step(values: Any, state: Any) -> Any:
        updates, state = optimizer.update(jax.grad(loss)(values), state, values)
        return optax.apply_updates(values, updates), state

    for _ in range(phase.steps):
        values, state = step(values, state)
    return {a: np.asarray(v) for a, v in values.items()}


def _optax_group(setting: Setting, group: Group) -> Any:
    import optax

    rate, extra = setting.lr * group.lr, setting.extra
    match setting.name:
        case "SGD":
            return optax.sgd(rate, momentum=extra["momentum"])
        case "Adam":
            return optax.adam(rate, eps=EPSILON)
        case "RMSprop":
            return optax.rmsprop(rate, decay=extra["rho"], eps=extra["epsilon"])
        case _:
            return optax.adamw(rate, eps=EPSILON, weight_decay=extra["weight_decay"] * group.decay)


@on_jax
@settings
@pytest.mark.parametrize("phases", [TAIL, GROUPS], ids=["tail", "groups"])
@pytest.mark.every_backend
def test_training_equals_optax(setting: Setting, phases: tuple[Phase, ...]) -> None:
    found, (phase,) = fitted(setting, phases), phases
    assert_frozen_intact(found, phases)
    assert_equal(found, optax_fitted(setting, phase), TOLERANCE_OPTAX[setting.name])


@on_jax
@settings
@pytest.mark.every_backend
def test_global_clipnorm_equals_optax(setting: Setting) -> None:
    found = fitted(setting, TAIL, global_clipnorm=0.2)
    assert_equal(found, optax_fitted(setting, TAIL[0], norm=0.2), TOLERANCE_OPTAX[setting.name])
