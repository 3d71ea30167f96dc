"""The reader for TensorFlow on whole models."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

if keras.backend.backend() != "tensorflow":
    pytest.skip("reads TensorFlow's graphs", allow_module_level=True)


from frostline.backends.dispatch import measure, trace
from helpers import small_models
from helpers.tensorflow_traces import about
from helpers.traces import leaves, standings

pytestmark = pytest.mark.every_backend


def recurrent() -> keras.Model:
    inputs = keras.Input((6,), dtype="int32")
    value = layers.Embedding(9, 4, mask_zero=True, name="tokens")(inputs)
    value = layers.LSTM(3, return_sequences=True, dropout=0.2, recurrent_dropout=0.2, name="lstm")(value)
    value = layers.Bidirectional(layers.GRU(3, return_sequences=True), name="both")(value)
    value = layers.SimpleRNN(2, unroll=True, name="simple")(value)
    return keras.Model(inputs, layers.Dense(2, name="head")(value))


def transformer() -> keras.Model:
    inputs = value = keras.Input((5, 8))
    for number in range(2):
        attended = layers.MultiHeadAttention(2, 4, dropout=0.1, name=f"attention_{number}")(value, value)
        value = layers.LayerNormalization(name=f"norm_{number}")(value + attended)
        value = value + layers.Dense(8, activation="gelu", name=f"dense_{number}")(value)
    return keras.Model(inputs, layers.Dense(1, name="head")(layers.GlobalMaxPooling1D()(value)))


def mobilenet() -> keras.Model:
    return keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=3)


MODELS = {
    "functional": small_models.two_dense,
    "sequential": small_models.sequential,
    "subclassed": small_models.subclassed,
    "custom layer": small_models.custom_block,
    "nested": small_models.nested_dropout,
    "batch normalization": small_models.batch_norm,
    "attention": small_models.attention,
    "transformer": transformer,
    "recurrent": recurrent,
    "mobilenet": mobilenet,
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_every_weight_of_a_sound_model_is_live(name: str, training: bool) -> None:
    model = MODELS[name]()
    shape = (2, *model.input_shape[1:]) if name != "subclassed" else (2, small_models.INPUTS)
    x = np.random.default_rng(0).uniform(1, 8, shape).astype("int32" if name == "recurrent" else "float32")
    seen = trace(about(model, x, training=training))
    assert set(standings(seen).values()) == {"trains"}
    assert leaves(seen, "foreign") == [] and seen.unknown_layers == () and not seen.error


def test_what_no_gradient_comes_to_is_not_live_and_the_other_way_round() -> None:
    model = small_models.unused_layer()
    computation = about(model, np.ones((2, small_models.INPUTS), "float32"))
    seen, measured = trace(computation), measure(computation)
    assert standings(seen) == {
        "used/kernel": "trains",
        "used/bias": "trains",
        "unused/kernel": "unused",
        "unused/bias": "unused",
    }
    assert {n for n, g in measured.gradients.items() if g is None} == {"unused/kernel", "unused/bias"}


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_hides_no_gradient(policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        model = transformer()
    finally:
        keras.config.set_dtype_policy("float32")
    seen = trace(about(model, np.ones((2, 5, 8), "float32"), training=True))
    assert set(standings(seen).values()) == {"trains"}
