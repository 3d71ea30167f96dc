"""What the words `head` and `attention` and the search for blocks find in models of KerasHub."""

from __future__ import annotations

from collections.abc import Callable

import keras
import pytest

import frostline as fl
from frostline.model.inventory import inventory
from frostline.plan.attention import attention_kernels
from frostline.plan.blocks import find_blocks
from frostline.plan.heads import find_head

keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is not installed: `make test-all` installs it")

pytestmark = pytest.mark.slow

SMALL = {"vocabulary_size": 30, "num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
HEADS = {"num_query_heads": 2, "num_key_value_heads": 1}
GROUPED = {**HEADS, **{name: size for name, size in SMALL.items() if name != "num_heads"}}


def bert(task: str, **more: object) -> keras.Model:
    backbone = keras_hub.models.BertBackbone(**SMALL, max_sequence_length=12)
    return getattr(keras_hub.models, task)(backbone, **more)


def whisper() -> keras.Model:
    lengths = {"max_encoder_sequence_length": 20, "max_decoder_sequence_length": 10}
    return keras_hub.models.WhisperBackbone(**SMALL, num_mels=8, **lengths)


def segformer() -> keras.Model:
    mit = keras_hub.models.MiTBackbone(
        layerwise_depths=[2, 2],
        num_layers=2,
        layerwise_num_heads=[1, 2],
        layerwise_sr_ratios=[4, 2],
        max_drop_path_rate=0.0,
        layerwise_patch_sizes=[7, 3],
        layerwise_strides=[4, 2],
        image_shape=(32, 32, 3),
        hidden_dims=[8, 16],
    )
    backbone = keras_hub.models.SegFormerBackbone(image_encoder=mit, projection_filters=8)
    return keras_hub.models.SegFormerImageSegmenter(backbone, num_classes=3)


def clip() -> keras.Model:
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
    vision = keras_hub.models.CLIPVisionEncoder(patch_size=8, **sizes, image_shape=(16, 16, 3))
    tokens = {"vocabulary_size": 30, "embedding_dim": 8, "max_sequence_length": 8}
    text = keras_hub.models.CLIPTextEncoder(**tokens, **sizes)
    return keras_hub.models.CLIPBackbone(vision, text, projection_dim=8)


def language_model(name: str, backbone: str, **sizes: int) -> Callable[[], keras.Model]:
    def make() -> keras.Model:
        return getattr(keras_hub.models, name)(getattr(keras_hub.models, backbone)(**sizes))

    return make


MODELS: dict[str, tuple[Callable[[], keras.Model], int, int, int]] = {
    # The model, kernels of attention, blocks, weights of the head.
    "BertTextClassifier": (lambda: bert("BertTextClassifier", num_classes=3), 6, 2, 2),
    "BertMaskedLM": (lambda: bert("BertMaskedLM"), 6, 2, 5),
    "T5": (lambda: keras_hub.models.T5Backbone(**SMALL), 18, 4, 0),
    "Whisper": (whisper, 18, 4, 0),
    "BART": (language_model("BartSeq2SeqLM", "BartBackbone", **SMALL, max_sequence_length=12), 18, 4, 0),
    "GPT-2": (language_model("GPT2CausalLM", "GPT2Backbone", **SMALL, max_sequence_length=12), 6, 2, 0),
    "Gemma": (language_model("GemmaCausalLM", "GemmaBackbone", **GROUPED, head_dim=4), 6, 2, 0),
    "Llama 3": (language_model("Llama3CausalLM", "Llama3Backbone", **GROUPED), 6, 2, 0),
    "CLIP": (clip, 12, 4, 3),
    "SegFormer": (segformer, 12, 4, 2),
}


@pytest.mark.filterwarnings("ignore:Layer '.*' .of type T5MultiHeadAttention. was passed an input")
@pytest.mark.parametrize("name", MODELS)
def test_presets_find_what_they_mean(name: str) -> None:
    make, kernels, blocks, head = MODELS[name]
    model = make()
    seen = inventory(model)
    assert len(attention_kernels(seen)) == kernels
    assert len(find_blocks(seen)) == blocks, find_blocks(seen)
    found = find_head(seen)
    assert found.known
    assert len(found.addresses) == head, (found.why, sorted(found.addresses))
    # No preset trains a table that the inputs pass.
    for plan in (fl.lora(1), fl.last_blocks(model, 1)):
        trained = [d.weight.address for d in plan.resolve(model).trained]
        assert trained
        assert not [address for address in trained if "token_embedding" in address]
