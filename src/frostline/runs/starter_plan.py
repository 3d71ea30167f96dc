"""A commented plan to start from, written for one model."""

from __future__ import annotations

import json
from typing import Any

from frostline.errors import ModelError
from frostline.model.inventory import Inventory, LayerNode, inventory
from frostline.plan.blocks import find_blocks
from frostline.plan.globs import escaped
from frostline.plan.presets import linear_probe

_TEXT = """\
# What trains in {model}, and what stays fixed. Preview it with: frostline plan MODEL THIS_FILE
frostline: 1

# What happens to a weight that no rule picks: freeze or train.
default: freeze

# How frozen layers with moving statistics (BatchNormalization) run: inference keeps the statistics, update
# lets them move.
batchnorm: inference

# How dropout and noise run inside frozen blocks: inference (off) or active.
stochastic: inference

{rules}"""

_RULES = """\
# Rules in order; the last one that picks a weight decides. A selector is a glob on addresses (* within a
# segment, ** across segments, {{a,b}}, [0-9]), or re:, type:, first:3, last:3, layer:NAME.
rules:
  # The head: {head_count} weights, {head_elements:,} elements.
  - train: {head}
{comments}"""

_BLOCKS = """
  # The last of {count} blocks too, at a tenth of the learning rate:
  # - train: {last}
  #   lr: 0.1
"""

_TOP = """
  # The layer before it too, at a tenth of the learning rate:
  # - train: {last}
  #   lr: 0.1
"""

_BIASES = """
  # Every bias too (BitFit):
  # - train: "**/{names}"
"""


def starter_plan(model: Any) -> str:
    """Return a plan file for a model: its head trains, further rules stand in it as comments.

    Args:
        model: A built Keras model.

    Raises:
        UnbuiltModelError: The model has no weights yet.
        ModelError: It has no layer whose weights could train.
    """
    rules = starter_rules(model)
    return _TEXT.format(model=inventory(model).model_name, rules=rules)


def starter_rules(model: Any) -> str:
    """Return the rules of such a plan, with their comments; arguments and errors as for `starter_plan`."""
    weights = inventory(model)
    if not weights.top:
        raise ModelError(f"the model {weights.model_name!r} has no layer with weights that could train")
    resolution = linear_probe().resolve(model)
    return _RULES.format(
        head=_quoted(_all_in(weights.top[-1])),
        head_count=len(resolution.trained),
        head_elements=resolution.trained_elements,
        comments=_comments(weights),
    )


def _comments(weights: Inventory) -> str:
    comments = ""
    head = escaped(weights.top[-1].address)
    blocks = [glob for glob in find_blocks(weights) if not glob.startswith(f"{head}/")]
    if blocks:
        comments += _BLOCKS.format(count=len(blocks), last=_quoted(blocks[-1]))
    elif len(weights.top) > 1:
        comments += _TOP.format(last=_quoted(_all_in(weights.top[-2])))
    names = sorted({w.name for w in weights.of_role("weight")} & {"bias", "beta"})
    if names:
        comments += _BIASES.format(names=f"{{{','.join(names)}}}" if len(names) > 1 else names[0])
    return comments


def _all_in(layer: LayerNode) -> str:
    return f"{escaped(layer.address)}/**"


def _quoted(text: str) -> str:
    """Text in double quotes, as YAML and JSON both write it."""
    return json.dumps(text, ensure_ascii=False)
