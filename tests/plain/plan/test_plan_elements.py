"""Elements of weights in plans: what rules take, what goes into files and comes back, and every mistake."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

import frostline as fl
from frostline.errors import PlanError
from helpers.elements import MASK, parts, shapes
from helpers.messages import message_of_loading


class Shift(fl.Parametrization):
    """One of a user's own."""

    def start(self, weight: Any) -> Any:
        raise NotImplementedError

    def combine(self, base: Any, parts: Any) -> Any:
        raise NotImplementedError


# Rules --------------------------------------------------------------------------------------------


def test_a_plan_says_which_elements() -> None:
    plan = (
        fl.Plan()
        .train("tokens/embeddings", rows=slice(30522, None))
        .train("a/kernel", columns=[5, 1], lr=0.1)
        .train("b/kernel", index=(slice(None), [3, 4], 2))
        .train("c/kernel", mask=MASK)
        .train("d/kernel", via=fl.LowRank(rank=8, alpha=16))
        .train("e/kernel", via=fl.Scale())
        .freeze("tokens/embeddings", rows="-2:")
    )
    assert str(plan) == (
        "default: freeze\n"
        "1. train 'tokens/embeddings' (rows 30522:)\n"
        "2. train 'a/kernel' (columns 1, 5, lr x 0.1)\n"
        "3. train 'b/kernel' (block [:, [3, 4], 2])\n"
        "4. train 'c/kernel' (mask of 3 elements)\n"
        "5. train 'd/kernel' (via rank 8, alpha 16)\n"
        "6. train 'e/kernel' (via scale along axis -1)\n"
        "7. freeze 'tokens/embeddings' (rows -2:)"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("30522:", slice(30522, None)),
        ("3", 3),
        ("3", [3]),
        ("1:10:2", slice(1, 10, 2)),
        (" -3 : ", slice(-3, None)),
        (":", slice(None)),
        ([1, 2], (2, 1)),
        (np.array([4, 7]), [4, 7]),
        (np.int64(4), 4),
    ],
)
def test_ways_to_write_the_same_rows(one: Any, other: Any) -> None:
    assert fl.Plan().train("a", rows=one) == fl.Plan().train("a", rows=other)
    assert hash(fl.Plan().train("a", rows=one)) == hash(fl.Plan().train("a", rows=other))
    assert fl.Plan().train("a", rows=one) != fl.Plan().train("a", columns=other)


def test_a_mask_is_taken_as_it_is_now() -> None:
    mask = MASK.copy()
    plan = fl.Plan().train("a", mask=mask)
    mask[:] = True
    assert plan == fl.Plan().train("a", mask=MASK)
    assert plan != fl.Plan().train("a", mask=~MASK)


def test_phases_take_the_same_arguments() -> None:
    phase = fl.Phase("all", epochs=1).train("a", rows=3).freeze("b", mask=MASK)
    assert phase.rules == fl.Plan().train("a", rows=3).freeze("b", mask=MASK).rules


def test_lora_prints_as_plain_rules() -> None:
    assert str(fl.lora(rank=4, alpha=None, target="a/**", head="b/**")) == (
        "default: freeze\n1. train 'a/**' (via rank 4)\n2. train 'b/**'"
    )


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "rows and a mask": (
        {"rows": [1], "mask": MASK},
        "a rule takes only one of rows, columns, index, mask, via.\n"
        "  received: rows and mask\n"
        "  fix:      write one rule for each: their elements add up",
    ),
    "rows and a parametrization": (
        {"rows": [1], "via": fl.LowRank()},
        "a rule takes only one of rows, columns, index, mask, via.\n"
        "  received: rows and via\n"
        "  fix:      choose one: an update such as LowRank changes every element of the weight",
    ),
    "a text that is not a slice": (
        {"columns": "3-5"},
        "the columns of a rule cannot be used: this text names no columns.\n"
        "  received: '3-5'\n"
        "  expected: places as in Python, such as '10:20', '30522:' or '-3:'; a list for several: [3, 7]",
    ),
    "no rows": (
        {"rows": []},
        "the rows of a rule cannot be used: an empty list picks no row.\n"
        "  expected: at least one row, such as [3, 7]",
    ),
    "a row twice": (
        {"rows": [3, 3]},
        "the rows of a rule cannot be used: the same row is named more than once.\n"
        "  received: 3\n"
        "  expected: every row once",
    ),
    "rows as a mask": (
        {"rows": np.array([True, False])},
        "the rows of a rule cannot be used: rows must be given as a slice or as whole numbers.\n"
        "  received: ndarray 0, 1\n"
        "  expected: such as slice(10, 20), 3 or [3, 7]\n"
        "  fix:      a boolean array is a mask: Mask(array)",
    ),
    "a step of zero": (
        {"rows": slice(0, 4, 0)},
        "the rows of a rule cannot be used: the step of a slice cannot be 0.\n  received: 0:4:0",
    ),
    "an empty index": (
        {"index": ()},
        "the index of a rule cannot be used: an empty index names no axis.\n"
        "  expected: such as (slice(0, 4), [3, 7])",
    ),
    "a place that is none": (
        {"index": (slice(None), 0.5)},
        "the index of a rule cannot be used: places on axis 1 must be given as a slice or as whole numbers.\n"
        "  received: float 0.5\n"
        "  expected: such as slice(10, 20), 3 or [3, 7]",
    ),
    "a mask of numbers": (
        {"mask": np.ones((2, 3))},
        "the mask of a rule cannot be used: a mask must be a boolean array, True where an element trains.\n"
        "  received: a mask of dtype float64\n"
        "  expected: a NumPy array of the shape of the weight and dtype bool\n"
        "  fix:      write it as a comparison: mask = scores > 0",
    ),
    "a mask that is not an array": (
        {"mask": [[True]]},
        "the mask of a rule cannot be used: a mask must be a boolean array, True where an element trains.\n"
        "  received: an object of type list\n"
        "  expected: a NumPy array of the shape of the weight and dtype bool",
    ),
    "an empty mask": (
        {"mask": np.zeros((2, 3), bool)},
        "the mask of a rule cannot be used: the mask picks nothing: it is False everywhere.\n"
        "  expected: True where an element trains",
    ),
    "no parametrization": (
        {"via": "lora"},
        "the via of a rule cannot be used: this is not a parametrization.\n"
        "  received: an object of type str\n"
        "  expected: one object such as LowRank(rank=8) or Scale()",
    ),
    "a class": (
        {"via": fl.LowRank},
        "the via of a rule cannot be used: this is not a parametrization.\n"
        "  received: the class LowRank itself\n"
        "  expected: one object such as LowRank(rank=8) or Scale()",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_rule_does_not_take(case: str) -> None:
    arguments, message = WRONG[case]
    with pytest.raises(PlanError) as caught:
        fl.Plan().train("a", **arguments)
    assert str(caught.value) == message


def test_a_rule_that_freezes_has_no_parametrization() -> None:
    with pytest.raises(PlanError) as caught:
        fl.Rule("freeze", fl.selector("a"), part=fl.LowRank(2))
    assert str(caught.value) == (
        "the rule freeze 'a' has a parametrization.\n"
        "  received: via rank 2\n"
        "  expected: via on rules that train"
    )


# Files --------------------------------------------------------------------------------------------


@st.composite
def plans(draw: st.DrawFn) -> fl.Plan:
    plan = fl.Plan()
    for _ in range(draw(st.integers(1, 3))):
        chosen = draw(parts(draw(shapes)))
        if draw(st.booleans()):
            plan = plan.freeze("a/**", **chosen)
        elif draw(st.booleans()):
            plan = plan.train("a/**", lr=0.5, **chosen)
        else:
            alpha = draw(st.sampled_from((None, 16, 0.5)))
            via = draw(st.sampled_from((fl.LowRank(3, alpha, seed=1), fl.LowRank(), fl.Scale(0))))
            plan = plan.train("b/**", via=via)
    return plan


@settings(max_examples=50, deadline=None)
@given(plans(), st.sampled_from(["plan.yaml", "plan.json"]))
def test_what_was_saved_is_loaded(plan: fl.Plan, name: str) -> None:
    schedule = fl.Schedule(plan, (fl.Phase("one", epochs=1, rules=plan.rules),))
    with tempfile.TemporaryDirectory() as folder:
        plan.save(Path(folder, name))
        assert fl.Plan.load(Path(folder, name)) == plan
        jsonschema.validate(yaml.safe_load(Path(folder, name).read_text()), fl.plan_schema())
        schedule.save(Path(folder, name))
        assert fl.Schedule.load(Path(folder, name)) == schedule
    assert fl.Plan.from_data(plan.to_data()) == plan
    jsonschema.validate(plan.to_data(), fl.plan_schema())


def test_what_is_written(tmp_path: Path) -> None:
    fl.Plan().train("a", rows="3:").train("b", mask=MASK).save(tmp_path / "plan.yaml")
    (file,) = tmp_path.glob("*.npy")
    digest = blake3(file.read_bytes()).hexdigest()
    assert (tmp_path / "plan.yaml").read_text() == (
        "frostline: 1\n"
        "default: freeze\n"
        "batchnorm: inference\n"
        "stochastic: inference\n"
        "rules:\n"
        "- train: a\n"
        "  rows: '3:'\n"
        "- train: b\n"
        "  mask:\n"
        f"    file: plan.mask-{digest[:12]}.npy\n"
        f"    digest: blake3:{digest}\n"
    )
    assert file.name == f"plan.mask-{digest[:12]}.npy"
    assert np.array_equal(np.load(file), MASK)


def test_a_parametrization_of_ones_own_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        fl.Plan().train("b", mask=MASK).train("a", via=Shift()).save(tmp_path / "plan.yaml")
    assert str(caught.value) == (
        "a rule with a parametrization of your own cannot be written to a file.\n"
        "  received: via=Shift, of type Shift\n"
        "  fix:      keep the plan in Python, or use LowRank or Scale"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('rows: "30522:"', {"rows": slice(30522, None)}),
        ("rows: 1:30", {"rows": slice(1, 30)}),
        ("rows: [1, 5, 9]", {"rows": [1, 5, 9]}),
        ("rows: 7", {"rows": 7}),
        ('columns: "0:64"', {"columns": slice(0, 64)}),
        ('index: [":", "3:5"]', {"index": (slice(None), slice(3, 5))}),
        ("index: [2, [1, 4]]", {"index": (2, [1, 4])}),
        ("via: {LowRank: {rank: 8, alpha: 16}}", {"via": fl.LowRank(8, 16)}),
        ("via: {LowRank: {rank: 8, alpha: 1e1}}", {"via": fl.LowRank(8, 10)}),
        ("via: {LowRank: {}}", {"via": fl.LowRank()}),
        ("via: {Scale: {axis: 0}}", {"via": fl.Scale(0)}),
    ],
)
def test_ways_to_write_a_rule(tmp_path: Path, text: str, expected: dict[str, Any]) -> None:
    (tmp_path / "plan.yaml").write_text(f"frostline: 1\nrules:\n- train: a\n  {text}\n")
    assert fl.Plan.load(tmp_path / "plan.yaml") == fl.Plan().train("a", **expected)


BY_SCHEMA = {
    "rows and a mask": (
        "rows: 1\n  mask: {file: a.npy, digest: 'blake3:" + "0" * 64 + "'}",
        "line 3: a rule takes at most one of 'rows', 'columns', 'index', 'mask', 'via'.\n"
        "  received: a rule with the keys train, rows, mask",
    ),
    "a text that is not a slice": (
        "rows: 3-4",
        "line 4: the rows of a rule cannot be used: this text names no rows.\n"
        "  received: '3-4'\n"
        "  expected: places as in Python, such as '10:20', '30522:' or '-3:'; a list for several: [3, 7]",
    ),
    "a list with a text": (
        "rows: [1, a]",
        "line 4: rule 1 rows has a wrong value.\n"
        "  received: list [1, 'a']\n"
        "  expected: places such as '10:20', '30522:', 3 or [3, 7]",
    ),
    "a truth": (
        "columns: true",
        "line 4: rule 1 columns has a wrong value.\n"
        "  received: True (true/false)\n"
        "  expected: places such as '10:20', '30522:', 3 or [3, 7]",
    ),
    "nothing": (
        "rows:",
        "line 4: rule 1 rows has a wrong value.\n"
        "  received: nothing\n"
        "  expected: places such as '10:20', '30522:', 3 or [3, 7]",
    ),
    "a row twice": (
        "rows: [3, 3]",
        "line 4: the rows of a rule cannot be used: the same row is named more than once.\n"
        "  received: 3\n"
        "  expected: every row once",
    ),
    "an index without axes": (
        "index: []",
        "line 4: rule 1 index has a wrong value.\n  received: list []\n  expected: at least one",
    ),
    "a mask without a digest": (
        "mask: {file: a.npy}",
        "line 4: a mask needs the keys 'file' and 'digest'.\n  received: a rule 1 mask with the keys file",
    ),
    "a mask that is a text": (
        "mask: a.npy",
        "line 4: rule 1 mask has a wrong value.\n"
        "  received: 'a.npy' (text)\n"
        "  expected: a mapping such as {file: mask.npy, digest: 'blake3:...'}",
    ),
    "an unknown parametrization": (
        "via: {LowRnk: {rank: 8}}",
        "line 4: unknown key 'LowRnk'.\n  expected: one of LowRank, Scale\n"
        "  fix:      did you mean 'LowRank'?",
    ),
    "a rank of zero": (
        "via: {LowRank: {rank: 0}}",
        "line 4: rule 1 via LowRank rank has a wrong value.\n"
        "  received: 0 (whole number)\n"
        "  expected: greater than or equal to 1",
    ),
    "no parametrization": (
        "via: {}",
        "line 4: a rule trains via exactly one of 'LowRank' and 'Scale'.\n"
        "  received: a rule 1 via without keys",
    ),
}


@pytest.mark.parametrize("case", BY_SCHEMA)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, case: str) -> None:
    text, message = BY_SCHEMA[case]
    path = tmp_path / "plan.yaml"
    path.write_text(f"frostline: 1\nrules:\n- train: a\n  {text}\n")
    assert message_of_loading(fl.Plan.load, path) == f"{path}, {message}"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(path.read_text()), fl.plan_schema())


def test_a_frozen_rule_has_no_parametrization_in_files(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("frostline: 1\nrules:\n- freeze: a\n  via: {Scale: {}}\n")
    assert message_of_loading(fl.Plan.load, path) == (
        f"{path}, line 3: a rule that freezes has no 'via'.\n  received: a rule with the keys freeze, via"
    )


def test_bits_that_are_no_mask() -> None:
    data = fl.Plan().train("a", mask=MASK).to_data()
    data["rules"][0]["mask"]["shape"] = [200, 300]
    with pytest.raises(PlanError) as caught:
        fl.Plan.from_data(data)
    assert str(caught.value) == (
        "plan data: the bits of a mask cannot be read.\n"
        f"  received: text of {len(data['rules'][0]['mask']['bits'])} characters\n"
        "  expected: what Plan.to_data() wrote for a mask of shape (200, 300)"
    )
