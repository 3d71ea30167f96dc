"""What Keras itself does when flags change, and with compiled training functions.

Measured, not wished for: a failure here means that Keras has changed. Each `EXPECTED_...` table is
read by the active backend. Frostline's counterpart of a fact stands right below its Keras test.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from backends.small_models import (
    compiled,
    data_for,
    error_in_short,
    fit,
    fitted,
    gradient,
    is_readable,
    layer_in_call,
    moved,
    moved_by_fit,
    outcome_of_fit,
    rounded_error,
    saved_and_loaded,
    sequential,
    snapshot,
    square_layers,
    subclassed,
    two_dense,
    unused_layer,
    value_of,
)

BACKEND = keras.backend.backend()

UNKNOWN = "ValueError: Unknown variable"
LENGTHS = "ValueError: corresponding 1:1"
SHAPES = "ValueError: must match"


def fitted_with_frozen_a() -> keras.Model:
    """`two_dense`, compiled and fitted with layer `a` frozen."""
    model = two_dense()
    model.get_layer("a").trainable = False
    return fitted(model)


def user_warnings(seen: pytest.WarningsRecorder) -> list[str]:
    """The messages of the UserWarnings seen."""
    return [str(one.message) for one in seen if issubclass(one.category, UserWarning)]


# --- freezing after compile and a first fit ---------------------------------------------------

EXPECTED_FREEZE_AFTER_FIT = {"tensorflow": "moves", "jax": LENGTHS, "torch": "stays"}


def test_keras_freeze_after_fit(recwarn: pytest.WarningsRecorder) -> None:
    """`layer.trainable=False` after compile and fit: TF ignores it, JAX raises, torch obeys."""
    model = fitted(two_dense())
    model.get_layer("a").trainable = False

    assert outcome_of_fit(model, "a") == EXPECTED_FREEZE_AFTER_FIT[BACKEND]
    assert user_warnings(recwarn) == []


# --- unfreezing after compile and a first fit -------------------------------------------------

EXPECTED_UNFREEZE_AFTER_FIT = {"tensorflow": "stays", "jax": LENGTHS, "torch": UNKNOWN}


def test_keras_unfreeze_after_fit(recwarn: pytest.WarningsRecorder) -> None:
    """`layer.trainable=True` after compile and fit: TF ignores it, JAX and torch raise."""
    model = fitted_with_frozen_a()
    model.get_layer("a").trainable = True

    assert outcome_of_fit(model, "a") == EXPECTED_UNFREEZE_AFTER_FIT[BACKEND]
    assert user_warnings(recwarn) == []


# --- a fit that failed for a changed flag -----------------------------------------------------

EXPECTED_READABLE_AFTER_FAILED_FIT = {"tensorflow": True, "jax": False, "torch": True}


def test_keras_failed_fit_loses_weights() -> None:
    """Beyond the list: on JAX a `fit` that raises for a changed flag has dropped every weight."""
    model = fitted_with_frozen_a()
    model.get_layer("a").trainable = True
    outcome_of_fit(model, "a")

    readable = {is_readable(weight) for weight in model.weights}
    assert readable == {EXPECTED_READABLE_AFTER_FAILED_FIT[BACKEND]}


# --- flags toggled by a callback --------------------------------------------------------------


def outcome_of_toggle(model: keras.Model, trainable: bool) -> str:
    """Sets the flag of layer `a` at the end of the first of two epochs of a new `fit`."""
    layer = model.get_layer("a")
    seen: dict[str, np.ndarray] = {}

    def toggle(epoch: int, logs: object) -> None:
        if epoch == 0:
            layer.trainable = trainable
            seen.update(snapshot(model))

    try:
        fit(model, epochs=2, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=toggle)])
    except ValueError as error:
        return error_in_short(error)
    return "moves" if "a/kernel" in moved(model, seen) else "stays"


EXPECTED_FREEZE_IN_CALLBACK = {"tensorflow": "moves", "jax": SHAPES, "torch": "stays"}


def test_keras_freeze_in_callback(recwarn: pytest.WarningsRecorder) -> None:
    """Frozen in a callback at the end of an epoch: TF ignores it, JAX raises, torch obeys."""
    outcome = outcome_of_toggle(compiled(two_dense()), trainable=False)

    assert outcome == EXPECTED_FREEZE_IN_CALLBACK[BACKEND]
    assert user_warnings(recwarn) == []


EXPECTED_UNFREEZE_IN_CALLBACK = {"tensorflow": "stays", "jax": SHAPES, "torch": UNKNOWN}


def test_keras_unfreeze_in_callback(recwarn: pytest.WarningsRecorder) -> None:
    """Unfrozen in a callback at the end of an epoch: TF ignores it, JAX and torch raise."""
    model = two_dense()
    model.get_layer("a").trainable = False
    outcome = outcome_of_toggle(compiled(model), trainable=True)

    assert outcome == EXPECTED_UNFREEZE_IN_CALLBACK[BACKEND]
    assert user_warnings(recwarn) == []


# --- flags toggled during fit, on layers of equal shapes --------------------------------------


def layer_whose_kernel_it_holds(model: keras.Model, name: str, reference: keras.Model) -> str:
    """Which layer's kernel in `reference` the kernel of layer `name` of `model` is nearest to."""
    kernel = value_of(model.get_layer(name).kernel)
    distance = {
        layer.name: float(np.abs(kernel - value_of(layer.kernel)).max())
        for layer in reference.layers
        if layer.weights
    }
    return min(distance, key=distance.__getitem__)


EXPECTED_B_HOLDS = {"tensorflow": "b", "jax": "a", "torch": "b"}
EXPECTED_A_READABLE = {"tensorflow": True, "jax": False, "torch": True}


def test_keras_freeze_between_batches_mixes_layers_up(recwarn: pytest.WarningsRecorder) -> None:
    """JAX: "weights can end up in the wrong layers", with no error, between two batches."""
    untouched = compiled(square_layers())
    fit(untouched)
    model = compiled(square_layers())

    def freeze_a(batch: int, logs: object) -> None:
        model.get_layer("a").trainable = False

    fit(model, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=freeze_a)])

    assert layer_whose_kernel_it_holds(model, "b", untouched) == EXPECTED_B_HOLDS[BACKEND]
    assert is_readable(model.get_layer("a").kernel) == EXPECTED_A_READABLE[BACKEND]
    assert user_warnings(recwarn) == []


EXPECTED_FREEZE_BETWEEN_EPOCHS = {"tensorflow": "moves", "jax": LENGTHS, "torch": "stays"}


def test_keras_freeze_between_epochs_mixes_layers_up() -> None:
    """JAX: "ValueError at best; weights can end up in the wrong layers", here both."""
    untouched = compiled(square_layers())
    fit(untouched, epochs=2)
    model = compiled(square_layers())

    assert outcome_of_toggle(model, trainable=False) == EXPECTED_FREEZE_BETWEEN_EPOCHS[BACKEND]
    assert layer_whose_kernel_it_holds(model, "b", untouched) == EXPECTED_B_HOLDS[BACKEND]
    assert is_readable(model.get_layer("a").kernel) == EXPECTED_A_READABLE[BACKEND]


# --- make_train_function(force=True) ----------------------------------------------------------

EXPECTED_FORCED_FUNCTION = {"tensorflow": UNKNOWN, "jax": LENGTHS, "torch": UNKNOWN}


def test_keras_forced_train_function_after_unfreezing() -> None:
    """`make_train_function(force=True)` after unfreezing: raises on every backend."""
    model = fitted_with_frozen_a()
    model.get_layer("a").trainable = True
    model.make_train_function(force=True)

    assert outcome_of_fit(model, "a") == EXPECTED_FORCED_FUNCTION[BACKEND]


# --- recompiling with the optimizer that is there ---------------------------------------------

EXPECTED_SAME_OPTIMIZER = {"tensorflow": UNKNOWN, "jax": LENGTHS, "torch": UNKNOWN}


def test_keras_recompile_with_same_optimizer_after_unfreezing() -> None:
    """Recompile with the same optimizer object after unfreezing: raises on every backend."""
    model = fitted_with_frozen_a()
    model.get_layer("a").trainable = True
    compiled(model, optimizer=model.optimizer)

    assert outcome_of_fit(model, "a") == EXPECTED_SAME_OPTIMIZER[BACKEND]


# --- an operation with no derivative ----------------------------------------------------------

EXPECTED_ROUND_IN_LOSS = {"tensorflow": "No gradients provided", "jax": None, "torch": None}


def test_keras_round_in_loss(recwarn: pytest.WarningsRecorder) -> None:
    """An operation with no derivative in the loss: TF raises, JAX and torch train nothing."""
    model = compiled(two_dense(), loss=rounded_error)
    message = EXPECTED_ROUND_IN_LOSS[BACKEND]
    if message:
        with pytest.raises(ValueError, match=message):
            fit(model)
        return
    assert moved_by_fit(model) == set()
    assert user_warnings(recwarn) == []


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


# --- gradients of frozen weights --------------------------------------------------------------

EXPECTED_FROZEN_HAS_GRADIENT = {"tensorflow": True, "jax": True, "torch": False}


def test_keras_frozen_layer_has_gradient() -> None:
    """On TF `layer.trainable = False` does not stop the tape: the gradients are there."""
    model = two_dense()
    model.get_layer("a").trainable = False
    found = gradient(model, model.get_layer("a").kernel)

    assert (found is not None) == EXPECTED_FROZEN_HAS_GRADIENT[BACKEND]
    assert found is None or np.abs(found).min() > 0


# --- weights that the loss does not depend on -------------------------------------------------

EXPECTED_UNREACHED_GRADIENT = {"tensorflow": None, "jax": 0.0, "torch": None}


def test_keras_gradient_of_unreached_weight() -> None:
    """JAX gives zeros, never None, for a weight the loss does not depend on."""
    model = unused_layer()
    found = gradient(model, model.unused.kernel)

    largest = None if found is None else float(np.abs(found).max())
    assert largest == EXPECTED_UNREACHED_GRADIENT[BACKEND]


EXPECTED_DECAY_MOVES_UNREACHED = {"tensorflow": False, "jax": True, "torch": False}


def test_keras_weight_decay_moves_unreached_weight() -> None:
    """On JAX weight decay moves a weight the loss does not depend on; TF and torch only warn."""
    model = compiled(unused_layer(), optimizer=keras.optimizers.AdamW(0.1, weight_decay=0.1))
    if EXPECTED_DECAY_MOVES_UNREACHED[BACKEND]:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            changed = moved_by_fit(model)
    else:
        with pytest.warns(UserWarning, match=r"Gradients do not exist for variables.*unused"):
            changed = moved_by_fit(model)

    moves = "unused_layer/unused/kernel" in changed
    assert moves == EXPECTED_DECAY_MOVES_UNREACHED[BACKEND]


# --- False and then True ----------------------------------------------------------------------


def test_keras_false_then_true_unfreezes_everything() -> None:
    """False, then True unfreezes what was frozen before (keras #18092: "intended")."""
    model = two_dense()
    model.get_layer("a").trainable = False
    model.get_layer("b").bias.trainable = False
    model.trainable = False
    model.trainable = True

    assert [weight.path for weight in model.trainable_weights] == [
        "a/kernel",
        "a/bias",
        "b/kernel",
        "b/bias",
    ]


def test_keras_false_then_true_unfreezes_base_of_lora() -> None:
    """False, then True unfreezes the base kernel under `enable_lora` too (keras #18092)."""
    model = two_dense()
    layer = model.get_layer("b")
    layer.enable_lora(1)
    assert not layer._kernel.trainable

    model.trainable = False
    model.trainable = True
    assert layer._kernel.trainable


# --- a trainable layer in a frozen model ------------------------------------------------------

EXPECTED_TRAINS_AFTER_LOADING = {"sequential": True, "two_dense": False, "subclassed": False}


@pytest.mark.parametrize("build", [sequential, two_dense, subclassed], ids=lambda one: one.__name__)
def test_keras_trainable_layer_in_frozen_model(
    build: Callable[[], keras.Model], tmp_path: Path
) -> None:
    """`model.trainable=False; layer.trainable=True` trains nothing; loaded, a Sequential's does."""
    model = build()
    model.trainable = False
    model.layers[-1].trainable = True
    assert model.trainable_weights == []

    loaded = saved_and_loaded(model, tmp_path)
    assert loaded.layers[-1].trainable
    assert loaded.trainable == EXPECTED_TRAINS_AFTER_LOADING[build.__name__]
    expected = loaded.layers[-1].weights if EXPECTED_TRAINS_AFTER_LOADING[build.__name__] else []
    assert [w.path for w in loaded.trainable_weights] == [w.path for w in expected]
    if expected:
        assert moved_by_fit(compiled(loaded)) == {weight.path for weight in expected}
