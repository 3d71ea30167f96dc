"""The text of a watch: as wide as is asked for, and one advice for several findings once."""

from __future__ import annotations

import keras
import pytest

import frostline as fl
from helpers.watched_programs import mlp, numbers, target


@pytest.mark.every_backend
@pytest.mark.parametrize("columns", ["60", "", "nonsense"])
def test_lines_fit_and_one_advice_is_said_once(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    model, x = mlp("linear"), numbers(4)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    watch = fl.callbacks.Watch(x, target(x))
    model.fit(x, target(x), epochs=2, verbose=0, callbacks=[watch])
    text = str(watch)
    assert max(map(len, text.splitlines())) <= int(columns if columns.isdigit() else 100)
    grown = [one for one in watch.findings if one.code == "FL603"]
    assert len(grown) > 3
    joined = " ".join(text.split())
    assert joined.count(f"fix: {grown[0].remedy}") == 1
    assert all(" ".join(one.fact.split()) in joined for one in grown)


@pytest.mark.every_backend
def test_an_audit_fits_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    model, x = mlp("linear"), numbers(4)
    model.compile(keras.optimizers.SGD(1e6), "mse")
    text = str(fl.audit(model, x, target(x)))
    assert "FL112" in text
    assert max(map(len, text.splitlines())) <= 60
