"""The selector `head`: what makes a model's outputs, never a backbone, never an embedding of its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import frostline as fl
from frostline.errors import PlanError, UnmatchedRuleError

pytestmark = pytest.mark.eager

Builder = Callable[[], keras.Model]


def dense(units: int = 3, **more: Any) -> layers.Dense:
    return layers.Dense(units, **more)


def backbone(name: str = "base", width: int = 4) -> keras.Model:
    stack = [dense(width, name="one"), layers.LayerNormalization(name="norm")]
    return keras.Sequential([keras.Input((4,)), *stack], name=name)


def behind_a_nested_model() -> keras.Model:
    inputs = keras.Input((4,))
    value = layers.Dropout(0.1)(backbone()(dense(4, name="stem")(inputs)))
    return keras.Model(inputs, dense(name="logits")(dense(5, name="hidden")(value)))


def behind_two_nested_models() -> keras.Model:
    left, right = keras.Input((4,)), keras.Input((4,))
    joined = layers.Concatenate()([backbone("left")(left), backbone("right")(right)])
    return keras.Model([left, right], dense(name="logits")(joined))


def encoder_and_decoder() -> keras.Model:
    inputs = keras.Input((4,))
    between = dense(4, name="bridge")(backbone("encoder")(inputs))
    return keras.Model(inputs, dense(name="logits")(backbone("decoder")(between)))


def nested_head() -> keras.Model:
    head = keras.Sequential([keras.Input((4,)), dense(5, name="a"), dense(name="b")], name="top")
    return keras.Sequential([keras.Input((4,)), backbone(width=4), head])


def two_outputs() -> keras.Model:
    inputs = keras.Input((4,))
    value = backbone()(inputs)
    return keras.Model(inputs, [dense(name="classes")(value), dense(name="boxes")(value)])


def behind_the_pooling() -> keras.Model:
    """With a pooling inside, that only scales channels, and two layers behind the last one."""
    inputs = keras.Input((8, 8, 3))
    value = layers.Conv2D(6, 3, name="conv")(inputs)
    scale = dense(6, name="squeeze")(layers.GlobalAveragePooling2D(keepdims=True)(value))
    value = layers.Conv2D(6, 3, name="last")(value * scale)
    pooled = layers.GlobalAveragePooling2D()(value)
    return keras.Model(inputs, dense(name="logits")(dense(5, name="hidden")(pooled)))


def squeezed_to_the_end() -> keras.Model:
    """A pooling in a branch is none that all features pass."""
    inputs = keras.Input((8, 8, 3))
    value = layers.Conv2D(6, 3, name="conv")(inputs)
    scale = dense(6, name="squeeze")(layers.GlobalAveragePooling2D(keepdims=True)(value))
    return keras.Model(inputs, layers.Conv2D(2, 1, name="mask")(value * scale))


def only_wrapped() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), behind_a_nested_model()])


def pieces_of_a_network() -> keras.Model:
    """A nested stem, and another piece, as ConvNeXt has them: neither is the backbone."""
    inputs = keras.Input((8, 8, 3))
    stem = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 2, name="patch")], name="stem")
    value = layers.Conv2D(16, 3, name="block_a")(stem(inputs))
    down = keras.Sequential([keras.Input((5, 5, 16)), layers.Conv2D(4, 1, name="narrow")], name="down")
    value = layers.Conv2D(32, 3, name="block_b")(down(value))
    return keras.Model(inputs, dense(name="logits")(layers.Flatten()(value)))


class Written(keras.Model):
    """Written as a class, with nothing that says what its head is but the order of its layers."""

    def __init__(self, attribute: str = "outputs_of_mine") -> None:
        super().__init__()
        self.base = backbone()
        setattr(self, attribute, dense(name="logits"))
        self.later = dense(name="later") if attribute != "outputs_of_mine" else None
        self._attribute = attribute

    def call(self, x: Any) -> Any:
        value = getattr(self, self._attribute)(self.base(x))
        return value if self.later is None else value + 0 * self.later(value)


def called(model: keras.Model) -> keras.Model:
    model(np.zeros((1, 4), "float32"))
    return model


FOUND: dict[str, tuple[Builder, set[str]]] = {
    "behind a nested model": (behind_a_nested_model, {"hidden", "logits"}),
    "behind two": (behind_two_nested_models, {"logits"}),
    "behind the last of them": (encoder_and_decoder, {"logits"}),
    "a nested model itself": (nested_head, {"top/a", "top/b"}),
    "all outputs": (two_outputs, {"boxes", "classes"}),
    "pieces": (pieces_of_a_network, {"logits"}),
    "behind the pooling": (behind_the_pooling, {"hidden", "logits"}),
    "the last layer": (squeezed_to_the_end, {"mask"}),
    "one layer alone": (lambda: keras.Sequential([keras.Input((4,)), dense(name="only")]), {"only"}),
    "written as a class": (lambda: called(Written()), {"logits"}),
    "an attribute says so": (lambda: called(Written("classifier")), {"logits"}),
    "MobileNetV3": (
        lambda: keras.applications.MobileNetV3Small((32, 32, 3), weights=None, classes=3),
        {"conv_2", "logits"},
    ),
    "VGG": (
        lambda: keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                layers.Conv2D(4, 3),
                layers.Flatten(),
                dense(9, name="fc1"),
                dense(name="predictions"),
            ]
        ),
        {"predictions"},
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_the_head_is_found(name: str) -> None:
    build, expected = FOUND[name]
    decided = fl.linear_probe().resolve(build())
    layers_that_train = {d.weight.layer.removeprefix("functional_") for d in decided.decisions if d.trains}
    assert layers_that_train == expected


def test_a_wrapper_has_the_head_of_what_it_wraps() -> None:
    model = only_wrapped()
    trained = {d.weight.address for d in fl.linear_probe().resolve(model).decisions if d.trains}
    inner = model.layers[0].name
    assert trained == {
        f"{inner}/{layer}/{name}" for layer in ("hidden", "logits") for name in ("kernel", "bias")
    }


def test_a_layer_that_is_called_head_is_the_head() -> None:
    inputs = keras.Input((4,))
    value = dense(name="head")(backbone()(inputs))
    model = keras.Model(inputs, dense(name="temperature")(value))
    trained = {d.weight.layer for d in fl.linear_probe().resolve(model).decisions if d.trains}
    assert trained == {"head"}


class Tied(keras.Model):
    """A language model as KerasHub has them: a backbone, whose embedding makes the outputs, too."""

    def __init__(self) -> None:
        super().__init__()
        tokens = keras.Input((5,), dtype="int32")
        self.table = (
            layers.ReversibleEmbedding(20, 4, name="tokens") if _HAS_TABLE else layers.Embedding(20, 4)
        )
        value = layers.LayerNormalization(name="norm")(self.table(tokens))
        self.backbone = keras.Model(tokens, value, name="backbone")

    def call(self, ids: Any) -> Any:
        value = self.backbone(ids)
        if _HAS_TABLE:
            return self.table(value, reverse=True)
        return keras.ops.matmul(value, keras.ops.transpose(self.table.embeddings))


_HAS_TABLE = hasattr(layers, "ReversibleEmbedding")


def tied() -> keras.Model:
    model = Tied()
    model(np.zeros((1, 5), "int32"))
    return model


def no_top() -> keras.Model:
    return keras.applications.MobileNetV2((32, 32, 3), weights=None, include_top=False, pooling="avg")


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (tied, "all its weights lie in its backbone 'backbone', which makes the outputs"),
        (no_top, "nothing with weights lies behind its pooling"),
        (backbone, "its outputs are features, behind 'norm'"),
    ],
)
def test_a_model_without_a_head_is_told_so(build: Builder, why: str) -> None:
    model = build()
    with pytest.raises(UnmatchedRuleError) as caught:
        fl.linear_probe().resolve(model)
    assert f"the model has no head of its own: {why}" in str(caught.value)
    # What trains more than the head goes on without one, and says so.
    decided = fl.bitfit().resolve(model)
    assert any("picks nothing: the model has no head of its own" in note for note in decided.notes)
    assert not any(d.trains and "embeddings" in d.weight.address for d in decided.decisions)


class Net(keras.layers.Layer):
    """A whole network in one layer."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.one, self.two = dense(16, name="one"), dense(name="two")

    def build(self, shape: Any) -> None:
        self.one.build(shape)
        self.two.build((None, 16))

    def call(self, x: Any) -> Any:
        return self.two(self.one(x))


@pytest.mark.parametrize("stem", [True, False])
def test_a_whole_network_in_one_layer_is_not_taken_for_a_head(stem: bool) -> None:
    before = [dense(4, name="stem")] if stem else []
    model = keras.Sequential([keras.Input((4,)), *before, Net(name="net")])
    with pytest.raises(PlanError) as caught:
        fl.lora(target="**/kernel").resolve(model)
    message = str(caught.value)
    assert "are its head cannot be told" in message
    assert "fix:      name its layers in place of 'head'" in message
    assert fl.linear_probe("net/two/**").resolve(model).trained


def test_a_head_that_is_much_of_the_model_is_said() -> None:
    notes = fl.linear_probe().resolve(behind_a_nested_model()).notes
    assert any("the head alone (" in note and "% of all elements" in note for note in notes), notes


def test_the_word_survives_a_file(tmp_path: Any) -> None:
    fl.linear_probe().save(tmp_path / "plan.yaml")
    assert fl.Plan.load(tmp_path / "plan.yaml") == fl.linear_probe() == fl.Plan().train("head")
    everything_else = fl.Plan().train({"not": "head"}).resolve(behind_a_nested_model())
    assert {d.weight.layer for d in everything_else.trained} == {"stem", "base/one", "base/norm"}
