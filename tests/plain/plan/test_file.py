"""Plan files: what goes out comes in again, and the schema says what may stand there."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import frostline as fl
from frostline.errors import PlanError
from helpers.folders import SCHEMAS

PUBLISHED = SCHEMAS / "plan.json"


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
        action = draw(st.sampled_from(["train", "freeze", "assigned"]))
        if action == "train":
            lr, decay = draw(numbers.filter(bool)), draw(numbers)
            plan = plan.train(of, lr=lr, decay=decay, optional=optional)
        else:
            plan = getattr(plan, action)(of, optional=optional)
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


# The schema -----------------------------------------------------------------------------------------


def test_the_published_schema_is_the_schema() -> None:
    """To renew the file, write `frostline.plan_schema()` into it."""
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == fl.plan_schema()


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(fl.plan_schema())


def test_the_schema_can_be_changed_by_its_caller() -> None:
    fl.plan_schema()["$defs"]["Selector"].clear()
    assert fl.plan_schema()["$defs"]["Selector"]
