"""Selectors: how they are read, what they pick, and what they say where they pick nothing.

The inventory is made of plain records: nothing here imports Keras.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.errors import FrostlineError, ModelError, PlanError, SelectorError
from frostline.model.inventory import Inventory, LayerNode, Role, Weight
from frostline.plan.selectors import (
    All,
    AnyOf,
    First,
    Glob,
    InLayer,
    LayerType,
    Not,
    Predicate,
    Regex,
    selector,
)


def weight(address: str, *, role: Role = "weight", types: str = "Dense", aliases: str = "") -> Weight:
    layer = address.rpartition("/")[0]
    return Weight(
        address, tuple(aliases.split()), role, layer, frozenset(types.split()), (2,), "float32", None
    )


def node(address: str, weights: tuple[Weight, ...], *, types: str = "Dense") -> LayerNode:
    own = tuple(w.address for w in weights if w.layer == address)
    below = tuple(w.address for w in weights if w.role != "seed" and w.address.startswith(f"{address}/"))
    above = (address.rpartition("/")[0],) if address else ()
    return LayerNode(address, (), frozenset(types.split()), above, own, below, False, (), (), None)


WEIGHTS = (
    weight("embed/embeddings", types="Embedding", aliases="head/tied"),
    weight("backbone/block_1/kernel", types="Functional Dense"),
    weight("backbone/block_1/bias", types="Functional Dense"),
    weight("backbone/norm/gamma", types="Functional BatchNormalization"),
    weight("backbone/norm/moving_mean", role="statistic", types="Functional BatchNormalization"),
    weight("backbone/block_2/kernel", types="Functional Special Dense"),
    weight("scale/fixed", role="statistic", types="Scale"),
    weight("drop/seed_generator/state", role="seed", types="Dropout"),
    weight("head/kernel"),
    weight("head/bias"),
)
LAYERS = (
    "", "embed", "backbone", "backbone/block_1", "backbone/norm", "backbone/block_2", "scale", "drop", "head"
)  # fmt: skip
MODEL = Inventory("words", WEIGHTS, tuple(node(address, WEIGHTS) for address in LAYERS))
PICKABLE = frozenset(w.address for w in WEIGHTS if w.role != "seed")


def picked(of: Any) -> list[str]:
    return sorted(selector(of).addresses(MODEL))


def message_of(of: Any) -> str:
    with pytest.raises(FrostlineError) as caught:
        selector(of)
    assert type(caught.value) is SelectorError
    return str(caught.value)


# Reading ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "read", "text"),
    [
        ("head/**", Glob("head/**"), "'head/**'"),
        ("re:head/.*:0", Regex("head/.*:0"), "'re:head/.*:0'"),
        ("type:Dense", LayerType("Dense"), "'type:Dense'"),
        ("first:3", First(3), "'first:3'"),
        ("last:12", First(12, last=True), "'last:12'"),
        ("layer:head", InLayer("head"), "'layer:head'"),
        ({"not": "a"}, Not(Glob("a")), "~'a'"),
        ({"any": ["a", "type:B"]}, AnyOf((Glob("a"), LayerType("B"))), "('a' | 'type:B')"),
        ({"all": ["a", {"not": "b"}]}, All((Glob("a"), Not(Glob("b")))), "('a' & ~'b')"),
    ],
)
def test_data_is_read_and_written(of: Any, read: Any, text: str) -> None:
    assert selector(of) == read
    assert str(read) == text
    assert read.to_data() == of
    assert selector(read) is read


def test_operators_combine() -> None:
    combined = (selector("a") | "b") & ~selector("c")
    assert combined == All((AnyOf((Glob("a"), Glob("b"))), Not(Glob("c"))))
    assert combined.to_data() == {"all": [{"any": ["a", "b"]}, {"not": "c"}]}


NO_COUNT = "the selector '{0}' has no count.\n  expected: a whole number from 1 up, such as '{1}:3'"
COMBINED = (
    "a combined selector cannot be read.\n  received: {0}\n"
    "  expected: exactly one key: any or all with a list of selectors, or not with one selector"
)
KINDS = "a string such as 'head/**', a mapping with any, all or not, or a function of a Weight"
UNKNOWN = (
    "the selector {0!r} has an unknown prefix {1!r}.\n"
    "  expected: one of re:, type:, first:, last:, layer:, or a glob without a colon"
)


@pytest.mark.parametrize(
    ("of", "text"),
    [
        ("", "a selector is empty.\n  expected: a glob such as 'head/**'"),
        ("  ", "a selector is empty.\n  expected: a glob such as 'head/**'"),
        ("typ:Dense", UNKNOWN.format("typ:Dense", "typ:") + "\n  fix:      did you mean 'type:Dense'?"),
        ("zzzz:Dense", UNKNOWN.format("zzzz:Dense", "zzzz:")),
        ("type:", "the selector 'type:' has nothing after its prefix."),
        ("first:0", NO_COUNT.format("first:0", "first")),
        ("last:two", NO_COUNT.format("last:two", "last")),
        ("last:-1", NO_COUNT.format("last:-1", "last")),
        ("last:²", NO_COUNT.format("last:²", "last")),
        (
            "re:block_(",
            "the regular expression 'block_(' cannot be read: "
            "missing ), unterminated subpattern at position 6.\n  expected: the syntax of Python's re module",
        ),
        ({}, COMBINED.format("{}")),
        ({"any": []}, COMBINED.format("{'any': []}")),
        ({"any": "head"}, COMBINED.format("{'any': 'head'}")),
        ({"or": ["a"]}, COMBINED.format("{'or': ['a']}")),
        ({"any": ["a"], "not": "b"}, COMBINED.format("{'any': ['a'], 'not': 'b'}")),
        (
            3,
            f"this cannot be a selector.\n  received: 3, of type int\n  expected: {KINDS}",
        ),
        (
            {"not": None},
            f"this cannot be a selector.\n  received: None, of type NoneType\n  expected: {KINDS}",
        ),
    ],
)
def test_what_cannot_be_read_says_why(of: Any, text: str) -> None:
    assert message_of(of) == text


# Picking ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ("head/*", ["embed/embeddings", "head/bias", "head/kernel"]),
        ("head/tied", ["embed/embeddings"]),
        ("**/bias", ["backbone/block_1/bias", "head/bias"]),
        ("backbone/*", []),
        ("backbone/norm/*", ["backbone/norm/gamma", "backbone/norm/moving_mean"]),
        ("drop/**", []),
        ("re:.*block_[0-9]/kernel", ["backbone/block_1/kernel", "backbone/block_2/kernel"]),
        ("re:block", []),
        ("type:BatchNormalization", ["backbone/norm/gamma", "backbone/norm/moving_mean"]),
        ("type:Special", ["backbone/block_2/kernel"]),
        ("type:dense", []),
        ("first:1", ["embed/embeddings"]),
        ("last:1", ["head/bias", "head/kernel"]),
        ("layer:head", ["head/bias", "head/kernel"]),
        ("layer:norm", ["backbone/norm/gamma", "backbone/norm/moving_mean"]),
        ("layer:backbone/block_2", ["backbone/block_2/kernel"]),
        ({"all": ["layer:backbone", "**/kernel"]}, ["backbone/block_1/kernel", "backbone/block_2/kernel"]),
        ({"any": ["layer:scale", "head/bias"]}, ["head/bias", "scale/fixed"]),
        ("type:Dropout", []),
        ({"all": ["head/*", {"not": "**/bias"}]}, ["embed/embeddings", "head/kernel"]),
    ],
)
def test_what_is_picked(of: Any, expected: list[str]) -> None:
    assert picked(of) == expected


def test_layers_without_trainable_weights_are_not_counted() -> None:
    assert picked("last:2") == sorted({*picked("layer:backbone"), *picked("layer:head")})
    assert picked("first:3") == sorted({*picked("layer:embed"), *picked("last:2")})


def test_a_function_of_a_weight() -> None:
    assert picked(lambda w: w.name == "gamma") == ["backbone/norm/gamma"]
    assert selector(len) == Predicate(len)


globs = st.sampled_from(["**", "head/*", "**/bias", "**/kernel", "backbone/**", "nothing"])


@given(globs, globs)
def test_the_operators_are_those_of_sets(one: str, other: str) -> None:
    first, second = frozenset(picked(one)), frozenset(picked(other))
    assert frozenset(picked(selector(one) & other)) == first & second
    assert frozenset(picked(selector(one) | other)) == first | second
    assert frozenset(picked(~selector(one))) == PICKABLE - first


# Errors that need a model ---------------------------------------------------------------------------


def test_more_layers_than_there_are() -> None:
    with pytest.raises(PlanError) as caught:
        picked("last:4")
    assert str(caught.value) == (
        "the rule 'last:4' asks for more layers than the model 'words' has.\n"
        "  expected: at most 3, its number of top-level layers with weights\n"
        "  fix:      a nested model counts as one layer; pick inside it with a glob"
    )


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("haed", "did you mean head?"),
        ("blok_1", "did you mean block_1, block_2, backbone/block_1?"),
        ("zzzzzzz", "see `frostline show MODEL`"),
    ],
)
def test_a_layer_that_is_not_there(name: str, remedy: str) -> None:
    with pytest.raises(ModelError) as caught:
        picked(f"layer:{name}")
    assert str(caught.value) == (
        f"the model 'words' has no layer {name!r}.\n"
        "  expected: the address of a layer, or a name that only one layer has\n"
        f"  fix:      {remedy}"
    )


def test_a_name_of_several_layers() -> None:
    weights = (weight("left/dense/kernel"), weight("right/dense/kernel"))
    nodes = tuple(node(address, weights) for address in ("", "left", "left/dense", "right", "right/dense"))
    with pytest.raises(ModelError) as caught:
        selector("layer:dense").addresses(Inventory("twins", weights, nodes))
    assert str(caught.value) == (
        "2 layers are named 'dense'.\n"
        "  expected: an address that picks one\n"
        "  fix:      write one of: left/dense, right/dense"
    )


def fails(weight: Weight) -> bool:
    raise KeyError(weight.name)


def test_a_function_that_fails_is_named_with_the_weight() -> None:
    with pytest.raises(SelectorError) as caught:
        picked(fails)
    assert str(caught.value) == (
        "the function <fails> that picks weights failed on 'embed/embeddings'.\n"
        "  received: KeyError: 'embeddings'\n"
        "  expected: a function of one frostline.Weight that returns True or False"
    )
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_function_has_no_form_in_a_file() -> None:
    with pytest.raises(PlanError) as caught:
        (selector("head/**") & fails).to_data()
    assert str(caught.value) == (
        "a plan with a Python function as its selector cannot be written to a file.\n"
        "  received: <fails>\n"
        "  fix:      write it as a glob, a regular expression (re:...) or a combination of them"
    )


@pytest.mark.parametrize(
    ("of", "hint"),
    [
        ("haed/**", "did you mean 'head/**'?"),
        ("head/kernl", "did you mean 'head/kernel', 'head/**', 'head/bias'?"),
        ("zzz/**", "addresses here look like 'embed/embeddings', 'backbone/block_1/kernel', "
         "'backbone/block_1/bias'"),
        ("embed", "'embed' is a layer: write 'embed/**' for all weights in it"),
        ("head/.*", "this looks like a regular expression: write 're:head/.*'"),
        ("re:block_1", "it is found inside 'backbone/block_1/kernel', but must match a whole address: "
         "write 're:.*block_1.*' if that is meant"),
        ("type:Dens", "layers with weights here are of type Dense"),
        ("type:zzzz", "layers with weights here are of type BatchNormalization, Dense, Embedding, "
         "Functional, Scale, Special"),
        ("layer:drop", "the layer 'drop' has no weights"),
        ({"all": ["head/*", "embed/*"]}, "see `frostline show MODEL` for the addresses"),
    ],
)  # fmt: skip
def test_hints_where_nothing_is_picked(of: Any, hint: str) -> None:
    assert selector(of).hint(MODEL) == hint
