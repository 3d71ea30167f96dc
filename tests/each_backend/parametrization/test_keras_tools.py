"""Parametrized weights inside Keras's own tools: they work, or refuse with nothing changed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops, optimizers

import frostline as fl
from helpers.checks import values
from helpers.parametrized_models import HOW, data, network, plain_network, train
from helpers.small_models import data_for, two_dense

BACKEND = keras.backend.backend()


def counted(model: keras.Model, capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    """The figures below a summary, and those of its layers."""
    model.summary(print_fn=print)
    shown = capsys.readouterr().out
    found = {what: int(n.replace(",", "")) for what, n in re.findall(r"(\w[\w-]*) params: ([\d,]+)", shown)}
    rows = re.findall(r"[│|] (\w+) \(\w+\) *[│|].*?([\d,]+) [│|]", shown)
    return found | {name: int(n.replace(",", "")) for name, n in rows}


def same(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> bool:
    return one.keys() == two.keys() and all(one[a].tobytes() == two[a].tobytes() for a in one)


# --- summary ----------------------------------------------------------------------------------


def test_a_summary_counts_every_number_once(capsys: pytest.CaptureFixture[str]) -> None:
    plain = counted(two_dense(), capsys)
    assert plain["Trainable"] == 23
    model = two_dense()
    put = fl.parametrize(model, "a/kernel", fl.Columns([0, 2]))
    shown = counted(model, capsys)
    assert shown == {**plain, "Trainable": 19, "Non-trainable": 4}
    assert shown["a"] == 15
    mask = fl.parametrize(model, "b/kernel", fl.Mask(np.eye(3, 2, dtype=bool)))
    assert counted(model, capsys) == {**plain, "Trainable": 15, "Non-trainable": 8}

    put.remove()
    assert counted(model, capsys)["Trainable"] == 19
    assert "summary" in vars(model)
    mask.remove()
    assert counted(model, capsys) == plain
    assert "summary" not in vars(model)
    assert "quantize" not in {n for n, v in vars(model).items() if hasattr(v, "frostline_makers")}


def test_a_summary_counts_adapters_beside_the_weight(capsys: pytest.CaptureFixture[str]) -> None:
    model = two_dense()
    fl.parametrize(model, "a/kernel", fl.LowRank(2))
    shown = counted(model, capsys)
    assert (shown["Trainable"], shown["Non-trainable"]) == (11 + 2 * (4 + 3), 12)
    base = fl.inventory(model).by_address["a/kernel"].combination.base
    assert tuple(base.shape) == (4, 3)


def test_a_summary_under_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    model = two_dense()
    total = counted(model, capsys)["Total"]
    with fl.applied(model, fl.Plan().train("a/kernel", columns=[0])):
        shown = counted(model, capsys)
        assert (shown["Total"], shown["Trainable"], shown["Non-trainable"]) == (total, 4, total - 4)
    assert "summary" not in vars(model)


# --- quantization -------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize` method:UserWarning")
def test_quantizing_is_refused_before_anything_is_quantized() -> None:
    model = two_dense()
    put = fl.parametrize(model, "b/kernel", fl.Columns([0]))
    before = values(model)
    with pytest.raises(fl.FrostlineError) as caught:
        model.quantize("int8")
    assert str(caught.value) == (
        f"{model.name!r} holds parametrized weights, whose trained parts quantization would leave out.\n"
        "  received: b/kernel\n"
        "  expected: plain weights\n"
        "  fix:      train first, call frostline.merge(model), then quantize"
    )
    with pytest.raises(fl.FrostlineError, match=r"^'b' holds parametrized weights"):
        model.get_layer("b").quantize("int8")
    assert same(values(model), before)
    assert [layer.quantization_mode for layer in model.layers if layer.weights] == [None, None]

    put.remove()
    model.quantize("int8")
    assert model.get_layer("b").quantization_mode == "int8"
    x, _ = data_for(model)
    assert np.isfinite(model.predict(x, verbose=0)).all()


# --- weights in lists -----------------------------------------------------------------------------


def test_weights_go_out_and_come_back_and_a_clone_is_plain() -> None:
    """`clone_model` goes by configurations, which do not know of parametrizations."""
    model = train(network(), optimizers.Adam(0.01), epochs=1)
    other = network()
    assert not same(values(model), values(other))
    other.set_weights(model.get_weights())
    assert same(values(model), values(other))
    for name in HOW:
        layer = other.get_layer(name)
        held = layer.get_weights()
        layer.set_weights([np.zeros_like(value) for value in held])
        assert not same(values(model), values(other)), name
        layer.set_weights(held)
        assert same(values(model), values(other)), name

    clone = keras.models.clone_model(model)
    assert [v.path for v in clone.weights] == [v.path for v in plain_network().weights]
    for weight in fl.inventory(clone).of_role("weight", "statistic"):
        weight.variable.assign(values(model)[weight.address])
    x = data()[0]
    np.testing.assert_allclose(clone.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5)


# --- compiled functions ---------------------------------------------------------------------------


def loss_of(model: keras.Model, x: Any, y: Any) -> Any:
    return ops.mean(ops.square(model(x, training=True) - y))


def compiled_gradients(model: keras.Model, x: Any, y: Any) -> list[Any]:
    """The gradients by the trained variables, computed inside what the backend compiles."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        @tf.function
        def gradients() -> Any:
            with tf.GradientTape() as tape:
                loss = loss_of(model, x, y)
            return tape.gradient(loss, model.trainable_variables)

        return list(gradients())
    if BACKEND == "jax":
        import jax

        def loss(trained: Any, fixed: Any) -> Any:
            predicted, _ = model.stateless_call(trained, fixed, x, training=True)
            return ops.mean(ops.square(predicted - y))

        trained = [v.value for v in model.trainable_variables]
        return list(jax.jit(jax.grad(loss))(trained, [v.value for v in model.non_trainable_variables]))
    model.zero_grad()
    loss_of(model, x, ops.convert_to_tensor(y)).backward()
    return [v.value.grad for v in model.trainable_variables]


def test_inside_tf_function_and_jit_gradients_are_those_of_the_whole_weight() -> None:
    x, y = data()
    model, plain = network(), plain_network()
    found = compiled_gradients(model, x, y)
    paths = [v.path for v in plain.trainable_variables]
    whole = dict(zip(paths, compiled_gradients(plain, x, y), strict=True))
    weights = {w.address: w for w in fl.inventory(model)}
    compared = 0
    for variable, gradient in zip(model.trainable_variables, found, strict=True):
        weight = next(w for w in weights.values() if any(v is variable for _, v in w.targets))
        elements = weight.combination.how.elements(weight.shape) if weight.combination else None
        if elements is None:
            continue
        expected = ops.convert_to_numpy(elements.take(ops.convert_to_tensor(whole[weight.variable.path])))
        np.testing.assert_allclose(ops.convert_to_numpy(gradient), expected, rtol=1e-4, atol=1e-5)
        compared += 1
    assert compared == 7


EXPORTS = """
import keras, numpy as np, sys
import frostline as fl
model = keras.Sequential([
    keras.Input((3,), dtype="int32"),
    keras.layers.Embedding(20, 8, name="tokens"),
    keras.layers.Flatten(),
    keras.layers.Dense(2, name="head"),
])
fl.parametrize(model, "tokens/embeddings", fl.Rows(slice(18, None)))
fl.parametrize(model, "head/kernel", fl.LowRank(1))
x = np.random.default_rng(0).integers(0, 20, (8, 3)).astype("int32")
expected = model.predict(x, verbose=0)
model.export(sys.argv[1], verbose=False)
import tensorflow as tf
served = tf.saved_model.load(sys.argv[1])
np.testing.assert_allclose(served.serve(x), expected, atol=1e-6)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    BACKEND != "jax", reason="Keras exports by TensorFlow there; TensorFlow's own is elsewhere"
)
def test_a_model_exported_from_jax_predicts_the_same(tmp_path: Path) -> None:
    """In a process of its own, since Keras imports TensorFlow for it."""
    done = subprocess.run(
        [sys.executable, "-c", EXPORTS, str(tmp_path / "exported")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(BACKEND != "torch", reason="writes a program of PyTorch")
def test_a_program_exported_by_pytorch_predicts_the_same(tmp_path: Path) -> None:
    import torch

    model = train(network(), optimizers.Adam(0.01), epochs=1)
    x = data()[0][:1]  # Keras exports for one sample
    expected = model.predict(x, verbose=0)
    model.export(str(tmp_path / "model.pt2"), format="torch", verbose=False)
    program = torch.export.load(str(tmp_path / "model.pt2")).module()
    with torch.no_grad():
        served = program(torch.from_numpy(x))
    np.testing.assert_allclose(np.asarray(served), expected, rtol=1e-5, atol=1e-5)


# --- other precision --------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16"])
def test_a_whole_training_under_other_precision_keeps_frozen_bits(policy: str) -> None:
    layer_policy = keras.dtype_policies.DTypePolicy(policy)
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            layers.Embedding(9, 4, dtype=layer_policy, name="tokens"),
            layers.Flatten(dtype=layer_policy),
            layers.Dense(2, dtype=layer_policy, name="head"),
        ]
    )
    model.compile(optimizers.AdamW(0.05, weight_decay=0.1), "mse")
    plan = fl.Plan().train("tokens/embeddings", rows=slice(6, None)).train("head/kernel", columns=[1])
    x = np.random.default_rng(0).integers(0, 9, (16, 4))
    run = fl.fit(model, plan, x, np.ones((16, 2), "float32"), epochs=2, verbose=0)
    assert run.verification is not None
    assert run.verification.of("partial") == ("tokens/embeddings", "head/kernel")
    assert run.verification.of("intact") == ("head/bias",)
