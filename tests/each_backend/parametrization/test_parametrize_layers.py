"""Weights that train in part: held by two layers, in other precisions, by parametrizations of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops, optimizers

import frostline as fl
from helpers.checks import frostline_fit, keras_fit
from helpers.parametrized_models import HOW, MASK, address, data, network, numpy, plain_network
from helpers.parametrized_two_dense import KERNEL, values
from helpers.small_models import compiled, data_for, two_dense

BACKEND = keras.backend.backend()


# --- where else a weight can be -----------------------------------------------------------------


@pytest.mark.every_backend
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


@pytest.mark.every_backend
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
