"""What Keras itself does when flags change, and with compiled training functions.

Measured, not wished for: a failure of a `test_keras_` here means that Keras has changed.
Each `EXPECTED_...` table is read by the active backend. Frostline's counterpart of a fact stands
right below its Keras test, and knows no backend.
"""

import keras
import numpy as np
import pytest

import frostline as fl
from frostline.errors import LayerInCallError
from helpers.checks import (
    all_weights,
    changed,
    flags_that_train,
    frostline_fit,
    moved_by,
    require_obeys,
    require_slots,
    user_warnings,
    values,
    weights_in,
)
from helpers.small_models import (
    compiled,
    data_for,
    fit,
    fitted,
    fitted_with_adam,
    is_readable,
    layer_in_call,
    outcome_of_fit,
    square_layers,
    subclassed,
    two_dense,
)

pytestmark = pytest.mark.every_backend

BACKEND = keras.backend.backend()

UNKNOWN = "ValueError: Unknown variable"
LENGTHS = "ValueError: corresponding 1:1"


def fitted_with_frozen_a() -> keras.Model:
    """`two_dense`, compiled and fitted with layer `a` frozen."""
    model = two_dense()
    model.get_layer("a").trainable = False
    return fitted(model)


# --- freezing after compile and a first fit ---------------------------------------------------

EXPECTED_FREEZE_AFTER_FIT = {"tensorflow": "moves", "jax": LENGTHS, "torch": "stays"}


def test_keras_freeze_after_fit(recwarn: pytest.WarningsRecorder) -> None:
    """`layer.trainable=False` after compile and fit: TF ignores it, JAX raises, torch obeys."""
    model = fitted(two_dense())
    model.get_layer("a").trainable = False

    assert outcome_of_fit(model, "a") == EXPECTED_FREEZE_AFTER_FIT[BACKEND]
    assert user_warnings(recwarn) == []


def test_frostline_freeze_after_fit() -> None:
    """After `fl.apply` the frozen layer stays, under `fit`, `train_on_batch` and `fl.fit`."""
    model = fitted_with_adam(two_dense())
    plan = fl.Plan(default="train").freeze("a/**")
    fl.apply(model, plan)

    require_obeys(model, plan, {"b/kernel", "b/bias"})


def test_frostline_freeze_single_weights_after_fit() -> None:
    """The same for one weight of a layer, and for one layer of a subclassed model."""
    model = fitted_with_adam(two_dense())
    plan = fl.Plan(default="train").freeze("a/kernel")
    fl.apply(model, plan)
    require_obeys(model, plan, {"a/bias", "b/kernel", "b/bias"})

    model = fitted_with_adam(subclassed())
    plan = fl.Plan(default="train").freeze("block/inner/**")
    fl.apply(model, plan)
    require_obeys(model, plan, weights_in(model, "block/outer", "head"))


# --- unfreezing after compile and a first fit -------------------------------------------------

EXPECTED_UNFREEZE_AFTER_FIT = {"tensorflow": "stays", "jax": LENGTHS, "torch": UNKNOWN}


def test_keras_unfreeze_after_fit(recwarn: pytest.WarningsRecorder) -> None:
    """`layer.trainable=True` after compile and fit: TF ignores it, JAX and torch raise."""
    model = fitted_with_frozen_a()
    model.get_layer("a").trainable = True

    assert outcome_of_fit(model, "a") == EXPECTED_UNFREEZE_AFTER_FIT[BACKEND]
    assert user_warnings(recwarn) == []


def test_frostline_unfreeze_after_fit() -> None:
    """After `fl.apply` the layer trains, with slots of its own, though it was frozen by hand."""
    model = two_dense()
    model.get_layer("a").trainable = False
    fitted_with_adam(model)
    plan = fl.Plan(default="train")
    fl.apply(model, plan)

    require_obeys(model, plan, all_weights(model))


def test_frostline_swaps_the_trained_set_after_fit() -> None:
    """What was frozen trains, and what trained is frozen: the shapes of `b` take those of `a`."""
    model = fitted_with_adam(square_layers())
    for name in "abcba":
        plan = fl.Plan().train(f"{name}/**")
        fl.apply(model, plan)
        require_obeys(model, plan, {f"{name}/kernel", f"{name}/bias"})


# --- a fit that failed for a changed flag -----------------------------------------------------

EXPECTED_READABLE_AFTER_FAILED_FIT = {"tensorflow": True, "jax": False, "torch": True}


def test_keras_failed_fit_loses_weights() -> None:
    """Beyond the list: on JAX a `fit` that raises for a changed flag has dropped every weight."""
    model = fitted_with_frozen_a()
    model.get_layer("a").trainable = True
    outcome_of_fit(model, "a")

    readable = {is_readable(weight) for weight in model.weights}
    assert readable == {EXPECTED_READABLE_AFTER_FAILED_FIT[BACKEND]}


def fails_at_once(batch: int, logs: object) -> None:
    """Raises before a step of training."""
    raise RuntimeError("stop here")


@pytest.mark.filterwarnings("ignore:gradients were not checked before training")
def test_frostline_failed_fit_keeps_values() -> None:
    """Where `fl.fit` ends in an error before a step, every value is there, and as it was."""
    model = fitted_with_frozen_a()
    before = values(model)
    stop = keras.callbacks.LambdaCallback(on_train_batch_begin=fails_at_once)
    with pytest.raises(RuntimeError, match="stop here"):
        frostline_fit(model, fl.Plan(default="train"), callbacks=[stop])
    assert changed(model, before) == set()

    compiled(model, loss=untraceable)
    with pytest.raises(RuntimeError, match="cannot be traced"):
        frostline_fit(model, fl.Plan(default="train"))
    assert changed(model, before) == set()

    compiled(model)
    assert frostline_fit(model, fl.Plan(default="train")).verification.ok


def untraceable(y: object, predicted: object) -> object:
    """A loss that raises."""
    raise RuntimeError("cannot be traced")


def test_frostline_fit_that_fails_between_batches_keeps_values() -> None:
    """Where `fl.fit` ends in an error after a step, the values are those after that step."""
    model = fitted_with_adam(two_dense())
    before = values(model)
    stop = keras.callbacks.LambdaCallback(on_train_batch_end=fails_at_once)
    with pytest.raises(RuntimeError, match="stop here"):
        frostline_fit(model, fl.Plan().train("b/**"), callbacks=[stop])

    assert changed(model, before) == {"b/kernel", "b/bias"}
    require_obeys(model, fl.Plan().train("b/**"), {"b/kernel", "b/bias"})


# --- make_train_function(force=True) ----------------------------------------------------------

EXPECTED_FORCED_FUNCTION = {"tensorflow": UNKNOWN, "jax": LENGTHS, "torch": UNKNOWN}


def test_keras_forced_train_function_after_unfreezing() -> None:
    """`make_train_function(force=True)` after unfreezing: raises on every backend."""
    model = fitted_with_frozen_a()
    model.get_layer("a").trainable = True
    model.make_train_function(force=True)

    assert outcome_of_fit(model, "a") == EXPECTED_FORCED_FUNCTION[BACKEND]


def test_frostline_apply_needs_no_forced_train_function() -> None:
    """`fl.apply` renews the training function; forcing one more does no harm."""
    model = fitted_with_frozen_a()
    plan = fl.Plan(default="train")
    fl.apply(model, plan)
    model.make_train_function(force=True)

    require_obeys(model, plan, all_weights(model))


def test_frostline_puts_a_forced_train_function_right() -> None:
    """A flag changed by hand and a function forced: `fl.apply` still leads to the plan."""
    model = fitted_with_frozen_a()
    model.get_layer("a").trainable = True
    model.make_train_function(force=True)
    plan = fl.Plan().train("a/**")
    fl.apply(model, plan)

    require_obeys(model, plan, {"a/kernel", "a/bias"})


# --- recompiling with the optimizer that is there ---------------------------------------------

EXPECTED_SAME_OPTIMIZER = {"tensorflow": UNKNOWN, "jax": LENGTHS, "torch": UNKNOWN}


def test_keras_recompile_with_same_optimizer_after_unfreezing() -> None:
    """Recompile with the same optimizer object after unfreezing: raises on every backend."""
    model = fitted_with_frozen_a()
    model.get_layer("a").trainable = True
    compiled(model, optimizer=model.optimizer)

    assert outcome_of_fit(model, "a") == EXPECTED_SAME_OPTIMIZER[BACKEND]


@pytest.mark.parametrize("recompile_first", [True, False])
def test_frostline_recompile_with_same_optimizer(recompile_first: bool) -> None:
    """Recompiling with the optimizer that is there, before or after `fl.apply`, does no harm."""
    model = two_dense()
    model.get_layer("a").trainable = False
    fitted_with_adam(model)
    plan = fl.Plan(default="train").freeze("b/bias")
    if recompile_first:
        compiled(model, optimizer=model.optimizer)
    fl.apply(model, plan)
    if not recompile_first:
        compiled(model, optimizer=model.optimizer)

    require_obeys(model, plan, {"a/kernel", "a/bias", "b/kernel"})


def test_frostline_recompile_with_new_optimizer() -> None:
    """A new optimizer takes the plan that is on the model."""
    model = fitted_with_adam(two_dense())
    plan = fl.Plan().train("a/**", lr=0.5)
    fl.apply(model, plan)
    compiled(model, optimizer=keras.optimizers.Adam(0.05))

    require_obeys(model, plan, {"a/kernel", "a/bias"})


# --- a layer made in call ---------------------------------------------------------------------

EXPECTED_LAYER_IN_CALL = {
    "tensorflow": "tf.function only supports singleton tf.Variables",
    "jax": None,
    "torch": None,
}


def test_keras_layer_made_in_call(recwarn: pytest.WarningsRecorder) -> None:
    """A layer created inside `call`: on TF `fit` raises, JAX and torch are silent."""
    model = compiled(layer_in_call())
    message = EXPECTED_LAYER_IN_CALL[BACKEND]
    if message:
        with pytest.raises(ValueError, match=message):
            fit(model)
    else:
        fit(model)
    assert [weight.path for weight in model.weights] == ["a/kernel", "a/bias"]
    assert user_warnings(recwarn) == []


def test_keras_layer_made_in_call_is_new_at_every_call() -> None:
    """A layer created inside `call` has "fresh random weights at every call"."""
    model = layer_in_call()
    x, _ = data_for(model)
    first, second = (keras.ops.convert_to_numpy(model(x)) for _ in range(2))

    assert not np.allclose(first, second)


LAYER_IN_CALL_TEXT = """\
the model 'layer_in_call' makes the layer 'fresh' (Dense) while it is called, so its weights are \
new at every call and nothing trains or saves them.
  expected: layers made once, in __init__ or build
  fix:      set self.fresh = keras.layers.Dense(...) in __init__ and call it in call"""


@pytest.mark.parametrize("guard", [True, False])
def test_frostline_layer_made_in_call(guard: bool) -> None:
    """`fl.fit` says the same on every backend, and leaves the values as they were."""
    model = compiled(layer_in_call())
    before = values(model)
    with pytest.raises(LayerInCallError) as caught:
        frostline_fit(model, fl.Plan(default="train"), guard=guard)

    assert str(caught.value) == LAYER_IN_CALL_TEXT
    assert changed(model, before) == set()


def test_frostline_layer_made_outside_of_fit_is_let_be() -> None:
    """A callback may build another model during `fl.fit`."""
    model = compiled(two_dense())

    def build_another(epoch: int, logs: object) -> None:
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])

    callback = keras.callbacks.LambdaCallback(on_epoch_end=build_another)
    assert frostline_fit(model, fl.Plan(default="train"), callbacks=[callback]).verification.ok


# --- the warning that cannot fire -------------------------------------------------------------


def test_keras_changed_flag_warning_cannot_fire(recwarn: pytest.WarningsRecorder) -> None:
    """The warning "trainable changed since compile" stands after a `raise` (keras #22787)."""
    model = compiled(two_dense())
    model.get_layer("a").trainable = False
    x, y = data_for(model)
    model.evaluate(x, y, verbose=0)
    fit(model)
    assert user_warnings(recwarn) == []

    with pytest.warns(UserWarning, match="`trainable` state has changed since the model was"):
        model._warn_if_trainable_state_changed()


def test_frostline_puts_changed_flags_right() -> None:
    """No warning is needed: `fl.fit` with the plan makes good what was changed by hand."""
    model = compiled(two_dense(), optimizer=keras.optimizers.Adam(0.05))
    plan = fl.Plan().train("b/**")
    fl.apply(model, plan)
    for change_by_hand in (
        lambda: setattr(model.get_layer("a"), "trainable", True),
        lambda: setattr(model.get_layer("a").bias, "trainable", True),
        lambda: setattr(model.get_layer("b"), "trainable", False),
        lambda: setattr(model, "trainable", False),
        lambda: setattr(model, "trainable", True),
    ):
        change_by_hand()
        assert moved_by(model, lambda: frostline_fit(model, plan)) == {"b/kernel", "b/bias"}
        assert flags_that_train(model) == {"b/kernel", "b/bias"}
        require_slots(model, {"b/kernel", "b/bias"})
