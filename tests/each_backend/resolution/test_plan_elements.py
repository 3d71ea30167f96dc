"""Elements in plans: what rules come to, what tables say, and mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, optimizers

import frostline as fl
from frostline.elements.algebra import mask_of
from frostline.errors import PlanError
from frostline.resolution.resolution import Resolution
from helpers.checks import (
    examples,
    first_on_each,
    frostline_fit,
    keras_fit,
)
from helpers.element_plans import KERNEL, PLAN, refused, trained_shapes, words
from helpers.small_models import compiled, two_dense

pytestmark = pytest.mark.eager


# What rules come to -------------------------------------------------------------------------------


def chosen(resolution: Resolution, address: str) -> np.ndarray:
    """Which elements of a weight train, as a mask."""
    decision = resolution[address]
    if not decision.trains:
        return np.zeros(decision.weight.shape, bool)
    if decision.how is None:
        return np.ones(decision.weight.shape, bool)
    elements = decision.how.elements(decision.weight.shape)
    assert elements is not None
    return mask_of(elements)


@st.composite
def rules(draw: st.DrawFn, shape: tuple[int, int]) -> tuple[str, dict[str, Any], np.ndarray]:
    """A rule, and the elements that NumPy itself says it speaks of."""
    mask = np.zeros(shape, bool)

    def places(size: int) -> Any:
        if draw(st.booleans()):
            return slice(draw(st.integers(0, size - 1)), None, draw(st.sampled_from((None, 2))))
        return draw(st.lists(st.integers(-size, size - 1), min_size=1, unique_by=lambda n: n % size))

    arguments: dict[str, Any] = {}
    match draw(st.sampled_from(("rows", "columns", "index", "mask", "whole"))):
        case "rows":
            arguments["rows"] = places(shape[0])
            mask[arguments["rows"]] = True
        case "columns":
            arguments["columns"] = places(shape[1])
            mask[:, arguments["columns"]] = True
        case "index":
            arguments["index"] = (places(shape[0]), places(shape[1]))
            rows, columns = (np.arange(n)[p] for n, p in zip(shape, arguments["index"], strict=True))
            mask[np.ix_(rows, columns)] = True
        case "mask":
            mask = np.array(draw(st.lists(st.booleans(), min_size=12, max_size=12))).reshape(shape)
            mask.flat[draw(st.integers(0, 11))] = True
            arguments["mask"] = mask
        case _:
            mask[:] = True
    return draw(st.sampled_from(("train", "freeze"))), arguments, mask


MODEL = two_dense()


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(rules((4, 3)), min_size=1, max_size=5), st.sampled_from(("train", "freeze")))
def test_rules_add_and_take_away(drawn: list[tuple[str, dict[str, Any], np.ndarray]], default: Any) -> None:
    """Against a boolean array that each rule sets or clears in its places."""
    plan, expected = fl.Plan(default=default), np.full((4, 3), default == "train")
    for action, arguments, mask in drawn:
        plan = getattr(plan, action)(KERNEL, **arguments)
        expected = expected | mask if action == "train" else expected & ~mask
    resolution = plan.resolve(MODEL)
    decision = resolution[KERNEL]
    assert np.array_equal(chosen(resolution, KERNEL), expected)
    assert decision.trained_elements == expected.sum()
    status = "frozen" if not expected.any() else "trains" if expected.all() else "partial"
    assert decision.status == status
    assert (decision.how is None) == (status != "partial")


@pytest.mark.parametrize(
    ("address", "arguments", "how", "path"),
    [
        ("tokens/embeddings", {"rows": "15:"}, fl.Rows, "lookup"),
        ("tokens/embeddings", {"columns": [0]}, fl.Columns, "general"),
        ("mid/kernel", {"columns": [0, 3]}, fl.Columns, "columns"),
        ("mid/kernel", {"rows": "2:5"}, fl.Rows, "general"),
        ("mid/kernel", {"index": (":", [1, 2])}, fl.Index, "columns"),
        ("mid/kernel", {"mask": np.eye(24, 8, dtype=bool)}, fl.Mask, "general"),
        ("mid/kernel", {"via": fl.LowRank(2)}, fl.LowRank, "general"),
        ("mid/bias", {"rows": 3}, fl.Rows, "general"),
    ],
)
def test_every_way_to_say_it_is_a_parametrization_with_a_path(
    address: str, arguments: dict[str, Any], how: type, path: str
) -> None:
    model = compiled(words())
    decision = fl.Plan().train(address, **arguments).resolve(model)[address]
    assert (type(decision.how), decision.path) == (how, path)
    fl.apply(model, fl.Plan().train(address, **arguments))
    made_of = fl.inventory(model).by_address[address].combination
    assert (type(made_of.how), made_of.path) == (how, path)
    assert decision.trained_elements == sum(np.prod(s) for s in trained_shapes(model))


def test_added_elements_take_the_most_structured_form() -> None:
    model = words()

    def form(**second: Any) -> str:
        plan = fl.Plan().train("mid/kernel", columns=[1]).train("mid/kernel", **second)
        return plan.resolve(model)["mid/kernel"].part

    assert form(columns=[2]) == "columns 1:3, path: columns"
    assert form(index=(":", 5)) == "columns 1, 5, path: columns"
    assert form(mask=np.arange(8) * np.ones((24, 1)) == 7) == "columns 1, 7, path: columns"
    assert form(rows=[0]) == "mask of 31 elements, path: general"
    assert form(index=(slice(0, 4), [1, 2])) == "mask of 28 elements, path: general"


TABLE = """\
Plan for words
weights            shape    elements  status   why
tokens/embeddings  20 x 6  24 of 120  partial  rule 1: train 'tokens/embeddings' (rows 18:); rule 2:
                                               train 'tokens/embeddings' (rows 3, 4) [rows 3, 4, 18,
                                               19, path: lookup]
mid/kernel         24 x 8   192 + 64  partial  rule 3: train 'mid/kernel' (via rank 2, alpha 4)
                                               [path: general]
mid/bias           8               8  frozen   default: freeze
head/kernel        8 x 2     8 of 16  partial  rule 4: train 'head/**'; rule 5: freeze 'head/kernel'
                                               (columns 0) [columns 1:2, path: columns]
head/bias          2               2  trains   rule 4: train 'head/**'

trains 98 of 402 elements (24%), in 4 of 5 weights
optimizer memory (Adam): 784 B, against 2.7 kB if all trained
"""


def test_the_table_and_the_data_say_it() -> None:
    resolution = PLAN.resolve(compiled(words(), optimizers.Adam()))
    assert f"{resolution}\n" == TABLE
    first, second, *_ = resolution.to_data()["weights"]
    assert first["part"] == {"elements": 24, "what": "rows 3, 4, 18, 19", "path": "lookup"}
    assert (first["status"], first["rule"]) == ("partial", 2)
    assert second["part"] == {"elements": 64, "what": "rank 2, alpha 4", "path": "general"}
    assert (resolution.trained_elements, resolution.frozen_elements) == (24 + 64 + 8 + 2, 96 + 192 + 8 + 8)
    # The slots of Adam: two numbers of four bytes for each that trains.
    assert resolution.optimizer_memory("adam") == 98 * 8


def test_a_rule_that_adds_nothing_is_noted() -> None:
    plan = fl.Plan().train("**").train(KERNEL, rows=[1])
    assert plan.resolve(two_dense()).notes == (
        "rule 2 (train 'a/kernel' (rows 1)) adds nothing to 'a/kernel': those elements already train; to "
        "train only them, freeze the weight in an earlier rule",
    )
    assert fl.Plan().train(KERNEL).freeze(KERNEL).train(KERNEL, rows=[1]).resolve(two_dense()).notes == ()


def test_statistics_have_no_elements_that_train() -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.BatchNormalization(name="bn")(inputs))
    resolution = fl.Plan().train("bn/**", rows=[0]).resolve(model)
    assert [d.status for d in resolution.decisions] == ["partial", "partial"]
    assert [d.status for d in resolution.statistics] == ["moves", "moves"]


# Mistakes -----------------------------------------------------------------------------------------


def by_hand(how: fl.Parametrization) -> Callable[[keras.Model], Any]:
    return lambda model: fl.parametrize(model, KERNEL, how)


def nothing(model: keras.Model) -> None:
    """Prepare nothing."""


MISTAKES: dict[str, tuple[Callable[[keras.Model], Any], fl.Plan, str]] = {
    "rows out of range": (
        nothing,
        fl.Plan().train("b/**").train(KERNEL, rows=slice(2, 9)),
        "rule 2 (train 'a/kernel' (rows 2:9)) does not fit 'a/kernel': row 9 is out of range: the weight has "
        "4 rows.\n"
        "  received: 2:9\n"
        "  expected: rows from 0 to 3, or from -4 to -1 to count from the end",
    ),
    "rows that name one twice": (
        nothing,
        fl.Plan().train(KERNEL, rows=[3, -1]),
        "rule 1 (train 'a/kernel' (rows -1, 3)) does not fit 'a/kernel': the same row is named more than "
        "once.\n"
        "  received: 3\n"
        "  expected: every row once",
    ),
    "a mask of another shape": (
        nothing,
        fl.Plan().train(KERNEL, mask=np.ones((3, 4), bool)),
        "rule 1 (train 'a/kernel' (mask of 12 elements)) does not fit 'a/kernel': the mask does not have the "
        "shape of the weight.\n"
        "  received: a mask of shape (3, 4)\n"
        "  expected: shape (4, 3)",
    ),
    "an index with too many axes": (
        nothing,
        fl.Plan().train(KERNEL, index=(0, 1, 2)),
        "rule 1 (train 'a/kernel' (block [0, 1, 2])) does not fit 'a/kernel': an index for 3 axes does not "
        "fit a weight with 2.\n"
        "  received: block [0, 1, 2]; a weight of shape (4, 3)\n"
        "  expected: one entry for each of up to 2 axes",
    ),
    "a rank that is too high": (
        nothing,
        fl.Plan().train("**/kernel", via=fl.LowRank(3)),
        "rule 1 (train '**/kernel' (via rank 3)) does not fit 'b/kernel': the rank does not fit the weight.\n"
        "  received: rank=3; a weight of shape (3, 2)\n"
        "  expected: a whole number from 1 to 2",
    ),
    "elements at two rates": (
        nothing,
        fl.Plan().train("**", lr=0.1).train(KERNEL, rows=[1]),
        "rule 2 (train 'a/kernel' (rows 1)) adds elements of 'a/kernel', at other rates than the elements "
        "that train already.\n"
        "  received: lr x 1, decay x 1; before: lr x 0.1, decay x 1\n"
        "  expected: one learning rate and one decay for all elements of a weight\n"
        "  fix:      give these rules the same lr and decay; to train only these elements, freeze the "
        "weight in an earlier rule",
    ),
    "elements of what trains via an update": (
        nothing,
        fl.Plan().train("b/**").train(KERNEL, via=fl.LowRank(2)).freeze(KERNEL, rows=[1]),
        "rule 3 (freeze 'a/kernel' (rows 1)) selects elements of 'a/kernel', but rule 2 trains all of it via "
        "rank 2.\n"
        "  expected: for each weight either elements, or one parametrization, or assignment\n"
        "  fix:      put a rule that freezes or trains the weight as a whole between rules 2 and 3, or leave "
        "one of them out",
    ),
    "a plan that freezes what was parametrized by hand": (
        by_hand(fl.Rows([0])),
        fl.Plan().train("b/**").freeze(KERNEL),
        "rule 2 (freeze 'a/kernel') freezes 'a/kernel', part of which frostline.parametrize made trainable.\n"
        "  received: rows 0 on 'a/kernel', frozen by the plan\n"
        "  expected: a weight that is trained in part, or one that is frozen\n"
        "  fix:      train the part by a later rule, .train('a/kernel'), or remove the parametrization by "
        "its remove() or frostline.merge(model)",
    ),
    "elements of what was parametrized by hand": (
        by_hand(fl.LowRank(1)),
        fl.Plan().train(KERNEL, rows=[1]),
        "'a/kernel' was already parametrized by frostline.parametrize, so rule 1 (train 'a/kernel' (rows 1)) "
        "cannot choose which part of it trains.\n"
        "  received: rows 1, on top of rank 1\n"
        "  expected: one of the two\n"
        "  fix:      remove the first one, by its remove() or frostline.merge(model), or train its part: "
        ".train('a/kernel')",
    ),
}


@pytest.mark.parametrize("case", first_on_each(MISTAKES))
@pytest.mark.parametrize("act", ["apply", "fit", "resolve"])
def test_what_does_not_fit_is_refused_and_leaves_the_model_alone(case: str, act: str) -> None:
    prepare, plan, message = MISTAKES[case]
    model = compiled(two_dense())
    prepare(model)
    keras_fit(model)
    acts = {
        "apply": lambda: fl.apply(model, plan),
        "fit": lambda: frostline_fit(model, plan),
        "resolve": lambda: plan.resolve(model),
    }
    assert refused(model, acts[act], PlanError) == message


def test_a_constraint_that_cannot_be_kept_is_refused() -> None:
    limit = keras.constraints.MaxNorm(1.0, axis=1)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, kernel_constraint=limit, name="a")])
    with pytest.raises(PlanError) as caught:
        fl.Plan().train("**").freeze(KERNEL, columns=[0]).resolve(model)
    assert str(caught.value) == (
        "rule 2 (freeze 'a/kernel' (columns 0)) does not fit 'a/kernel': the constraint of 'a/kernel' cannot "
        "be combined with columns 1:3.\n"
        "  received: the constraint MaxNorm, which combines trained and frozen elements\n"
        "  expected: NonNeg, or a norm along axes that the trained elements have in full\n"
        "  fix:      build the layer without the constraint"
    )


def test_a_part_made_by_hand_that_no_rule_trains_is_noted() -> None:
    model = two_dense()
    fl.parametrize(model, KERNEL, fl.Rows([0]))
    resolution = fl.Plan().train("b/**").resolve(model)
    assert resolution[KERNEL].status == "frozen"
    assert resolution.notes == (
        "'a/kernel' is parametrized (rows 0) and no rule of the plan trains it, so its trained part stays as "
        "it is",
    )
    assert fl.Plan().train(KERNEL).resolve(model)[KERNEL].part == "rows 0, path: general"
