"""What Keras itself does when a callback changes flags during `fit`.

Measured, not wished for: a failure of a `test_keras_` here means that Keras has changed.
Each `EXPECTED_...` table is read by the active backend. Frostline's counterpart of a fact stands
right below its Keras test, and knows no backend.
"""

import keras
import numpy as np
import pytest

import frostline as fl
from frostline.errors import VerificationError
from helpers.checks import (
    all_weights,
    changed,
    frostline_fit,
    keras_fit,
    optimizer_state,
    require_obeys,
    require_slots,
    user_warnings,
    values,
    weights_in,
)
from helpers.small_models import (
    compiled,
    data_for,
    error_in_short,
    fit,
    is_readable,
    moved,
    snapshot,
    square_layers,
    two_dense,
    value_of,
)

BACKEND = keras.backend.backend()

UNKNOWN = "ValueError: Unknown variable"
LENGTHS = "ValueError: corresponding 1:1"
SHAPES = "ValueError: must match"


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


def apply_after_first_epoch(model: keras.Model, plan: fl.Plan) -> set[str]:
    """Two epochs of `model.fit`, with `fl.apply` at the end of the first: what the second moves."""
    seen: dict[str, np.ndarray] = {}

    def change(epoch: int, logs: object) -> None:
        if epoch == 0:
            fl.apply(model, plan)
            seen.update(values(model))

    keras_fit(model, epochs=2, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=change)])
    return changed(model, seen)


def test_frostline_freeze_in_callback() -> None:
    """`fl.apply` in a callback at the end of an epoch: from there on the layer stays."""
    model = compiled(two_dense(), optimizer=keras.optimizers.Adam(0.05))
    plan = fl.Plan(default="train").freeze("a/**")

    assert apply_after_first_epoch(model, plan) == {"b/kernel", "b/bias"}
    require_obeys(model, plan, {"b/kernel", "b/bias"})


def test_frostline_unfreeze_in_callback() -> None:
    """`fl.apply` in a callback at the end of an epoch: from there on the layer trains."""
    model = two_dense()
    model.get_layer("a").trainable = False
    compiled(model, optimizer=keras.optimizers.Adam(0.05))
    plan = fl.Plan(default="train")

    assert apply_after_first_epoch(model, plan) == all_weights(model)
    require_obeys(model, plan, all_weights(model))


@pytest.mark.parametrize(
    ("moment", "which"),
    [("on_train_begin", 1), ("on_epoch_begin", 2), ("on_train_batch_begin", 2)],
)
def test_frostline_apply_in_callback_before_a_step(moment: str, which: int) -> None:
    """`fl.apply` in a callback at the beginning of something holds from that step on."""
    model = compiled(square_layers(), optimizer=keras.optimizers.Adam(0.05))
    calls: list[dict[str, np.ndarray]] = []

    def change(*arguments: object, **named: object) -> None:
        calls.append({})
        if len(calls) == which:
            fl.apply(model, fl.Plan().train("b/**"))
            calls[-1].update(values(model))

    callback = keras.callbacks.Callback()
    setattr(callback, moment, change)
    keras_fit(model, epochs=2, callbacks=[callback])

    assert changed(model, calls[which - 1]) == {"b/kernel", "b/bias"}
    require_slots(model, {"b/kernel", "b/bias"})


def test_frostline_apply_in_callback_of_frostline_fit() -> None:
    """Freezing more during `fl.fit` is not a violation; training what its plan froze is one."""
    model = compiled(two_dense(), optimizer=keras.optimizers.Adam(0.05))

    def change_to(plan: fl.Plan) -> keras.callbacks.Callback:
        def change(epoch: int, logs: object) -> None:
            fl.apply(model, plan)

        return keras.callbacks.LambdaCallback(on_epoch_end=change)

    only_b = fl.Plan().train("b/**")
    everything = fl.Plan(default="train")
    run = frostline_fit(model, everything, epochs=2, callbacks=[change_to(only_b)])
    assert set(run.verification.of("trained")) == all_weights(model)

    with pytest.raises(VerificationError, match=r"a/kernel \(changed\), a/bias \(changed\)"):
        frostline_fit(model, only_b, epochs=2, callbacks=[change_to(everything)])


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


def apply_after_first_batch(model: keras.Model, plan: fl.Plan, epochs: int) -> dict[str, np.ndarray]:
    """Fits, with `fl.apply` at the end of the first batch; the values at that moment."""
    seen: dict[str, np.ndarray] = {}

    def change(batch: int, logs: object) -> None:
        if not seen:
            fl.apply(model, plan)
            seen.update(values(model))

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=change)
    keras_fit(model, epochs=epochs, callbacks=[callback])
    return seen


@pytest.mark.parametrize("epochs", [1, 2])
def test_frostline_freeze_between_batches_of_equal_layers(epochs: int) -> None:
    """`fl.apply` between two batches, layers of equal shapes: the frozen one stays, none swap."""
    model = compiled(square_layers(), optimizer=keras.optimizers.Adam(0.05))
    plan = fl.Plan(default="train").freeze("a/**")
    seen = apply_after_first_batch(model, plan, epochs)

    assert changed(model, seen) == weights_in(model, "b", "c")
    for name in "abc":
        # Two steps of Adam move a number by 0.1 or so; another layer's kernel is farther away.
        kernel = value_of(model.get_layer(name).kernel)
        distance = {n: np.abs(kernel - seen[f"{n}/kernel"]).max() for n in "abc"}
        assert min(distance, key=distance.__getitem__) == name
    require_obeys(model, plan, weights_in(model, "b", "c"))


def test_frostline_batches_after_apply_equal_those_of_a_new_fit() -> None:
    """A plan put on between two batches gives the numbers of two fits, with the plan between."""
    at_once = compiled(square_layers(), optimizer=keras.optimizers.Adam(0.05))
    plan = fl.Plan().train("b/**")
    apply_after_first_batch(at_once, plan, epochs=1)

    apart = compiled(square_layers(), optimizer=keras.optimizers.Adam(0.05))
    x, y = data_for(apart)
    apart.fit(x[:4], y[:4], batch_size=4, verbose=0)
    fl.apply(apart, plan)
    apart.fit(x[4:], y[4:], batch_size=4, verbose=0)

    for one, other in zip(optimizer_state(at_once), optimizer_state(apart), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    expected = values(apart)
    for address, value in values(at_once).items():
        np.testing.assert_allclose(value, expected[address], rtol=1e-5, atol=1e-7)


def test_frostline_swap_between_epochs_of_equal_layers() -> None:
    """`fl.apply` at the end of each epoch, another layer each time: each epoch moves just one."""
    model = compiled(square_layers(), optimizer=keras.optimizers.Adam(0.05))
    fl.apply(model, fl.Plan().train("a/**"))
    history: list[dict[str, np.ndarray]] = [values(model)]
    moves: list[set[str]] = []

    def change(epoch: int, logs: object) -> None:
        moves.append(changed(model, history[-1]))
        history.append(values(model))
        fl.apply(model, fl.Plan().train(f"{'bca'[epoch]}/**"))

    keras_fit(model, epochs=3, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=change)])
    assert moves == [{f"{name}/kernel", f"{name}/bias"} for name in "abc"]
    require_slots(model, {"a/kernel", "a/bias"})
