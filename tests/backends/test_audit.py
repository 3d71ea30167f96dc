"""`fl.audit` and `fl.why`: statuses, what they print, what they leave untouched, what they refuse.

See also `test_audit_rules`, `test_audit_cases`, `test_audit_truth`, `test_audit_architectures`.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from backends import checks
from backends.custom_step import CustomStep, custom_step
from backends.small_models import (
    INPUTS,
    OUTPUTS,
    SEED,
    batch_norm,
    compiled,
    data_for,
    fitted,
    layer_in_call,
    nested_dropout,
    raw_scale,
    square_layers,
    subclassed,
    two_dense,
    unused_layer,
    value_of,
)
from frostline.errors import AuditError, ModelError, PlanError, UnbuiltModelError
from frostline.graph import read
from frostline.graph.read import Measured

BACKEND = keras.backend.backend()


def audited(model: keras.Model, **arguments: Any) -> fl.Audit:
    return fl.audit(model, *data_for(model), **arguments)


def codes(answer: fl.Audit) -> set[str]:
    return {finding.code for finding in answer.findings}


# Statuses -----------------------------------------------------------------------------------------


def test_gradients_that_the_framework_refuses_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = Measured(float("nan"), {}, error="no kernel for it\nat length")
    monkeypatch.setattr(read, "measure", lambda subject: refused)
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
    model = fitted(two_dense())
    model.get_layer("a").trainable = False
    answer = audited(model)
    assert answer.of("stale") == ("a/kernel", "a/bias")
    assert answer.of("trains") == ("b/kernel", "b/bias")
    assert "FL301" in codes(answer)
    assert not answer.ok
    plan = fl.Plan().train("layer:b")
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
    # The second factor begins at zero, so the first one has no gradient yet: that is no reason to worry.
    assert (one.status, one.note) == ("partial", "what trains of it: rank 2")
    answer = audited(model)
    assert answer.ok
    assert answer.findings == ()
    assert one.gradient_norm == pytest.approx(answer.gradient_norms["a/kernel"])
    assert str(one).startswith(
        "a/kernel: partial (a gradient comes back to the part of it that trains, of norm"
    )
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


# The loss -----------------------------------------------------------------------------------------


def rounded(y: Any, predicted: Any) -> Any:
    return ops.mean((y - ops.round(predicted)) ** 2)


def test_another_loss_takes_the_place_of_the_compiled_one() -> None:
    model = compiled(two_dense())
    assert audited(model, loss=rounded).of("cut") == ("a/kernel", "a/bias", "b/kernel", "b/bias")
    assert audited(model, loss="mae").ok
    assert audited(two_dense(), loss="mse").loss == pytest.approx(audited(model).loss)


def test_a_penalty_is_part_of_the_loss_whichever_it_is() -> None:
    model = compiled(two_dense("l2"))
    for loss in (None, rounded):
        assert audited(model, loss=loss).statuses["a/kernel"] == "trains"
    assert audited(model, loss=rounded).statuses["a/bias"] == "cut"
    assert audited(model).loss == pytest.approx(audited(two_dense("l2"), loss="mse").loss)


def test_sample_weights_are_those_of_fit() -> None:
    model = compiled(two_dense())
    nothing = audited(model, sample_weight=np.zeros(8, "float32"))
    assert set(nothing.statuses.values()) == {"zero"}
    assert nothing.loss == 0
    some = np.arange(8, dtype="float32")
    for loss in ("mse", keras.losses.MeanSquaredError()):
        assert audited(model, loss=loss, sample_weight=some).loss == pytest.approx(
            audited(model, sample_weight=some).loss
        )


def two_outputs(**losses: str) -> keras.Model:
    x = keras.Input((INPUTS,), name="x")
    shared = layers.Dense(3, name="shared")(x)
    outputs = {name: layers.Dense(OUTPUTS, name=name)(shared) for name in ("first", "second")}
    model = keras.Model(x, outputs)
    model.compile("sgd", losses)
    return model


def test_several_outputs() -> None:
    x, y = data_for(two_dense())
    both = {"first": y, "second": y}
    assert fl.audit(two_outputs(first="mse", second="mae"), x, both).ok
    answer = fl.audit(two_outputs(first="mse"), x, both)
    assert answer.of("unused") == ("second/kernel", "second/bias")
    assert answer.statuses["shared/kernel"] == "trains"


def test_a_model_of_several_outputs_trains_after_it_was_looked_at() -> None:
    model, (x, y) = two_outputs(first="mse", second="mae"), data_for(two_dense())
    fl.audit(model, x, {"first": y, "second": y})
    moved = checks.moved_by(model, lambda: model.fit(x, {"first": y, "second": y}, verbose=0))
    assert moved == checks.all_weights(model)
    assert fl.audit(model, x, {"first": y, "second": y}).ok


def test_one_loss_for_several_outputs_is_refused() -> None:
    x, y = data_for(two_dense())
    model = two_outputs(first="mse", second="mae")
    with pytest.raises(AuditError, match="has several outputs, and loss='mse' is for one") as caught:
        fl.audit(model, x, [y, y], loss="mse")
    assert "compile the model with a loss for each output" in str(caught.value)
    both = {"first": y, "second": y}
    assert fl.audit(model, x, both, loss=lambda y, p: sum(ops.mean((y[n] - p[n]) ** 2) for n in y)).ok


class Penalizing(keras.Model):
    """Adds the size of a branch to its losses."""

    def __init__(self) -> None:
        super().__init__(name="penalizing")
        self.main = layers.Dense(OUTPUTS, name="main")
        self.side = layers.Dense(3, name="side")

    def build(self, shape: Any) -> None:
        self.main.build(shape)
        self.side.build(shape)

    def call(self, inputs: Any) -> Any:
        self.add_loss(ops.mean(self.side(inputs) ** 2))
        return self.main(inputs)


class OwnLoss(CustomStep):
    """Computes its loss itself, of the predictions' integer part."""

    train_step = keras.Model.train_step

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any, **__: Any) -> Any:
        return ops.mean((y - ops.floor(y_pred)) ** 2)


def built(model: keras.Model) -> keras.Model:
    keras.utils.set_random_seed(SEED)
    model.build((None, INPUTS))
    return compiled(model)


def test_added_losses_count() -> None:
    assert set(audited(built(Penalizing())).statuses.values()) == {"trains"}


def test_the_models_own_compute_loss_is_asked() -> None:
    answer = audited(built(OwnLoss(name="own_loss")))
    assert set(answer.statuses.values()) == {"cut"}
    assert {cut.operation for cut in answer.explanations["a/kernel"].cuts} == {"floor"}


def test_a_training_step_of_ones_own_is_run_up_to_its_gradients() -> None:
    model = compiled(custom_step())
    answer = audited(model)
    assert set(answer.statuses.values()) == {"trains"}
    assert answer.loss == pytest.approx(audited(model, loss="mse").loss)


class Adversaries(keras.Model):
    """Two networks, two optimizers, two losses; one step trains both, as Keras's guide to GANs does."""

    def __init__(self, *, cut: bool = False) -> None:
        super().__init__(name="adversaries")
        self.generator = layers.Dense(INPUTS, name="generator")
        self.critic = layers.Dense(1, name="critic")
        self.idle = layers.Dense(1, name="idle")
        self.cut = cut

    def build(self, shape: Any) -> None:
        for layer in (self.generator, self.critic, self.idle):
            layer.build(shape)

    def call(self, inputs: Any) -> Any:
        return self.critic(self.generator(inputs))

    def _judged(self, x: Any) -> Any:
        made = self.generator(x)
        return self.critic(ops.stop_gradient(made) if self.cut else made)

    def _both(self, x: Any, real: Any) -> tuple[Any, Any]:
        of_critic = ops.mean(ops.softplus(-self.critic(real))) + ops.mean(ops.softplus(self._judged(x)))
        return of_critic, ops.mean(ops.softplus(-self._judged(x)))

    def train_step(self, *arguments: Any) -> Any:
        return getattr(self, f"_{BACKEND}_step")(*arguments)

    def _tensorflow_step(self, data: Any) -> Any:
        import tensorflow as tf

        x, real = data
        for place, layer in enumerate((self.critic, self.generator)):
            with tf.GradientTape() as tape:
                loss = self._both(x, real)[place]
            gradients = tape.gradient(loss, layer.trainable_weights)
            self.optimizer.apply_gradients(zip(gradients, layer.trainable_weights, strict=True))
        return {}

    def _torch_step(self, data: Any) -> Any:
        x, real = data
        for place, layer in enumerate((self.critic, self.generator)):
            self.zero_grad()
            self._both(x, real)[place].backward()
            gradients = [weight.value.grad for weight in layer.trainable_weights]
            self.optimizer.apply(gradients, layer.trainable_weights)
        return {}

    def _jax_step(self, state: Any, data: Any) -> Any:
        import jax

        trained, others, slots, metrics = state
        for place in (0, 1):

            def loss_of(values: Any, place: int = place) -> Any:
                mapping = list(zip(self.trainable_variables, values, strict=True))
                with keras.StatelessScope(state_mapping=mapping):
                    return self._both(*data)[place]

            _, gradients = jax.value_and_grad(loss_of)(trained)
            trained, slots = self.optimizer.stateless_apply(slots, gradients, trained)
        return {}, (trained, others, slots, metrics)


@pytest.mark.parametrize("cut", [False, True])
def test_a_step_with_two_losses(cut: bool) -> None:
    model = built(Adversaries(cut=cut))
    x, _ = data_for(model)
    answer = fl.audit(model, x, x)
    expected = {"critic": "trains", "generator": "cut" if cut else "trains", "idle": "unused"}
    assert answer.statuses == {f"{n}/{k}": s for n, s in expected.items() for k in ("kernel", "bias")}


class AsksForNothing(CustomStep):
    """Updates nothing by gradients."""

    def train_step(self, *arguments: Any) -> Any:
        return ({}, arguments[0]) if BACKEND == "jax" else {}


class Fails(CustomStep):
    """Fails before it asks for a gradient."""

    def train_step(self, *arguments: Any) -> Any:
        raise ArithmeticError("of the user's own")


def test_a_step_that_takes_no_gradient_is_refused() -> None:
    model = built(AsksForNothing(name="model"))
    with pytest.raises(AuditError) as caught:
        audited(model)
    assert str(caught.value) == (
        "the training step of the model 'model' takes no gradient that can be seen.\n"
        "  received: AsksForNothing.train_step, which ran to its end\n"
        "  expected: a step that calls GradientTape.gradient, jax.value_and_grad or loss.backward()\n"
        "  to mend:  pass the loss: fl.audit(model, x, y, loss=...), or use fl.explain(loss_fn, variables)"
    )
    assert audited(model, loss="mse").ok


def test_the_users_own_error_comes_through() -> None:
    with pytest.raises(ArithmeticError, match="of the user's own"):
        audited(built(Fails(name="model")))


# Print and JSON -----------------------------------------------------------------------------------


class Rounding(layers.Layer):
    """Rounds."""

    def call(self, x: Any) -> Any:
        return ops.round(x)


def rounding() -> keras.Model:
    keras.utils.set_random_seed(SEED)
    x = keras.Input((INPUTS,), name="x")
    features = Rounding(name="rounding")(layers.Dense(3, name="features")(x))
    return compiled(keras.Model(x, layers.Dense(OUTPUTS, name="head")(features), name="net"))


def test_an_audit_prints_as_a_table_with_the_reasons_below() -> None:
    answer = audited(rounding())
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    line = next(n for n, text in enumerate(lines, 1) if "return ops.round(x)" in text)
    place = f"tests/backends/test_audit.py:{line}, in layer 'rounding'"
    text = str(answer)
    assert " ".join(text.split()) == " ".join(
        f"""
        Audit of net, loss {answer.loss:.6g} on this batch
        weights                       status  count
        features/kernel, features/bias  cut   2
        head/kernel, head/bias        trains  2

        features/kernel, features/bias: cut (FL101 error)
          round has a derivative of zero wherever it has one ({place}):
              return ops.round(x)
          route: features/kernel > features > rounding > round
          to mend: let the gradient pass as if round were not there (straight-through estimator):
          x + stop_gradient(round(x) - x)

        not ok: 1 error
        """.split()
    )


def test_findings_print_with_their_place_and_remedy() -> None:
    model = batch_norm()
    model.get_layer("bn").gamma.trainable = model.get_layer("bn").beta.trainable = False
    text = " ".join(str(audited(compiled(model))).split())
    assert (
        "FL201 error bn: the weights of this layer are frozen, and training moves bn/moving_mean, "
        "bn/moving_variance"
    ) in text
    assert (
        "to mend: freeze the layer and not its weights: plan.freeze('layer:bn'), or the layer's flag" in text
    )
    assert "not ok: " in text


def test_an_audit_is_plain_json() -> None:
    answer = audited(rounding())
    data = json.loads(answer.to_json())
    assert data["model"] == "net"
    assert data["ok"] is False
    assert data["loss"] == pytest.approx(answer.loss)
    assert data["statuses"] == dict(answer.statuses)
    assert data["gradient_norms"] == pytest.approx(dict(answer.gradient_norms))
    found, told = data["findings"][0], data["explanations"]["features/kernel"]
    assert (found["code"], found["name"], found["severity"]) == ("FL101", "gradient-cut", "error")
    assert found["where"]["file"] == told["cuts"][0]["where"]["file"] == __file__
    assert told["status"] == "cut"
    assert json.loads(audited(compiled(two_dense()), plan=fl.Plan()).to_json())["loss"] is None


def test_the_gravest_finding_comes_first() -> None:
    model = nested_dropout()
    model.get_layer("backbone").trainable = False
    order = ("error", "warning", "note")
    found = [order.index(f.severity) for f in audited(compiled(model), loss=rounded).findings]
    assert found == sorted(found)
    assert len(set(found)) > 1


# Why ----------------------------------------------------------------------------------------------


def asked(model: keras.Model, weight: Any, **arguments: Any) -> fl.Explanation:
    return fl.why(model, weight, *data_for(model), **arguments)


def test_why_by_address() -> None:
    one = asked(rounding(), "features/kernel")
    assert one.status == "cut"
    (cut,) = one.cuts
    assert (cut.reason, cut.operation, cut.layer) == ("not_differentiable", "round", "rounding")
    assert cut.where is not None
    assert cut.where.file == __file__
    assert cut.where.function == "call"
    assert cut.where.source == "return ops.round(x)"
    assert [step.name for step in one.route] == ["features/kernel", "features", "rounding", "round"]
    assert one.remedy
    head = asked(rounding(), "head/kernel")
    assert head.status == "trains"
    assert head.gradient_norm == pytest.approx(audited(rounding()).gradient_norms["head/kernel"])


def test_why_by_alias() -> None:
    common = layers.Dense(INPUTS, name="common")
    sides = [keras.Sequential([keras.Input((INPUTS,)), common], name=name) for name in ("left", "right")]
    x = keras.Input((INPUTS,))
    out = layers.Dense(OUTPUTS, name="head")(sides[1](sides[0](x)))
    model = compiled(keras.Model(x, out))
    assert asked(model, "right/common/kernel").address == "left/common/kernel"


def test_why_by_selector() -> None:
    model = rounding()
    assert asked(model, "head/k*").address == "head/kernel"
    assert asked(model, "re:feat.*bias").address == "features/bias"
    assert asked(model, fl.selector("layer:features") & fl.selector("**/bias")).address == "features/bias"


def test_why_of_what_stands_still() -> None:
    model = two_dense()
    model.get_layer("a").trainable = False
    one = asked(compiled(model), "a/kernel")
    assert one.status == "frozen"
    assert one.cuts == ()
    assert one.remedy
    assert asked(model, "a/kernel", plan=fl.Plan().train("a/kernel")).status == "trains"
    stale = fitted(two_dense())
    stale.get_layer("a").trainable = False
    assert asked(stale, "a/kernel").status == "stale"


def test_why_of_a_statistic() -> None:
    model = batch_norm()
    model.get_layer("bn").gamma.trainable = model.get_layer("bn").beta.trainable = False
    one = asked(compiled(model), "bn/moving_mean")
    assert one.status == "leaks"
    assert "'bn' assigns to it" in one.note
    assert asked(compiled(model), "bn/moving_mean", plan=fl.Plan().train("b/**")).status == "frozen"


def test_why_and_audit_agree() -> None:
    for build in (two_dense, batch_norm, unused_layer, rounding, subclassed):
        model = build() if build is rounding else compiled(build())
        answer = audited(model)
        for address, status in answer.statuses.items():
            assert asked(model, address).status == status
        for address, one in answer.explanations.items():
            assert asked(model, address) == one


def test_why_prints_as_a_paragraph() -> None:
    text = str(asked(rounding(), "features/bias"))
    assert text.startswith("features/bias: cut (the loss depends on it, and no gradient comes back)\n")
    assert "      return ops.round(x)" in text


def test_a_misspelt_address_suggests_near_ones() -> None:
    with pytest.raises(AuditError) as caught:
        asked(compiled(two_dense()), "a/kernle")
    assert str(caught.value) == (
        "the model 'two_dense' has no weight 'a/kernle'.\n"
        "  expected: the address of a weight, or a selector that picks one\n"
        "  to mend:  did you mean a/kernel, b/kernel?"
    )


def test_a_selector_of_several_is_refused() -> None:
    with pytest.raises(AuditError) as caught:
        asked(compiled(two_dense()), "a/*")
    assert str(caught.value) == (
        "2 weights of the model 'two_dense' are picked by 'a/*'.\n"
        "  received: a/bias, a/kernel\n"
        "  expected: one weight\n"
        "  to mend:  name one of them, or ask for all: fl.audit(model, x, y)"
    )


# What is refused ----------------------------------------------------------------------------------


def test_a_model_without_a_loss_is_refused() -> None:
    with pytest.raises(AuditError) as caught:
        audited(two_dense())
    assert str(caught.value) == (
        "the model 'two_dense' has no loss.\n"
        "  received: a model that is not compiled, and no loss\n"
        "  expected: the loss that it is trained with\n"
        '  to mend:  compile the model, or say which: loss="mse", or loss=lambda y, predicted: ...'
    )


def test_what_is_not_a_built_model_is_refused() -> None:
    x, y = data_for(two_dense())
    unbuilt = compiled(keras.Sequential([layers.Dense(2)]))
    with pytest.raises(UnbuiltModelError, match="is not built"):
        fl.audit(unbuilt, x, y)
    with pytest.raises(ModelError) as caught:
        fl.audit(layers.Dense(2), x, y)
    assert "only a keras.Model can be looked at" in str(caught.value)
    for nonsense in (None, "model.keras", 3):
        with pytest.raises(ModelError, match=r"only a keras\.Model"):
            fl.why(nonsense, "a/kernel", x, y)


def test_a_plan_that_does_not_fit_is_refused() -> None:
    with pytest.raises(PlanError, match="heda"):
        audited(compiled(two_dense()), plan=fl.Plan().train("heda/**"))


# What is left as it was ---------------------------------------------------------------------------


def everything(model: keras.Model) -> dict[str, Any]:
    """All that an audit could change: bits, flags, random states, compiled functions, attributes."""
    state: dict[str, Any] = {
        "variables": [value_of(v).tobytes() for v in _variables(model)],
        "identities": [id(v) for v in _variables(model)],
        "flags": checks.every_flag(model),
        "calls": checks.every_call(model),
        "functions": [id(getattr(model, f"{n}_function", None)) for n in ("train", "test", "predict")],
        "optimizer": id(model.optimizer),
        "losses": len(model.losses),
        "attributes": {k: id(v) for k, v in vars(model).items() if k != "_called"},
        "layers": [sorted(vars(node.layer)) for node in fl.inventory(model).layers],
        "random": (random.getstate(), str(np.random.get_state())),
        "keras": (keras.Layer.__call__, keras.Variable.assign, keras.optimizers.Optimizer.apply),
        "pending": keras.backend.get_global_seed() if hasattr(keras.backend, "get_global_seed") else None,
    }
    if BACKEND == "torch":
        import torch

        state["torch"] = torch.get_rng_state().numpy().tobytes()
        state["grads"] = [v.value.grad is None for v in model.trainable_variables]
        state["enabled"] = (torch.is_grad_enabled(), torch.Tensor.backward, torch.autograd.grad)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        state["tensorflow"] = (tf.GradientTape.gradient, tf.config.functions_run_eagerly())
    return state


def _variables(model: keras.Model) -> list[Any]:
    seeds = [w.variable for w in fl.inventory(model).of_role("seed")]
    return [*model.variables, *seeds, *model.optimizer.variables, *model.metrics_variables]


def restless() -> keras.Model:
    """Statistics, seeds, momentum and metrics: all that moves in a step; trained for a while."""
    keras.utils.set_random_seed(SEED)
    stack = [
        keras.Input((INPUTS,)),
        layers.Dense(3, kernel_regularizer="l2", name="a"),
        layers.BatchNormalization(name="bn"),
        layers.Dropout(0.5, name="drop"),
        layers.GaussianNoise(0.1, name="noise"),
        layers.Dense(OUTPUTS, name="b"),
    ]
    model = keras.Sequential(stack, name="restless")
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    x, y = data_for(model)
    model.fit(x, y, batch_size=4, verbose=0)
    model.predict(x, verbose=0)
    return model


@pytest.mark.parametrize("plan", [None, fl.Plan().train("b/**"), fl.Plan(default="train").freeze("bn/**")])
def test_an_audit_leaves_everything_as_it_was(plan: fl.Plan | None) -> None:
    model = restless()
    before = everything(model)
    audited(model, plan=plan)
    asked(model, "b/kernel", plan=plan)
    after = everything(model)
    assert {key for key in before if before[key] != after[key]} == set()


def test_training_goes_on_as_if_nobody_had_looked() -> None:
    looked_at, left_alone = restless(), restless()
    keras.utils.set_random_seed(3)
    before = random.getstate()
    audited(looked_at)
    assert random.getstate() == before
    for model in (looked_at, left_alone):
        keras.utils.set_random_seed(4)
        model.fit(*data_for(model), batch_size=4, verbose=0)
    one, other = checks.values(looked_at), checks.values(left_alone)
    assert {a for a in one if one[a].tobytes() != other[a].tobytes()} == set()


@pytest.mark.parametrize("build", [custom_step, lambda: Adversaries()], ids=["custom_step", "adversaries"])
def test_a_step_of_ones_own_changes_nothing(build: Any) -> None:
    model = compiled(build())
    if not model.built:
        model.build((None, INPUTS))
    model.optimizer.build(model.trainable_variables)
    x, y = data_for(model)
    before = everything(model)
    fl.audit(model, x, y if build is custom_step else x)
    after = everything(model)
    assert {key for key in before if before[key] != after[key]} == set()


@pytest.mark.parametrize("plan", [None, fl.Plan().train("b/**")])
def test_everything_is_as_before_after_an_error(plan: fl.Plan | None) -> None:
    def failing(y: Any, predicted: Any) -> Any:
        raise ArithmeticError("of the user's own")

    model = restless()
    before = everything(model)
    with pytest.raises(ArithmeticError, match="of the user's own"):
        audited(model, plan=plan, loss=failing)
    with pytest.raises(ArithmeticError, match="of the user's own"):
        asked(model, "b/kernel", plan=plan, loss=failing)
    after = everything(model)
    assert {key for key in before if before[key] != after[key]} == set()
    audited(model)


def test_a_step_that_fails_changes_nothing() -> None:
    model = built(Fails(name="model"))
    before = everything(model)
    with pytest.raises(ArithmeticError):
        audited(model)
    after = everything(model)
    assert {key for key in before if before[key] != after[key]} == set()


def test_batches_may_be_tensors_and_dicts() -> None:
    model = compiled(square_layers())
    x, y = data_for(model)
    assert fl.audit(model, ops.convert_to_tensor(x), ops.convert_to_tensor(y)).ok
    inputs = {"x": keras.Input((INPUTS,), name="x")}
    named = compiled(keras.Model(inputs, layers.Dense(INPUTS)(inputs["x"])))
    assert fl.audit(named, {"x": x}, y).ok
