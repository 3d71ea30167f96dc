"""Plans for common ways of fine-tuning, as functions. Each returns plain rules that print as such."""

from __future__ import annotations

import re
from typing import Any

from frostline.address import Inventory, inventory
from frostline.errors import PlanError
from frostline.globs import escaped, glob_to_regex
from frostline.plan import Plan

_BLOCK = re.compile(r"(.*?(?:block|layer|stage)_?\d+[a-z]?(?:_(?:block|layer)_?\d+)?)(?:_.*)?")


def linear_probe(head: str = "last:1") -> Plan:
    """Train the head alone, on features of a frozen network.

    Args:
        head: Selector of the head; by default the last top-level layer that has weights.

    Source:
        Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2016.

    Example:
        >>> print(linear_probe())
        default: freeze
        1. train 'last:1'
    """
    return Plan().train(head)


def bitfit(head: str = "last:1") -> Plan:
    """Train every bias, the shift of normalizations included, and the head.

    Args:
        head: Selector of the head; by default the last top-level layer that has weights.

    Source:
        Ben Zaken, Ravfogel and Goldberg, "BitFit", ACL 2022.

    Example:
        >>> print(bitfit())
        default: freeze
        1. train '**/{bias,beta}'
        2. train 'last:1'
    """
    return Plan().train("**/{bias,beta}").train(head)


def last_blocks(
    model: Any, count: int, *, blocks: str | None = None, head: str = "last:1", lr: float = 1.0
) -> Plan:
    """Train the last blocks of a network and its head.

    Args:
        model: The model, whose blocks are looked up by the names of its layers.
        count: How many blocks, counted from the output.
        blocks: Glob on layer addresses that picks the blocks, such as `encoder/block_*`. By default, layers
            whose names number a block, layer or stage (`block_3`, `conv5_block2_1_conv`, `block6a_...`).
        head: Selector of the head; by default the last top-level layer that has weights.
        lr: Multiplier of the learning rate for the blocks; the head keeps the full rate.

    Raises:
        PlanError: The model has no such blocks, or fewer than asked for.

    Example:
        >>> import keras
        >>> names = ("block_0", "block_1", "head")
        >>> layers = [keras.layers.Dense(2, name=name) for name in names]
        >>> print(last_blocks(keras.Sequential([keras.Input((2,)), *layers]), 1))
        default: freeze
        1. train 'block_1/**'
        2. train 'last:1'
    """
    held = inventory(model)
    found = find_blocks(held, blocks)
    if not isinstance(count, int) or not 1 <= count <= len(found):
        raise PlanError(
            f"cannot train the last {count} blocks of the model {held.model_name!r}",
            received=f"{len(found)} blocks found: {', '.join(found) or 'none'}",
            expected="a count from 1 to the number of blocks",
            remedy="say which layers are blocks: blocks='encoder/block_*'",
        )
    plan = Plan()
    for glob in found[-count:]:
        plan = plan.train(glob, lr=lr)
    return plan.train(head)


def find_blocks(held: Inventory, blocks: str | None = None) -> list[str]:
    """Return a glob for each block of a model, from the input to the output.

    A block is a layer whose name numbers it, or the neighbours in a flat graph that share such a name. Only
    the outermost blocks count.

    Args:
        held: The model's weights and layers.
        blocks: Glob on layer addresses, or None for the names that networks commonly use.
    """
    weights = {w.address for w in held.of_role("weight")}
    layers = [n for n in held.layers if n.address and not weights.isdisjoint(n.below)]
    if blocks is not None:
        expression = glob_to_regex(blocks)
        return [f"{escaped(n.address)}/**" for n in layers if expression.fullmatch(n.address)]
    found: dict[str, None] = {}
    within: set[str] = set()
    for node in layers:
        above, _, name = node.address.rpartition("/")
        match = _BLOCK.fullmatch(name)
        if match is None or any(node.address.startswith(f"{outer}/") for outer in within):
            continue
        within.add(node.address)
        prefix = f"{above}/" if above else ""
        whole = match.group(1) == name
        block = escaped(f"{prefix}{match.group(1)}")
        found[f"{block}/**" if whole else f"{block}_*/**"] = None
    return list(found)
