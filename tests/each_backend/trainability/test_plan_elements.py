"""Plans with elements put on a model and taken off: there and back, audits, fingerprints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import optimizers

import frostline as fl
from frostline.errors import OptimizerError, ParametrizationError
from helpers.checks import (
    every_call,
    every_flag,
    frostline_fit,
    keras_fit,
    moved_by,
    optimizer_state,
    same_arrays,
    values,
)
from helpers.element_plans import KERNEL, PLAN, refused, trained_shapes, words
from helpers.small_models import attention, compiled, data_for, two_dense

pytestmark = [pytest.mark.every_backend, pytest.mark.eager]


# There and back -----------------------------------------------------------------------------------


def test_undo_leaves_a_plain_layer_with_what_was_trained() -> None:
    model = compiled(words())
    calls, flags = every_call(model), every_flag(model)
    before, inner = values(model), model.get_layer("mid").kernel
    done = fl.apply(model, PLAN)
    assert values(model)["tokens/embeddings"].tobytes() == before["tokens/embeddings"].tobytes()
    assert trained_shapes(model) == [(4, 6), (24, 2), (2, 8), (8, 1), (2,)]
    x, y = np.arange(32).reshape(8, 4) % 20, np.ones((8, 2), "float32")
    model.fit(x, y, verbose=0)
    trained, outputs = values(model), model.predict(x, verbose=0)
    done.undo()
    assert {a: v.tobytes() for a, v in values(model).items()} == {a: v.tobytes() for a, v in trained.items()}
    np.testing.assert_allclose(model.predict(x, verbose=0), outputs, rtol=1e-5, atol=1e-6)
    assert (every_call(model), every_flag(model)) == (calls, flags)
    assert model.get_layer("mid").kernel is inner
    assert type(inner) is type(model.get_layer("head").kernel)
    moved = (trained["tokens/embeddings"] != before["tokens/embeddings"]).any(axis=1)
    assert np.flatnonzero(moved).tolist() == [3, 4, 18, 19]
    model.fit(x, y, verbose=0)
    done.undo()


def test_a_block_under_a_plan_ends_with_the_plan_before() -> None:
    model = compiled(two_dense())
    fl.apply(model, fl.Plan().train(KERNEL, columns=[0, 2], lr=0.5))
    keras_fit(model)
    with fl.applied(model, fl.Plan().train(KERNEL, columns=[1]).train("b/**")):
        assert trained_shapes(model) == [(4, 1), (3, 2), (2,)]
        keras_fit(model)
    assert trained_shapes(model) == [(4, 2)]
    before = values(model)
    keras_fit(model)
    moved = values(model)[KERNEL] != before[KERNEL]
    assert moved.all(axis=0).tolist() == [True, False, True]
    with pytest.raises(RuntimeError, match="stop"), fl.applied(model, fl.Plan().train(KERNEL, rows=[0])):
        raise RuntimeError("stop")
    assert trained_shapes(model) == [(4, 2)]


def test_what_stays_the_same_is_left_alone() -> None:
    model = compiled(two_dense())
    fl.apply(model, fl.Plan().train(KERNEL, columns=[1, 2]))
    (part,) = model.trainable_variables
    fl.apply(model, fl.Plan().train(KERNEL, index=(":", "1:")).train("b/bias"))
    assert model.trainable_variables[0] is part


@pytest.mark.parametrize("how", [{"rows": [0]}, {"via": fl.LowRank(rank=1)}], ids=["rows", "low rank"])
def test_merge_takes_off_what_a_plan_put_on(how: dict[str, Any], tmp_path: Path) -> None:
    """What the plan froze of the weight does not thaw; the rest of the plan stays, in files too."""
    model = compiled(two_dense(), "adam")
    done = fl.apply(model, fl.Plan().train(KERNEL, **how).train("b/bias", lr=0.5))
    keras_fit(model)
    trained = values(model)[KERNEL]
    model.save(tmp_path / "plain.keras")
    opened = keras.models.load_model(tmp_path / "plain.keras")
    assert same_arrays(values(opened).values(), values(model).values())
    assert fl.merge(model) is model
    assert fl.inventory(model).by_address[KERNEL].combination is None
    assert values(model)[KERNEL].tobytes() == trained.tobytes()
    assert trained_shapes(model) == [(2,)]
    fl.save_model(model, tmp_path / "merged.keras")
    loaded = fl.load_model(tmp_path / "merged.keras")
    for one in (model, loaded):
        assert moved_by(one, lambda one=one: keras_fit(one)) == {"b/bias"}
    assert same_arrays(values(model).values(), values(loaded).values())
    done.undo()
    assert trained_shapes(model) == [(4, 3), (3,), (3, 2), (2,)]


def test_merge_gives_weights_back_that_were_parametrized_by_hand() -> None:
    model = compiled(two_dense(), "adam")
    fl.parametrize(model, "b/kernel", fl.Rows([1]))
    fl.apply(model, fl.Plan().train(KERNEL, rows=[0]).train("b/kernel"))
    keras_fit(model)
    fl.merge(model)
    assert trained_shapes(model) == [(3, 2)]


class Wrong(fl.Parametrization):
    """Gives another weight than it was given."""

    def start(self, weight: Any) -> Mapping[str, Any]:
        return {"part": keras.ops.zeros((2,))}

    def combine(self, base: Any, parts: Mapping[str, Any]) -> Any:
        return keras.ops.zeros((5, 5))


def test_a_parametrization_that_fails_leaves_the_model_as_it_was() -> None:
    model = compiled(two_dense())
    fl.apply(model, fl.Plan().train(KERNEL, columns=[1]).train("b/**"))
    keras_fit(model)
    plan = fl.Plan().train(KERNEL, columns=[0]).train("b/kernel", via=Wrong())
    assert refused(model, lambda: fl.apply(model, plan), ParametrizationError) == (
        "Wrong.combine must return a tensor like the weight.\n"
        "  received: shape (5, 5), dtype float32\n"
        "  expected: shape (3, 2), dtype float32"
    )
    keras_fit(model)


class Strange(optimizers.SGD):
    """Holds a variable of its own that belongs to no weight."""

    def build(self, variables: Any) -> None:
        super().build(variables)
        self.table = {"strange": self.add_variable((2,), name="strange")}


@pytest.mark.parametrize("via", [None, fl.LowRank(1)])
def test_an_optimizer_that_cannot_follow_leaves_the_model_as_it_was(via: Any) -> None:
    """Parts that were on the model are there again, the very same variables."""
    model = compiled(two_dense(), Strange(0.1))
    first = {"via": via} if via is not None else {"rows": [0]}
    fl.apply(model, fl.Plan().train(KERNEL, **first))
    keras_fit(model)
    message = refused(model, lambda: fl.apply(model, fl.Plan().train(KERNEL, columns=[0])), OptimizerError)
    assert message.startswith("the optimizer Strange holds variables that belong to no weight.\n")


# Looking ------------------------------------------------------------------------------------------


def test_an_audit_under_a_plan_leaves_no_trace() -> None:
    model = compiled(two_dense())
    fl.apply(model, fl.Plan().train(KERNEL, columns=[1]))
    keras_fit(model)
    before = values(model), every_flag(model), every_call(model), optimizer_state(model)
    parts = [id(v) for v in model.trainable_variables]
    plan = fl.Plan().train(KERNEL, columns=[0, 2]).train("b/kernel", via=fl.LowRank(1))
    audit = fl.audit(model, *data_for(model), plan=plan)
    assert [audit.statuses[a] for a in (KERNEL, "a/bias", "b/kernel")] == ["partial", "frozen", "partial"]
    now = values(model), every_flag(model), every_call(model), optimizer_state(model)
    assert all(now[0][a].tobytes() == before[0][a].tobytes() for a in before[0])
    assert now[1:3] == before[1:3]
    assert same_arrays(now[3], before[3])
    assert [id(v) for v in model.trainable_variables] == parts
    keras_fit(model)


# Verification -------------------------------------------------------------------------------------


def test_fingerprints_with_a_plan_tell_frozen_elements() -> None:
    model = compiled(two_dense())
    plan = fl.Plan().train(KERNEL, rows=[1, 2]).train("b/**")
    before = fl.fingerprint(model, plan)
    assert before == fl.Fingerprint.from_data(before.to_data())
    with fl.applied(model, plan):
        keras_fit(model)
    found = fl.verify(model, before, plan)
    assert (found.ok, found.of("partial")) == (True, (KERNEL,))
    assert found.to_data()["partial"] == {KERNEL: "rows 1:3"}
    assert "a/kernel [rows 1:3]" in str(found)

    kernel = model.get_layer("a").kernel
    changed = keras.ops.convert_to_numpy(kernel).copy()
    changed[3, 0] += 1
    kernel.assign(changed)
    broken = fl.verify(model, before, plan)
    assert (broken.ok, broken.of("changed")) == (False, (KERNEL,))


def test_a_fingerprint_without_the_plan_cannot_tell() -> None:
    model = compiled(two_dense())
    before = fl.fingerprint(model)
    plan = fl.Plan().train(KERNEL, rows=[1, 2])
    with fl.applied(model, plan):
        keras_fit(model)
    with pytest.raises(fl.FrostlineError) as caught:
        fl.verify(model, before, plan)
    assert str(caught.value) == (
        "cannot tell whether frozen elements of 'a/kernel' changed: a fingerprint does not record them.\n"
        "  received: the fingerprint 'before' has no digest of the elements outside rows 1:3\n"
        "  fix:      take it with the plan: frostline.fingerprint(model, plan)"
    )


# Presets ------------------------------------------------------------------------------------------


def test_lora_trains_updates_of_attention_and_the_head() -> None:
    model = compiled(attention())
    x, _ = data_for(model)
    run = frostline_fit(model, fl.lora(rank=1, alpha=2), epochs=2)
    assert run.verification is not None
    names = {f"mha/{name}/kernel" for name in ("query", "key", "value")}
    assert set(run.verification.of("partial")) == names
    assert {run.resolution[name].part for name in names} == {"rank 1, alpha 2, path: general"}
    assert set(run.verification.of("trained")) == {"head/kernel", "head/bias"}
    outputs = model.predict(x, verbose=0)
    fl.apply(model, fl.Plan().train("head/**"))
    np.testing.assert_allclose(model.predict(x, verbose=0), outputs, rtol=1e-5, atol=1e-6)
