"""Recurrent models under the audit, `why` and the check before training: the line that cuts them is found."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import frostline as fl
from frostline.errors import NoGradientError

pytestmark = [pytest.mark.every_backend]
X, Y = np.random.default_rng(0).normal(size=(8, 4, 3)).astype("float32"), np.zeros((8, 1), "float32")


class Stopped(layers.Layer):
    def call(self, x: Any) -> Any:
        return ops.stop_gradient(x)  # cut


KINDS = {
    "LSTM": lambda: layers.LSTM(3, name="rnn"),
    "GRU": lambda: layers.GRU(3, name="rnn"),
    "SimpleRNN": lambda: layers.SimpleRNN(3, go_backwards=True, name="rnn"),
    "both ways": lambda: layers.Bidirectional(layers.GRU(2), name="rnn"),
    "cells": lambda: layers.RNN([layers.LSTMCell(2), layers.GRUCell(3)], name="rnn"),
    "unrolled": lambda: layers.LSTM(3, unroll=True, name="rnn"),
}


def net(kind: str, *, cut: bool) -> keras.Model:
    between = [Stopped()] if cut else []
    model = keras.Sequential([keras.Input((4, 3)), KINDS[kind](), *between, layers.Dense(1, name="head")])
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_the_audit_of_one_that_trains(kind: str) -> None:
    answer = fl.audit(net(kind, cut=False), X, Y)
    assert set(answer.statuses.values()) == {"trains"}


@pytest.mark.parametrize("kind", ["LSTM", "both ways"])
def test_one_that_is_cut(kind: str) -> None:
    model = net(kind, cut=True)
    answer = fl.audit(model, X, Y)
    found = {address: status for address, status in answer.statuses.items() if address.startswith("rnn/")}
    assert found
    assert set(found.values()) == {"cut"}
    one = fl.why(model, next(iter(found)), X, Y)
    assert one.cuts[0].where is not None
    assert one.cuts[0].where.source.endswith("# cut")
    with pytest.raises(NoGradientError):
        fl.fit(model, fl.Plan().train("rnn/**"), X, Y, verbose=0)
