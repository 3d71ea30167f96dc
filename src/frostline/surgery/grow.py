"""Enlarging the vocabulary of a model, for new tokens whose rows alone are to be trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from frostline.errors import GrowingError, listed, near
from frostline.model.inventory import Inventory, Weight, inventory
from frostline.plan.plan import Plan
from frostline.surgery.new_rows import Start, read_start
from frostline.surgery.rebuild import Growth, Pair, matched, rebuilt


def grow_embedding(
    model: Any,
    address: str,
    rows: int = 10,
    initializer: Any = "mean",
    *,
    head: str | Sequence[str] = (),
    build: Callable[[int], Any] | None = None,
) -> tuple[Any, Plan]:
    """Return a model with a larger vocabulary, and the plan that trains its new rows alone.

    The model is made anew from its configuration, as on loading a file, with another number in the settings
    of the layer that holds the table; then it takes the values and flags of the old one, bit by bit. So
    graphs, shapes, custom layers and saved files know of the new size, and the old model stays as it was.
    For old ids the new table gives the same bits; logits of a larger head may round otherwise, since the
    backend multiplies other shapes.

    What the same layer projects back with grows too: the tied table of `ReversibleEmbedding` as a matter of
    course, its `reverse_embeddings` where it is not tied. Name other output layers as `head`.

    The new model is not compiled: an optimizer's slots belong to the weights that it was built for.

    Args:
        model: A built Functional, Sequential or subclassed model. It needs a configuration that is complete,
            as saving it does, or `build`.
        address: Of the table, such as `"tokens/embeddings"`: (rows, dim) or of more axes, floating-point.
        rows: How many rows are new, at least 1. They come last.
        initializer: What they start from: `"mean"` of all old rows, `"zeros"`, an initializer of Keras, an
            array of shape (rows, dim), or the ids of the old rows that each starts as the mean of: lists of
            ids, or a function that returns them for the number of a new row, from 0. Weights of a head start
            likewise; at the mean, where an array or an initializer of Keras is given.
        head: Names or addresses of layers that project onto the vocabulary with weights of their own, such
            as a `Dense` with one unit for each row.
        build: Makes a new, built model with the given number of rows, where the configuration does not.

    Returns:
        The new model, and a plan of one rule for each weight that grew.

    Raises:
        GrowingError: The vocabulary cannot be enlarged so.
        ModelError: There is no layer `head`.
        UnbuiltModelError: The model has no weights yet.

    Source:
        The mean of the old rows as a start: Hewitt, Initializing New Word Embeddings for Pretrained Language
        Models, 2021, https://nlp.stanford.edu/~johnhew/vocab-expansion.html.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Embedding(100, 8, name="tokens")])
        >>> larger, plan = grow_embedding(model, "tokens/embeddings", rows=10)
        >>> print(larger.get_layer("tokens").input_dim, model.get_layer("tokens").input_dim)
        110 100
        >>> larger, _ = grow_embedding(model, "tokens/embeddings", rows=2, initializer=[[7], [3, 5]])
    """
    model_inventory = inventory(model)
    table = _table(model_inventory, address)
    _require_growable(model_inventory, table)
    if not isinstance(rows, int | np.integer) or isinstance(rows, bool) or rows < 1:
        raise GrowingError(
            "rows must be the number of new rows", received=repr(rows), expected="a whole number from 1 up"
        )
    start = read_start(initializer, int(rows), table.shape)
    names = [head] if isinstance(head, str) else list(head)
    before = table.shape[0]
    growth = Growth(
        before, before + int(rows), table, tuple(model_inventory.find_layer(name) for name in names)
    )
    if build is None:
        made, pairs = rebuilt(model, model_inventory, growth)
    else:
        made = build(growth.after)
        pairs = matched(model_inventory, inventory(made), growth)
    for pair in pairs:
        _carry_over(pair, start, growth)
    return made, _plan(pairs, before)


def _table(model_inventory: Inventory, address: Any) -> Weight:
    weight = model_inventory.by_address.get(address) if isinstance(address, str) else None
    if weight is None:
        tables = [a for w in model_inventory.of_role("weight") if len(w.shape) > 1 for a in w.addresses]
        close = near(address, tables) if isinstance(address, str) else []
        raise GrowingError(
            f"the model {model_inventory.model_name!r} has no weight {address!r}",
            expected="the address of a table with one row for each entry of the vocabulary",
            remedy=f"did you mean {listed(close)}?"
            if close
            else "see frostline.inventory(model) for the addresses",
        )
    if weight.role != "weight" or len(weight.shape) < 2 or "float" not in weight.dtype:
        raise GrowingError(
            f"{address!r} is not a table of trainable rows",
            received=f"a {weight.role} of shape {weight.shape}, {weight.dtype}",
            expected="a weight with one row for each entry of the vocabulary, of floating-point numbers",
        )
    return weight


def _require_growable(model_inventory: Inventory, table: Weight) -> None:
    node = model_inventory.layer_by_address[table.layer]
    if node.quantized:
        raise GrowingError(
            f"{table.address!r} belongs to a quantized layer, whose numbers do not train",
            received=f"{node.address!r}, quantized as {node.layer.quantization_mode!r}",
            remedy="grow and train first, then quantize",
        )
    if getattr(node.layer, "lora_enabled", False):
        raise GrowingError(
            f"{table.address!r} belongs to a layer with an adapter of Keras's own (enable_lora)",
            remedy="grow first, then add adapters; fl.LowRank can be removed again",
        )
    made_of = [weight.address for weight in model_inventory if weight.combination is not None]
    if made_of:
        raise GrowingError(
            "the model has parametrized weights, which a configuration does not include",
            received=listed(made_of),
            remedy="call fl.merge(model) first, or remove() what fl.parametrize returned",
        )


def _carry_over(pair: Pair, start: Start, growth: Growth) -> None:
    values = pair.old.numpy()
    if pair.axis is not None:
        old = np.moveaxis(values, pair.axis, 0)
        first = start.table if pair.old is growth.table else start.beside
        new = first(old, growth.after - growth.before).astype(values.dtype)
        values = np.moveaxis(np.concatenate([old, new]), 0, pair.axis)
    pair.new.variable.assign(values)
    pair.new.variable.trainable = pair.old.variable.trainable


def _plan(pairs: Sequence[Pair], before: int) -> Plan:
    plan = Plan()
    for pair in pairs:
        if pair.axis is None:
            continue
        new = slice(before, None)
        if pair.axis == 0:
            plan = plan.train(pair.new.address, rows=new)
        elif pair.axis == len(pair.new.shape) - 1:
            plan = plan.train(pair.new.address, columns=new)
        else:
            plan = plan.train(pair.new.address, index=(slice(None),) * pair.axis + (new,))
    return plan
