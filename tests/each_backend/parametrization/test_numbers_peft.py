"""Trained rows and LoRA get the numbers that PEFT gives them: a Keras model against its PyTorch twin."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops, optimizers

if keras.backend.backend() != "torch":
    pytest.skip("compares with PEFT, a library for PyTorch", allow_module_level=True)

import peft
import torch
from torch import nn
from torch.nn import functional

import frostline as fl
from helpers.parametrized_models import numpy

WORDS, WIDTH, LENGTH, BATCH, STEPS = 13, 8, 6, 4, 5
RANK, ALPHA = 2, 6.0
EPSILON = 1e-11
"""Of both. Small: Keras adds it before the bias correction, PyTorch after it."""
USUAL_EPSILON, BETA_2 = 1e-7, 0.999

OPTIMIZERS: dict[str, tuple[Callable[[float], Any], Callable[[Any, float], Any]]] = {
    "SGD": (lambda epsilon: optimizers.SGD(0.5), lambda held, epsilon: torch.optim.SGD(held, lr=0.5)),
    "Adam": (
        lambda epsilon: optimizers.Adam(0.01, epsilon=epsilon),
        lambda held, epsilon: torch.optim.Adam(held, lr=0.01, eps=epsilon),
    ),
    "AdamW": (
        lambda epsilon: optimizers.AdamW(0.01, weight_decay=0.1, epsilon=epsilon),
        lambda held, epsilon: torch.optim.AdamW(held, lr=0.01, weight_decay=0.1, eps=epsilon),
    ),
}
"""The same optimizer of Keras and of PyTorch, for an epsilon."""

TOLERANCE = {"SGD": 1e-6, "Adam": 1e-5, "AdamW": 1e-5}
"""Measured: SGD 1.5e-7, Adam and AdamW 1.4e-6; rows alone 1.2e-7 and 5e-7."""

ROWS = {"scattered": [1, 4, 9], "new": [10, 11, 12]}

Values = dict[str, np.ndarray]


def first_values(*, tied: bool) -> Values:
    """What both models start with, by the addresses of Keras and in its layout."""
    rng = np.random.default_rng(11)
    shapes = {"tokens/embeddings": (WORDS, WIDTH), "hidden/kernel": (WIDTH, WIDTH), "hidden/bias": (WIDTH,)}
    if not tied:
        shapes["head/kernel"] = (WIDTH, WORDS)
    return {address: rng.normal(0, 0.5, shape).astype("float32") for address, shape in shapes.items()}


def data() -> tuple[np.ndarray, np.ndarray]:
    """Words and the words to be told from them: 5 batches of 4 x 6."""
    rng = np.random.default_rng(12)
    ids, targets = rng.integers(WORDS, size=(2, STEPS * BATCH, LENGTH)).astype("int32")
    # A trained row that is not there still moves, by momentum and by decay.
    ids[: 2 * BATCH][np.isin(ids[: 2 * BATCH], (9, 12))] = 0
    return ids, targets


# Keras --------------------------------------------------------------------------------------------


def keras_model(*, tied: bool) -> keras.Model:
    """Words to the logits of words; a tied head is the table of the words, transposed."""
    ids = keras.Input((LENGTH,), dtype="int32")
    kind = layers.ReversibleEmbedding if tied else layers.Embedding
    tokens = kind(WORDS, WIDTH, name="tokens")
    hidden = layers.Dense(WIDTH, activation="tanh", name="hidden")(tokens(ids))
    head = layers.Dense(WORDS, use_bias=False, name="head")
    model = keras.Model(ids, tokens(hidden, reverse=True) if tied else head(hidden))
    by_address = fl.inventory(model).by_address
    for address, value in first_values(tied=tied).items():
        by_address[address].variable.assign(value)
    return model


def fit(model: keras.Model, plan: fl.Plan, optimizer: str, epsilon: float = EPSILON) -> fl.Run:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(OPTIMIZERS[optimizer][0](epsilon), loss)
    return fl.fit(model, plan, *data(), batch_size=BATCH, shuffle=False, verbose=0)


def adapters(model: keras.Model, address: str) -> Values:
    """`A` and `B` of a kernel, in Keras's layout."""
    parts = fl.inventory(model).by_address[address].combination.parts
    return {name: numpy(part) for name, part in parts.items()}


def with_some_b(model: keras.Model, plan: fl.Plan, address: str) -> Values:
    """Put the plan on, let `B` start at other values than zero, and return `A` and `B`."""
    fl.apply(model, plan)
    b = fl.inventory(model).by_address[address].combination.parts["lora_b"]
    b.assign(np.random.default_rng(13).normal(0, 0.3, b.shape))
    return adapters(model, address)


# PEFT ---------------------------------------------------------------------------------------------


@dataclass
class Config:
    """What PEFT asks a model of the transformers library for."""

    tie_word_embeddings: bool
    model_type: str = "small"


class TorchModel(nn.Module):
    """The twin of `keras_model`, with its weights, and the names by which PEFT finds a tied head."""

    _tied_weights_keys = {"head.weight": "tokens.weight"}  # noqa: RUF012 (transformers has it so)

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.config = Config(tie_word_embeddings=tied)
        self.tokens = nn.Embedding(WORDS, WIDTH)
        self.hidden = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, WORDS, bias=False)
        if tied:
            self.head.weight = self.tokens.weight
        arrays = {k: torch.from_numpy(v.copy()) for k, v in first_values(tied=tied).items()}
        with torch.no_grad():
            self.tokens.weight.copy_(arrays["tokens/embeddings"])
            self.hidden.weight.copy_(arrays["hidden/kernel"].T)
            self.hidden.bias.copy_(arrays["hidden/bias"])
            if not tied:
                self.head.weight.copy_(arrays["head/kernel"].T)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.hidden(self.tokens(ids))))

    def get_input_embeddings(self) -> nn.Module:
        return self.tokens

    def get_output_embeddings(self) -> nn.Module:
        return self.head


def lora(rows: Sequence[int] | None = None) -> peft.LoraConfig:
    """LoRA on the layer `hidden`, and trained rows beside it."""
    chosen = None if rows is None else list(rows)
    return peft.LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=["hidden"], trainable_token_indices=chosen
    )


def start_like(model: peft.PeftModel, start: Values) -> None:
    """Give the adapter of `hidden` the first `A` and `B` of the Keras model."""
    layer = model.get_submodule("base_model.model.hidden")
    with torch.no_grad():
        layer.lora_A["default"].weight.copy_(torch.from_numpy(start["lora_a"].T))
        layer.lora_B["default"].weight.copy_(torch.from_numpy(start["lora_b"].T))


def train_by_peft(model: peft.PeftModel, optimizer: str, keras_epsilon: float | None = None) -> None:
    """Train with PyTorch's optimizer; `keras_epsilon` is put where Keras has it."""
    held = OPTIMIZERS[optimizer][1]([p for p in model.parameters() if p.requires_grad], EPSILON)
    ids, targets = (torch.from_numpy(one).long() for one in data())
    batches = zip(ids.split(BATCH), targets.split(BATCH), strict=True)
    for step, (one, wanted) in enumerate(batches, start=1):
        if keras_epsilon is not None:
            for group in held.param_groups:
                group["eps"] = keras_epsilon / math.sqrt(1 - BETA_2**step)
        held.zero_grad()
        functional.cross_entropy(model(one).flatten(0, 1), wanted.flatten()).backward()
        held.step()


def merged(model: peft.PeftModel) -> Values:
    """All weights with what was trained in them, by the addresses of Keras and in its layout."""
    plain = model.merge_and_unload()
    values = {
        "tokens/embeddings": plain.tokens.weight,
        "hidden/kernel": plain.hidden.weight.T,
        "hidden/bias": plain.hidden.bias,
    }
    if not plain.config.tie_word_embeddings:
        values["head/kernel"] = plain.head.weight.T
    return {address: value.detach().numpy().copy() for address, value in values.items()}


# Equality -----------------------------------------------------------------------------------------


def require_equal(model: keras.Model, expected: Values, optimizer: str, first: Values) -> None:
    """Every weight is that of PEFT, and what must not train has every bit of its first value in both."""
    fl.merge(model)
    found = {w.address: w.numpy() for w in fl.inventory(model).of_role("weight")}
    assert found.keys() == expected.keys()
    for address, wanted in expected.items():
        np.testing.assert_allclose(found[address], wanted, rtol=0, atol=TOLERANCE[optimizer], err_msg=address)
    for address in first.keys() - {"tokens/embeddings", "hidden/kernel"}:
        assert found[address].tobytes() == first[address].tobytes(), address
        assert expected[address].tobytes() == first[address].tobytes(), address


def require_rows_only(table: np.ndarray, rows: list[int], first: np.ndarray) -> None:
    """The rows moved, everywhere; the others are what they were, to the bit."""
    frozen = np.delete(np.arange(WORDS), rows)
    assert table[frozen].tobytes() == first[frozen].tobytes()
    assert (np.abs(table[rows] - first[rows]) > 1e-4).mean() > 0.9


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("tied", [True, False], ids=["tied head", "untied head"])
@pytest.mark.parametrize("rows", ROWS)
def test_rows_train_as_the_trainable_tokens_of_peft(rows: str, tied: bool, optimizer: str) -> None:
    first, chosen = first_values(tied=tied), ROWS[rows]
    model = keras_model(tied=tied)
    run = fit(model, fl.Plan().train("tokens/embeddings", rows=chosen), optimizer)
    theirs = peft.get_peft_model(TorchModel(tied=tied), peft.TrainableTokensConfig(token_indices=chosen))
    assert theirs.get_nb_trainable_parameters()[0] == len(chosen) * WIDTH
    train_by_peft(theirs, optimizer)

    assert run.verification is not None
    assert run.verification.ok
    expected = merged(theirs)
    require_equal(model, expected, optimizer, first)
    for table in (numpy(model.get_layer("tokens").embeddings), expected["tokens/embeddings"]):
        require_rows_only(table, chosen, first["tokens/embeddings"])
    found = numpy(model.get_layer("hidden").kernel)
    assert found.tobytes() == first["hidden/kernel"].tobytes()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("tied", [True, False], ids=["tied head", "untied head"])
def test_rows_beside_low_rank_train_as_in_peft(tied: bool, optimizer: str) -> None:
    """`trainable_token_indices` of a LoRA configuration: each changes the gradients of the other."""
    first, chosen = first_values(tied=tied), ROWS["scattered"]
    model = keras_model(tied=tied)
    plan = fl.Plan().train("tokens/embeddings", rows=chosen)
    plan = plan.train("hidden/kernel", via=fl.LowRank(RANK, alpha=ALPHA, seed=1))
    theirs = peft.get_peft_model(TorchModel(tied=tied), lora(chosen))
    start_like(theirs, with_some_b(model, plan, "hidden/kernel"))
    train_by_peft(theirs, optimizer)
    fit(model, plan, optimizer)

    expected = merged(theirs)
    require_equal(model, expected, optimizer, first)
    for table in (numpy(model.get_layer("tokens").embeddings), expected["tokens/embeddings"]):
        require_rows_only(table, chosen, first["tokens/embeddings"])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_low_rank_on_a_dense_layer_trains_as_in_peft(optimizer: str) -> None:
    first = first_values(tied=False)
    model = keras_model(tied=False)
    plan = fl.Plan().train("hidden/kernel", via=fl.LowRank(RANK, alpha=ALPHA, seed=1))
    theirs = peft.get_peft_model(TorchModel(tied=False), lora())
    start = with_some_b(model, plan, "hidden/kernel")
    start_like(theirs, start)
    fit(model, plan, optimizer)
    train_by_peft(theirs, optimizer)

    found = adapters(model, "hidden/kernel")
    layer = theirs.get_submodule("base_model.model.hidden")
    factors = {"lora_a": layer.lora_A["default"].weight.T, "lora_b": layer.lora_B["default"].weight.T}
    for name, wanted in factors.items():
        np.testing.assert_allclose(
            found[name], wanted.detach().numpy(), rtol=0, atol=TOLERANCE[optimizer], err_msg=name
        )
        assert (np.abs(found[name] - start[name]) > 1e-4).mean() > 0.9, name
    require_equal(model, merged(theirs), optimizer, first)
    table = numpy(model.get_layer("tokens").embeddings)
    assert table.tobytes() == first["tokens/embeddings"].tobytes()


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied head", "untied head"])
def test_at_the_usual_epsilon_its_place_is_all_that_differs(tied: bool, optimizer: str) -> None:
    """Where a gradient is small the place of epsilon shows: by up to 3e-4 here."""
    first, chosen = first_values(tied=tied), ROWS["new"]
    model = keras_model(tied=tied)
    fit(model, fl.Plan().train("tokens/embeddings", rows=chosen), optimizer, USUAL_EPSILON)
    theirs = peft.get_peft_model(TorchModel(tied=tied), peft.TrainableTokensConfig(token_indices=chosen))
    train_by_peft(theirs, optimizer, USUAL_EPSILON)
    require_equal(model, merged(theirs), optimizer, first)


def test_a_tied_head_is_another_model_than_an_untied_one_that_begins_alike() -> None:
    """So the tests of the tied head would see a head that PEFT, or we, had left out."""
    plan = fl.Plan().train("tokens/embeddings", rows=ROWS["new"])
    tied, untied = keras_model(tied=True), keras_model(tied=False)
    untied.get_layer("head").kernel.assign(ops.transpose(tied.get_layer("tokens").embeddings))
    for model in (tied, untied):
        fit(model, plan, "SGD")
    one, two = (numpy(model.get_layer("tokens").embeddings) for model in (tied, untied))
    assert np.abs(one - two).max() > 1000 * TOLERANCE["SGD"]
