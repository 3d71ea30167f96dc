"""What Keras itself does when the flag of a whole model is set.

Measured, not wished for: a failure of a `test_keras_` here means that Keras has changed.
Each `EXPECTED_...` table is read by the active backend. Frostline's counterpart of a fact stands
right below its Keras test, and knows no backend.
"""

from collections.abc import Callable
from pathlib import Path

import keras
import pytest

import frostline as fl
from helpers.checks import all_weights, every_flag, flags_that_train, require_obeys, weights_in
from helpers.small_models import compiled, moved_by_fit, saved_and_loaded, sequential, subclassed, two_dense

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


def test_frostline_scope_restores_every_flag() -> None:
    """After `fl.applied`, or `undo`, what was frozen before is frozen, and nothing else."""
    model = two_dense()
    model.get_layer("a").trainable = False
    model.get_layer("b").bias.trainable = False
    before = every_flag(model)

    with fl.applied(model, fl.Plan()):
        assert flags_that_train(model) == set()
    assert every_flag(model) == before
    with fl.applied(model, fl.Plan(default="train")):
        assert flags_that_train(model) == all_weights(model)
    assert every_flag(model) == before
    applied = fl.apply(model, fl.Plan().train("**/bias"))
    assert flags_that_train(model) == {"a/bias", "b/bias"}
    applied.undo()
    assert every_flag(model) == before
    assert [weight.path for weight in model.trainable_weights] == ["b/kernel"]


def with_lora() -> keras.Model:
    """`two_dense` with LoRA of rank 1 on the kernel of `b`."""
    model = two_dense()
    model.get_layer("b").enable_lora(1)
    return model


def test_frostline_scope_restores_base_of_lora() -> None:
    """After `fl.applied` the base kernel under LoRA is frozen as before."""
    model = with_lora()
    before = every_flag(model)
    assert not before["weight b/kernel"]

    for plan in (fl.Plan(), fl.Plan(default="train")):
        with fl.applied(model, plan):
            pass
        assert every_flag(model) == before


def test_frostline_notes_base_of_lora() -> None:
    """A plan that trains the base under LoRA gets a note, one that trains the adapter gets none."""
    model = with_lora()
    assert fl.Plan().train("**").resolve(model).notes == (
        "the plan trains the base under LoRA (b/kernel); to train the adapter only, add a rule "
        "that freezes it, such as freeze: 'b/kernel'",
    )
    assert fl.Plan().train("**").freeze("b/kernel").resolve(model).notes == ()

    plan = fl.Plan().train("**/lora_*")
    assert plan.resolve(model).notes == ()
    compiled(model, optimizer=keras.optimizers.Adam(0.05))
    fl.apply(model, plan)
    require_obeys(model, plan, {"b/lora_kernel_a", "b/lora_kernel_b"})


# --- a trainable layer in a frozen model ------------------------------------------------------

EXPECTED_TRAINS_AFTER_LOADING = {"sequential": True, "two_dense": False, "subclassed": False}


@pytest.mark.parametrize("build", [sequential, two_dense, subclassed], ids=lambda one: one.__name__)
def test_keras_trainable_layer_in_frozen_model(build: Callable[[], keras.Model], tmp_path: Path) -> None:
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


# Keras forgets flags of a subclassed model, and warns that the saved slots do not fit all its weights.
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer:UserWarning")
@pytest.mark.parametrize("build", [sequential, two_dense, subclassed], ids=lambda one: one.__name__)
def test_frostline_trainable_layer_in_frozen_model(build: Callable[[], keras.Model], tmp_path: Path) -> None:
    """After `fl.apply` the flags agree, and the same set trains now and after loading."""
    model = compiled(build(), optimizer=keras.optimizers.Adam(0.05))
    model.trainable = False
    model.layers[-1].trainable = True
    plan = fl.Plan().train("last:1")
    trained = weights_in(model, model.layers[-1].name)
    fl.apply(model, plan)
    assert model.trainable
    assert model.layers[-1].trainable
    require_obeys(model, plan, trained)

    loaded = saved_and_loaded(model, tmp_path)
    fl.apply(loaded, plan)
    require_obeys(loaded, plan, trained)
