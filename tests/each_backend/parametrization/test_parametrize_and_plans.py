"""Weights that train in part, under plans, modes and fingerprints."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops, optimizers

import frostline as fl
from helpers.checks import every_call, flags_that_train, frostline_fit, keras_fit
from helpers.parametrized_models import numpy
from helpers.parametrized_two_dense import KERNEL, same, slots, trained_two_dense, values
from helpers.small_models import batch_norm, compiled, data_for, nested_dropout, two_dense

BACKEND = keras.backend.backend()


def test_a_plan_decides_for_the_part_as_for_any_weight() -> None:
    model, _ = trained_two_dense()
    before = values(model)
    run = frostline_fit(model, fl.Plan().train("b/**"))
    assert run.verification is not None
    assert run.verification.of("intact") == ("a/kernel", "a/bias")
    assert values(model)["a/kernel"].tobytes() == before["a/kernel"].tobytes()

    run = frostline_fit(model, fl.Plan().train("a/kernel", lr=0.5))
    assert run.verification is not None
    assert run.verification.of("partial") == ("a/kernel",)
    assert slots(model) == [(4, 2)]
    resolution = run.resolution
    assert resolution["a/kernel"].status == "partial"
    assert (resolution.trained_elements, resolution.frozen_elements) == (8, 15)
    assert resolution.optimizer_memory("adam") == 64
    part = resolution.to_data()["weights"][0]["part"]
    assert part == {"elements": 8, "what": "columns 0, 2", "path": "columns"}
    assert "partial" in str(resolution)


def test_a_loop_of_ones_own_trains_the_part() -> None:
    model = two_dense()
    fl.parametrize(model, "a/kernel", KERNEL)
    opt = fl.optimizer_for(model, fl.Plan().train("a/kernel"), optimizers.SGD(0.1))
    before = values(model)
    (part,) = model.trainable_variables
    opt.apply([ops.ones(part.shape)], [part])
    expected = before["a/kernel"] - np.array([0.1, 0, 0.1], "float32")
    np.testing.assert_allclose(values(model)["a/kernel"], expected, rtol=1e-6)


def test_multipliers_of_a_plan_hold_for_a_part_made_later() -> None:
    plan = fl.Plan().train("a/kernel", lr=0.25).train("b/**")
    one, two = (compiled(two_dense(), optimizers.SGD(0.5)) for _ in range(2))
    fl.apply(one, plan)
    fl.parametrize(one, "a/kernel", KERNEL)
    fl.parametrize(two, "a/kernel", KERNEL)
    before = values(two)
    fl.apply(two, plan)
    for model in (one, two):
        keras_fit(model)
    assert same(values(one), values(two))
    assert before["a/kernel"].tobytes() != values(two)["a/kernel"].tobytes()


@pytest.mark.parametrize("first", ["plan", "parametrization"])
@pytest.mark.parametrize("undone_first", ["plan", "parametrization"])
def test_plans_and_parametrizations_come_and_go_in_any_order(first: str, undone_first: str) -> None:
    """Flags, optimizer and the functions of layers follow; in the end all is as at first."""
    keras.utils.set_random_seed(2)
    ids = keras.Input((4,), dtype="int32")
    inner = layers.Dropout(0.5, name="drop")(layers.Embedding(6, 3, name="words")(ids))
    model = keras.Model(ids, layers.Dense(2, name="head")(layers.Flatten()(inner)))
    compiled(model)
    x, y = np.array([[0, 1, 2, 5]] * 4), np.ones((4, 2), "float32")
    calls, weights = every_call(model), values(model)
    steps: dict[str, Any] = {
        "plan": lambda: fl.apply(model, fl.Plan().train("head/**")).undo,
        "parametrization": lambda: fl.parametrize(model, "words/embeddings", fl.Rows([1, 5])).remove,
    }
    order = sorted(steps, key=lambda name: name != first)
    undo = {name: steps[name]() for name in order}
    assert every_call(model)["words"] is not None
    model.fit(x, y, verbose=0)
    undo.pop(undone_first)()
    model.fit(x, y, verbose=0)
    (last,) = undo.values()
    last()
    assert every_call(model) == calls
    model.fit(x, y, verbose=0)
    assert values(model)["words/embeddings"].shape == weights["words/embeddings"].shape
    assert flags_that_train(model) == {"words/embeddings", "head/kernel", "head/bias"}


def test_modes_and_fast_paths_hold_on_the_same_layer() -> None:
    """A Dense layer with columns inside a layer that a plan puts into inference mode computes as before."""
    model = nested_dropout()
    fl.parametrize(model, "backbone/a/kernel", fl.Columns([1, 3]))
    compiled(model)
    x, _ = data_for(model)
    still = model.predict(x, verbose=0)
    with fl.applied(model, fl.Plan().train("head/**")):
        active = numpy(model(x, training=True))
    np.testing.assert_allclose(active, still, rtol=1e-5, atol=1e-6)


def test_statistics_beside_a_parametrized_weight_move_as_before() -> None:
    model = compiled(batch_norm())
    fl.parametrize(model, "bn/gamma", fl.Rows([0]))
    before = values(model)
    keras_fit(model)
    now = values(model)
    assert (now["bn/gamma"] != before["bn/gamma"]).tolist() == [True, False, False]
    assert (now["bn/moving_mean"] != before["bn/moving_mean"]).all()


def test_fingerprints_tell_frozen_elements_apart() -> None:
    model, _ = trained_two_dense()
    plan = fl.Plan().train("**")
    before = fl.fingerprint(model)
    assert before == fl.Fingerprint.from_data(before.to_data())
    assert before["a/kernel"].part == "columns 0, 2"
    keras_fit(model)
    assert fl.verify(model, before, plan).ok

    base = fl.inventory(model).by_address["a/kernel"].combination.base
    base.assign(ops.add(base, 1.0))
    broken = fl.verify(model, before, plan)
    assert broken.of("changed") == ("a/kernel",)
    assert not broken.ok


def test_fingerprints_of_other_elements_are_not_compared() -> None:
    model = compiled(two_dense())
    before = fl.fingerprint(model)
    fl.parametrize(model, "a/kernel", KERNEL)
    keras_fit(model)
    with pytest.raises(fl.FrostlineError) as caught:
        fl.verify(model, before, fl.Plan().train("**"))
    assert str(caught.value) == (
        "cannot tell whether frozen elements of 'a/kernel' changed: the two fingerprints were taken under "
        "different parametrizations.\n"
        "  received: a plain weight before, columns 0, 2 after\n"
        "  fix:      take the first after fl.parametrize, and the second before remove or fl.merge; or both "
        "with the plan: frostline.fingerprint(model, plan)"
    )
