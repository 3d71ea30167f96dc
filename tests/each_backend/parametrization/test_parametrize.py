"""A parametrized weight in all that Keras and Frostline do with a model, and back to the plain one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops, optimizers

import frostline as fl
from frostline._keras.optimizers import optimizer_chain, optimizer_targets
from frostline.optimizers.slots import slots_of
from helpers.checks import every_call, flags_that_train, frostline_fit, keras_fit, quick_first
from helpers.parametrized_models import HOW, MASK, address, data, network, numpy, plain_network, train
from helpers.small_models import batch_norm, compiled, data_for, nested_dropout, two_dense

BACKEND = keras.backend.backend()
KERNEL = fl.Columns([0, 2])
"""Of the kernel of Dense `a` in `two_dense`, 4 x 3."""


def values(model: keras.Model) -> dict[str, np.ndarray]:
    return {w.address: w.numpy() for w in fl.inventory(model).of_role("weight", "statistic")}


def same(one: Mapping[str, np.ndarray], two: Mapping[str, np.ndarray]) -> bool:
    return one.keys() == two.keys() and all(one[a].tobytes() == two[a].tobytes() for a in one)


def trained_two_dense(how: fl.Parametrization = KERNEL) -> tuple[keras.Model, fl.Parametrized]:
    """`two_dense` with `a/kernel` parametrized, after a `fit` with Adam."""
    model = compiled(two_dense(), optimizers.Adam(0.05))
    put = fl.parametrize(model, "a/kernel", how)
    keras_fit(model)
    return model, put


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
def test_a_checkpoint_of_tensorflow_brings_the_weights_back(tmp_path: Path) -> None:
    import tensorflow as tf

    model = train(network(), optimizers.SGD(0.1), epochs=1)
    now = values(model)
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
    train(model, optimizers.SGD(0.1), epochs=1)
    tf.train.Checkpoint(model=model).restore(path)
    assert same(values(model), now)


# --- the plain weight again ---------------------------------------------------------------------


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


def slots(model: keras.Model) -> list[tuple[int, ...]]:
    inner = optimizer_chain(model.optimizer)[-1]
    return [tuple(v.shape) for v in optimizer_targets(inner)]


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


# --- plans ------------------------------------------------------------------------------------


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
        "whether frozen elements of 'a/kernel' changed cannot be told: the two fingerprints were taken under "
        "different parametrizations.\n"
        "  received: a plain weight before, columns 0, 2 after\n"
        "  fix:      take the first after fl.parametrize, and the second before remove or fl.merge; or both "
        "with the plan: frostline.fingerprint(model, plan)"
    )


# --- where else a weight can be -----------------------------------------------------------------


def test_a_tied_table_trains_its_rows_through_both_uses() -> None:
    """Lookup and logits of a ReversibleEmbedding, its mask, its soft cap: as the whole table's step."""

    def tied() -> keras.Model:
        keras.utils.set_random_seed(4)
        ids = keras.Input((5,), dtype="int32")
        table = layers.ReversibleEmbedding(9, 4, mask_zero=True, logit_soft_cap=3.0, name="words")
        hidden = layers.SimpleRNN(4, return_sequences=True, trainable=False, name="rnn")(table(ids))
        return keras.Model(ids, table(hidden, reverse=True))

    x = np.array([[1, 2, 8, 0, 0], [3, 3, 7, 8, 0]])
    y = np.random.default_rng(0).normal(size=(2, 5, 9)).astype("float32")
    for rows in ([2, 8], slice(6, 9)):
        whole, model = compiled(tied()), compiled(tied())
        put = fl.parametrize(model, "words/embeddings", fl.Rows(rows))
        assert put.path == "lookup"
        before = numpy(whole.get_layer("words").embeddings)
        np.testing.assert_allclose(model.predict(x, verbose=0), whole.predict(x, verbose=0), atol=1e-6)
        for one in (whole, model):
            one.train_on_batch(x, y)
        chosen = np.zeros(9, bool)
        chosen[rows] = True
        expected = np.where(chosen[:, None], numpy(whole.get_layer("words").embeddings), before)
        np.testing.assert_allclose(numpy(model.get_layer("words").embeddings), expected, atol=1e-6)


@pytest.mark.skipif(BACKEND != "torch", reason="a custom gradient on PyTorch alone")
def test_logits_of_a_tied_table_have_a_second_derivative() -> None:
    """As for gradient penalties: the same as of the table put together."""
    import torch

    table = layers.ReversibleEmbedding(9, 4, name="words")
    table.build()
    inputs = torch.tensor(
        np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32"), requires_grad=True
    )
    fl.parametrize(table, "embeddings", fl.Rows(slice(6, 9)))
    part = table.embeddings.combination.parts["rows"].value
    frozen = torch.tensor(numpy(table.embeddings)[:6])
    second = []
    for logits in (table(inputs, reverse=True), inputs @ torch.concatenate([frozen, part]).T):
        wanted = [inputs, part]
        first = torch.autograd.grad((logits**3).sum(), wanted, create_graph=True)
        second.append(torch.autograd.grad(sum((one**2).sum() for one in first), wanted))
    for found, expected in zip(*second, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


class Shares(layers.Layer):
    """Projects back with the kernel of another layer, held in a list."""

    def __init__(self, other: layers.Dense, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.other_weights = [other.kernel]

    def call(self, inputs: Any) -> Any:
        return ops.matmul(inputs, ops.transpose(self.other_weights[0]))


def test_a_weight_that_two_layers_hold_stays_one() -> None:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    dense = layers.Dense(3, use_bias=False, name="a")
    hidden = dense(inputs)
    model = compiled(keras.Model(inputs, Shares(dense, name="back")(hidden)), optimizers.SGD(0.1))
    x = np.ones((4, 4), "float32")
    weight = fl.inventory(model).by_address["a/kernel"]
    assert weight.aliases == ("back/kernel",)
    before = weight.numpy()
    put = fl.parametrize(model, "back/kernel", KERNEL)
    assert put.address == "a/kernel"
    assert put.path == "general"
    assert len(model.trainable_variables) == 1
    model.fit(x, x, verbose=0)
    changed = weight.numpy() != before
    assert changed.any(axis=0).tolist() == [True, False, True]
    put.remove()
    assert [v.path for v in model.weights] == ["a/kernel"]
    model.fit(x, x, verbose=0)


def test_lora_of_keras_after_a_parametrization_is_seen() -> None:
    """A fast path steps aside where the layer got something that only its own method knows."""
    model = two_dense()
    fl.parametrize(model, "a/kernel", KERNEL)
    dense = model.get_layer("a")
    x, _ = data_for(model)
    before = model.predict(x, verbose=0)
    dense.enable_lora(2)
    dense.lora_kernel_b.assign(np.ones((2, 3), "float32"))
    model.predict_function = None
    assert np.abs(model.predict(x, verbose=0) - before).max() > 1e-2


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_casts_as_the_plain_layer_does(policy: str) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        plain, model = plain_network(), network()
    finally:
        keras.config.set_dtype_policy(before)
    x, y = data()
    tolerance = {"rtol": 0.05, "atol": 0.05}
    np.testing.assert_allclose(
        numpy(ops.cast(model(x), "float32")), numpy(ops.cast(plain(x), "float32")), **tolerance
    )
    first = values(model)
    model.compile(optimizers.SGD(0.1), "mse")
    model.fit(x, y, batch_size=4, verbose=0)
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    moved = {a for a, v in values(model).items() if v.tobytes() != first[a].tobytes()}
    assert moved == {address(name) for name in HOW}


@pytest.mark.skipif(BACKEND == "torch", reason="torch.compile needs a C++ compiler")
def test_training_compiles_with_xla() -> None:
    model = network()
    model.compile(optimizers.Adam(0.01), "mse", jit_compile=True)
    before = values(model)
    model.fit(*data(), batch_size=4, verbose=0)
    assert all(values(model)[address(n)].tobytes() != before[address(n)].tobytes() for n in HOW)


def test_a_weight_without_any_frozen_element_and_a_bias() -> None:
    model = compiled(two_dense())
    fl.parametrize(model, "a/kernel", fl.Rows(slice(None)))
    fl.parametrize(model, "a/bias", fl.Index((-1,)))
    before = values(model)
    keras_fit(model)
    now = values(model)
    assert (now["a/kernel"] != before["a/kernel"]).all()
    assert (now["a/bias"] != before["a/bias"]).tolist() == [False, False, True]


EVERYTHING = (fl.Mask(np.ones((4, 3), np.bool_)), fl.Rows(slice(None)), fl.Index((slice(None), [0, 1, 2])))


@pytest.mark.parametrize("how", EVERYTHING, ids=lambda how: type(how).__name__)
def test_slots_go_on_where_all_elements_train(how: fl.Parametrization) -> None:
    """In whatever shape they are held, there and back."""
    model, untouched = (compiled(two_dense(), optimizers.Adam(0.05)) for _ in range(2))
    keras_fit(model)
    put = fl.parametrize(model, "a/kernel", how)
    keras_fit(model)
    put.remove()
    keras_fit(model)
    for _ in range(3):
        keras_fit(untouched)
    for name, value in values(untouched).items():
        np.testing.assert_allclose(values(model)[name], value, rtol=1e-6, atol=1e-7)


# --- one's own --------------------------------------------------------------------------------


class Shift(fl.Parametrization):
    """Moves all elements by one number."""

    def start(self, weight: Any) -> Mapping[str, Any]:
        return {"shift": ops.zeros((), dtype=weight.dtype)}

    def combine(self, base: Any, parts: Mapping[str, Any]) -> Any:
        return base + parts["shift"]


def test_users_make_their_own() -> None:
    model = compiled(two_dense())
    put = fl.parametrize(model, "a/kernel", Shift())
    assert str(put) == "a/kernel: Shift (1 elements, path: general)"
    before = values(model)["a/kernel"]
    planned = str(fl.Plan().train("b/kernel", via=Shift()).resolve(model))
    assert "Shift" in planned
    run = frostline_fit(model, fl.Plan().train("a/kernel"))
    assert run.verification is not None
    assert run.verification.of("partial") == ("a/kernel",)
    moved = values(model)["a/kernel"] - before
    assert abs(moved).min() > 1e-4
    np.testing.assert_allclose(moved, moved[0, 0], rtol=1e-3)


def test_a_mask_holds_its_true_elements_alone() -> None:
    model = plain_network()
    put = fl.parametrize(model, "mask/kernel", fl.Mask(MASK))
    assert put.trained_elements == MASK.sum()
    assert fl.inventory(model).by_address["mask/kernel"].targets[0][1].shape == (MASK.sum(),)


def test_ids_out_of_range_are_not_taken_for_rows() -> None:
    """What a plain table says of them, the parametrized one says: NaN on JAX, an error elsewhere."""
    for rows in ([4], [1, 3]):
        plain, layer = layers.Embedding(5, 2), layers.Embedding(5, 2)
        for one in (plain, layer):
            one.build()
        layer.embeddings.assign(plain.embeddings)
        fl.parametrize(layer, "embeddings", fl.Rows(rows))
        for ids in ([[-5, -1, 0, 4, 3]], [[-6]], [[5]], [[99]]):
            found = [outcome(one, ids) for one in (plain, layer)]
            np.testing.assert_array_equal(*found)


def outcome(layer: Any, ids: Any) -> Any:
    try:
        return numpy(layer(ops.convert_to_tensor(ids, dtype="int32")))
    except Exception as error:
        return np.array(type(error).__name__)
