"""The blocks of a model: layers, or groups of them, whose names number them, else layers of one class."""

from __future__ import annotations

import re
from collections import Counter

from frostline.errors import PlanError
from frostline.model.inventory import Inventory, LayerNode
from frostline.plan.globs import escaped, read_glob

_BLOCK = re.compile(r"(.*?(?:block|layer|stage)_?\d+[a-z]?(?:_(?:block|layer)_?\d+)?)(?:_.*)?")


def require_blocks(inventory: Inventory, blocks: str | None) -> list[str]:
    """Return a glob for each block of a model, as `find_blocks` does.

    Raises:
        PlanError: It has none.
    """
    found = find_blocks(inventory, blocks)
    if not found:
        raise PlanError(
            f"no blocks were found in the model {inventory.model_name!r}",
            received=f"blocks={blocks!r}"
            if blocks
            else "no layers whose names number a block, and none of one class side by side",
            remedy="say which layers are blocks: blocks='encoder/block_*'",
        )
    return found


def find_blocks(inventory: Inventory, blocks: str | None = None) -> list[str]:
    """Return a glob for each block of a model, from the input to the output.

    A block is a layer whose name numbers it, or the neighbours in a flat graph that share such a name. Only
    the outermost blocks count. Where no name does so, or only names within them do, blocks are the layers
    of one class that lie side by side and hold layers themselves, models left out; of several such classes,
    the one with the most elements.

    Args:
        inventory: The model's weights and layers.
        blocks: Glob on layer addresses, or None for the names that networks commonly use.
    """
    weights = {w.address for w in inventory.of_role("weight")}
    layers = [n for n in inventory.layers if n.address and not weights.isdisjoint(n.below)]
    if blocks is not None:
        expression = read_glob(blocks)
        picked = expression.matching(n.address for n in layers)
        return [f"{escaped(n.address)}/**" for n in layers if n.address in picked]
    found: dict[str, str] = {}
    within: set[str] = set()
    for node in layers:
        above, _, name = node.address.rpartition("/")
        match = _BLOCK.fullmatch(name)
        if match is None or any(node.address.startswith(f"{outer}/") for outer in within):
            continue
        within.add(node.address)
        prefix = f"{above}/" if above else ""
        block = escaped(f"{prefix}{match.group(1)}")
        found.setdefault(f"{block}/**" if match.group(1) == name else f"{block}_*/**", node.address)
    holders = _holders(layers)
    if whole := {block: address for block, address in found.items() if address in holders}:
        found = whole  # beside blocks that hold layers, single ones with a number are no blocks
    around = _repeated(inventory, layers)
    if all(any(address.startswith(f"{n.address}/") for n in around) for address in found.values()):
        return [f"{escaped(node.address)}/**" for node in around]
    return list(found)


def _repeated(inventory: Inventory, layers: list[LayerNode]) -> list[LayerNode]:
    """Return the layers of one class that lie side by side, if each holds several layers with weights."""
    import keras

    holders = _holders(layers)
    groups: dict[tuple[object, ...], list[LayerNode]] = {}
    for node in layers:
        if node.address in holders and not isinstance(node.layer, keras.Model):
            groups.setdefault((node.parents, type(node.layer), node.types), []).append(node)
    sizes = {w.address: w.size for w in inventory.of_role("weight")}
    several = [group for group in groups.values() if len(group) > 1]
    return max(several, key=lambda group: sum(sizes.get(a, 0) for n in group for a in n.below), default=[])


def _holders(layers: list[LayerNode]) -> set[str]:
    """Return the addresses of layers that hold several layers with weights."""
    inside = Counter(parent for node in layers for parent in node.parents)
    return {address for address, count in inside.items() if count > 1}
