"""Plans and models that cannot be brought together: the full text, and nothing changed."""

from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline.errors import OptimizerError, PlanError, UnbuiltModelError, UnmatchedRuleError
from helpers.applied_plans import adam, everything
from helpers.checks import (
    flags_that_train,
    keras_fit,
    optimizer_state,
    same_arrays,
)
from helpers.small_models import (
    Subclassed,
    compiled,
    nested_dropout,
    two_dense,
)


def test_resolution_of_another_model_is_refused() -> None:
    model, other = compiled(two_dense()), two_dense()
    other.name = "other"
    before = everything(model)
    with pytest.raises(PlanError) as caught:
        fl.apply(model, fl.Plan().train("b/**").resolve(other))

    assert str(caught.value) == (
        "the resolution was made for another model, 'other'.\n"
        "  received: the model 'two_dense'\n"
        "  fix:      apply the plan itself, or resolve it again: plan.resolve(model)"
    )
    assert everything(model) == before


def test_resolution_of_a_part_is_refused_for_the_whole() -> None:
    """A part's resolution says nothing of the other weights."""
    model = nested_dropout()
    part = fl.Plan().train("a/**").resolve(model.get_layer("backbone"))
    before = everything(model)
    with pytest.raises(PlanError, match="made for another model, 'backbone'"):
        fl.apply(model, part)
    assert everything(model) == before


def test_strange_optimizer_is_refused() -> None:
    """Slots that cannot be told apart are never guessed at."""

    class Strange(keras.optimizers.SGD):
        def build(self, variables: list[keras.Variable]) -> None:
            super().build(variables)
            self.by_name = {"shared": self.add_variable((3,), name="shared")}

    model = compiled(two_dense(), optimizer=Strange(0.1))
    keras_fit(model)
    flags, state = everything(model), optimizer_state(model)
    with pytest.raises(OptimizerError, match="holds variables that belong to no weight") as caught:
        fl.apply(model, fl.Plan().train("b/**"))

    assert caught.value.received == "shared"
    assert everything(model) == flags
    assert same_arrays(optimizer_state(model), state)


def test_rule_without_match_changes_nothing() -> None:
    model = compiled(two_dense(), optimizer=adam())
    keras_fit(model)
    flags, state = everything(model), optimizer_state(model)
    with pytest.raises(UnmatchedRuleError, match="nothing in the model 'two_dense'"):
        fl.apply(model, fl.Plan().train("b/**").train("head/**"))

    assert everything(model) == flags
    assert same_arrays(optimizer_state(model), state)


def test_unbuilt_model_is_refused() -> None:
    model = Subclassed(name="unbuilt")
    with pytest.raises(UnbuiltModelError) as caught:
        fl.apply(model, fl.Plan(default="train"))

    assert str(caught.value) == (
        "the model 'unbuilt' is not built, so its weights do not exist yet.\n"
        "  received: 5 unbuilt layers: unbuilt, block, inner, outer, head\n"
        "  expected: a model that knows the shape of its input\n"
        "  fix:      call model.build(input_shape), or call it once on a batch: model(x[:1])"
    )
    assert model.trainable
    model(np.zeros((1, 4), "float32"))
    fl.apply(model, fl.Plan().train("head/**"))
    assert flags_that_train(model) == {"head/kernel", "head/bias"}


@pytest.mark.parametrize("wrong", ["head/**", None, {"default": "train"}])
def test_what_is_no_plan_is_refused(wrong: Any) -> None:
    with pytest.raises(PlanError, match="this is not a plan") as caught:
        fl.apply(two_dense(), wrong)
    assert type(wrong).__name__ in caught.value.received


def test_a_schedule_has_a_plan_for_each_phase() -> None:
    schedule = fl.Schedule(fl.Plan(), (fl.Phase("all", epochs=1).train("**"),))
    with pytest.raises(PlanError) as caught:
        fl.apply(two_dense(), schedule)
    assert str(caught.value) == (
        "this is not a plan.\n"
        "  received: an object of type Schedule\n"
        "  expected: a frostline.Plan\n"
        "  fix:      schedule.plan_of(phase) is the plan of a phase"
    )
