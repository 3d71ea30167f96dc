"""Plans as values: made by chaining, checked, printed."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from frostline import Phase, Plan, Rows, Rule
from frostline.errors import PlanError, SelectorError
from frostline.plan.selectors import Glob, selector
from helpers.messages import message_of


def test_chaining_gives_new_plans_with_rules_in_order() -> None:
    empty = Plan()
    plan = empty.train("head/**", lr=2, decay=0).freeze("**/bias", optional=True)
    assert empty == Plan(rules=(), default="freeze", batchnorm="inference", stochastic="inference")
    assert plan.rules == (
        Rule("train", Glob("head/**"), lr=2, decay=0),
        Rule("freeze", Glob("**/bias"), optional=True),
    )
    assert hash(plan) == hash(empty.train("head/**", lr=2, decay=0).freeze("**/bias", optional=True))


def test_a_plan_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Plan().default = "train"  # type: ignore[misc]


def test_adding_keeps_default_and_policies_of_the_first() -> None:
    one = Plan(default="train", batchnorm="update").freeze("a")
    two = Plan(stochastic="active").train("b")
    assert one + two == Plan(default="train", batchnorm="update").freeze("a").train("b")
    with pytest.raises(TypeError, match="unsupported operand"):
        one + "b"  # type: ignore[operator]


def test_a_plan_prints_as_its_rules() -> None:
    plan = (
        Plan(default="train", batchnorm="update", stochastic="active")
        .freeze("**/{bias,beta}", optional=True)
        .train(selector("head/**") & ~selector("type:Dense"), lr=0.1, decay=0)
        .train(str.isupper)
    )
    assert str(plan) == (
        "default: train\n"
        "batchnorm: update\n"
        "stochastic: active\n"
        "1. freeze '**/{bias,beta}' (optional)\n"
        "2. train ('head/**' & ~'type:Dense') (lr x 0.1, decay x 0)\n"
        "3. train <str.isupper>"
    )


def test_plain_data_holds_all_that_is_not_default() -> None:
    plan = Plan(batchnorm="update").train("a", lr=0.5, decay=0.0).freeze("b", optional=True).train("c")
    assert plan.to_data() == {
        "frostline": 1,
        "default": "freeze",
        "batchnorm": "update",
        "stochastic": "inference",
        "rules": [{"train": "a", "lr": 0.5, "decay": 0.0}, {"freeze": "b", "optional": True}, {"train": "c"}],
    }
    assert Plan.from_data(plan.to_data()) == plan


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), True, "0.1", None])
def test_a_learning_rate_out_of_range(value: Any) -> None:
    assert message_of(PlanError, lambda: Plan().train("a", lr=value)) == (
        "the multiplier lr of a rule is out of range.\n"
        f"  received: {value!r}\n"
        "  expected: a finite number above 0\n"
        "  fix:      to keep weights from moving, freeze them"
    )


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), False, "0.1"])
def test_a_decay_out_of_range(value: Any) -> None:
    assert message_of(PlanError, lambda: Plan().train("a", decay=value)) == (
        "the multiplier decay of a rule is out of range.\n"
        f"  received: {value!r}\n"
        "  expected: a finite number, 0 or above"
    )


@pytest.mark.parametrize("extra", [{"lr": 0.5}, {"decay": 0.0}])
def test_a_rule_that_freezes_has_no_multipliers(extra: dict[str, float]) -> None:
    assert message_of(PlanError, lambda: Rule("freeze", Glob("a"), **extra)) == (
        "the rule freeze 'a' has a learning rate or a decay.\n"
        "  expected: lr and decay only on rules that train: frozen weights do not change"
    )


def test_an_unknown_action() -> None:
    assert message_of(PlanError, lambda: Rule("thaw", Glob("a"))) == (  # type: ignore[arg-type]
        "a rule does nothing that is known.\n"
        "  received: 'thaw'\n"
        "  expected: 'train' or 'freeze' or 'assigned'"
    )


def test_what_code_assigns_is_a_rule_of_whole_weights() -> None:
    plan = Plan().train("online/**").assigned("target/**", optional=True)
    assert plan.rules[1] == Rule("assigned", Glob("target/**"), optional=True)
    assert str(plan).splitlines()[-1] == "2. assigned 'target/**' (optional)"
    assert Plan.from_data(plan.to_data()) == plan
    assert Phase("p", epochs=1).assigned("t/*").rules == Plan().assigned("t/*").rules
    with pytest.raises(PlanError, match="speaks of a part of a weight"):
        Rule("assigned", Glob("a"), part=Rows([1]))
    with pytest.raises(PlanError, match="the optimizer does not have what code assigns"):
        Rule("assigned", Glob("a"), lr=0.5)
    with pytest.raises(PlanError, match="default is not one of its values"):
        Plan(default="assigned")  # type: ignore[arg-type]
    for part in ({"rows": "1:"}, {"via": {"LowRank": {"rank": 2}}}):
        with pytest.raises(PlanError, match="it speaks of whole weights"):
            Plan.from_data({"frostline": 1, "rules": [{"assigned": "a", **part}]})


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("default", "'freeze' or 'train'"),
        ("batchnorm", "'inference' or 'update'"),
        ("stochastic", "'inference' or 'active'"),
    ],
)
def test_an_unknown_value(name: str, allowed: str) -> None:
    assert message_of(PlanError, lambda: Plan(**{name: "thaw"})) == (
        f"the plan's {name} is not one of its values.\n  received: 'thaw'\n  expected: {allowed}"
    )


@pytest.mark.parametrize("rules", [["head/**"], ("head/**",)])
def test_rules_of_another_kind(rules: Any) -> None:
    assert message_of(PlanError, lambda: Plan(rules=rules)) == (
        "the plan's rules are not a tuple of Rule.\n"
        f"  received: {rules!r}\n"
        "  fix:      use Plan().train(...) and .freeze(...), or Plan.from_data(...)"
    )


def test_an_unreadable_selector_is_refused_at_once() -> None:
    with pytest.raises(SelectorError, match=r"^the glob 'a\*\*' has "):
        Plan().train("a**")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (None, "plan data: a plan is a mapping.\n  received: nothing"),
        ([1], "plan data: a plan is a mapping.\n  received: list [1]"),
        ({}, "plan data: the key 'frostline' is missing.\n  fix:      begin the plan with 'frostline: 1'"),
        (
            {"frostline": 1, 3: 4},
            "plan data: unknown key 3.\n"
            "  expected: one of frostline, default, batchnorm, stochastic, rules, phases",
        ),
        (
            {"frostline": 1, "rules": [{"train": "a", "lr": "fast"}]},
            "plan data: rule 1 lr has a wrong value.\n  received: 'fast' (text)\n  expected: a number",
        ),
    ],
)
def test_data_that_is_no_plan(data: Any, text: str) -> None:
    assert message_of(PlanError, lambda: Plan.from_data(data)) == text
