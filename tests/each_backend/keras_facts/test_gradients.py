"""What Keras itself does with gradients that are missing, and with those of frozen weights.

Measured, not wished for: a failure of a `test_keras_` here means that Keras has changed.
Each `EXPECTED_...` table is read by the active backend. Frostline's counterpart of a fact stands
right below its Keras test, and knows no backend.
"""

import warnings

import keras
import numpy as np
import pytest

import frostline as fl
from frostline.errors import NoGradientError
from helpers.checks import (
    all_weights,
    changed,
    frostline_fit,
    require_obeys,
    user_warnings,
    values,
    weights_in,
)
from helpers.small_models import (
    compiled,
    fit,
    gradient,
    moved_by_fit,
    rounded_error,
    two_dense,
    unused_layer,
)

pytestmark = pytest.mark.every_backend

BACKEND = keras.backend.backend()


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


NO_GRADIENT_TEXT = """\
nothing that the plan trains in the model 'two_dense' received a gradient.
  received: no gradient, or zero at every step, for b/kernel, b/bias
  expected: a loss that depends on these weights through differentiable operations
  fix:      look for round, argmax, a cast to integers, stop_gradient or a learning rate of 0 on \
the way"""


@pytest.mark.parametrize("decay", [None, 0.1], ids=["sgd", "adamw"])
def test_frostline_round_in_loss(decay: float | None) -> None:
    """`fl.fit` says the same on every backend; values are there, at worst decayed."""
    optimizer = keras.optimizers.SGD(0.1)
    if decay is not None:
        optimizer = keras.optimizers.AdamW(0.1, weight_decay=decay)
    model = compiled(two_dense(), optimizer=optimizer, loss=rounded_error)
    before = values(model)
    with pytest.raises(NoGradientError) as caught:
        frostline_fit(model, fl.Plan().train("b/**"), preflight=False)

    assert str(caught.value) == NO_GRADIENT_TEXT
    assert [value.shape for value in model.get_weights()] == [(4, 3), (3,), (3, 2), (2,)]
    now = values(model)
    assert all(np.array_equal(before[a], now[a]) for a in weights_in(model, "a"))
    for address in weights_in(model, "b"):
        smaller = np.abs(now[address]) <= np.abs(before[address])
        assert smaller.all() and (np.sign(now[address]) == np.sign(before[address])).all()
        assert decay is not None or np.array_equal(now[address], before[address])


def test_frostline_trains_after_round_in_loss() -> None:
    """After the error another loss trains the model, with the same optimizer."""
    model = compiled(two_dense(), optimizer=keras.optimizers.Adam(0.05), loss=rounded_error)
    with pytest.raises(NoGradientError):
        frostline_fit(model, fl.Plan().train("b/**"))
    compiled(model, optimizer=model.optimizer)

    run = frostline_fit(model, fl.Plan(default="train"))
    assert set(run.verification.of("trained")) == all_weights(model)
    assert run.verification.no_gradient == ()


# --- gradients of frozen weights --------------------------------------------------------------

EXPECTED_FROZEN_HAS_GRADIENT = {"tensorflow": True, "jax": True, "torch": False}


def test_keras_frozen_layer_has_gradient() -> None:
    """On TF `layer.trainable = False` does not stop the tape: the gradients are there."""
    model = two_dense()
    model.get_layer("a").trainable = False
    found = gradient(model, model.get_layer("a").kernel)

    assert (found is not None) == EXPECTED_FROZEN_HAS_GRADIENT[BACKEND]
    assert found is None or np.abs(found).min() > 0


@pytest.mark.parametrize("built_by", ["fit", "apply"])
def test_frostline_optimizer_refuses_frozen_weights(built_by: str) -> None:
    """Whatever a tape gives: after `fl.apply` the optimizer refuses a frozen variable."""
    model = compiled(two_dense(), optimizer=keras.optimizers.Adam(0.05))
    if built_by == "fit":
        fit(model)
    fl.apply(model, fl.Plan().train("b/**"))
    before = values(model)
    kernel = model.get_layer("a").kernel
    with pytest.raises(ValueError, match="Unknown variable"):
        model.optimizer.apply([keras.ops.ones(kernel.shape)], [kernel])
    assert changed(model, before) == set()

    kernel = model.get_layer("b").kernel
    model.optimizer.apply([keras.ops.ones(kernel.shape)], [kernel])
    assert changed(model, before) == {"b/kernel"}


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


@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables:UserWarning")
@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "Adagrad", "Ftrl", "ScheduleFreeAdamW"])
def test_frostline_names_unreached_weights(kind: str) -> None:
    """`run.verification.no_gradient` names them on every backend, decayed or not, however slots begin."""
    decay = None if kind == "SGD" else 0.1
    optimizer = getattr(keras.optimizers, kind)(weight_decay=decay)
    model = compiled(unused_layer(), optimizer=optimizer)
    run = frostline_fit(model, fl.Plan(default="train"), preflight=False)

    assert run.verification.no_gradient == ("unused/kernel", "unused/bias")
    assert {"used/kernel", "used/bias"} <= set(run.verification.of("trained"))
    assert run.verification.ok


@pytest.mark.parametrize("extra", [{"use_ema": True}, {"gradient_accumulation_steps": 2}], ids=str)
@pytest.mark.parametrize("preflight", [True, False])
def test_frostline_believes_weights_whose_slots_tell_nothing(
    extra: dict[str, object], preflight: bool
) -> None:
    """Under plain SGD an average and accumulated gradients are not evidence; that the weight moved is."""
    model = compiled(two_dense(), optimizer=keras.optimizers.SGD(0.1, **extra))
    run = frostline_fit(model, fl.Plan().train("b/**"), batch_size=4, preflight=preflight)

    assert run.verification.no_gradient == ()
    assert run.verification.of("trained") == ("b/kernel", "b/bias")


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_frostline_lets_a_rate_of_zero_be(optimizer: str) -> None:
    """A warm-up from zero, or a loss of zero, moves nothing, and says nothing about gradients."""
    model = compiled(two_dense(), optimizer=optimizer)
    model.optimizer.learning_rate = 0.0
    run = frostline_fit(model, fl.Plan().train("b/**"))

    assert run.verification.of("unmoved") == ("b/kernel", "b/bias")
    assert run.verification.no_gradient == ()


def test_frostline_frozen_unreached_weights_do_not_decay() -> None:
    """Frozen by the plan, an unreached weight has neither a slot nor decay."""
    model = compiled(unused_layer(), optimizer=keras.optimizers.AdamW(0.1, weight_decay=0.1))
    plan = fl.Plan().train("used/**")
    run = frostline_fit(model, plan)

    assert run.verification.no_gradient == ()
    require_obeys(model, plan, {"used/kernel", "used/bias"})
