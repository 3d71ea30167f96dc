"""The selector `attention`: kernels for queries, keys and values, by class, name, attribute and shape."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers

import frostline as fl
from frostline.errors import UnmatchedRuleError

pytestmark = pytest.mark.eager

WIDTH = 4


class Parts(layers.Layer):
    """A layer that holds others, and calls them one after the other."""

    def __init__(self, parts: dict[str, layers.Layer], **more: Any) -> None:
        super().__init__(**more)
        for name, part in parts.items():
            setattr(self, name, part)
        self._order = tuple(parts)

    def build(self, shape: Any) -> None:
        for name in self._order:
            getattr(self, name).build((None, 3, WIDTH))

    def call(self, x: Any) -> Any:
        for name in self._order:
            x = getattr(self, name)(x)
        return x


class SomeAttention(Parts):
    """The same, whose class says that it is attention."""


def dense(name: str | None = None) -> layers.Dense:
    return layers.Dense(WIDTH, name=name)


def picked(*stack: layers.Layer) -> set[str]:
    model = keras.Sequential([keras.Input((3, WIDTH)), *stack])
    return {d.weight.address for d in fl.Plan().train("attention").resolve(model).trained}


def kernels(*layers_of_it: str) -> set[str]:
    return {f"{name}/kernel" for name in layers_of_it}


def test_attention_of_keras() -> None:
    inputs = keras.Input((3, WIDTH))
    value = layers.MultiHeadAttention(2, 2, name="self")(inputs, inputs)
    value = layers.GroupQueryAttention(2, 4, 1, name="grouped")(value, value)
    model = keras.Model(inputs, layers.Dense(2, name="value")(value))
    trained = {d.weight.address for d in fl.lora(2, head="value/**").resolve(model).trained}
    parts = [f"{layer}/{part}" for layer in ("self", "grouped") for part in ("query", "key", "value")]
    assert trained == kernels(*parts) | {"value/kernel", "value/bias"}


@pytest.mark.parametrize(
    "names",
    [
        ("query_projector", "key_projector", "value_projector"),
        ("q_proj", "k_proj", "v_proj"),
        ("to_q", "to_k", "to_v"),
        ("q_dense_layer", "k_dense_layer", "v_dense_layer"),
    ],
)
def test_names_of_projections(names: tuple[str, ...]) -> None:
    parts = {f"part_{place}": dense(name) for place, name in enumerate((*names, "out_proj", "mlp"))}
    assert picked(Parts(parts, name="block")) == kernels(*(f"block/{name}" for name in names))


def test_attributes_where_the_names_are_those_of_keras() -> None:
    held = {name: dense() for name in ("q", "k", "v", "proj")}
    block = Parts({**held, "key_norm": layers.LayerNormalization()}, name="block")
    assert picked(block) == kernels(*(f"block/{held[name].name}" for name in ("q", "k", "v")))


@pytest.mark.parametrize("name", ["qkv", "in_proj_qkv", "query_key_value"])
def test_one_projection_for_all_three(name: str) -> None:
    assert picked(Parts({"a": dense(name), "b": dense("proj")}, name="block")) == kernels(f"block/{name}")


def test_a_class_for_attention_whose_parts_have_no_names() -> None:
    split = [layers.EinsumDense("abc,cde->abde", (None, 2, 2)) for _ in range(3)]
    joining = layers.EinsumDense("abde,dec->abc", (None, WIDTH))

    class Heads(SomeAttention):
        def build(self, shape: Any) -> None:
            for one in split:
                one.build((None, 3, WIDTH))
            joining.build((None, 3, 2, 2))

        def call(self, x: Any) -> Any:
            made = [one(x) for one in split]
            return joining(made[0] + made[1] + made[2])

    parts = {"one": split[0], "two": split[1], "three": split[2], "four": joining}
    assert picked(Heads(parts, name="heads")) == kernels(*(f"heads/{one.name}" for one in split))


def test_layers_that_only_sound_like_it_are_left_out() -> None:
    model = keras.Sequential([keras.Input((3, WIDTH)), dense("value"), dense("key"), dense("logits")])
    with pytest.raises(UnmatchedRuleError) as caught:
        fl.lora().resolve(model)
    message = str(caught.value)
    assert "no layer of the model makes queries, keys and values that could be told" in message
    assert "name kernels instead, such as 'key/kernel'" in message
    assert fl.lora(2, target="key/kernel").resolve(model).trained


def test_the_word_survives_a_file(tmp_path: Any) -> None:
    fl.lora().save(tmp_path / "plan.yaml")
    assert fl.Plan.load(tmp_path / "plan.yaml") == fl.lora()
