"""What tests of a backend's reader ask of a trace."""

from __future__ import annotations

from typing import Any

from frostline.graph.flow import Flow
from frostline.graph.ir import Leaf, Node
from frostline.graph.reader import Trace


def standings(seen: Trace) -> dict[str, str]:
    """Whether a gradient comes back to each weight, by name."""
    flow = Flow(seen.graph)
    return {name: flow.structural_status(index) for name, index in seen.graph.weights.items()}


def leaves(seen: Trace, *kinds: Any) -> list[Leaf]:
    """The leaves of some kinds."""
    return [leaf for _, leaf in seen.graph.leaves(*kinds)]


def nodes(seen: Trace) -> list[Node]:
    """What is computed: all that is not a leaf."""
    return [node for node in seen.graph.nodes if isinstance(node, Node)]
