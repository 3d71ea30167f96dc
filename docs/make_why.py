"""Writes `why.md` by asking about six cases of `tests/cases`: `KERAS_BACKEND=jax python docs/make_why.py`."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "why.md"
BACKEND = "jax"
"""The backend whose answers are printed. Those of the others differ in the names of some operations."""

HEAD = """\
# Why does my weight not train?

<!-- Written by docs/make_why.py, which runs what is shown. Do not edit. -->

A weight learns from its gradient: the derivative of the loss by that weight. Training computes it by going
back from the loss through every operation on the way to the weight. Some operations let nothing back. Then
the weight stands still; JAX and PyTorch say nothing about it, and TensorFlow says that a gradient is
missing, not why.

Frostline says why (`import frostline as fl`). Ask before training, with one batch of data; nothing is
trained, and the model is left as it was:

| question | answer |
| --- | --- |
| `fl.audit(model, x, y)` | what becomes of every weight of a model, and what else is wrong |
| `fl.why(model, "head/kernel", x, y)` | one weight: its status, where its gradient stops, and what to do |
| `fl.explain(loss_fn, variables)` | the same for variables, a PyTorch module, a pytree, or Flax NNX |

Each weight has one status:

| status | meaning | does it train? |
| --- | --- | --- |
| `trains` | a gradient reaches it | yes |
| `partial` | the same, for some of its elements | these elements |
| `frozen` | it is meant to stay fixed, and does | no, as planned |
| `cut` | the loss is computed from it, and on every way back something stops the gradient | no |
| `unused` | the loss is not computed from it at all | no |
| `zero` | the way back is open, and what comes is exactly zero on this batch | not on this batch |
| `not_finite` | what comes back on this batch has NaN or infinity in it | it becomes NaN |
| `leaks` | it is meant to stay fixed, and something writes to it | it moves, unplanned |
| `stale` | its flag was changed after the training function was compiled | not as its flag says |
| `untracked` | the loss is computed from it, and the model does not know it | no, and it is not saved |

A status is of the loss of the data, as a training step in half precision scales it. What regularizers alone
move is said in a note. So is what `add_loss` in the model's own code trains, and that counts as planned: the
codes of a VQ-VAE, an auxiliary head. Where the model has no other loss, `add_loss` is the loss.

Below are six models and functions with the answers as they are printed (here with Keras on JAX). In the
code `# cut` marks the line that stops the gradient, so that you can check the answer. What each code such
as `FL101` means stands in [rules.md](rules.md).

The code imports `keras` first, which runs on the backend that `KERAS_BACKEND` names and, where nothing is
set, looks for TensorFlow: start it as `KERAS_BACKEND=jax python program.py`.
"""


def page() -> str:
    """Ask, and return the page."""
    return HEAD + "".join(f"\n{_section(*case)}" for case in CASES)


def _section(title: str, name: str, ask: Callable[[Any], tuple[str, Any]], before: str, after: str) -> str:
    import keras

    from helpers import case_files

    keras.backend.clear_session()
    case = case_files.load(name)
    question, answer = ask(case)
    return (
        f"## {title}\n\n{_wrapped(before)}\n\n```python\n{_source(case)}\n```\n\n"
        f"```pycon\n>>> {question}\n{str(answer).rstrip()}\n```\n\n{_wrapped(after)}\n"
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _source(case: Any) -> str:
    """The file of a case as a user would have written it: without what the tests expect of it."""
    text = Path(case.module.__file__).read_text(encoding="utf-8")
    text = text.partition('"""\n\n')[2]
    text = re.sub(r"^(EXPECT|EXPECT_ON) = \{.*?\}.*?\n", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^(OPERATION|LAYER|PLACED|RAISES) = .*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{4,}", "\n\n\n", text).strip()


def _audit(case: Any) -> tuple[str, Any]:
    import frostline as fl

    model, x, y = case.module.model()
    shown, loss = _loss(case)
    return f"model, x, y = model()\n>>> fl.audit(model, x, y, loss={shown})", fl.audit(model, x, y, loss=loss)


def _why(weight: str) -> Callable[[Any], tuple[str, Any]]:
    def ask(case: Any) -> tuple[str, Any]:
        import frostline as fl

        model, x, y = case.module.model()
        shown, loss = _loss(case)
        question = f'model, x, y = model()\n>>> fl.why(model, "{weight}", x, y, loss={shown})'
        return question, fl.why(model, weight, x, y, loss=loss)

    return ask


def _loss(case: Any) -> tuple[str, Any]:
    return ("loss", case.option("loss")) if case.option("loss") else ('"mse"', "mse")


def _explain(case: Any) -> tuple[str, Any]:
    import frostline as fl

    return "fl.explain(*case())", fl.explain(*case.module.case())


CASES = (
    (
        "A layer stops the gradient",
        "stop_gradient_in_nested_model",
        _audit,
        "A `stop_gradient` inside a model that is itself part of another one. Nothing fails and the loss "
        "falls, since `head` learns; `first` never does.",
        "The answer names the line, and the route says how the weight gets there: from `first` through "
        "the layer `stopping` to the operation that stops. `head` stands behind that place, so it trains.",
    ),
    (
        "An operation without a derivative",
        "round",
        _explain,
        "`round` is flat between its steps: a small change of its input changes nothing, so its "
        "derivative is zero wherever it has one. This is a loss function without a model, asked about "
        "with `fl.explain`.",
        "The remedy is the straight-through estimator: forwards the rounded value, backwards as if there "
        "were no rounding. `floor`, `ceil` and `sign` are of the same kind.",
    ),
    (
        "A choice is an integer",
        "embedding_fed_by_argmax",
        _why("choose/kernel"),
        "The model chooses an id and looks up its row. An index is an integer, and no gradient "
        "passes through an integer: the table learns, the layer that chooses does not.",
        "The same happens with comparisons, casts to integers, `top_k`'s indices, and `one_hot` of any of"
        " these.",
    ),
    (
        "The loss does not look at it",
        "output_of_model_left_out",
        _audit,
        "A model with two outputs, only one of which the loss is computed from.",
        "`unused` is not `cut`: no operation stops a gradient; the loss makes no use of this output. Layers "
        "that are made and never called look the same, with another remedy.",
    ),
    (
        "The way is open, and nothing comes",
        "dead_relu",
        _why("first/kernel"),
        "Every unit of the first layer is off for every sample: its bias is far below zero, and a ReLU is"
        " flat there.",
        "This is a fact about these data, and not about the code: another batch may give another answer. "
        "`head/bias` trains anyway, for it does not depend on what the units give.",
    ),
    (
        "The model does not know the variable",
        "layer_created_in_call",
        _audit,
        "A layer that is made inside `call` is a new one, with new random weights, at every call.",
        "Such weights are computed with, and never trained or saved. Raw variables of the backend, and "
        "layers in containers that Keras does not look into, are found in the same way.",
    ),
)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    PAGE.write_text(page(), encoding="utf-8")
