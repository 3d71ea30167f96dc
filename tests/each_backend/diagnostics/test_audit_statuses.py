"""`fl.audit`: the statuses of weights, by gradients, flags and plans.

See also `test_audit_losses`, `test_audit_answers`, `test_audit_untouched`, `test_audit_rules`,
`test_audit_cases`, `test_audit_truth`, `test_audit_architectures`.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from frostline.backends import dispatch
from frostline.graph.reader import Measured
from helpers import checks
from helpers.audit_checks import asked, audited, rounded
from helpers.small_models import (
    INPUTS,
    OUTPUTS,
    batch_norm,
    compiled,
    data_for,
    fitted,
    layer_in_call,
    raw_scale,
    square_layers,
    two_dense,
    unused_layer,
)


def codes(answer: fl.Audit) -> set[str]:
    return {finding.code for finding in answer.findings}


def test_gradients_that_the_framework_refuses_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = Measured(float("nan"), {}, error="no kernel for it\nat length")
    monkeypatch.setattr(dispatch, "measure", lambda computation: refused)
    answer = audited(compiled(two_dense()))
    assert set(answer.statuses.values()) == {"trains"}
    because = "the framework says: no kernel for it"
    note = f"no gradients on this batch, all statuses are by structure alone: {because}"
    assert answer.notes == (note,)
    assert f"note: {note}" in " ".join(str(answer).split())
    assert answer.to_data()["notes"] == [note]


def test_every_weight_of_a_good_model_trains() -> None:
    answer = audited(compiled(two_dense()))
    assert dict(answer.statuses) == dict.fromkeys(("a/kernel", "a/bias", "b/kernel", "b/bias"), "trains")
    assert answer.ok
    assert answer.findings == ()
    assert answer.explanations == {}
    assert answer.of("trains") == ("a/kernel", "a/bias", "b/kernel", "b/bias")
    assert answer.of("cut") == ()


def test_loss_and_gradients_are_those_of_a_step() -> None:
    model = compiled(two_dense())
    answer = audited(model)
    x, y = data_for(model)
    assert answer.loss == pytest.approx(float(model.evaluate(x, y, verbose=0)), rel=1e-5)

    before = checks.values(model)
    model.train_on_batch(x, y)  # of plain SGD with a rate of 0.1
    for address, after in checks.values(model).items():
        step = np.linalg.norm((before[address] - after) / 0.1)
        assert answer.gradient_norms[address] == pytest.approx(step, rel=1e-3)


def test_flags_say_what_is_planned() -> None:
    model = two_dense()
    model.get_layer("a").trainable = False
    model.get_layer("b").bias.trainable = False
    answer = audited(compiled(model))
    assert answer.statuses == {
        "a/kernel": "frozen",
        "a/bias": "frozen",
        "b/kernel": "trains",
        "b/bias": "frozen",
    }
    assert set(answer.gradient_norms) == {"b/kernel"}
    assert answer.ok


def test_a_trainable_weight_under_a_frozen_model_is_frozen() -> None:
    """As Keras sees it: `model.trainable_variables` goes by the flags above, too."""
    model = two_dense()
    model.trainable = False
    model.get_layer("b").trainable = True
    assert set(audited(compiled(model)).statuses.values()) == {"frozen"}


def test_a_plan_says_what_is_planned_and_is_taken_off_again() -> None:
    model = compiled(two_dense())
    model.get_layer("a").trainable = False
    flags = checks.every_flag(model)
    answer = audited(model, plan=fl.Plan().train("a/**"))
    assert answer.statuses == {
        "a/kernel": "trains",
        "a/bias": "trains",
        "b/kernel": "frozen",
        "b/bias": "frozen",
    }
    assert answer.ok
    assert checks.every_flag(model) == flags
    resolution = fl.resolve(model, fl.Plan().train("b/kernel"))
    assert audited(model, plan=resolution).of("trains") == ("b/kernel",)


def test_a_plan_that_freezes_all_is_no_error() -> None:
    answer = audited(compiled(two_dense()), plan=fl.Plan())
    assert set(answer.statuses.values()) == {"frozen"}
    assert answer.ok


def test_stale_flags() -> None:
    model = two_dense()
    model.get_layer("a").trainable = False
    fitted(model)
    model.get_layer("a").trainable = True
    answer = audited(model)
    assert answer.of("stale") == ("a/kernel", "a/bias")
    assert answer.of("trains") == ("b/kernel", "b/bias")
    assert "FL301" in codes(answer)
    assert not answer.ok
    plan = fl.Plan(default="train")
    assert audited(model, plan=plan).ok, "a plan renews the training function"


def test_statistics_that_are_to_stay_and_move() -> None:
    model = batch_norm()
    model.get_layer("bn").gamma.trainable = model.get_layer("bn").beta.trainable = False
    answer = audited(compiled(model))
    assert answer.of("leaks") == ("bn/moving_mean", "bn/moving_variance")
    assert answer.of("frozen") == ("bn/gamma", "bn/beta")
    assert "FL201" in codes(answer)

    planned = audited(model, plan=fl.Plan(default="train").freeze("bn/**"))
    assert planned.of("leaks") == ()
    assert planned.of("frozen") == ("bn/gamma", "bn/beta", "bn/moving_mean", "bn/moving_variance")
    assert planned.ok


def test_statistics_that_move_as_planned_are_not_spoken_of() -> None:
    assert not any("moving" in address for address in audited(compiled(batch_norm())).statuses)


def test_untracked_variables() -> None:
    for build in (raw_scale, layer_in_call):
        answer = audited(compiled(build()))
        assert len(answer.of("untracked")) == (1 if build is raw_scale else 2)
        one = asked(compiled(build()), answer.of("untracked")[0])
        assert one.status == "untracked"
        assert "add_weight" in one.remedy
        assert "FL105" in codes(answer)
        assert not answer.ok


def test_a_layer_that_is_never_called() -> None:
    answer = audited(compiled(unused_layer()))
    assert answer.of("unused") == ("unused/kernel", "unused/bias")
    assert answer.explanations["unused/kernel"].remedy.startswith("nothing reads it")
    assert "FL102" in codes(answer)


def test_partly_trained_weights() -> None:
    model = compiled(two_dense())
    fl.parametrize(model, "a/kernel", fl.Columns([0]))
    answer = audited(model)
    assert answer.statuses["a/kernel"] == "partial"
    assert answer.ok
    one = asked(model, "a/kernel")
    assert one.status == "partial"
    assert one.gradient_norm == pytest.approx(answer.gradient_norms["a/kernel"])
    assert (one.note, one.remedy) == ("what trains of it: columns 0", "")
    cut = audited(model, loss=rounded)
    assert cut.statuses["a/kernel"] == "cut"
    assert {c.operation for c in cut.explanations["a/kernel"].cuts} == {"round"}


def test_weights_of_low_rank() -> None:
    model = compiled(two_dense())
    fl.parametrize(model, "a/kernel", fl.LowRank(2))
    one = asked(model, "a/kernel")
    # The second factor begins at zero, so the first one has no gradient yet, as it should be.
    assert (one.status, one.note) == ("partial", "what trains of it: rank 2")
    answer = audited(model)
    assert answer.ok
    assert answer.findings == ()
    assert one.gradient_norm == pytest.approx(answer.gradient_norms["a/kernel"])
    assert str(one).startswith("a/kernel: partial (a gradient reaches the part of it that trains, of norm")
    frozen = asked(model, "a/kernel", plan=fl.Plan().train("b/**"))
    assert frozen.status == "frozen"


class Bare(layers.Layer):
    """Has neither weights nor `build`."""

    def call(self, x: Any) -> Any:
        # A pair of literals, and a number of NumPy's: the one compared with the other gives an array.
        low, high = (-3.0, 3.0)
        return ops.clip(x * np.float64(0.5), low, high) * ops.convert_to_tensor((1.0, 2.0, 1.0), x.dtype)


class Holding(layers.Layer):
    """Knows the shape of what it gives, so a symbolic call passes `bare` by."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bare = Bare(name="bare")
        self.dense = layers.Dense(3, name="dense")

    def build(self, shape: Any) -> None:
        self.dense.build(shape)

    def compute_output_shape(self, shape: Any) -> Any:
        return (*shape[:-1], 3)

    def call(self, x: Any) -> Any:
        return self.bare(self.dense(x))


def test_a_layer_without_weights_need_not_be_built() -> None:
    x = keras.Input((INPUTS,))
    model = keras.Model(x, layers.Dense(OUTPUTS, name="head")(Holding(name="holding")(x)), name="model")
    assert not model.get_layer("holding").bare.built
    assert set(audited(compiled(model)).statuses.values()) == {"trains"}


def test_batches_may_be_tensors_and_dicts() -> None:
    model = compiled(square_layers())
    x, y = data_for(model)
    assert fl.audit(model, ops.convert_to_tensor(x), ops.convert_to_tensor(y)).ok
    inputs = {"x": keras.Input((INPUTS,), name="x")}
    named = compiled(keras.Model(inputs, layers.Dense(INPUTS)(inputs["x"])))
    assert fl.audit(named, {"x": x}, y).ok
