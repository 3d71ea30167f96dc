"""What is given as a model and is none of Keras 3 is refused by what it is, wherever a model is asked for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import frostline as fl
from frostline.errors import ModelError
from frostline.model.foreign_models import foreign_model
from helpers.foreign_models import SAYS, foreign_models
from helpers.small_models import two_dense

PLAN = fl.Plan().train("**")
X, Y = np.ones((4, 2), "float32"), np.ones((4, 2), "float32")
ADAPTER = Path(__file__).parents[2] / "saved" / "peft_adapter"

ENTRIES: dict[str, Callable[[Any], Any]] = {
    "inventory": fl.inventory,
    "resolve": lambda model: fl.resolve(model, PLAN),
    "Plan.resolve": PLAN.resolve,
    "apply": lambda model: fl.apply(model, PLAN),
    "applied": lambda model: fl.applied(model, PLAN).__enter__(),
    "fit": lambda model: fl.fit(model, PLAN, X, Y),
    "fit, phases": lambda model: fl.fit(model, fl.lp_ft(head="a/**"), X, Y),
    "fit, resume": lambda model: fl.fit(model, PLAN, X, Y, resume="run"),
    "optimizer_for": lambda model: fl.optimizer_for(model, PLAN, "adam"),
    "audit": lambda model: fl.audit(model, X, Y),
    "why": lambda model: fl.why(model, "a/kernel", X, Y),
    "why_all": lambda model: fl.why_all(model, X, Y),
    "intermediates": lambda model: fl.intermediates(model, X, Y),
    "what_if": lambda model: fl.what_if(model, X, Y, block="a"),
    "check_gradients": lambda model: fl.check_gradients(model, X, Y),
    "fingerprint": fl.fingerprint,
    "fingerprint, plan": lambda model: fl.fingerprint(model, PLAN),
    "verify": lambda model: fl.verify(model, fl.fingerprint({}), PLAN),
    "save_model": lambda model: fl.save_model(model, "saved.keras"),
    "save_delta": lambda model: fl.save_delta(model, "saved.safetensors", base=fl.fingerprint({})),
    "load_delta": lambda model: fl.load_delta(model, "saved.safetensors"),
    "deltas": fl.deltas,
    "remove_delta": lambda model: fl.remove_delta(model, "one"),
    "export_peft": lambda model: fl.export_peft(model, "adapter"),
    "import_peft": lambda model: fl.import_peft(model, ADAPTER),
    "parametrize": lambda model: fl.parametrize(model, "a/kernel", fl.Scale()),
    "merge": fl.merge,
    "grow_embedding": lambda model: fl.grow_embedding(model, "tokens/embeddings", rows=1),
    "last_blocks": lambda model: fl.last_blocks(model, 1),
    "layerwise_lr_decay": fl.layerwise_lr_decay,
    "discriminative": fl.discriminative,
    "gradual_unfreezing": fl.gradual_unfreezing,
}
"""Every public function that takes a model."""


EACH = [(entry, kind) for entry in ENTRIES for kind in ("PyTorch", "Keras 2", "a name")]


@pytest.mark.parametrize(
    ("entry", "kind"), [*EACH, *(("apply", kind) for kind in SAYS), *(("fit", kind) for kind in SAYS)]
)
def test_every_entry_says_what_it_is(
    entry: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as caught:
        ENTRIES[entry](foreign_models()[kind])
    for words in SAYS[kind]:
        assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_no_entry_is_left_out() -> None:
    """What takes a `model` first is in the list."""
    functions = {name: getattr(fl, name) for name in fl.__all__ if name[0].islower() and name != "layers"}
    takes = {
        n
        for n, f in functions.items()
        if inspect.isfunction(f) and next(iter(inspect.signature(f).parameters), "") == "model"
    }
    assert takes - {name.partition(",")[0] for name in ENTRIES} == set()


def test_the_whole_message() -> None:
    with pytest.raises(ModelError) as caught:
        fl.fit(foreign_models()["PyTorch"], PLAN, X, Y)
    assert str(caught.value) == (
        "this is a PyTorch module, and only a keras.Model can be trained.\n"
        "  received: an object of type mine.MyModel\n"
        "  expected: a built and compiled keras.Model\n"
        "  fix:      keras.layers.TorchModuleWrapper(module) is a Keras layer, for a keras.Model that "
        "Frostline trains; as it is, fl.explain(loss_fn, module) says which of its parameters get a gradient"
        ", and fl.fingerprint(dict(module.named_parameters())) and fl.verify which of them moved; both with "
        "KERAS_BACKEND=torch"
    )


def test_what_nobody_knows_is_refused_as_before() -> None:
    for model in (None, 3, {}, object(), len, keras.Variable(1.0)):
        assert foreign_model(model) is None
        with pytest.raises(ModelError, match="this is not a Keras model"):
            fl.inventory(model)


def test_models_and_layers_of_keras_are_none_of_these() -> None:
    """On PyTorch they are modules of PyTorch, too."""
    fl.inventory(two_dense())
    with pytest.raises(ModelError) as caught:
        fl.fit(keras.layers.Dense(2), PLAN, X, Y)
    assert str(caught.value).startswith("only a keras.Model can be trained.")


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="of PyTorch")
def test_what_the_message_offers_for_pytorch_works() -> None:
    import torch
    import transformers

    config = transformers.BertConfig(
        vocab_size=8, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4
    )
    bert = transformers.BertModel(config)
    assert foreign_model(bert).what == "a model of Transformers"  # type: ignore[union-attr]
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 2))
    assert foreign_model(module).what == "a PyTorch module"  # type: ignore[union-attr]
    before = fl.fingerprint(dict(module.named_parameters()))
    with torch.no_grad():
        module[1].bias += 1
    assert fl.verify(dict(module.named_parameters()), before, ["1.bias"]).ok
    answer = fl.explain(lambda: module(torch.ones(1, 2)).sum(), dict(module.named_parameters()))
    assert answer["0.weight"].status == "trains"
    wrapped = keras.Sequential([keras.Input((2,)), keras.layers.TorchModuleWrapper(module, name="net")])
    wrapped.compile("sgd", "mse")
    assert fl.fit(wrapped, PLAN, X, Y, epochs=1, verbose=0).verification.ok
