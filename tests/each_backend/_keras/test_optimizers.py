"""Private names of Keras's optimizers: their variables, steps, averages and decay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest

from frostline._keras.methods import replace_method
from frostline._keras.optimizers import (
    averages_at,
    compiled_optimizer,
    decay_alike,
    decay_of,
    decay_scaled_by,
    exclude_from_decay,
    loss_scale,
    optimizer_chain,
    optimizer_counters,
    optimizer_own_variables,
    optimizer_targets,
    rate_schedule,
    set_momentum_product,
    steps_counted_from,
    unbuild_optimizer,
    update_hooks,
    variable_key,
)
from helpers.small_models import two_dense, value_of, variable

pytestmark = pytest.mark.every_backend


def built_adam(*variables: Any) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.Adam(0.1, weight_decay=0.5)
    optimizer.build(list(variables))
    return optimizer


# Variables and steps ------------------------------------------------------------------------------


def test_a_chain_ends_in_the_optimizer_that_updates() -> None:
    inner = keras.optimizers.SGD(0.1)
    outer = keras.optimizers.LossScaleOptimizer(inner)
    assert optimizer_chain(outer) == [outer, inner]
    assert optimizer_chain(inner) == [inner]


def test_variables_of_an_optimizer() -> None:
    one, two = variable("one"), variable("two")
    optimizer = built_adam(one, two)
    key = variable_key(optimizer)
    assert key(one) == key(one)
    assert key(one) != key(two)
    assert [id(v) for v in optimizer_targets(optimizer)] == [id(one), id(two)]
    own = optimizer_own_variables(optimizer)
    assert len(own) == 2 + 2 * 2
    counters = optimizer_counters(optimizer)
    assert [v.name for v in counters] == ["iteration", "learning_rate"]
    assert all(any(c is v for v in own) for c in counters)
    scheduled = keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9))
    assert [v.name for v in optimizer_counters(scheduled)] == ["iteration"]


def test_an_optimizer_is_unbuilt_and_built_for_others() -> None:
    one, two = variable("one"), variable("two")
    optimizer = built_adam(one)
    optimizer.apply([keras.ops.ones(2)], [one])
    unbuild_optimizer(optimizer)
    assert not optimizer.built
    assert [v.name for v in optimizer.variables] == ["iteration", "learning_rate"]
    optimizer.build([two])
    optimizer.apply([keras.ops.ones(2)], [two])
    assert int(value_of(optimizer.iterations)) == 2
    assert len(optimizer.variables) == 2 + 2


@pytest.mark.parametrize("joined", [0, 3])
def test_steps_are_counted_from_where_a_weight_joined(joined: int) -> None:
    optimizer = built_adam(variable())
    counter = optimizer.iterations
    counter.assign(5)
    tracked = len(optimizer.variables)
    with steps_counted_from(optimizer, joined):
        assert int(keras.ops.convert_to_numpy(optimizer.iterations)) == 5 - joined
    assert optimizer.iterations is counter
    assert len(optimizer.variables) == tracked


def test_steps_are_as_before_after_a_failure() -> None:
    optimizer = built_adam(variable())
    counter = optimizer.iterations
    with pytest.raises(KeyError), steps_counted_from(optimizer, 1):
        raise KeyError
    assert optimizer.iterations is counter


def test_the_hooks_of_an_optimizer_are_called_at_each_step() -> None:
    weight = variable()
    optimizer = keras.optimizers.Adam(0.5, weight_decay=0.5, use_ema=True)
    optimizer.build([weight])
    called = []
    for name in update_hooks():

        def noting(original: Callable[..., Any], name: str = name) -> Callable[..., Any]:
            def noted(*args: Any, **kwargs: Any) -> Any:
                called.append(name)
                return original(*args, **kwargs)

            return noted

        replace_method(optimizer, name, noting)
    optimizer.apply([keras.ops.ones(2)], [weight])
    assert sorted(called) == sorted(update_hooks())


def test_averages_are_those_of_some_weights_for_a_while() -> None:
    optimizer = keras.optimizers.SGD(0.1, use_ema=True)
    optimizer.build([variable(), variable()])
    every = optimizer._model_variables_moving_average
    with averages_at(optimizer, [1]):
        assert optimizer._model_variables_moving_average == [every[1]]
    assert optimizer._model_variables_moving_average is every
    plain = built_adam(variable())
    with averages_at(plain, [0]):
        pass


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_the_momentum_product_of_nadam_follows_its_steps(steps: int) -> None:
    weight = variable()
    optimizer = keras.optimizers.Nadam(0.1)
    optimizer.build([weight])
    for _ in range(steps):
        optimizer.apply([keras.ops.ones(2)], [weight])
    expected = float(keras.ops.convert_to_numpy(optimizer._u_product))
    optimizer._u_product.assign(0.5)
    set_momentum_product(optimizer)
    assert float(keras.ops.convert_to_numpy(optimizer._u_product)) == pytest.approx(expected, rel=1e-6)
    optimizer._iterations.assign(10**6)
    set_momentum_product(optimizer, ahead=1)
    assert float(keras.ops.convert_to_numpy(optimizer._u_product)) < 1e-36
    set_momentum_product(built_adam(weight))


# Decay --------------------------------------------------------------------------------------------


def test_decay_is_scaled_for_a_while() -> None:
    optimizer = built_adam(variable())
    with decay_scaled_by(optimizer, 0.25):
        assert optimizer.weight_decay == 0.125
    assert optimizer.weight_decay == 0.5
    plain = keras.optimizers.SGD(0.1)
    with pytest.raises(KeyError), decay_scaled_by(plain, 0.25):
        raise KeyError
    assert plain.weight_decay is None


def test_decay_of_knows_what_is_excluded() -> None:
    optimizer = keras.optimizers.AdamW(weight_decay=0.25)
    plain, excluded = variable("kernel"), variable("bias")
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build([plain, excluded])
    assert decay_of(optimizer, plain) == 0.25
    assert decay_of(optimizer, excluded) == 0.0
    assert decay_of(keras.optimizers.SGD(), plain) == 0.0


def test_parts_are_excluded_from_decay_with_their_weight() -> None:
    weight, part, other = variable("w"), variable("p"), variable("o")
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[weight])
    decay_alike(optimizer, weight, [part])
    decay_alike(optimizer, other, [other])
    assert [decay_of(optimizer, one) for one in (part, other)] == [0.0, 0.1]
    decay_alike(keras.optimizers.SGD(0.1), weight, [part])


def test_parts_are_excluded_from_decay_after_the_build() -> None:
    """Also where the optimizer has looked at them: Keras remembers what it found."""
    weight, part = variable("w"), variable("p")
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[weight])
    optimizer.build([weight, part])
    assert optimizer._use_weight_decay(part)
    decay_alike(optimizer, weight, [part])
    assert not optimizer._use_weight_decay(part)


def test_variables_are_excluded_from_decay_after_the_build() -> None:
    first, second = variable("first"), variable("second")
    optimizer = built_adam(first, second)
    exclude_from_decay(optimizer, [])
    assert optimizer._use_weight_decay(second)
    exclude_from_decay(optimizer, [second])
    assert [decay_of(optimizer, one) for one in (first, second)] == [0.5, 0.0]
    assert [optimizer._use_weight_decay(one) for one in (first, second)] == [True, False]


def test_an_optimizer_is_found_on_a_compiled_model_alone() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert compiled_optimizer(model) is None
    assert compiled_optimizer(model.layers[0]) is None
    optimizer = keras.optimizers.SGD(0.1)
    model.optimizer = optimizer
    assert compiled_optimizer(model) is None
    model.compile(optimizer, "mse")
    assert compiled_optimizer(model) is optimizer


def test_the_rate_of_an_optimizer_is_a_number_or_a_schedule() -> None:
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 9)
    assert rate_schedule(keras.optimizers.SGD(schedule)) is schedule
    assert rate_schedule(keras.optimizers.SGD(0.1)) is None


def test_what_a_loss_is_scaled_by() -> None:
    model = two_dense()
    assert loss_scale(model) == 1
    model.compile("sgd", "mse")
    assert loss_scale(model) == 1
    model.compile(keras.optimizers.SGD(loss_scale_factor=4.0), "mse")
    assert loss_scale(model) == 4
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(), initial_scale=64.0), "mse")
    assert loss_scale(model) == 64
