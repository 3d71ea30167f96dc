"""Compiled functions are kept where nothing changed, and made anew where anything did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest

import frostline as fl
from helpers.checks import frostline_fit
from helpers.small_models import batch_norm, compiled, fit, two_dense

pytestmark = pytest.mark.every_backend

ONLY_B = fl.Plan().train("b/**")


def trained(plan: Any = ONLY_B, model: keras.Model | None = None) -> keras.Model:
    """A model that `fl.fit` has trained under a plan."""
    model = compiled(model or two_dense(), keras.optimizers.Adam(0.1, weight_decay=0.01))
    frostline_fit(model, plan)
    return model


def test_the_same_plan_again_keeps_the_training_function() -> None:
    model = trained()
    function = model.train_function
    frostline_fit(model, fl.Plan().train("b/kernel").train("b/bias"))
    assert model.train_function is function
    frostline_fit(model, ONLY_B)
    assert model.train_function is function


def by_hand(model: keras.Model) -> None:
    model.get_layer("b").trainable = False


def fit_in_between(model: keras.Model) -> None:
    fit(model)


def another_flag_during_a_fit(model: keras.Model) -> None:
    """Flags are as before in the end, but a function may have been traced under others."""
    with fl.applied(model, fl.Plan().train("a/**")):
        fit(model)


CHANGES: dict[str, tuple[Callable[[keras.Model], None], fl.Plan]] = {
    "another set": (lambda model: None, fl.Plan().train("a/**")),
    "another rate": (lambda model: None, fl.Plan().train("b/**", lr=0.5)),
    "another decay": (lambda model: None, fl.Plan().train("b/**", decay=0.0)),
    "a flag set by hand": (by_hand, ONLY_B),
    "a plain fit in between": (fit_in_between, ONLY_B),
    "another plan in between": (another_flag_during_a_fit, ONLY_B),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_makes_the_training_function_anew(change: str) -> None:
    model = trained()
    function = model.train_function
    disturb, plan = CHANGES[change]
    disturb(model)
    fl.apply(model, plan)
    assert model.train_function is not None
    assert model.train_function is not function


def test_another_mode_makes_the_training_function_anew() -> None:
    plan = fl.Plan().train("b/**")
    model = trained(plan, batch_norm())
    function = model.train_function
    moving = fl.Plan(batchnorm="update").train("b/**")
    frostline_fit(model, moving)
    assert model.train_function is not function
    kept = model.train_function
    frostline_fit(model, moving)
    assert model.train_function is kept


def test_a_model_compiled_again_is_trained_with_its_new_optimizer() -> None:
    model = trained()
    compiled(model, keras.optimizers.SGD(0.0))
    before = [keras.ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
    frostline_fit(model, ONLY_B, guard=False)
    after = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    assert all((one == other).all() for one, other in zip(before, after, strict=True))
