"""FL601: units of a layer went out of use during training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import keras

from frostline.diagnostics.finding import Finding, Severity
from frostline.diagnostics.thresholds import OUT_SHARE
from frostline.diagnostics.training_rule import Program, TrainingRule
from frostline.diagnostics.training_rules._programs import regression, two_layers
from frostline.diagnostics.training_rules._seen import is_finite, is_solved
from frostline.diagnostics.watched import Units, Watched
from frostline.errors import listed


class UnitsDied(TrainingRule):
    """Units of a layer died during training.

    What it does:
        Finds units that got a gradient at an earlier look and get none from any sample at the last one (a
        ReLU that nothing switches on any more), and units whose output came to lie at a bound of its
        activation for every sample. Half of a layer or more is a warning, fewer are a note: those are
        looked at once more, on up to 256 samples, and must have been well in use before.

    Why it matters:
        What is before such a unit learns no more, so it stays as it is: the layer does the work of the units
        that are left. One large step is enough.

    Example:
        model.compile(keras.optimizers.SGD(5.0), "mse")
        fl.fit(model, plan, x, y, watch=True)

    Use instead:
        model.compile(keras.optimizers.SGD(0.05), "mse")
        fl.fit(model, plan, x, y, watch=True)
    """

    code, name, severity = "FL601", "units-died", "warning"

    def check(self, watched: Watched) -> Iterator[Finding]:
        """Yield one finding for each layer."""
        looks = watched.looks
        if len(looks) < 2 or is_solved(watched) or not is_finite(watched):
            return
        last = watched.last
        when = last.when if last is not None else ""
        for look_kind, what in (
            ("dead", "get no gradient from any sample any more"),
            ("saturated", "have come to lie at a bound of their activation for every sample"),
        ):
            now: Mapping[str, Units] = getattr(looks[-1], look_kind)
            for address, units in now.items():
                most = units.share >= OUT_SHARE
                if not most and not (look_kind == "dead" and looks[-1].confirmed):
                    continue
                seen = [getattr(look, look_kind).get(address) for look in looks[:-1]]
                gone = sorted(_used(seen, weak=most).intersection(units.out))
                if not gone:
                    continue
                yield self._found(address, gone, units, f"{what}, after {when}", most)

    def _found(self, address: str, gone: list[int], units: Units, what: str, most: bool) -> Finding:
        severity: Severity = self.severity if most else "note"
        named = f" ({listed(map(str, gone), most=4)})" if len(gone) < units.count else ""
        return self.finding(
            address,
            f"{len(gone)} of {units.count} units{named} {what}",
            "lower the learning rate or let it rise slowly at first, set clipnorm=1.0, scale the inputs, or "
            "take an activation that is never quite off (leaky_relu, gelu)",
            severity=severity,
        )

    def failing(self) -> Program:
        """The first steps are so large that no unit is on afterwards."""
        return regression(two_layers(), keras.optimizers.SGD(10.0), loss="mae")

    def passing(self) -> Program:
        """They are small."""
        return regression(two_layers(), keras.optimizers.SGD(0.05), loss="mae")


def _used(seen: Sequence[Units | None], *, weak: bool) -> set[int]:
    """Return the units that were in use at any of these looks, or well in use."""
    every = (units for units in seen if units is not None)
    return {
        n
        for units in every
        for n in range(units.count)
        if n not in units.out and (weak or n not in units.weak)
    }
