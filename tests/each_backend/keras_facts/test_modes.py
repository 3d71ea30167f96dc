"""What Keras itself does with layers that know training from inference, penalties and paths.

Measured, not wished for: a failure of a `test_keras_` here means that Keras has changed.
All of it is the same on the three backends. Frostline's counterpart of a fact stands right below
its Keras test.
"""

from collections.abc import Callable

import keras
import numpy as np
import pytest

import frostline as fl
from helpers.checks import (
    frostline_fit,
    keras_fit,
    moved_by,
    require_obeys,
    require_slots,
    same_arrays,
    values,
    weights_in,
)
from helpers.small_models import (
    batch_norm,
    compiled,
    data_for,
    moved_by_fit,
    nested_dropout,
    sequential,
    subclassed,
    two_dense,
)

pytestmark = pytest.mark.every_backend

# --- batch normalization ----------------------------------------------------------------------


def test_keras_frozen_gamma_and_beta_leave_statistics_moving() -> None:
    """Freezing BatchNormalization's gamma and beta leaves its moving statistics moving."""
    model = batch_norm()
    model.get_layer("bn").gamma.trainable = False
    model.get_layer("bn").beta.trainable = False

    assert {path for path in moved_by_fit(compiled(model)) if path.startswith("bn/")} == {
        "bn/moving_mean",
        "bn/moving_variance",
    }


def test_keras_only_layer_flag_puts_batch_norm_in_inference() -> None:
    """Only the layer's flag puts BatchNormalization in inference mode."""
    model = batch_norm()
    layer = model.get_layer("bn")
    x, _ = data_for(model)

    def differs_in_training() -> bool:
        inference, training = (keras.ops.convert_to_numpy(model(x, training=mode)) for mode in (False, True))
        return not np.allclose(inference, training)

    layer.gamma.trainable = layer.beta.trainable = False
    assert differs_in_training()

    layer.trainable = False
    assert not differs_in_training()
    assert not {path for path in moved_by_fit(compiled(model)) if path.startswith("bn/")}


STATISTICS = {"bn/moving_mean", "bn/moving_variance"}


def passes_in_training(model: keras.Model) -> set[str]:
    """What a direct call with `training=True` moves."""
    x, _ = data_for(model)
    return moved_by(model, lambda: model(x, training=True))


def test_frostline_frozen_gamma_and_beta_hold_statistics() -> None:
    """A plan that freezes gamma and beta holds the statistics too, however the model is called."""
    model = compiled(batch_norm(), optimizer=keras.optimizers.Adam(0.05))
    plan = fl.Plan(default="train").freeze("bn/**")
    fl.apply(model, plan)

    assert passes_in_training(model) == set()
    require_obeys(model, plan, weights_in(model, "a", "b"))
    assert not model.get_layer("bn").trainable


def test_frostline_batchnorm_update_moves_statistics_alone() -> None:
    """With `batchnorm="update"` the statistics of a frozen layer move; gamma and beta stay."""
    model = compiled(batch_norm(), optimizer=keras.optimizers.Adam(0.05))
    plan = fl.Plan(default="train", batchnorm="update").freeze("bn/**")
    fl.apply(model, plan)
    trained = weights_in(model, "a", "b")
    x, y = data_for(model)

    assert passes_in_training(model) == STATISTICS
    assert moved_by(model, lambda: keras_fit(model)) == trained | STATISTICS
    assert moved_by(model, lambda: model.train_on_batch(x, y)) == trained | STATISTICS
    run = frostline_fit(model, plan)
    assert set(run.verification.of("moved")) == STATISTICS
    assert set(run.verification.of("trained")) == trained
    assert set(run.verification.of("intact")) == {"bn/gamma", "bn/beta"}
    require_slots(model, trained)


@pytest.mark.parametrize("partly", ["bn/gamma", "bn/beta"])
def test_frostline_half_frozen_batch_norm_is_in_training(partly: str) -> None:
    """Where one of gamma and beta trains, the layer runs in training mode, statistics moving."""
    model = compiled(batch_norm(), optimizer=keras.optimizers.Adam(0.05))
    plan = fl.Plan(default="train").freeze(partly)
    run = frostline_fit(model, plan)

    assert set(run.verification.of("moved")) == STATISTICS
    assert set(run.verification.of("intact")) == {partly}
    assert passes_in_training(model) == STATISTICS


def test_frostline_plan_puts_batch_norm_in_inference() -> None:
    """Under the plan a call in training equals one in inference; after `undo` it does not."""
    model = batch_norm()
    x, _ = data_for(model)

    def differs_in_training() -> bool:
        inference, training = (keras.ops.convert_to_numpy(model(x, training=mode)) for mode in (False, True))
        return not np.array_equal(inference, training)

    assert differs_in_training()
    with fl.applied(model, fl.Plan(default="train").freeze("bn/**")):
        assert not differs_in_training()
    assert differs_in_training()
    with fl.applied(model, fl.Plan(default="train", batchnorm="update").freeze("bn/**")):
        assert differs_in_training()


# --- dropout ----------------------------------------------------------------------------------


def test_keras_dropout_in_frozen_model_stays_active() -> None:
    """Dropout in a frozen model stays active under `training=True`."""
    model = nested_dropout()
    backbone = model.get_layer("backbone")
    backbone.trainable = False
    x, _ = data_for(model)

    dropped = keras.ops.convert_to_numpy(backbone(x, training=True))
    kept = keras.ops.convert_to_numpy(backbone(x, training=False))
    assert 0 < (dropped == 0).mean() < 1
    assert (kept != 0).all()


def output(model: keras.Model, training: bool) -> np.ndarray:
    """What the model makes of its data."""
    x, _ = data_for(model)
    return keras.ops.convert_to_numpy(model(x, training=training))


def test_frostline_dropout_in_frozen_model_is_silent() -> None:
    """Dropout in a frozen nested model is off, also when the nested model is called alone."""
    model = nested_dropout()
    backbone = model.get_layer("backbone")
    fl.apply(model, fl.Plan().train("head/**"))

    assert np.array_equal(output(model, training=True), output(model, training=False))
    x, _ = data_for(model)
    assert (keras.ops.convert_to_numpy(backbone(x, training=True)) != 0).all()


def test_frostline_dropout_in_frozen_model_can_stay_active() -> None:
    """With `stochastic="active"` it drops, as it does where the block trains."""
    for plan in (
        fl.Plan(stochastic="active").train("head/**"),
        fl.Plan().train("backbone/**"),
        fl.Plan(default="train").freeze("head/**"),
    ):
        model = nested_dropout()
        fl.apply(model, plan)
        assert not np.array_equal(output(model, training=True), output(model, training=False))


def test_frostline_fit_of_frozen_dropout_equals_fit_without() -> None:
    """`fit` under the plan gives the numbers of a model that has no dropout."""
    model = compiled(nested_dropout())
    frostline_fit(model, fl.Plan().train("head/**"), epochs=2)
    plain = nested_dropout()
    plain.get_layer("backbone").get_layer("drop").rate = 0
    plain.get_layer("backbone").trainable = False
    compiled(plain)
    keras_fit(plain, epochs=2)

    assert same_arrays(values(model).values(), values(plain).values())


def flat(*stack: keras.layers.Layer) -> keras.Model:
    """A Functional model of these layers."""
    keras.utils.set_random_seed(7)
    inputs = value = keras.Input((4,), name="x")
    for layer in stack:
        value = layer(value)
    return keras.Model(inputs, value, name="flat")


@pytest.mark.parametrize("noise", ["Dropout", "GaussianNoise", "GaussianDropout"])
def test_frostline_noise_in_a_flat_graph(noise: str) -> None:
    """Silent between frozen layers; active before a trained head, which is there to be trained."""
    make = getattr(keras.layers, noise)

    def active(plan: fl.Plan) -> bool:
        dense = [keras.layers.Dense(8, name=name) for name in "ab"]
        model = flat(dense[0], make(0.5, name="noise"), dense[1], keras.layers.Dense(2, name="c"))
        fl.apply(model, plan)
        return not np.array_equal(output(model, training=True), output(model, training=False))

    assert not active(fl.Plan().train("c/**"))
    assert active(fl.Plan(stochastic="active").train("c/**"))
    assert active(fl.Plan().train("b/**"))
    assert active(fl.Plan().train("a/**"))


# --- regularization ---------------------------------------------------------------------------


def test_keras_frozen_layer_has_no_regularization_loss() -> None:
    """A frozen layer's regularization loss disappears."""
    model = compiled(two_dense(regularizer="l2"))
    x, y = data_for(model)
    assert len(model.losses) == 1
    with_penalty = model.evaluate(x, y, verbose=0)

    model.get_layer("a").trainable = False
    assert model.losses == []
    compiled(model)
    assert model.evaluate(x, y, verbose=0) < with_penalty - 1e-3


def test_frostline_notes_lost_regularization() -> None:
    """A note says which penalties leave the loss; none where the weight trains."""
    model = two_dense(regularizer="l2")

    assert fl.Plan().train("b/**").resolve(model).notes == (
        "the penalties of 1 frozen weight are no longer part of the reported loss (a/kernel): losses "
        "before and "
        "after freezing are not comparable",
    )
    assert fl.Plan().train("a/kernel").resolve(model).notes == ()


def test_frostline_penalties_follow_the_plan() -> None:
    """Frozen weights have no penalty in the loss, trained ones do, at once."""
    model = compiled(two_dense(regularizer="l2"))
    assert len(model.losses) == 1
    applied = fl.apply(model, fl.Plan(default="train").freeze("a/kernel"))
    assert model.losses == []
    applied.undo()
    assert len(model.losses) == 1
    fl.apply(model, fl.Plan().train("a/kernel"))
    assert len(model.losses) == 1


# --- paths ------------------------------------------------------------------------------------

EXPECTED_FIRST_PATH = {
    "sequential": "sequential/a/kernel",
    "subclassed": "subclassed/block/inner/kernel",
    "two_dense": "a/kernel",
    "nested_dropout": "a/kernel",
}


@pytest.mark.parametrize(
    "build", [sequential, subclassed, two_dense, nested_dropout], ids=lambda one: one.__name__
)
def test_keras_path_starts_with_name_of_root(build: Callable[[], keras.Model]) -> None:
    """`Variable.path` starts with the root model's name, so `a/.*` never matches.

    Not so in a Functional model, whose paths have neither its name nor that of a nested model.
    """
    assert build().weights[0].path == EXPECTED_FIRST_PATH[build.__name__]


def test_keras_paths_are_not_unique() -> None:
    """Beyond the list: two nested Functional models with equal layer names share their paths."""
    inputs = keras.Input((4,), name="x")
    twins = []
    for name in ("left", "right"):
        inner = keras.Input((4,))
        twins.append(keras.Model(inner, keras.layers.Dense(3, name="a")(inner), name=name))
    model = keras.Model(inputs, twins[0](inputs) + twins[1](inputs), name="twins")

    assert [weight.path for weight in model.weights] == ["a/kernel", "a/bias"] * 2


@pytest.mark.parametrize(
    "build", [sequential, subclassed, two_dense, nested_dropout], ids=lambda one: one.__name__
)
def test_frostline_address_is_without_name_of_root(build: Callable[[], keras.Model]) -> None:
    """An address never starts with the root's name, and does not depend on it."""
    model, other = build(), build()
    other.name = "another_name"
    addresses = [weight.address for weight in fl.inventory(model)]

    assert not any(address.startswith(f"{model.name}/") for address in addresses)
    assert addresses == [weight.address for weight in fl.inventory(other)]
    first = model.layers[0] if model.layers[0].weights else model.layers[1]
    assert fl.Plan().train(f"re:{first.name}/.*").resolve(model).trained


def test_frostline_addresses_are_unique() -> None:
    """Two nested models with equal layer names have addresses of their own."""
    inputs = keras.Input((4,), name="x")
    twins = []
    for name in ("left", "right"):
        inner = keras.Input((4,))
        twins.append(keras.Model(inner, keras.layers.Dense(2, name="a")(inner), name=name))
    model = keras.Model(inputs, twins[0](inputs) + twins[1](inputs), name="twins")

    addresses = [weight.address for weight in fl.inventory(model)]
    assert addresses == ["left/a/kernel", "left/a/bias", "right/a/kernel", "right/a/bias"]
    compiled(model)
    plan = fl.Plan().train("right/**")
    fl.apply(model, plan)
    require_obeys(model, plan, {"right/a/kernel", "right/a/bias"})
