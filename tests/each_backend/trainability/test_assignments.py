"""`fl.apply` names what it cannot hold under plain `fit`: frozen variables that code assigns to."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from helpers.checks import changed, values
from helpers.small_models import INPUTS, OUTPUTS, compiled


class Base(layers.Layer):
    """A kernel of which code keeps a running copy, and a weight that trains."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel = self.add_weight(shape=(INPUTS,), initializer="ones", name="kernel")
        self.scale = self.add_weight(shape=(INPUTS,), initializer="ones", name="scale")
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")

    def call(self, x: Any) -> Any:
        return x * self.scale + self.kernel


class Direct(Base):
    def call(self, x: Any) -> Any:
        self.kernel.assign(self.kernel * 0.5)
        return super().call(x)


class ByName(Base):
    def call(self, x: Any) -> Any:
        weight = self.kernel
        weight.assign_add(ops.ones((INPUTS,)))
        return super().call(x)


class ByMethod(Base):
    def halve(self) -> None:
        for weight, factor in zip([self.kernel], [0.5], strict=True):
            weight.assign(weight * factor)

    def call(self, x: Any) -> Any:
        self.halve()
        return super().call(x)


class Inherited(Direct):
    def call(self, x: Any) -> Any:
        return super().call(x) * 2.0


class Looked(Base):
    def call(self, x: Any) -> Any:
        {"a": self.kernel}.pop("a").assign(self.kernel * 0.5)
        return super().call(x)


class Counting(Base):
    def call(self, x: Any) -> Any:
        self.count.assign_add(1.0)
        return super().call(x)


class Unused(Base):
    def reset(self) -> None:
        self.kernel.assign(ops.zeros((INPUTS,)))


class Teacher(keras.Model):
    """Follows a student in its training step."""

    def __init__(self) -> None:
        super().__init__(name="teacher")
        self.student, self.target = (
            layers.Dense(OUTPUTS, name="student"),
            layers.Dense(OUTPUTS, name="target"),
        )

    def build(self, shape: Any) -> None:
        self.student.build(shape)
        self.target.build(shape)

    def call(self, x: Any) -> Any:
        return self.student(x)

    def train_step(self, *arguments: Any) -> Any:
        logs = super().train_step(*arguments)
        for slow, fast in zip(self.target.weights, self.student.weights, strict=True):
            slow.assign(0.9 * slow + 0.1 * fast)
        return logs


def follow(slow: Any, fast: Any) -> None:
    for one, other in zip(slow.weights, fast.weights, strict=True):
        one.assign(other)


def follow_all(*, student: Any, target: Any) -> None:
    follow(target, student)


class ByFunction(Teacher):
    def train_step(self, *arguments: Any) -> Any:
        logs = keras.Model.train_step(self, *arguments)
        follow_all(student=self.student, target=self.target)
        return logs


class ByWeights(Teacher):
    def train_step(self, *arguments: Any) -> Any:
        logs = keras.Model.train_step(self, *arguments)
        self.target.set_weights(self.student.get_weights())
        return logs


class Backwards(Teacher):
    """Writes to what trains."""

    def train_step(self, *arguments: Any) -> Any:
        logs = keras.Model.train_step(self, *arguments)
        follow(self.student, self.target)
        self.student.set_weights(self.target.get_weights())
        return logs


class ByLists(Teacher):
    def train_step(self, *arguments: Any) -> Any:
        logs = super(Teacher, self).train_step(*arguments)
        for number, slow in enumerate(list(self.target.weights[:])):
            slow.assign(self.student.weights[number])
        return logs


class ByLambda(Teacher):
    def train_step(self, *arguments: Any) -> Any:
        logs = keras.Model.train_step(self, *arguments)
        keras.tree.map_structure(
            lambda slow, fast: slow.assign(fast), self.target.weights, self.student.weights
        )
        return logs


class BySum(Teacher):
    def train_step(self, *arguments: Any) -> Any:
        logs = keras.Model.train_step(self, *arguments)
        for slow in (layer := getattr(self, "target")).trainable_weights + layer.non_trainable_weights:  # noqa: B009
            slow.assign(slow * 0.5)
        return logs


class ByTable(Teacher):
    def train_step(self, *arguments: Any) -> Any:
        logs = keras.Model.train_step(self, *arguments)
        pairs = {"one": self.target.kernel, "other": self.target.bias}
        for _, slow in pairs.items():
            slow.assign(slow * 0.5)
        return logs


class FromAbove(Teacher):
    def train_step(self, *arguments: Any) -> Any:
        return Teacher.train_step(self, *arguments)


class FromFarAbove(Teacher):
    def train_step(self, *arguments: Any) -> Any:
        return super(FromFarAbove, self).train_step(*arguments)  # noqa: UP008


class Tables(Base):
    """Calls what is named as an assignment and is none."""

    def call(self, x: Any) -> Any:
        frame().assign(column=1)
        return super().call(x)


def frame() -> Any:
    class Frame:
        def assign(self, **columns: Any) -> None:
            """Do nothing."""

    return Frame()


def around(layer: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    return compiled(keras.Sequential([keras.Input((INPUTS,)), layer, layers.Dense(OUTPUTS, name="head")]))


def said(model: Any, plan: fl.Plan) -> tuple[str, ...]:
    with pytest.warns(UserWarning, match="freezes what plain fit moves all the same: ") as warned:
        applied = fl.apply(model, plan)
    text = next(str(w.message) for w in warned if "plain fit" in str(w.message))
    assert all(one in text for one in applied.unheld)
    return applied.unheld


def spectral() -> keras.Model:
    return around(layers.SpectralNormalization(layers.Dense(3, name="inner"), name="spectral"))


def test_spectral_normalization_under_its_own_trained_bias() -> None:
    plan = fl.Plan().train("**/bias").train("head/**")
    found = said(model := spectral(), plan)
    (kernel,) = [w.address for w in fl.inventory(model) if w.address in str(found) and "kernel" in w.address]
    assert f"{kernel} (SpectralNormalization.call assigns to it)" in found
    before = values(model)
    model.fit(np.ones((8, INPUTS), "float32"), np.ones((8, OUTPUTS), "float32"), verbose=0)
    assert kernel in changed(model, before)  # what was said is so


def test_spectral_normalization_that_is_frozen_whole_is_held() -> None:
    applied = fl.apply(model := spectral(), fl.Plan().train("head/**"))
    assert applied.unheld == ()
    before = values(model)
    model.fit(np.ones((8, INPUTS), "float32"), np.ones((8, OUTPUTS), "float32"), verbose=0)
    assert all(address.startswith("head/") for address in changed(model, before))


PLAN = fl.Plan().train("mine/scale").train("head/**")


@pytest.mark.parametrize(
    ("kind", "method"), [(Direct, "call"), (ByName, "call"), (ByMethod, "halve"), (Inherited, "call")]
)
def test_layers_that_write_to_their_own_weights(kind: type, method: str) -> None:
    model = around(kind(name="mine"))
    assert said(model, PLAN) == (f"mine/kernel ({kind.__name__}.{method} assigns to it)",)


def test_code_that_does_not_show_what_it_writes_to() -> None:
    (text,) = said(around(Looked(name="mine")), PLAN)
    assert text == "variables that its code does not show by name (Looked.call assigns to it)"


def test_a_training_step_that_moves_a_teacher() -> None:
    model = Teacher()
    model.build((None, INPUTS))
    found = said(compiled(model), fl.Plan().train("student/**"))
    assert found == tuple(f"target/{n} (Teacher.train_step assigns to it)" for n in ("kernel", "bias"))


@pytest.mark.parametrize("kind", [ByFunction, ByWeights, ByLists, ByLambda, BySum, ByTable])
def test_a_teacher_that_is_moved_by_a_function_or_as_a_whole(kind: type) -> None:
    (model := kind()).build((None, INPUTS))
    found = said(compiled(model), fl.Plan().train("student/**"))
    assert found == tuple(
        f"target/{n} ({kind.__name__}.train_step assigns to it)" for n in ("kernel", "bias")
    )


@pytest.mark.parametrize("kind", [FromAbove, FromFarAbove])
def test_a_step_that_a_class_above_has(kind: type) -> None:
    (model := kind()).build((None, INPUTS))
    found = said(compiled(model), fl.Plan().train("student/**"))
    assert found == tuple(
        f"target/{n} ({kind.__name__}.train_step assigns to it)" for n in ("kernel", "bias")
    )


def test_a_function_that_writes_to_what_trains_is_not_warned_of() -> None:
    (model := Backwards()).build((None, INPUTS))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*plain fit")
        assert fl.apply(compiled(model), fl.Plan().train("student/**")).unheld == ()


@pytest.mark.parametrize(
    ("layer", "plan"),
    [
        (lambda: Base(name="mine"), PLAN),
        (lambda: Counting(name="mine"), PLAN),  # a statistic of a layer in training may move
        (lambda: Tables(name="mine"), PLAN),  # a method of the same name of something else
        (lambda: Unused(name="mine"), PLAN),  # nothing that training runs
        (lambda: Direct(name="mine"), fl.Plan(default="train")),  # it is not frozen
        (lambda: layers.BatchNormalization(name="mine"), fl.Plan().train("mine/beta").train("head/**")),
        (lambda: layers.Dense(3, name="mine"), fl.Plan().train("mine/bias").train("head/**")),
    ],
    ids=["plain", "counter", "table", "not called", "trained", "batch norm", "dense"],
)
def test_what_is_held_is_not_warned_of(layer: Any, plan: fl.Plan) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*plain fit")
        assert fl.apply(around(layer()), plan).unheld == ()


def test_loops_of_ones_own_are_told_too() -> None:
    with pytest.warns(UserWarning, match="plain fit moves"):
        fl.optimizer_for(around(Direct(name="mine")), PLAN, "sgd")


def test_fit_finds_it_out_by_itself() -> None:
    x, y = np.ones((8, INPUTS), "float32"), np.ones((8, OUTPUTS), "float32")
    with pytest.raises(fl.FrostlineError, match="changed"):
        fl.fit(around(Direct(name="mine")), PLAN, x, y, verbose=0)
