"""`frostline verify`: receipts that hold, that do not hold, and that cannot be read."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import frostline as fl
from helpers.command_line import Runner


def test_verify(run: Runner) -> None:
    done = run("verify", "receipt.json", "--before", "base.keras", "--after", "tuned.keras")
    assert done.code == 0
    assert done.lines[2:6] == [
        "count  outcome  meaning                                     variables",
        "    2  intact   frozen, every bit as before                 a/kernel, a/bias",
        "    2  trained  planned to train, and moved                 head/kernel, head/bias",
        "    2  state    seed, metric or layer state, never trained  metrics/loss/total, metrics/loss/count",
    ]
    assert done.lines[6:] == [
        "",
        "the receipt says: every frozen number is bit-identical",
        "",
        "checked: the receipt itself, the plan in it, the model before training, the model after training",
        "verified: the receipt holds for both models",
    ]


def test_verify_the_receipt_alone(run: Runner) -> None:
    done = run("verify", "receipt.json")
    assert done.code == 0
    assert done.lines[-5:] == [
        "checked: the receipt itself",
        "not checked: the plan in it: it takes one of the two models",
        "not checked: the model before training: give it as --before MODEL",
        "not checked: the model after training: give it as --after MODEL",
        "holds as far as it was checked: 3 things were not checked",
    ]


def test_verify_json(run: Runner) -> None:
    data = run("verify", "receipt.json", "--after", "tuned.keras", "--json").data
    assert (data["frostline"], data["ok"], data["checked"], data["problems"]) == (
        1,
        True,
        ["receipt", "plan", "after"],
        [],
    )
    assert data["not_checked"] == {"before": "give it as --before MODEL"}
    assert data["verification"]["counts"]["intact"] == 2


def test_verify_against_the_wrong_models(run: Runner) -> None:
    done = run("verify", "receipt.json", "--before", "tuned.keras", "--after", "bn.keras")
    assert done.code == 1
    assert done.lines[-6:-1] == [
        "",
        "checked: the receipt itself, the plan in it, the model before training, the model after training",
        "problem: the model before training has other values than the receipt says in 2 variables: "
        "head/kernel, head/bias",
        "problem: the model after training lacks head/kernel, head/bias",
        "problem: the model after training has bn/gamma, bn/beta, bn/moving_mean, bn/moving_variance, "
        "b/kernel and 1 more, which the receipt does not know",
    ]
    assert done.lines[-1] == "FAILED: 3 things do not hold"
    data = run("verify", "receipt.json", "--before", "tuned.keras", "--json")
    assert data.code == 1
    assert data.data["ok"] is False
    assert len(data.data["problems"]) == 1


def test_verify_a_receipt_that_speaks_against_itself(run: Runner) -> None:
    held = fl.Receipt.load("receipt.json")
    fl.Receipt(**{**vars(held), "trained": ("head/kernel",)}).save("receipt.json")
    done = run("verify", "receipt.json")
    assert done.code == 1
    assert "the receipt says: frozen numbers changed" in done.lines
    assert done.lines[-2:] == [
        "problem: by the receipt itself, head/bias was frozen and changed",
        "FAILED: 1 thing does not hold",
    ]


def test_verify_holds_what_trained_against_the_plan(run: Runner) -> None:
    held = fl.Receipt.load("receipt.json")
    after = dict(held.after.digests)
    after["a/kernel"] = dataclasses.replace(after["a/kernel"], blake3="0" * 64)
    forged = {"trained": (*held.trained, "a/kernel"), "after": fl.Fingerprint(after)}
    fl.Receipt(**{**vars(held), **forged}).save("receipt.json")
    assert run("verify", "receipt.json").code == 0
    done = run("verify", "receipt.json", "--before", "base.keras")
    assert done.code == 1
    assert done.lines[-2] == "problem: by the plan in the receipt, a/kernel had to stay fixed"


@pytest.mark.parametrize("plan", ["Plan().train(<function>)", None])
def test_verify_says_that_a_plan_was_not_checked(run: Runner, plan: str | None) -> None:
    held = fl.Receipt.load("receipt.json")
    fl.Receipt(**{**vars(held), "plan": plan}).save("receipt.json")
    done = run("verify", "receipt.json", "--before", "base.keras", "--after", "tuned.keras")
    assert done.code == 0
    assert done.lines[-2].startswith("not checked: the plan in it: ")
    assert done.lines[-1] == "holds as far as it was checked: 1 thing was not checked"


def test_verify_notices_a_plan_that_is_wider_than_what_trained(run: Runner) -> None:
    held = fl.Receipt.load("receipt.json")
    fl.Receipt(**{**vars(held), "plan": fl.Plan(default="train").to_data()}).save("receipt.json")
    done = run("verify", "receipt.json", "--before", "base.keras", "--after", "tuned.keras")
    assert done.code == 1
    assert done.lines[-2:] == [
        "problem: by the plan in the receipt, a/bias, a/kernel had to train, which it lists as fixed",
        "FAILED: 1 thing does not hold",
    ]


def test_an_altered_receipt(run: Runner, folder: Path) -> None:
    path = folder / "receipt.json"
    path.write_text(path.read_text().replace('"two_layers"', '"three_layers"'))
    assert run.fails("verify", "receipt.json").splitlines()[0] == (
        "the receipt 'receipt.json' was altered after it was written."
    )


@pytest.mark.parametrize("name", ["plan.json", "base.keras"])
def test_no_receipt(run: Runner, name: str) -> None:
    message = run.fails("verify", name)
    if name == "plan.json":
        assert message == (
            "'plan.json' is not a receipt that this version of Frostline reads.\n"
            "  received: no key 'frostline_receipt' with the value 1\n"
            "  expected: the JSON that Receipt.save writes, version 1"
        )
    else:
        assert message.startswith("the receipt 'base.keras' is not text in UTF-8.\n  received: byte 0x")


def test_a_missing_receipt(run: Runner) -> None:
    assert run.fails("verify", "reciept.json") == (
        "there is no receipt 'reciept.json'.\n  fix:      the folder '.' has receipt.json, plan.json"
    )
