"""Receipts, made of plain digests: written, read, checked. No model, no Keras."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from frostline import Fingerprint, Plan, Receipt
from frostline.errors import ModelFileError
from frostline.verification.fingerprint import Digest


def digest(value: str, role: Any = "weight") -> Digest:
    return Digest(role, (2, 3), "float32", value * 64)


BEFORE = Fingerprint(
    {
        "embed/embeddings": digest("0"),
        "norm/moving_mean": digest("1", "statistic"),
        "drop/seed_generator/state": digest("2", "seed"),
        "head/kernel": digest("3"),
    }
)
AFTER = Fingerprint({**BEFORE, "head/kernel": digest("4"), "drop/seed_generator/state": digest("5", "seed")})
RECEIPT = Receipt(
    model="words",
    plan=Plan().train("head/**", lr=0.1).to_data(),
    trained=("head/kernel",),
    moving=(),
    before=BEFORE,
    after=AFTER,
    data={"x": "blake3:00", "y": "not digested: generator may give other data the next time"},
    versions={"frostline": "0.1.0", "keras": "3.15.1"},
    started="2026-11-22T05:00:00+00:00",
    seconds=1.25,
)


def message_of_loading(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        Receipt.load(path)
    return str(caught.value)


def altered(path: Path, change: Callable[[dict[str, Any]], Any], *, signed: bool = False) -> Path:
    """Write the receipt with a change, and on request with a digest that fits the change."""
    data = RECEIPT.to_data()
    change(data)
    if signed:
        data.pop("blake3", None)
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        data["blake3"] = blake3(text.encode()).hexdigest()
    path.write_text(json.dumps(data))
    return path


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    RECEIPT.save(path)
    assert Receipt.load(path) == RECEIPT
    assert Receipt.load(str(path)).to_data() == json.loads(path.read_text())
    assert [p.name for p in tmp_path.iterdir()] == ["receipt.json"]


def test_a_plan_as_text_and_names_beyond_ascii(tmp_path: Path) -> None:
    receipt = replace(RECEIPT, model="größe 😀", plan="default: freeze\n1. train <small>")
    receipt.save(tmp_path / "receipt.json")
    assert Receipt.load(tmp_path / "receipt.json") == receipt


def test_layout_and_order_of_keys_are_no_alteration(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    data = RECEIPT.to_data()
    path.write_text(json.dumps(dict(reversed(data.items())), indent=8))
    assert Receipt.load(path) == RECEIPT


def test_what_a_receipt_proves() -> None:
    assert RECEIPT.verification.ok
    assert RECEIPT.verification.of("trained") == ("head/kernel",)
    assert RECEIPT.to_data()["verification"] == RECEIPT.verification.to_data()
    assert str(RECEIPT).splitlines()[:2] == [
        "Receipt for words, 2026-11-22T05:00:00+00:00, 1.2 s",
        f"trained 1 weight; before {BEFORE.combined[:16]}, after {AFTER.combined[:16]}",
    ]


# Reading ------------------------------------------------------------------------------------------


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "model": lambda data: data.update(model="other"),
    "value": lambda data: data["after"]["embed/embeddings"].update(blake3="9" * 64),
    "shape": lambda data: data["after"]["embed/embeddings"]["shape"].append(1),
    "trained": lambda data: data["trained"].append("embed/embeddings"),
    "removed": lambda data: data.pop("versions"),
    "added": lambda data: data.update(note="checked"),
    "digest": lambda data: data.update(blake3="0" * 64),
    "no digest": lambda data: data.pop("blake3"),
    "verdict": lambda data: data["verification"].update(ok=False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_altered_file_is_refused(tmp_path: Path, change: str) -> None:
    path = altered(tmp_path / "receipt.json", CHANGES[change])
    data = json.loads(path.read_text())
    claimed = str(data.pop("blake3", None))
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    assert message_of_loading(path) == (
        f"the receipt '{path}' was altered after it was written.\n"
        f"  received: content with the digest {blake3(text.encode()).hexdigest()[:16]}…\n"
        f"  expected: the digest in it, {claimed[:16]}…\n"
        "  fix:      ask for the file that the training run wrote"
    )


@given(st.data())
def test_no_changed_character_goes_unseen(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text = json.dumps(RECEIPT.to_data(), indent=1)
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from('0aZ}{:," \n\\'))
    path = tmp_path_factory.getbasetemp() / "changed.json"
    path.write_text(text[:place] + letter + text[place + 1 :])
    try:
        assert Receipt.load(path) == RECEIPT
    except ModelFileError:
        assert text[place] != letter


WRITTEN = "  expected: the JSON that Receipt.save writes, version 1"


def test_a_file_of_another_version(tmp_path: Path) -> None:
    path = altered(tmp_path / "receipt.json", lambda data: data.update(frostline_receipt=2), signed=True)
    assert message_of_loading(path) == (
        f"'{path}' is not a receipt that this version of Frostline reads.\n"
        f"  received: no key 'frostline_receipt' with the value 1\n{WRITTEN}"
    )


@pytest.mark.parametrize("text", ["[]", "3", '{"frostline": 1}', "null"])
def test_other_json(tmp_path: Path, text: str) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(text)
    assert message_of_loading(path) == (
        f"'{path}' is not a receipt that this version of Frostline reads.\n"
        f"  received: no key 'frostline_receipt' with the value 1\n{WRITTEN}"
    )


def test_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    RECEIPT.save(path)
    path.write_text(path.read_text()[: len('{\n "frostline_receipt": 1,\n "model": "words"')])
    assert message_of_loading(path) == (
        f"'{path}' is not a receipt that this version of Frostline reads.\n"
        f"  received: line 3: Expecting ',' delimiter\n{WRITTEN}"
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: data.pop("after"), "KeyError: 'after'"),
        (lambda data: data["before"]["head/kernel"].update(role="wait"), "ValueError: unknown role 'wait'"),
        (
            lambda data: data.update(before=[1]),
            "AttributeError: 'list' object has no attribute 'items'",
        ),
        (lambda data: data.update(trained=3), "TypeError: 'int' object is not iterable"),
        (lambda data: data.update(seconds="x"), "ValueError: could not convert string to float: 'x'"),
    ],
)
def test_a_digest_that_fits_does_not_make_a_receipt(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], why: str
) -> None:
    path = altered(tmp_path / "receipt.json", change, signed=True)
    assert message_of_loading(path) == (
        f"'{path}' is not a receipt that this version of Frostline reads.\n  received: {why}\n{WRITTEN}"
    )


def test_a_missing_file(tmp_path: Path) -> None:
    RECEIPT.save(tmp_path / "receipt.json")
    assert message_of_loading(tmp_path / "reciept.json") == (
        f"there is no receipt '{tmp_path}/reciept.json'.\n"
        f"  fix:      the folder '{tmp_path}' has receipt.json"
    )


def test_an_unwritable_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFileError, match=r"cannot write '.*/file/receipt\.json': Not a directory"):
        RECEIPT.save(tmp_path / "file" / "receipt.json")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# Checking -----------------------------------------------------------------------------------------


def test_what_holds_gives_no_sentence() -> None:
    assert RECEIPT.check() == []
    assert RECEIPT.check(before=BEFORE, after=AFTER) == []


def test_random_state_and_metrics_are_not_held_against_a_model() -> None:
    saved = Fingerprint({a: d for a, d in AFTER.items() if d.role != "seed"})
    assert RECEIPT.check(after=saved) == []


def test_a_receipt_can_speak_against_itself() -> None:
    after = {**AFTER, "embed/embeddings": digest("9")}
    del after["norm/moving_mean"]
    assert replace(RECEIPT, after=Fingerprint(after)).check() == [
        "by the receipt itself, embed/embeddings was frozen and changed",
        "by the receipt itself, norm/moving_mean is missing",
    ]


def test_a_model_with_other_values() -> None:
    assert RECEIPT.check(before=AFTER) == [
        "the model before training has other values than the receipt says in 1 variable: head/kernel"
    ]
    assert RECEIPT.check(before=AFTER, after=BEFORE)[1:] == [
        "the model after training has other values than the receipt says in 1 variable: head/kernel"
    ]


def test_another_model() -> None:
    other = Fingerprint({"tail/kernel": digest("0"), "head/kernel": digest("4")})
    assert RECEIPT.check(after=other) == [
        "the model after training lacks embed/embeddings, norm/moving_mean",
        "the model after training has tail/kernel, which the receipt does not know",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"trained": [[]]},
        {"moving": [{}]},
        {"assigned": [[1]]},
        {"before": {"a\ud800": {"role": "weight", "shape": [1], "dtype": "\ud800", "blake3": "0" * 64}}},
    ],
    ids=str,
)
def test_a_receipt_that_somebody_wrote_anew_with_other_types(tmp_path: Path, change: dict[str, Any]) -> None:
    from frostline.errors import FrostlineError
    from frostline.files.sealed import sealed

    data = {name: value for name, value in RECEIPT.to_data().items() if name != "blake3"}
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(sealed({**data, **change})))
    try:
        found = Receipt.load(path)
        found.check(after=AFTER)
        assert str(found)
    except FrostlineError:
        pass
