"""Fingerprints held against each other, without a model."""

from __future__ import annotations

from typing import Any

import pytest

from frostline import Fingerprint, Plan, verify
from frostline.errors import FrostlineError, VerificationError
from frostline.model.inventory import Role
from frostline.verification.fingerprint import Digest
from frostline.verification.outcomes import Evidence
from frostline.verification.verify import compare


def fingerprint(values: dict[str, str], role: Role = "weight") -> Fingerprint:
    """One value is one digest."""
    return Fingerprint({a: Digest(role, (2,), "float32", value) for a, value in values.items()})


OLD, NEW = fingerprint({"a": "0"}), fingerprint({"a": "1"})


@pytest.mark.parametrize(
    ("role", "allowed", "after", "outcome", "ok"),
    [
        ("weight", False, "0", "intact", True),
        ("weight", False, "1", "changed", False),
        ("weight", True, "0", "unmoved", True),
        ("weight", True, "1", "trained", True),
        ("statistic", False, "0", "held", True),
        ("statistic", False, "1", "changed", False),
        ("statistic", True, "0", "held", True),
        ("statistic", True, "1", "moved", True),
        ("seed", False, "1", "state", True),
        ("metric", False, "1", "state", True),
    ],
)
def test_each_outcome(role: Role, allowed: bool, after: str, outcome: str, ok: bool) -> None:
    names = ["a"] if allowed else []
    trained, moving = (names, []) if role == "weight" else ([], names)
    found = compare(fingerprint({"a": "0"}, role), fingerprint({"a": after}, role), trained, moving)
    (finding,) = found.findings
    assert (finding.address, finding.role, finding.outcome, finding.violation) == ("a", role, outcome, not ok)
    assert found.ok is ok
    assert found.of(outcome) == ("a",)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["weight", "statistic"])
def test_what_code_was_to_assign(role: Role) -> None:
    before = fingerprint({"a": "0", "b": "0"}, role)
    after = fingerprint({"a": "1", "b": "0"}, role)
    found = compare(before, after, [], [], assigned=["a", "b"])
    assert found.ok
    assert found.of("assigned") == ("a",)
    assert found.of("unmoved" if role == "weight" else "held") == ("b",)
    remarks = ["did not move: b: no code assigned to it"] if role == "weight" else []
    assert found.remarks == remarks
    both = compare(before, after, ["a"], [], assigned=["a"])
    assert both.of("trained" if role == "weight" else "moved") == ("a",)
    spoilt = Fingerprint({**after, "a": Digest(role, (2,), "float32", "1", not_finite=1)})
    assert compare(before, spoilt, [], [], assigned=["a", "b"]).of("not finite") == ("a",)


def test_what_moved_without_a_gradient_is_not_called_trained() -> None:
    before = fingerprint({"a": "0", "b": "0", "c": "0"})
    after = fingerprint({"a": "1", "b": "0", "c": "1"})
    evidence = Evidence(("a", "b"), {"b": "no gradient"}, ("c",))
    found = compare(before, after, ["a", "b", "c"], [], evidence=evidence)
    assert [f.outcome for f in found.findings] == ["decay alone", "unmoved", "trained"]
    assert found.ok and not found.nothing_trained
    assert found.remarks == [
        "did not move: b: no gradient",
        "moved without a gradient of the loss: a",
        "not known: whether a gradient of the loss moved c",
    ]
    stuck = fingerprint({"a": "1", "b": "0", "c": "0"})
    assert compare(before, stuck, ["a", "b"], [], evidence=evidence).nothing_trained
    assert Evidence.from_data(evidence.to_data()) == evidence
    assert Evidence.from_data({}) == Evidence()


@pytest.mark.parametrize("trained", [[], ["b"]])
@pytest.mark.parametrize("swapped", [False, True])
def test_what_is_in_one_only_is_missing(trained: list[str], swapped: bool) -> None:
    one, two = fingerprint({"a": "0", "b": "0"}), fingerprint({"a": "0"})
    found = compare(two, one, trained, []) if swapped else compare(one, two, trained, [])
    assert found.of("missing") == ("b",)
    assert not found.ok


def test_state_in_one_only_is_no_matter() -> None:
    one = Fingerprint({**OLD, "metrics/loss/total": Digest("metric", (), "float32", "0")})
    assert compare(one, OLD, [], []).ok
    assert compare(OLD, one, [], []).ok


@pytest.mark.parametrize(
    "other", [Digest("weight", (1, 2), "float32", "0"), Digest("weight", (2,), "float16", "0")]
)
def test_another_shape_or_dtype_is_a_change(other: Digest) -> None:
    assert compare(OLD, Fingerprint({"a": other}), [], []).of("changed") == ("a",)


def test_different_models() -> None:
    one = fingerprint({"head/kernel": "0", "head/bias": "0"})
    two = fingerprint({"heads/kernel": "0", "x": "0", "y": "0", "z": "0"})
    with pytest.raises(FrostlineError) as caught:
        compare(one, two, [], [])
    assert str(caught.value) == (
        "the two fingerprints are of different models: they share no address.\n"
        "  received: head/kernel, head/bias before; heads/kernel, x, y and 1 more after\n"
        "  fix:      did you mean heads/kernel?"
    )
    with pytest.raises(FrostlineError) as caught:
        compare(OLD, fingerprint({"zzz": "0"}), [], [])
    assert caught.value.remedy is None


def test_a_violation_is_raised_by_name() -> None:
    before = fingerprint({"a": "0", "b": "0", "c": "0"})
    found = compare(before, fingerprint({"a": "1", "c": "1"}), ["c"], [])
    with pytest.raises(VerificationError) as caught:
        found.require_ok()
    assert str(caught.value) == (
        "2 frozen variables changed or went missing.\n"
        "  received: a (changed), b (missing)\n"
        "  expected: bits identical to those before training\n"
        "  fix:      see what assigns to them: a callback, an assign in `call`, an optimizer of your own; "
        "where that is meant, say so in the plan: .assigned('a')"
    )
    assert str(found).splitlines()[-1] == "NOT verified: frozen numbers changed"
    assert found.to_data() == {
        "ok": False,
        "counts": {"changed": 1, "trained": 1, "missing": 1},
        "violations": [{"address": "a", "outcome": "changed"}, {"address": "b", "outcome": "missing"}],
        "partial": {},
        "unmoved": [],
        "no_gradient": [],
        "why_unmoved": {},
        "untold": [],
    }


def test_nothing_is_raised_where_all_holds() -> None:
    found = compare(OLD, NEW, ["a"], [])
    found.require_ok()
    assert str(found).splitlines() == [
        "count  outcome  meaning                      variables",
        "    1  trained  planned to train, and moved  a",
        "",
        "verified: every frozen number is bit-identical",
    ]


def test_verify_takes_a_fingerprint_only() -> None:
    before: Any = {"a": "0"}
    with pytest.raises(FrostlineError) as caught:
        verify(None, before, Plan())
    assert str(caught.value) == (
        "this is not a fingerprint.\n"
        "  received: an object of type dict\n"
        "  expected: what frostline.fingerprint(model) returned before training"
    )


# Fingerprints as values ---------------------------------------------------------------------------


def test_a_fingerprint_is_compared_by_value_and_hashes_alike() -> None:
    one, two = fingerprint({"a": "0", "b": "1"}), fingerprint({"b": "1", "a": "0"})
    assert one == two
    assert hash(one) == hash(two)
    assert OLD not in (one, NEW)
    assert str(OLD) == f"Fingerprint of 1 variable: {OLD.combined[:16]}"


@pytest.mark.parametrize(
    ("address", "digest"),
    [
        ("b", Digest("weight", (2,), "float32", "0")),
        ("a", Digest("weight", (2, 1), "float32", "0")),
        ("a", Digest("weight", (2,), "float16", "0")),
        ("a", Digest("weight", (2,), "float32", "1")),
    ],
)
def test_the_combined_digest_is_of_address_shape_dtype_and_values(address: str, digest: Digest) -> None:
    assert Fingerprint({address: digest}).combined != OLD.combined


def test_the_combined_digest_leaves_state_out() -> None:
    seed = Digest("seed", (2,), "uint32", "5")
    assert Fingerprint({**OLD, "drop/seed_generator/state": seed}).combined == OLD.combined


def test_plain_data_and_back() -> None:
    assert Fingerprint.from_data(OLD.to_data()) == OLD
    with pytest.raises(ValueError, match="unknown role 'wait'"):
        Digest.from_data({"role": "wait", "shape": [], "dtype": "float32", "blake3": ""})


@pytest.mark.parametrize(
    ("changed", "rules"),
    [
        (["t/a"], ".assigned('t/a')"),
        (["t/a", "t/b"], ".assigned('t/**')"),
        (["t/in/a", "t/in/b"], ".assigned('t/in/**')"),
        (["t/in/a", "u/in/b"], ".assigned('t/in/a').assigned('u/in/b')"),
        (["a", "b", "c", "d"], ".assigned('a').assigned('b').assigned('c') and 1 more"),
    ],
)
def test_the_remedy_names_rules_for_all_that_changed(changed: list[str], rules: str) -> None:
    found = compare(
        fingerprint(dict.fromkeys(changed, "0")), fingerprint(dict.fromkeys(changed, "1")), [], []
    )
    with pytest.raises(VerificationError) as caught:
        found.require_ok()
    assert caught.value.remedy is not None
    assert caught.value.remedy.endswith(f"say so in the plan: {rules}")
