"""Keys find what is kept on a model, each its own."""

from __future__ import annotations

import keras

from frostline.model.attached import Key
from helpers import small_models

NUMBER: Key[int] = Key("number")
TEXT: Key[str] = Key("text")


def test_each_key_finds_its_own_value() -> None:
    model = small_models.two_dense()
    assert (NUMBER.get(model), TEXT.get(model)) == (None, None)
    NUMBER.attach(model, 1)
    TEXT.attach(model, "one")
    NUMBER.attach(model, 2)
    assert (NUMBER.get(model), TEXT.get(model)) == (2, "one")
    assert NUMBER.get(keras.models.clone_model(model)) is None
    NUMBER.detach(model)
    NUMBER.detach(model)
    assert (NUMBER.get(model), TEXT.get(model)) == (None, "one")


def test_a_value_is_kept_on_an_optimizer_too() -> None:
    optimizer = keras.optimizers.Adam()
    optimizer.build([keras.Variable([1.0])])
    tracked = len(optimizer.variables)
    NUMBER.attach(optimizer, 0)
    assert NUMBER.get(optimizer) == 0
    assert len(optimizer.variables) == tracked
    assert NUMBER.get(type(optimizer).from_config(optimizer.get_config())) is None
