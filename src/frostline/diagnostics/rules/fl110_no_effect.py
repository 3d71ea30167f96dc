"""FL110: a weight that the loss does not depend on but for rounding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from frostline.diagnostics.audit_rule import AuditRule
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.inspection import Inspection
from frostline.diagnostics.moved_weights import is_idle, values_of
from frostline.diagnostics.part_of_batch import sizes_over_some
from frostline.diagnostics.thresholds import ROUNDING
from frostline.diagnostics.update_size import root_mean_square
from frostline.errors import listed


class NoEffect(AuditRule):
    """Weight without effect on the loss.

    What it does:
        Finds biases and scales whose gradient on this batch is what rounding leaves of zero, beside those of
        the other weights of their layer: a shift, or a scale of each unit, in front of a normalization, which
        takes it out again. Where it is as small beside those of the other layers alone, as that of a single
        number for all units, the loss is computed with other numbers in it: it counts where that stays.

    Why it matters:
        Little: it learns nothing, and costs memory. Under Adam it moves all the same, since Adam divides the
        rounding by its own size.

    Example:
        [keras.layers.Dense(64), keras.layers.BatchNormalization()]

    Use instead:
        [keras.layers.Dense(64, use_bias=False), keras.layers.BatchNormalization()]
    """

    code, name, severity = "FL110", "no-effect", "note"

    def check(self, inspection: Inspection) -> Iterator[Finding]:
        """Yield one finding for all of them."""
        sizes = _sizes(inspection)
        layers = {address: inspection.inventory.by_address[address].layer for address in sizes}
        shapes = {address: inspection.inventory.by_address[address].shape for address in sizes}
        largest = {
            layer: max(size for address, size in sizes.items() if layers[address] == layer)
            for layer in set(layers.values())
        }
        shares = {a: size / largest[layers[a]] for a, size in sizes.items() if len(shapes[a]) == 1}
        tiny = [address for address, share in shares.items() if share < ROUNDING]
        if tiny:
            yield self.finding(
                tiny[0],
                f"the gradient with respect to {listed(tiny, most=4)} is what rounding leaves of zero: at "
                f"most {max(shares[address] for address in tiny):.0e} of that of another weight of the layer",
                _REMEDY,
            )
        if idle := [address for address in _without_effect(inspection, sizes) if address not in tiny]:
            yield self.finding(
                idle[0],
                f"the loss stays the same, but for rounding, with other numbers in {listed(idle, most=4)}: "
                "half as large again, and shifted",
                _REMEDY,
            )

    def failing(self) -> dict[str, Any]:
        """A bias in front of a BatchNormalization."""
        return _normalized(True)

    def passing(self) -> dict[str, Any]:
        """None there."""
        return _normalized(False)


def _without_effect(inspection: Inspection, sizes: Mapping[str, float]) -> list[str]:
    """Return the scalars and vectors with tiny gradients, or none, that the loss stays the same without."""
    known = {**dict.fromkeys(inspection.idle, 0.0), **sizes}
    shapes = {address: inspection.inventory.by_address[address].shape for address in sizes}
    computation = inspection.loss.computation(inspection.planned.trained)
    few = [one for one in sizes if len(shapes[one]) < 2 and _is_tiny_alone(one, sizes, shapes)][:_MOST]
    # What only cancels over this batch has a gradient over a part of it.
    some = sizes_over_some(inspection.loss, inspection.planned.trained) if few else {}
    least = _TINY * max(some.values(), default=0.0)
    few = [address for address in few if some.get(address, 0.0) <= least]
    values = {a: v for a, v in values_of(computation, few).items() if v.dtype.kind == "f"}
    if values and is_idle(computation, values):
        idle = set(values)
    else:
        alone = values.items() if len(values) > 1 else ()
        idle = {name for name, value in alone if is_idle(computation, {name: value})}
    return [address for address in known if address in idle | inspection.idle]


def _is_tiny_alone(address: str, sizes: Mapping[str, float], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a gradient is tiny and that of the kernel in front of it is not, as where all vanish."""
    largest = max(sizes.values())
    if sizes[address] >= _TINY * largest:
        return False
    order = list(sizes)
    place = order.index(address)
    near = [*reversed(order[:place]), *order[place:]]  # of the first layer the kernel behind it
    kernel = next((one for one in near if len(shapes[one]) > 1), None)
    return kernel is not None and sizes[kernel] >= _USUAL * largest


_TINY = 1e-4
"""What part of the largest gradient one has at most that is looked at; other numbers in the weight decide."""

_MOST = 8
"""How many are tried by themselves."""

_USUAL = 1e-3
"""What part of the largest gradient of the model that of a kernel has which does not vanish."""

_REMEDY = "leave it out (use_bias=False in front of a normalization), or let it be: it does no harm"


def _sizes(inspection: Inspection) -> dict[str, float]:
    """Return the root mean square of the gradient of each weight that trains and has one that is not zero."""
    gradients = inspection.measured.gradients if inspection.measured else {}
    found = ((w.address, gradients.get(w.address)) for w in inspection.weights)
    return {a: root_mean_square(g) for a, g in found if g is not None and g.any() and np.isfinite(g).all()}


def _normalized(bias: bool) -> dict[str, Any]:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, use_bias=bias, name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(2, name="head"),
        ]
    )
    model.compile("sgd", "mse")
    x, y = rng.normal(size=(16, 4)).astype("float32"), rng.normal(size=(16, 2)).astype("float32")
    return {"model": model, "x": x, "y": y}
