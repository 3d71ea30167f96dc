"""A commented plan to start from, written for one model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frostline.errors import ModelError
from frostline.files.generated import require_means
from frostline.model.inventory import Inventory, LayerNode, inventory
from frostline.plan.blocks import find_blocks
from frostline.plan.file import PLAN
from frostline.plan.globs import escaped
from frostline.plan.presets import linear_probe
from frostline.render.documents import comment, yaml_quoted

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


def starter_plan(model: Any, name: Path = Path("plan.yaml")) -> str:
    """Return a plan file for a model: its head trains, further rules stand in it as comments.

    Args:
        model: A built Keras model.
        name: Of the file, for messages.

    Raises:
        PlanFileError: A plan that says so cannot be written.
        UnbuiltModelError: The model has no weights yet.
        ModelError: It has no layer whose weights could train.
    """
    rules, meant = starter_rules(model)
    text = _TEXT.format(model=comment(inventory(model).model_name), rules=rules)
    policies = {"default": "freeze", "batchnorm": "inference", "stochastic": "inference"}
    require_means(text, {"frostline": 1, **policies, "rules": meant}, name, PLAN)
    return text


def starter_rules(model: Any) -> tuple[str, list[dict[str, str]]]:
    """Return the rules of such a plan as text with comments, and what is to be read of it."""
    weights = inventory(model)
    if not weights.top:
        raise ModelError(f"the model {weights.model_name!r} has no layer with weights that could train")
    resolution = linear_probe().resolve(model)
    head = _all_in(weights.top[-1])
    text = _RULES.format(
        head=yaml_quoted(head),
        head_count=len(resolution.trained),
        head_elements=resolution.trained_elements,
        comments=_comments(weights),
    )
    return text, [{"train": head}]


def _comments(weights: Inventory) -> str:
    comments = ""
    head = escaped(weights.top[-1].address)
    blocks = [glob for glob in find_blocks(weights) if not glob.startswith(f"{head}/")]
    if blocks:
        comments += _BLOCKS.format(count=len(blocks), last=yaml_quoted(blocks[-1]))
    elif len(weights.top) > 1:
        comments += _TOP.format(last=yaml_quoted(_all_in(weights.top[-2])))
    names = sorted({w.name for w in weights.of_role("weight")} & {"bias", "beta"})
    if names:
        comments += _BIASES.format(names=f"{{{','.join(names)}}}" if len(names) > 1 else names[0])
    return comments


def _all_in(layer: LayerNode) -> str:
    return f"{escaped(layer.address)}/**"
