"""`frostline show`: the weights of a model, by address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frostline.cli import options

if TYPE_CHECKING:
    from rich.console import ConsoleRenderable

    from frostline.model.inventory import Inventory

NAME = "show"
EXAMPLE = "Example: frostline show model.keras --full"


def run(
    model: options.Model,
    full: options.Full = False,
    json: options.Json = False,
    *,
    loading: options.Loading,
) -> None:
    """Show the weights of a model by address.

    Addresses, shapes, and which of them Keras would train now.
    """
    loaded = loading.load(model, quiet=json)
    from frostline.model.inventory import inventory

    found = inventory(loaded)
    if json:
        options.show_json(_data(found))
    else:
        options.show(_table(found, full=full))


def _data(inventory: Inventory) -> dict[str, Any]:
    return {
        "frostline": 1,
        "model": inventory.model_name,
        "weights": [
            {
                "address": w.address,
                "aliases": list(w.aliases),
                "role": w.role,
                "shape": list(w.shape),
                "dtype": w.dtype,
                "elements": w.size,
                "flag": bool(w.variable.trainable),
            }
            for w in inventory.of_role("weight", "statistic", "seed")
        ],
    }


def _table(inventory: Inventory, *, full: bool) -> ConsoleRenderable:
    from frostline.render.tables import bytes_text, count, stacked

    weights = inventory.of_role("weight", "statistic")
    elements = sum(w.size for w in weights)
    size = bytes_text(sum(w.nbytes for w in weights))
    flagged = sum(w.size for w in inventory.of_role("weight") if w.variable.trainable)
    return stacked(
        _weights(inventory) if full else _layers(inventory),
        "",
        f"{inventory.model_name}: {count(len(weights), 'weight')}, {elements:,} elements, {size}; "
        f"Keras would train {flagged:,} of them now",
        *(() if full else ("addresses of the weights: --full",)),
    )


def _weights(inventory: Inventory) -> ConsoleRenderable:
    from frostline.render.tables import table

    rows = [
        (
            w.address,
            " x ".join(map(str, w.shape)) or "scalar",
            f"{w.size:,}",
            w.dtype,
            w.role,
            "trains" if w.variable.trainable else "",
        )
        for w in inventory.of_role("weight", "statistic")
    ]
    columns = ("address", "shape", "elements", "dtype", "role", "Keras's flag")
    return table(columns, rows, numbers=("elements",), title=inventory.model_name)


def _layers(inventory: Inventory) -> ConsoleRenderable:
    from frostline.render.tables import table

    rows = []
    for node in inventory.layers:
        own = [inventory.by_address[a] for a in node.own if inventory.by_address[a].layer == node.address]
        if own:
            training = sum(w.role == "weight" and w.variable.trainable for w in own)
            kinds = ", ".join(w.name for w in own)
            of = sum(w.role == "weight" for w in own)
            rows.append(
                (
                    node.address or "(the model itself)",
                    type(node.layer).__name__,
                    kinds,
                    f"{sum(w.size for w in own):,}",
                    f"{training} of {of}" if of else "",
                )
            )
    columns = ("layer", "type", "weights", "elements", "flagged to train")
    return table(columns, rows, numbers=("elements",), title=inventory.model_name)
