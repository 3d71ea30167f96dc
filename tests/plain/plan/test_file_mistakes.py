"""Plan files with mistakes: each is named with its file and line."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import frostline as fl
from frostline.errors import PlanFileError
from helpers.messages import error_text, message_of_loading

KEYS = "frostline, default, batchnorm, stochastic, rules, phases"
RULE_KEYS = "train, freeze, assigned, lr, decay, optional, rows, columns, index, mask, via"
SELECTOR = "a selector: text such as 'head/**', or a mapping with any, all or not"
QUOTE = "quote selectors: train: 'head/**'"


# Errors -------------------------------------------------------------------------------------------


def rules(text: str) -> str:
    return f"frostline: 1\nrules:\n{text}\n"


ONE_ACTION = "{file}, line 3: a rule needs exactly one of 'train', 'freeze' and 'assigned'"


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
            expected="lr and decay only on rules that train: frozen weights do not change",
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
        error_text(
            "{file}, line 2: lists or mappings are nested too deeply, or contain themselves: more than 100 "
            "levels"
        ),
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
        f"{path}, line 2: the plan has more than 10,000 values.\n"
        "  fix:      look for aliases (*name) of lists that hold aliases, which multiply"
    )
