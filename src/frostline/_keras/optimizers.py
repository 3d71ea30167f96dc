"""What an optimizer updates, counts, decays and averages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from frostline._keras.methods import private


def loss_scale(model: Any) -> float:
    """Return what a training step multiplies the loss by before it takes gradients; 1 where it does not."""
    scale = getattr(compiled_optimizer(model), "scale_loss", None)
    return 1.0 if scale is None else float(scale(1.0))


def compiled_optimizer(model: Any) -> Any:
    """Return the optimizer of a compiled model; None for one that is not compiled, and for a layer."""
    return getattr(model, "optimizer", None) if getattr(model, "compiled", False) else None


def optimizer_chain(optimizer: Any) -> list[Any]:
    """Return the optimizer and the ones it wraps (`LossScaleOptimizer`), outermost first."""
    chain = [optimizer]
    while (inner := getattr(chain[-1], "inner_optimizer", None)) is not None:
        chain.append(inner)
    return chain


def variable_key(optimizer: Any) -> Callable[[Any], Any]:
    """Return the function by which an optimizer tells variables apart, native ones included."""
    key: Callable[[Any], Any] = private(optimizer, "_var_key")
    return key


def optimizer_targets(optimizer: Any) -> list[Any]:
    """Return the variables that a built optimizer updates, in its own order."""
    return list(private(optimizer, "_trainable_variables"))


def optimizer_own_variables(optimizer: Any) -> list[Any]:
    """Return the variables an optimizer holds itself: counters, the learning rate, slots."""
    return list(private(optimizer, "_variables"))


def optimizer_counters(optimizer: Any) -> list[Any]:
    """Return the step counter and, where it is one, the learning-rate variable."""
    counter = private(optimizer, "_iterations")
    rate = private(optimizer, "_learning_rate")
    return [v for v in (counter, rate) if any(v is own for own in optimizer_own_variables(optimizer))]


def rate_schedule(optimizer: Any) -> Any:
    """Return the schedule or function that gives an optimizer's rate; None where it is a number."""
    rate = getattr(optimizer, "_learning_rate", None)
    # A number is kept in a variable.
    return None if hasattr(rate, "assign") else rate


def unbuild_optimizer(optimizer: Any) -> None:
    """Take an optimizer back to the state before `build`, keeping its counters and its settings."""
    counters = optimizer_counters(optimizer)
    untrack = private(optimizer, "_untrack_variable")
    for variable in optimizer_own_variables(optimizer):
        if not any(variable is counter for counter in counters):
            untrack(variable)
    optimizer._trainable_variables = []
    optimizer._trainable_variables_indices = {}
    optimizer.built = False


@contextmanager
def steps_counted_from(optimizer: Any, joined: int) -> Iterator[None]:
    """Let the optimizer's step counter read `joined` steps less, as for weights that joined then."""
    if joined == 0:
        yield
        return
    counter = private(optimizer, "_iterations")
    # A tensor stands in for the counter: the update step only reads it, and Keras counts the step itself when
    # the update step is over. `object.__setattr__` keeps the tracker of Keras from seeing the stand-in.
    object.__setattr__(optimizer, "_iterations", counter - joined)
    try:
        yield
    finally:
        object.__setattr__(optimizer, "_iterations", counter)


def decay_alike(optimizer: Any, weight: Any, parts: Iterable[Any]) -> None:
    """Exclude parts of a weight from weight decay where the weight itself was excluded as an object."""
    excluded = getattr(optimizer_chain(optimizer)[-1], "_exclude_from_weight_decay", None) or set()
    key = variable_key(optimizer)
    if key(weight) in excluded:
        excluded.update(key(part) for part in parts)
        _look_again_at_decay(optimizer_chain(optimizer)[-1])


def exclude_from_decay(optimizer: Any, variables: Iterable[Any]) -> None:
    """Exclude variables from weight decay in an optimizer that is built already and made no step yet."""
    key = variable_key(optimizer)
    keys = {key(variable) for variable in variables}
    if keys:
        private(optimizer, "_use_weight_decay")
        optimizer._exclude_from_weight_decay = keys | getattr(optimizer, "_exclude_from_weight_decay", set())
        _look_again_at_decay(optimizer)


def _look_again_at_decay(optimizer: Any) -> None:
    """Let a built optimizer ask anew what decays: Keras 3.16 asks only when it is built."""
    known = getattr(optimizer, "_weight_decay_by_var_key", None)
    if known is None:
        optimizer._exclude_from_weight_decay_cache = {}
        return
    key = variable_key(optimizer)
    known.update((key(one), _decays(optimizer, one)) for one in optimizer_targets(optimizer))


def _decays(optimizer: Any, variable: Any) -> bool:
    """Return whether the optimizer's settings let a variable decay, built or not."""
    excluded = getattr(optimizer, "_is_excluded_from_weight_decay", None)
    if excluded is not None:
        return not excluded(variable)
    return bool(private(optimizer, "_use_weight_decay")(variable))


def update_hooks() -> tuple[str, str, str]:
    """Return the names of the optimizer's methods for the update step, for weight decay and for averages."""
    return "_backend_update_step", "_apply_weight_decay", "_update_model_variables_moving_average"


@contextmanager
def averages_at(optimizer: Any, places: list[int]) -> Iterator[list[Any]]:
    """Let the optimizer's averages (EMA) be those of the weights at some places alone, and yield them."""
    if not optimizer.use_ema:
        yield []
        return
    averages = private(optimizer, "_model_variables_moving_average")
    chosen = [averages[n] for n in places]
    object.__setattr__(optimizer, "_model_variables_moving_average", chosen)
    try:
        yield chosen
    finally:
        object.__setattr__(optimizer, "_model_variables_moving_average", averages)


def set_momentum_product(optimizer: Any, *, ahead: int = 0) -> None:
    """Set the product of momenta that Nadam keeps for all weights to what its step counter says.

    Nadam multiplies it at each step. A weight that joined late needs the product of its own steps, and one
    number cannot be that of all.
    """
    import keras

    if not isinstance(optimizer, keras.optimizers.Nadam):
        return
    steps = np.arange(1, _MOST_PRODUCTS)
    factors = optimizer.beta_1 * (1.0 - 0.5 * 0.96**steps)
    products = np.concatenate([[1.0], np.cumprod(factors)])
    products = products[: np.searchsorted(-products, -1e-37) + 1].astype("float32")
    made = keras.ops.minimum(keras.ops.cast(optimizer.iterations, "int32") + ahead, len(products) - 1)
    private(optimizer, "_u_product").assign(keras.ops.take(keras.ops.convert_to_tensor(products), made))


_MOST_PRODUCTS = 100_000


@contextmanager
def decay_scaled_by(optimizer: Any, factor: float) -> Iterator[None]:
    """Let the optimizer's weight decay be `factor` times what it is."""
    names = [n for n in ("weight_decay", "adam_weight_decay") if getattr(optimizer, n, None) is not None]
    before = {name: getattr(optimizer, name) for name in names}
    for name, value in before.items():
        object.__setattr__(optimizer, name, value * factor)
    try:
        yield
    finally:
        for name, value in before.items():
            object.__setattr__(optimizer, name, value)


def decay_of(optimizer: Any, variable: Any) -> float:
    """Return the weight decay that the optimizer applies to a variable, 0 where it excludes it."""
    decay = getattr(optimizer, "weight_decay", None)
    return float(decay) if decay and _decays(optimizer, variable) else 0.0
