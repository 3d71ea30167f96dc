"""`fl.fit` looks before its first step whether each weight that is to train can receive a gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import frostline as fl
from frostline.errors import NoGradientError
from helpers.checks import Values, changed, frostline_fit, values
from helpers.small_models import INPUTS, OUTPUTS, SEED, compiled, data_for, two_dense

pytestmark = pytest.mark.every_backend

TEXT = """\
the plan trains weights of the model 'rounded' that can receive no gradient:

a/kernel, a/bias: cut
  round has a derivative of zero wherever it has one
  route: a/kernel > a > round
  fix: let the gradient pass as if round were not there (straight-through estimator): x +
  stop_gradient(round(x) - x).
  received: a plan that trains a/kernel, a/bias
  expected: a differentiable path from each trained weight to the loss
  fix:      change the model there, or leave these weights out of the plan; preflight=False trains anyway"""


def rounded(stop: Any = ops.round) -> keras.Model:
    """Dense `a`, rounded, Dense `b`."""
    keras.utils.set_random_seed(SEED)
    inputs = keras.Input((INPUTS,), name="x")
    hidden = stop(keras.layers.Dense(3, name="a")(inputs))
    return compiled(keras.Model(inputs, keras.layers.Dense(OUTPUTS, name="b")(hidden), name="rounded"))


def flags_of(model: keras.Model) -> list[bool]:
    """The flags of all layers and weights, and whether a plan runs some of them in inference mode."""
    layers = list(model._flatten_layers())
    return [
        *(layer.trainable for layer in layers),
        *(w.trainable for w in model.variables),
        *("call" in vars(layer) for layer in layers),
    ]


def refused(model: keras.Model, plan: Any, **arguments: Any) -> NoGradientError:
    before, flags = values(model), flags_of(model)
    with pytest.raises(NoGradientError) as caught:
        frostline_fit(model, plan, **arguments)
    assert changed(model, before) == set()
    assert flags_of(model) == flags
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 0
    return caught.value


def test_it_stops_with_the_explanation_before_anything_moves() -> None:
    error = refused(rounded(), fl.Plan(default="train"))
    assert str(error) == TEXT


@pytest.mark.parametrize("stop", [ops.round, ops.stop_gradient], ids=["round", "stop_gradient"])
def test_the_plan_is_off_again_where_nothing_of_it_can_train(stop: Any) -> None:
    error = refused(rounded(stop), fl.Plan().train("a/**"))
    assert "a/kernel, a/bias: cut\n" in str(error)
    assert "route: a/kernel > a" in str(error)


def test_statistics_and_seeds_stay_as_well() -> None:
    keras.utils.set_random_seed(SEED)
    inputs = keras.Input((INPUTS,), name="x")
    hidden = keras.layers.Dropout(0.5, name="drop")(keras.layers.BatchNormalization(name="bn")(inputs))
    hidden = ops.round(keras.layers.Dense(3, name="a")(hidden))
    model = compiled(keras.Model(inputs, keras.layers.Dense(OUTPUTS, name="b")(hidden), name="moving"))
    refused(model, fl.Plan(default="train"))


def from_zero(*, preflight: bool) -> Values:
    """What training makes of a model whose head starts at zero, so that the layers before get no gradient."""
    keras.utils.set_random_seed(SEED)
    head = keras.layers.Dense(OUTPUTS, kernel_initializer="zeros", name="head")
    layers = [keras.Input((INPUTS,)), keras.layers.Dense(3, name="a"), keras.layers.Dropout(0.5), head]
    model = compiled(keras.Sequential(layers, name="from_zero"))
    frostline_fit(model, fl.Plan(default="train"), epochs=2, preflight=preflight)
    return values(model)


def test_a_gradient_of_zeros_on_the_first_batch_is_no_reason_to_stop() -> None:
    checked, unchecked = from_zero(preflight=True), from_zero(preflight=False)
    for address, value in unchecked.items():
        np.testing.assert_array_equal(checked[address], value)


def test_a_later_phase_is_looked_at_before_the_first() -> None:
    schedule = fl.Schedule(
        fl.Plan().train("b/**"), (fl.Phase("head", epochs=1), fl.Phase("all", epochs=1).train("a/**"))
    )
    assert str(refused(rounded(), schedule)) == TEXT


def test_a_plan_that_leaves_them_out_trains() -> None:
    run = frostline_fit(rounded(), fl.Plan().train("b/**"))
    assert run.verification.of("trained") == ("b/kernel", "b/bias")


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # what Keras says of it on TensorFlow
def test_whoever_insists_trains_all_the_same() -> None:
    run = frostline_fit(rounded(), fl.Plan(default="train"), preflight=False)
    assert run.verification.no_gradient == ("a/kernel", "a/bias")


def test_a_pydataset_is_looked_into() -> None:
    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            x, y = data_for(two_dense())
            return x[4 * index : 4 * index + 4], y[4 * index : 4 * index + 4]

    model = rounded()
    with pytest.raises(NoGradientError):
        fl.fit(model, fl.Plan(default="train"), Batches(), verbose=0)


def test_a_generator_is_not_consumed_for_it() -> None:
    taken = []

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        x, y = data_for(two_dense())
        for first in (0, 4):
            taken.append(first)
            yield x[first : first + 4], y[first : first + 4]

    once: dict[str, Any] = {"steps_per_epoch": 2, "shuffle": False, "verbose": 0}
    fl.fit(compiled(two_dense()), fl.Plan().train("b/**"), batches(), **once)
    assert taken == [0, 4]


def test_it_is_not_repeated_where_nothing_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    from frostline.training import job

    monkeypatch.setattr(job, "preflight", lambda *_: looked.append(1))
    model = compiled(two_dense())
    for _ in range(3):
        frostline_fit(model, fl.Plan().train("b/**"))
    # On PyTorch the gradients of the first step say that there is no need to look.
    once = [] if keras.backend.backend() == "torch" else [1]
    assert looked == once
    frostline_fit(model, fl.Plan().train("a/**"))
    assert looked == 2 * once
