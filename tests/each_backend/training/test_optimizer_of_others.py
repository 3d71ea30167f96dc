"""An optimizer that was built for weights that the model does not have is built anew, with what belongs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, optimizers

import frostline as fl
from frostline.errors import OptimizerError
from helpers.checks import optimizer_state, same_arrays, values
from helpers.small_models import value_of

pytestmark = pytest.mark.eager

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
ALL = fl.Plan(default="train")
HEAD = fl.Plan().train("head/**")
SAID = "was built for weights that this model does not have"


def data(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    return X, np.ones((8, model.output_shape[-1]), "float32")


def fit(model: keras.Model, plan: fl.Plan = ALL, **arguments: Any) -> fl.Run:
    return fl.fit(model, plan, *data(model), batch_size=4, shuffle=False, verbose=0, **arguments)


def adam() -> keras.optimizers.Optimizer:
    return optimizers.Adam(0.05)


def network(optimizer: Any = None, outputs: int = 3) -> keras.Model:
    keras.utils.set_random_seed(1)
    stack = [keras.Input((4,)), layers.Dense(4, name="body"), layers.Dense(outputs, name="head")]
    model = keras.Sequential(stack, name="net")
    model.compile(optimizer or adam(), "mse")
    return model


def with_new_head(model: keras.Model, outputs: int) -> keras.Model:
    model.pop()
    model.add(layers.Dense(outputs, name="head"))
    return model


def slots_of_body(model: keras.Model) -> list[bytes]:
    """What the optimizer knows of the kernel of `body`."""
    from frostline._keras.optimizers import optimizer_chain, optimizer_targets
    from frostline.optimizers.slots import slots_of

    inner = optimizer_chain(model.optimizer)[-1]
    (place,) = (n for n, v in enumerate(optimizer_targets(inner)) if v is model.get_layer("body").kernel)
    return [keras.ops.convert_to_numpy(v).tobytes() for v in slots_of(inner)[place].values()]


def same_head(model: keras.Model, other: keras.Model) -> None:
    """Give two models the very same values."""
    for weight, value in zip(model.weights, other.weights, strict=True):
        weight.assign(value_of(value))


def popped() -> keras.Model:
    model = network()
    fit(model)
    return with_new_head(model, 2)


def popped_with_the_same_names_and_shapes() -> keras.Model:
    model = network()
    fit(model)
    return with_new_head(model, 3)


def rebuilt_around_the_same_body() -> keras.Model:
    first = network()
    fit(first)
    model = keras.Sequential(
        [keras.Input((4,)), first.get_layer("body"), layers.Dense(2, name="head")], name="net"
    )
    model.compile(first.optimizer, "mse")
    return model


def with_loss_scaling() -> keras.Model:
    model = network(optimizers.LossScaleOptimizer(adam(), initial_scale=8.0))
    fit(model)
    return with_new_head(model, 2)


def trained_by_keras() -> keras.Model:
    model = network()
    model.fit(*data(model), batch_size=4, verbose=0)
    return with_new_head(model, 2)


HEADS: dict[str, Callable[[], keras.Model]] = {
    one.__name__: one
    for one in (
        popped,
        popped_with_the_same_names_and_shapes,
        rebuilt_around_the_same_body,
        with_loss_scaling,
        trained_by_keras,
    )
}


@pytest.mark.parametrize("name", HEADS)
def test_what_still_belongs_is_kept_and_the_rest_begins_afresh(name: str) -> None:
    """The new head gets the numbers that it would get under an optimizer of its own."""
    model = HEADS[name]()
    known = slots_of_body(model)
    steps = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
    with pytest.warns(UserWarning, match=SAID) as seen:
        applied = fl.apply(model, ALL)
    assert len([one for one in seen if SAID in str(one.message)]) == 1
    assert slots_of_body(model) == known
    assert int(keras.ops.convert_to_numpy(model.optimizer.iterations)) == steps
    applied.undo()

    fresh = network(outputs=model.output_shape[-1])
    same_head(fresh, model)
    fit(fresh, HEAD)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(model, HEAD)
    for layer in ("body", "head"):
        for one, other in zip(model.get_layer(layer).weights, fresh.get_layer(layer).weights, strict=True):
            np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (one, other)), rtol=1e-4, atol=1e-6)


def test_it_is_said_once_in_words_and_stands_in_the_run() -> None:
    model = popped()
    with pytest.warns(UserWarning, match=SAID) as seen:
        run = fit(model)
    (said,) = (str(one.message) for one in seen if SAID in str(one.message))
    assert said == (
        "the optimizer Adam was built for weights that this model does not have: net/head/kernel of shape "
        "(4, 3), net/head/bias of shape (3,), of a layer that was taken out or of another model. It was "
        "built anew: 2 weights kept the slots, 2 weights began with new ones (head/kernel, head/bias)"
    )
    assert run.notes == (said,)
    assert str(run).splitlines()[-1] == f"note: {said}"
    again = fit(model)
    assert again.notes == ()
    assert "note" not in str(again)


def test_slots_that_were_kept_for_a_frozen_head_are_not_those_of_the_next_one(tmp_path: Path) -> None:
    """Neither in this process nor after the model was saved: the optimizer holds none of the old head."""
    for saved in (False, True):
        model = network()
        fit(model)
        fit(model, fl.Plan().train("body/**"))
        if saved:
            fl.save_model(model, tmp_path / "model.keras")
            model = fl.load_model(tmp_path / "model.keras")
        with_new_head(model, 3)
        fresh = network()
        same_head(fresh, model)
        fit(model, HEAD)
        fit(fresh, HEAD)
        for one, other in zip(model.weights, fresh.weights, strict=True):
            np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (one, other)), rtol=1e-4, atol=1e-6)


def test_two_models_take_turns_with_one_optimizer() -> None:
    first = network()
    second = network(first.optimizer)
    fit(first)
    alone = network()
    for model, plan in ((second, HEAD), (first, HEAD)):
        same_head(alone, model)
        alone.compile(adam(), "mse")
        with pytest.warns(UserWarning, match=SAID):
            fit(model, plan)
        fit(alone, plan)
        for one, other in zip(model.weights, alone.weights, strict=True):
            np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (one, other)), rtol=1e-4, atol=1e-6)


def test_what_was_kept_for_frozen_weights_of_one_model_is_not_for_another() -> None:
    first = network()
    fit(first)
    fit(first, fl.Plan().train("body/**"))
    second, fresh = network(first.optimizer), network()
    with pytest.warns(UserWarning, match=SAID):
        fit(second, HEAD)
    fit(fresh, HEAD)
    for one, other in zip(second.weights, fresh.weights, strict=True):
        np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (one, other)), rtol=1e-4, atol=1e-6)


def test_an_optimizer_of_a_loaded_model(tmp_path: Path) -> None:
    model = network()
    fit(model)
    model.save(tmp_path / "plain.keras")
    other = network(keras.models.load_model(tmp_path / "plain.keras").optimizer)
    with pytest.warns(UserWarning, match=SAID):
        run = fit(other)
    assert run.verification is not None
    assert run.verification.ok


def test_a_frozen_layer_that_was_replaced_is_computed_with() -> None:
    """The optimizer is the same then, and a function that was compiled before would know the old layer."""
    plan = fl.Plan().train("body/**")
    model = network()
    fit(model, plan)
    with_new_head(model, 3)
    model.get_layer("head").kernel.assign(np.zeros((4, 3)))
    before = values(model)
    run = fit(model, plan, stop_on_nan=True, preflight=False)
    assert run.history.history["loss"][0] == pytest.approx(1.0)
    assert {a for a, v in values(model).items() if not np.array_equal(v, before[a])} <= {
        "body/kernel",
        "body/bias",
    }


# What the audit says of it ------------------------------------------------------------------------


def test_the_audit_tells_an_optimizer_of_others_from_flags_that_changed() -> None:
    model = popped()
    model.make_train_function()
    said = str(fl.audit(model, *data(model)))
    words = " ".join(said.split())
    assert "the optimizer was built for other weights (net/head/kernel of shape (4, 3)" in words
    assert "frozen or not there" not in words

    frozen = network()
    frozen.get_layer("body").trainable = False
    keras_fit_of(frozen)
    frozen.get_layer("body").trainable = True
    words = " ".join(str(fl.audit(frozen, *data(frozen))).split())
    assert (
        "to train, and were frozen or not there when the training function was compiled: body/kernel" in words
    )
    assert "other weights" not in words


def keras_fit_of(model: keras.Model) -> None:
    model.fit(*data(model), batch_size=4, verbose=0)


def compiled_again(model: keras.Model) -> None:
    model.compile(adam(), "mse")
    keras_fit_of(model)


def applied(model: keras.Model) -> None:
    fl.apply(model, ALL)
    keras_fit_of(model)


@pytest.mark.parametrize("follow", [compiled_again, applied, fit])
@pytest.mark.filterwarnings(f"ignore:the optimizer Adam {SAID}")
def test_advice_that_is_followed_works(follow: Callable[[keras.Model], Any]) -> None:
    model = popped()
    model.make_train_function()
    before = values(model)
    follow(model)
    assert all(not np.array_equal(value, before[address]) for address, value in values(model).items())
    assert "FL30" not in str(fl.audit(model, *data(model)))


# What stays refused -------------------------------------------------------------------------------


def test_several_optimizers_in_one_stay_refused() -> None:
    """They have slots of their own, which cannot be told apart."""

    class Several(optimizers.SGD):
        optimizers = ()

    model = network(Several(0.1))
    model.fit(*data(model), batch_size=4, verbose=0)
    with_new_head(model, 2)
    with pytest.raises(OptimizerError, match="cannot be used with a plan"):
        fit(model)


def test_saving_says_what_to_do(tmp_path: Path) -> None:
    model = popped()
    with pytest.raises(OptimizerError) as caught:
        fl.save_model(model, tmp_path / "model.keras")
    assert caught.value.remedy == (
        "put a plan on it with fl.apply or fl.fit, which build the optimizer anew; or compile it with a new "
        "one"
    )
    state = optimizer_state(model)
    with pytest.warns(UserWarning, match=SAID):
        fl.apply(model, ALL)
    assert not same_arrays(optimizer_state(model), state)
    fl.save_model(model, tmp_path / "model.keras")
    again = fl.load_model(tmp_path / "model.keras")
    assert same_arrays(optimizer_state(again), optimizer_state(model))
