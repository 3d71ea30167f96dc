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
        "    2  state    random-seed or metric state, never trained  metrics/loss/total, metrics/loss/count",
    ]
    assert done.lines[-1] == "verified: every frozen number is bit-identical"
    assert done.err == "holds: checked the receipt itself and the model before and the model after training\n"


def test_verify_the_receipt_alone(run: Runner) -> None:
    done = run("verify", "receipt.json")
    assert done.code == 0
    assert done.err == (
        "holds: checked the receipt itself\nto check the models too: --before BASE --after TUNED\n"
    )


def test_verify_json(run: Runner) -> None:
    data = run("verify", "receipt.json", "--after", "tuned.keras", "--json").data
    assert (data["frostline"], data["ok"], data["checked"], data["problems"]) == (
        1,
        True,
        ["receipt", "after"],
        [],
    )
    assert data["verification"]["counts"]["intact"] == 2


def test_verify_against_the_wrong_models(run: Runner) -> None:
    done = run("verify", "receipt.json", "--before", "tuned.keras", "--after", "bn.keras")
    assert done.code == 1
    assert done.err.splitlines() == [
        "problem: the model before training has other values than the receipt says in 2 variables: "
        "head/kernel, head/bias",
        "problem: the model after training lacks head/kernel, head/bias",
        "problem: the model after training has bn/gamma, bn/beta, bn/moving_mean, bn/moving_variance, "
        "b/kernel and 1 more, which the receipt does not know",
        "FAILED: checked the receipt itself and the model before and the model after training",
    ]
    data = run("verify", "receipt.json", "--before", "tuned.keras", "--json")
    assert data.code == 1
    assert data.data["ok"] is False
    assert len(data.data["problems"]) == 1


def test_verify_a_receipt_that_speaks_against_itself(run: Runner) -> None:
    held = fl.Receipt.load("receipt.json")
    fl.Receipt(**{**vars(held), "trained": ("head/kernel",)}).save("receipt.json")
    done = run("verify", "receipt.json")
    assert done.code == 1
    assert done.lines[-1] == "NOT verified: frozen numbers changed"
    assert done.err.splitlines()[0] == ("problem: by the receipt itself, head/bias changed, which was frozen")


def test_verify_holds_what_trained_against_the_plan(run: Runner) -> None:
    held = fl.Receipt.load("receipt.json")
    after = dict(held.after.digests)
    after["a/kernel"] = dataclasses.replace(after["a/kernel"], blake3="0" * 64)
    forged = {"trained": (*held.trained, "a/kernel"), "after": fl.Fingerprint(after)}
    fl.Receipt(**{**vars(held), **forged}).save("receipt.json")
    assert run("verify", "receipt.json").code == 0
    done = run("verify", "receipt.json", "--before", "base.keras")
    assert done.code == 1
    assert done.err.splitlines()[0] == "problem: by the plan in the receipt, a/kernel had to stay fixed"


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
