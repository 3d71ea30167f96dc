"""A parametrized weight in all that Keras and Frostline do with a model, and back to the plain one."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops, optimizers

import frostline as fl
from frostline._keras.optimizers import optimizer_chain, optimizer_targets
from frostline.optimizers.slots import slots_of
from helpers.checks import flags_that_train, keras_fit, quick_first
from helpers.parametrized_models import HOW, address, data, network, numpy, plain_network, train
from helpers.parametrized_two_dense import KERNEL, same, slots, trained_two_dense, values
from helpers.small_models import compiled, two_dense

BACKEND = keras.backend.backend()


# --- one weight, as before ----------------------------------------------------------------------


def test_the_inventory_lists_the_same_weights() -> None:
    plain, model = fl.inventory(plain_network()), fl.inventory(network())
    assert [w.address for w in model] == [w.address for w in plain]
    assert list(model) == list(plain)
    assert [n.own for n in model.layers] == [n.own for n in plain.layers]
    words = model.by_address["words/embeddings"]
    assert words.part == "rows 1, 5, 11, lookup"
    assert words.trained_size == 24
    assert [(a, tuple(v.shape)) for a, v in words.targets] == [("words/embeddings:rows", (3, 8))]
    assert plain.by_address["words/embeddings"].part == ""


def test_parts_are_what_keras_trains_and_the_base_what_it_holds() -> None:
    model = two_dense()
    kernel = model.get_layer("a").kernel
    fl.parametrize(model, "a/kernel", KERNEL)
    assert model.get_layer("a").kernel is kernel
    assert [v.path for v in model.trainable_variables] == ["a/kernel_columns", "a/bias", "b/kernel", "b/bias"]
    assert [v.path for v in model.non_trainable_variables] == ["a/kernel"]
    assert tuple(kernel.shape) == (4, 3)
    model.trainable = False
    model.trainable = True
    for variable in model.weights:
        variable.trainable = True
    assert [v.path for v in model.non_trainable_variables] == ["a/kernel"]


def test_a_frozen_weight_trains_once_parametrized_and_is_frozen_after() -> None:
    model = two_dense()
    model.trainable = False
    put = fl.parametrize(model, "a/kernel", KERNEL)
    assert [v.path for v in model.trainable_variables] == ["a/kernel_columns"]
    put.remove()
    assert flags_that_train(model) == set()


def test_set_weights_takes_what_get_weights_gave() -> None:
    model, _ = trained_two_dense()
    before, held = values(model), model.get_weights()
    keras_fit(model)
    assert not same(values(model), before)
    model.set_weights(held)
    assert same(values(model), before)


@pytest.mark.parametrize("how", [KERNEL, fl.LowRank(2), fl.Scale()], ids=str)
def test_assigning_the_weight_sets_it_and_the_parts_start_anew(how: fl.Parametrization) -> None:
    model, _ = trained_two_dense(how)
    weight = fl.inventory(model).by_address["a/kernel"]
    new = np.arange(1, 13, dtype="float32").reshape(4, 3)
    weight.variable.assign(new)
    assert np.array_equal(weight.numpy(), new)
    with pytest.raises(ValueError, match="must match"):
        weight.variable.assign(new[:2])
    keras_fit(model)
    changed = weight.numpy() != new
    assert changed[:, [0, 2]].all()
    assert changed[:, 1].any() == (how is not KERNEL)


# --- files ------------------------------------------------------------------------------------


def test_files_hold_the_plain_model(tmp_path: Path) -> None:
    """`.keras` and weight files are those of a plain model, and load into one and into a parametrized one."""
    model = train(network(), optimizers.Adam(0.01), epochs=1)
    now, expected = values(model), model.predict(data()[0], verbose=0)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")

    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert same(values(loaded), now)
    np.testing.assert_allclose(loaded.predict(data()[0], verbose=0), expected, rtol=1e-5, atol=1e-5)
    for other in (plain_network(), network()):
        other.load_weights(tmp_path / "model.weights.h5")
        assert same(values(other), now)
    assert {type(v) for v in plain_network().variables} == {keras.Variable}


@pytest.mark.eager
@pytest.mark.parametrize("compiled_first", [True, False], ids=["compiled before", "compiled after"])
@pytest.mark.parametrize("name", quick_first(HOW, ["words", "low"]))
def test_plain_keras_saves_and_opens_what_has_trained(
    name: str, compiled_first: bool, tmp_path: Path
) -> None:
    """By `model.save` and by `ModelCheckpoint`; `fl.save_model` keeps the optimizer too."""
    model = plain_network()
    if compiled_first:
        model.compile("adam", "mse")
    fl.parametrize(model, address(name), HOW[name])
    if not compiled_first:
        model.compile("adam", "mse")
    path = tmp_path / "at_work.keras"
    model.fit(*data(), callbacks=[keras.callbacks.ModelCheckpoint(path)], verbose=0)
    model.save(tmp_path / "saved.keras")
    for file in ("at_work", "saved"):
        loaded = keras.models.load_model(tmp_path / f"{file}.keras")
        assert not loaded.compiled
        assert same(values(loaded), values(model))
    fl.save_model(model, tmp_path / "ours.keras")
    assert fl.load_model(tmp_path / "ours.keras").optimizer.built

    fl.merge(model)
    model.save(tmp_path / "merged.keras")
    assert keras.models.load_model(tmp_path / "merged.keras").optimizer.built


def test_a_clone_is_the_plain_model() -> None:
    clone = keras.models.clone_model(network())
    assert [v.path for v in clone.weights] == [v.path for v in plain_network().weights]


def test_the_summary_counts_each_element_once(capsys: pytest.CaptureFixture[str]) -> None:
    model = two_dense()
    fl.parametrize(model, "a/kernel", KERNEL)
    model.summary(print_fn=print)
    shown = capsys.readouterr().out
    assert "Trainable params: 19" in shown
    assert "Non-trainable params: 4" in shown


@pytest.mark.skipif(BACKEND != "tensorflow", reason="writes a SavedModel")
def test_an_exported_model_predicts_the_same(tmp_path: Path) -> None:
    import tensorflow as tf

    model = train(network(), optimizers.Adam(0.01), epochs=1)
    expected = model.predict(data()[0], verbose=0)
    model.export(str(tmp_path / "exported"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(served.serve(data()[0]), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="writes a TensorFlow checkpoint")
@pytest.mark.every_backend
def test_a_checkpoint_of_tensorflow_brings_the_weights_back(tmp_path: Path) -> None:
    import tensorflow as tf

    model = train(network(), optimizers.SGD(0.1), epochs=1)
    now = values(model)
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
    train(model, optimizers.SGD(0.1), epochs=1)
    tf.train.Checkpoint(model=model).restore(path)
    assert same(values(model), now)


# --- the plain weight again ---------------------------------------------------------------------


@pytest.mark.eager
@pytest.mark.parametrize("name", HOW)
def test_removing_keeps_or_drops_what_was_trained(name: str) -> None:
    model = plain_network()
    before = values(model)
    put = fl.parametrize(model, address(name), HOW[name])
    train(model, optimizers.SGD(0.1), epochs=1)
    trained = values(model)
    put.remove()
    assert same(values(model), trained)
    assert before[address(name)].tobytes() != trained[address(name)].tobytes()

    again = fl.parametrize(model, address(name), HOW[name])
    train(model, optimizers.SGD(0.1), epochs=1)
    again.remove(merge=False)
    again.remove()
    assert values(model)[address(name)].tobytes() == trained[address(name)].tobytes()


def test_merging_leaves_no_trace() -> None:
    plain, model = plain_network(), network()
    kinds = {name: set(vars(plain.get_layer(name))) for name in HOW}
    assert fl.merge(model) is model
    assert fl.merge(model) is model
    assert [v.path for v in model.weights] == [v.path for v in plain.weights]
    assert {type(v) for v in model.weights} == {keras.Variable}
    assert {name: set(vars(model.get_layer(name))) for name in HOW} == kinds
    assert flags_that_train(model) == flags_that_train(plain)
    assert same(values(model), values(plain))
    train(model, optimizers.SGD(0.1), epochs=1)
    train(plain, optimizers.SGD(0.1), epochs=1)
    assert same(values(model), values(plain))


# --- the optimizer ----------------------------------------------------------------------------


def momenta(model: keras.Model) -> dict[str, np.ndarray]:
    inner = optimizer_chain(model.optimizer)[-1]
    targets = optimizer_targets(inner)
    return {v.path: numpy(held["momentums"]) for v, held in zip(targets, slots_of(inner), strict=True)}


def test_the_optimizer_follows_there_and_back() -> None:
    """A compiled and fitted model goes on, and the other weights keep their momentum."""
    model = compiled(two_dense(), optimizers.SGD(0.05, momentum=0.9))
    keras_fit(model)
    untouched = compiled(two_dense(), optimizers.SGD(0.05, momentum=0.9))
    keras_fit(untouched)
    put = fl.parametrize(model, "a/kernel", fl.Rows(slice(None)))
    assert slots(model) == [(4, 3), (3,), (3, 2), (2,)]
    keras_fit(model)
    put.remove()
    keras_fit(model)
    assert slots(model) == [(4, 3), (3,), (3, 2), (2,)]

    put = fl.parametrize(model, "b/kernel", fl.Rows([1]))
    assert slots(model) == [(4, 3), (3,), (1, 2), (2,)]
    keras_fit(model)
    fl.merge(model)
    keras_fit(model)
    keras_fit(untouched)
    assert int(numpy(model.optimizer.iterations)) == 10


def test_other_weights_keep_their_slots() -> None:
    model = compiled(two_dense(), optimizers.SGD(0.05, momentum=0.9))
    keras_fit(model)
    before = momenta(model)
    fl.parametrize(model, "a/kernel", KERNEL)
    now = momenta(model)
    assert before["a/kernel"].any(axis=0).all()
    # Elements that go on training keep theirs.
    assert np.array_equal(now.pop("a/kernel_columns"), before.pop("a/kernel")[:, [0, 2]])
    assert same(now, before)


def test_weights_excluded_from_decay_stay_so() -> None:
    for by in ("object", "name"):
        model = two_dense()
        opt = optimizers.AdamW(0.0, weight_decay=0.5)
        kernel = model.get_layer("a").kernel
        opt.exclude_from_weight_decay(
            var_list=[kernel] if by == "object" else None, var_names=["kernel"] if by == "name" else None
        )
        compiled(model, opt)
        fl.parametrize(model, "a/kernel", KERNEL)
        part = model.trainable_variables[0]
        assert not opt._use_weight_decay(part), by
        assert opt._use_weight_decay(model.get_layer("a").bias)


# --- penalties and constraints ----------------------------------------------------------------


@pytest.mark.parametrize("how", [KERNEL, fl.LowRank(2, seed=1)], ids=str)
def test_penalties_act_on_what_trains(how: fl.Parametrization) -> None:
    model = two_dense(regularizer="l2")
    kernel = numpy(model.get_layer("a").kernel)
    fl.parametrize(model, "a/kernel", how)
    shown = kernel[:, [0, 2]] if how is KERNEL else kernel
    assert float(numpy(ops.sum(model.losses))) == pytest.approx(0.01 * (shown**2).sum(), rel=1e-5)
    compiled(model)
    keras_fit(model)


def test_a_penalty_of_the_whole_matrix_sees_the_whole_matrix() -> None:
    model = two_dense(regularizer="orthogonal_regularizer")
    expected = float(numpy(ops.sum(model.losses)))
    fl.parametrize(model, "a/kernel", KERNEL)
    assert float(numpy(ops.sum(model.losses))) == pytest.approx(expected, rel=1e-5)
    compiled(model, optimizers.SGD(0.1))
    keras_fit(model)


@pytest.mark.parametrize("constraint", ["non_neg", "max_norm"])
def test_constraints_move_trained_elements_only(constraint: str) -> None:
    keras.utils.set_random_seed(1)
    limit = keras.constraints.MaxNorm(0.5) if constraint == "max_norm" else constraint
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, kernel_constraint=limit, name="a")])
    model.add(layers.Dense(2, name="b"))
    before = numpy(model.get_layer("a").kernel)
    fl.parametrize(model, "a/kernel", KERNEL)
    keras_fit(compiled(model))
    after = numpy(model.get_layer("a").kernel)
    assert np.array_equal(before[:, 1], after[:, 1])
    if constraint == "non_neg":
        assert (after[:, [0, 2]] >= 0).all()
    else:
        assert (np.linalg.norm(before, axis=0) > 0.5).all()
        assert (np.linalg.norm(after, axis=0) <= 0.5 + 1e-6).tolist() == [True, False, True]
