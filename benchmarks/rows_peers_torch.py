"""The arms of `partial_rows.py` in a PyTorch loop: ours, PEFT, a hook, SparseAdam, Adam, a split by hand."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import keras
import torch
from rows_task import (
    HOOK,
    PEFT,
    PEFT_FROZEN,
    SPARSE_ADAM,
    TORCH_FROZEN,
    TORCH_LIMIT,
    TORCH_OURS,
    Task,
    forget_peak,
)
from torch import nn
from torch.nn import functional

from frostline import Rows, parametrize


class TorchArm:
    """A PyTorch model in a loop of its own, which does less than Keras's `fit`: no metrics, no callbacks."""

    def __init__(self, name: str, task: Task) -> None:
        if name in (PEFT, PEFT_FROZEN):
            import peft  # noqa: F401 (the library takes memory too, which training does not)
        torch.manual_seed(0)
        self._task = task
        tokens = tokens_of(name, task)
        self._model: Any = Model(task, tokens)
        self.peak_of_building = forget_peak()
        if name == TORCH_OURS:
            parametrize(tokens, "embeddings", Rows(slice(task.old, None)))
        if name in (TORCH_FROZEN, PEFT_FROZEN):
            self._model.requires_grad_(False)
        if name == PEFT:
            self._model = by_peft(self._model, task)
        if name == HOOK:
            new = (torch.arange(task.rows) >= task.old).reshape(-1, 1)
            self._model.tokens.weight.register_hook(lambda gradient: gradient * new)
        trained = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        kind = torch.optim.SparseAdam if name == SPARSE_ADAM else torch.optim.Adam
        self._optimizer = kind(trained, lr=1e-3) if trained else None

    def step_time(self, steps: int, epochs: int) -> float:
        batches = [torch.from_numpy(one).split(self._task.batch) for one in self._task.batches(steps)]
        for _ in range(epochs):
            began = time.perf_counter()
            for x, y in zip(*batches, strict=True):
                self._step(x, y)
        return 1000 * (time.perf_counter() - began) / steps

    def _step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        outputs = self._model(x)
        if self._task.tied:
            loss = functional.cross_entropy(outputs.flatten(0, 1), y.flatten().long())
        else:
            loss = functional.mse_loss(outputs, y)
        if self._optimizer is not None:
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()


@dataclass
class Config:
    """What PEFT asks a model of the transformers library for."""

    tie_word_embeddings: bool
    model_type: str = "small"


class Model(nn.Module):
    """The twin of the Keras model, with the names by which PEFT finds a tied head."""

    _tied_weights_keys = {"head.weight": "tokens.weight"}  # noqa: RUF012 (transformers has it so)

    def __init__(self, task: Task, tokens: nn.Module) -> None:
        super().__init__()
        self.config = Config(tie_word_embeddings=task.tied)
        self.tokens = tokens
        self.head = nn.Linear(task.width, 1, bias=False)
        if not task.tied:
            self.head.requires_grad_(False)
        elif isinstance(tokens, nn.Embedding):
            self.head.out_features, self.head.weight = task.rows, tokens.weight
        else:
            self.head = None

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.tokens(ids)
        if self.head is None:
            return self.tokens(hidden, reverse=True)
        return self.head(hidden if self.config.tie_word_embeddings else hidden.mean(1))

    def get_input_embeddings(self) -> nn.Module:
        return self.tokens

    def get_output_embeddings(self) -> nn.Module:
        return self.head


class Split(nn.Module):
    """Lookups in a frozen table and in a trained one of the new rows."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.register_buffer("old", torch.rand(task.old, task.width) / 10 - 0.05)
        self.new = nn.Parameter(torch.rand(task.new, task.width) / 10 - 0.05)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        place = ids - len(self.old)
        old = functional.embedding(ids.clamp(max=len(self.old) - 1), self.old)
        new = functional.embedding(place.clamp(min=0), self.new)
        return torch.where((place >= 0).unsqueeze(-1), new, old)


def tokens_of(name: str, task: Task) -> nn.Module:
    if name == TORCH_LIMIT:
        return Split(task)
    if name == TORCH_OURS:
        tokens: nn.Module = keras.layers.ReversibleEmbedding(task.rows, task.width, name="tokens")
        tokens.build()
        return tokens
    values = torch.rand(task.rows, task.width).mul_(0.1).sub_(0.05)
    return nn.Embedding.from_pretrained(values, freeze=False, sparse=name == SPARSE_ADAM)


def by_peft(model: Model, task: Task) -> Any:
    import peft

    config = peft.TrainableTokensConfig(token_indices=list(range(task.old, task.rows)))
    return peft.get_peft_model(model, config)
