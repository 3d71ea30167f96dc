"""Steps of the smoke: recurrent models under the audit, `why` and the check before training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers
from public import BACKEND, Stopped, fl
from used import STEPS, step

X = np.random.default_rng(0).normal(size=(8, 4, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(8, 1)).astype("float32")

KINDS: dict[str, Callable[[], list[Any]]] = {
    "LSTM": lambda: [layers.LSTM(3, name="rnn")],
    "GRU": lambda: [layers.GRU(3, name="rnn")],
    "SimpleRNN": lambda: [layers.SimpleRNN(3, go_backwards=True, name="rnn")],
    "Bidirectional": lambda: [layers.Bidirectional(layers.LSTM(2), name="rnn")],
    "stacked": lambda: [layers.LSTM(3, return_sequences=True, name="rnn"), layers.GRU(2, name="top")],
    "cells in one RNN": lambda: [layers.RNN([layers.LSTMCell(2), layers.GRUCell(3)], name="rnn")],
}


def net(kind: str, *, cut: bool) -> keras.Model:
    between = [Stopped()] if cut else []
    model = keras.Sequential([keras.Input((4, 3)), *KINDS[kind](), *between, layers.Dense(1, name="head")])
    model.compile("adam", "mse")
    return model


def looked_at(kind: str) -> Any:
    """Whole it trains, and says so; cut it is refused, with the line."""
    whole = net(kind, cut=False)
    assert set(fl.audit(whole, X, Y).statuses.values()) == {"trains"}
    run = fl.fit(whole, fl.Plan().train("**"), X, Y, verbose=0)
    run.verification.require_ok()
    assert run.gradients_not_checked == ""
    model = net(kind, cut=True)
    answer = fl.audit(model, X, Y)
    below = [address for address in answer.statuses if not address.startswith("head/")]
    assert below and {answer.statuses[address] for address in below} == {"cut"}
    one = fl.why(model, below[0], X, Y)
    assert one.cuts[0].where.source.endswith("# cut")
    try:
        fl.fit(model, fl.Plan().train("rnn/**"), X, Y, verbose=0)
    except fl.FrostlineError as refused:
        assert type(refused).__name__ == "NoGradientError"
        return [answer, one, refused]
    raise AssertionError("a cut weight was trained")


for _kind in KINDS:
    STEPS[f"recurrent: {_kind}"] = lambda kind=_kind: looked_at(kind)


@step
def a_raw_scan() -> Any:
    """`jax.lax.scan` without Keras: one weight trains, one is cut inside."""
    if BACKEND != "jax":
        return None
    import jax

    rows = jax.numpy.asarray(X[0])
    weights = {"live": jax.numpy.ones((3, 3)), "stopped": jax.numpy.ones((3, 3))}

    def loss(held: Any) -> Any:
        def once(carried: Any, row: Any) -> Any:
            carried = carried @ held["live"] + row + jax.lax.stop_gradient(row @ held["stopped"])  # cut
            return carried * 0.1, carried

        _, outputs = jax.lax.scan(once, jax.numpy.zeros(3), rows)
        return (outputs**2).mean()

    answer = fl.explain(loss, weights)
    assert {name: one.status for name, one in answer.by_name.items()} == {"live": "trains", "stopped": "cut"}
    assert answer.by_name["stopped"].cuts[0].where.source.endswith("# cut")
    return answer
