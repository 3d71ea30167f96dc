"""`fl.audit` and `fl.why`: what they print, how a weight is asked for, what they refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from frostline.errors import AuditError, ModelError, PlanError, UnbuiltModelError
from frostline.plan.selectors import selector
from helpers.audit_checks import asked, audited, rounded
from helpers.small_models import (
    INPUTS,
    OUTPUTS,
    SEED,
    batch_norm,
    compiled,
    data_for,
    fitted,
    nested_dropout,
    subclassed,
    two_dense,
    unused_layer,
)

pytestmark = pytest.mark.every_backend

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
    place = f"tests/each_backend/diagnostics/test_audit_answers.py:{line}, in layer 'rounding'"
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
          fix: let the gradient pass as if round were not there (straight-through estimator):
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
    assert "fix: freeze the layer and not its weights: plan.freeze('layer:bn'), or the layer's flag" in text
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
    stale = fitted(model)
    stale.get_layer("a").trainable = True
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
    assert text.startswith("features/bias: cut (the loss depends on it, but no gradient reaches it)\n")
    assert "      return ops.round(x)" in text


def test_a_misspelt_address_suggests_near_ones() -> None:
    with pytest.raises(AuditError) as caught:
        asked(compiled(two_dense()), "a/kernle")
    assert str(caught.value) == (
        "the model 'two_dense' has no weight 'a/kernle'.\n"
        "  expected: the address of a weight, or a selector that picks one\n"
        "  fix:      did you mean a/kernel, b/kernel?"
    )


def test_a_selector_of_several_is_refused() -> None:
    with pytest.raises(AuditError) as caught:
        asked(compiled(two_dense()), "a/*")
    assert str(caught.value) == (
        "2 weights of the model 'two_dense' are picked by 'a/*'.\n"
        "  received: a/bias, a/kernel\n"
        "  expected: one weight\n"
        "  fix:      name one of them, or ask for all: fl.why_all(model, x, y, weights='a/*')"
    )


# What is refused ----------------------------------------------------------------------------------


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


@pytest.mark.every_backend
@pytest.mark.parametrize("start", ["zeros", "ones"])
def test_as_many_findings_are_printed_as_are_counted(start: str) -> None:
    first = keras.layers.Dense(8, "tanh", kernel_initializer=start, name="hid")
    head = keras.layers.Dense(3, "softmax", kernel_initializer=start, name="head")
    model = keras.Sequential([keras.Input((4,)), first, head])
    model.compile("sgd", "sparse_categorical_crossentropy")
    found = fl.audit(model, np.ones((8, 4), "float32"), np.arange(8) % 3)
    *lines, last = str(found).splitlines()
    printed = " ".join(lines)
    told = re.findall(r"(?:(\d+) times )?FL\d\d\d (error|warning|note)", printed)
    for severity in ("error", "warning", "note"):
        counted = re.search(rf"(\d+) {severity}", last)
        assert sum(int(n or 1) for n, one in told if one == severity) == int(counted[1] if counted else 0)
    assert len(found.to_data()["findings"]) == sum(int(n or 1) for n, _ in told) > 0


# What is asked for wrongly ------------------------------------------------------------------------


def _classifier(loss: str = "sparse_categorical_crossentropy") -> tuple[keras.Model, Any, Any]:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, "softmax", name="head")], name="net")
    model.compile("sgd", loss)
    return model, np.ones((8, 4), "float32"), np.arange(8) % 3


@pytest.mark.every_backend
def test_data_that_are_missing_or_of_another_length_are_named() -> None:
    model, x, y = _classifier()
    for asked_without in (
        lambda: fl.audit(model),
        lambda: fl.why(model, "head/bias"),
        lambda: fl.why_all(model),
    ):
        with pytest.raises(AuditError, match="cannot be computed without x"):
            asked_without()
    for call in (lambda: fl.audit(model, x, y[:5]), lambda: fl.why_all(model, x, y[:5])):
        with pytest.raises(AuditError, match="x of 8 samples, y of 5 samples"):
            call()


@pytest.mark.every_backend
def test_an_unknown_loss_is_named_with_those_like_it() -> None:
    model, x, y = _classifier()
    with pytest.raises(AuditError, match="Keras has no loss 'msee'") as caught:
        fl.audit(model, x, y, loss="msee")
    assert "'mse'" in str(caught.value.remedy)
    with pytest.raises(AuditError, match="Keras has no loss 'msee'"):
        fl.audit(*_classifier("msee"))


@pytest.mark.every_backend
def test_why_all_takes_the_weights_where_why_does() -> None:
    model, x, y = _classifier()
    named = fl.why_all(model, x, y, weights="head/bias")
    assert list(fl.why_all(model, "head/bias", x, y)) == list(named) == ["head/bias"]
    assert list(fl.why_all(model, selector("head/bias"), x, y)) == ["head/bias"]
    with pytest.raises(AuditError, match="of which the first is no selector"):
        fl.why_all(model, x, y, "head/bias")
