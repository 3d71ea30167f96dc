"""Selectors: which weights a rule speaks of.

A selector in a plan is a string, a mapping (`{"any": [...]}`, `{"all": [...]}`, `{"not": ...}`), or, in
Python only, a `Selector` or a function of one `Weight`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from frostline.errors import PlanError, SelectorError, near
from frostline.model.inventory import Inventory, LayerNode, Weight
from frostline.plan.attention import attention_kernels
from frostline.plan.globs import escaped, read_glob
from frostline.plan.heads import find_head
from frostline.plan.matching import expression_matching, require_expression


class Selector(ABC):
    """Picks weights of a model. Combine selectors with `&`, `|` and `~`.

    Example:
        >>> str(selector("head/**") & ~selector("**/bias"))
        "('head/**' & ~'**/bias')"
    """

    @abstractmethod
    def addresses(self, model: Inventory) -> frozenset[str]:
        """Return the canonical addresses of the weights and statistics it picks."""

    @abstractmethod
    def to_data(self) -> Any:
        """Return the form that stands in a plan file; raises `PlanError` where it has none."""

    def hint(self, model: Inventory) -> str:
        """Say what the user may have meant, for a selector that picked nothing."""
        return "see `frostline show MODEL` for the addresses"

    def __and__(self, other: Any) -> Selector:
        return All((self, selector(other)))

    def __or__(self, other: Any) -> Selector:
        return AnyOf((self, selector(other)))

    def __invert__(self) -> Selector:
        return Not(self)


def selector(of: Any) -> Selector:
    """Make a selector.

    Args:
        of: A string (a glob, one of the words `head` and `attention`, or one of `re:`, `type:`, `first:`,
            `last:`, `layer:`), a mapping with one of the keys `any`, `all`, `not`, a function of one
            `Weight`, or a `Selector`.

    Raises:
        SelectorError: It cannot be read.
    """
    if isinstance(of, Selector):
        return of
    if isinstance(of, str):
        return _from_text(of)
    if isinstance(of, Mapping):
        _require_flat(of)
        return _from_mapping(of)
    if callable(of):
        return Predicate(of)
    raise SelectorError(
        "this cannot be a selector",
        received=f"{of!r}, of type {type(of).__name__}",
        expected="a string such as 'head/**', a mapping with any, all or not, or a function of a Weight",
    )


def _from_text(text: str) -> Selector:
    prefix, colon, rest = text.partition(":")
    if not text.strip():
        raise SelectorError("a selector is empty", expected="a glob such as 'head/**'")
    if text in _WORDS:
        return _WORDS[text]()
    if not colon or re.fullmatch(r"\w*", prefix) is None:
        return Glob(text)
    if prefix not in _PREFIXES:
        close = near(prefix, _PREFIXES, most=1)
        raise SelectorError(
            f"the selector {text!r} has an unknown prefix {prefix + ':'!r}",
            expected=f"one of {', '.join(p + ':' for p in _PREFIXES)}, or a glob without a colon",
            remedy=f"did you mean '{close[0]}:{rest}'?" if close else None,
        )
    if not rest:
        raise SelectorError(f"the selector {text!r} has nothing after its prefix")
    return _PREFIXES[prefix](rest)


_DEEPEST = 50
"""Levels of selectors in selectors."""


def _require_flat(of: Any) -> None:
    """Raise for a selector that is nested so deeply that nothing could be done with it."""
    level, depth = [of], 0
    while level:
        depth += 1
        if depth > 2 * _DEEPEST:
            raise SelectorError(
                "a combined selector is nested too deeply, or contains itself",
                expected=f"at most {_DEEPEST} levels of any, all and not",
            )
        inner = (one.values() if isinstance(one, Mapping) else one for one in level)
        parts = (part for values in inner for part in values)
        level = list({id(part): part for part in parts if isinstance(part, Mapping | list | tuple)}.values())


def _from_mapping(data: Mapping[str, Any]) -> Selector:
    if len(data) == 1:
        key, value = next(iter(data.items()))
        if key == "not":
            return Not(selector(value))
        listed = isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0
        if key in ("any", "all") and listed:
            parts = tuple(selector(part) for part in value)
            return AnyOf(parts) if key == "any" else All(parts)
    raise SelectorError(
        "a combined selector cannot be read",
        received=repr(dict(data)),
        expected="exactly one key: any or all with a list of selectors, or not with one selector",
    )


@dataclass(frozen=True, slots=True)
class Glob(Selector):
    """`*` within a segment, `**` across segments, `?`, `{a,b}`, `[0-9]`, `[!0-9]`; a full match."""

    pattern: str

    def __post_init__(self) -> None:
        read_glob(self.pattern)

    def addresses(self, model: Inventory) -> frozenset[str]:
        return _picked(model, read_glob(self.pattern).matching(_names(model)))

    def to_data(self) -> str:
        return self.pattern

    def hint(self, model: Inventory) -> str:
        if any(sign in self.pattern for sign in (".*", "\\", "^", "$", ".+", "(")):
            return f"this looks like a regular expression: write 're:{self.pattern}'"
        if self.pattern in model.layer_by_address:
            return f"{self.pattern!r} is a layer: write '{self.pattern}/**' for all weights in it"
        return _nearest(self.pattern, model)

    def __str__(self) -> str:
        return repr(self.pattern)


@dataclass(frozen=True, slots=True)
class Regex(Selector):
    """A regular expression that must match the whole address."""

    pattern: str

    def __post_init__(self) -> None:
        require_expression(self.pattern)

    def addresses(self, model: Inventory) -> frozenset[str]:
        return _picked(model, expression_matching(self.pattern, _names(model)))

    def to_data(self) -> str:
        return f"re:{self.pattern}"

    def hint(self, model: Inventory) -> str:
        known = [w.address for w in model.weights]
        partly = expression_matching(self.pattern, known, within=True)
        if partly:
            first = next(address for address in known if address in partly)
            return (
                f"it is found inside {first!r}, but must match a whole address: "
                f"write 're:.*{self.pattern}.*' if that is meant"
            )
        return _nearest(self.pattern, model)

    def __str__(self) -> str:
        return repr(self.to_data())


@dataclass(frozen=True, slots=True)
class LayerType(Selector):
    """All weights in layers of a class, by its name; the names of base classes count too."""

    name: str

    def addresses(self, model: Inventory) -> frozenset[str]:
        weights = model.of_role("weight", "statistic")
        return frozenset(w.address for w in weights if self.name in w.types)

    def to_data(self) -> str:
        return f"type:{self.name}"

    def hint(self, model: Inventory) -> str:
        types = sorted(set().union(*(w.types for w in model.of_role("weight", "statistic"))))
        close = near(self.name, types)
        return f"layers with weights here are of type {', '.join(close or types[:12])}"

    def __str__(self) -> str:
        return repr(self.to_data())


@dataclass(frozen=True, slots=True)
class First(Selector):
    """The first or last so many top-level layers that have weights."""

    count: int
    last: bool = False

    def addresses(self, model: Inventory) -> frozenset[str]:
        if self.count > len(model.top):
            raise PlanError(
                f"the rule {self} asks for more layers than the model {model.model_name!r} has",
                expected=f"at most {len(model.top)}, its number of top-level layers with weights",
                remedy="a nested model counts as one layer; pick inside it with a glob",
            )
        chosen = model.top[-self.count :] if self.last else model.top[: self.count]
        return _in_layers(model, chosen)

    def to_data(self) -> str:
        return f"{'last' if self.last else 'first'}:{self.count}"

    def __str__(self) -> str:
        return repr(self.to_data())


@dataclass(frozen=True, slots=True)
class HeadOfModel(Selector):
    """The head of the model, as `find_head` tells it; nothing where the model has none."""

    WORD: ClassVar[str] = "head"

    def addresses(self, model: Inventory) -> frozenset[str]:
        found = find_head(model)
        if not found.known:
            raise PlanError(
                f"which layers of the model {model.model_name!r} are its head cannot be told",
                received=found.why,
                expected="a model that keeps its head apart from the rest",
                remedy="name its layers in place of 'head', as 'layer/**'; `frostline show MODEL` lists them",
            )
        return found.addresses

    def to_data(self) -> str:
        return self.WORD

    def hint(self, model: Inventory) -> str:
        return f"the model has no head of its own: {find_head(model).why}; name the layers that are to train"

    def __str__(self) -> str:
        return repr(self.WORD)


@dataclass(frozen=True, slots=True)
class Attention(Selector):
    """The kernels that make queries, keys and values in attention, as `attention_kernels` tells them."""

    WORD: ClassVar[str] = "attention"

    def addresses(self, model: Inventory) -> frozenset[str]:
        return attention_kernels(model)

    def to_data(self) -> str:
        return self.WORD

    def hint(self, model: Inventory) -> str:
        kernels = [w.address for w in model.of_role("weight") if w.name == "kernel" and len(w.shape) > 1]
        ways = (
            f"name kernels instead, such as {kernels[len(kernels) // 2]!r}"
            if kernels
            else "it has no kernels"
        )
        return f"no layer of the model makes queries, keys and values that could be told: {ways}"

    def __str__(self) -> str:
        return repr(self.WORD)


@dataclass(frozen=True, slots=True)
class InLayer(Selector):
    """One layer and all below it, by its address or by a name that only it has."""

    name: str

    def addresses(self, model: Inventory) -> frozenset[str]:
        return _in_layers(model, (model.find_layer(self.name),))

    def to_data(self) -> str:
        return f"layer:{self.name}"

    def hint(self, model: Inventory) -> str:
        return f"the layer {self.name!r} has no weights"

    def __str__(self) -> str:
        return repr(self.to_data())


@dataclass(frozen=True, slots=True)
class Predicate(Selector):
    """The weights for which a function says True. Python only: a file cannot hold it."""

    function: Callable[[Weight], bool]

    def addresses(self, model: Inventory) -> frozenset[str]:
        picked = set()
        for weight in model.of_role("weight", "statistic"):
            try:
                if self.function(weight):
                    picked.add(weight.address)
            except Exception as error:
                raise SelectorError(
                    f"the function {self} that picks weights failed on {weight.address!r}",
                    received=f"{type(error).__name__}: {error}",
                    expected="a function of one frostline.Weight that returns True or False",
                ) from error
        return frozenset(picked)

    def to_data(self) -> Any:
        raise PlanError(
            "a plan with a Python function as its selector cannot be written to a file",
            received=str(self),
            remedy="write it as a glob, a regular expression (re:...) or a combination of them",
        )

    def __str__(self) -> str:
        return f"<{getattr(self.function, '__qualname__', 'function')}>"


@dataclass(frozen=True, slots=True)
class All(Selector):
    """What all of several selectors pick."""

    parts: tuple[Selector, ...]

    def addresses(self, model: Inventory) -> frozenset[str]:
        return frozenset.intersection(*(part.addresses(model) for part in self.parts))

    def to_data(self) -> Any:
        return {"all": [part.to_data() for part in self.parts]}

    def __str__(self) -> str:
        return f"({' & '.join(map(str, self.parts))})"


@dataclass(frozen=True, slots=True)
class AnyOf(Selector):
    """What at least one of several selectors picks."""

    parts: tuple[Selector, ...]

    def addresses(self, model: Inventory) -> frozenset[str]:
        return frozenset.union(*(part.addresses(model) for part in self.parts))

    def to_data(self) -> Any:
        return {"any": [part.to_data() for part in self.parts]}

    def __str__(self) -> str:
        return f"({' | '.join(map(str, self.parts))})"


@dataclass(frozen=True, slots=True)
class Not(Selector):
    """What a selector does not pick."""

    part: Selector

    def addresses(self, model: Inventory) -> frozenset[str]:
        every = frozenset(w.address for w in model.of_role("weight", "statistic"))
        return every - self.part.addresses(model)

    def to_data(self) -> Any:
        return {"not": self.part.to_data()}

    def __str__(self) -> str:
        return f"~{self.part}"


_DIGITS = 9
"""Of a number of layers."""


def _count(last: bool) -> Callable[[str], Selector]:
    def read(text: str) -> Selector:
        word = "last" if last else "first"
        number = text.isascii() and text.isdigit() and text.strip("0") != ""
        if not number or len(text) > _DIGITS:
            raise SelectorError(
                f"the selector '{word}:{text[:40]}' has {'too large a' if number else 'no'} count",
                expected=f"a whole number from 1 up, such as '{word}:3'",
            )
        return First(int(text), last=last)

    return read


_WORDS: dict[str, Callable[[], Selector]] = {one.WORD: one for one in (HeadOfModel, Attention)}
"""Selectors of one word, which stand for what the model shows to be it."""

_PREFIXES: dict[str, Callable[[str], Selector]] = {
    "re": Regex,
    "type": LayerType,
    "first": _count(last=False),
    "last": _count(last=True),
    "layer": InLayer,
}


def _names(model: Inventory) -> list[str]:
    """Return what weights and statistics are called, by all their names."""
    return [address for w in model.of_role("weight", "statistic") for address in w.addresses]


def _picked(model: Inventory, names: Collection[str]) -> frozenset[str]:
    return frozenset(
        w.address
        for w in model.of_role("weight", "statistic")
        if any(address in names for address in w.addresses)
    )


def _in_layers(model: Inventory, nodes: Sequence[LayerNode]) -> frozenset[str]:
    return frozenset(address for node in nodes for address in node.below)


def _nearest(pattern: str, model: Inventory) -> str:
    """Name the addresses that look most like a glob, the layer's name counting before the weight's."""
    plain = re.sub(r"[*?\[\]{}!]+", "", pattern).strip("/")
    known = [w.address for w in model.of_role("weight", "statistic")]
    layers = {node.address for node in model.layers if node.address and node.below}
    close = near(plain, [*known, *layers]) or near(plain.split("/")[0], {a.split("/")[0] for a in layers})
    if close:
        shown = (repr(escaped(a) + ("/**" if a in layers else "")) for a in close)
        return f"did you mean {', '.join(shown)}?"
    return f"addresses here look like {', '.join(repr(a) for a in known[:3])}"
