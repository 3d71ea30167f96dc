"""What plans train of the weights that they train in part, over one phase or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from blake3 import blake3

from frostline.elements.algebra import ids_of, is_everything, union
from frostline.elements.sets import Elements, Scattered
from frostline.parametrization.base import Parametrization
from frostline.parametrization.selections import selection_of
from frostline.resolution.decision import Decision
from frostline.resolution.resolution import Resolution


@dataclass(frozen=True, slots=True)
class Parts:
    """What trains of the weights that train in part.

    Attributes:
        every: For each such weight, all the parts that it has in any phase, and their union, by what
            `part_text` says of them.
        over_all: For each weight that no phase trains as a whole, what of it trains in all of them together.
    """

    every: Mapping[str, Mapping[str, Parametrization]]
    over_all: Mapping[str, str]

    @classmethod
    def of(cls, resolutions: Sequence[Resolution]) -> Parts:
        """Return what the resolutions of phases say together."""
        every: dict[str, dict[str, Parametrization]] = {}
        over_all: dict[str, str] = {}
        for address in dict.fromkeys(d.weight.address for r in resolutions for d in r.trained if d.how):
            decisions = [resolution[address] for resolution in resolutions]
            shape = decisions[0].weight.shape
            found = {part_text(d.how, shape): d.how for d in decisions if d.how is not None}
            together = _together(decisions)
            if together is not None:
                over_all[address] = part_text(together, shape)
                found[over_all[address]] = together
            every[address] = found
        return cls(every, over_all)


def part_text(how: Parametrization, shape: tuple[int, ...]) -> str:
    """Say which elements of a weight train, or through what, a different text for each."""
    elements = how.elements(shape)
    if elements is None or is_everything(elements):
        return str(how)
    text = str(selection_of(elements))
    short = isinstance(elements, Scattered) or text.endswith(" more")
    return f"{text} ({_token(elements)})" if short else text


def _token(elements: Elements) -> str:
    return blake3(ids_of(elements).astype("<i8").tobytes()).hexdigest()[:12]


def _together(decisions: Sequence[Decision]) -> Parametrization | None:
    """Return what several phases train of a weight; None where that is, or may become, the whole of it."""
    if any(d.assigned for d in decisions):
        return None  # code may write all of it
    hows = [d.how for d in decisions if d.trains]
    if len(decisions) == len(hows) and len(set(map(str, hows))) == 1 and hows[0] is not None:
        adapter = hows[0] if not hows[0].keeps_elements else None
        if adapter is not None:
            return adapter
    # An adapter that comes or goes between phases is merged, which moves the whole weight.
    if any(how is None or how.elements(decisions[0].weight.shape) is None for how in hows):
        return None
    sets = [how.elements(decisions[0].weight.shape) for how in hows if how is not None]
    whole: Elements | None = None
    for elements in sets:
        if elements is not None:
            whole = elements if whole is None else union(whole, elements)
    return selection_of(whole) if whole is not None and not is_everything(whole) else None
