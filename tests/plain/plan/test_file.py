"""Plan files: what goes out comes in again, and every mistake is named with its file and line."""

from __future__ import annotations

import json
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import frostline as fl
from frostline.errors import PlanError, PlanFileError
from helpers.folders import SCHEMAS
from helpers.messages import error_text, message_of_loading

PUBLISHED = SCHEMAS / "plan.json"
KEYS = "frostline, default, batchnorm, stochastic, rules, phases"
RULE_KEYS = "train, freeze, lr, decay, optional, rows, columns, index, mask, via"
SELECTOR = "a selector: text such as 'head/**', or a mapping with any, all or not"
QUOTE = "quote selectors: train: 'head/**'"

# Round trips --------------------------------------------------------------------------------------

# YAML knows no control characters, surrogates or byte-order mark, even in quotes.
letters = st.characters(
    codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co"], exclude_characters="*?[]{}:\ufeff"
)
words = st.text(letters, min_size=1).filter(str.strip)
texts = st.one_of(
    words,
    words.map("**/{}".format),
    words.map("layer:{}".format),
    words.map("type:{}".format),
    st.integers(1, 99).map("last:{}".format),
    st.sampled_from(
        ["*", "null", "1e-4", "yes", "12", "re:.*\\bhead\\b", "{a,b}/[0-9]", "# no comment", "- a", "a: b"]
    ),
).filter(lambda text: not text.startswith("a:"))
selectors = st.recursive(
    texts,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"any": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"all": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"not": part}, inner),
    ),
    max_leaves=4,
)
numbers = st.floats(0, allow_nan=False, allow_infinity=False)


@st.composite
def plans(draw: st.DrawFn) -> fl.Plan:
    plan = fl.Plan(
        default=draw(st.sampled_from(["freeze", "train"])),
        batchnorm=draw(st.sampled_from(["inference", "update"])),
        stochastic=draw(st.sampled_from(["inference", "active"])),
    )
    for of in draw(st.lists(selectors, max_size=4)):
        optional = draw(st.booleans())
        if draw(st.booleans()):
            lr, decay = draw(numbers.filter(bool)), draw(numbers)
            plan = plan.train(of, lr=lr, decay=decay, optional=optional)
        else:
            plan = plan.freeze(of, optional=optional)
    return plan


@given(plans(), st.sampled_from(["plan.yaml", "plan.yml", "plan.json", "plan"]))
@settings(deadline=None)
def test_what_was_saved_is_loaded(plan: fl.Plan, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        plan.save(path)
        assert fl.Plan.load(path) == plan
        assert fl.Plan.load(str(path)) == plan


@given(plans())
@settings(deadline=None)
def test_every_plan_is_valid_by_the_schema(plan: fl.Plan) -> None:
    jsonschema.validate(plan.to_data(), fl.plan_schema())


@given(plans())
def test_json_of_another_writer_is_loaded_too(plan: fl.Plan) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "plan.json")
        path.write_text(json.dumps(plan.to_data(), indent="\t", ensure_ascii=False), encoding="utf-8")
        assert fl.Plan.load(path) == plan


def test_what_is_written(tmp_path: Path) -> None:
    plan = fl.Plan().train("größe/**", lr=0.1).freeze({"not": "**/bias"}, optional=True)
    plan.save(tmp_path / "plan.yaml")
    assert (tmp_path / "plan.yaml").read_text(encoding="utf-8") == (
        "frostline: 1\n"
        "default: freeze\n"
        "batchnorm: inference\n"
        "stochastic: inference\n"
        "rules:\n"
        "- train: größe/**\n"
        "  lr: 0.1\n"
        "- freeze:\n"
        "    not: '**/bias'\n"
        "  optional: true\n"
    )
    plan.save(tmp_path / "plan.json")
    assert json.loads((tmp_path / "plan.json").read_text()) == plan.to_data()


def test_a_plan_with_a_function_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="a Python function as its selector cannot be written"):
        fl.Plan().train(bool).save(tmp_path / "plan.yaml")
    assert list(tmp_path.iterdir()) == []


def load(tmp_path: Path, text: str | bytes, name: str = "plan.yaml") -> fl.Plan:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return fl.Plan.load(path)


@pytest.mark.parametrize("number", ["1e-4", "1E-4", "1.e-4", "0.0001", "+1.0e-04"])
def test_numbers_with_an_exponent_are_numbers(tmp_path: Path, number: str) -> None:
    plan = load(tmp_path, f"frostline: 1\nrules: [{{train: a, lr: {number}}}]")
    assert plan == fl.Plan().train("a", lr=0.0001)


def test_numbers_of_a_phase_too(tmp_path: Path) -> None:
    path = tmp_path / "schedule.yaml"
    until = "{monitor: val_loss, min_delta: 1e-4}"
    path.write_text(f"frostline: 1\nphases: [{{name: probe, epochs: 9, lr: 1e-2, until: {until}}}]")
    (phase,) = fl.Schedule.load(path).phases
    assert (phase.lr, phase.until.min_delta) == (0.01, 0.0001)


def test_a_byte_order_mark_and_windows_lines_are_no_matter(tmp_path: Path) -> None:
    text = "\ufefffrostline: 1\r\nrules:\r\n- train: a\r\n"
    assert load(tmp_path, text) == fl.Plan().train("a")


def test_anchors_stand_for_what_they_name(tmp_path: Path) -> None:
    text = "frostline: 1\nrules:\n- train: &head 'head/**'\n- freeze: {not: *head}\n"
    assert load(tmp_path, text) == fl.Plan().train("head/**").freeze({"not": "head/**"})


# Errors -------------------------------------------------------------------------------------------


def rules(text: str) -> str:
    return f"frostline: 1\nrules:\n{text}\n"


ONE_ACTION = "{file}, line 3: a rule needs exactly one of 'train' and 'freeze'"
BY_SCHEMA = {
    "an unknown key": (
        "frostline: 1\ndefalt: freeze\n",
        error_text(
            "{file}, line 2: unknown key 'defalt'", expected=f"one of {KEYS}", fix="did you mean 'default'?"
        ),
    ),
    "a key that YAML takes for a truth": (
        "frostline: 1\non: freeze\n",
        error_text("{file}, line 2: unknown key 'on'", expected=f"one of {KEYS}"),
    ),
    "an unknown key of a rule": (
        rules("- train: a\n  optionl: true"),
        error_text(
            "{file}, line 4: unknown key 'optionl'",
            expected=f"one of {RULE_KEYS}",
            fix="did you mean 'optional'?",
        ),
    ),
    "no version": (
        "# a plan\ndefault: freeze\n",
        error_text(
            "{file}, line 2: the key 'frostline' is missing", fix="begin the plan with 'frostline: 1'"
        ),
    ),
    "another version": (
        "frostline: 2\n",
        error_text("{file}, line 1: frostline has a wrong value", received="2 (whole number)", expected="1"),
    ),
    "no mapping": (
        "- train: a\n",
        error_text("{file}, line 1: a plan is a mapping", received="list [{{'train': 'a'}}]"),
    ),
    "an unknown default": (
        "frostline: 1\ndefault: thaw\n",
        error_text(
            "{file}, line 2: default has a wrong value",
            received="'thaw' (text)",
            expected="'train' or 'freeze'",
        ),
    ),
    "rules that are not a list": (
        "frostline: 1\nrules:\n  train: a\n",
        error_text(
            "{file}, line 2: rules has a wrong value",
            received="mapping {{'train': 'a'}}",
            expected="a list",
        ),
    ),
    "a rule that is not a mapping": (
        rules("- train: a\n- head"),
        error_text(
            "{file}, line 4: rule 2 has a wrong value",
            received="'head' (text)",
            expected="a mapping such as {{train: 'head/**'}}",
        ),
    ),
    "a number that is text": (
        rules("- train: a\n  lr: fast"),
        error_text(
            "{file}, line 4: rule 1 lr has a wrong value", received="'fast' (text)", expected="a number"
        ),
    ),
    "a number in quotes": (
        rules("- train: a\n  lr: '1e-4'"),
        error_text(
            "{file}, line 4: rule 1 lr has a wrong value", received="'1e-4' (text)", expected="a number"
        ),
    ),
    "a number that is a truth": (
        rules("- train: a\n  decay: yes"),
        error_text(
            "{file}, line 4: rule 1 decay has a wrong value",
            received="True (true/false)",
            expected="a number",
        ),
    ),
    "a truth that is text": (
        rules("- train: a\n  optional: maybe"),
        error_text(
            "{file}, line 4: rule 1 optional has a wrong value",
            received="'maybe' (text)",
            expected="true or false",
        ),
    ),
    "a learning rate of 0": (
        rules("- train: a\n  lr: 0"),
        error_text(
            "{file}, line 4: rule 1 lr has a wrong value",
            received="0 (whole number)",
            expected="greater than 0",
        ),
    ),
    "a decay below 0": (
        rules("- train: a\n  decay: -0.5"),
        error_text(
            "{file}, line 4: rule 1 decay has a wrong value",
            received="-0.5 (number)",
            expected="greater than or equal to 0",
        ),
    ),
    "a selector that is a number": (
        rules("- train: 5"),
        error_text(
            "{file}, line 3: rule 1 train has a wrong value", received="5 (whole number)", expected=SELECTOR
        ),
    ),
    "a selector that is a list": (
        rules("- freeze: [a, b]"),
        error_text(
            "{file}, line 3: rule 1 freeze has a wrong value", received="list ['a', 'b']", expected=SELECTOR
        ),
    ),
    "a selector that is not there": (
        rules("- train:"),
        error_text("{file}, line 3: rule 1 train has a wrong value", received="nothing", expected=SELECTOR),
    ),
    "an empty selector": (
        rules("- train: ''"),
        error_text(
            "{file}, line 3: rule 1 train has a wrong value",
            received="'' (text)",
            expected="a selector such as 'head/**'",
        ),
    ),
    "both train and freeze": (
        rules("- train: a\n  freeze: b"),
        error_text(ONE_ACTION, received="a rule with the keys train, freeze"),
    ),
    "neither train nor freeze": (
        rules("- lr: 0.1"),
        error_text(ONE_ACTION, received="a rule with the keys lr"),
    ),
    "a rule of nothing": (rules("- {}"), error_text(ONE_ACTION, received="a rule without keys")),
    "an unknown combination": (
        rules("- optional: true\n  train: {or: [a, b]}"),
        error_text(
            "{file}, line 4: a combined selector cannot be read",
            received="{{'or': ['a', 'b']}}",
            expected="exactly one key: any or all with a list of selectors, or not with one selector",
        ),
    ),
}
BEYOND_SCHEMA = {
    "a duplicate key": (
        "frostline: 1\ndefault: freeze\ndefault: train\n",
        error_text(
            "{file}, line 3: the key 'default' stands twice",
            received="first on line 2, again on line 3",
            fix="keep one of them; several rules go into the list under 'rules:'",
        ),
    ),
    "a duplicate key of a rule": (
        rules("- train: a\n  train: b"),
        error_text(
            "{file}, line 4: the key 'train' stands twice",
            received="first on line 3, again on line 4",
            fix="keep one of them; several rules go into the list under 'rules:'",
        ),
    ),
    "a number without end": (
        rules("- train: a\n  decay: .inf"),
        error_text(
            "{file}, line 4: rule 1 decay has a wrong value",
            received="inf (number)",
            expected="a finite number",
        ),
    ),
    "an unreadable glob": (
        rules("- train: a\n- lr: 0.1\n  train: b**"),
        error_text(
            "{file}, line 5: the glob 'b**' has '**' next to other signs, at position 2",
            expected="'**' as a whole segment, as in 'a/**/b'",
        ),
    ),
    "an unreadable regular expression": (
        rules("- freeze: {any: [a, 're:(']}"),
        error_text(
            "{file}, line 3: the regular expression '(' cannot be read: "
            "missing ), unterminated subpattern at position 0",
            expected="the syntax of Python's re module",
        ),
    ),
    "an unknown prefix": (
        rules("- train: 'lst:3'"),
        error_text(
            "{file}, line 3: the selector 'lst:3' has an unknown prefix 'lst:'",
            expected="one of re:, type:, first:, last:, layer:, or a glob without a colon",
            fix="did you mean 'last:3'?",
        ),
    ),
    "a frozen learning rate": (
        rules("- lr: 0.1\n  freeze: a"),
        error_text(
            "{file}, line 4: the rule freeze 'a' has a learning rate or a decay",
            expected="lr and decay on rules that train: frozen weights do not move at all",
        ),
    ),
    "a star without quotes": (
        rules("- train: **/bias"),
        error_text(
            "{file}, line 3: this is not YAML: expected alphabetic or numeric character, but found '*'",
            fix=QUOTE,
        ),
    ),
    "an open bracket": (
        "frostline: 1\nrules: [\n",
        error_text(
            "{file}, line 3: this is not YAML: expected the node content, but found '<stream end>'",
            fix=QUOTE,
        ),
    ),
    "a tab": (
        rules("\t- train: a"),
        error_text(
            "{file}, line 3: this is not YAML: found character '\\t' that cannot start any token",
            fix="indent with spaces",
        ),
    ),
    "a control character": (
        "frostline: 1\n# \x00\n",
        error_text("{file}, line 2: a control character cannot stand here", received="0x00"),
    ),
    "a list that holds itself": (
        "frostline: 1\nrules: &all [*all]\n",
        error_text("{file}: lists or mappings are nested too deeply, or hold themselves"),
    ),
    "nothing": ("", error_text("{file} is empty", fix="write one with `frostline init MODEL`")),
    "comments only": ("# soon\n", error_text("{file} is empty", fix="write one with `frostline init MODEL`")),
    "Latin-1": (
        b"frostline: 1\n# caf\xe9\n",
        error_text("the plan file '{file}' is not text in UTF-8", received="byte 0xe9 on line 2"),
    ),
}


@pytest.mark.parametrize("case", [*BY_SCHEMA, *BEYOND_SCHEMA])
def test_a_mistake_is_named_with_its_line(tmp_path: Path, case: str) -> None:
    text, message = (BY_SCHEMA | BEYOND_SCHEMA)[case]
    path = tmp_path / "plan.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert message_of_loading(fl.Plan.load, path) == message.format(file=path)


JSON = {
    "an unknown key behind tabs": (
        '{\n\t"frostline": 1,\n\t"defalt": "freeze"\n}',
        error_text(
            "{file}, line 3: unknown key 'defalt'", expected=f"one of {KEYS}", fix="did you mean 'default'?"
        ),
    ),
    "a duplicate key": (
        '{"frostline": 1,\n "default": "train",\n "default": "freeze"}',
        error_text(
            "{file}, line 3: the key 'default' stands twice",
            received="first on line 2, again on line 3",
            fix="keep one of them; several rules go into the list under 'rules:'",
        ),
    ),
    "a missing comma": (
        '{"frostline": 1\n "default": "freeze"}',
        error_text("{file}, line 2: this is not JSON: Expecting ',' delimiter, column 2"),
    ),
    "a tab in text": (
        '{"frostline": 1,\n "default": "fr\teeze"}',
        error_text("{file}, line 2: this is not JSON: Invalid control character at, column 16"),
    ),
    "YAML": (
        "frostline: 1\n",
        error_text("{file}, line 1: this is not JSON: Expecting value, column 1"),
    ),
    "not a number": (
        '{"frostline": 1, "rules": [\n{"train": "a", "lr": NaN}]}',
        error_text(
            "{file}, line 2: rule 1 lr has a wrong value", received="nan (number)", expected="a finite number"
        ),
    ),
    "a cut file": (
        '{"frostline": 1, "rules": [\n{"train": "a"',
        error_text("{file}, line 2: this is not JSON: Expecting ',' delimiter, column 14"),
    ),
    "nothing": (" \n", error_text("{file} is empty", fix="write one with `frostline init MODEL`")),
}


@pytest.mark.parametrize("case", JSON)
def test_a_mistake_in_json_is_named_with_its_line(tmp_path: Path, case: str) -> None:
    text, message = JSON[case]
    path = tmp_path / "plan.json"
    path.write_text(text)
    assert message_of_loading(fl.Plan.load, path) == message.format(file=path)


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("frostline: 1")
    assert message_of_loading(fl.Plan.load, tmp_path / "pln.yaml") == (
        f"there is no plan file '{tmp_path}/pln.yaml'.\n  fix:      the folder '{tmp_path}' has plan.yaml"
    )


def test_an_unwritable_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlanFileError) as caught:
        fl.Plan().save(tmp_path / "file" / "plan.yaml")
    assert str(caught.value) == (
        f"cannot write '{tmp_path}/file/plan.yaml': Not a directory.\n"
        "  expected: a folder that exists and that you may write to\n"
        "  fix:      name another output file"
    )


# The schema -----------------------------------------------------------------------------------------


def test_the_published_schema_is_the_schema() -> None:
    """To renew the file, write `frostline.plan_schema()` into it."""
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == fl.plan_schema()


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(fl.plan_schema())


def test_the_schema_can_be_changed_by_its_caller() -> None:
    fl.plan_schema()["$defs"]["Selector"].clear()
    assert fl.plan_schema()["$defs"]["Selector"]


@pytest.mark.parametrize("case", BY_SCHEMA)
def test_a_mistake_is_one_by_the_schema_too(case: str) -> None:
    data: Any = yaml.safe_load(BY_SCHEMA[case][0])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, fl.plan_schema())


def test_aliases_that_multiply_are_refused(tmp_path: Path) -> None:
    rows = ["frostline: 1", 'a: &a ["x", "x", "x", "x", "x", "x", "x", "x", "x", "x"]']
    names = "abcdefghij"
    for earlier, name in pairwise(names):
        rows.append(f"{name}: &{name} [{', '.join([f'*{earlier}'] * 10)}]")
    path = tmp_path / "plan.yaml"
    path.write_text("\n".join(rows))
    with pytest.raises(PlanFileError) as raised:
        fl.Plan.load(path)
    assert str(raised.value) == (
        f"{path}, line 2: the plan has more than 100,000 values.\n"
        "  fix:      look for aliases (*name) of lists that hold aliases, which multiply"
    )
